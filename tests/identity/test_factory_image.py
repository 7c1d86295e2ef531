"""Factory images, and the mass_mfg CSVs that give the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from rmfab.errors import ComplaintsError, InputError
from rmfab.identity.factory_image import factory_image
from rmfab.identity.identity import Identity
from rmfab.identity.make_identities import ChunkSpec, Recipe, make_chunk, open_identity
from rmfab.identity.mass_mfg_csv import config_csv, id_column, values_csv
from rmfab.identity.values import open_values
from rmfab.nvs import mass_mfg, reader
from rmfab.nvs.grammar import parse_config, read_values
from rmfab.nvs.table import EntryKind
from rmfab.product.product import Product
from rmfab.product.vocabulary import Credentials, KeyKind, Security
from rmfab.secret import Secret

KEY = b"d" * 32

EXTRA = """chip-factory,namespace,
serial,data,string
discriminator,data,u16
blob,data,hex2bin
motto,file,string
picture,file,binary
code,file,hex2bin
packed,file,base64
rmaker_creds,namespace,
colour,data,binary
level,data,i16,REPEAT
"""
VALUES = """serial,discriminator,blob,motto,picture,code,packed,colour,level
S-1,3840,00ff,motto.txt,picture.bin,code.txt,packed.txt,"red, green",-5
S-2,17,,motto.txt,picture.bin,code.txt,packed.txt,#blue,
"""


def make(product: Product, recipe: Recipe, count: int = 2) -> list[Identity]:
    """Identities as the ledger returns them."""
    rows = None
    if product.factory.config is not None:
        path = product.root / "values.csv"
        path.write_text(VALUES)
        rows = tuple(open_values(path, product).rows())
    chunk = make_chunk(recipe, ChunkSpec(0, 0, count, rows, KEY))
    return [open_identity(record, Secret(KEY), recipe.ledger, recipe.batch) for record in chunk.records]


@pytest.fixture
def extra_product(product: Product, with_extra: Callable[[str], Product]) -> Product:
    made = with_extra(EXTRA)
    folder = product.root / "csv"
    (folder / "motto.txt").write_text('say "hello",\nworld\n')
    (folder / "picture.bin").write_bytes(bytes(range(256)))
    (folder / "code.txt").write_text("c0ffee\r\n")
    (folder / "packed.txt").write_text("aGVs\r\nbG8=\n")
    return made


def blobs(image: bytes) -> dict[tuple[str, str], object]:
    read = reader.read_image(image)
    assert not read.findings
    return {(entry.namespace, entry.key): entry.value for entry in read.entries}


@pytest.mark.parametrize("kind", KeyKind)
def test_firmware_finds_everything_as_blobs(
    product: Product, make_recipe: Callable[[Product], Recipe], kind: KeyKind
) -> None:
    """Every RainMaker key is a blob in its namespace, without NUL, and the image is as large as its partition."""
    product = replace(product, identity=replace(product.identity, key=kind))
    identity = make(product, make_recipe(product), 1)[0]
    image = factory_image(identity, product)
    assert len(image) == 0x6000
    entries = reader.read_image(image).entries
    assert {entry.kind for entry in entries} == {EntryKind.BLOB}
    assert {entry.namespace for entry in entries} == {"rmaker_creds"}
    values = {entry.key: entry.value for entry in entries}
    assert list(values) == [
        "node_id",
        "mqtt_host",
        "mqtt_cred_host",
        "client_cert",
        "client_key",
        "random",
        "sec2_salt",
        "sec2_verifier",
    ]
    assert values["node_id"] == str(identity.node_id).encode()
    assert values["mqtt_host"] == b"mqtt.example.com"
    assert values["mqtt_cred_host"] == b""
    assert values["random"] == identity.random.reveal()
    assert values["sec2_salt"] == identity.sec2_salt
    certificate, key = values["client_cert"], values["client_key"]
    assert isinstance(certificate, bytes)
    assert isinstance(key, bytes)
    public = serialization.load_pem_private_key(key, None).public_key()
    assert x509.load_pem_x509_certificate(certificate).public_key() == public
    assert key.startswith(b"-----BEGIN RSA" if kind is KeyKind.RSA_2048 else b"-----BEGIN EC")


def test_a_claimed_unit_carries_random_and_sec2_only(
    product: Product, make_recipe: Callable[[Product], Recipe]
) -> None:
    """If self or assisted claiming provides the credentials, the image contains `random` and the sec2 pair."""
    product = replace(product, identity=replace(product.identity, credentials=Credentials.CLOUD_CLAIM))
    image = factory_image(make(product, make_recipe(product), 1)[0], product)
    assert [key for _, key in blobs(image)] == ["random", "sec2_salt", "sec2_verifier"]


@pytest.mark.parametrize("security", [Security.PLAIN, Security.X25519])
def test_without_security_2_there_is_no_sec2(
    product: Product, make_recipe: Callable[[Product], Recipe], security: Security
) -> None:
    """Salt and verifier are written for security 2 only."""
    product = replace(product, provisioning=replace(product.provisioning, security=security))
    image = factory_image(make(product, make_recipe(product), 1)[0], product)
    assert [key for _, key in blobs(image)][-1] == "random"


def test_extra_values_are_carried(extra_product: Product, make_recipe: Callable[[Product], Recipe]) -> None:
    """The product's own columns follow RainMaker's, with the content of files relative to the config."""
    first, second = make(extra_product, make_recipe(extra_product))
    one, two = blobs(factory_image(first, extra_product)), blobs(factory_image(second, extra_product))
    assert (one["chip-factory", "serial"], two["chip-factory", "serial"]) == ("S-1", "S-2")
    assert (one["chip-factory", "discriminator"], two["chip-factory", "discriminator"]) == (3840, 17)
    assert (one["chip-factory", "blob"], two["chip-factory", "blob"]) == (b"\x00\xff", b"")
    assert one["chip-factory", "motto"] == 'say "hello",\nworld\n'
    assert one["chip-factory", "picture"] == bytes(range(256))
    assert one["chip-factory", "code"] == bytes.fromhex("c0ffee")
    assert one["chip-factory", "packed"] == b"hello"
    assert (one["rmaker_creds", "colour"], two["rmaker_creds", "colour"]) == (b"red, green", b"#blue")
    assert (one["rmaker_creds", "level"], two["rmaker_creds", "level"]) == (-5, -5)


def test_an_identity_needs_no_file_any_more(extra_product: Product, make_recipe: Callable[[Product], Recipe]) -> None:
    """The files may be gone when the image is made, for example on a different station."""
    identity = make(extra_product, make_recipe(extra_product))[0]
    before = factory_image(identity, extra_product)
    for name in ("motto.txt", "picture.bin", "code.txt", "packed.txt"):
        (extra_product.root / "csv" / name).unlink()
    assert factory_image(identity, extra_product) == before


@pytest.mark.parametrize("which", ["plain", "extra", "claim", "sec1"])
def test_the_csvs_make_the_same_bytes(
    tmp_path: Path,
    product: Product,
    extra_product: Product,
    make_recipe: Callable[[Product], Recipe],
    which: str,
) -> None:
    """`nvs generate` makes the same images from config.csv and values.csv, and no cell has several lines."""
    product = {
        "plain": product,
        "extra": extra_product,
        "claim": replace(product, identity=replace(product.identity, credentials=Credentials.CLOUD_CLAIM)),
        "sec1": replace(product, provisioning=replace(product.provisioning, security=Security.X25519)),
    }[which]
    identities = make(product, make_recipe(product))
    (tmp_path / "config.csv").write_bytes(config_csv(product))
    (tmp_path / "out.csv").write_bytes(b"".join(values_csv(identities, product)))
    values = read_values(parse_config(tmp_path / "config.csv"), tmp_path / "out.csv")
    order = mass_mfg.MassMfgRequest(values, "unit", 0x6000, tmp_path / "out", fileid=id_column(product))
    assert list(mass_mfg.generate(order, workers=1))
    for identity in identities:
        again = (tmp_path / "out" / "bin" / f"unit-{identity.serial}.bin").read_bytes()
        assert again == factory_image(identity, product)
    assert id_column(product) == ("id" if which == "extra" else "serial")
    assert b"BEGIN" not in (tmp_path / "out.csv").read_bytes()


def test_a_key_of_rainmaker_in_the_extra_config_is_refused(
    make_recipe: Callable[[Product], Recipe], product: Product, with_extra: Callable[[str], Product]
) -> None:
    """The extra config cannot replace RainMaker's keys; each such line is reported."""
    identity = make(product, make_recipe(product), 1)[0]
    extra = with_extra("rmaker_creds,namespace,\nrandom,data,hex2bin\nfine,data,u8\nnode_id,data,string\n")
    with pytest.raises(ComplaintsError) as caught:
        factory_image(identity, extra)
    assert [str(one.where).rpartition("/")[2] for one in caught.value.complaints] == ["config.csv:2", "config.csv:4"]


def test_an_identity_of_another_product(
    product: Product, extra_product: Product, make_recipe: Callable[[Product], Recipe]
) -> None:
    """An identity that lacks what the product now requires, or has more, is rejected by serial."""
    with_values = make(extra_product, make_recipe(extra_product))[0]
    plain = make(product, make_recipe(product), 1)[0]
    claim = replace(product, identity=replace(product.identity, credentials=Credentials.CLOUD_CLAIM))
    claimed = make(claim, make_recipe(claim), 1)[0]
    for identity, other in ((with_values, product), (plain, extra_product), (claimed, product)):
        with pytest.raises(InputError) as caught:
            factory_image(identity, other)
        assert caught.value.where == identity.serial


def test_what_does_not_fit_is_refused(product: Product, make_recipe: Callable[[Product], Recipe]) -> None:
    """An image that does not fit its partition is rejected."""
    identity = make(product, make_recipe(product), 1)[0]
    large = replace(identity, certificate_pem=b"x" * 9000)
    small = replace(product, factory=replace(product.factory, size=0x3000))
    assert len(factory_image(identity, small)) == 0x3000
    with pytest.raises(InputError, match="need a partition"):
        factory_image(large, small)
