"""The start of an ESP-IDF app, from its first instruction to app_main().

Sources: ESP-IDF `esp_app_desc.c`, `cpu_start.c`, `app_startup.c`, `spi_flash`.
"""

from __future__ import annotations

from collections.abc import Iterator

from rmfab.product.vocabulary import ConsolePort
from rmfab.release.app_image import AppDescriptor, AppImage
from rmfab.release.partition_table import Partition, PartitionTable
from rmfab.virtual.chip.flash import Flash
from rmfab.virtual.faults import BoardFault
from rmfab.virtual.firmware.log import EOL, Log, idf_at_least, idf_uses_colours
from rmfab.virtual.firmware.markers import read_facts
from rmfab.virtual.firmware.panic import SHOWN_SHA_DIGITS, abort, panic
from rmfab.virtual.firmware.rainmaker import app_main
from rmfab.virtual.firmware.running import RunningFirmware
from rmfab.virtual.firmware.script import Console, Enter, Pause, Reset, ResetReason, Script, Step
from rmfab.virtual.spec import BoardSpec

_NO_DESCRIPTOR = AppDescriptor("", "", "v5.5", "0" * 64, 0, "", "")
_BEFORE_DEATH_SECONDS = 0.2


def start(
    spec: BoardSpec, flash: Flash, table: PartitionTable, part: Partition, image: AppImage, header_flash_size: int
) -> Script:
    """Run the app of *image*, which is in the partition *part*."""
    descriptor = image.descriptor or _NO_DESCRIPTOR
    facts = read_facts(flash.seen(part.offset, image.length))
    log = Log(180, coloured=idf_uses_colours(descriptor.idf_version), level=facts.log_level)
    firmware = RunningFirmware(spec, flash, table, part, facts, descriptor, log)
    yield Enter(firmware)
    yield Console(facts.console_port is ConsolePort.UART0, facts.console_baud)
    yield from _startup(spec, log, image, descriptor)
    if spec.has(BoardFault.BROWNOUT):
        yield EOL + "Brownout detector was triggered" + EOL * 2
        yield Pause(_BEFORE_DEATH_SECONDS)
        yield Reset(ResetReason.BROWNOUT)
        return
    if flash.size < header_flash_size:
        yield log.failure(
            "spi_flash",
            f"Detected size({flash.size >> 10}k) smaller than the size in the binary image header"
            f"({header_flash_size >> 10}k). Probe failed.",
        )
        yield from abort(spec.model, descriptor, "assert failed: do_core_init startup.c:328 (flash_ret == ESP_OK)")
        return
    yield from _main(log)
    if spec.has(BoardFault.PANIC):
        yield from panic(spec.model, descriptor)
        return
    if facts.rainmaker:
        yield from app_main(firmware)


def _startup(spec: BoardSpec, log: Log, image: AppImage, descriptor: AppDescriptor) -> Iterator[Step]:
    multicore = spec.model.app_cores > 1
    major, minor = divmod(spec.chip_revision, 100)
    low, high = image.min_revision, image.max_revision
    tag = "app_init" if idf_at_least(descriptor.idf_version, 5, 2) else "cpu_start"
    yield log("cpu_start", "Multicore app" if multicore else "Unicore app")
    yield log("cpu_start", "Pro cpu start user code")
    yield log(tag, "Application information:")
    if descriptor.project:
        yield log(tag, f"Project name:     {descriptor.project}", after=0)
    if descriptor.version:
        yield log(tag, f"App version:      {descriptor.version}", after=0)
    if descriptor.date or descriptor.time:
        yield log(tag, f"Compile time:     {descriptor.date} {descriptor.time}")
    yield log(tag, f"ELF file SHA256:  {descriptor.elf_sha256[:SHOWN_SHA_DIGITS]}...")
    yield log(tag, f"ESP-IDF:          {descriptor.idf_version}", after=0)
    yield log("efuse_init", f"Min chip rev:     v{low // 100}.{low % 100}")
    yield log("efuse_init", f"Max chip rev:     v{high // 100}.{high % 100} ", after=0)
    yield log("efuse_init", f"Chip rev:         v{major}.{minor}")
    yield log("heap_init", "Initializing. RAM available for dynamic allocation:")


def _main(log: Log) -> Iterator[Step]:
    yield log("spi_flash", "detected chip: gd")
    yield log("spi_flash", "flash io: dio", after=0)
    yield log("main_task", "Started on CPU0", after=15)
    yield log("main_task", "Calling app_main()")
