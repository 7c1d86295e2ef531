"""`rmfab ota try` on virtual boards and real mosquitto: what passes, what is recorded, each refusal and whose it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rmfab.cloud.mosquitto import Mosquitto, find_mosquitto, free_port
from rmfab.identity.ca import CertificateAuthority
from rmfab.operations.trace import trace_unit
from rmfab.product.vocabulary import Chip
from rmfab.report.trace import as_lines
from rmfab.virtual import BoardHandle
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.workspace.workspace import now
from tests.cloud.lab import Lab
from tests.line.floor import APP_SIZE, FCTRY, Factory, Said, copied, found, ports, serve, spec
from tests.line.test_cloud import HOST, Line, Shop
from tests.line.test_provision import held_network
from tests.line.test_release import rmfab
from tests.ota.conftest import Papers, papers
from tests.patience import PATIENCE
from tests.virtual.rig import recipe

pytestmark = [pytest.mark.slow, pytest.mark.peers]

__all__ = ["papers"]  # the fixture with the certificates belongs to the tests of the room ota

SERIAL = "LMP-000001"
SLOTS = ("ota_0", "ota_1")


@dataclass
class Bench:
    """A line for one test, with the releases that its units may load: bundles by name, in *root*."""

    line: Line
    papers: Papers
    roots: str
    root: Path
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def factory(self) -> Factory:
        return self.line.factory

    def bundle(self, version: str, seq: int, **options: Any) -> Path:
        """Return a signed bundle of this version, made once."""
        name = "-".join([version, str(seq), *(f"{key}={value}" for key, value in options.items())]).replace("=", "_")
        bundle = self.root / f"{name}.rmfab"
        if not bundle.exists():
            build = make_build_folder(self.root / name, self._recipe(version=version, seed=seq, **options))
            rmfab(self.factory, "release", "build", build, "-o", bundle, "--seq", str(seq), "--no-sbom")
            rmfab(self.factory, "release", "sign", bundle, "--key", f"file:{self.root}/release.key")
        return bundle

    def flashes(self, **options: Any) -> None:
        """Let the line flash a different build."""
        make_build_folder(self.factory.root / "build", self._recipe(**options), force=True)

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

    def refused(self, to: Path, *extra: str) -> tuple[int, list[str]]:
        """Run `rmfab ota try` on a port without a board; return how it was refused before that was opened."""
        served = ["--cert", str(self.papers.cert), "--key", str(self.papers.key), "--tcp-port", "0"]
        return self.factory.do("ota", "try", SERIAL, "--to", str(to), "--port", "/dev/no-such", *served, *extra).refusal


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, papers: Papers) -> Iterator[Shop]:
    """One broker and one factory for all; its firmware trusts the broker and the server of the images."""
    root = tmp_path_factory.mktemp("shop")
    lab, port = Lab(root, names=(HOST, "localhost")), free_port("127.0.0.1")
    roots = lab.folder.ca.read_text() + papers.ca.read_text()
    factory = found(root / "ws", units=4, server_root=roots)
    rmfab(factory, "release", "keygen", "-o", root / "release.key", "--no-passphrase")
    rmfab(factory, "trust", "add", root / "release.pub", "--role", "release")
    lab.ca = CertificateAuthority.load(factory.workspace.ca_folder, lambda _: None, now())
    lab.write(lab.folder, port)
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
        assert measured(said, "recheck")["checks"] == {"node_id": "PASS", "qr": "PASS"}
        assert flash.read_bytes()[FCTRY:][:0x6000] == identity
        assert held_network(flash.read_bytes()) == []
        assert bench.factory.states() == {SERIAL: "verified"}
        bench.factory.check()
        events = trace_unit(bench.factory.workspace, SERIAL).events
        told = [one.event for one in events if one.event.kind == "update"]
        assert [one.details["release"]["version"] for one in told] == ["2.0.0", "1.0.0"]
        assert any("  update  " in line and "release 2.0.0" in line for line in as_lines((), events))
        (recorded,) = [one.event for one in events if one.event.step == "update"]
        assert recorded.details == measured(said)
