"""Signing keys: opened by path or URI, with their passphrase from a file or the terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rmfab.operations.passphrases import KEY_ENVIRONMENT, Passphrases
from rmfab.operations.terminal import Terminal
from rmfab.signing.signer import Signer, key_uri, open_signer


@dataclass(frozen=True)
class KeyChoice:
    """The keys that *uris* name, each a path or a URI, and the file with their passphrase or PIN."""

    uris: tuple[str, ...] = ()
    passphrase_file: Path | None = None


@contextmanager
def opened_keys(choice: KeyChoice, terminal: Terminal) -> Iterator[list[Signer]]:
    """Open the keys of *choice*, in order; close them at the end. Raise InputError or StationError."""
    passphrases = Passphrases(terminal, KEY_ENVIRONMENT, choice.passphrase_file)
    with ExitStack() as stack:
        yield [stack.enter_context(closing(_opened(key_uri(uri), passphrases))) for uri in choice.uris]


def _opened(uri: str, passphrases: Passphrases) -> Signer:
    return passphrases.opened(lambda ask: open_signer(uri, ask, os.environ))
