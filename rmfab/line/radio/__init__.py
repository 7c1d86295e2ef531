"""The station's ways to a running unit: its URL, its SoftAP or Bluetooth, and the network that units join.

Of the line it imports only `line/station.py`; the conversation itself is the room `provisioning`. Start with `air.py`.
"""
