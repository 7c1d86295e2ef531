"""The ledger: identities, the boards that have them, and the history of each, in append-only events.

Values (`states`, `events`, `standing`, `records`) are pure; rules (`chains`, `batches`, `claims`, `outcomes`,
`releases`, `audit`) use SQLAlchemy Core; `rmfab.ledger.sql` has the engine. It may import the lower packages, such as
`identity` for records and their making. Start with `store.Ledger`, then `states` and `claims`.
"""
