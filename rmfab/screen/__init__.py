"""The operator's screen: a tile per slot, on a terminal (Textual, extra `screen`), on top of operations.

`wall.py` is the model: events of the line in, what each tile shows out. The files `draw_*.py` turn it into rows of
styled text of a given size. Both need no terminal, and neither reads a clock. Only `app.py` knows Textual; `show.py`
runs it.
"""
