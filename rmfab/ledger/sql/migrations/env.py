"""The entry point for Alembic: run the scripts on the connection that `upgrade` passes, in its transaction."""

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
