"""Reports: the ledger in words and as JSON, for status and trace.

It may import every room above it, reads the ledger, and changes nothing. Start with `status.py` for batches and
`trace.py` for one unit.
"""
