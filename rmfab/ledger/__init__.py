"""The ledger: identities, the boards that have them, and what happened to each, in append-only events.

Values (`states`, `events`, `standing`, `records`) are pure; rules (`chains`, `batches`, `claims`, `outcomes`,
`releases`, `audit`) speak SQLAlchemy Core; the engine stands behind `rmfab.ledger.sql`. Imports the rooms above it,
of these `identity` for records and their making. Start reading at `store.Ledger`, then `states` and `claims`.
"""
