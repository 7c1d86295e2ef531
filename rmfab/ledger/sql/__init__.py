"""The ledger's database: its tables, their migrations, and one `Database` door per engine (SQLite today).

Imports SQLAlchemy, Alembic and the drivers, and nothing of the ledger's rules or values; what differs between engines
stays in here. Start reading at `database`, then `schema`.
"""
