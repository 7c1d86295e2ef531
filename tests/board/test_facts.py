"""Boards that must not get this release: every guard of esptool's write_flash that rmfab has to replace."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from rmfab.board.esp.facts import (
    BoardFacts,
    BoardRefused,
    SecurityState,
    predict_secure_boot,
    refuse_chip,
    refuse_release,
    refuse_security,
    refuse_unsigned_images,
)
from rmfab.product.vocabulary import Chip
from rmfab.release.build_folder import read_build_folder
from rmfab.release.parts import APP, BOOTLOADER
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe
from tests.release.test_signature_blocks import signed as sign

GOOD = BoardFacts("ESP32-C3", 4, "24:0a:c4:00:00:01", 4 << 20, SecurityState())


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """A release for the ESP32-C3 from revision v0.3 to v1.99, with 4 MB of flash."""
    return read_build_folder(
        make_build_folder(tmp_path_factory.mktemp("c3"), FirmwareRecipe(Chip.ESP32C3, app_size=128 * 1024))
    )


@pytest.fixture(scope="module")
def signed(release, tmp_path_factory):
    """The same release with both images signed by one key."""
    return signed_by(release, tmp_path_factory.mktemp("signed"), rsa.generate_private_key(65537, 3072))


def signed_by(release, folder, *keys):
    """Return *release* with both images signed by these keys."""
    images = {name: sign(folder, *keys, image=release.part(name).data) for name in (BOOTLOADER, APP)}
    parts = tuple(replace(part, sha256="", data=images.get(part.name, part.data)) for part in release.parts)
    return replace(release, parts=parts)


def judge(facts, release):
    """Run all judges, as detect does."""
    refuse_security(facts)
    refuse_chip(facts, Chip.ESP32C3)
    refuse_unsigned_images(facts, release)
    refuse_release(facts, release)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"security": SecurityState(secure_boot_v1=True)}, "secure-boot-v1"),
        ({"security": SecurityState(secure_boot_v2=True)}, "secure-boot-unsigned"),
        # a key manager matters only if it holds the key of an encrypted flash, which is rejected itself
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
    """Each bad board is rejected with its own cause."""
    with pytest.raises(BoardRefused) as caught:
        judge(replace(GOOD, **change), release)
    assert caught.value.cause == cause


@pytest.mark.parametrize("change", [{}, {"revision": 3}, {"revision": 199}, {"flash_size": 16 << 20}])
def test_accepted(change, release):
    """Both limits of the revision, and a larger flash, are accepted."""
    judge(replace(GOOD, **change), release)


@pytest.mark.parametrize("chip", Chip)
def test_every_chip_matches_its_name(chip):
    """esptool's spelling of a chip differs from rmfab's only in case and hyphen."""
    name = chip.value.upper() if chip is Chip.ESP32 else f"ESP32-{chip.value.removeprefix('esp32').upper()}"
    refuse_chip(replace(GOOD, chip_name=name), chip)


def secured(*digests):
    """Return a board with secure boot v2 for the keys of these digests."""
    return replace(GOOD, security=SecurityState(secure_boot_v2=True, secure_boot_digests=digests))


def test_secure_boot_asks_for_its_own_key(signed):
    """A release signed with a burned key is accepted, also among others or with half a digest as on the ESP32-C2."""
    (digest,) = {block.key_digest for block in (*signed.app_signatures, *signed.bootloader_signatures)}
    for facts in (secured(digest), secured("0" * 64, digest), secured(digest[:32]), GOOD):
        judge(facts, signed)
    for facts in (secured(), secured("0" * 64), secured("0" * 32)):
        with pytest.raises(BoardRefused, match="is signed with") as caught:
            judge(facts, signed)
        assert caught.value.cause == "secure-boot-key"
        assert digest[:16] in str(caught.value)


def test_both_images_must_be_signed(release, signed):
    """A signed bootloader with an unsigned app is rejected."""
    (digest,) = {block.key_digest for block in signed.app_signatures}
    for name in (BOOTLOADER, APP):
        parts = tuple(release.part(name) if part.name == name else part for part in signed.parts)
        with pytest.raises(BoardRefused, match=f"the release's {name} is not signed"):
            judge(secured(digest), replace(signed, parts=parts))


def test_what_the_chip_does_not_look_at_does_not_count(release, tmp_path):
    """An unsupported signature scheme is rejected as such; the ESP32 ignores a second signature."""
    old, new = rsa.generate_private_key(65537, 3072), ec.generate_private_key(ec.SECP256R1())
    ecdsa = signed_by(release, tmp_path, new)
    with pytest.raises(
        BoardRefused, match="ESP32-C3 does not support the signature of the release's bootloader: ecdsa-p256"
    ) as caught:
        judge(secured(ecdsa.app_signatures[0].key_digest), ecdsa)
    assert caught.value.cause == "secure-boot-scheme"
    both = signed_by(release, tmp_path, rsa.generate_private_key(65537, 3072), old)
    burnt = secured(both.app_signatures[1].key_digest)
    refuse_unsigned_images(burnt, both)
    with pytest.raises(BoardRefused) as caught:
        refuse_unsigned_images(burnt, replace(both, chip=Chip.ESP32))
    assert caught.value.cause == "secure-boot-key"


def test_what_a_first_boot_would_burn_is_foretold(release, signed):
    """Only a bootloader that turns on secure boot burns; if the build does not record that, it may."""
    unknown = replace(signed, configured=replace(signed.configured, secure_boot=None))
    turning_on = replace(signed, configured=replace(signed.configured, secure_boot=True))
    assert "it will burn" in predict_secure_boot(GOOD, turning_on)
    assert "it may (the build does not record it) burn" in predict_secure_boot(GOOD, unknown)
    assert signed.bootloader_signatures[0].key_digest[:16] in predict_secure_boot(GOOD, unknown)
    for facts, other in ((GOOD, signed), (GOOD, release), (secured("0" * 64), turning_on)):
        assert predict_secure_boot(facts, other) is None
