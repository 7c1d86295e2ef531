"""A ledger that is only asked answers as the open one does, or leaves it to that."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest

from rmfab.errors import InputError, IntegrityError, RmfabError
from rmfab.identity.sealed_record import pool_name
from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.events import Event, EventKind
from rmfab.ledger.host import PoolHost, this_host
from rmfab.ledger.inquiry import Inquiry
from rmfab.ledger.pool_standing import AdoptionReason
from rmfab.ledger.reader import LedgerReader
from rmfab.ledger.records import REPLACES
from rmfab.ledger.store import Ledger
from rmfab.product.vocabulary import Chip, Credentials
from rmfab.workspace.create import create_workspace
from tests.ledger.tampering import OTHER_HOLDER, change, damage
from tests.ledger.workshop import FILE, STATION, cause_of, fresh, mac, make, now, order, record


def reader(folder: Path, host: PoolHost | None = None) -> LedgerReader:
    """Open the ledger in *folder* to ask it."""
    found = LedgerReader.open(folder / FILE, host or this_host())
    assert found is not None
    return found


def answers(asked: Inquiry) -> list[object]:
    """Return what a line asks before it opens a port; a refusal or an error as its text, cause and hint."""
    standing = asked.pool_standing()
    said: list[object] = [asked.id, told(standing.refusal), standing.unclaimed, standing.moved_to, asked.batches()]
    for product in ("lamp", "other"):
        said += [asked.last_release(product), asked.last_trust(product), asked.free(product)]
        said += [asked.claimable(product, now())]
    for batch in ("lamp-0001", "second", "open", "lamp-0011", "LMP-000001", "SN-7", "nothing like it"):
        said.append(asked.replacements(batch))
        for question in (asked.batch, asked.closed_batch, asked.first_chunk, lambda name: asked.free("lamp", name)):
            try:
                said.append(question(batch))
            except InputError as error:
                said.append(told(error))
    return said


def told(error: RmfabError | None) -> tuple[object, ...] | None:
    """Return what an error says."""
    return None if error is None else (type(error), error.what, error.where, error.hint, error.cause)


def accepted(ledger: Ledger, kind: EventKind, product: str, seq: int) -> None:
    """Record the acceptance of a release or trust file."""
    before = ledger.last_release(product) if kind is EventKind.RELEASE else ledger.last_trust(product)
    event = Event(now(seq), kind, details={"product": product, "seq": seq, "version": seq})
    assert ledger.accept(STATION, event, after=before)


def _sound(ledger: Ledger, _: Path) -> None:
    """Change nothing."""


def _used(ledger: Ledger, _: Path) -> None:
    for board in range(3):
        ledger.claim(mac(board), Wish("lamp"), station=STATION, ts=now())
    for seq in (1, 2):
        accepted(ledger, EventKind.RELEASE, "lamp", seq)
        accepted(ledger, EventKind.TRUST, "lamp", seq)
    accepted(ledger, EventKind.RELEASE, "third", 9)


def _moved(ledger: Ledger, _: Path) -> None:
    ledger.move("age1new", station=STATION, ts=now())


def _adopted(ledger: Ledger, _: Path) -> None:
    ledger.adopt(AdoptionReason.LOSS, station=STATION, ts=now())


def _unclaimed(_: Ledger, path: Path) -> None:
    change(path, "DELETE FROM meta WHERE name = 'holder'")


def _copied(_: Ledger, path: Path) -> None:
    change(path, "DELETE FROM meta WHERE name = 'holder'", "INSERT INTO meta VALUES ('copy', '2026-01-31')")


def _other_holder(_: Ledger, path: Path) -> None:
    change(path, OTHER_HOLDER)


def _lacking(ledger: Ledger, path: Path) -> None:
    ledger.claim(mac(1), Wish("lamp"), station=STATION, ts=now())
    change(path, "DELETE FROM event WHERE kind = 'claim'")


def _replaced(ledger: Ledger, _: Path) -> None:
    """Void two identities of the batch `second`, and replace them: one is made, and one is begun."""
    ledger.void("LMP-000011", "LMP-000012", reason="x", station=STATION, ts=now())
    replacing = {"policy": {"key": "ecdsa-p256", REPLACES: "second"}}
    make(ledger, "second.r1", 1, **replacing)
    ledger.begin_batch(order("second.r2", 1, **replacing), now())
    make(ledger, "sec_nd.r1", 1, policy={REPLACES: "sec_nd"})


def _given(ledger: Ledger, _: Path) -> None:
    """Let a board bring its serial, SN-7."""
    batch = ledger.begin_batch(order("late", 1, serial_of=None, policy={"serials": "{scan}"}), now())
    assert ledger.add_chunk(batch, 0, b"key", [record(pool_name("late", 0))]) == ()
    ledger.close_batch(batch, STATION, now())
    ledger.claim(mac(7), Wish("lamp", "late", gives=True, given="SN-7"), station=STATION, ts=now())


HISTORIES = (_sound, _used, _replaced, _given, _moved, _adopted, _unclaimed, _copied, _other_holder, _lacking)


@pytest.mark.parametrize("history", HISTORIES)
def test_the_reader_answers_as_the_ledger(tmp_path, history):
    """Whatever happened to a ledger, both give the same answers, refusals and hints, also while a process writes."""
    with fresh(tmp_path) as ledger:
        make(ledger, "second", size=3)
        ledger.begin_batch(order("open", 4), now())
        history(ledger, tmp_path / FILE)
        asked = reader(tmp_path)
        with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            assert answers(asked) == answers(ledger)


def test_a_batch_has_what_replaces_its_void_identities(tmp_path):
    """Before a port is opened, a batch has its own free identities and those of its finished replacements."""
    with fresh(tmp_path) as ledger:
        make(ledger, "second", size=3)
        _replaced(ledger, tmp_path / FILE)
        asked = reader(tmp_path)
        assert [asked.free("lamp", name) for name in ("second", "second.r1", "lamp-0001")] == [2, 1, 10]
        assert [batch.name for batch in asked.replacements("second")] == ["second.r1", "second.r2"]
        assert [batch.name for batch in asked.replacements("sec_nd")] == ["sec_nd.r1"]
        assert asked.free("lamp") == 13


@pytest.mark.parametrize("policy", ['{"replaces":"second"', '["replaces":"second"]', '[{"replaces":"second"}]'])
def test_a_policy_that_is_none_is_damage(tmp_path, policy):
    """A policy that was edited is reported as damage, before a port is opened."""
    with fresh(tmp_path) as ledger:
        make(ledger, "second", size=3)
        _replaced(ledger, tmp_path / FILE)
        change(tmp_path / FILE, f"UPDATE batch SET policy = '{policy}' WHERE name = 'second.r1'")
        with pytest.raises(IntegrityError, match="policy of a batch") as caught:
            reader(tmp_path).free("lamp", "second")
        assert (caught.value.cause, caught.value.where) == ("ledger-corrupt", "batch second.r1")


def test_a_serial_that_came_with_its_board_is_no_batch(tmp_path):
    """Whoever names one as a batch is told what it is, until its unit is void."""
    with fresh(tmp_path) as ledger:
        _given(ledger, tmp_path / FILE)
        asked = reader(tmp_path)
        with pytest.raises(InputError) as caught:
            asked.batch("SN-7")
        assert caught.value.hint == "that is a serial; use `rmfab trace SN-7`"
        ledger.void("SN-7", reason="x", station=STATION, ts=now(), seen={"SN-7": ledger.named("SN-7").standing})
        with pytest.raises(InputError) as caught:
            asked.batch("SN-7")
        assert caught.value.hint == "list the batches with `rmfab status`"


def test_a_different_host_is_refused_alike(tmp_path):
    """A host that has no record of the pool, or that of a different machine, is told the same by both."""
    fresh(tmp_path).close()
    here = this_host()
    for host in (PoolHost(tmp_path / "state", here.machine), PoolHost(here.state, "other")):
        with Ledger.open(tmp_path / FILE, create=False, host=host) as ledger:
            refusal = reader(tmp_path, host).pool_standing().refusal
            assert refusal is not None
            assert told(refusal) == told(ledger.pool_standing().refusal)


def test_each_question_sees_what_is_committed_since(tmp_path):
    """A reader that was opened before a change sees it, from every thread."""
    with fresh(tmp_path) as ledger:
        asked = reader(tmp_path)
        assert asked.free("lamp") == 10
        _used(ledger, tmp_path / FILE)
        seen: list[int] = []
        thread = threading.Thread(target=lambda: seen.append(asked.free("lamp")))
        thread.start()
        thread.join()
        assert seen == [7]
        assert asked.last_release("lamp") == ledger.last_release("lamp")


def test_an_event_that_was_edited_is_refused_alike(tmp_path):
    """An acceptance that was edited into nonsense raises the same error from both, and the reader goes on."""
    with fresh(tmp_path) as ledger:
        _used(ledger, tmp_path / FILE)
        asked = reader(tmp_path)
        change(tmp_path / FILE, "UPDATE event SET details = '{' WHERE kind = 'release'")
        errors = []
        for one in (asked, ledger):
            with pytest.raises(IntegrityError) as caught:
                one.last_release("lamp")
            errors.append(told(caught.value))
        assert errors[0] == errors[1]
        assert asked.last_trust("lamp") == ledger.last_trust("lamp")


def test_damage_is_named_as_by_the_ledger(tmp_path):
    """A file that is damaged after it was opened to be asked is reported as damaged, not as a bug."""
    fresh(tmp_path).close()
    path = tmp_path / FILE
    asked = reader(tmp_path)
    damage(path, "batch")
    assert cause_of(asked.batches) == "ledger-corrupt"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE alembic_version SET version_num = '0003'",
        "UPDATE alembic_version SET version_num = '9999'",
        "DROP TABLE alembic_version",
        "DROP TABLE identity",
        "DELETE FROM meta WHERE name = 'ledger_id'",
        "UPDATE meta SET value = '../../lamp' WHERE name = 'ledger_id'",
        "PRAGMA journal_mode=DELETE",
    ],
)
def test_what_the_reader_leaves_to_the_ledger(tmp_path, statement):
    """A ledger to upgrade, of a newer version, a different program or a different journal is not read at once."""
    fresh(tmp_path).close()
    change(tmp_path / FILE, statement)
    assert LedgerReader.open(tmp_path / FILE, this_host()) is None


def test_what_is_no_ledger_to_read(tmp_path):
    """A missing, empty or foreign file, a folder and a URL are left to what explains them."""
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("not a database, but long enough to have a header" * 10)
    for location in ("missing", "empty", "text", "."):
        assert LedgerReader.open(tmp_path / location, this_host()) is None
    assert LedgerReader.open("postgresql://host/ledger", this_host()) is None


_UNPRIVILEGED = """
import os, sys
sys.path[:] = {path!r}
from rmfab.ledger.host import this_host
from rmfab.ledger.reader import LedgerReader
os.chmod({ledger!r}, 0o644)
print(LedgerReader.open({ledger!r}, this_host()) is None)  # also imports what is needed, while it is still readable
os.chmod({ledger!r}, 0o444)
if os.geteuid() == 0:  # root may write anything
    os.setgid(65534)
    os.setuid(65534)
print(LedgerReader.open({ledger!r}, this_host()) is None)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX file modes")
def test_a_ledger_that_may_not_be_written_is_not_read_at_once():
    """A read-only ledger needs the ways of `read_only`, and its caveat."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fresh(folder).close()
        folder.chmod(0o777)
        code = _UNPRIVILEGED.format(path=sys.path, ledger=str(folder / FILE))
        environment = os.environ | {"RMFAB_STATE": name}
        done = subprocess.run(
            [sys.executable, "-B", "-c", code], capture_output=True, text=True, check=False, env=environment
        )
    assert done.stdout.split() == ["False", "True"], done.stderr


def test_a_ledger_that_a_killed_process_left_is_read(tmp_path):
    """What a killed process had committed to the WAL is part of the answers."""
    with fresh(tmp_path) as ledger:
        _used(ledger, tmp_path / FILE)
        left = tmp_path / "left"
        left.mkdir()
        for ending in ("", "-wal"):
            (left / f"{FILE}{ending}").write_bytes((tmp_path / f"{FILE}{ending}").read_bytes())
        assert reader(left).last_release("lamp") == ledger.last_release("lamp")
        assert reader(left).free("lamp") == 7


@pytest.mark.skipif(os.name != "posix", reason="Windows does not delete open files")
@pytest.mark.parametrize("how", ["deleted", "replaced by a copy", "still there"])
def test_a_ledger_that_goes_after_it_was_asked(tmp_path, how):
    """A ledger deleted or replaced between the questions of a line and its first claim is an integrity error."""
    workspace = create_workspace(
        tmp_path / "ws",
        chip=Chip.ESP32C3,
        name="lamp",
        serial=None,
        mqtt_host=None,
        credentials=Credentials.CLOUD_CLAIM,
        force=False,
    )
    fresh(workspace.root, size=2).close()
    path = (workspace.root / FILE).rename(workspace.root / "ledger.db")
    assert workspace.inquiry.free("lamp", "lamp-0001") == 2
    if how == "deleted":
        path.unlink()
    elif how == "replaced by a copy":
        shutil.copyfile(path, tmp_path / "copy")
        (tmp_path / "copy").replace(path)
    else:
        assert workspace.ledger.free("lamp", "lamp-0001") == 2
        return
    with pytest.raises(IntegrityError) as refused:
        _ = workspace.ledger
    assert refused.value.cause == "ledger-replaced"
