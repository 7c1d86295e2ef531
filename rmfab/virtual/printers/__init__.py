"""Virtual label printers: they speak ZPL, Brother's raster or TSPL, and put each label out as a PNG.

They share nothing with `label/`: the two check each other. Start with `spec.py`, then `mechanism.py`, the part that
moves; `zpl.py`, `ql.py` and `tspl.py` are what reads bytes in front of it, and `serving.py` connects it to clients.
"""
