"""The values of the words on the chip agree with esptool's tables."""

from __future__ import annotations

import importlib

import pytest

from rmfab.product.vocabulary import Chip


@pytest.mark.parametrize("chip", list(Chip), ids=lambda chip: chip.value)
def test_chips_are_as_esptool_knows_them(chip: Chip) -> None:
    """Each chip has esptool's image id and bootloader offset."""
    targets = importlib.import_module("esptool.targets")
    rom = targets.CHIP_DEFS[chip.value]
    assert chip.image_id == rom.IMAGE_CHIP_ID
    assert chip.bootloader_offset == rom.BOOTLOADER_FLASH_OFFSET
    assert Chip.from_image_id(chip.image_id) is chip


def test_an_unknown_image_id() -> None:
    """An unknown image id gives None."""
    assert Chip.from_image_id(0xFFFF) is None
