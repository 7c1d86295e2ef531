"""Sizes as people write them."""

from __future__ import annotations

import pytest

from rmfab.errors import InputError
from rmfab.product.size import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0x6000", 0x6000),
        ("24576", 24576),
        (" 0X3000 ", 0x3000),
        ("24K", 0x6000),
        ("16k", 0x4000),
        ("1M", 1 << 20),
        ("0", 0),
    ],
)
def test_size_spellings(text: str, size: int):
    """A size is hexadecimal or decimal, in bytes, K or M."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "big", "0x", "6000h", "1.5", "24KB", "-1", "24 K", "1G", "9" * 5000])
def test_bad_size_spellings(text: str):
    """Anything else is not a size (the reference tool exits 0 there)."""
    with pytest.raises(InputError, match="not a size"):
        parse_size(text)
