"""The note that the shared ledger contradicts this station: it outlives the run that found out.

What stops a line while the server is there must stop it without the server, too: the station would go on with
identities that are void, or in use elsewhere. The next start with the server judges again, and removes the note.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import InputError, IntegrityError, StationError
from rmfab.files import is_there, read_input, sync_folder, write_file
from rmfab.json_text import parse_json

_LARGEST = 1 << 16


@dataclass(frozen=True)
class StopNote:
    """The note in the file *path*, if there is one."""

    path: Path

    def keep(self, error: IntegrityError) -> None:
        """Write durably that the line was stopped by *error*; it stops the line even if that cannot be written."""
        with suppress(InputError, StationError):
            write_file(self.path, json.dumps(error.to_json()).encode("ascii"), secret=True, force=True)

    @contextmanager
    def judged_by_server(self) -> Iterator[None]:
        """Keep an IntegrityError of the block, which asks the server; remove the note if the block ends well."""
        try:
            yield
        except IntegrityError as error:
            self.keep(error)
            raise
        self._remove()

    def judge(self) -> None:
        """Raise IntegrityError if the line was stopped: the server must be asked."""
        if not is_there(self.path):
            return
        told = self._told()
        raise IntegrityError(
            f"the ledger's server is away, and it stopped this station when it was there last: {told['reason']}",
            where=told.get("where"),
            hint=f"{told['hint']}; start the line again when the server is back" if "hint" in told else None,
            cause=told["class"],
        )

    def _remove(self) -> None:
        if is_there(self.path):
            self.path.unlink(missing_ok=True)
            sync_folder(self.path.parent)

    def _told(self) -> dict[str, str]:
        """Return the error as JSON; one that says so for a note that was damaged."""
        try:
            told = parse_json(read_input(self.path, most=_LARGEST))
            if isinstance(told, dict) and {"reason", "class"} <= told.keys():
                return {str(name): str(value) for name, value in told.items()}
        except (ValueError, InputError):
            pass
        return {"reason": "its note of that is damaged", "where": str(self.path), "class": "spool-damaged"}
