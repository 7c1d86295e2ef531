"""The ledger's database: its tables, their migrations, and one `Database` implementation per engine: SQLite
in a file, PostgreSQL on a server that many stations share.

Imports SQLAlchemy, Alembic and the drivers, but none of the ledger's rules or values. Everything that differs between
engines is in this package. Start reading at `database`, then `schema`.
"""
