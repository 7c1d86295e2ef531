"""What the cloud must know of a unit, and whether it lets the unit in.

`node` is what a cloud learns about a unit, and `registration_files` writes it in the form of each cloud; `api/`
registers units over HTTPS. `mqtt` is the protocol as values; `broker_link` is one connection as a unit, `witness` the
one that looks on; `check_unit` judges a unit's credentials with them. `node_watch` is what a witness sees of one unit
that is online itself, and `node_report` judges that. `mosquitto` is a broker for tests. Nothing here knows the ledger:
credentials come in as values. Start reading at `node` and `check_unit`.
"""
