"""Secure boot at the line: an image without the board's signature is never written, one with it passes every step."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from rmfab.product.vocabulary import Chip
from rmfab.release.release import open_release
from tests.line.floor import copied, found, serve, spec
from tests.release.test_secure_boot import signed

CHIP = Chip.ESP32C6


def sign_build(build, key):
    """Signs bootloader and app of an ESP-IDF build folder in place; returns the digest of the key."""
    args = json.loads((build / "flasher_args.json").read_text())
    for name in ("bootloader", "app"):
        path = build / args[name]["file"]
        path.write_bytes(signed(build.parent, key, image=path.read_bytes()))
    (block,) = open_release(build).app_signatures
    return block.key_digest


@pytest.fixture(scope="module")
def _plant(tmp_path_factory):
    return found(tmp_path_factory.mktemp("plant") / "ws", CHIP, units=2)


@pytest.fixture
def plant(_plant, tmp_path):
    """A factory for the ESP32-C6 with an unsigned firmware."""
    return copied(_plant, tmp_path / "ws")


@pytest.fixture(scope="module")
def key():
    """The product's key for secure boot."""
    return ec.generate_private_key(ec.SECP256R1())


def nothing_was_given(plant, said, cause):
    """The unit FAILed in detect with *cause*, and no identity was bound."""
    assert said.code == 1, said.words
    assert (said.unit["outcome"], said.unit["class"]) == ("FAIL", cause)
    assert said.steps() == {"detect": "FAIL"}
    assert plant.bindings() == {}


def test_an_unsigned_release_is_not_written(plant):
    """A board that demands signatures gets no image without one, and no identity."""
    with serve([spec(CHIP, faults=("secure-boot",))]) as boards:
        said = plant.run(boards[0].url)
    nothing_was_given(plant, said, "secure-boot-unsigned")


def test_a_release_of_another_key_is_not_written(plant, key):
    """The signature must be of the key that is burnt; both digests are told."""
    digest = sign_build(plant.root / "build", key)
    with serve([spec(CHIP, secure_boot_digest="5" * 64)]) as boards:
        said = plant.run(boards[0].url)
    nothing_was_given(plant, said, "secure-boot-key")
    assert digest[:16] in said.unit["reason"]
    assert "5" * 16 in said.unit["reason"]


def test_the_boards_own_key_passes_every_step(plant, key):
    """Signed with the burnt key: flashed, read back, started by ROM and bootloader, provisioned."""
    digest = sign_build(plant.root / "build", key)
    with serve([spec(CHIP, secure_boot_digest=digest)]) as boards:
        said = plant.run(boards[0].url)
    assert said.code == 0, said.unit["reason"]
    assert said.step("detect")["measurements"]["secure_boot_digests"] == [digest]
    assert said.logs == []


def test_an_open_board_is_warned_of(plant, key):
    """A bootloader that would turn secure boot on is written to an open board, and what it will burn is said."""
    digest = sign_build(plant.root / "build", key)
    path = plant.root / "build" / "config" / "sdkconfig.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"SECURE_BOOT": True}))
    with serve([spec(CHIP)]) as boards:
        said = plant.run(boards[0].url)
    assert said.code == 0, said.unit["reason"]
    (warning,) = said.logs
    assert f"it will burn the key digest {digest[:16]}…" in warning


def test_a_chip_without_stub_under_secure_boot_is_refused(tmp_path, key):
    """esptool runs no stub on an ESP32-C3 with secure boot: refused with its own cause, nothing given."""
    plant = found(tmp_path / "ws", Chip.ESP32C3, units=1)
    digest = sign_build(plant.root / "build", key)
    with serve([spec(Chip.ESP32C3, secure_boot_digest=digest)]) as boards:
        said = plant.run(boards[0].url)
    nothing_was_given(plant, said, "secure-boot-loader")
