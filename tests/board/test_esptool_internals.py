"""All parts of esptool that rmfab uses, by name: an esptool that changes one of them fails here."""

import importlib
import inspect
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import esptool
import pytest
from esp_pylib.logger import EspLog, EspLogBase
from esptool import cmds, loader
from esptool.targets import CHIP_DEFS

from rmfab.board.esp import door, line_speed
from rmfab.errors import RmfabError
from rmfab.product.vocabulary import Chip
from tests.quick_resets import FOR_A_LOADER

ROOT = Path(__file__).parents[2]


def parameters(function):
    """Return the names of the function's parameters."""
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (cmds.detect_chip, ["port", "baud", "connect_mode", "trace_enabled", "connect_attempts"]),
        (cmds.run_stub, ["esp", "plugins"]),
        (cmds.attach_flash, ["esp", "spi_connection", "flash_type"]),
        (cmds.detect_flash_size, ["esp"]),
        (cmds.flash_size_bytes, ["size"]),
        (cmds._get_flash_defl_block_timeout, ["esp", "uncompressed_size"]),
        (loader.ESPLoader.flash_defl_begin, ["self", "size", "compsize", "offset", "encrypted_write"]),
        (loader.ESPLoader.flash_defl_finish, ["self", "reboot", "timeout"]),
        (loader.ESPLoader.check_command, ["self", "op_description", "op", "data", "chk", "resp_data_len", "timeout"]),
        (loader.ESPLoader.flash_md5sum, ["self", "addr", "size"]),
        (loader.ESPLoader.erase_region, ["self", "offset", "size"]),
        (loader.ESPLoader.read_flash, ["self", "offset", "length", "progress_fn"]),
        (loader.ESPLoader.change_baud, ["self", "baud"]),
        (loader.ESPLoader.flash_set_parameters, ["self", "size"]),
        (loader.ESPLoader.flush_input, ["self"]),
        (loader.ESPLoader.read, ["self"]),
        (loader.ESPLoader.command, ["self", "op", "data", "chk", "wait_response", "timeout"]),
        (loader.ESPLoader.read_reg, ["self", "addr", "timeout"]),
        (
            loader.ESPLoader.run_spiflash_command,
            ["self", "spiflash_command", "data", "read_bits", "addr", "addr_len", "dummy_len"],
        ),
        (loader.ESPLoader.sync, ["self"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_signatures(function, names):
    """Each function has the parameters that rmfab passes. (Decorators may hide a signature behind *args.)"""
    found = parameters(inspect.unwrap(function))
    assert found == names or found == ["self", "args", "kwargs"] or found == ["args", "kwargs"], found


@pytest.mark.parametrize("name", ["flash_size_bytes", "DEFAULT_TIMEOUT", "_get_flash_defl_block_timeout"])
def test_names_in_cmds(name):
    """esptool.cmds has these names, wherever they are defined."""
    assert hasattr(cmds, name)


@pytest.mark.slow
@pytest.mark.parametrize("chip", Chip)
def test_methods_of_every_chip(chip):
    """Each chip that rmfab supports has its class in esptool, with the methods that detection calls."""
    rom = CHIP_DEFS[chip.value]
    assert rom.CHIP_NAME.lower().replace("-", "") == chip.value
    assert chip.bootloader_offset == rom.BOOTLOADER_FLASH_OFFSET
    assert chip.image_id == rom.IMAGE_CHIP_ID
    for name in (
        "get_secure_boot_v1_enabled",
        "get_secure_boot_enabled",
        "get_flash_encryption_enabled",
        "get_chip_revision",
        "read_mac",
        "hard_reset",
    ):
        assert callable(getattr(rom, name))
    if chip not in (Chip.ESP32, Chip.ESP32C2):
        assert callable(rom.get_key_block_purpose)
        assert rom.EFUSE_MAX_KEY == 5
        assert all(rom.KEY_PURPOSES[9 + n] == f"SECURE_BOOT_DIGEST{n}" for n in range(3))
    assert isinstance(rom.EFUSE_RD_REG_BASE if chip is Chip.ESP32 else rom.EFUSE_BASE, int)
    assert rom.IS_STUB is False
    assert rom.STUB_CLASS.IS_STUB is True
    assert {"secure_download_mode", "sync_stub_detected"} <= set(vars(rom)) | _set_in_init()

    inspect.signature(rom.hard_reset).bind(None)


@pytest.mark.parametrize("chip", Chip)
def test_key_blocks(chip):
    """The addresses of the digests of secure boot are those of espefuse's blocks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # espefuse's use of click warns
        tables = importlib.import_module(f"espefuse.efuse.{chip.value}.mem_definition")
    places = {block[0]: block[3] for block in tables.EfuseDefineBlocks.BLOCKS}
    rom = CHIP_DEFS[chip.value]
    if chip is Chip.ESP32:
        assert places["BLOCK2"] == rom.EFUSE_RD_REG_BASE + 0x58
    elif chip is Chip.ESP32C2:
        assert places["BLOCK_KEY0"] == rom.EFUSE_BASE + 0x60
    else:
        assert all(places[f"BLOCK_KEY{n}"] == rom.EFUSE_BASE + 0x9C + 0x20 * n for n in range(6))


def test_flags_of_revoked_keys():
    """get_security_info has a flag for the revocation of each digest."""
    source = inspect.getsource(loader.ESPLoader.get_security_info)
    assert '"parsed_flags"' in source
    assert all(f'"SECURE_BOOT_KEY_REVOKE{n}"' in source for n in range(3))


def _set_in_init():
    source = inspect.getsource(loader.ESPLoader)
    return {name for name in ("secure_download_mode", "sync_stub_detected") if f"self.{name}" in source}


def test_constants():
    """The constants that the write loop relies on are unchanged."""
    assert loader.ESPLoader.ESP_CMDS["FLASH_DEFL_DATA"] == 0x11
    assert loader.ESPLoader.WRITE_FLASH_ATTEMPTS >= 1
    assert cmds.DEFAULT_TIMEOUT == 3
    assert loader.StubMixin.FLASH_WRITE_SIZE == 0x4000
    assert "BASE_MAC" in inspect.getsource(loader.ESPLoader.read_mac) + inspect.getsource(CHIP_DEFS["esp32c3"].read_mac)


def test_batched_flash_commands():
    """attach_flash and detect_flash_size send their commands by a method that may be replaced on the object."""
    for function in ("read_spiflash_sfdp", "flash_id"):
        assert "self.run_spiflash_command(" in inspect.getsource(getattr(loader.ESPLoader, function))
    assert "esp.run_spiflash_command(" in inspect.getsource(cmds.attach_flash)
    for name in ("SPI_REG_BASE", "SPI_USR_OFFS", "SPI_USR1_OFFS", "SPI_USR2_OFFS", "SPI_W0_OFFS", "SPI_ADDR_REG_MSB"):
        assert all(hasattr(CHIP_DEFS[chip.value], name) for chip in Chip)
    for name in ("SPI_MOSI_DLEN_OFFS", "SPI_MISO_DLEN_OFFS"):
        assert all(isinstance(getattr(CHIP_DEFS[chip.value], name), int) for chip in Chip)
    assert loader.ESPLoader.ESP_CMDS["WRITE_REG"] == 0x09
    assert loader.ESPLoader.ESP_CMDS["CHANGE_BAUDRATE"] == 0x0F


@pytest.mark.parametrize("chip", Chip)
def test_rates_of_the_rom(chip):
    """Only these ROMs must be told a different rate from the one they shall run at; the others get it as it is."""
    source = inspect.getsource(CHIP_DEFS[chip.value].change_baud)
    plain = "ESPLoader.change_baud(self, baud)" in source and "CHANGE_BAUDRATE" not in source
    assert (CHIP_DEFS[chip.value].CHIP_NAME in line_speed._OTHER_CRYSTALS) == (
        not plain and CHIP_DEFS[chip.value].change_baud is not loader.ESPLoader.change_baud
    )


def test_the_first_reset_is_short(monkeypatch):
    """esptool's resets take how long they hold EN by keyword; only the first try of a connection holds it for less."""
    door.esptool()
    from esptool import reset

    monkeypatch.setattr(door, "_HOLD_SECONDS", FOR_A_LOADER)
    for name in ("classic_bootloader_reset", "unix_tight_bootloader_reset"):
        seen = []
        pulled = door._quick_at_first(lambda port, seen=seen, **options: seen.append(options), 0.05)
        monkeypatch.setattr(reset, name, pulled)
        strategy = reset.ClassicReset if name.startswith("classic") else reset.UnixTightReset
        for delay in (0.05, 0.55):
            strategy(None, delay).reset()
        assert [one["enter_boot_delay"] for one in seen] == [0.03, 0.1]
        assert [one["reset_delay"] for one in seen] == [0.05, 0.55]


def test_words_of_failures():
    """esptool's source contains the phrases that rmfab recognizes failures by."""
    source = inspect.getsource(loader)
    for phrase in (
        "Wrong boot mode detected",
        "TX path seems to be down",
        "No serial data received",
        "Serial data stream stopped",
        "Packet content transfer stopped",
        "Invalid head of packet",
    ):
        assert phrase in source
    assert "Failed to autodetect chip type" in inspect.getsource(cmds) + source
    error = esptool.FatalError.WithResult("Failed to write", b"\xc1\x00")
    assert "(result was C100:" in str(error)
    assert isinstance(error, RuntimeError)


def test_trace_formatter():
    """loader.HexFormatter is looked up at each use, so that replacing it disables it."""
    assert inspect.isclass(loader.HexFormatter)
    assert "HexFormatter(" in inspect.getsource(loader.ESPLoader)
    door.esptool()
    assert str(loader.HexFormatter(b"\x00" * 100)) == ""


def test_logger_is_replaced_and_quiet(capsys):
    """esptool's output goes only to the record of the calling thread."""
    door.esptool()
    from esptool.logger import log

    assert isinstance(EspLog.instance, EspLogBase)
    door.forget_said()
    log.print("one", 2)
    log.warning("three")
    log.error("four")
    log.note("[bold]five[/bold]")
    assert door.said() == ("one 2", "three", "four", "[bold]five[/bold]")
    with log.progress(total=3, disable=False, unit="B") as progress:
        progress.update(advance=1, description="six")
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_version_is_pinned(monkeypatch):
    """An unsupported version of esptool is rejected, with what to install."""
    door._tamed.cache_clear()
    monkeypatch.setattr(esptool, "__version__", "5.7.0")
    with pytest.raises(RmfabError) as caught:
        door.esptool()
    assert caught.value.cause == "esptool-version"
    monkeypatch.undo()
    door._tamed.cache_clear()
    door.esptool()


@pytest.mark.parametrize("name", ["esptool.cfg", "setup.cfg", "tox.ini"])
def test_no_configuration_is_picked_up(tmp_path, name):
    """A configuration of esptool in the working directory has no effect, and the import prints nothing."""
    (tmp_path / name).write_text("[esptool]\ntimeout = 99\nconnect_attempts = 1\ncustom_reset_sequence = R1|D1\n")
    code = (
        "import json; from rmfab.board.esp.door import esptool; cmds = esptool(); from esptool import loader;"
        "print(json.dumps([cmds.DEFAULT_TIMEOUT, loader.DEFAULT_CONNECT_ATTEMPTS, "
        "loader.cfg.get('custom_reset_sequence')]))"
    )
    environment = {key: value for key, value in os.environ.items() if key != "ESPTOOL_CFGFILE"}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [3, 7, None]
    assert done.stderr == ""


def test_the_reset_warning_is_ours():
    """The reset warning, which esptool prints once per process, reaches the record of every slot."""
    from esptool.reset import ResetStrategy

    door.esptool()
    for _ in range(2):
        door.forget_said()
        ResetStrategy(None).print_once("Chip was NOT reset")
        assert door.said() == ("Chip was NOT reset",)


def test_many_slots_import_it_at_once():
    """Any number of threads that import esptool first get the complete module."""
    code = """
import threading
from rmfab.board.esp import door, line_speed
found, ready = [], threading.Barrier(16)
def ask():
    ready.wait()
    found.append(door.esptool().detect_chip)
threads = [threading.Thread(target=ask) for _ in range(16)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert len(found) == 16 and len(set(found)) == 1, len(found)
"""
    for _ in range(3):
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
