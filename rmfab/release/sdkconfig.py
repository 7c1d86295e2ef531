"""The configuration that a build was made with: `config/sdkconfig.json`, or the text file `sdkconfig`.

Formats: ESP-IDF `tools/kconfig_new/confgen.py` and the package esp-idf-kconfig: names in JSON have no `CONFIG_`, and an
option that is off may be missing; in the text it is a comment, `# CONFIG_NAME is not set`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from rmfab.release.build_files import BuildFiles
from rmfab.release.build_json import read_json

SDKCONFIG_JSON = ("config/sdkconfig.json", "sdkconfig.json")
SDKCONFIG = "sdkconfig"

_LINE = re.compile(r"CONFIG_([A-Za-z0-9_]{1,200})=(.{0,4000})")
_OFF = re.compile(r"# CONFIG_([A-Za-z0-9_]{1,200}) is not set")
_HEX = re.compile(r"0[xX][0-9a-fA-F]{1,16}")
_DECIMAL = re.compile(r"-?[0-9]{1,18}")


def read_sdkconfig(files: BuildFiles, texts: Iterable[str]) -> tuple[Mapping[str, object], str] | None:
    """Return the configuration of a build and the place of its file, None if the build has none.

    *texts* are the names of text files to look for after the JSON files. Raise InputError if a file is not valid.
    """
    for name in SDKCONFIG_JSON:
        if files.has(name):
            return read_json(files, name), files.place(name)
    for name in texts:
        if files.has(name):
            data = files.read(name, files.place(name))
            return parse_sdkconfig(data.decode("utf-8", "replace")), files.place(name)
    return None


def parse_sdkconfig(text: str) -> dict[str, object]:
    """Return the options in the text of a file `sdkconfig`, by their names without `CONFIG_`."""
    values: dict[str, object] = {}
    for line in text.splitlines():
        if found := _LINE.fullmatch(line.strip()):
            values[found[1]] = _value(found[2].strip())
        elif found := _OFF.fullmatch(line.strip()):
            values[found[1]] = False
    return values


def _value(text: str) -> object:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if text in ("y", "n"):
        return text == "y"
    if _HEX.fullmatch(text):
        return int(text, 16)
    return int(text) if _DECIMAL.fullmatch(text) else text


def project_names(folder: Path) -> tuple[str, ...]:
    """Return the names under which the configuration of the build in *folder* may be found, seen from there.

    PlatformIO keeps one file per environment, `sdkconfig.ENV`, beside platformio.ini.
    """
    return (SDKCONFIG, f"../{SDKCONFIG}", f"../../../{SDKCONFIG}.{folder.resolve().name}")
