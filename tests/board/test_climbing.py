"""Climbing, clamping, falling and remembering, on virtual boards behind bridges and cables with limits."""

from __future__ import annotations

import os
from contextlib import contextmanager

import pytest

from rmfab.board.esp.loader import Loader, SlotLink
from rmfab.board.esp.payload import compress
from rmfab.board.port import open_port
from rmfab.board.rate_book import RateBook
from rmfab.board.restart import Auto, Unwired
from rmfab.errors import PortError
from rmfab.product.vocabulary import Chip
from rmfab.virtual import BoardSpec, serve
from rmfab.virtual.chip.bridge import BridgeKind
from rmfab.virtual.faults import FaultCall
from tests.patience import give_boards_their_turn

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch):
    give_boards_their_turn(monkeypatch)


def served(bridge, *faults, paced=None):
    """Serve one board behind *bridge*, None for one that a host cannot know."""
    spec = BoardSpec(Chip.ESP32C3, paced=paced, bridge=bridge, faults=tuple(map(FaultCall.parse, faults)))
    return serve([spec])


@contextmanager
def prepared(board, baud=None, book=None, restart=None):
    """Yield the loader of *board*, with its stub at the rate that the slot wants."""
    port = open_port(board.url)
    try:
        loader = Loader(port, SlotLink(board.url, baud, restart or Auto()), book=book)
        assert loader.connect().mac == board.mac
        assert loader.prepare().mac == board.mac
        yield loader
    finally:
        port.close()


def written(loader, size=70_000):
    """Write *size* bytes as a line does, and return the rates before and after."""
    before, region = loader.baud, compress("app", 0x20000, os.urandom(size))
    loader.write(region, lambda _done, _total: None)
    assert loader.md5(region.offset, region.size) == region.md5
    loader.trust_rate()
    return before, loader.baud


def rates(board, book, boards, size=70_000):
    """Return the rates before and after the writes of *size* bytes to *boards* boards in a row."""
    found = []
    for _ in range(boards):
        with prepared(board, book=book) as loader:
            found.append(written(loader, size))
    return found


@pytest.mark.parametrize(
    ("bridge", "faults", "climb"),
    [
        (BridgeKind.CP2102, (), [921600, 1_000_000, 1_000_000]),
        (BridgeKind.CP2104, (), [921600, 1_000_000, 1_500_000, 2_000_000, 2_000_000]),
        (BridgeKind.CP2102N, (), [921600, 1_000_000, 1_500_000, 2_000_000, 3_000_000, 3_000_000]),
        (BridgeKind.FT231X, (), [921600, 1_000_000, 1_500_000, 2_000_000, 3_000_000, 3_000_000]),
        (BridgeKind.CH340, (), [1_000_000, 1_000_000, 1_000_000]),
        (BridgeKind.CH343, ("bad-cable=1500000",), [921600, 1_000_000, 1_500_000, 1_500_000, 1_500_000]),
        (BridgeKind.CP2102N, ("bad-cable=500000",), [460800, 460800, 460800]),
        (None, (), [921600, 921600]),
    ],
    ids=lambda value: value.value if isinstance(value, BridgeKind) else "",
)
def test_a_slot_climbs_to_what_bridge_and_cable_carry(tmp_path, bridge, faults, climb):
    """Each board that passed raises the rate, until the bridge lowers it, garbles answers, or the cable damages them.

    Only a ROM loader's rate that fails costs a restart. An unknown bridge stays at 921600.
    """
    book = RateBook(tmp_path / "rates.json")
    with served(bridge, *faults) as (board,):
        found = rates(board, book, 1)
        restarts = board.state()["restarts"]
        found += rates(board, book, len(climb) - 1)
        assert found == [(rate, rate) for rate in climb]
        assert board.state()["restarts"] == restarts + len(climb) - 1


def test_a_paced_board_climbs(tmp_path):
    """The same with the time of a real line, on which the stub needs a moment to change its rate."""
    book = RateBook(tmp_path / "rates.json")
    with served(BridgeKind.CH340, paced=0) as (board,):
        assert rates(board, book, 3, 20_000) == [(1_000_000, 1_000_000)] * 3
    with served(BridgeKind.CP2104, paced=0) as (board,):
        assert [after for _, after in rates(board, book, 4, 20_000)] == [921600, 1_000_000, 1_500_000, 2_000_000]


@pytest.mark.parametrize("paced", [None, 0])
def test_falling_in_mid_write(tmp_path, paced):
    """A cable that fails in the middle of a write costs a slower rate, no restart; the next board starts with that."""
    book = RateBook(tmp_path / "rates.json")
    with served(BridgeKind.CP2102N, paced=paced) as (board,):
        assert rates(board, book, 4, 20_000)[-1] == (2_000_000, 2_000_000)
        before = board.state()["restarts"]
        board.control("fault worn-cable=1200000")
        with prepared(board, book=book) as loader:
            assert written(loader) == (3_000_000, 1_000_000)
        assert board.state()["restarts"] == before + 1
        assert rates(board, book, 2) == [(1_000_000, 1_000_000)] * 2


def test_a_fixed_rate_falls_and_is_not_remembered(tmp_path):
    """A rate from station.toml falls by the same steps, 1.5 and 1 Mbaud among them, for this board only."""
    book = RateBook(tmp_path / "rates.json")
    with served(None, "bad-cable=1100000") as (board,):
        for _ in range(2):
            with prepared(board, 2_000_000, book) as loader:
                assert written(loader) == (1_000_000, 1_000_000)
    assert not (tmp_path / "rates.json").exists()


def test_a_slot_that_cannot_restart_its_board_falls_too(tmp_path):
    """Falling needs no restart, so a slot without reset lines falls as well."""
    with served(BridgeKind.CP2102N, "worn-cable=921600") as (board,):
        board.control("strap download")
        board.control("restart")
        with prepared(board, 2_000_000, restart=Unwired()) as loader:
            assert written(loader) == (2_000_000, 921600)


def test_a_board_that_dies_is_not_the_rate(tmp_path, monkeypatch):
    """A board that stops answering is an error of the board's contact, and teaches the slot nothing about its rate."""
    book = RateBook(tmp_path / "rates.json")
    with served(BridgeKind.CP2102N) as (board,):
        rates(board, book, 2)
        record = book.read((board.url, "10c4:ea60"))
        with prepared(board, book=book) as loader:
            board.control("power off")
            for limit in ("rmfab.board.esp.line_speed._REPLY_SECONDS", "esptool.loader.SYNC_TIMEOUT"):
                monkeypatch.setattr(limit, 0.02)  # nothing answers from now on
            for limit in ("esptool.loader.DEFAULT_TIMEOUT", "esptool.cmds.DEFAULT_TIMEOUT"):
                monkeypatch.setattr(limit, 0.1)
            with pytest.raises(PortError):
                written(loader)
        assert book.read((board.url, "10c4:ea60")) == record


def test_damage_that_no_checksum_of_a_block_sees(tmp_path):
    """If the MD5 of what was written differs at a raised rate, the rate is lowered; at the first rate it is not."""
    book = RateBook(tmp_path / "rates.json")
    with served(BridgeKind.CP2102N) as (board,):
        with prepared(board, book=book) as loader:
            assert not loader.mistrust_rate()
            written(loader)
        with prepared(board, book=book) as loader:
            assert loader.baud == 1_000_000
            assert loader.mistrust_rate()
            assert loader.baud == 921600
        assert book.read((board.url, "10c4:ea60")).errors == {1_000_000: 1}


@pytest.mark.parametrize("usb", ["303a:1001", "303a:0002"])
def test_own_usb_has_no_rate(monkeypatch, usb):
    """A chip's own USB ignores the rate, whatever station.toml says: it is never changed."""
    monkeypatch.setattr("rmfab.board.slot_speed.usb_of", lambda *_: usb)
    with served(None) as (board,):
        for baud in (None, 2_000_000):
            with prepared(board, baud) as loader:
                assert written(loader, 20_000) == (115200, 115200)


def test_a_fixed_rate_keeps_out_of_the_gaps_of_its_bridge():
    """A CH340 with a fixed 2 Mbaud gets its stub at 1 Mbaud, and stays there: at 2 Mbaud the host receives noise."""
    with served(BridgeKind.CH340) as (board,), prepared(board, 2_000_000) as loader:
        assert written(loader, 20_000) == (1_000_000, 1_000_000)


def test_a_flash_chip_that_fails_is_not_the_rate(tmp_path):
    """What the stub reports of the flash chip is tried once more, and lowers no rate."""
    book = RateBook(tmp_path / "rates.json")
    with served(BridgeKind.CP2102N) as (board,):
        rates(board, book, 2)
        record = book.read((board.url, "10c4:ea60"))
        with prepared(board, book=book) as loader:
            beyond = compress("app", (4 << 20) - 0x1000, os.urandom(0x2000))
            with pytest.raises(PortError, match="C400"):
                loader.write(beyond, lambda _done, _total: None)
            assert loader.baud == 1_500_000
        assert book.read((board.url, "10c4:ea60")) == record
