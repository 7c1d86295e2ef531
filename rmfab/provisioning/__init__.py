"""The client side of protocomm provisioning: the line talks to a new unit as an owner's phone does.

It may import `identity`, `product` and the files at the top of rmfab, never `virtual`, which simulates the device side.
Start with `check.py`, the checks, then `session.py`; `http.py` and `ble.py` are the transports.
"""
