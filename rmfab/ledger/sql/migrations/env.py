"""Alembic's entry: runs the scripts on the connection that `upgrade` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

from rmfab.ledger.sql.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
