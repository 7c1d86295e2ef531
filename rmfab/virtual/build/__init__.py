"""Firmware for virtual boards: build folders as ESP-IDF leaves them, made without ESP-IDF.

It may import `firmware`, for the marker blocks, and the format `release`. Start with `recipe.py`, what is asked for;
`build_folder.py` makes it.
"""
