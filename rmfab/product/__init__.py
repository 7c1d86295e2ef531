"""The product: what is being made, as product.toml defines it, and the vocabulary that all packages share.

It may import only the files at the top of rmfab (errors, files, secret). Start with `product.py`, the values;
`product_file.py` reads them, and `toml_reader.py` collects every complaint about a file.
"""
