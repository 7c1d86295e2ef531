"""Create, import and show the CA that signs device certificates."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from rmfab.errors import InputError
from rmfab.files import read_input
from rmfab.identity.ca import (
    CaKeyKind,
    CertificateAuthority,
    key_description,
    load_workspace_certificate,
    path_length,
    refuse_existing,
    token_uri,
)
from rmfab.identity.ca_files import KEY_FILE
from rmfab.operations.git_warning import warn_of_git
from rmfab.operations.passphrases import CA_ENVIRONMENT, Passphrases
from rmfab.operations.terminal import Terminal
from rmfab.product.vocabulary import Credentials
from rmfab.secret import Secret
from rmfab.signing.keyfile import PassphraseSource, is_encrypted
from rmfab.signing.signer import key_uri
from rmfab.signing.token import TokenKey
from rmfab.workspace.workspace import Workspace

_CA_KEY = "the CA's key"
_LONGEST_PRODUCT = 54
"""Characters of a product name that fit before " Device CA" into a common name (64, RFC 5280 ub-common-name)."""


@dataclass(frozen=True)
class CaRequest:
    """A new CA: its common *name* (None: from the product's name) and *kind* of key, encrypted unless *bare*."""

    name: str | None
    kind: CaKeyKind
    bare: bool = False


def create_ca(workspace: Workspace, request: CaRequest, terminal: Terminal) -> str:
    """Create the CA of *workspace*; return its name. Raise InputError if it has one already, or needs none."""
    _judge_needed(workspace)
    name = request.name if request.name is not None else f"{workspace.product.name[:_LONGEST_PRODUCT]} Device CA"
    passphrases = Passphrases(terminal, CA_ENVIRONMENT)
    secret = None if request.bare else passphrases.ask_new(str(workspace.ca_folder / "ca.key"))
    authority = CertificateAuthority.create(name, request.kind, workspace.now())
    authority.save(workspace.ca_folder, secret)
    warn_of_git(terminal, _CA_KEY, workspace.ca_folder / KEY_FILE)
    return authority.name


def import_ca(workspace: Workspace, certificate: Path, key: str, terminal: Terminal, *, bare: bool = False) -> str:
    """Import a CA from its *certificate* and its private *key*, a path or URI; return its name.

    An encrypted key keeps its passphrase, and a key in a token stays there; an unencrypted key is encrypted unless
    *bare*. Raise InputError as `create_ca` does.
    """
    _judge_needed(workspace)
    passphrases = Passphrases(terminal, CA_ENVIRONMENT)
    used: list[Secret[str]] = []
    uri = key_uri(key) if key_uri(key).startswith(("file:", "env:", "pkcs11:")) else f"file:{key}"

    def read(ask: PassphraseSource) -> CertificateAuthority:
        def remember(subject: str) -> Secret[str]:
            used.append(ask(subject))
            return used[-1]

        return CertificateAuthority.read(certificate, uri, remember, workspace.now(), os.environ)

    with closing(passphrases.opened(read)) as authority:
        plain = bare or isinstance(authority.key, TokenKey)
        if not used and not plain:
            used.append(passphrases.ask_new(str(workspace.ca_folder / "ca.key")))
        authority.save(workspace.ca_folder, None if plain else used[-1])
        warn_of_git(terminal, _CA_KEY, workspace.ca_folder / KEY_FILE)
        return authority.name


def _judge_needed(workspace: Workspace) -> None:
    """Raise InputError if the product needs no CA, or has one."""
    if workspace.product.identity.credentials is Credentials.CLOUD_CLAIM:
        raise InputError(
            "public RainMaker makes the certificates; this product needs no CA",
            where="product.toml: [identity] credentials",
            hint='for a private deployment, set credentials = "certificate"',
        )
    refuse_existing(workspace.ca_folder)


def ca_facts(workspace: Workspace) -> dict[str, Any]:
    """Return the contents of the CA's certificate, and how its key is stored. No passphrase is needed."""
    facts = _facts(load_workspace_certificate(workspace.ca_folder))
    facts["certificate"] = str(workspace.ca_folder / "ca.crt")
    return facts | _key_facts(workspace.ca_folder / "ca.key")


def _facts(certificate: x509.Certificate) -> dict[str, Any]:
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial_number": f"{certificate.serial_number:x}",
        "key": key_description(certificate),
        "path_length": path_length(certificate),
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
    }


def _key_facts(key: Path) -> dict[str, Any]:
    """Return whether the key file is encrypted, or the token that contains the key."""
    if not key.exists():
        return {"key_encrypted": None}
    uri = token_uri(key)
    return {"key_in_token": uri} if uri else {"key_encrypted": is_encrypted(read_input(key, "CA key"))}
