"""The chip's RAM as far as a host loads code into it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from rmfab.virtual.chip.models import ChipModel

# A stub greets its host with the word OHAI. In the code of esptool's stubs it is text on Xtensa chips; on RISC-V it is
# the operand of a `lui` instruction, whose upper 20 bits (0x49415) are those of the word.
_GREETING = re.compile(rb"OHAI|[\x37\xb7][\x50-\x5f]AI")
_LONGEST_GREETING = 4


@dataclass
class Ram:
    """What was loaded into RAM since the restart, as ranges, and the segment that is being loaded.

    *greets*: the code contains the greeting of a stub; other code runs and answers nothing.
    """

    model: ChipModel
    loaded: list[tuple[int, int]] = field(default_factory=list)
    base: int = 0
    size: int = 0
    block: int = 0
    greets: bool = False
    _tail: bytes = b""

    def begin(self, size: int, block: int, address: int) -> None:
        """Start a segment."""
        self.base, self.size, self.block = address, size, block
        self._tail = b""

    def take(self, sequence: int, data: bytes) -> bool:
        """Record a block; return False if it lies outside the chip's RAM or its segment.

        The ROM writes such a block anyway, over whatever is there.
        """
        start = self.base + sequence * self.block
        end = start + len(data)
        if end > self.base + self.size or not self.model.has_ram(start, end):
            return False
        self.loaded.append((start, end))
        self.greets = self.greets or _GREETING.search(self._tail + data) is not None
        self._tail = data[1 - _LONGEST_GREETING :]
        return True

    def holds(self, address: int) -> bool:
        """Whether *address* lies in a loaded range."""
        return any(start <= address < end for start, end in self.loaded)
