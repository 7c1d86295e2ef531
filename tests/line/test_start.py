"""The start of commands: what they import before they are useful, and what is checked before a port is opened.

A library that is loaded too early makes every start slower. The times are in benchmarks/startup.py.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from typing import Self

import pytest

from rmfab.board.esp.payload import Region, compress
from rmfab.line.ending import Aborted
from rmfab.line.events import Step
from rmfab.line.job import PreparedRelease
from rmfab.release.acceptance import Accepted
from rmfab.release.opening import open_release
from tests.line.floor import Factory, ports
from tests.patience import PATIENCE
from tests.terminal import environment, words

LATER = ("reportlab", "PIL", "pypdfium2", "zxingcpp", "qrcode", "google.protobuf", "gmpy2", "bleak", "alembic")
"""Libraries for labels, provisioning and migrations."""
LINE = ("esptool", "serial", "cryptography", "sqlalchemy")
"""Libraries that the line needs, and a command that only reads does not."""
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
        "rmfab.label",
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


@pytest.mark.parametrize("argv", UNLOADED, ids=" ".join)
def test_what_a_start_does_not_load(factory: Factory, mute: MutePort, argv: tuple[str, ...]):
    """No command loads a library, or a room, before it needs it."""
    found = loaded(factory, argv, mute)
    assert "rmfab.cli" in found
    assert sorted(found & set(UNLOADED[argv])) == []


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
