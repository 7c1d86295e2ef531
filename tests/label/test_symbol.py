"""QR symbols: size, level and modules; an independent decoder reads them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from qrcode.main import QRCode
from qrcode.util import BIT_LIMIT_TABLE, QRData

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


def drawn_by_qrcode(payload: bytes, symbol: Symbol) -> tuple[bytes, ...]:
    """Return the modules that qrcode draws, with the mask that it chooses."""
    code = QRCode(version=symbol.version, error_correction=symbol.level.value)
    code.add_data(QRData(payload, mode=4), optimize=0)
    code.make(fit=False)
    return tuple(bytes(map(bool, row)) for row in code.modules)


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=120).map(bytes.hex), st.sampled_from(Level))
def test_qrcode_draws_the_same_symbol(text: str, level: Level) -> None:
    """qrcode, with its own search for the mask, draws the same modules for any payload at any level."""
    symbol = encode(Secret(text), level)
    assert symbol.modules == drawn_by_qrcode(text.encode(), symbol)


@pytest.mark.parametrize("version", [1, 2, 6, 7, 14, 21, 27, 34, 40])
def test_qrcode_draws_the_same_symbol_of_each_kind_of_version(version: int) -> None:
    """The same holds for versions with and without alignment patterns, version information and remainder bits."""
    text = "x" * (BIT_LIMIT_TABLE[Level.L.value][version] // 8 - 3)
    symbol = encode(Secret(text))
    assert symbol.version == version
    assert symbol.modules == drawn_by_qrcode(text.encode(), symbol)


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
