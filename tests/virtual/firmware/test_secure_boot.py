"""Secure boot on a virtual board: what it starts, and what ROM and bootloader print."""

from __future__ import annotations

import pytest

from rmfab.product.vocabulary import Chip, DownloadMode
from rmfab.release.app_image import AppImage
from rmfab.release.signature_blocks import SECTOR, BlockScheme, signature_blocks
from rmfab.virtual.bench.serving import spec_from_json, spec_to_json
from rmfab.virtual.build.build_folder import _image, make_bootloader
from rmfab.virtual.chip.models import MODELS
from rmfab.virtual.firmware.markers import BootloaderFacts
from rmfab.virtual.spec import BoardSpec, Strap
from tests.release.test_signature_blocks import key_of, signed
from tests.virtual.rig import APP, Rig, parts

CHIP = Chip.ESP32C6
KEY, OTHER = (key_of(BlockScheme.ECDSA_P256, number) for number in range(2))
FIRMWARE = "Node ID ----- NodeOfThisVeryTest"


def _signed(folder, chip, bootloader, app):
    """Return whole firmware; bootloader and app are signed by a list of keys each, or not if it is empty."""
    signers = {MODELS[chip].chip.bootloader_offset: bootloader, APP: app}
    return [(at, signed(folder, *keys, image=data) if (keys := signers.get(at)) else data) for at, data in parts(chip)]


def _digests(firmware, chip):
    data = dict(firmware)[MODELS[chip].chip.bootloader_offset]
    blocks = signature_blocks(data, AppImage.parse(data, "bootloader").length, "bootloader")
    return tuple(block.key_digest for block in blocks)


def _boots(chip, firmware, *digests):
    """Return the output of a board with these digests burned."""
    return Rig(chip, parts=firmware, secure_boot_digests=digests).boot()


@pytest.mark.parametrize(
    ("chip", "scheme", "rom", "bootloader"),
    [
        (Chip.ESP32, BlockScheme.RSA_3072, "secure boot v2 enabled\nsecure boot", "RSA-PSS"),
        (Chip.ESP32S3, BlockScheme.RSA_3072, "Valid secure boot key blocks: 0\nsecure boot", "RSA-PSS"),
        (Chip.ESP32C3, BlockScheme.RSA_3072, "Valid secure boot key blocks: 0\nsecure boot", "RSA-PSS"),
        (Chip.ESP32C2, BlockScheme.ECDSA_P192, "Valid secure boot key blocks: 0\nECDSA secure boot", "ECDSA"),
        (Chip.ESP32C6, BlockScheme.ECDSA_P256, "Valid secure boot key blocks: 0\nECDSA secure boot", "ECDSA"),
        (Chip.ESP32P4, BlockScheme.RSA_3072, "Valid secure boot key blocks: 0\nsecure boot", "RSA-PSS"),
    ],
    ids=lambda value: value.value if isinstance(value, Chip) else "",
)
def test_a_board_starts_what_its_key_has_signed(tmp_path, chip, scheme, rom, bootloader):
    """With both images signed with the burned key, ROM and bootloader print so, in order, and the firmware starts."""
    firmware = _signed(tmp_path, chip, [key_of(scheme)], [key_of(scheme)])
    text = _boots(chip, firmware, *_digests(firmware, chip))
    told = [
        "mode:",
        f"{rom} verification succeeded\n",
        "load:0x",
        "esp_image: Verifying image signature...",
        f"secure_boot_v2: Verifying with {bootloader}...",
        "secure_boot_v2: Signature verified successfully!",
        "boot: Loaded app from partition",
        FIRMWARE,
    ]
    places = [text.find(words) for words in told]
    assert -1 not in places
    assert places == sorted(places)


def _damaged(data):
    """Return *data* with a wrong CRC in its first block."""
    at = len(data) - SECTOR + 1196
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_a_board_starts_nothing_else(tmp_path):
    """An image that is unsigned, signed by a different key, or damaged is rejected by the ROM or the bootloader."""
    good = _signed(tmp_path, CHIP, [KEY], [KEY])
    (digest,) = _digests(good, CHIP)
    rom, boot = "\nsecure boot verification failed\nets_main.c", "esp_image: Secure boot signature verification failed"
    for firmware, words in (
        (parts(CHIP), "(found 0xff not 0xe7). Image not V2 signed?" + rom),
        (_signed(tmp_path, CHIP, [OTHER], [KEY]), rom),
        ([(at, _damaged(data) if at == MODELS[CHIP].chip.bootloader_offset else data) for at, data in good], rom),
        (_signed(tmp_path, CHIP, [KEY], []), boot),
        (_signed(tmp_path, CHIP, [KEY], [OTHER]), boot),
        ([(at, _damaged(data) if at == APP else data) for at, data in good], boot),
    ):
        text = _boots(CHIP, firmware, digest)
        assert words in text
        assert FIRMWARE not in text
    assert FIRMWARE in _boots(CHIP, good, digest)


def test_one_of_several_keys_is_enough(tmp_path):
    """Any of the burned keys, in any block, is enough."""
    firmware = _signed(tmp_path, CHIP, [OTHER, KEY], [KEY])
    others, burnt = _digests(firmware, CHIP)
    text = _boots(CHIP, firmware, "1" * 64, burnt, "2" * 64)
    assert "Valid secure boot key blocks: 0 1 2\n" in text
    assert FIRMWARE in text
    assert FIRMWARE not in _boots(CHIP, firmware, others, "1" * 64)  # the app lacks a block of that key


@pytest.mark.parametrize(
    ("chip", "schemes"),
    [
        (Chip.ESP32, [BlockScheme.RSA_3072, BlockScheme.RSA_3072]),
        (Chip.ESP32S3, [BlockScheme.ECDSA_P256]),
        (Chip.ESP32C2, [BlockScheme.RSA_3072]),
        (Chip.ESP32C5, [BlockScheme.ECDSA_P384]),
    ],
    ids=["second block", "ecdsa", "rsa", "sha-384"],
)
def test_what_the_chip_does_not_look_at_starts_nothing(tmp_path, chip, schemes):
    """A signature in a block or of a scheme that this chip does not check is ignored."""
    keys = [key_of(scheme, number) for number, scheme in enumerate(schemes)]
    firmware = _signed(tmp_path, chip, keys, keys)
    text = _boots(chip, firmware, _digests(firmware, chip)[-1])
    assert "secure boot verification failed" in text
    assert FIRMWARE not in text


def test_the_largest_bootloader_that_a_rom_reads():
    """An unsigned image up to the ROM's last byte is rejected like any other."""
    model = MODELS[CHIP]
    for size in (0x1F000, 0x1FFC0):
        image = _image(CHIP, 4 << 20, model.ram[0][0], ((model.ram[0][0], bytes(size - 0x50)),))
        text = _boots(CHIP, [(model.chip.bootloader_offset, image)], "0" * 64)
        assert "secure boot verification failed" in text


def _turning_on(folder, chip, mode, bootloader, app):
    """Return firmware that turns secure boot on; bootloader and app are signed by lists of keys."""
    at = MODELS[chip].chip.bootloader_offset
    images = dict(parts(chip)) | {at: make_bootloader(chip, 4 << 20, BootloaderFacts(True, True, mode))}
    for offset, keys in ((at, bootloader), (APP, app)):
        if keys:
            images[offset] = signed(folder, *keys, image=images[offset])
    return list(images.items())


@pytest.mark.parametrize(
    ("chip", "scheme", "mode", "words"),
    [
        (CHIP, BlockScheme.ECDSA_P256, DownloadMode.SECURE, "secure_boot: Enabling Security download mode..."),
        (CHIP, BlockScheme.RSA_3072, DownloadMode.OFF, "secure_boot: Disable ROM Download mode..."),
        (Chip.ESP32, BlockScheme.RSA_3072, DownloadMode.OPEN, "kept enabled - SECURITY COMPROMISED"),
        (Chip.ESP32S3, BlockScheme.RSA_3072, DownloadMode.SECURE, "Revoking empty key digest slot (2)..."),
        (Chip.ESP32C2, BlockScheme.ECDSA_P256, DownloadMode.SECURE, "1 signature block(s) found appended to the app."),
    ],
    ids=lambda value: getattr(value, "value", ""),
)
def test_the_first_boot_burns_the_bootloaders_key(tmp_path, chip, scheme, mode, words):
    """The first boot burns digest and download mode, and continues; from then on the ROM verifies, too."""
    key = key_of(scheme)
    firmware = _turning_on(tmp_path, chip, mode, [key], [key])
    rig = Rig(chip, parts=firmware)
    first = rig.boot(2)
    assert words in first
    assert "secure_boot_v2: Secure boot permanently enabled" in first
    assert FIRMWARE in first
    burnt = rig.board.spec.security
    assert (burnt.digests, burnt.download_mode) == (_digests(firmware, chip), mode)
    second = rig.boot(2)
    assert "secure boot verification succeeded" in second
    assert "permanently enabled" not in second
    assert FIRMWARE in second
    assert rig.board.spec.swapped().security.digests == ()


def test_what_is_burnt_is_kept_beside_the_flash(tmp_path):
    """A board served again from its files keeps secure boot and its closed download mode.

    A bootloader cannot open it again.
    """
    firmware = _turning_on(tmp_path, CHIP, DownloadMode.OFF, [KEY], [KEY])
    Rig(CHIP, parts=firmware, flash_file=tmp_path / "flash.bin").boot(2)
    again = Rig(CHIP, flash_file=tmp_path / "flash.bin")
    assert again.sync() == []
    assert "secure boot verification succeeded" in again.boot(2)
    assert again.board.spec.security.digests == _digests(firmware, CHIP)
    assert again.board.spec.security.burning((), DownloadMode.OPEN).download_mode is DownloadMode.OFF


@pytest.mark.parametrize("mode", list(DownloadMode), ids=lambda mode: mode.value)
def test_what_is_left_of_the_download_mode(tmp_path, mode):
    """The ROM answers everything, or no register and code commands, or nothing."""
    rig = Rig(CHIP, parts=_turning_on(tmp_path, CHIP, mode, [KEY], [KEY]))
    rig.boot(2)
    rig.board.strap = Strap.DOWNLOAD
    rig.board.restart()
    rig.timeline.run(0.2)
    answers = rig.sync()
    assert bool(answers) is (mode is not DownloadMode.OFF)
    if answers:
        status = rig.words(0x0A, 0x60000000)[0][2][0]
        assert bool(status) is (mode is DownloadMode.SECURE)


@pytest.mark.parametrize(
    ("bootloader", "app", "words"),
    [
        ([KEY], [], "Secure boot signature verification failed"),
        ([KEY], [OTHER], "No application key digest matches"),
        ([], [KEY], "Secure Boot v2 failed"),
    ],
    ids=["unsigned app", "wrong key", "unsigned bootloader"],
)
def test_a_first_boot_that_burns_nothing(tmp_path, bootloader, app, words):
    """Images that the board could not boot again are not started even once, and the eFuses stay unchanged."""
    rig = Rig(CHIP, parts=_turning_on(tmp_path, CHIP, DownloadMode.SECURE, bootloader, app))
    text = rig.boot(2)
    assert words in text
    assert FIRMWARE not in text
    assert not rig.board.spec.security.secure_boot


def test_an_open_board_starts_signed_images(tmp_path):
    """A bootloader that does not turn secure boot on ignores signatures and burns nothing."""
    rig = Rig(CHIP, parts=_signed(tmp_path, CHIP, [KEY], [KEY]))
    text = rig.boot()
    assert "secure boot" not in text.lower()
    assert FIRMWARE in text
    assert not rig.board.spec.security.secure_boot


@pytest.mark.parametrize("chip", [Chip.ESP32S3, Chip.ESP32C3], ids=lambda chip: chip.value)
def test_code_in_ram_does_not_run(chip):
    """With secure boot on, the ROM of these two chips does not jump to loaded code: esptool's stub stays silent."""
    for digests in ((), ("0" * 64,)):
        rig = Rig(chip, secure_boot_digests=digests)
        rig.sync()
        assert (rig.start_stub()[-1] == b"OHAI") is (not digests)


def test_specs_travel_with_their_digests():
    """A specification keeps its digests on the way to the process that serves it."""
    spec = BoardSpec(CHIP, secure_boot_digests=("0" * 64, "a" * 64))
    assert spec_from_json(spec_to_json(spec)) == spec
    assert spec.swapped().security == spec.security


@pytest.mark.parametrize(
    ("chip", "digests"),
    [(CHIP, ("A" * 64,)), (CHIP, ("00",)), (CHIP, ("0" * 64,) * 4), (Chip.ESP32, ("0" * 64, "1" * 64))],
)
def test_digests_that_no_board_has(chip, digests):
    """A malformed digest, or more digests than the chip has room for, is rejected."""
    with pytest.raises(ValueError, match="key digest"):
        BoardSpec(chip, secure_boot_digests=digests)
