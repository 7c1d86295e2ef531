"""Labels: their content, the QR symbol, layouts and styles, sheets, pictures and bitmaps, and reading every code back.

It may import the rooms above it, down to `ledger`. Start with `content.py`, the content of a label. Without a style
`layout.py` lays it out; with one (`style.py`, read by `style_file.py`) `compose.py` does. `make_sheet.py` and
`styled_sheet.py` put labels on pages, `print_raster.py` on a printer's dots, and `readback.py` checks them.
"""
