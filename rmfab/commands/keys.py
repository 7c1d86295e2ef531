"""Signing keys as commands take them: by URI, with their passphrase from a file or the terminal."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rmfab.commands.passphrase import KEY_ENVIRONMENT, Passphrases

if TYPE_CHECKING:
    from rmfab.signing.signer import Signer

F = TypeVar("F", bound=Callable[..., Any])

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
    """The keys that *uris* name, in order. Raises InputError, StationError."""
    from rmfab.signing.signer import open_signer

    passphrases = Passphrases(KEY_ENVIRONMENT, passphrase_file)
    return [open_signer(uri, passphrases.ask, os.environ) for uri in uris]
