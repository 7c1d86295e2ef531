"""`rmfab reconcile` on virtual boards: each is read, nothing is written to it, and the advice holds."""

from __future__ import annotations

import json
import shutil

import pytest

from rmfab.cli import main
from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.events import EventKind
from rmfab.ledger.states import State
from rmfab.operations.reconcile import ReconcileRequest, reconcile
from tests.ledger.workshop import now
from tests.line.floor import FCTRY, copied, found, serve, spec
from tests.patience import until

pytestmark = pytest.mark.slow


def reconciled(factory, capsys, *boards, extra=()):
    """Return exit code and the JSON document of `rmfab reconcile` on *boards*."""
    capsys.readouterr()
    words = [word for board in boards for word in ("--port", board.url)]
    code = main(["-C", str(factory.root), "reconcile", "--json", *words, *extra])
    return code, json.loads(capsys.readouterr().out)


def verdicts(document):
    """Return action, finding and serial of each board."""
    return [(one["action"], one["finding"], one["serial"]) for one in document["boards"]]


def flashed(factory, path, number, command="flash"):
    """Flash a board, keep its flash in the file *path*, and return its serial."""
    with serve([spec(index=number, flash_file=path)]) as (board,):
        said = factory.run(board.url, command=command)
        assert said.code == 0, said.words
        return said.unit["serial"]


def test_the_life_of_a_board(factory, capsys, tmp_path):
    """New, claimed, cut short, flashed, verified, erased: each is told apart, run again, and nothing is changed."""
    flash = tmp_path / "flash.bin"
    one = spec(flash_file=flash)
    with serve([one]) as (board,):
        code, document = reconciled(factory, capsys, board)
        assert code == 0
        assert verdicts(document) == [("in order", "new", None)]
        ledger = factory.workspace.ledger
        serial = ledger.claim(board.mac, Wish("Lamp"), station="bench", ts=now()).identity.serial
        assert verdicts(reconciled(factory, capsys, board)[1]) == [("resume", "not-written", serial)]
        assert factory.run(board.url, command="flash").code == 0
        assert verdicts(reconciled(factory, capsys, board)[1]) == [("resume", "not-verified", serial)]
    whole = flash.read_bytes()
    for at in (FCTRY + 0x200, FCTRY):  # without a factory image, the firmware draws a `random` of its own as it boots
        flash.write_bytes(whole[:at] + b"\xff" * (0x6000 - at + FCTRY) + whole[FCTRY + 0x6000 :])
        with serve([one]) as (board,):
            until(lambda: board.state()["serving"], "the firmware did not start")
            assert verdicts(reconciled(factory, capsys, board)[1]) == [("resume", "cut-short", serial)]
    with serve([one]) as (board,):
        assert factory.run(board.url).unit["serial"] == serial
        assert verdicts(reconciled(factory, capsys, board)[1]) == [("in order", "verified", serial)]
        until(lambda: board.state()["serving"], "the board was not restarted into its firmware")
    with serve([spec()]) as (board,):
        assert verdicts(reconciled(factory, capsys, board)[1]) == [("resume", "not-written", serial)]
        assert factory.run(board.url).unit["serial"] == serial
    factory.check()


def test_firmware_that_was_changed(factory, capsys, tmp_path):
    """A verified unit whose app is not that of its release is run again; its identity is not in doubt."""
    flash = tmp_path / "flash.bin"
    serial = flashed(factory, flash, 0, "run")
    content = bytearray(flash.read_bytes())
    content[0x20000] ^= 0xFF
    flash.write_bytes(content)
    with serve([spec(flash_file=flash)]) as (board,):
        assert verdicts(reconciled(factory, capsys, board)[1]) == [("resume", "other-firmware", serial)]


def test_boards_to_set_aside(factory, capsys, tmp_path):
    """A copied flash, a void identity and a foreign one: exit 5, and with --apply each finding is in the ledger."""
    serial = flashed(factory, tmp_path / "a.bin", 0)
    shutil.copy(tmp_path / "a.bin", tmp_path / "clone.bin")
    voided = flashed(factory, tmp_path / "void.bin", 2)
    factory.workspace.ledger.void(voided, reason="dead", station="bench", ts=now())
    foreign = found(tmp_path / "other", units=1)
    flashed(foreign, tmp_path / "foreign.bin", 3)
    boards = [
        spec(index=index, flash_file=tmp_path / f"{name}.bin")
        for index, name in ((1, "clone"), (2, "void"), (3, "foreign"))
    ]
    with serve(boards) as served:
        code, document = reconciled(factory, capsys, *served, extra=["--apply", "--yes"])
        assert code == 5
        assert document["applied"]
        findings = [("clone", serial), ("void", voided), ("unknown", None)]
        assert verdicts(document) == [("quarantine", *expected) for expected in findings]
        for board, (finding, about) in zip(served, findings, strict=True):
            event = factory.workspace.ledger.history(board.mac)[-1].event
            assert (event.kind, event.serial, event.details["finding"]) == (EventKind.RECONCILE, about, finding)
    factory.check()


def test_a_claim_that_was_never_written(factory, capsys, tmp_path):
    """A board that was claimed for one identity and carries a different, free one: --apply voids the claim, after a
    question, and the next run binds what the board carries."""
    flash = tmp_path / "flash.bin"
    carried = flashed(copied(factory, tmp_path / "elsewhere"), flash, 5)  # as a lost ledger has flashed it
    ledger = factory.workspace.ledger
    with serve([spec(index=7, flash_file=flash)]) as (board,):
        claimed = ledger.claim(board.mac, Wish("Lamp", serial="LMP-000003"), station="bench", ts=now()).identity.serial
        assert carried != claimed
        code, document = reconciled(factory, capsys, board)
        assert (code, verdicts(document)) == (0, [("release", "unwritten-claim", claimed)])
        assert main(["-C", str(factory.root), "reconcile", "--port", board.url, "--apply"]) == 3
        assert ledger.identity_by_serial(claimed).state is State.CLAIMED, "without a terminal, it wants --yes"
        assert reconciled(factory, capsys, board, extra=["--apply", "--yes"])[1]["applied"]
        assert ledger.identity_by_serial(claimed).state is State.VOID
        assert verdicts(reconciled(factory, capsys, board)[1]) == [("resume", "carried", carried)]
        assert factory.run(board.url).unit["serial"] == carried
    factory.check()


def test_boards_that_cannot_be_read(factory, capsys, tmp_path):
    """A port that was named and cannot be read is exit 4, and the other boards are judged all the same; a slot of
    station.toml that cannot be read is only mentioned."""
    with serve([spec(), spec(index=1, faults=("flash-encryption",))]) as boards:
        code, document = reconciled(factory, capsys, *boards)
        assert code == 4
        assert [one["class"] for one in document["unread"]] == ["flash-encryption"]
        assert len(document["boards"]) == 1
        slots = "".join(f'[[slot]]\nname = "A{n}"\nport = "{board.url}"\n' for n, board in enumerate(boards))
        (factory.root / "station.toml").write_text(f'[station]\nname = "bench"\n\n{slots}')
        code, document = reconciled(factory, capsys)
        assert code == 0
        assert [one["slot"] for one in document["unread"]] == ["A1"]


def test_without_boards(factory, capsys, tmp_path):
    """Units in the middle are listed with what to do; those whose boards were just read are not in that list."""
    flash = tmp_path / "flash.bin"
    serial = flashed(factory, flash, 0)
    factory.workspace.ledger.claim("24:0a:c4:00:00:01", Wish("Lamp"), station="bench", ts=now())
    code, document = reconciled(factory, capsys)
    assert code == 0
    assert [(one["serial"], one["state"]) for one in document["elsewhere"]] == [
        (serial, "flashed"),
        ("LMP-000002", "claimed"),
    ]
    with serve([spec(flash_file=flash)]) as (board,):
        assert [one["serial"] for one in reconciled(factory, capsys, board)[1]["elsewhere"]] == ["LMP-000002"]
    capsys.readouterr()
    assert main(["-C", str(factory.root), "reconcile"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split() == ["board", "serial", "state", "since"]
    assert "rmfab: claimed: connect its board and run it" in err


def test_a_copy_of_the_ledger(factory, capsys, tmp_path):
    """A ledger that does not hold the pool judges nothing safe, and records nothing."""
    flash = tmp_path / "flash.bin"
    flashed(factory, flash, 0)
    backup = str(tmp_path / "backup.db")
    for words in (["backup", backup], ["restore", backup, "--force"]):
        assert main(["-C", str(factory.root), "ledger", *words]) == 0
    with serve([spec(flash_file=flash)]) as (board,):
        code, document = reconciled(factory, capsys, board)
        assert (code, verdicts(document)[0][:2]) == (5, ("quarantine", "not-holder"))
        assert main(["-C", str(factory.root), "reconcile", "--port", board.url, "--apply", "--yes"]) == 5


def test_no_release_and_no_table(factory, capsys):
    """A blank board is not judged if nothing says where its factory partition is."""
    factory.edit('path = "build"', '# path = "build"')
    with serve([spec()]) as (board,):
        code, document = reconciled(factory, capsys, board)
        assert code == 3
        assert [one["class"] for one in document["unread"]] == ["no-partition"]
        words = ["--release", str(factory.root / "build")]
        assert verdicts(reconciled(factory, capsys, board, extra=words)[1]) == [("in order", "new", None)]


def test_an_identity_that_cannot_be_opened(factory, tmp_path):
    """On a host without a station key the identity is compared by name only, and the operator is told."""
    flash = tmp_path / "flash.bin"
    serial = flashed(factory, flash, 0, "run")
    (factory.root / "keys" / "station.key").unlink()
    with serve([spec(flash_file=flash)]) as (board,):
        (one,) = reconcile(factory.workspace, ReconcileRequest((board.url,))).boards
    assert (one.verdict.finding, one.verdict.serial) == ("verified", serial)


@pytest.mark.parametrize("content", [b"\x00", b"\xa5"])
def test_what_is_no_identity(factory, capsys, tmp_path, content):
    """A board that the ledger does not know and whose factory partition contains something else is set aside."""
    flash = tmp_path / "flash.bin"
    flash.write_bytes(b"\xff" * FCTRY + content * 0x6000)
    with serve([spec(flash_file=flash)]) as (board,):
        assert verdicts(reconciled(factory, capsys, board)[1]) == [("quarantine", "unreadable", None)]


def test_a_serial_that_two_units_had(capsys, tmp_path):
    """A finding about a void unit is recorded with that unit, also if a live one was given its serial since."""
    factory = found(tmp_path / "ws", units=2, edits=(('serial = "LMP-{n:06d}"', 'serial = "L-{mac}"'),))
    ledger = factory.workspace.ledger
    serial = flashed(factory, tmp_path / "a.bin", 0)
    void = ledger.identity_by_serial(serial)
    shutil.copy(tmp_path / "a.bin", tmp_path / "clone.bin")
    ledger.void(serial, reason="dead", station="bench", ts=now())
    (tmp_path / "a.bin").unlink()
    assert flashed(factory, tmp_path / "a.bin", 0) == serial
    live = ledger.identity_by_serial(serial)
    with serve([spec(index=1, flash_file=tmp_path / "clone.bin")]) as (board,):
        code, document = reconciled(factory, capsys, board, extra=["--apply", "--yes"])
    assert (code, document["applied"]) == (5, True)
    assert verdicts(document) == [("quarantine", "clone", serial)]
    recorded = [one.event for one in ledger.history(board.mac) if one.event.kind is EventKind.RECONCILE]
    assert [event.serial for event in recorded] == [void.name] != [live.name]
    factory.check()


def test_a_board_without_a_factory_partition_starts_again(factory, capsys, tmp_path):
    """What ends the reading of a board does not leave the board in its loader."""
    flash = tmp_path / "flash.bin"
    flashed(factory, flash, 0, "run")
    factory.edit('partition = "fctry"', 'partition = "other"')
    with serve([spec(flash_file=flash)]) as (board,):
        code, document = reconciled(factory, capsys, board)
        assert (code, [one["class"] for one in document["unread"]]) == (3, ["no-partition"])
        until(lambda: board.state()["serving"], "the firmware does not run")
