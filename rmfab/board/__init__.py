"""Boards: serial ports of every kind, restarting, the console and the boot log. esptool stands behind `board/esp/`.

It may import `release`, `product` and the files at the top of the package, and knows no ledger. Start with `port.py`,
then `bootlog.py`, which turns what a board prints into values.
"""
