"""QR symbols: size, level and modules; an independent decoder reads them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rmfab.errors import InputError
from rmfab.label.readback import codes_in
from rmfab.label.symbol import Level, Symbol, encode, side_of
from rmfab.secret import Secret


def picture(symbol: Symbol, dots: int = 4) -> Image.Image:
    """Return the symbol with its quiet zone as a plain image."""
    side = symbol.side + 8
    image = Image.new("L", (side, side), 255)
    for row, modules in enumerate(symbol.modules):
        for column, dark in enumerate(modules):
            image.putpixel((column + 4, row + 4), 0 if dark else 255)
    return image.resize((side * dots, side * dots), Image.Resampling.NEAREST)


@pytest.mark.parametrize(
    ("octets", "versions"),
    [
        (25, {Level.L: 2, Level.M: 2, Level.Q: 3, Level.H: 4}),
        (33, {Level.L: 3, Level.M: 3, Level.Q: 4, Level.H: 4}),
        (68, {Level.L: 4, Level.M: 5, Level.Q: 6, Level.H: 8}),
        (75, {Level.L: 4, Level.M: 5, Level.Q: 7, Level.H: 8}),
        (90, {Level.L: 5, Level.M: 6, Level.Q: 8, Level.H: 9}),
    ],
)
def test_the_version_is_the_smallest_of_its_level(octets: int, versions: dict[Level, int]) -> None:
    """RainMaker payloads get the versions from the capacity table of ISO/IEC 18004."""
    payload = Secret("x" * octets)
    assert {level: encode(payload, level).version for level in Level} == versions


@pytest.mark.parametrize(
    ("octets", "level"), [(25, Level.M), (68, Level.L), (33, Level.M), (17, Level.L), (7, Level.H)]
)
def test_the_level_is_the_highest_that_costs_no_module(octets: int, level: Level) -> None:
    """A symbol of the version that L needs has the highest level that fits this version."""
    symbol = encode(Secret("x" * octets))
    assert symbol.level is level
    assert symbol.side == 17 + 4 * symbol.version == side_of(Secret("x" * octets))


@settings(max_examples=25, deadline=None)
@given(st.text(min_size=1, max_size=120), st.sampled_from(Level))
def test_every_payload_decodes_to_its_bytes(text: str, level: Level) -> None:
    """zxing-cpp reads any text back byte for byte, at any level."""
    assert codes_in(picture(encode(Secret(text), level))) == (text.encode(),)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=9, max_size=9), min_size=1, max_size=9))
def test_rectangles_cover_the_dark_modules_once(rows: list[list[bool]]) -> None:
    """The rectangles are disjoint and their union is the set of dark modules."""
    symbol = Symbol(1, Level.L, tuple(bytes(row) for row in rows))
    covered = [
        (x, y)
        for column, row, columns, high in symbol.rectangles()
        for x in range(column, column + columns)
        for y in range(row, row + high)
    ]
    dark = {(x, y) for y, row in enumerate(rows) for x, module in enumerate(row) if module}
    assert len(covered) == len(set(covered))
    assert set(covered) == dark


def test_a_payload_beyond_version_40_is_refused() -> None:
    """A payload that is too long for any QR code is rejected, and the error does not show it."""
    with pytest.raises(InputError) as refused:
        encode(Secret("5ec2e7" * 500))
    assert "5ec2e7" not in str(refused.value)


def test_a_symbol_shows_no_modules() -> None:
    """The repr does not show the modules, because they encode the secret."""
    assert repr(encode(Secret("NP:PROV_000001|5ec2e701|b"))) == f"Symbol(version=2, level={Level.M!r})"
