"""The operator's language: by option, by RMFAB_LANG, by the locale."""

from __future__ import annotations

import pytest

from rmfab.language.speech import Language, chosen_language


@pytest.mark.parametrize(
    ("given", "environment", "language"),
    [
        (None, {}, Language.ENGLISH),
        (None, {"LANG": "C.UTF-8"}, Language.ENGLISH),
        (None, {"LANG": "zh_CN.UTF-8"}, Language.CHINESE),
        (None, {"LANG": "zh_TW.UTF-8"}, Language.ENGLISH),
        (None, {"LANG": "de_DE.UTF-8"}, Language.ENGLISH),
        (None, {"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, Language.ENGLISH),
        (None, {"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN"}, Language.CHINESE),
        (None, {"LC_ALL": "", "LANG": "zh_SG.GBK@x"}, Language.CHINESE),
        (None, {"RMFAB_LANG": "zh-Hans", "LANG": "en_US.UTF-8"}, Language.CHINESE),
        (None, {"RMFAB_LANG": "en", "LANG": "zh_CN.UTF-8"}, Language.ENGLISH),
        ("zh_CN", {"RMFAB_LANG": "en"}, Language.CHINESE),
        ("en", {"LANG": "zh_CN.UTF-8"}, Language.ENGLISH),
    ],
)
def test_chosen_language(given: str | None, environment: dict[str, str], language: Language) -> None:
    """The option is stronger than RMFAB_LANG, and that than the locale; unknown locales are English."""
    assert chosen_language(given, environment) is language


def test_an_unknown_language_is_refused() -> None:
    """A language that was chosen on purpose and is unknown is an error, not English."""
    with pytest.raises(ValueError, match="fr"):
        chosen_language(None, {"RMFAB_LANG": "fr"})


def test_next() -> None:
    """The key for the language goes through all of them."""
    assert (Language.ENGLISH.next, Language.CHINESE.next) == (Language.CHINESE, Language.ENGLISH)
