"""Reports: the ledger as text and as JSON, for status and trace, and runs as JUnit.

It may import the rooms from product to line. It reads and changes nothing. Start with `status.py` for batches and
`trace.py` for one unit.
"""
