"""The product: what is being made, as product.toml defines it, and the vocabulary that all rooms share.

It may import only the files at the top of the package (errors, files, secret). Start with `product.py`, the values;
`product_file.py` reads them and `toml_reader.py` collects every complaint about a file.
"""
