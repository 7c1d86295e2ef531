"""Updates over the air: whether one may follow another, the shelf of files that devices load, and its HTTPS server.

It may import `release`, `signing`, `product` and the files at the top of the package. Start with `compatibility.py`,
the judge, then `shelf.py`; `server.py` serves what the shelf holds.
"""
