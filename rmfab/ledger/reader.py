"""A ledger that is only asked, by the database's own driver: SQLAlchemy is not imported for it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

from rmfab.errors import RmfabError
from rmfab.ledger.host import PoolHost
from rmfab.ledger.inquiry import PATIENCE, Inquiry
from rmfab.ledger.questions import ledger_id
from rmfab.ledger.sql.ask import Ask
from rmfab.ledger.sql.glance import AskedFile


class LedgerReader(Inquiry):
    """A ledger that can be read as it is; usable from every thread. Made by `open`."""

    def __init__(self, file: AskedFile, ledger_id: str, host: PoolHost, where: str) -> None:
        super().__init__(ledger_id, host, where)
        self._file = file

    @classmethod
    def open(cls, location: Path | str, host: PoolHost) -> Self | None:
        """Open the ledger at *location* to ask it.

        Return None if it cannot be read as it is, or is not sound. Then open it as a `Ledger`, which upgrades it, finds
        a different way to read it, or explains what is wrong.
        """
        file = AskedFile.open(location, PATIENCE)
        if file is None:
            return None
        try:
            with file.asking() as ask:
                return cls(file, ledger_id(ask), host, str(Path(location).absolute()))
        except RmfabError:
            file.close()
            return None

    def refuse_other_file(self) -> None:
        """Raise IntegrityError (cause `ledger-replaced`) if the ledger was deleted or replaced since it was opened."""
        self._file.refuse_other_file()

    def close(self) -> None:
        """Close the file. The object cannot be used afterwards."""
        self._file.close()

    def _asking(self) -> AbstractContextManager[Ask]:
        return self._file.asking()
