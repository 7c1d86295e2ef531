"""Commands to the flash chip with few requests: the same answers as esptool's own, on every chip."""

from __future__ import annotations

import pytest

from rmfab.board.esp.door import esptool
from rmfab.board.esp.spi_commands import SpiCommands
from rmfab.board.port import open_port
from rmfab.product.vocabulary import Chip
from rmfab.virtual import BoardSpec, serve

COMMANDS = (
    {"spiflash_command": 0x9F, "read_bits": 24},
    {"spiflash_command": 0x5A, "read_bits": 32, "addr": 0, "addr_len": 24, "dummy_len": 8},
    {"spiflash_command": 0x5A, "read_bits": 8, "addr": 0x10, "addr_len": 24, "dummy_len": 8},
    {"spiflash_command": 0x06},
    {"spiflash_command": 0x01, "data": b"\x1c\x02"},
    {"spiflash_command": 0x05, "read_bits": 8},
    {"spiflash_command": 0x35, "read_bits": 8},
    {"spiflash_command": 0x50},
    {"spiflash_command": 0x01, "data": b"\x00"},
    {"spiflash_command": 0x05, "read_bits": 8},
    {"spiflash_command": 0x66},
    {"spiflash_command": 0x99},
)


@pytest.fixture(params=[Chip.ESP32, Chip.ESP32S2, Chip.ESP32C3], ids=lambda chip: chip.value)
def stub(request):
    """Yield esptool's object of a board with a running stub, and a function that counts the board's commands."""
    with serve([BoardSpec(request.param)]) as (board,):
        port = open_port(board.url)
        cmds = esptool()
        yield cmds.run_stub(cmds.detect_chip(port, 115200, "default-reset")), lambda: board.state()["commands"]
        port.close()


@pytest.mark.slow
def test_answers_are_those_of_esptool(stub):
    """Each command gives what esptool's own gives, leaves the controller as it was, and takes at most four requests."""
    esp, count = stub
    own = esp.run_spiflash_command
    registers = [esp.SPI_REG_BASE + offset for offset in (esp.SPI_USR_OFFS, esp.SPI_USR2_OFFS)]
    before = [esp.read_reg(register) for register in registers]
    theirs = [(own(**command), None)[not command.get("read_bits")] for command in COMMANDS]
    batched = SpiCommands(esp).run
    batched(0x9F, read_bits=24)  # the first one reads what to restore
    ours = []
    for command in COMMANDS:
        asked = count()
        answer = batched(**command)
        assert count() - asked <= 4
        ours.append(answer if command.get("read_bits") else None)
    assert ours == theirs
    assert theirs[0] & 0xFF == 0xC8
    assert [esp.read_reg(register) for register in registers] == before


@pytest.mark.parametrize("bad", [{"read_bits": 33}, {"data": bytes(65)}])
def test_what_esptool_rejects_is_rejected(bad):
    """More data than the registers have room for is esptool's error."""

    class Esp:
        SPI_REG_BASE = SPI_USR_OFFS = SPI_USR1_OFFS = SPI_USR2_OFFS = SPI_W0_OFFS = 0
        SPI_MOSI_DLEN_OFFS = SPI_MISO_DLEN_OFFS = 0

    with pytest.raises(esptool().FatalError):
        SpiCommands(Esp()).run(0x9F, **bad)


def test_a_command_that_does_not_end():
    """A controller that stays busy is an error, as of esptool."""

    class Esp:
        SPI_REG_BASE = SPI_USR_OFFS = SPI_USR1_OFFS = SPI_USR2_OFFS = SPI_W0_OFFS = 0
        SPI_MOSI_DLEN_OFFS = SPI_MISO_DLEN_OFFS = 0
        SPI_ADDR_REG_MSB = False
        ESP_CMDS = {"WRITE_REG": 9}  # noqa: RUF012

        def read_reg(self, _):
            return 1 << 18

        def check_command(self, *_):
            return 0

    with pytest.raises(esptool().FatalError, match="did not complete"):
        SpiCommands(Esp()).run(0x9F, read_bits=24)
