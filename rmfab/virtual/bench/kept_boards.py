"""The file in which a folder of virtual boards remembers their addresses, so that a station.toml stays valid.

It is written when all boards are served, and read before they are served again. Who looks for the boards reads it, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rmfab.errors import InputError
from rmfab.files import is_there, read_input, write_file
from rmfab.json_text import parse_json
from rmfab.virtual.spec import BoardNumbers

FILE_NAME = "boards.json"
_LARGEST_FILE = 1 << 20
_NUMBER = r":[1-9][0-9]{0,4}"
_FORMS = {
    "url": re.compile(rf"(?:rfc2217|socket)://127\.0\.0\.1{_NUMBER}|/[^\x00-\x1f]{{1,4095}}"),
    "provisioning": re.compile(rf"http://127\.0\.0\.1{_NUMBER}"),
    "control": re.compile(rf"127\.0\.0\.1{_NUMBER}"),
}


@dataclass(frozen=True)
class KeptBoard:
    """The addresses of board *index*: its port, its provisioning service and its control socket."""

    index: int
    url: str
    provisioning: str
    control: str

    @property
    def numbers(self) -> BoardNumbers:
        """Its TCP ports; a pseudo-terminal has none."""
        return BoardNumbers(*map(_number, (self.url, self.provisioning, self.control)))


def read_boards(folder: Path) -> dict[int, KeptBoard]:
    """Return the boards that *folder* remembers, by index; none without the file. Raise InputError."""
    path = folder / FILE_NAME
    if not is_there(path):
        return {}
    try:
        value = parse_json(read_input(path, most=_LARGEST_FILE), fractions=False)
        rows = value.get("boards") if isinstance(value, dict) else None
        if not isinstance(rows, list):
            raise ValueError("it has no list of boards")
        boards = [_board(row) for row in rows]
    except ValueError as error:
        hint = "remove it: the boards then get new TCP ports"
        raise InputError(f"not the addresses of virtual boards: {error}", where=str(path), hint=hint) from None
    return {board.index: board for board in boards}


def keep_boards(folder: Path, lines: Iterable[Mapping[str, str]]) -> None:
    """Remember the boards of *lines*, in the order of their indices, besides others that *folder* remembers."""
    now = {index: KeptBoard(index, *(line[name] for name in _FORMS)) for index, line in enumerate(lines)}
    both = sorted((read_boards(folder) | now).items())
    text = json.dumps({"boards": [asdict(board) for _, board in both]}, indent=1)
    write_file(folder / FILE_NAME, f"{text}\n".encode(), force=True)


def _board(row: object) -> KeptBoard:
    if not isinstance(row, dict):
        raise ValueError("a board is not an object")
    index, given = row.get("index"), {name: row.get(name) for name in _FORMS}
    if type(index) is not int or not 0 <= index < 256:
        raise ValueError("a board has no index")
    texts = {name: text for name, text in given.items() if isinstance(text, str) and _FORMS[name].fullmatch(text)}
    if len(texts) < len(_FORMS):
        raise ValueError(f"board {index} has a bad address")
    board = KeptBoard(index, **texts)
    _ = board.numbers  # a number above 65535
    return board


def _number(address: str) -> int:
    return 0 if address.startswith("/") else int(address.rpartition(":")[2])
