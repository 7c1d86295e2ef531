"""Virtual boards print and answer only what their image says: log level, console, baud, commands."""

from __future__ import annotations

import pytest

from rmfab.product.vocabulary import ConsolePort, QrForm, Security
from rmfab.virtual.firmware.markers import FirmwareFacts, facts_by_texts, read_facts, texts_of
from tests.virtual.rig import Rig, parts, plain

ROM, BOOTLOADER, APP = "rst:0x1 (POWERON)", "2nd stage bootloader", "Project name:"


@pytest.mark.parametrize(
    ("facts", "printed"),
    [
        ({}, {ROM, BOOTLOADER, APP}),
        ({"log_level": 0}, {ROM, BOOTLOADER}),
        ({"log_level": 0, "bootloader_log_level": 0}, {ROM}),
        ({"bootloader_log_level": 2}, {ROM, APP}),
        ({"console_port": ConsolePort.NONE}, {ROM}),
        ({"console_port": ConsolePort.OTHER_UART}, {ROM}),
        ({"console_port": ConsolePort.USB}, {ROM}),
    ],
)
def test_what_is_printed(facts, printed):
    """The ROM prints whatever the firmware does; bootloader and app print as they were built, and provisioning runs."""
    rig = Rig(parts=parts(**facts))
    text = rig.boot()
    assert {one for one in (ROM, BOOTLOADER, APP) if one in text} == printed
    assert rig.board.service is not None


def test_errors_only():
    """Log level 1 prints errors and nothing else of the log."""
    rig = Rig(parts=parts(log_level=1, claim=False, factory=b"\xff" * 0x6000))
    text = rig.boot()
    assert "esp_rmaker_core: Failed to initialise" in text
    assert APP not in text
    assert "wifi:" not in text


def test_a_panic_is_printed_without_a_log():
    """The panic handler does not use the log."""
    assert "Guru Meditation Error" in Rig(parts=parts(log_level=0), faults=["panic"]).boot()
    silent = Rig(parts=parts(console_port=ConsolePort.NONE), faults=["panic"]).boot()
    assert "Guru Meditation Error" not in silent
    assert silent.count("rst:0x") > 1


def test_the_console_at_a_different_baud():
    """The ROM prints at 115200, bootloader and app at the build's rate; the other end has to listen at that one."""
    rig = Rig(parts=parts(console_baud=74880))
    text = rig.boot()
    assert ROM in text
    assert BOOTLOADER not in text
    assert APP not in text
    rig.board.uart.host_baud = 74880
    text = rig.boot()
    assert ROM not in text
    assert BOOTLOADER in text
    assert "Node ID: NodeOfThisVeryTest" in rig.type("get-node-id\r\n")


def test_commands_without_a_log():
    """get-node-id answers at any log level, sign-data only by the log."""
    rig = Rig(parts=parts(log_level=0))
    rig.boot()
    assert "Node ID: NodeOfThisVeryTest" in rig.type("get-node-id\r\n")
    assert "signature" not in rig.type("sign-data x\r\n")


@pytest.mark.parametrize("port", [ConsolePort.NONE, ConsolePort.OTHER_UART, ConsolePort.USB])
def test_a_console_elsewhere_reads_nothing(port: ConsolePort):
    """What is typed on UART0 does not reach a console that is not there."""
    rig = Rig(parts=parts(console_port=port))
    rig.boot()
    restarts = rig.board.restarts
    assert rig.type("get-node-id\r\nreboot\r\n", 1.0) == ""
    assert rig.board.restarts == restarts


@pytest.mark.parametrize("command", ["get-node-id", "sign-data"])
def test_commands_that_are_not_compiled_in(command: str):
    """A missing command is neither known nor listed."""
    rig = Rig(parts=parts(**{command.replace("-", "_"): False}))
    rig.boot()
    assert "Unrecognized command" in rig.type(f"{command} x\r\n")
    assert command not in rig.type("help\r\n")


def test_the_loader_is_at_the_roms_baud():
    """After firmware at a different rate, the ROM's loader answers at any rate again."""
    rig = Rig(parts=parts(console_baud=74880))
    rig.boot()
    rig.board.circuit.set_dtr(True)
    rig.board.power(False)
    rig.board.power(True)
    assert rig.board.uart.chip_baud == 115200


@pytest.mark.parametrize(
    "facts",
    [
        FirmwareFacts(),
        FirmwareFacts(security=Security.X25519),
        FirmwareFacts(qr=QrForm.COMPACT),
        FirmwareFacts(sign_data=False),
        FirmwareFacts(get_node_id=False, sign_data=False, console=False),
        FirmwareFacts(ch_resp=False, prints_qr=False),
        FirmwareFacts(rainmaker=False),
    ],
)
def test_an_app_without_a_marker_block_is_read_by_its_texts(facts: FirmwareFacts):
    """What the texts of a real app show is what the board plays."""
    assert facts_by_texts(texts_of(facts)) == facts
    assert read_facts(bytes(100) + texts_of(facts)) == facts


def test_a_different_app_offers_nothing():
    """An app that is not RainMaker's starts, and that is all."""
    rig = Rig(parts=parts(rainmaker=False))
    text = plain(rig.boot())
    assert "Calling app_main()" in text
    assert "Provisioning" not in text
    assert rig.board.service is None
