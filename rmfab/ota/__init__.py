"""Updates over the air: the check of an update, the shelf of files for devices, and its HTTPS server.

It may import `release`, `signing`, `product` and the files at the top of rmfab. Start with `compatibility.py`, which
checks whether an update may follow a release, then `shelf.py`; `server.py` serves the files of the shelf.
"""
