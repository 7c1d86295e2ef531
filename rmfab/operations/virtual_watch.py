"""Virtual boards as ports that come and go, to rehearse what a person does with real ones."""

from __future__ import annotations

from pathlib import Path

from rmfab.board.port import PluggedIn
from rmfab.errors import StationError
from rmfab.json_text import parse_json
from rmfab.virtual.bench.kept_boards import KeptBoard, read_boards
from rmfab.virtual.control import ask

_SECONDS = 5.0


class VirtualWatch:
    """The boards that `rmfab board --state` serves from *folder*.

    Raise StationError if it serves none, InputError if its file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._boards = read_boards(folder)
        if not any(_is_plugged(board) is not None for board in self._boards.values()):
            raise StationError(
                "no virtual boards are served from this folder",
                where=str(folder),
                hint=f"start them in a second terminal: `rmfab board --unplugged --state {folder}`",
                cause="virtual-boards",
            )

    def look(self) -> tuple[PluggedIn, ...]:
        """Return the boards that are in their ports now."""
        there = (board for board in self._boards.values() if _is_plugged(board))
        return tuple(_as_port(board) for board in there)

    def unit(self, port: PluggedIn) -> str | None:
        """Return where the board on *port* serves provisioning: it has no radio."""
        return next((board.provisioning for board in self._boards.values() if board.url == port.address), None)


def _as_port(board: KeptBoard) -> PluggedIn:
    return PluggedIn(board.url, board.url, "", f"virtual board {board.index}")


def _is_plugged(board: KeptBoard) -> bool | None:
    """Return whether *board* is in its port, None if nobody serves it."""
    try:
        state = parse_json(ask(board.control, "state", _SECONDS))
    except (OSError, ValueError):
        return None
    return bool(state.get("plugged")) if isinstance(state, dict) else None
