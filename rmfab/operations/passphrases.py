"""Passphrases, passwords and PINs: from a file, named by an option or an environment variable, or from the terminal."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rmfab.errors import InputError
from rmfab.files import read_input
from rmfab.operations.terminal import Terminal, counted
from rmfab.privacy import loose_mode
from rmfab.secret import Secret
from rmfab.signing.keyfile import PassphraseSource, WrongPassphrase

T = TypeVar("T")

CA_ENVIRONMENT = "RMFAB_CA_PASSPHRASE_FILE"
KEY_ENVIRONMENT = "RMFAB_KEY_PASSPHRASE_FILE"
CLOUD_ENVIRONMENT = "RMFAB_CLOUD_PASSWORD_FILE"
_OPTIONS = {KEY_ENVIRONMENT: " or --passphrase-file", CLOUD_ENVIRONMENT: " or --password-file"}
_TRIES = 3
_SHORTEST = 8  # characters; NIST SP 800-63B, section 5.1.1.2


@dataclass(frozen=True)
class Passphrases:
    """The passphrases of one kind of key, or the password of an account: from *file*, else from the file that the
    variable *environment* names, else from *terminal*. *lost*: the hint for an owner who no longer knows it.
    *has_option*: whether the command has an option for *file*; hints name it."""

    terminal: Terminal
    environment: str
    file: Path | None = None
    lost: str = "a lost passphrase cannot be recovered"
    has_option: bool = True

    def opened(self, open_key: Callable[[PassphraseSource], T]) -> T:
        """Return what *open_key* returns; it gets the source of the passphrase.

        After a wrong passphrase for a key file, ask again on a terminal, three times in all. (Not after a wrong PIN: a
        token locks itself.) Raise WrongPassphrase with the passphrase's file and a hint.
        """
        asks = self.terminal.interactive and self._path() is None
        for left in reversed(range(_TRIES if asks else 1)):
            try:
                return open_key(self.ask)
            except WrongPassphrase as error:
                if not left:
                    raise self._explained(error) from None
                self.terminal.warn(f"wrong passphrase; {counted(left, 'try', 'tries')} left")
        raise AssertionError("the last try returns or raises")

    def _explained(self, error: WrongPassphrase) -> WrongPassphrase:
        path = self._path()
        what = error.what if path is None else f"{error.what}; the passphrase is from {path}"
        return WrongPassphrase(what, where=error.where, hint=self.lost)

    def ask(self, subject: str) -> Secret[str]:
        """Return the passphrase of the key *subject*. Raise InputError if there is neither a file nor a terminal."""
        given = self._from_file()
        return given if given is not None else self._from_terminal(f"{self._noun.capitalize()} of {subject}", None)

    def ask_new(self, subject: str) -> Secret[str]:
        """Return a new passphrase for the key *subject*, asking twice on a terminal.

        If it is weak, warn, and on a terminal offer to type a different one. Raise InputError as `ask` does.
        """
        new = self._from_file()
        typed = new is None
        while True:
            if new is None:
                new = self._from_terminal(f"New passphrase for {subject}", "--no-passphrase leaves the key unencrypted")
            if not _is_weak(new):
                return new
            hint = f"use {_SHORTEST} characters or more, such as four words"
            self.terminal.warn(f"{subject}: this passphrase is easy to guess", hint)
            if not typed or not self.terminal.confirm("Type a different one?"):
                return new
            new = None

    @property
    def _noun(self) -> str:
        return "password" if self.environment == CLOUD_ENVIRONMENT else "passphrase"

    def _path(self) -> Path | None:
        named = os.environ.get(self.environment)
        return self.file or (Path(named) if named else None)

    def _from_file(self) -> Secret[str] | None:
        path = self._path()
        if path is None:
            return None
        try:
            text = read_input(path, f"{self._noun} file").decode()
        except UnicodeDecodeError:
            raise InputError(f"the {self._noun} is not UTF-8 text", where=str(path)) from None
        if loose_mode(path):
            self.terminal.warn(f"{path}: other users can use this {self._noun} file (chmod 600 {path})")
        text = text.removesuffix("\n").removesuffix("\r")
        if not text:
            raise InputError(f"the {self._noun} file is empty", where=str(path))
        return Secret(text)

    def _from_terminal(self, question: str, otherwise: str | None) -> Secret[str]:
        """Ask once, or twice if *otherwise*, the hint for a new key, is given."""
        if not self.terminal.interactive:
            option = _OPTIONS.get(self.environment, "") if self.has_option else ""
            raise InputError(
                f"a {self._noun} is required, and there is no terminal to ask on",
                hint="; ".join(filter(None, (f"set {self.environment}{option} to a file that contains it", otherwise))),
                cause="passphrase",
            )
        return self.terminal.passphrase(question, twice=otherwise is not None)


def _is_weak(passphrase: Secret[str]) -> bool:
    text = passphrase.reveal()
    return len(text) < _SHORTEST or len(set(text)) == 1
