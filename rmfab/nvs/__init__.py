"""The NVS format: tables of entries, the mass_mfg CSV grammar, packing, and a reader that shares no code with it.

It knows the format only, not what an identity puts in it; it may import the files at the top of the package. Start with
`table.py`, the values; `packing.py` is the one file that touches Espressif's generator.
"""
