"""Labels: their content, the QR symbol, the layout, sheets and pictures, and reading every code back.

It may import `identity`, `product`, `workers` and the files at the top of rmfab. Start with `content.py`, the content
of a label, then `layout.py`; `make_sheet.py` puts labels on pages, and `readback.py` checks them.
"""
