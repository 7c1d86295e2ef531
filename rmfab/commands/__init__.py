"""The commands: one file each, with its options, one call of an operation, and the rendering of its result.

They may import every room; only `cli.py` imports them. Start with `run.py`; `options.py` contains the options that
several commands share, `leaf.py` those that every command has.
"""
