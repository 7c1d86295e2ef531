"""How the station reaches a unit that runs: its URL, its SoftAP or Bluetooth, and the network that units join.

It imports `line/station.py` of the line and nothing else of it; the conversation itself is the room `provisioning`.
Start with `air.py`.
"""
