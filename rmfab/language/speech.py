"""Speech: what the operator reads, in the operator's language.

speech = speech_in(chosen_language(None, os.environ))
speech.tr("left in the batch: {left}", left=17)
speech.remedy("brownout")

Texts that are translated stand in the code as arguments of `tr` or `marked`; a test compares them with the catalogues.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from functools import cache
from pathlib import Path

from rmfab.causes import Cause
from rmfab.language.line_texts import LINE_TEXTS
from rmfab.language.po_file import Entries, read_po

VARIABLE = "RMFAB_LANG"
_LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")
_FOLDER = Path(__file__).parent
_FIELD = re.compile(r"\\\{(\w+)\\\}")
_OF_THE_PRODUCT = (
    Cause.CONSOLE_FORBIDDEN,
    Cause.CONSOLE_MISSING,
    Cause.OUT_OF_LIMITS,
    Cause.STEP_ANSWER,
    Cause.STEP_COMMAND,
    Cause.STEP_FAILED,
)
"""Causes of a pattern, a step or a limit that product.toml names."""
_STOPS = ".。"
_LONGEST = 400
"""Longer messages are not compared with the known ones: they quote something, and are shown as they are."""


@unique
class Language(StrEnum):
    """A language that the operator can choose."""

    ENGLISH = "en"
    CHINESE = "zh_CN"

    @property
    def next(self) -> Language:
        """The language after this one, the first after the last."""
        languages = list(Language)
        return languages[(languages.index(self) + 1) % len(languages)]


def marked(text: str) -> str:
    """Return *text* as it is, and mark it as one that `tr` translates later."""
    return text


@dataclass(frozen=True)
class Speech:
    """The texts of one *language*: those that its catalogue lacks are English."""

    language: Language
    entries: Entries = field(default_factory=dict, repr=False)

    def tr(self, text: str, **values: object) -> str:
        """Return *text* in this language, with its fields filled in."""
        told = self.entries.get(("", text), text)
        return told.format(**values) if values else told

    def meaning(self, cause: str | None, reason: str | None = None) -> str:
        """Return what is wrong: *reason* in English, which names values, else the meaning of *cause*.

        Of what product.toml names, the reason follows the meaning: only the reason says which it was.
        """
        if cause in set(Cause) and (reason is None or ("", Cause(cause).meaning) in self.entries):
            told = self.tr(Cause(cause).meaning)
            if not reason or cause not in _OF_THE_PRODUCT:
                return told
            return self.tr("{meaning}: {reason}", meaning=told.rstrip(_STOPS), reason=reason)
        return reason or ""

    def summary(self, cause: str | None, reason: str | None = None) -> str:
        """Return what is wrong in one sentence, without values if possible; *reason* if the cause is unknown."""
        if reason and cause in _OF_THE_PRODUCT:
            return self.meaning(cause, reason)
        return self.tr(Cause(cause).meaning) if cause in set(Cause) else reason or ""

    def remedy(self, cause: str | None) -> str:
        """Return what to do about *cause*, empty if it is unknown."""
        return self.tr(Cause(cause).remedy) if cause in set(Cause) else ""

    def advice(self, cause: str | None, hint: str | None) -> str | None:
        """Return what to do: *hint* in English, which names values, else the remedy of *cause*."""
        if cause in set(Cause) and ("", Cause(cause).remedy) in self.entries:
            return self.tr(Cause(cause).remedy)
        return hint

    def said(self, text: str, cause: str | None = None) -> str:
        """Return the message *text* of the line in this language, if it is one of `LINE_TEXTS` or about a *cause*."""
        if not self.entries:
            return text
        if cause in set(Cause):
            return f"{self.summary(cause)}{self.remedy(cause)}"
        if len(text) > _LONGEST:
            return text
        if meant := _meanings().get(text):
            return self.tr(meant).rstrip(_STOPS)
        for pattern, known in _patterns():
            if match := pattern.fullmatch(text):
                return self.tr(known, **{name: self._field(name, value) for name, value in match.groupdict().items()})
        return text

    def _field(self, name: str, value: str) -> str:
        return self.tr(", ").join(map(self.said, value.split(", "))) if name == "list" else self.said(value)


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """The patterns of the line's messages; those with the longest fixed parts come first."""
    known = sorted(LINE_TEXTS, key=lambda text: -len(re.sub(r"\{\w+\}", "", text)))
    return tuple((re.compile(_FIELD.sub(r"(?P<\1>.+?)", re.escape(text)), re.DOTALL), text) for text in known)


@cache
def _meanings() -> Mapping[str, str]:
    """The meanings of causes by the clauses that messages of the line contain."""
    return {cause.clause: cause.meaning for cause in Cause}


@cache
def speech_in(language: Language) -> Speech:
    """Return the speech of *language*, with its catalogues read."""
    if language is Language.ENGLISH:
        return Speech(language)
    entries: dict[tuple[str, str], str] = {}
    for path in catalogues(language):
        entries |= read_po(path.read_text(encoding="utf-8"))
    return Speech(language, entries)


def catalogues(language: Language) -> tuple[Path, ...]:
    """Return the .po files of *language*: the screen's, and that of the causes."""
    return (_FOLDER / f"{language}.po", _FOLDER / f"{language}.causes.po")


def chosen_language(given: str | None, environment: Mapping[str, str]) -> Language:
    """Return the language *given*, else that of RMFAB_LANG, else of the locale. Raise ValueError for an unknown one.

    A locale in an unknown language is English; so are `C`, `POSIX` and `C.UTF-8`, and Chinese in traditional letters.
    """
    for name in (given, environment.get(VARIABLE)):
        if name:
            known = _spoken(name)
            if known is None:
                raise ValueError(name)
            return known
    locale = next((environment[name] for name in _LOCALE if environment.get(name)), "")
    return _spoken(locale) or Language.ENGLISH


def _spoken(name: str) -> Language | None:
    """Return the language of a name such as `zh_CN.UTF-8`, `zh-Hans` or `en`; None if it is unknown."""
    tag = name.split(".")[0].split("@")[0].replace("-", "_").lower()
    if tag == "en" or tag.startswith("en_"):
        return Language.ENGLISH
    if tag in ("zh", "zh_cn", "zh_sg", "zh_my") or tag.startswith("zh_hans"):
        return Language.CHINESE
    return None
