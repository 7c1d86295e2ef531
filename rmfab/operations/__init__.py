"""The operations of rmfab, one function each: a frozen request in, events or a value out, an exception on failure.

An operation may import every room except commands; it never imports Click and never prints. Messages and questions go
through the `Terminal` that it receives. Start with `run_line.py` and `terminal.py`.
"""
