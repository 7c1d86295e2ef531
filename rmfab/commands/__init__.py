"""The command line: one file per command, each with its options, one call of an operation, and its rendering.

It may import every room; nothing but `cli.py` imports it. Start with `run.py`; `options.py` holds what several commands
share, `leaf.py` what every command has.
"""
