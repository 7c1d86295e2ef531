"""Boots that follow each other on one console."""

from __future__ import annotations

from rmfab.board.boot_series import BootSeries

ROM = ("ESP-ROM:esp32c3-api1-20210207", "Build:Feb  7 2021", "rst:0xc (RTC_SW_CPU_RST),boot:0xd (SPI_FAST_FLASH_BOOT)")
SECOND = "I (24) boot: ESP-IDF v5.5.1 2nd stage bootloader"


def app(version: str) -> tuple[str, ...]:
    """What an app prints first."""
    return (
        "I (100) app_init: Project name:     lamp",
        f"I (101) app_init: App version:      {version}",
        "I (102) app_init: ELF file SHA256:  0123456789abcdef",
    )


def series(*lines: str) -> BootSeries:
    """The series of *lines*."""
    one = BootSeries()
    for line in lines:
        one.feed(line)
    return one


def test_one_log_per_boot() -> None:
    """A restart starts a log of its own: it is no symptom of the boot before."""
    one = series("I (9) x: running", *ROM, SECOND, *app("2.0.0"), *ROM, SECOND, *app("1.0.0"))
    assert one.starts == 2
    assert (one.log.app["App version"], one.log.symptom) == ("1.0.0", None)


def test_a_quiet_rom_or_bootloader() -> None:
    """Chips whose ROM is silent show a start by their bootloader; bootloaders without a log, by their ROM."""
    assert series(SECOND, *app("1"), SECOND, *app("2")).starts == 2
    assert series(*ROM, *app("1"), *ROM, *app("2")).starts == 2


def test_why_it_rolled_back() -> None:
    """A wait for the broker that is over is noted, with what the firmware said of its connection, beyond the boot."""
    words = "E (9000) esp_rmaker_ota: Could not verify firmware even after 90 seconds since boot-up. Rolling back."
    trouble = "E (800) esp-tls: couldn't get hostname for :mqtt.example.com: getaddrinfo() returns 202, addrinfo=0x0"
    one = series(*ROM, SECOND, *app("2"), trouble, words, *ROM, SECOND, *app("1"))
    assert one.unconfirmed
    assert one.trouble is not None
    assert not series(*ROM, SECOND, *app("2"), trouble).unconfirmed
