"""Labels: what one says, the QR symbol, the layout, sheets and pictures, and reading every code back.

It may import `identity`, `product` and the files at the top of the package. Start with `content.py`, what a label says,
then `layout.py`; `make_sheet.py` puts labels on pages and `readback.py` proves them.
"""
