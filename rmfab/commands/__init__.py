"""The command line: one file per command with its options, one call of an operation, and the output.

It may import every package; only `cli.py` imports it. Start with `run.py`. `options.py` has the options that several
commands share, `leaf.py` what all commands have.
"""
