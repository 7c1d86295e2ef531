"""The ESP-IDF log format: level, milliseconds since the start, tag, text; with colours before version 6."""

from __future__ import annotations

import re

EOL = "\r\n"
_COLOURS = {"E": "\x1b[0;31m", "W": "\x1b[0;33m", "I": "\x1b[0;32m"}
_END_OF_COLOUR = "\x1b[0m"
_RANKS = {"E": 1, "W": 2, "I": 3}
INFO = 3


class Log:
    """Makes log lines, each some milliseconds later than the last; one above *level* (esp_log_level_t) is empty."""

    def __init__(self, milliseconds: int, *, coloured: bool, level: int = INFO) -> None:
        self._milliseconds = milliseconds
        self._level = level
        self.coloured = coloured

    def __call__(self, tag: str, text: str, level: str = "I", after: int = 3) -> str:
        """Return one line, *after* milliseconds later than the last; *level* is I, W or E."""
        self._milliseconds += after
        if _RANKS[level] > self._level:
            return ""
        line = f"{level} ({self._milliseconds}) {tag}: {text}".replace("\n", EOL)
        if self.coloured:
            line = f"{_COLOURS[level]}{line}{_END_OF_COLOUR}"
        return line + EOL

    def driver(self, milliseconds: int, text: str) -> str:
        """Return one line of the Wi-Fi driver, which has neither a blank before its text nor colours."""
        return f"I ({milliseconds}) wifi:{text}{EOL}" if self._level >= INFO else ""

    def failure(self, tag: str, text: str) -> str:
        """Return one line of level E."""
        return self(tag, text, "E")


def idf_uses_colours(idf_version: str) -> bool:
    """Whether this ESP-IDF version, such as `v5.5.1`, colours its log by default."""
    return not idf_at_least(idf_version, 6, 0)


def idf_at_least(idf_version: str, major: int, minor: int) -> bool:
    """Whether this ESP-IDF version, such as `v5.5.1` or `4.4`, is *major*.*minor* or later; False if it is not one."""
    found = re.match(r"v?(\d{1,4})\.(\d{1,4})", idf_version)
    return found is not None and (int(found[1]), int(found[2])) >= (major, minor)
