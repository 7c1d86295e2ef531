"""The operations of rmfab, one function each: a frozen request in, events or a value out, an exception on failure.

An operation may import every package except the commands. It never imports Click and never prints: messages and
questions go through the `Terminal` that it receives. Start with `run_line.py` and `terminal.py`.
"""
