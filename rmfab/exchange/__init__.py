"""Files that an owner and a factory exchange: handovers of identities, and returns of what became of them.

Values and formats only: what a file contains, how it is signed, and how a hostile one is refused. The rules of who has
an identity are those of `rmfab.ledger`. Start reading at `parcel`, then `handover_file` and `return_file`.
"""
