"""Whether this host has the fonts that it needs: that of the product's name on labels, and Chinese letters."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from rmfab.files import system_text
from rmfab.language.speech import Language, chosen_language
from rmfab.line.diagnosis import Diagnosis
from rmfab.product.product import Product

_FOLDERS = ("usr/share/fonts", "usr/local/share/fonts")
_USERS = (".local/share/fonts", ".fonts")
_CHINESE = re.compile(
    r"(?:notosans(?:mono)?cjk|notoserifcjk|notosanssc|notosansmonosc|sourcehan|wqy|droidsansfallback|uming|ukai|"
    r"simsun|simhei|msyh|sarasa).*\.(?:ttf|ttc|otf)",
    re.IGNORECASE,
)
_MOST_FILES = 20_000
_INSTALL = {
    "debian": "sudo apt-get install fonts-noto-cjk",
    "fedora": "sudo dnf install google-noto-sans-mono-cjk-fonts",
    "arch": "sudo pacman -S noto-fonts-cjk",
    "suse": "sudo zypper install noto-sans-sc-mono-fonts",
}


def diagnose_fonts(root: Path, environment: Mapping[str, str], product: Product | None) -> Iterator[Diagnosis]:
    """Yield what is to be said about fonts: nothing, if the operator reads English and *product* names no font."""
    if product is not None:
        yield from _label_font(product)
    try:
        language = chosen_language(None, environment)
    except ValueError as error:
        yield Diagnosis(f'unknown language "{error}" in RMFAB_LANG', False, "use en or zh_CN")
        return
    if language is Language.CHINESE:
        yield _chinese(root, environment)


def _label_font(product: Product) -> Iterator[Diagnosis]:
    """Judge the font of the product's name, if product.toml names one. Raise InputError if it cannot be used."""
    from rmfab.label.typeface import Face, lacking, product_font

    if product.label.font is None:
        return
    with product_font(product.label.font):
        without = lacking(product.name, Face.PRODUCT)
    if without:
        what = f"the font {product.label.font} has no glyph for {without[:20]} of the product's name"
        yield Diagnosis(what, False, "name a different font in product.toml ([label] font)")
    else:
        yield Diagnosis(f"the font of labels: {product.label.font}", True)


def _chinese(root: Path, environment: Mapping[str, str]) -> Diagnosis:
    """Return whether a terminal on this host can show Chinese letters."""
    if environment.get("TERM") == "linux":
        what = "the operator's language is Chinese, which the text console cannot show"
        return Diagnosis(what, False, "use a terminal of the desktop, or export RMFAB_LANG=en")
    if environment.get("SSH_CONNECTION"):
        return Diagnosis("a Chinese font is needed where the terminal is: this one is reached over ssh", True)
    home = environment.get("HOME", "")
    folders = (*(root / name for name in _FOLDERS), *(Path(home) / name for name in _USERS if home))
    font = next((path for folder in folders for path in _fonts(folder) if _CHINESE.fullmatch(path.name)), None)
    if font is None:
        return Diagnosis("no font with Chinese letters, which the operator's language needs", False, _install(root))
    return Diagnosis(f"a font with Chinese letters: {font.name}", True)


def _fonts(folder: Path) -> Iterator[Path]:
    """Yield the files below *folder*, at most so many."""
    left = _MOST_FILES
    for place, _, names in os.walk(folder):
        for name in names[:left]:
            yield Path(place) / name
        left -= len(names)
        if left <= 0:
            return


def _install(root: Path) -> str:
    """Return the command that installs a Chinese font on the system below *root*. Source: os-release(5)."""
    text = system_text(root / "etc/os-release")
    rows = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    family = f"{rows.get('ID', '')} {rows.get('ID_LIKE', '')}".replace('"', "").split()
    known = (command for name, command in _INSTALL.items() if any(name in one for one in family))
    return next(known, _INSTALL["debian"])
