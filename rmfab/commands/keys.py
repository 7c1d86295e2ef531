"""Signing keys as commands take them: by URI, with their passphrase from a file or the terminal."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rmfab.commands.passphrase import KEY_ENVIRONMENT, Passphrases

if TYPE_CHECKING:
    from rmfab.identity.ca import CertificateAuthority
    from rmfab.signing.signer import Signer

F = TypeVar("F", bound=Callable[..., Any])
K = TypeVar("K", "Signer", "CertificateAuthority")

passphrase_file_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"Read the passphrase or PIN from FILE (default: {KEY_ENVIRONMENT}, or the terminal).",
)


def key_option(*, required: bool) -> Callable[[F], F]:
    """--key URI, again for more, and --passphrase-file."""

    def add(function: F) -> F:
        named = click.option(
            "--key",
            "keys",
            multiple=True,
            required=required,
            metavar="URI",
            help="file:release.key, env:NAME, or pkcs11:token=…;object=…; again for more.",
        )
        return named(passphrase_file_option(function))

    return add


def open_keys(uris: tuple[str, ...], passphrase_file: Path | None) -> list[Signer]:
    """The keys that *uris* name, in order, closed when the command ends. Raises InputError, StationError."""
    from rmfab.signing.signer import open_signer

    passphrases = Passphrases(KEY_ENVIRONMENT, passphrase_file)
    return [closed_at_the_end(open_signer(uri, passphrases.ask, os.environ)) for uri in uris]


def closed_at_the_end(key: K) -> K:
    """The same key, whose token is let go of when the command ends, however it does; in no command, when the process
    ends."""
    context = click.get_current_context(silent=True)
    if context is not None:
        context.call_on_close(key.close)
    return key
