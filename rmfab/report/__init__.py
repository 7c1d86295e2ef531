"""Reports: the ledger as text and as JSON, for status, trace and units; reports of batches and shifts as pages,
workbooks and tables; runs as JUnit and as metrics.

It may import the rooms from product to line. It reads and changes nothing. Start with `yields.py`, which
says what a yield is, and `numbers.py`, which adds units up.
"""
