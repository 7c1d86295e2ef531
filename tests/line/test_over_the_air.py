"""From the line to an over-the-air update: a shelf of `ota serve`, boards that load from it, and the rollback."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rmfab.board.port import open_port
from rmfab.board.unit_console import UnitConsole
from rmfab.product.vocabulary import Chip
from rmfab.release.opening import open_release
from rmfab.virtual.bench.serving import BoardHandle
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe
from rmfab.virtual.firmware.markers import FirmwareFacts
from rmfab.virtual.network import FACTORY_NETWORK
from tests import patience
from tests.line.floor import APP_SIZE, FCTRY, Factory, found, serve, spec
from tests.line.test_release import rmfab
from tests.ota.conftest import Papers, papers
from tests.patience import PATIENCE
from tests.terminal import environment, words

pytestmark = pytest.mark.slow

__all__ = ["papers"]  # the fixture with the certificates belongs to the tests of the room ota


@pytest.fixture
def plant(tmp_path: Path) -> Factory:
    """A workspace with signed releases: 1.0.0 for the line, 2.0.0 and one that never confirms for the air."""
    plant = found(tmp_path / "ws", edits=(("allow_unsigned = true ", "allow_unsigned = false"),))
    rmfab(plant, "release", "keygen", "-o", tmp_path / "release.key", "--no-passphrase")
    rmfab(plant, "trust", "add", tmp_path / "release.pub", "--role", "release")
    for seq, version, confirms in ((1, "1.0.0", True), (2, "2.0.0", True), (3, "3.0.0", False)):
        build = make_build_folder(
            tmp_path / version,
            FirmwareRecipe(
                Chip.ESP32C3, app_size=APP_SIZE, version=version, facts=FirmwareFacts(confirms=confirms), seed=seq
            ),
        )
        bundle = tmp_path / f"{version}.rmfab"
        rmfab(plant, "release", "build", build, "-o", bundle, "--seq", str(seq), "--no-sbom")
        rmfab(plant, "release", "sign", bundle, "--key", f"file:{tmp_path}/release.key")
        rmfab(plant, "ota", "export", bundle, "-o", tmp_path / "shelf", "--channel", f"v{seq}")
    return plant


@contextlib.contextmanager
def shelf_served(plant: Factory, papers: Papers) -> Iterator[str]:
    """The base URL of `rmfab ota serve` in a separate process."""
    command = words(
        "ota", "serve", plant.root.parent / "shelf", "--cert", papers.cert, "--key", papers.key, "--port", "0"
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().decode().strip()
        finally:
            server.terminate()
            assert server.wait(PATIENCE) == 0


def image_path(plant: Factory, seq: int) -> str:
    """Return the path of a release's image, from the shelf's newest index."""
    index = json.loads((plant.root.parent / "shelf" / "latest.json").read_text())
    (listed,) = [one for one in index["releases"] if one["seq"] == seq]
    return listed["image"]


def until(board: BoardHandle, slot: str, ota: str) -> None:
    """Wait until the board runs from *slot* and its entry is in the state *ota*."""
    patience.until(lambda: (state := board.state())["slot"] == slot and state["ota"] == ota, f"{slot}, {ota}")


def join(board: BoardHandle) -> None:
    """Join the board to the factory network by its console, as on a bench."""
    port = open_port(board.url)
    try:
        console = UnitConsole(port, board.url, lambda: None)
        console.send(f"wifi-prov {FACTORY_NETWORK.ssid} {FACTORY_NETWORK.password}")
        assert any("Waiting for User Node Association" in line for line in console.lines(PATIENCE)), console.text
    finally:
        port.close()


def load(boards: list[BoardHandle], url: str, papers: Papers) -> None:
    """Have all *boards* load the image at *url* in parallel."""
    answers: dict[str, str] = {}

    def one(board: BoardHandle) -> None:
        answers[board.mac] = board.control(f"ota {url} {papers.ca}")

    threads = [threading.Thread(target=one, args=(board,)) for board in boards]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {board.mac: "ok" for board in boards}


@contextlib.contextmanager
def flashed(plant: Factory, count: int) -> Iterator[list[BoardHandle]]:
    """Boards flashed by the line with release 1.0.0 that have joined a network."""
    folder = plant.root.parent
    specs = [spec(index=n, flash_file=folder / f"flash-{n}.bin", networks=(FACTORY_NETWORK,)) for n in range(count)]
    with serve(specs) as boards:
        said = plant.run(*(board.url for board in boards), extra=("--release", str(folder / "1.0.0.rmfab")))
        assert said.code == 0, said.words
        for board in boards:
            join(board)
        yield boards


def factory_partition(plant: Factory, number: int) -> str:
    """Return the digest of a board's factory partition."""
    flash = (plant.root.parent / f"flash-{number}.bin").read_bytes()
    return hashlib.sha256(flash[FCTRY : FCTRY + 0x6000]).hexdigest()


def test_two_boards_take_an_update_at_once(plant: Factory, papers: Papers):
    """Both boards load the image in ranges over HTTPS, boot it as pending, confirm it once they reach their broker, and
    keep their identity; curl reads the same bytes in parallel.
    """
    with flashed(plant, 2) as boards, shelf_served(plant, papers) as base:
        before = [factory_partition(plant, n) for n in range(2)]
        url = f"{base}/{image_path(plant, 2)}"
        load(boards, url, papers)
        app = open_release(plant.root.parent / "2.0.0.rmfab").part("app").data
        curl = ["curl", "--silent", "--fail", "--cacert", papers.ca, "--range", "1000-1999", url]
        assert subprocess.run(curl, capture_output=True, check=True).stdout == app[1000:2000]
        for board in boards:
            until(board, "ota_1", "valid")
        assert [factory_partition(plant, n) for n in range(2)] == before
        for n in range(2):
            flash = (plant.root.parent / f"flash-{n}.bin").read_bytes()
            assert flash[0x200000 : 0x200000 + len(app)] == app


def test_an_update_that_never_confirms_is_taken_back(plant: Factory, papers: Papers):
    """The update is pending until the next restart; then the bootloader rolls back to the app that the line wrote."""
    with flashed(plant, 1) as (board,), shelf_served(plant, papers) as base:
        load([board], f"{base}/{image_path(plant, 3)}", papers)
        until(board, "ota_1", "pending-verify")
        board.control("restart")
        until(board, "ota_0", "valid")


def test_a_board_that_was_updated_comes_back_to_the_line(plant: Factory, papers: Papers):
    """`run` flashes the line's release again, erases otadata, and the unit passes every step with its old identity."""
    with flashed(plant, 1) as (board,), shelf_served(plant, papers) as base:
        serial = plant.bindings()[board.mac]
        load([board], f"{base}/{image_path(plant, 2)}", papers)
        until(board, "ota_1", "valid")
        said = plant.run(board.url, extra=("--release", str(plant.root.parent / "1.0.0.rmfab")))
        assert (said.code, said.unit["serial"]) == (0, serial), said.words
        until(board, "ota_0", "valid")
