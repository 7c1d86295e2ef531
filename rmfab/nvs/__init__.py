"""The NVS format: tables of entries, the mass_mfg CSV grammar, packing, and a reader that shares no code with it.

It covers the format only, not what an identity puts in it. It may import the files at the top of rmfab, and `workers`.
Start with `table.py`, the values; `packing.py` writes what `reader.py` reads, with no code in common.
"""
