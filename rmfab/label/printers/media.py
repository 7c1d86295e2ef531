"""The labels in a printer: their size, as the printer reports it and as station.toml states it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from rmfab.errors import InputError, one_line

_SIZE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,2})?)(?:\s?[x×]\s?([0-9]{1,3}(?:\.[0-9]{1,2})?))?(?:\s?mm)?")  # noqa: RUF001
_SMALLEST, _LARGEST = 4.0, 300.0


@dataclass(frozen=True)
class Media:
    """The labels in a printer, in mm. *height* is None for a continuous roll."""

    width: float
    height: float | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the media in *text*: `40x30`, or `62` for a continuous roll 62 mm wide. Raise InputError."""
        found = _SIZE.fullmatch(text.strip())
        sizes = [float(part) for part in found.groups() if part] if found else []
        if not sizes or not all(_SMALLEST <= size <= _LARGEST for size in sizes):
            raise InputError(
                f'"{one_line(text, 40)}" is not a size of labels',
                hint='width x height in mm, such as "40x30", or the width of a continuous roll, such as "62"',
                cause="printer-media-size",
            )
        return cls(*sizes)

    def __str__(self) -> str:
        return f"{self.width:g} mm" if self.height is None else f"{self.width:g} x {self.height:g} mm"
