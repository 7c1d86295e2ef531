"""Boards: serial ports of all kinds, restarts, the console and the boot log. Only `board/esp/` uses esptool.

It may import `release`, `product` and the files at the top of rmfab, not the ledger. Start with `port.py`, then
`bootlog.py`, which parses what a board prints.
"""
