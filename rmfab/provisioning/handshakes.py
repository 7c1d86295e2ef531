"""The messages of `prov-session`: what client and unit exchange before anything is encrypted.

Source: ESP-IDF, protocomm/proto (constants, session, sec0, sec1, sec2); the field numbers are in proto/session.proto.
"""

from __future__ import annotations

from rmfab.provisioning.codec import check_status, expect, parse
from rmfab.provisioning.failures import ProtocolError
from rmfab.provisioning.proto.session_pb2 import (
    PlainHandshake,
    Scheme,
    Session,
    Srp6aHandshake,
    X25519Handshake,
)

_MOST_SALT_BYTES = 64  # ESP-IDF's have 16


def plain_hello() -> bytes:
    """Return the one request of security 0."""
    hello = PlainHandshake(kind=PlainHandshake.HELLO, hello=PlainHandshake.Hello())
    return Session(scheme=Scheme.PLAIN, plain=hello).SerializeToString()


def read_plain_welcome(data: bytes) -> None:
    """Read the answer to `plain_hello`. Raise ProtocolError, or RequestRefused if its status is not success."""
    answer = _session(data, "plain").plain
    expect(answer, "welcome")
    check_status(answer.welcome.status)


def x25519_key(public_key: bytes) -> bytes:
    """Return the first request of security 1: the client's key (32 bytes)."""
    body = X25519Handshake.ClientKey(public_key=public_key)
    return _x25519(X25519Handshake(kind=X25519Handshake.CLIENT_KEY, client_key=body))


def read_x25519_key(data: bytes) -> tuple[bytes, bytes]:
    """Read the first answer of security 1: the unit's key (32 bytes) and its random (16 bytes).

    Raise ProtocolError or RequestRefused.
    """
    answer = _session(data, "x25519").x25519
    expect(answer, "device_key")
    told = answer.device_key
    check_status(told.status)
    return _sized(told.public_key, 32, "public key"), _sized(told.random, 16, "random")


def x25519_proof(proof: bytes) -> bytes:
    """Return the second request of security 1: the unit's key, encrypted."""
    body = X25519Handshake.ClientProof(proof=proof)
    return _x25519(X25519Handshake(kind=X25519Handshake.CLIENT_PROOF, client_proof=body))


def read_x25519_proof(data: bytes) -> bytes:
    """Read the second answer of security 1: the client's key, encrypted (32 bytes).

    Raise ProtocolError or RequestRefused.
    """
    answer = _session(data, "x25519").x25519
    expect(answer, "device_proof")
    check_status(answer.device_proof.status)
    return _sized(answer.device_proof.proof, 32, "proof")


def srp6a_key(username: str, public_key: bytes) -> bytes:
    """Return the first request of security 2: the user name and A (384 bytes)."""
    body = Srp6aHandshake.ClientKey(username=username.encode(), public_key=public_key)
    return _srp6a(Srp6aHandshake(kind=Srp6aHandshake.CLIENT_KEY, client_key=body))


def read_srp6a_key(data: bytes) -> tuple[bytes, bytes]:
    """Read the first answer of security 2: B (1 to 384 bytes) and the salt (1 to 64 bytes), as sent.

    Raise ProtocolError or RequestRefused.
    """
    answer = _session(data, "srp6a").srp6a
    expect(answer, "device_key")
    told = answer.device_key
    check_status(told.status)
    if not 0 < len(told.public_key) <= 384 or not 0 < len(told.salt) <= _MOST_SALT_BYTES:
        raise ProtocolError(f"the unit sent a key of {len(told.public_key)} and a salt of {len(told.salt)} bytes")
    return told.public_key, told.salt


def srp6a_proof(proof: bytes) -> bytes:
    """Return the second request of security 2: M1 (64 bytes)."""
    body = Srp6aHandshake.ClientProof(proof=proof)
    return _srp6a(Srp6aHandshake(kind=Srp6aHandshake.CLIENT_PROOF, client_proof=body))


def read_srp6a_proof(data: bytes) -> tuple[bytes, bytes]:
    """Read the second answer of security 2: M2 (64 bytes) and the nonce, as sent.

    Raise ProtocolError or RequestRefused.
    """
    answer = _session(data, "srp6a").srp6a
    expect(answer, "device_proof")
    told = answer.device_proof
    check_status(told.status)
    return _sized(told.proof, 64, "proof"), told.nonce


def _x25519(handshake: X25519Handshake) -> bytes:
    return Session(scheme=Scheme.X25519, x25519=handshake).SerializeToString()


def _srp6a(handshake: Srp6aHandshake) -> bytes:
    return Session(scheme=Scheme.SRP6A, srp6a=handshake).SerializeToString()


def _session(data: bytes, scheme: str) -> Session:
    session = parse(Session, data)
    if session.WhichOneof("handshake") != scheme or session.scheme != Scheme.Value(scheme.upper()):
        raise ProtocolError("the unit answered with a different security scheme than it offered")
    return session


def _sized(value: bytes, size: int, name: str) -> bytes:
    if len(value) != size:
        raise ProtocolError(f"the unit sent a {name} of {len(value)} bytes, expected {size}")
    return value
