"""The client of the loader on a line with noise, against a board whose ROM loader noise can kill."""

from __future__ import annotations

import os

import pytest

from rmfab.board.esp.loader import Loader, SlotLink
from rmfab.board.esp.payload import compress
from rmfab.board.restart import Auto, Unwired
from rmfab.board.rfc2217 import Rfc2217Port
from rmfab.errors import PortError
from rmfab.product.vocabulary import Chip
from rmfab.virtual import BoardSpec, serve

pytestmark = pytest.mark.slow

_SYNCED, _UPLOADING = 8, 20  # the number of a write while the client asks for the chip, and while it uploads the stub
_CHIP_ID = b"\xc0\x01\x14"  # the beginning of the answer to GET_SECURITY_INFO (esptool docs, "Serial Protocol")


class NoisyPort(Rfc2217Port):
    """Damages the middle of one write, the *damaged*-th, or of the first answer with *damaged* in it."""

    def __init__(self, damaged, noise):
        super().__init__()
        self._damaged = damaged
        self._noise = noise
        self._writes = 0
        self._heard = b""

    def write(self, data, /):
        self._writes += 1
        return super().write(self._with_noise(data) if self._writes == self._damaged else data)

    def read(self, size=1, /):
        data = super().read(size)
        self._heard += data
        if not isinstance(self._damaged, bytes) or self._damaged not in self._heard:
            return data
        self._damaged = 0
        return self._with_noise(data)

    def _with_noise(self, data):
        middle = len(data) // 2
        return data[:middle] + self._noise + data[middle + 1 :]


def _opened(url, damaged, noise):
    port = NoisyPort(damaged, noise)
    port.port, port.baudrate, port.timeout, port.dtr, port.rts = url, 115200, 3.0, False, False
    port.open()
    return port


NOISE = {"escape": b"\xdb\x00", "end": b"\xc0", "lost": b"", "wrong": b"\x55"}


@pytest.mark.parametrize(
    ("chip", "baud", "damaged", "noise"),
    [
        (Chip.ESP32C3, 921600, _SYNCED, "escape"),
        (Chip.ESP32C3, 921600, _SYNCED, "lost"),
        (Chip.ESP32, 921600, _SYNCED, "escape"),
        (Chip.ESP32, 921600, _SYNCED, "end"),
        (Chip.ESP32C3, 921600, _UPLOADING, "escape"),
        (Chip.ESP32C3, 115200, _UPLOADING, "escape"),
        (Chip.ESP32, 115200, _UPLOADING, "wrong"),
    ],
)
def test_noise_costs_time_only(chip, baud, damaged, noise):
    """Damage to one request ends neither the connection nor the write, at the lowest rate either."""
    region = compress("app", 0x20000, os.urandom(20_000))
    with serve([BoardSpec(chip)]) as (board,), _opened(board.url, damaged, NOISE[noise]) as port:
        loader = Loader(port, SlotLink(board.url, baud, Auto()))
        assert loader.connect().mac == board.mac
        assert loader.prepare().mac == board.mac
        loader.write(region, lambda _done, _total: None)
        assert loader.md5(region.offset, region.size) == region.md5


def test_noise_in_the_answer_with_the_chip():
    """A damaged answer to the question for the chip costs time only: esptool then takes the chip for an unknown one."""
    with serve([BoardSpec(Chip.ESP32C3)]) as (board,), _opened(board.url, _CHIP_ID, NOISE["end"]) as port:
        assert Loader(port, SlotLink(board.url, 115200, Auto())).connect().mac == board.mac
        assert port._damaged == 0, "no answer was damaged"


def test_a_dead_loader_needs_a_restart():
    """If the station cannot restart the board, a loader that noise has killed is an error of the line."""
    with serve([BoardSpec(Chip.ESP32C3)]) as (board,), _opened(board.url, 3, NOISE["escape"]) as port:
        board.control("strap download")
        board.control("restart")
        with pytest.raises(PortError):
            Loader(port, SlotLink(board.url, 115200, Unwired())).connect()
