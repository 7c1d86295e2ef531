"""What a board must not get this release for: every guard of esptool's write_flash that is ours to keep."""

from dataclasses import replace

import pytest

from rmfab.board.esp.facts import BoardFacts, Refused, SecurityState, refuse_chip, refuse_release, refuse_security
from rmfab.product.vocabulary import Chip
from rmfab.release.build_folder import read_build_folder
from rmfab.virtual.firmware import make_build_folder

GOOD = BoardFacts("ESP32-C3", 4, "24:0a:c4:00:00:01", 4 << 20, SecurityState())


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """A release for the ESP32-C3 from revision v0.3 to v1.99, with 4 MB of flash."""
    return read_build_folder(make_build_folder(tmp_path_factory.mktemp("c3"), Chip.ESP32C3, app_size=128 * 1024))


def judge(facts, release):
    """All judges, as detect asks them."""
    refuse_security(facts)
    refuse_chip(facts, Chip.ESP32C3)
    refuse_release(facts, release)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"security": SecurityState(secure_boot_v1=True)}, "secure-boot-v1"),
        ({"security": SecurityState(secure_boot_v2=True)}, "secure-boot-v2"),
        # a key manager matters only where it holds the key of an encrypted flash: refused with it
        ({"security": SecurityState(flash_encryption=True)}, "flash-encryption"),
        ({"security": SecurityState(secure_download=True)}, "secure-download-mode"),
        ({"security": SecurityState(True, True, True, True)}, "secure-download-mode"),
        ({"security": SecurityState(secure_boot_v2=True, flash_encryption=True)}, "flash-encryption"),
        ({"chip_name": "ESP32-S3"}, "chip-mismatch"),
        ({"chip_name": "ESP32"}, "chip-mismatch"),
        ({"revision": 2}, "revision-too-old"),
        ({"revision": 200}, "revision-too-new"),
        ({"flash_size": 2 << 20}, "flash-too-small"),
        ({"flash_size": None}, "flash-unknown"),
    ],
)
def test_refused(change, cause, release):
    """Each of them is refused, with its own word."""
    with pytest.raises(Refused) as caught:
        judge(replace(GOOD, **change), release)
    assert caught.value.cause == cause


@pytest.mark.parametrize("change", [{}, {"revision": 3}, {"revision": 199}, {"flash_size": 16 << 20}])
def test_accepted(change, release):
    """Both ends of the revisions, and a larger flash, are fine."""
    judge(replace(GOOD, **change), release)


@pytest.mark.parametrize("chip", Chip)
def test_every_chip_matches_its_name(chip):
    """esptool's spelling of a chip is ours but for case and hyphen."""
    name = chip.value.upper() if chip is Chip.ESP32 else f"ESP32-{chip.value.removeprefix('esp32').upper()}"
    refuse_chip(replace(GOOD, chip_name=name), chip)
