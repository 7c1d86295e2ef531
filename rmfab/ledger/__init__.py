"""The ledger: identities, the boards bound to them, and append-only events of what happened to each.

Values (`states`, `events`, `standing`, `records`) are pure. What must be known before a port is opened is asked in SQL
text (`questions`, `pool_standing`): by `reader.LedgerReader`, without SQLAlchemy, or by `store.Ledger`. The other rules
(`chains`, `batches`, `claims`, `outcomes`, `releases`, `handovers`, `receipts`, `merge`, `audit`) use SQLAlchemy Core.
The database engine is behind `rmfab.ledger.sql`. Imports the rooms above it; of these, `identity` for records and how
they are made. Start reading at `store.Ledger`, then `states` and `claims`.
"""
