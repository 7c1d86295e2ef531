"""Reports: the ledger as text and as JSON, for status and trace.

It may import the lower packages. It reads the ledger and changes nothing. Start with `status.py` for batches and
`trace.py` for one unit.
"""
