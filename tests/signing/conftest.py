"""Signing keys, made once for all tests."""

from __future__ import annotations

import pytest

from rmfab.signing.signer import KeySigner, SigningKeyKind, make_key


@pytest.fixture(scope="session")
def ed25519() -> KeySigner:
    """An Ed25519 key."""
    return make_key(SigningKeyKind.ED25519)


@pytest.fixture(scope="session")
def p256() -> KeySigner:
    """A key on P-256."""
    return make_key(SigningKeyKind.ECDSA_P256)
