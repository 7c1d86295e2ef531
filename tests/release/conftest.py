"""Firmware for tests: whole build folders, and a release small enough to try every byte."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from operator import xor
from pathlib import Path

import pytest

from rmfab.product.product import (
    CertificatePolicy,
    Factory,
    IdentityPolicy,
    LabelPolicy,
    Product,
    Provisioning,
    ReleasePolicy,
    VerifyPolicy,
)
from rmfab.product.serial import SerialPattern
from rmfab.product.vocabulary import Chip
from rmfab.release.opening import open_release
from rmfab.release.parts import Part
from rmfab.release.release import Release
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe
from tests.release.partition_csv import table_from_csv

TINY_CSV = (
    "nvs,data,nvs,0x10000,16K\notadata,data,ota,0x14000,8K\nota_0,app,ota_0,0x20000,64K\nfctry,data,nvs,,0x6000\n"
)


def tiny_image(payload: bytes, *, chip_id: int = 5, spi: int = 0x2F, hashed: bool = True) -> bytes:
    """An image of one segment, built without rmfab's own maker; *spi* is the byte of size and speed nibbles."""
    image = struct.pack("<BBBBI", 0xE9, 1, 2, spi, 0x40380000)
    image += struct.pack("<B3xHBHH4xB", 0xEE, chip_id, 0, 3, 199, hashed)
    image += struct.pack("<II", 0x3C000020, len(payload)) + payload
    image += bytes((15 - len(image)) % 16) + bytes([reduce(xor, payload, 0xEF)])
    return image + hashlib.sha256(image).digest() if hashed else image


def tiny_app(project: str = "lamp", version: str = "1.4.0", **header: int) -> bytes:
    """A tiny app: only its descriptor."""
    texts = [text.encode().ljust(size, b"\0") for text, size in ((version, 32), (project, 32), ("12:00:00", 16))]
    texts += [b"Feb  2 2026".ljust(16, b"\0"), b"v5.5.1".ljust(32, b"\0"), hashlib.sha256(b"elf").digest()]
    return tiny_image(struct.pack("<II8x", 0xABCD5432, 7) + b"".join(texts) + bytes(80), **header)


@pytest.fixture
def tiny_release() -> Release:
    """A release of five kilobytes for the esp32c3."""
    table = table_from_csv(TINY_CSV, 0xC000, "tiny.csv")
    parts = [
        Part("app", 0x20000, tiny_app()),
        Part("bootloader", 0, tiny_image(b"second stage 16")),
        Part("partition-table", 0xC000, table.encode()),
    ]
    return Release.assemble(Chip.ESP32C3, parts, "tiny")


@pytest.fixture(scope="session")
def _pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_build_folder(
        tmp_path_factory.mktemp("firmware") / "build", FirmwareRecipe(Chip.ESP32C3, app_size=0x20000)
    )


@pytest.fixture
def build_folder(_pristine: Path, tmp_path: Path) -> Path:
    """A build folder for the esp32c3 that tests may damage."""
    return Path(shutil.copytree(_pristine, tmp_path / "build"))


@pytest.fixture
def release(_pristine: Path) -> Release:
    """The release in the build folder."""
    return open_release(_pristine)


@pytest.fixture
def edit(build_folder: Path) -> Callable[[Callable[[dict], object]], None]:
    """Change flasher_args.json of the build folder."""

    def apply(change: Callable[[dict], object]) -> None:
        path = build_folder / "flasher_args.json"
        args = json.loads(path.read_text())
        change(args)
        path.write_text(json.dumps(args))

    return apply


@pytest.fixture
def product(tmp_path: Path) -> Product:
    """A product for the esp32c3 with defaults."""
    return Product(
        root=tmp_path,
        name="lamp",
        chip=Chip.ESP32C3,
        serial=SerialPattern.parse("LMP-{n:06d}"),
        identity=IdentityPolicy(),
        certificate=CertificatePolicy(),
        provisioning=Provisioning(),
        factory=Factory(),
        release=ReleasePolicy(),
        label=LabelPolicy(),
        verify=VerifyPolicy(),
        recipients={},
    )


def with_part(release: Release, name: str, **changes: object) -> Release:
    """*release* with one part changed, not parsed again."""
    parts = [
        replace(part, **{"sha256": "", **changes}) if part.name == name else part  # type: ignore[arg-type]
        for part in release.parts
    ]
    return replace(release, parts=tuple(sorted(parts, key=lambda part: part.offset)))


def with_table(release: Release, csv: str) -> Release:
    """*release* with a different partition table."""
    table = table_from_csv(csv, release.table_offset, "other.csv")
    return replace(with_part(release, "partition-table", data=table.encode()), table=table)
