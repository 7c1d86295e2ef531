"""What a virtual board is: the boards that follow each other on a slot."""

from __future__ import annotations

from rmfab.product.vocabulary import Chip
from rmfab.virtual import BoardSpec


def test_swapped_boards_never_come_back() -> None:
    """32 slots whose boards are swapped 500 times see 16,032 boards, each with a MAC of its own."""
    boards = [BoardSpec(Chip.ESP32C3, index) for index in range(32)]
    seen = {board.base_mac for board in boards}
    for _ in range(500):
        boards = [board.swapped() for board in boards]
        seen.update(board.base_mac for board in boards)
    assert len(seen) == 32 * 501
