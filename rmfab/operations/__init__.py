"""The verbs of the operator, one function each: a frozen request in, events or a value out, an exception if it fails.

An operation imports any room but the commands; it never imports Click and never prints. What it must say or ask goes
through the `Terminal` that it is handed. Start with `run_line.py` and `terminal.py`.
"""
