"""The note of why a station must not go on without the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from rmfab.errors import IntegrityError, LedgerError
from rmfab.line.stop_note import StopNote

LOST = IntegrityError("lease 7 was declared lost", where="lease.db", hint="stop the line", cause="handover-lost")


@pytest.fixture
def note(tmp_path: Path) -> StopNote:
    """No note yet."""
    return StopNote(tmp_path / "lease.stop")


def test_what_the_server_said(note: StopNote) -> None:
    """An integrity error of a look at the server stops every start without it, with the same cause and hint; an outage
    changes nothing; a look that ends well removes it."""
    note.judge()
    with pytest.raises(IntegrityError), note.judged_by_server():
        raise LOST
    for _ in range(2):
        with pytest.raises(IntegrityError, match="stopped this station when it was there last: lease 7") as stopped:
            note.judge()
        assert (stopped.value.cause, stopped.value.where) == ("handover-lost", "lease.db")
        assert str(stopped.value.hint).startswith("stop the line; start the line again when the server is back")
        with pytest.raises(LedgerError), note.judged_by_server():
            raise LedgerError("the ledger's server is away", cause="ledger-away")
    assert note.path.stat().st_mode & 0o077 == 0
    with note.judged_by_server():
        pass
    note.judge()
    assert not note.path.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"class": "a"}', b"\xff"])
def test_a_damaged_note(note: StopNote, content: bytes) -> None:
    """It stops the line, too."""
    note.path.write_bytes(content)
    with pytest.raises(IntegrityError, match="damaged") as stopped:
        note.judge()
    assert stopped.value.cause == "spool-damaged"


def test_a_note_that_cannot_be_written(tmp_path: Path) -> None:
    """The error is raised all the same."""
    with pytest.raises(IntegrityError, match="lease 7"), StopNote(tmp_path / "none" / "x").judged_by_server():
        raise LOST
