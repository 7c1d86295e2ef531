"""Pieces that a board already holds are not sent again."""

from __future__ import annotations

import pytest

from tests.line.floor import FCTRY, NVS, found, serve, spec

APP, APP_SIZE, PIECE = 0x20000, 512 * 1024, 0x10000
BOOTED = (0, 0x2000)  # the firmware changes its OTA data, if it has time to boot after the first run


@pytest.fixture(scope="module")
def factory(tmp_path_factory):
    """Return a factory whose app has eight pieces."""
    return found(tmp_path_factory.mktemp("pieces") / "ws", units=4, app_size=APP_SIZE)


def again(factory, path, changed, index):
    """Flash a board, change its flash at *changed* offsets, and return what the second run measured."""
    with serve([spec(index=index, flash_file=path)]) as (board,):
        first = factory.run(board.url, command="flash")
    assert first.code == 0, first.unit["reason"]
    whole = path.read_bytes()
    data = bytearray(whole)
    for offset, piece in changed.items():
        data[offset : offset + len(piece)] = piece
    path.write_bytes(data)
    with serve([spec(index=index, flash_file=path)]) as (board,):
        second = factory.run(board.url, command="flash")
    assert second.code == 0, second.unit["reason"]
    after = path.read_bytes()
    assert after[APP : APP + APP_SIZE] == whole[APP : APP + APP_SIZE]
    assert after[FCTRY : FCTRY + 0x6000] == whole[FCTRY : FCTRY + 0x6000]
    return first.step("flash")["measurements"], second.step("flash")["measurements"]


@pytest.mark.slow
def test_one_damaged_piece(factory, tmp_path):
    """Of an app with one bad bit, the piece with that bit is sent."""
    first, second = again(factory, tmp_path / "flash.bin", {APP + 3 * PIECE + 0x8000: b"\xa5" * 16}, 0)
    assert first["kept"] == 0
    assert first["written"] > APP_SIZE
    assert second["written"] - PIECE in BOOTED
    assert 0 < second["sent"] < first["sent"] / 6


@pytest.mark.slow
def test_a_write_that_was_cut_short(factory, tmp_path):
    """Of an app whose write was cut short, what is missing is sent."""
    missing = {APP + 5 * PIECE: b"\xff" * (3 * PIECE), FCTRY: b"\xff" * 0x6000, NVS: b"\xff" * 0x6000}
    first, second = again(factory, tmp_path / "flash.bin", missing, 1)
    assert second["written"] - 3 * PIECE - 0x6000 in BOOTED
    assert second["sent"] < first["sent"] / 2


@pytest.mark.slow
def test_asking_ends_when_it_does_not_pay(factory, tmp_path):
    """After two pieces in a row that differ nothing more is asked: the rest is sent, whatever the board holds."""
    changed = {APP + PIECE: b"\x00" * 0x1000, APP + 2 * PIECE: b"\x00" * 0x1000}
    _, second = again(factory, tmp_path / "flash.bin", changed, 2)
    assert second["written"] - 7 * PIECE in BOOTED


@pytest.mark.slow
def test_a_board_of_a_different_release_is_not_asked(factory, tmp_path):
    """If the bootloader differs, no piece of the app is compared."""
    first, second = again(factory, tmp_path / "flash.bin", {0x1000: b"\x00" * 16}, 3)
    assert second["sent"] >= 0.9 * first["sent"]
