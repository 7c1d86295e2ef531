"""Generating identities in chunks."""

from __future__ import annotations

import hashlib
import hmac
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from rmfab.errors import InputError, IntegrityError
from rmfab.identity import sec2_verifier
from rmfab.identity.make_identities import (
    ChunkResult,
    ChunkSpec,
    Recipe,
    chunk_size,
    generate,
    make_chunk,
    open_identity,
    remake,
    with_rows,
)
from rmfab.identity.sealed_record import SealedRecord
from rmfab.identity.sealing import StationKey, unwrap
from rmfab.identity.values import ValuesRow
from rmfab.product.product import MQTT_HOST_PLACEHOLDER, Product
from rmfab.product.vocabulary import Credentials, KeyKind, NodeIdKind, Security
from rmfab.secret import Secret

KEY = b"d" * 32


@pytest.fixture
def recipe(product: Product, make_recipe: Callable[[Product], Recipe]) -> Recipe:
    return make_recipe(product)


def chunk(recipe: Recipe, count: int = 3, rows: tuple[ValuesRow, ...] | None = None, first: int = 0) -> ChunkResult:
    return make_chunk(recipe, ChunkSpec(0, first, count, rows, KEY))


def chunks(count: int, size: int) -> list[ChunkSpec]:
    """The chunks of *count* identities."""
    return [ChunkSpec(number, at, min(size, count - at)) for number, at in enumerate(range(0, count, size))]


def test_a_record_opens_to_its_identity(recipe: Recipe, station_key: StationKey) -> None:
    """With the station's key a record opens to an identity that matches its public half."""
    made = chunk(recipe)
    data_key = unwrap(made.wrapped_data_key, station_key)
    assert data_key == Secret(KEY)
    for record in made.records:
        identity = open_identity(record, data_key, "ledger-1", "lamp-0001")
        assert (identity.serial, identity.node_id) == (record.serial, record.node_id)
        assert identity.service_name == record.service_name
        tag = hmac.new(b"u" * 32, b"pop" + identity.pop.reveal().encode(), hashlib.sha256).hexdigest()
        assert record.pop_tag == tag
        assert record.random_sha256 == hashlib.sha256(identity.random.reveal()).hexdigest()
        assert identity.certificate_pem is not None
        certificate = x509.load_pem_x509_certificate(identity.certificate_pem)
        assert record.certificate_serial == f"{certificate.serial_number:x}"
        assert certificate.subject.rfc4514_string() == f"CN={record.node_id}"
        assert identity.sec2_salt is not None
        assert identity.sec2_verifier == sec2_verifier.verifier("wifiprov", identity.pop, identity.sec2_salt)


def test_serials_are_counted_from_the_position(recipe: Recipe) -> None:
    """The serial is derived from the batch's first number and the position; all names differ."""
    records = chunk(replace(recipe, first_number=101), 3, first=20).records
    assert [record.serial for record in records] == ["LMP-000121", "LMP-000122", "LMP-000123"]
    for name in ("node_id", "certificate_serial", "pop_tag", "random_sha256", "service_name"):
        assert len({getattr(record, name) for record in records}) == 3


@pytest.mark.parametrize("kind", KeyKind)
def test_every_kind_of_key(product: Product, make_recipe: Callable[[Product], Recipe], kind: KeyKind) -> None:
    """Keys of every kind are sealed and come back as PEM that matches the certificate."""
    product = replace(product, identity=replace(product.identity, key=kind, node_id=NodeIdKind.UUID4))
    made = chunk(make_recipe(product), 1)
    identity = open_identity(made.records[0], Secret(KEY), "ledger-1", "lamp-0001")
    assert identity.private_key_pem is not None
    assert len(str(identity.node_id)) == 36


def test_claimed_identities(product: Product, make_recipe: Callable[[Product], Recipe]) -> None:
    """With self or assisted claiming, a record has no node id, certificate or key, and needs no CA or MQTT host."""
    policy = replace(product.identity, credentials=Credentials.CLOUD_CLAIM, mqtt_host=MQTT_HOST_PLACEHOLDER)
    record = chunk(make_recipe(replace(product, identity=policy)), 1).records[0]
    assert (record.node_id, record.certificate, record.certificate_serial, record.sealed_key) == (None,) * 4
    assert open_identity(record, Secret(KEY), "ledger-1", "lamp-0001").node_id is None


def test_without_security_2_nothing_is_sealed_for_it(
    product: Product, make_recipe: Callable[[Product], Recipe]
) -> None:
    """Records of security 0 and 1 have no sec2 field."""
    product = replace(product, provisioning=replace(product.provisioning, security=Security.X25519))
    assert chunk(make_recipe(product), 1).records[0].sealed_sec2 is None


def test_given_rows(recipe: Recipe) -> None:
    """Serial, node id and extra cells come from the rows, paired as given; the rest is counted or drawn."""
    rows = (
        ValuesRow(2, "S-9", "n-9", (("app", "k", "v ü,"),)),
        ValuesRow(3, None, None, ()),
    )
    first, second = chunk(recipe, 2, rows).records
    assert (first.serial, first.node_id, second.serial) == ("S-9", "n-9", "LMP-000002")
    assert second.sealed_extra is None
    identity = open_identity(first, Secret(KEY), "ledger-1", "lamp-0001")
    assert identity.extra == {("app", "k"): Secret("v ü,")}


def test_rows_follow_their_chunks() -> None:
    """Rows of existing chunks are skipped; too few rows are rejected."""
    rows = [ValuesRow(n + 2, f"S{n}", None) for n in range(10)]
    specs = [ChunkSpec(1, 3, 3), ChunkSpec(3, 9, 1)]
    given = [[row.serial for row in spec.rows or ()] for spec in with_rows(specs, iter(rows))]
    assert given == [["S3", "S4", "S5"], ["S9"]]
    with pytest.raises(InputError, match="fewer rows"):
        list(with_rows(specs, iter(rows[:9])))


def test_a_redraw_changes_random_only(recipe: Recipe) -> None:
    """Drawing again for a duplicate PoP changes what is derived from `random`; key, certificate and names stay."""
    made = chunk(recipe)
    again = remake(recipe, made, [1])
    assert (again.records[0], again.records[2]) == (made.records[0], made.records[2])
    before, after = made.records[1], again.records[1]
    changed = {"pop_tag", "random_sha256", "service_name", "sealed_random", "sealed_sec2"}
    for name in before.__dataclass_fields__:
        assert (getattr(before, name) != getattr(after, name)) is (name in changed), name
    old, new = (open_identity(record, Secret(KEY), "ledger-1", "lamp-0001") for record in (before, after))
    assert old.private_key_pem == new.private_key_pem
    assert old.pop != new.pop


def test_records_cannot_be_swapped(recipe: Recipe) -> None:
    """Fields moved between records or pools, and a foreign certificate, are integrity errors."""
    one, two, _ = chunk(recipe).records
    for wrong in (
        replace(one, sealed_key=two.sealed_key),
        replace(one, sealed_random=two.sealed_random),
        replace(one, sealed_sec2=two.sealed_sec2),
        replace(one, certificate=two.certificate),
        replace(one, random_sha256=two.random_sha256),
        replace(one, serial=two.serial),
    ):
        with pytest.raises(IntegrityError):
            open_identity(wrong, Secret(KEY), "ledger-1", "lamp-0001")
    with pytest.raises(IntegrityError):
        open_identity(one, Secret(KEY), "ledger-2", "lamp-0001")


def test_no_secret_shows(recipe: Recipe) -> None:
    """Neither repr nor the pickled records contain key, random or PoP; nor is the data key in the repr."""
    made = chunk(recipe)
    pickled, shown = pickle.dumps(made.records), repr(made) + repr(recipe)
    for record in made.records:
        identity = open_identity(record, Secret(KEY), "ledger-1", "lamp-0001")
        assert identity.private_key_pem is not None
        for secret in (identity.random.reveal(), identity.private_key_pem.reveal(), identity.pop.reveal().encode()):
            assert secret not in pickled
            assert secret.decode("latin-1") not in shown
    assert KEY not in pickled
    assert repr(KEY) not in shown
    assert recipe.ca_key is not None
    assert repr(recipe.ca_key) not in shown
    assert repr(recipe.unique_key) not in shown


def test_processes_make_the_same_plan_in_order(recipe: Recipe) -> None:
    """Spawned processes make every identity once; chunks come back in order, each with its own data key."""
    results = list(generate(recipe, chunks(46, 8), jobs=2))
    assert [result.spec.number for result in results] == list(range(6))
    serials = [record.serial for result in results for record in result.records]
    assert serials == [f"LMP-{n:06d}" for n in range(1, 47)]
    assert len({result.spec.data_key for result in results}) == 6
    last = results[-1]
    open_identity(last.records[-1], Secret(last.spec.data_key), "ledger-1", "lamp-0001")


def test_processes_are_fed_as_they_are_emptied(recipe: Recipe) -> None:
    """With any number of chunks, only a few are read ahead, and closing the iterator ends the processes."""
    taken = 0

    def endless() -> object:
        nonlocal taken
        while True:
            yield ChunkSpec(taken, taken * 2, 2)
            taken += 1

    results = generate(recipe, endless(), jobs=2)  # type: ignore[arg-type]
    for _ in range(3):
        next(results)
    results.close()  # type: ignore[attr-defined]
    assert taken < 12


def test_a_fault_in_a_process_is_the_same_error(recipe: Recipe) -> None:
    """A serial pattern that runs out in a worker process is the same InputError in the caller."""
    full = replace(recipe, first_number=10**6 - 30)
    with pytest.raises(InputError, match="does not fit the serial pattern") as caught:
        list(generate(full, chunks(60, 8), jobs=2))
    assert caught.value.hint is not None


def test_few_are_made_here(recipe: Recipe, source: Callable[[int], bytes]) -> None:
    """A few chunks start no process: they are made in this one, from the given source."""
    asked = []

    def watched(count: int) -> bytes:
        asked.append(os.getpid())
        return source(count)

    results = list(generate(recipe, chunks(4, 2), jobs=8, source=watched))
    assert len(results) == 2
    assert len(asked) > 8


def test_chunks_of_slow_keys_are_small(product: Product) -> None:
    """RSA keys are slow to make, so their chunks are small and little work is lost."""
    rsa = replace(product.identity, key=KeyKind.RSA_2048)
    assert chunk_size(rsa) < chunk_size(product.identity) == 500
    assert chunk_size(replace(rsa, credentials=Credentials.CLOUD_CLAIM)) == 500


def test_what_cannot_be_made_is_refused_first(product: Product, make_recipe: Callable[[Product], Recipe]) -> None:
    """A missing CA, or the placeholder of `init` as MQTT host, is rejected when the recipe is made."""
    placeholder = replace(product.identity, mqtt_host=MQTT_HOST_PLACEHOLDER)
    with pytest.raises(InputError, match="placeholder") as caught:
        make_recipe(replace(product, identity=placeholder))
    assert "mqtt_host" in str(caught.value.where)
    with pytest.raises(InputError, match="no CA to sign"):
        replace(make_recipe(product), ca_key=None)


def test_a_record_is_whole(recipe: Recipe) -> None:
    """Half of the credentials, an invalid serial and short digests are rejected."""
    record = chunk(recipe, 1).records[0]
    for wrong in ({"node_id": None}, {"sealed_key": None}, {"serial": "a/b"}, {"pop_tag": "12"}):
        with pytest.raises(ValueError, match=r"given together|file name|SHA-256"):
            replace(record, **wrong)  # type: ignore[arg-type]


def test_generating_needs_no_station_key(recipe: Recipe, tmp_path: Path) -> None:
    """The recipe contains recipients only, and cannot open what it makes."""
    assert b"AGE-SECRET-KEY" not in pickle.dumps(recipe)
    assert isinstance(chunk(recipe, 1).records[0], SealedRecord)


@pytest.mark.parametrize("changed", [{"given": "../../other"}, {"service_name": "PROV_\x1b[31m"}])
def test_a_record_that_was_changed(recipe: Recipe, changed: dict[str, str]) -> None:
    """A serial that cannot name a file, or a name that does not follow from the secrets, is no bug: it was changed."""
    record = chunk(recipe, 1).records[0]
    key = Secret(KEY)
    record = replace(record, service_name=changed.get("service_name", record.service_name))
    with pytest.raises(IntegrityError, match="changed after it was made") as caught:
        open_identity(record, key, "ledger-1", "lamp-0001", changed.get("given"))
    assert caught.value.cause == "record"
