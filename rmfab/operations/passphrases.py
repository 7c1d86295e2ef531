"""Passphrases and PINs: from a file, named by an option or an environment variable, or from the terminal."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import InputError
from rmfab.files import read_input
from rmfab.operations.terminal import Terminal
from rmfab.secret import Secret

CA_ENVIRONMENT = "RMFAB_CA_PASSPHRASE_FILE"
KEY_ENVIRONMENT = "RMFAB_KEY_PASSPHRASE_FILE"


@dataclass(frozen=True)
class Passphrases:
    """The passphrases of one kind of key: from *file*, else from the file that the variable *environment* names, else
    from *terminal*."""

    terminal: Terminal
    environment: str
    file: Path | None = None

    def ask(self, subject: str) -> Secret[str]:
        """Return the passphrase of the key *subject*. Raise InputError if there is neither a file nor a terminal."""
        given = self._from_file()
        return given if given is not None else self._from_terminal(f"Passphrase of {subject}", None)

    def ask_new(self, subject: str) -> Secret[str]:
        """Return a new passphrase for the key *subject*, asking twice on a terminal. Raise InputError as `ask` does."""
        given = self._from_file()
        if given is not None:
            return given
        return self._from_terminal(f"New passphrase for {subject}", "--no-passphrase leaves the key unencrypted")

    def _from_file(self) -> Secret[str] | None:
        named = os.environ.get(self.environment)
        path = self.file or (Path(named) if named else None)
        if path is None:
            return None
        try:
            text = read_input(path, "passphrase file").decode()
        except UnicodeDecodeError:
            raise InputError("the passphrase is not UTF-8 text", where=str(path)) from None
        mode = path.stat().st_mode
        if os.name == "posix" and stat.S_ISREG(mode) and mode & stat.S_IROTH:
            self.terminal.warn(f"{path}: passphrase file is readable by every user (chmod 600 {path})")
        text = text.removesuffix("\n").removesuffix("\r")
        if not text:
            raise InputError("the passphrase file is empty", where=str(path))
        return Secret(text)

    def _from_terminal(self, question: str, otherwise: str | None) -> Secret[str]:
        """Ask once, or twice if *otherwise*, the hint for a new key, is given."""
        if not self.terminal.interactive:
            option = " or --passphrase-file" if self.environment == KEY_ENVIRONMENT else ""
            raise InputError(
                "a passphrase is required, and there is no terminal to ask on",
                hint="; ".join(filter(None, (f"set {self.environment}{option} to a file that contains it", otherwise))),
                cause="passphrase",
            )
        return self.terminal.passphrase(question, twice=otherwise is not None)
