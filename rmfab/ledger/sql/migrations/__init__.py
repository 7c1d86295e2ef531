"""Migrations of the ledger's schema: Alembic scripts in `versions/`, run by `upgrade` in one transaction.

Imported only if a ledger's revision differs from `rmfab.ledger.sql.revision.HEAD`. A new ledger gets the schema of
that revision at once.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection


def upgrade(connection: Connection, revision: str) -> None:
    """Upgrade the schema to *revision*, in the transaction of *connection*."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def knows(revision: str) -> bool:
    """Return whether *revision* is one of these scripts. If not, a newer rmfab made the ledger."""
    try:
        return _scripts().get_revision(revision) is not None
    except CommandError:
        return False


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
