"""Panic and abort of an app, as ESP-IDF's `esp_system/panic.c` prints them, and the restart that follows."""

from __future__ import annotations

from collections.abc import Iterator

from rmfab.release.app_image import AppDescriptor
from rmfab.virtual.chip.models import ChipModel
from rmfab.virtual.firmware.log import EOL
from rmfab.virtual.firmware.script import Pause, Reset, ResetReason, Step

SHOWN_SHA_DIGITS = 9
_BEFORE_RESTART_SECONDS = 0.2


def panic(model: ChipModel, descriptor: AppDescriptor) -> Iterator[Step]:
    """Load from an invalid address: Guru Meditation, then a software reset of the CPU."""
    exception = "Load access fault" if model.is_riscv else "LoadProhibited"
    yield f"Guru Meditation Error: Core  0 panic'ed ({exception}). Exception was unhandled.{EOL * 2}"
    yield f"Core  0 register dump:{EOL}"
    if model.is_riscv:
        yield f"MEPC    : 0x42008a1e  RA      : 0x42008a16  SP      : 0x3fc95f20  GP      : 0x3fc8f600  {EOL}"
        yield f"MSTATUS : 0x00001881  MTVEC   : 0x40380001  MCAUSE  : 0x00000005  MTVAL   : 0x00000000  {EOL}"
    else:
        yield f"PC      : 0x400d8a1e  PS      : 0x00060930  A0      : 0x800d8b50  A1      : 0x3ffb5f20  {EOL}"
        yield f"EXCVADDR: 0x00000000  LBEG    : 0x4000c2e0  LEND    : 0x4000c2f6  LCOUNT  : 0xffffffff  {EOL}"
    yield from _farewell(descriptor)


def abort(model: ChipModel, descriptor: AppDescriptor, words: str = "") -> Iterator[Step]:
    """Abort as abort() does, then reset the CPU by software."""
    pc = "0x4200b5c8" if model.is_riscv else "0x400d2f3b"
    yield f"{EOL}{words or f'abort() was called at PC {pc} on core 0'}{EOL}"
    yield from _farewell(descriptor)


def _farewell(descriptor: AppDescriptor) -> Iterator[Step]:
    yield f"{EOL}{EOL}ELF file SHA256: {descriptor.elf_sha256[:SHOWN_SHA_DIGITS]}{EOL}{EOL}Rebooting...{EOL}"
    yield Pause(_BEFORE_RESTART_SECONDS)
    yield Reset(ResetReason.CPU_SOFTWARE)
