"""The images of a batch, packed here or in workers."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from rmfab.errors import InputError, IntegrityError
from rmfab.identity import pack_batch
from rmfab.identity.factory_image import factory_image
from rmfab.identity.identity import Identity
from rmfab.identity.make_identities import ChunkSpec, Recipe, make_chunk, open_identity
from rmfab.identity.pack_batch import pack_images
from rmfab.identity.values import ValuesRow
from rmfab.product.product import Product
from rmfab.product.vocabulary import Security
from rmfab.secret import Secret

KEY = b"d" * 32
COUNT = 70


@pytest.fixture
def with_lot(with_extra: Callable[[str], Product]) -> Product:
    """A product with an extra column."""
    return with_extra("app,namespace,\nlot,data,string\n")


@pytest.fixture
def identities(with_lot: Product, make_recipe: Callable[[Product], Recipe]) -> list[Identity]:
    """Identities of a product with an extra column."""
    rows = tuple(ValuesRow(n + 2, f"S{n}", None, (("app", "lot", f"ü{n}"),)) for n in range(COUNT))
    made = make_chunk(make_recipe(with_lot), ChunkSpec(0, 0, COUNT, rows, KEY))
    return [open_identity(record, Secret(KEY), "ledger-1", "lamp-0001") for record in made.records]


@pytest.fixture(params=["inline", "processes"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packing in this process, and in two others."""
    if request.param == "processes":
        monkeypatch.setattr(pack_batch, "_WORTH_SPREADING", 1)
        monkeypatch.setattr(pack_batch, "_IMAGES_AT_ONCE", 8)
        monkeypatch.setattr(pack_batch, "cores", lambda: 2)


@pytest.mark.usefixtures("either")
def test_every_image_beside_its_identity(identities: list[Identity], with_lot: Product) -> None:
    """Each identity comes in its place with the image that `factory_image` makes, extra values included."""
    packed = list(pack_images(iter(identities), COUNT, with_lot))
    assert packed == [(identity, factory_image(identity, with_lot)) for identity in identities]


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("security", [Security.PLAIN, Security.SRP6A])
def test_what_is_missing_stays_missing(
    identities: list[Identity], product: Product, make_recipe: Callable[[Product], Recipe], security: Security
) -> None:
    """Identities without sec2 data or credentials are packed as such, and refused where the product asks for more."""
    del identities
    plain = replace(product, provisioning=replace(product.provisioning, security=Security.PLAIN))
    made = make_chunk(make_recipe(plain), ChunkSpec(0, 0, 3, None, KEY)).records
    opened = [open_identity(record, Secret(KEY), "ledger-1", "lamp-0001") for record in made]
    wanted = replace(product, provisioning=replace(product.provisioning, security=security))
    packing = pack_images(opened, 3, wanted)
    if security is Security.PLAIN:
        assert [image for _, image in packing] == [factory_image(each, wanted) for each in opened]
        return
    with pytest.raises(InputError, match="sec2 verifier") as caught:
        list(packing)
    assert caught.value.where == opened[0].serial


@pytest.mark.usefixtures("either")
def test_a_record_that_does_not_open(identities: list[Identity], with_lot: Product) -> None:
    """What fails while an identity is opened is raised after the images before it."""

    def opened() -> Iterator[Identity]:
        yield from identities[:16]
        raise IntegrityError("changed", where="S16")

    packed = []
    with pytest.raises(IntegrityError, match="changed"):
        packed.extend(pack_images(opened(), COUNT, with_lot))
    assert [identity for identity, _ in packed] == identities[:16]


@pytest.mark.usefixtures("either")
def test_few_are_opened_ahead(identities: list[Identity], with_lot: Product) -> None:
    """However large a batch is, only a few identities are open at a time."""
    opened = 0

    def endless() -> Iterator[Identity]:
        nonlocal opened
        while True:
            yield identities[opened % COUNT]
            opened += 1

    with closing(pack_images(endless(), COUNT, with_lot)) as packing:
        for _ in range(20):
            next(packing)
    assert opened < 20 + 8 * 7


def test_no_secret_shows(identities: list[Identity]) -> None:
    """What travels to a worker carries secrets only as pickled plain values: its repr shows none."""
    plain = pack_batch._PlainIdentity.of(identities[0])
    assert plain.wrapped() == identities[0]
    assert pickle.loads(pickle.dumps(plain)).wrapped() == identities[0]
    key = identities[0].private_key_pem
    assert key is not None
    for secret in (key.reveal().decode(), identities[0].random.reveal().hex(), identities[0].pop.reveal(), "ü0"):
        assert secret not in repr(plain)
