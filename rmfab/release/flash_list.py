"""`flash_args`: the arguments of `esptool write-flash` that ESP-IDF and the Arduino core leave beside their images.

Format: options on the first line, then one offset and one file per line (ESP-IDF `components/esptool_py`, arduino-esp32
`platform.txt`). A name may contain blanks, and be quoted.
"""

from __future__ import annotations

import re

from rmfab.errors import InputError
from rmfab.release.build_files import BuildFiles
from rmfab.release.placed import Placed, image_chip, with_roles

FLASH_ARGS = "flash_args"

_LINE = re.compile(r"(0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10})\s(.{1,4096})")
_MOST_LINES = 1000
_OTHER_PLACES = ("boot_app0.bin",)


def read_flash_list(files: BuildFiles) -> list[Placed]:
    """Return the files that `flash_args` lists. Raise InputError, which names the line.

    `boot_app0.bin` of the Arduino core is left out if it is not there: it selects the first OTA slot, and so does the
    blank OTA data of a board that rmfab has flashed.
    """
    text = files.read(FLASH_ARGS, files.place(FLASH_ARGS)).decode("utf-8", "replace")
    placed = []
    for number, line in enumerate(text.splitlines()[:_MOST_LINES], 1):
        found = _LINE.fullmatch(line.strip())
        if found is None:
            continue
        name = found[2].strip().strip("\"'")
        if name.replace("\\", "/").split("/")[-1] in _OTHER_PLACES and not files.has(name):
            continue
        data = files.read(name, f"{files.place(FLASH_ARGS)}:{number}")
        placed.append(Placed(name, int(found[1], 0), data))
    if not placed:
        raise InputError("lists no file", where=files.place(FLASH_ARGS), hint="a line is an offset and a file")
    chip = next(filter(None, (image_chip(one.data) for one in sorted(placed, key=lambda one: one.offset))), None)
    return with_roles(placed, chip)
