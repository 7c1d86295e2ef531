"""Label printers: their addresses and languages, and one protocol for all of them.

Start with `printer.py`, the printer as a line sees it. Each printer takes a finished bitmap and never draws anything
itself, so every printer prints the same label.
"""
