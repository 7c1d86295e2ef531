"""`rmfab ota try` on virtual boards and real mosquitto: what passes, what is recorded, each refusal and whose it is."""

from __future__ import annotations

import shutil
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rmfab.cloud.mosquitto import Mosquitto, find_mosquitto
from rmfab.identity.ca import CertificateAuthority
from rmfab.line import over_the_air
from rmfab.listening import free_port
from rmfab.nvs.packing import pack
from rmfab.nvs.table import Entry, EntryKind
from rmfab.operations.trace import trace_unit
from rmfab.ota import http_handler
from rmfab.product.vocabulary import Chip
from rmfab.report.trace import as_lines
from rmfab.virtual import BoardHandle
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.workspace.workspace import now
from tests.cloud.lab import Lab
from tests.line.floor import (
    APP_SIZE,
    FCTRY,
    NVS,
    Factory,
    Said,
    beside,
    copied,
    found,
    interrupting,
    ports,
    serve,
    spec,
)
from tests.line.test_cloud import HOST, Line, Shop, beside_it, network_to
from tests.line.test_provision import held_network
from tests.line.test_release import rmfab
from tests.ota.conftest import Papers, papers
from tests.patience import PATIENCE
from tests.virtual.rig import recipe

pytestmark = [pytest.mark.slow, pytest.mark.peers]

__all__ = ["papers"]  # the fixture with the certificates belongs to the tests of the room ota

SERIAL = "LMP-000001"
ALL = tuple(f"LMP-{number:06d}" for number in range(1, 5))
BREAK = 49152
"""The offset of a part of the image that the firmware asks for."""


@dataclass
class Bench:
    """A line for one test, with the releases that its units may load: bundles by name, in *root*."""

    line: Line
    papers: Papers
    roots: str
    root: Path

    @property
    def factory(self) -> Factory:
        return self.line.factory

    def bundle(self, version: str, seq: int, **options: Any) -> Path:
        """Return a signed bundle of this version, made once."""
        name = f"{version}-{seq}-{zlib.crc32(repr(options).encode()):08x}"
        bundle = self.root / f"{name}.rmfab"
        if not bundle.exists():
            build = make_build_folder(self.root / name, self._recipe(version=version, seed=seq, **options))
            rmfab(self.factory, "release", "build", build, "-o", bundle, "--seq", str(seq), "--no-sbom")
            rmfab(self.factory, "release", "sign", bundle, "--key", f"file:{self.root}/release.key")
        return bundle

    def flashes(self, **options: Any) -> None:
        """Let the line flash a different build."""
        shutil.rmtree(self.factory.root / "build")
        make_build_folder(self.factory.root / "build", self._recipe(**options))

    def _recipe(self, **options: Any) -> Any:
        return recipe(Chip.ESP32C3, **{"app_size": APP_SIZE, "server_root": self.roots} | options)

    def board(self, *faults: str, **fields: Any) -> Any:
        """Serve a board on the bench network."""
        return serve([spec(faults=faults, networks=(self.line.shop.network,), **fields)])

    def flash(self, board: BoardHandle) -> None:
        """Flash the board as the line does."""
        assert self.factory.run(board.url, command="flash", extra=("--serial", SERIAL)).code == 0

    def try_(self, board: BoardHandle, to: Path, *extra: str) -> Said:
        """Run `rmfab ota try` on the board."""
        served = ["--cert", str(self.papers.cert), "--key", str(self.papers.key), "--tcp-port", "0"]
        return self.factory.do(
            "ota", "try", SERIAL, "--to", str(to), *ports(board.url, command="verify"), *served, *extra
        )

    def refused(self, to: Path, *extra: str, serial: str = SERIAL) -> tuple[int, list[str]]:
        """Run `rmfab ota try` on a port without a board; return how it was refused before that was opened."""
        served = ["--cert", str(self.papers.cert), "--key", str(self.papers.key), "--tcp-port", "0"]
        return self.factory.do("ota", "try", serial, "--to", str(to), "--port", "/dev/no-such", *served, *extra).refusal


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, papers: Papers) -> Iterator[Shop]:
    """One broker and one factory for all; its firmware trusts the broker and the server of the images."""
    root = tmp_path_factory.mktemp("shop")
    lab = Lab(root, names=(HOST, "localhost"))
    roots = lab.folder.ca.read_text() + papers.ca.read_text()
    factory = found(root / "ws", units=4, server_root=roots)
    rmfab(factory, "release", "keygen", "-o", root / "release.key", "--no-passphrase")
    rmfab(factory, "trust", "add", root / "release.pub", "--role", "release")
    lab.ca = CertificateAuthority.load(factory.workspace.ca_folder, lambda _: None, now())
    lab.write(lab.folder, port := free_port("127.0.0.1"))
    with Mosquitto(find_mosquitto(), lab.folder, lab.settings(port)):
        yield Shop(factory, lab, port)


@pytest.fixture
def bench(shop: Shop, papers: Papers, tmp_path: Path) -> Bench:
    """A factory for one test, with its station.toml."""
    line = Line(shop, copied(shop.factory, tmp_path / "ws"), tmp_path)
    line.station()
    roots = shop.lab.folder.ca.read_text() + papers.ca.read_text()
    return Bench(line, papers, roots, shop.factory.root.parent)


def measured(said: Said, step: str = "update") -> dict[str, Any]:
    """The measurements of a step."""
    return said.step(step)["measurements"]


def failed(bench: Bench, said: Said, cause: str) -> None:
    """Assert that the unit failed in the step `update` for *cause*, and is as new."""
    assert (said.code, said.verdict) == (1, ("FAIL", cause)), (said.unit, said.words)
    assert said.steps()["update"] == "FAIL"
    assert bench.factory.states() == {SERIAL: "failed"}
    assert not any("still holds" in told for told in said.logs)
    bench.factory.check()


class TestPassed:
    """Good units."""

    def test_there_and_back(self, bench: Bench, tmp_path: Path) -> None:
        """The unit installs the release and then the line's again, proves each, and is as new and verified."""
        flash = tmp_path / "flash.bin"
        with bench.board(flash_file=flash) as (board,):
            bench.flash(board)
            identity = flash.read_bytes()[FCTRY:][:0x6000]
            said = bench.try_(board, bench.bundle("2.0.0", 2), "--back")
            assert said.code == 0, (said.unit, said.words)
            assert board.state()["slot"] == "ota_0"
        steps = ["detect", "boot", "identify", "provision", "cloud", "update", "back", "reset", "recheck"]
        assert list(said.steps()) == steps
        for step, version, slot in (("update", "2.0.0", "ota_1"), ("back", "1.0.0", "ota_0")):
            found = measured(said, step)
            assert set(found["checks"].values()) == {"PASS"}, found
            assert set(found["checks"]) == {"status", "config", "slot", "factory", "console"}
            assert (found["version"], found["slot"], found["attempts"]) == (version, slot, 1)
            assert found["sent"] == found["size"]
            stages = ("fetch", "started", "downloaded", "rebooting", "config", "success")
            assert all(0 <= found[stage] < PATIENCE for stage in stages)
        assert measured(said, "recheck")["checks"] == {"console": "PASS", "session": "PASS", "key": "PASS"}
        assert flash.read_bytes()[FCTRY:][:0x6000] == identity
        assert held_network(flash.read_bytes()) == []
        assert bench.factory.states() == {SERIAL: "verified"}
        bench.factory.check()
        events = trace_unit(bench.factory.workspace, SERIAL).events
        told = [one.event for one in events if one.event.kind == "update"]
        assert [one.details["release"]["version"] for one in told] == ["2.0.0", "1.0.0"]
        assert any("  update  " in line and "release 2.0.0" in line for line in as_lines((), events))
        (recorded,) = [one.event for one in events if one.event.step == "update"]
        assert recorded.details == measured(said) | {"operator": recorded.details["operator"]}

    def test_there(self, bench: Bench) -> None:
        """Without --back the unit keeps the release, unproven: `verify` proves it, `run` flashes the line's again."""
        with bench.board() as (board,):
            assert bench.factory.run(board.url, extra=("--serial", SERIAL)).code == 0
            assert bench.factory.states() == {SERIAL: "verified"}
            to = bench.bundle("2.0.0", 2)
            said = bench.try_(board, to)
            assert said.code == 0, (said.unit, said.words)
            assert (board.state()["slot"], bench.factory.states()) == ("ota_1", {SERIAL: "flashed"})
            assert bench.factory.run(board.url, command="verify", extra=("--release", str(to))).code == 0
            assert bench.factory.states() == {SERIAL: "verified"}
            assert bench.factory.run(board.url).code == 0
            assert (board.state()["slot"], bench.factory.states()) == ("ota_0", {SERIAL: "verified"})
        bench.factory.check()

    def test_a_broken_download(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """A download that breaks goes on where it was, since the job has file_md5: the update is marginal."""
        broken = []

        def breaking(served: Any, reply: Any) -> Iterator[memoryview]:
            if reply.first == BREAK and not broken:
                broken.append(reply)
                raise ConnectionResetError
            return whole(served, reply)

        whole = http_handler._pieces
        monkeypatch.setattr(http_handler, "_pieces", breaking)
        with bench.board() as (board,):
            bench.flash(board)
            said = bench.try_(board, bench.bundle("2.0.0", 2))
        assert (said.code, said.steps()["update"]) == (0, "MARGINAL"), (said.unit, said.words)
        assert said.step("update")["class"] == "ota-resumed"
        assert measured(said)["attempts"] == 2
        assert measured(said)["sent"] == measured(said)["size"]


class TestFailed:
    """What is wrong with a unit or a release."""

    @pytest.mark.parametrize(
        ("cause", "own", "version", "offered"),
        [
            ("ota-project", {}, "2.0.0", {"project": "kettle"}),
            ("ota-same-version", {}, "1.0.0", {}),
            ("ota-secure-version", {"secure_version": 2}, "2.0.0", {"secure_version": 1}),
        ],
    )
    def test_rejected(
        self, bench: Bench, cause: str, own: dict[str, int], version: str, offered: dict[str, Any]
    ) -> None:
        """What this host refuses to offer, and the unit rejects with --force: each has its own cause."""
        if own:
            bench.flashes(**own)
        to = bench.bundle(version, 5, **offered)
        assert bench.refused(to)[0] == 3
        with bench.board() as (board,):
            bench.flash(board)
            failed(bench, bench.try_(board, to, "--force"), cause)
            assert board.state()["slot"] == "ota_0"

    def test_rolled_back(self, bench: Bench) -> None:
        """An update whose first start fails its diagnostics is reported by the version before."""
        with bench.board("rolls-back") as (board,):
            bench.flash(board)
            failed(bench, bench.try_(board, bench.bundle("2.0.0", 2)), "ota-rolled-back")
            assert board.state()["slot"] == "ota_0"

    def test_no_broker(self, bench: Bench) -> None:
        """A version that does not trust its broker rolls back after its wait, and the console says why."""
        to = bench.bundle("2.0.0", 3, server_root=bench.papers.ca.read_text(), rollback_wait=10)
        with bench.board() as (board,):
            bench.flash(board)
            said = bench.try_(board, to)
            failed(bench, said, "ota-no-mqtt")
            assert "certificate" in said.unit["reason"]

    def test_no_image(self, bench: Bench) -> None:
        """Firmware that does not trust this host's certificate fails after its three attempts."""
        bench.flashes(server_root=bench.line.shop.lab.folder.ca.read_text())
        with bench.board() as (board,):
            bench.flash(board)
            said = bench.try_(board, bench.bundle("2.0.0", 2))
            failed(bench, said, "ota-download")
        assert (measured(said)["attempts"], measured(said)["sent"]) == (3, 0)

    def test_no_status(self, bench: Bench) -> None:
        """A unit that updates itself without a word to its cloud fails, though it runs the new version."""
        with bench.board("no-ota-status") as (board,):
            bench.flash(board)
            failed(bench, bench.try_(board, bench.bundle("2.0.0", 2)), "ota-no-status")

    def test_job_lost(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """A factory reset during the update erases network and job: the unit never reports an end."""
        go_on = threading.Event()

        def held(served: Any, reply: Any) -> Iterator[memoryview]:
            go_on.wait(PATIENCE)
            return whole(served, reply)

        def reset(visit: Any, stage: Any, *rest: Any) -> None:
            stage.console.send("reset-to-factory")
            follow(visit, stage, *rest)

        whole, follow = http_handler._pieces, over_the_air._follow
        monkeypatch.setattr(http_handler, "_pieces", held)
        monkeypatch.setattr(over_the_air, "_follow", reset)
        with bench.board() as (board,):
            bench.flash(board)
            with beside(lambda: bench.factory.wait_for(lambda event: event.get("step") == "update") or go_on.set()):
                said = bench.try_(board, bench.bundle("2.0.0", 2))
            failed(bench, said, "ota-job-lost")

    def test_mapped(self, bench: Bench, tmp_path: Path) -> None:
        """A unit that belongs to a user is refused before it is told anything, and is reset."""
        flash = tmp_path / "flash.bin"
        with bench.board(flash_file=flash) as (board,):
            bench.flash(board)
        cells = bytearray(flash.read_bytes())
        cells[NVS : NVS + 0x6000] = pack([Entry("user_mapping", "user_id", EntryKind.BLOB, b"someone")], 0x6000)
        flash.write_bytes(cells)
        with bench.board(flash_file=flash) as (board,):
            said = bench.try_(board, bench.bundle("2.0.0", 2))
        assert (said.code, said.verdict) == (1, ("FAIL", "cloud-mapped")), said.unit
        assert "update" not in said.steps()


class TestStation:
    """What is wrong with the station, the request or the operator's patience is no unit's fault."""

    def test_interrupted(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """^C in the middle leaves a unit that the ledger does not call verified, and says so."""
        go_on = threading.Event()
        whole = http_handler._pieces

        def held(served: Any, reply: Any) -> Iterator[memoryview]:
            go_on.wait(PATIENCE)
            return whole(served, reply)

        monkeypatch.setattr(http_handler, "_pieces", held)
        with bench.board() as (board,):
            assert bench.factory.run(board.url, extra=("--serial", SERIAL)).code == 0

            def play() -> None:
                bench.factory.wait_for(lambda event: "the unit reports in-progress" in str(event.get("text")))

            def let_go() -> None:  # the server ends once its connections do
                bench.factory.wait_for(lambda event: event["event"] == "unit" and event["outcome"] == "ABORTED")
                go_on.set()

            to = bench.bundle("2.0.0", 2)
            with beside(let_go), interrupting(play):
                said = bench.try_(board, to)
        assert (said.code, said.verdict) == (130, ("ABORTED", "aborted")), said.words
        assert any(f"{SERIAL} was told to install rmfab-demo 2.0.0" in told for told in said.logs)
        assert bench.factory.states() == {SERIAL: "flashed"}

    def test_the_broker_dies(self, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """If the witness loses its connection, the unit ends as ERROR, and the ledger does not call it verified."""
        with beside_it(bench.line.shop.lab, tmp_path / "broker") as (broker, port):
            bench.line.station(tcp_port=port)

            def die(*arguments: Any) -> None:
                broker.stop()
                follow(*arguments)

            follow = over_the_air._follow
            monkeypatch.setattr(over_the_air, "_follow", die)
            with serve([spec(networks=(network_to(port),))]) as (board,):
                bench.flash(board)
                said = bench.try_(board, bench.bundle("2.0.0", 2))
        assert (said.code, said.verdict) == (4, ("ERROR", "witness")), said.unit
        assert bench.factory.states() == {SERIAL: "flashed"}

    def test_units_that_are_not_here(self, bench: Bench, tmp_path: Path) -> None:
        """A unit that was not flashed, is void or handed over is refused before a port is opened."""
        to = bench.bundle("2.0.0", 2)
        assert bench.refused(to) == (3, ["not-flashed"])
        rmfab(bench.factory, "void", SERIAL, "--reason", "lost", "--yes")
        assert bench.refused(to) == (3, ["void"])
        there = tmp_path / "factory"
        there.mkdir()
        card = there / "f.card"
        fingerprint = rmfab(Factory(there), "station", "card", "-o", card)[0].strip()
        order = ("--count", "1", "--to", card, "--fingerprint", fingerprint, "-o", tmp_path / "1.handover")
        rmfab(bench.factory, "handover", "lamp-0001", *order)
        (gone,) = [serial for serial in ALL if self._state(bench, serial) == "handed-over"]
        assert bench.refused(to, serial=gone) == (3, ["handed-over"])

    def _state(self, bench: Bench, serial: str) -> str:
        with bench.factory.ledger() as ledger:
            return str(ledger.identity_by_serial(serial).state)

    def test_releases_that_do_not_fit(self, bench: Bench, tmp_path: Path) -> None:
        """So are releases that nobody trusts, that units could not load, or that allow no way back."""
        with bench.board() as (board,):
            bench.flash(board)
        unsigned = make_build_folder(tmp_path / "unsigned", recipe(Chip.ESP32C3, version="2.0.0", app_size=APP_SIZE))
        assert bench.refused(unsigned)[0] == 5
        assert bench.refused(bench.bundle("2.0.0", 2, secure_version=1), "--back") == (3, ["secure-version"])
        assert bench.refused(bench.bundle("2.0.0", 2), "--name", "ota.example.org") == (3, ["tls-name"])

    def test_no_witness(self, bench: Bench) -> None:
        """So is a station without a witness."""
        with bench.board() as (board,):
            bench.flash(board)
        bench.line.station(witness_cert=None, witness_key=None)
        assert bench.refused(bench.bundle("2.0.0", 2)) == (3, ["no-witness"])
