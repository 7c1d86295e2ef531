"""Generating identities: chunks of sealed records, made by one process per core.

Each chunk is drawn, signed and sealed in one process. The result contains no secret but the chunk's data key, which the
calling process drew itself. Memory use does not grow with the number of identities.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from tempfile import NamedTemporaryFile

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from rmfab.errors import InputError, IntegrityError
from rmfab.files import locked
from rmfab.identity import keypair, node_id, sec2_verifier
from rmfab.identity.ca import CertificateAuthority, is_on_token
from rmfab.identity.certificate import certify
from rmfab.identity.identity import Identity, draw
from rmfab.identity.record_sealer import EXTRA, KEY, RANDOM, SEC2, Certified, RecordSealer
from rmfab.identity.sealed_record import SealedRecord, is_pool_name, pool_name
from rmfab.identity.sealing import DATA_KEY_BYTES, Sealer, wrap
from rmfab.identity.values import SERIAL_MARK, ValuesRow
from rmfab.product.product import (
    MQTT_HOST_PLACEHOLDER,
    CertificatePolicy,
    IdentityPolicy,
    Product,
    Provisioning,
)
from rmfab.product.serial import SerialPattern
from rmfab.product.vocabulary import Credentials, KeyKind
from rmfab.secret import Secret
from rmfab.workers.crew import open_crew

Source = Callable[[int], bytes]

_CHUNK_SIZES = {KeyKind.RSA_2048: 25}
_CHUNK_SIZE = 500
_CHUNKS_WORTH_A_POOL = 4


@dataclass(frozen=True)
class Recipe:
    """Everything that the identities of one batch are made from; plain values, to be sent to worker processes.

    *first_number* is the number of the identity at position 0, None if serials are given. *ca_certificate* (DER) and
    *ca_key* (`CertificateAuthority.portable_key`) are None if devices use self or assisted claiming. *now* has a time
    zone.
    """

    ledger: str
    batch: str
    serials: SerialPattern
    first_number: int | None
    identity: IdentityPolicy
    certificate: CertificatePolicy
    provisioning: Provisioning
    recipients: tuple[str, ...]
    now: datetime
    ca_certificate: bytes | None = field(repr=False)
    ca_key: bytes | None = field(repr=False)
    unique_key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if self.identity.credentials is Credentials.CERTIFICATE:
            if self.ca_certificate is None or self.ca_key is None:
                raise InputError("no CA to sign certificates", hint="run rmfab ca create or rmfab ca import")
            judge_mqtt_host(self.identity)

    @classmethod
    def of(
        cls,
        product: Product,
        *,
        ledger: str,
        batch: str,
        first_number: int | None,
        ca: CertificateAuthority | None,
        unique_key: Secret[bytes],
        recipients: Sequence[str],
        now: datetime,
    ) -> Recipe:
        """Return the recipe of *product*. Raise InputError if the CA or the MQTT host is missing."""
        return cls(
            ledger=ledger,
            batch=batch,
            serials=product.serial,
            first_number=first_number,
            identity=product.identity,
            certificate=product.certificate,
            provisioning=product.provisioning,
            recipients=tuple(recipients),
            now=now,
            ca_certificate=None if ca is None else ca.certificate_der,
            ca_key=None if ca is None else ca.portable_key.reveal(),
            unique_key=unique_key.reveal(),
        )


@dataclass(frozen=True)
class ChunkSpec:
    """A chunk to make: *count* identities from position *first* of the batch; *rows* if values are given."""

    number: int
    first: int
    count: int
    rows: tuple[ValuesRow, ...] | None = None
    data_key: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class ChunkResult:
    """A finished chunk. *spec* contains its data key, of which only *wrapped_data_key* is kept."""

    spec: ChunkSpec
    wrapped_data_key: bytes
    records: tuple[SealedRecord, ...]


def judge_mqtt_host(policy: IdentityPolicy) -> None:
    """Raise InputError if product.toml still has the placeholder that `init` writes."""
    if policy.mqtt_host == MQTT_HOST_PLACEHOLDER:
        raise InputError(
            f'mqtt_host is still the placeholder "{MQTT_HOST_PLACEHOLDER}"',
            where="product.toml [identity] mqtt_host",
            hint="set the MQTT host of your deployment: units made with a wrong host cannot connect",
            cause="mqtt-host",
        )


def chunk_size(policy: IdentityPolicy) -> int:
    """Return the best size of a chunk: about as many identities as take a second or less."""
    if policy.credentials is Credentials.CLOUD_CLAIM:
        return _CHUNK_SIZE
    return _CHUNK_SIZES.get(policy.key, _CHUNK_SIZE)


def with_rows(specs: Iterable[ChunkSpec], rows: Iterable[ValuesRow]) -> Iterator[ChunkSpec]:
    """Yield *specs*, in order of position, each with its rows of a values file; rows of skipped chunks are skipped.

    Raise InputError if there are too few rows.
    """
    source, position = iter(rows), 0
    for spec in specs:
        part = tuple(islice(source, spec.first - position, spec.first - position + spec.count))
        position = spec.first + spec.count
        if len(part) != spec.count:
            raise InputError("the values file has fewer rows than the batch has identities")
        yield replace(spec, rows=part)


def generate(
    recipe: Recipe, chunks: Iterable[ChunkSpec], jobs: int, source: Source = secrets.token_bytes
) -> Generator[ChunkResult, None, None]:
    """Make *chunks*, in order, in this process or, if that is faster, in *jobs* others.

    Close the iterator to stop early. Raise InputError as `make_chunk` does, StationError if a process died.
    """
    specs = (replace(spec, data_key=source(DATA_KEY_BYTES)) for spec in chunks)
    first = list(islice(specs, 2 if recipe.identity.key in _CHUNK_SIZES else _CHUNKS_WORTH_A_POOL))
    if jobs > 1 and len(first) > 1 and (following := next(specs, None)) is not None:
        yield from _in_processes(recipe, chain(first, [following], specs), jobs)
        return
    for spec in chain(first, specs):
        yield make_chunk(recipe, spec, source)


def make_chunk(recipe: Recipe, spec: ChunkSpec, source: Source = secrets.token_bytes) -> ChunkResult:
    """Make one chunk. Raise InputError if the serial pattern runs out or the clock is before the CA."""
    data_key = Secret(spec.data_key)
    maker = _Maker(recipe, Sealer(data_key, recipe.ledger, recipe.batch, source), source)
    rows: Sequence[ValuesRow | None] = spec.rows if spec.rows is not None else (None,) * spec.count
    records = tuple(maker.make(spec.first + index, row) for index, row in enumerate(rows))
    return ChunkResult(spec, wrap(data_key, recipe.recipients), records)


def remake(
    recipe: Recipe, chunk: ChunkResult, indices: Iterable[int], source: Source = secrets.token_bytes
) -> ChunkResult:
    """Return *chunk* with `random`, and all that is derived from it, drawn again for the records at *indices*."""
    maker = _Maker(recipe, Sealer(Secret(chunk.spec.data_key), recipe.ledger, recipe.batch, source), source)
    records = list(chunk.records)
    for index in indices:
        records[index] = maker.redraw(records[index])
    return replace(chunk, records=tuple(records))


def open_identity(
    record: SealedRecord, data_key: Secret[bytes], pool: str, batch: str, given_serial: str | None = None
) -> Identity:
    """Return the identity in *record*, of *batch* in the pool *pool*: the id of the ledger in which it was made.

    *given_serial* is the one that it got with its board, if it was made without. Then it also stands in place of
    `{serial}` in the extra values. Raise IntegrityError if a field was changed or belongs elsewhere.
    """
    sealer = Sealer(data_key, pool, batch)
    random = sealer.open(record.serial, RANDOM, record.sealed_random)
    if hashlib.sha256(random.reveal()).hexdigest() != record.random_sha256:
        raise IntegrityError("random does not match the digest in the ledger", where=record.serial, cause="sealed")
    certificate = key = salt = verifier = None
    if record.certificate is not None and record.sealed_key is not None:
        key_der = sealer.open(record.serial, KEY, record.sealed_key)
        _judge_pair(record, record.certificate, key_der)
        certificate = keypair.pem(record.certificate, "CERTIFICATE")
        key = keypair.private_pem(key_der)
    if record.sealed_sec2 is not None:
        pair = sealer.open(record.serial, SEC2, record.sealed_sec2).reveal()
        salt, verifier = pair[: sec2_verifier.SALT_BYTES], Secret(pair[sec2_verifier.SALT_BYTES :])
    extra: list[tuple[str, str, str]] = []
    if record.sealed_extra is not None:
        extra = json.loads(sealer.open(record.serial, EXTRA, record.sealed_extra).reveal())
    if given_serial is not None:
        extra = [(namespace, name, cell.replace(SERIAL_MARK, given_serial)) for namespace, name, cell in extra]
    try:
        return Identity(
            serial=given_serial or record.serial,
            node_id=record.node_id,
            certificate_pem=certificate,
            private_key_pem=key,
            random=random,
            sec2_salt=salt,
            sec2_verifier=verifier,
            service_name=record.service_name,
            extra={(namespace, name): Secret(cell) for namespace, name, cell in extra},
        )
    except ValueError as error:
        what = f"the identity was changed after it was made: {error}"
        raise IntegrityError(what, where=record.serial, cause="record") from error


def judge_opening(record: SealedRecord, data_key: Secret[bytes], pool: str, batch: str) -> None:
    """Raise IntegrityError as `open_identity` does, for a *record* that may get its serial only with its board."""
    any_serial = "unclaimed" if is_pool_name(record.serial) else None
    open_identity(record, data_key, pool, batch, any_serial)


def reseal(record: SealedRecord, opener: Sealer, sealer: Sealer) -> SealedRecord:
    """Return *record* with the fields that *opener* opens sealed by *sealer*. Raise IntegrityError as *opener* does."""

    def again(field: str, sealed: bytes) -> bytes:
        return sealer.seal(record.serial, field, opener.open(record.serial, field, sealed))

    def if_any(field: str, sealed: bytes | None) -> bytes | None:
        return None if sealed is None else again(field, sealed)

    return replace(
        record,
        sealed_key=if_any(KEY, record.sealed_key),
        sealed_random=again(RANDOM, record.sealed_random),
        sealed_sec2=if_any(SEC2, record.sealed_sec2),
        sealed_extra=if_any(EXTRA, record.sealed_extra),
    )


class _Maker:
    """Maker of the records of one chunk."""

    def __init__(self, recipe: Recipe, sealer: Sealer, source: Source) -> None:
        self._recipe = recipe
        self._source = source
        self._records = RecordSealer(sealer, Secret(recipe.unique_key))

    def make(self, position: int, row: ValuesRow | None) -> SealedRecord:
        """Return the record of the identity at *position* of the batch."""
        serial = self._serial(position, row)
        drawn = draw(self._source, self._recipe.provisioning)
        return self._records.record(serial, drawn, self._certified(row), () if row is None else row.extra)

    def redraw(self, record: SealedRecord) -> SealedRecord:
        """Return *record* with a new `random`; key, certificate and names stay."""
        return self._records.redrawn(record, draw(self._source, self._recipe.provisioning))

    def _certified(self, row: ValuesRow | None) -> Certified | None:
        """Return a new key and its certificate, None if devices use self or assisted claiming."""
        if self._recipe.ca_certificate is None or self._recipe.ca_key is None:
            return None
        ca = _authority(self._recipe.ca_certificate, self._recipe.ca_key)
        private = keypair.draw(self._recipe.identity.key)
        name = self._node_id(row)
        signed = certify(ca, name, private.public_key(), self._recipe.certificate, self._recipe.now)
        certificate = signed.public_bytes(serialization.Encoding.DER)
        return Certified(name, signed.serial_number, certificate, keypair.private_der(private))

    def _serial(self, position: int, row: ValuesRow | None) -> str:
        if row is not None and row.serial is not None:
            return row.serial
        if self._recipe.serials.late:
            return pool_name(self._recipe.batch, position)
        if self._recipe.first_number is None:
            raise InputError("serials are neither counted nor given")
        return self._recipe.serials.serial(self._recipe.first_number + position)

    def _node_id(self, row: ValuesRow | None) -> str:
        if row is not None and row.node_id is not None:
            return node_id.check(row.node_id)
        return node_id.draw(self._recipe.identity.node_id, self._source)


@lru_cache(maxsize=2)
def _authority(certificate: bytes, key: bytes) -> CertificateAuthority:
    return CertificateAuthority.from_portable(certificate, key)


def _judge_pair(record: SealedRecord, certificate: bytes, key_der: Secret[bytes]) -> None:
    try:
        private = serialization.load_der_private_key(key_der.reveal(), None)
        matches = x509.load_der_x509_certificate(certificate).public_key() == private.public_key()
    except ValueError:
        matches = False
    if not matches:
        raise IntegrityError("the certificate does not match the key", where=record.serial, cause="sealed")


def _in_processes(recipe: Recipe, specs: Iterator[ChunkSpec], jobs: int) -> Iterator[ChunkResult]:
    on_token = recipe.ca_key is not None and is_on_token(recipe.ca_key)
    # SoftHSM may fail if two processes open a token at once. A file lock is released when its holder dies.
    with NamedTemporaryFile(prefix="rmfab-") if on_token else nullcontext() as turn:
        order = recipe, None if turn is None else Path(turn.name)
        with open_crew(_Worker, order, jobs) as crew:
            yield from (result for _, result in crew.run(_Worker.make, specs))


class _Worker:
    """Maker of chunks in a separate process, which opens the CA once."""

    def __init__(self, order: tuple[Recipe, Path | None]) -> None:
        self._recipe, turn = order
        if turn is not None and self._recipe.ca_certificate is not None and self._recipe.ca_key is not None:
            with locked(turn):
                _authority(self._recipe.ca_certificate, self._recipe.ca_key)

    def make(self, spec: ChunkSpec) -> ChunkResult:
        """Return the chunk of *spec*."""
        return make_chunk(self._recipe, spec)
