"""The judge of units from elsewhere: what it takes, and the first reason against each that it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rmfab.errors import InputError
from rmfab.exchange.found_unit import FoundUnit
from rmfab.exchange.judge_unit import UnitJudge
from rmfab.identity import sec2_verifier
from rmfab.nvs.table import Entry, EntryKind, Value
from rmfab.product.product import Product
from rmfab.product.vocabulary import Chip, Credentials, Security, Transport
from rmfab.secret import Secret
from rmfab.workspace.create import create_workspace
from tests.exchange.admin_cli import HOST, Ca, draw_node

NOW = datetime.now(UTC)
SPACE = "rmaker_creds"
NODE = draw_node(Ca(), "node-1")
RANDOM = bytes.fromhex(NODE.random)
SALT = b"\x01" + bytes(15)
Values = dict[str, Value]


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """A product with security 2."""
    folder = tmp_path_factory.mktemp("lamp")
    return create_workspace(
        folder,
        chip=Chip.ESP32C3,
        name="lamp",
        serial=None,
        mqtt_host=HOST,
        credentials=Credentials.CERTIFICATE,
        force=False,
    ).product


def verifier(salt: bytes) -> bytes:
    return sec2_verifier.verifier("wifiprov", Secret(NODE.random[:8]), salt).reveal()


def unit(qr: str | None = None, serial: str | None = None, **changes: Value | None) -> FoundUnit:
    """Return a good unit with *changes*; None leaves a key out."""
    values: dict[str, Value | None] = {
        "node_id": b"node-1",
        "mqtt_host": HOST.encode(),
        "client_cert": NODE.certificate,
        "client_key": NODE.key,
        "random": RANDOM,
    }
    values |= changes
    kinds = {bytes: EntryKind.BLOB, str: EntryKind.STRING, int: EntryKind.U8}
    entries = tuple(Entry(SPACE, key, kinds[type(value)], value) for key, value in values.items() if value is not None)
    return FoundUnit("values.csv:2", serial, entries, qr)


GOOD: dict[str, FoundUnit] = {
    "no mqtt_cred_host": unit(),
    "an empty mqtt_cred_host": unit(mqtt_cred_host=b""),
    "its sec2 pair": unit(sec2_salt=SALT, sec2_verifier=verifier(SALT)),
    "its QR code": unit(NODE.qr),
    "a serial": unit(serial="SN-1"),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_units(product: Product, name: str) -> None:
    """A unit is taken with what its image has, and nothing more: a pair that it lacks is not made here."""
    judged = UnitJudge(product, None, NOW, flashed=False).judge(GOOD[name])
    assert judged.certified.node_id == "node-1"
    assert (judged.drawn.random.reveal(), judged.drawn.service_name) == (RANDOM, f"PROV_{NODE.random[-6:]}")
    assert judged.drawn.sec2_salt == (SALT if "pair" in name else None)


ZERO = bytes(16)
BAD: dict[str, tuple[FoundUnit, str]] = {
    "text where firmware reads a blob": (unit(random=NODE.random[:64]), '"random" is a string'),
    "a key is missing": (unit(client_key=None), 'no "client_key"'),
    "host of a different cloud": (unit(mqtt_host=b"a.b.c"), 'mqtt_host is "a.b.c"'),
    "a secret in the place of the host": (unit(mqtt_host=NODE.random.encode()), "mqtt_host is not a host"),
    "a credential host": (unit(mqtt_cred_host=b"c.d"), 'mqtt_cred_host is "c.d", the product has ""'),
    "a long node id": (unit(node_id=NODE.random.encode()), "no usable node id"),
    "only a salt": (unit(sec2_salt=SALT), "only one of sec2_salt and sec2_verifier"),
    "a verifier of a different PoP": (unit(sec2_salt=SALT, sec2_verifier=b"\1" * 384), "do not fit the PoP"),
    "a salt that begins with zero": (unit(sec2_salt=ZERO, sec2_verifier=verifier(ZERO)), "begin with a zero byte"),
    "a short salt": (unit(sec2_salt=b"\1", sec2_verifier=verifier(b"\1")), "do not fit the PoP"),
    "an unknown key": (unit(colour=7), "would differ in rmaker_creds.colour"),
    "not a certificate": (unit(client_cert=b"-----BEGIN CERTIFICATE-----\n"), "not a certificate in PEM"),
    "QR code that is not JSON": (unit("NP:PROV_x"), "the QR code is not JSON"),
    "QR code nested too deep": (unit("[" * 3000), "the QR code is not JSON"),
    "QR code of a different PoP": (
        unit(NODE.qr.replace(NODE.random[:8], "00000000")), "the QR code has a different pop"
    ),
    "a serial that is a path": (unit(serial="../x"), "the serial is not valid"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_units(product: Product, name: str) -> None:
    """A unit that firmware, a phone or the cloud could not use is refused; no complaint quotes a secret."""
    found, words = BAD[name]
    with pytest.raises(InputError) as caught:
        UnitJudge(product, None, NOW, flashed=True).judge(found)
    told = f"{caught.value} {caught.value.hint}"
    assert words in told
    assert NODE.random[:8] not in told


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda one: replace(one, security=Security.X25519), "[provisioning] security is 1"),
        (lambda one: replace(one, username="other"), "do not fit the PoP"),
    ],
)
def test_a_pair_that_does_not_fit_the_product(product: Product, change: Callable[[object], object], words: str) -> None:
    """A sec2 pair is refused if the product's firmware does not use it, or with a different user name."""
    other = replace(product, provisioning=change(product.provisioning))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=words.replace("[", r"\[")):
        UnitJudge(other, None, NOW, flashed=False).judge(GOOD["its sec2 pair"])


def test_a_qr_code_of_a_different_transport(product: Product) -> None:
    """The QR code must name the product's transport."""
    other = replace(product, provisioning=replace(product.provisioning, transport=Transport.SOFTAP))
    with pytest.raises(InputError, match="a different transport"):
        UnitJudge(other, None, NOW, flashed=False).judge(GOOD["its QR code"])


def test_an_expired_certificate(product: Product) -> None:
    """A certificate that is not valid now is refused, but for units that were shipped with it."""
    later = NOW + timedelta(days=365 * 200)
    with pytest.raises(InputError, match="not valid now"):
        UnitJudge(product, None, later, flashed=False).judge(unit())
    assert UnitJudge(product, None, later, flashed=True).judge(unit()).serial is None
