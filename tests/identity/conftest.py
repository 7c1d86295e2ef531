"""A CA, a product and repeatable randomness for the tests of identities."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyrage
import pytest

from rmfab.identity.ca import CaKeyKind, CertificateAuthority
from rmfab.identity.make_identities import Recipe
from rmfab.identity.sealing import StationKey
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
from rmfab.secret import Secret

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def ca() -> CertificateAuthority:
    return CertificateAuthority.create("Test CA", CaKeyKind.ECDSA_P256, NOW.replace(year=2025))


@pytest.fixture
def source() -> Callable[[int], bytes]:
    return random.Random(7).randbytes


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return Product(
        root=tmp_path,
        name="Lamp",
        chip=Chip.ESP32C3,
        serial=SerialPattern.parse("LMP-{n:06d}"),
        identity=IdentityPolicy(mqtt_host="mqtt.example.com"),
        certificate=CertificatePolicy(),
        provisioning=Provisioning(),
        factory=Factory(),
        release=ReleasePolicy(),
        label=LabelPolicy(),
        verify=VerifyPolicy(),
        recipients={},
    )


@pytest.fixture(scope="session")
def station_key() -> StationKey:
    identity = pyrage.x25519.Identity.generate()
    return StationKey(Secret(str(identity)), str(identity.to_public()))


@pytest.fixture
def make_recipe(ca: CertificateAuthority, station_key: StationKey) -> Callable[[Product], Recipe]:
    def make(product: Product) -> Recipe:
        return Recipe.of(
            product,
            ledger="ledger-1",
            batch="lamp-0001",
            first_number=1,
            ca=ca if product.identity.credentials.value == "certificate" else None,
            unique_key=Secret(b"u" * 32),
            recipients=[station_key.recipient],
            now=NOW,
        )

    return make


@pytest.fixture
def with_extra(product: Product) -> Callable[[str], Product]:
    """The product with an extra mass_mfg config of this text."""

    def make(text: str) -> Product:
        path = product.root / "csv" / "config.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return replace(product, factory=replace(product.factory, config=path))

    return make
