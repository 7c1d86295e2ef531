"""The client side of protocomm provisioning: what an owner's phone says to a new unit, said by the line.

It may import `identity`, `product` and the files at the top of the package, never `virtual`, which plays the other
side. Start with `check.py`, what is proven, then `session.py`; `http.py` and `ble.py` are the transports.
"""
