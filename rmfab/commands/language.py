"""The language of the command line: that of --lang, of RMFAB_LANG, or of the locale."""

from __future__ import annotations

import os
import sys

import click

from rmfab.commands.terminal import globals_of
from rmfab.errors import UsageError
from rmfab.language.speech import VARIABLE, Language, Speech, chosen_language, speech_in


def language() -> Language:
    """Return the operator's language; English if the terminal cannot show the other one. Raise UsageError."""
    context = click.get_current_context(silent=True)
    given = None if context is None else globals_of(context).language
    try:
        chosen = chosen_language(given, os.environ)
    except ValueError as error:
        known = ", ".join(Language)
        raise UsageError(f'unknown language "{error}"', where=VARIABLE, hint=f"use one of {known}") from None
    return chosen if given or _shows(sys.stdout.encoding) else Language.ENGLISH


def speech() -> Speech:
    """Return the texts of the operator's language."""
    return speech_in(language())


def _shows(encoding: str | None) -> bool:
    """Return whether a terminal with *encoding* shows Chinese."""
    try:
        "\u5408\u683c".encode(encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True
