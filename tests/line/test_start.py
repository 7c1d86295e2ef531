"""The start of commands: what they import before they are useful, and what is checked before a port is opened.

A library that is loaded too early makes every start slower. The times are in benchmarks/startup.py.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from rmfab.board.esp.payload import Region, compress
from rmfab.cli import main
from rmfab.errors import IntegrityError, LedgerError
from rmfab.ledger.sql.outage import Watcher
from rmfab.ledger.store import Ledger
from rmfab.line.ending import Aborted
from rmfab.line.events import Step
from rmfab.line.job import PreparedRelease
from rmfab.line.ledger_opening import LedgerOpening
from rmfab.operations.accept_release import AcceptRequest, accept_release
from rmfab.release.acceptance import Accepted
from rmfab.release.opening import open_release
from tests.ledger.tampering import OTHER_HOLDER, change, damage
from tests.line.floor import Factory, found, ports, serve, spec
from tests.patience import PATIENCE
from tests.terminal import environment, words

LATER = ("reportlab", "PIL", "pypdfium2", "zxingcpp", "qrcode", "google.protobuf", "gmpy2", "bleak", "alembic")
"""Libraries for labels, provisioning and migrations."""
LINE = ("esptool", "serial", "cryptography", "sqlalchemy")
"""Libraries that the line needs, and a command that only reads does not."""
OPENED = """
import json, os, sys
from rmfab.line import worker

def report(*_):
    print(json.dumps(sorted(sys.modules)), flush=True)
    os._exit(0)

worker.open_port = report
from rmfab.cli import run
run()
"""
"""Runs rmfab, and prints the imported modules instead of opening a port."""
UNLOADED = {
    ("--help",): (*LATER, *LINE, "sqlite3", "rich", "json", "logging"),
    ("status",): (*LATER, *LINE, "asyncio", "logging", "tempfile", "shutil", "rich"),
    ("status", "--json"): (*LATER, *LINE, "asyncio", "logging", "tempfile", "shutil", "rich"),
    ("flash",): (
        *LATER,
        "cryptography.x509",
        "rich.progress",
        "sqlalchemy.orm",
        "sqlalchemy.dialects.postgresql",
        "sqlalchemy.dialects.mysql",
        "xml.etree",
        "rmfab.provisioning.http",
        "rmfab.provisioning.session",
        "rmfab.label.content",  # of labels, only the table [printer] of station.toml is read
        "rmfab.label.raster",
        "PIL",
        "rmfab.virtual",
        "rmfab.nvs",
        *(f"rmfab.line.steps.{step.value}" for step in Step if step is not Step.DETECT),
    ),
}


class MutePort:
    """A raw TCP port whose board never answers. `opened` and `asked` are set once it is opened and receives a byte."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"socket://127.0.0.1:{self._listener.getsockname()[1]}"
        self.opened, self.asked = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            client, _ = self._listener.accept()
            with client:
                self.opened.set()
                while client.recv(4096):
                    self.asked.set()


@pytest.fixture
def mute() -> Iterator[MutePort]:
    """A port that notes what is done to it."""
    with MutePort() as port:
        yield port


def loaded(factory: Factory, argv: tuple[str, ...], mute: MutePort) -> set[str]:
    """Return the modules that a command imports; `flash`, until the first byte on its port."""
    command = words("-C", factory.root, *argv, *(ports(mute.url, command="flash") if argv == ("flash",) else ()))
    with subprocess.Popen(
        [command[0], "-X", "importtime", *command[1:]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        if argv == ("flash",):
            threading.Thread(target=lambda: (mute.asked.wait(PATIENCE), process.kill()), daemon=True).start()
        told = process.communicate(timeout=PATIENCE)[1]
    assert mute.asked.is_set() if argv == ("flash",) else process.returncode == 0, told[-2000:]
    return set(re.findall(r"^import time:[^|]+\|[^|]+\| *(\S+)$", told, re.MULTILINE))


def opened(factory: Factory, mute: MutePort, *options: str) -> set[str]:
    """Return the modules that `flash` has imported when it is about to open its port."""
    argv = [sys.executable, "-c", OPENED, "-C", str(factory.root), "flash", *ports(mute.url, command="flash"), *options]
    process = subprocess.run(argv, capture_output=True, text=True, env=environment(), timeout=PATIENCE, check=False)
    assert process.returncode == 0, process.stderr[-2000:]
    return set(json.loads(process.stdout.splitlines()[-1]))


def accept(factory: Factory) -> None:
    """Let the ledger of *factory* record its release, as any earlier `flash` did."""
    accept_release(factory.workspace, AcceptRequest())


def test_the_port_is_opened_before_sqlalchemy_is_imported(factory: Factory, mute: MutePort):
    """`flash` reads what it must know of its ledger without SQLAlchemy; only a record before the port needs it."""
    assert "sqlalchemy" in opened(factory, mute)  # the first one records the acceptance of its release
    found = opened(factory, mute)
    assert "rmfab.line.worker" in found
    assert sorted(name for name in found if name.split(".")[0] in ("sqlalchemy", "alembic", "esptool")) == []


def test_late_serials_and_replacements_need_no_sqlalchemy(tmp_path: Path, mute: MutePort):
    """A batch that is void, but was replaced, is asked for without SQLAlchemy, also if its boards bring serials."""
    factory = found(tmp_path / "ws", units=1, edits=(('serial = "LMP-{n:06d}"', 'serial = "L-{mac}"'),))
    for argv in ("void lamp-0001#1 --reason x", "generate --batch lamp-0001 --replace-void"):
        assert main(["-C", str(factory.root), *argv.split()]) == 0
    accept(factory)
    names = opened(factory, mute, "--batch", "lamp-0001")
    assert sorted(name for name in names if name.split(".")[0] in ("sqlalchemy", "alembic", "esptool")) == []
    with serve([spec()]) as (board,):
        said = factory.run(board.url, command="flash", extra=("--batch", "lamp-0001"))
    assert (said.code, said.unit["serial"]) == (0, f"L-{said.unit['mac'].replace(':', '')}"), said.unit["reason"]
    with factory.ledger() as ledger:
        assert (ledger.named(said.unit["serial"]).batch, ledger.free("Lamp", "lamp-0001")) == ("lamp-0001.r1", 0)


@pytest.mark.parametrize("argv", UNLOADED, ids=" ".join)
def test_what_a_start_does_not_load(factory: Factory, mute: MutePort, argv: tuple[str, ...]):
    """No command loads a library, or a room, before it needs it."""
    found = loaded(factory, argv, mute)
    assert "rmfab.cli" in found
    assert sorted(found & set(UNLOADED[argv])) == []


@pytest.mark.slow
def test_a_port_that_is_opened_is_noticed(factory: Factory, mute: MutePort):
    """With a sound workspace, `flash` opens the port: the counterpart of the test below."""
    said = factory.do("flash", *ports(mute.url, command="flash"))
    assert mute.asked.is_set()
    assert said.verdict[0] == "ERROR"


def _without_ledger(factory: Factory) -> None:
    (factory.root / "ledger.db").unlink()


def _other_product(factory: Factory) -> None:
    factory.edit("LMP-{n:06d}", "LAMP-{n:06d}")
    factory.edit('mqtt_host = "mqtt.example.org"', 'mqtt_host = "mqtt.example.net"')


def _without_release(factory: Factory) -> None:
    (factory.root / "build" / "flasher_args.json").unlink()


def _without_key(factory: Factory) -> None:
    (factory.root / "keys" / "station.key").unlink()


@pytest.mark.parametrize("spoil", [_without_ledger, _other_product, _without_release, _without_key])
def test_no_port_is_opened_for_nothing(factory: Factory, mute: MutePort, spoil):
    """A workspace, ledger or release that cannot be used is reported once, before any port is opened."""
    spoil(factory)
    said = factory.do("flash", *ports(mute.url, command="flash"))
    assert said.code in (3, 4)
    assert len(said.refusal[1]) == 1
    assert said.words.count("rmfab: error:") == 1
    assert not mute.opened.is_set()


def _change(factory: Factory, *statements: str) -> None:
    change(factory.root / "ledger.db", *statements)


def _not_holder(factory: Factory) -> None:
    _change(factory, OTHER_HOLDER)


def _a_copy(factory: Factory) -> None:
    _change(factory, "DELETE FROM meta WHERE name = 'holder'")
    _change(factory, "INSERT INTO meta VALUES ('copy', '2026-01-31T12:00:00.000Z')")


def _lacks_events(factory: Factory) -> None:
    _change(factory, "DELETE FROM event")


def _of_newer_version(factory: Factory) -> None:
    _change(factory, "UPDATE alembic_version SET version_num = '9999'")


def _foreign(factory: Factory) -> None:
    _change(factory, "DROP TABLE identity")


def _without_id(factory: Factory) -> None:
    _change(factory, "DELETE FROM meta WHERE name = 'ledger_id'")


def _newer_release(factory: Factory) -> None:
    _change(factory, "UPDATE event SET details = json_set(details, '$.secure_version', 9) WHERE kind = 'release'")


def _damaged(factory: Factory) -> None:
    damage(factory.root / "ledger.db", "batch")


def _emptied(factory: Factory) -> None:
    (factory.root / "ledger.db").write_bytes(b"")


REFUSED = {
    _not_holder: (5, "not-pool-holder"),
    _a_copy: (5, "not-pool-holder"),
    _lacks_events: (5, "not-pool-holder"),
    _of_newer_version: (4, "ledger-newer"),
    _foreign: (4, "ledger-foreign"),
    _without_id: (5, "ledger-corrupt"),
    _newer_release: (5, "downgrade"),
    _damaged: (5, "ledger-corrupt"),
    _emptied: (4, "ledger-missing"),
}


@pytest.mark.parametrize("spoil", REFUSED)
def test_a_ledger_is_judged_before_the_port_is_opened(factory: Factory, mute: MutePort, spoil):
    """A ledger that must not be used is refused before a port is opened, also if there is nothing to record first."""
    accept(factory)
    spoil(factory)
    said = factory.do("flash", *ports(mute.url, command="flash"))
    assert said.refusal == (REFUSED[spoil][0], [REFUSED[spoil][1]])
    assert not mute.opened.is_set()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LedgerError("the ledger is locked by another program", cause="ledger-locked"), 4),
        (IntegrityError("the ledger is damaged", cause="ledger-corrupt"), 5),
    ],
)
def test_a_ledger_that_cannot_be_opened_any_more(
    factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error, code
):
    """If the ledger goes bad between the look at it and its opening, the unit is an ERROR; its flash stays blank."""
    accept(factory)

    def fail(*_: object, **__: object) -> Ledger:
        raise error

    monkeypatch.setattr(Ledger, "open", fail)
    path = tmp_path / "flash.bin"
    with serve([spec(flash_file=path)]) as (board,):
        said = factory.run(board.url, command="flash")
    assert (said.code, said.verdict) == (code, ("ERROR", error.cause))
    assert said.steps() == {"detect": "PASS", "claim": "ERROR"}
    assert set(path.read_bytes()) == {0xFF}


def test_the_ledger_is_opened_once(factory: Factory):
    """Whoever comes first opens the ledger; all get the same, guarded until the run ends, and a failure is retried."""
    ledger, calls = factory.workspace.ledger, 0
    ready = threading.Event()

    def slow() -> Ledger:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise LedgerError("locked", cause="ledger-locked")
        assert ready.wait(PATIENCE)
        return ledger

    opening = LedgerOpening(slow)
    with opening.guarded(Watcher(lambda: True, lambda _: None)):
        with pytest.raises(LedgerError):
            _ = opening.ledger
        got: list[Ledger] = []
        threads = [threading.Thread(target=lambda: got.append(opening.ledger)) for _ in range(4)]
        for thread in threads:
            thread.start()
        opening.open_meanwhile()
        opening.open_meanwhile()
        ready.set()
        for thread in threads:
            thread.join(PATIENCE)
        assert got == [ledger] * 4
        assert calls == 2


def test_waiting_for_the_compression_can_be_given_up(factory: Factory, monkeypatch: pytest.MonkeyPatch):
    """^C does not wait for a large firmware to be compressed."""
    firmware = PreparedRelease(Accepted(open_release(factory.root / "build")))
    started, done = threading.Event(), threading.Event()

    def endless(name: str, offset: int, data: bytes) -> Region:
        started.set()
        assert done.wait(PATIENCE)
        return compress(name, offset, data)

    def stop() -> None:
        raise Aborted

    monkeypatch.setattr("rmfab.line.job.compress", endless)
    firmware.compress_meanwhile()
    assert started.wait(PATIENCE)
    with pytest.raises(Aborted):
        firmware.wait(stop)
    done.set()
    firmware.wait(lambda: None)
    assert len(firmware.regions) == len(firmware.release.parts)


def test_parts_are_compressed_once(factory: Factory):
    """What the slots get was compressed once, meanwhile or on first use, and is the same."""
    release = open_release(factory.root / "build")
    wanted = tuple(compress(part.name, part.offset, part.data) for part in release.parts)
    ahead, late = PreparedRelease(Accepted(release)), PreparedRelease(Accepted(release))
    ahead.compress_meanwhile()
    assert ahead.regions == late.regions == wanted
    assert ahead.regions is ahead.regions
