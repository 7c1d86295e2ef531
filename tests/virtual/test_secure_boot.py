"""Secure boot on a virtual board: what esptool reads of it, and what it starts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from esptool import FatalError
from esptool.targets import CHIP_DEFS

from rmfab.board.esp.burnt import burnt_digests
from rmfab.product.vocabulary import Chip
from rmfab.release.app_image import AppImage
from rmfab.release.secure_boot import signature_blocks
from rmfab.virtual.chips import MODELS
from rmfab.virtual.efuse import Security, efuse_words, security_info
from tests.release.test_secure_boot import signed
from tests.virtual.rig import APP, Rig, parts

DIGEST = bytes(range(32)).hex()
BOOTLOADER = MODELS[Chip.ESP32C6].chip.bootloader_offset


def exactly(data, length):
    """*data*, if it has the *length* that is asked for; the ESP32-S2 has less to tell."""
    if len(data) != length:
        raise FatalError("short")
    return data


class Reader:
    """esptool's own class of a chip, whose registers are the board's eFuse words."""

    def __new__(cls, chip, security):
        rom = CHIP_DEFS[chip.value]
        reader = rom.__new__(rom)
        model = MODELS[chip]
        words = efuse_words(model, bytes(6), model.revision, security)
        info = security_info(model, security, model.revision)
        reader.read_reg = lambda address, **_: words.get(address, 0)
        reader.check_command = lambda *_, resp_data_len, **__: exactly(info, resp_data_len)
        reader.secure_download_mode = False
        reader.cache = dict.fromkeys(("flash_id", "uart_no", "eco", "chip_id", "security_info"))
        return reader


@pytest.mark.parametrize("chip", list(Chip), ids=lambda chip: chip.value)
def test_esptool_reads_the_digest(chip):
    """The burnt digest stands where esptool and we look for it, on every chip; the ESP32-C2 keeps half of one."""
    reader = Reader(chip, Security(secure_boot=True, digest=DIGEST))
    assert burnt_digests(reader, reader.CHIP_NAME) == (DIGEST[:32] if chip is Chip.ESP32C2 else DIGEST,)
    if chip is not Chip.ESP32:  # which asks its revision as well
        assert reader.get_secure_boot_enabled()


@pytest.mark.parametrize("chip", [Chip.ESP32S2, Chip.ESP32C3, Chip.ESP32C6, Chip.ESP32P4], ids=lambda chip: chip.value)
def test_a_revoked_digest_is_not_trusted(chip):
    """A key whose revocation bit is burnt no longer counts."""
    reader = Reader(chip, Security(secure_boot=True, digest=DIGEST))
    whole = security_info(MODELS[chip], Security(secure_boot=True, digest=DIGEST), 0)
    revoked = bytes([whole[0] | 1 << 3]) + whole[1:]
    reader.check_command = lambda *_, resp_data_len, **__: exactly(revoked, resp_data_len)
    assert burnt_digests(reader, reader.CHIP_NAME) == ()


@pytest.fixture(scope="module")
def key():
    """A key for secure boot."""
    return ec.generate_private_key(ec.SECP256R1())


def _signed(tmp_path, *keys):
    """Whole firmware of the C6; bootloader and app are signed by these keys, in this order, or not where None."""
    signers = dict(zip((BOOTLOADER, APP), keys, strict=True))
    return [
        (at, data if signers.get(at) is None else signed(tmp_path, signers[at], image=data))
        for at, data in parts(Chip.ESP32C6)
    ]


def _rig(firmware, digest):
    rig = Rig(Chip.ESP32C6, parts=firmware)
    rig.board.spec = replace(rig.board.spec, secure_boot_digest=digest)
    return rig


def _digest(firmware):
    data = dict(firmware)[BOOTLOADER]
    (block,) = signature_blocks(data, AppImage.parse(data, "bootloader").length, "bootloader")
    return block.key_digest


def test_a_board_starts_what_its_key_has_signed(tmp_path, key):
    """Both images signed with the burnt key: the ROM and the bootloader say so, and the firmware comes up."""
    firmware = _signed(tmp_path, key, key)
    text = _rig(firmware, _digest(firmware)).boot()
    assert "secure boot verification succeeded" in text
    assert "Node ID ----- NodeOfThisVeryTest" in text


def test_a_board_starts_nothing_else(tmp_path, key):
    """Unsigned, signed by another key, or damaged: the ROM refuses the bootloader, the bootloader the app."""
    other = ec.generate_private_key(ec.SECP256R1())
    good = _signed(tmp_path, key, key)
    digest = _digest(good)
    for firmware, words in (
        (parts(Chip.ESP32C6), "No signature block magic byte"),
        (_signed(tmp_path, other, key), "secure boot verification failed"),
        (_signed(tmp_path, key, None), "Secure Boot V2 verification failed"),
        (_signed(tmp_path, key, other), "Secure Boot V2 verification failed"),
    ):
        text = _rig(firmware, digest).boot()
        assert words in text
        assert "Node ID" not in text


def test_an_open_board_starts_signed_images(tmp_path, key):
    """Without secure boot the signatures mean nothing."""
    text = Rig(Chip.ESP32C6, parts=_signed(tmp_path, key, key)).boot()
    assert "secure boot" not in text.lower()
    assert "Node ID ----- NodeOfThisVeryTest" in text
