"""The formats of handovers and returns: what was written reads back, and what nobody writes is refused."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab.errors import InputError, IntegrityError
from rmfab.exchange import handover_file, return_file
from rmfab.exchange.handover_file import decode_chunk, encode_chunk, safe_path
from rmfab.exchange.parcel import HANDOVER, RETURN, ParcelWriter, open_parcel
from rmfab.exchange.pending import pending_parcel
from rmfab.identity.sealed_record import SealedRecord
from rmfab.ledger.host_record import Head
from rmfab.ledger.receipts import Span
from rmfab.release import container
from rmfab.signing.dsse import Envelope
from rmfab.signing.publickey import VerifyingKey
from rmfab.signing.signer import KeySigner, SigningKeyKind, make_key

SIGNER = make_key(SigningKeyKind.ED25519)
SPAN = Span("c" * 32, "bench", Head(0, "0" * 64), Head(3, "1" * 64))


def record(serial: str, octets: bytes) -> SealedRecord:
    return SealedRecord(serial, None, None, None, "a" * 64, "b" * 64, "PROV_1", None, octets, None, octets or None)


@given(st.lists(st.tuples(st.from_regex(r"\A[A-Z]{1,9}\Z"), st.binary(max_size=99)), min_size=1, max_size=4))
def test_a_chunk_reads_back(rows: list[tuple[str, bytes]]) -> None:
    """Records and the wrapped key are the same after writing and reading."""
    records = [record(serial, octets) for serial, octets in rows]
    assert decode_chunk(encode_chunk(b"key", records)) == (b"key", records)


@pytest.mark.parametrize(
    ("path", "good"),
    [
        ("product.toml", True),
        ("csv/config.csv", True),
        ("a/b/c/d.ttf", True),
        ("", False),
        ("/etc/passwd", False),
        ("../x", False),
        ("a/../x", False),
        ("a//x", False),
        ("./x", False),
        ("keys/station.key", False),
        ("ca/ca.key", False),
        ("ledger.db", False),
        ("ledger.db-wal", False),
        ("station.toml", False),
        (".gitignore", False),
        ("a\\b", False),
        ("a b", False),
        ("x" * 65, False),
        ("/".join("abcdefghi"), False),
        ("a\0b", False),
    ],
)
def test_where_a_handover_may_write(path: str, good: bool) -> None:
    """Only plain relative paths, and never keys, the CA, the ledger or what belongs to the host."""
    if good:
        assert safe_path(path) == path
    else:
        with pytest.raises(InputError) as caught:
            safe_path(path)
        assert caught.value.cause == "path-escape"


def written(folder: Path, members: dict[str, bytes], signer: KeySigner = SIGNER, kind: Any = RETURN) -> Path:
    """Write a signed parcel with *members*."""
    folder.mkdir()
    writer = ParcelWriter(folder, kind, signer.public)
    for name, data in members.items():
        writer.add(name, data)
    writer.complete({"number": 1})
    writer.sign(signer)
    return writer.path


def test_a_parcel(tmp_path: Path) -> None:
    """Its members can be read once its signature is verified, and only those."""
    path = written(tmp_path / "a", {"a": b"1", "b": b""})
    with open_parcel(path, RETURN) as one:
        with pytest.raises(IntegrityError):
            one.read("a")
        assert one.verify(SIGNER.public)["number"] == 1
        assert (one.names(), one.read("a"), one.read("b")) == (["a", "b"], b"1", b"")
        with pytest.raises(IntegrityError):
            one.read("c")
        with pytest.raises(IntegrityError) as caught:
            one.verify(make_key(SigningKeyKind.ED25519).public)
        assert caught.value.cause == "unknown-signer"
    with pytest.raises(InputError, match="not a handover"), open_parcel(path, HANDOVER):
        pass
    writer = ParcelWriter(tmp_path, RETURN, SIGNER.public)
    writer.add("b", b"")
    with pytest.raises(ValueError, match="out of order"):
        writer.add("a", b"")
    writer.close()


def read(path: Path) -> None:
    """Read all of a return."""
    with open_parcel(path, RETURN) as one:
        one.verify(SIGNER.public)
        one.verify_members()
        list(return_file.read_blocks(one, [SPAN]))


def repacked(path: Path, change: Any) -> Path:
    """Write the members of the parcel *path*, changed by *change*, as a sound archive."""
    members, time = container.decode(path.read_bytes())
    target = path.with_name("bad")
    target.write_bytes(container.encode(change([(name, bytes(data)) for name, data in members]), time))
    return target


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m[:-1],
        lambda m: [m[0], m[2], m[1]],
        lambda m: [*m, ("z", b"more")],
        lambda m: [m[0], ("handover-1", b"2"), m[2]],
        lambda m: [m[0], ("handover-1", b"11"), m[2]],
        lambda m: [(m[0][0], m[0][1].replace(b'"sig":"', b'"sig":"AA')), *m[1:]],
        lambda m: [(m[0][0], b"{}"), *m[1:]],
        lambda m: [(m[0][0], m[0][1] + b" "), *m[1:]],
    ],
)
def test_a_parcel_that_was_put_together(tmp_path: Path, change: Any) -> None:
    """Members that are missing, moved, added or changed, and a different envelope, are found in a sound archive."""
    path = written(tmp_path / "a", {"handover-1": b"1", "handover-2": b"2"})
    read(repacked(path, lambda members: members))
    with pytest.raises(IntegrityError):
        read(repacked(path, change))


def test_a_parcel_that_nobody_signed(tmp_path: Path) -> None:
    """A complete parcel without its signature, as a killed process leaves it, or with two, is refused."""
    folder = tmp_path / "a"
    folder.mkdir()
    writer = ParcelWriter(folder, RETURN, SIGNER.public)
    writer.complete({})
    with pytest.raises(IntegrityError) as caught, open_parcel(writer.path, RETURN) as one:
        one.verify(SIGNER.public)
    assert caught.value.cause == "bad-signature"
    both = Envelope(RETURN.payload_type, b"{}").signed(SIGNER, make_key(SigningKeyKind.ED25519)).encode()
    writer.path.write_bytes(container.encode([("return.json", both)], 0))
    with pytest.raises(IntegrityError), open_parcel(writer.path, RETURN) as one:
        one.verify(SIGNER.public)


def columns(**changes: Any) -> bytes:
    """Return a block of one event, with *changes* of its columns."""
    values = dict.fromkeys(return_file._LISTED) | {"ts": "2026-11-28T12:00:00.000Z", "kind": "step"} | changes
    return json.dumps([[0], [1], *([value] for value in values.values())]).encode() + b"\n{}"


BAD_BLOCKS = {
    "not compressed": b"[]",
    "cut off": zlib.compress(columns())[:-1],
    "more behind it": zlib.compress(columns()) + b"x",
    "a bomb": zlib.compress(bytes(1 << 26)),
    "not JSON": zlib.compress(b"{\n{}"),
    "no columns": zlib.compress(b"[]\n{}"),
    "short columns": zlib.compress(columns().replace(b"[1]", b"[1, 2]")),
    "no details": zlib.compress(columns()[:-3]),
    "a chain that is none": zlib.compress(columns().replace(b"[0]", b"[1]")),
    "a negative chain": zlib.compress(columns().replace(b"[0]", b"[-1]")),
    "a number as text": zlib.compress(columns(reason=7)),
    "a long text": zlib.compress(columns(reason="x" * 5000)),
    "a list as a number": zlib.compress(columns(seconds=[1.0])),
    "letters beyond ASCII": zlib.compress(columns() + "ä".encode()),
}


@pytest.mark.parametrize("block", BAD_BLOCKS.values(), ids=BAD_BLOCKS)
def test_a_block_of_events_that_nobody_writes(tmp_path: Path, block: bytes) -> None:
    """A signed block beyond the limits of the format is refused as damaged, and takes no memory."""
    path = written(tmp_path / "a", {"events-00000": block})
    with pytest.raises(IntegrityError) as caught:
        read(path)
    assert caught.value.cause == "handover-altered"


def test_a_block_of_events(tmp_path: Path) -> None:
    """A block that is sound yields its events, with the chain that its index names."""
    path = written(tmp_path / "a", {"events-00000": zlib.compress(columns(reason="why", seconds=1.5))})
    with open_parcel(path, RETURN) as one:
        one.verify(SIGNER.public)
        ((event,),) = return_file.read_blocks(one, [SPAN])
    assert (event["chain"], event["seq"], event["reason"], event["seconds"]) == (SPAN.chain, 1, "why", 1.5)


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN PRIVATE KEY-----", b"\xff" * 40])
def test_an_owner_key_that_is_none(tmp_path: Path, pem: bytes) -> None:
    """What stands for the owner's key is a public key, or the file is refused."""
    path = written(tmp_path / "a", {handover_file.OWNER: pem}, kind=HANDOVER)
    with open_parcel(path, HANDOVER) as one, pytest.raises(InputError):
        VerifyingKey.from_pem(handover_file.owner_key(one), "here")


def test_an_archive_with_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of members is bounded before the signature is looked at."""
    path = written(tmp_path / "a", dict.fromkeys("abc", b""))
    monkeypatch.setattr(container, "_MOST_MEMBERS", 3)
    with pytest.raises(IntegrityError, match="too many members"), open_parcel(path, RETURN):
        pass


@pytest.mark.parametrize("force", [False, True])
def test_a_pipe_is_no_parcel(tmp_path: Path, force: bool) -> None:
    """A parcel never takes the place of a pipe or a device: it is refused before anything is recorded."""
    os.mkfifo(tmp_path / "pipe")
    with (
        pytest.raises(InputError, match="is a device or a pipe, expected a file"),
        pending_parcel(tmp_path / "pipe", HANDOVER, SIGNER, force=force),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
