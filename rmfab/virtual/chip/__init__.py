"""The chip of a virtual board: models, flash, eFuses, registers, the UART, and the ROM's and the stub's loader.

It may import only `product` and the files at the top of the package. Start with `models.py`, how chips differ, then
`rom_loader.py`, what esptool talks to first.
"""
