"""What comes from elsewhere: handovers of identities and returns of what became of them, and batches of other tools.

Formats and judges only: what a file contains, how it is signed, and how a hostile one is refused. The rules of who has
an identity are those of `rmfab.ledger`. Start reading at `parcel`, then `handover_file` and `return_file`; for batches
of other tools at `open_source`, then `judge_unit` and `review`.
"""
