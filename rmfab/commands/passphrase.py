"""Where the CA's passphrase comes from: the file that RMFAB_CA_PASSPHRASE_FILE names, or the terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from rmfab.commands import speech
from rmfab.errors import InputError
from rmfab.files import read_input
from rmfab.secret import Secret

ENVIRONMENT = "RMFAB_CA_PASSPHRASE_FILE"


def ask(subject: str) -> Secret[str]:
    """The passphrase of the key called *subject*. Raises InputError where there is neither file nor terminal."""
    given = _from_file()
    return given if given is not None else _from_terminal(f"Passphrase of {subject}", None)


def ask_new(subject: str) -> Secret[str]:
    """A new passphrase for the key called *subject*, asked for twice. Raises InputError as `ask` does."""
    given = _from_file()
    if given is not None:
        return given
    return _from_terminal(f"New passphrase for {subject}", "--no-passphrase leaves the key unencrypted")


def _from_file() -> Secret[str] | None:
    name = os.environ.get(ENVIRONMENT)
    if not name:
        return None
    path = Path(name)
    try:
        text = read_input(path, "passphrase file").decode()
    except UnicodeDecodeError:
        raise InputError("this passphrase is not UTF-8 text", where=name) from None
    if os.name == "posix" and path.stat().st_mode & 0o004:
        speech.warn(f"{name}: every user of this host can read this passphrase (chmod 600 {name})")
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise InputError("this passphrase file is empty", where=name)
    return Secret(text)


def _from_terminal(prompt: str, otherwise: str | None) -> Secret[str]:
    """Asks once, or twice where a new key could also do *otherwise*."""
    if not sys.stdin.isatty():
        raise InputError(
            "a passphrase is needed, and there is no terminal to ask on",
            hint="; ".join(filter(None, (f"{ENVIRONMENT} names a file that holds it", otherwise))),
            cause="passphrase",
        )
    text: str = click.prompt(prompt, hide_input=True, confirmation_prompt=otherwise is not None, err=True)
    return Secret(text)
