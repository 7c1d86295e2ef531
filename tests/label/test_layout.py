"""The layout of a label: module sizes, order and legibility of its text, and omitted lines."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rmfab.errors import InputError
from rmfab.label.content import Label
from rmfab.label.layout import Layout, code_side, lay_out, make_artwork, small_module
from rmfab.label.sheets import SHEETS, Sheet, sheet
from rmfab.label.symbol import QUIET_ZONE, Level
from rmfab.label.text import MM, LabelField
from rmfab.label.typeface import width_of
from rmfab.label.warnings import remarks
from rmfab.secret import Secret
from tests.label.sample import label


def shown(layout: Layout, field: LabelField) -> str:
    """Return the text of one line without its caption."""
    return "".join(run.text for run in layout.runs if run.line is field and run.text != field.caption)


def check_placement(layout: Layout, modules: int) -> None:
    """Check that everything is inside the label, text has 5 pt or more, and the quiet zone is empty."""
    quiet = QUIET_ZONE * layout.module
    left, top = layout.code[0] - quiet, layout.code[1] - quiet
    right, bottom = left + (modules + 8) * layout.module, top + (modules + 8) * layout.module
    assert left >= -1e-6
    assert top >= -1e-6
    assert right <= layout.width + 1e-6
    assert bottom <= layout.height + 1e-6
    for run in layout.runs:
        end = run.x + width_of(run.text, run.face, run.size) * MM
        assert run.size >= 5.0
        assert run.x >= 0
        assert end <= layout.width - 0.5
        assert run.baseline <= layout.height - 0.5
        assert run.x >= right - 1e-6 or run.baseline - 0.72 * run.size * MM >= bottom + 0.25


@pytest.mark.parametrize(
    ("modules", "sides"),
    [
        (25, (0.303, 0.364, 0.455, 0.606)),
        (29, (0.270, 0.324, 0.405, 0.541)),
        (33, (0.244, 0.293, 0.366, 0.488)),
        (37, (0.222, 0.267, 0.333, 0.444)),
        (41, (0.204, 0.245, 0.306, 0.408)),
    ],
)
def test_module_sizes_on_square_codes(modules: int, sides: tuple[float, ...]) -> None:
    """The code and its quiet zone of four modules per side fill 10, 12, 15 and 20 mm."""
    for height, side in zip((10.0, 12.0, 15.0, 20.0), sides, strict=True):
        layout = lay_out(label(), modules, 3 * height, height)
        assert layout.module == pytest.approx(side, abs=0.0006)
        check_placement(layout, modules)


@pytest.mark.parametrize(
    ("name", "form", "warned"),
    [
        ("L7651", "json", False),
        ("L7160", "json", False),
        ("5160", "json", False),
        ("94103", "json", False),
        ("5167", "json1", False),
        ("5167", "json", True),
        ("L4731", "compact", False),
        ("L4731", "json1", True),
        ("L4731", "json", True),
        ("L7657", "compact", False),
    ],
)
def test_which_sheets_suit_which_payload(name: str, form: str, warned: bool) -> None:
    """Modules under 0.30 mm give a warning; for JSON payloads its hint names the compact form."""
    each = label(form=form)
    small = small_module(each, make_artwork(each, *sheet(name).label).layout)
    assert (small is not None) == warned
    if small:
        assert 'qr = "compact"' in small[1]


@pytest.mark.parametrize("form", ["json", "compact"])
def test_modules_under_a_fifth_of_a_millimetre_are_refused(form: str) -> None:
    """The error has the serial and no secret; its hint names the compact form for JSON payloads only."""
    with pytest.raises(InputError) as refused:
        make_artwork(label(form=form), 40.0, 6.0)
    assert refused.value.where == "LMP-000001"
    assert ("compact" in str(refused.value.hint)) == (form == "json")
    assert "5ec2e7" not in f"{refused.value!r} {refused.value} {refused.value.hint}"


def test_a_large_label_has_level_m_and_a_small_one_the_smallest_symbol() -> None:
    """The level is M or better if the modules stay safe for phones, else the symbol is the smallest."""
    assert make_artwork(label(form="json1"), *sheet("L7160").label).symbol.level is Level.M
    assert make_artwork(label(form="json1"), *sheet("L4731").label).symbol.level is Level.L


@pytest.mark.parametrize("each", SHEETS, ids=str)
@pytest.mark.parametrize("form", ["json", "json1", "compact"])
def test_every_sheet_takes_every_payload(each: Sheet, form: str) -> None:
    """On every sheet, all parts are inside the label and outside the quiet zone."""
    artwork = make_artwork(label(form=form), *each.label)
    check_placement(artwork.layout, artwork.symbol.side)


@pytest.mark.parametrize("each", [each for each in SHEETS if each.label[0] > 20], ids=str)
def test_a_usual_label_shows_all_four_lines(each: Sheet) -> None:
    """Product, serial, service name and PoP are printed in full on every sheet except those of 17.8 x 10 mm."""
    layout = make_artwork(label(form="compact"), *each.label).layout
    assert [shown(layout, field) for field in LabelField] == ["Desk Lamp", "LMP-000001", "PROV_000001", "5ec2e701"]
    assert not layout.omitted
    assert not layout.shortened


def test_a_tiny_label_is_code_only_and_says_so() -> None:
    """If no line fits, the code is centred and the text is reported as omitted."""
    layout = make_artwork(label(form="compact"), *sheet("L7657").label).layout
    assert layout.runs == ()
    assert layout.omitted == tuple(LabelField)
    assert layout.code[0] - 4 * layout.module == pytest.approx((17.78 - 10) / 2)
    (notice,) = remarks(label(form="compact"), layout)
    assert "product, serial, service name, PoP omitted" in notice.what


def test_the_pop_is_grouped_by_a_gap_that_is_no_space() -> None:
    """Eight digits are printed as two runs of four, without a space that a user could type."""
    layout = make_artwork(label(), *sheet("L7160").label).layout
    assert [run.text for run in layout.runs if run.line is LabelField.POP] == ["PoP", "5ec2", "e701"]


def test_a_long_product_becomes_smaller_and_then_shorter() -> None:
    """A long product name becomes smaller first, then shorter with an ellipsis."""
    short = make_artwork(label(product="Desk Lamp"), *sheet("L7651").label).layout
    long = make_artwork(label(product="Desk Lamp of Many Colours and Words"), *sheet("L7651").label).layout
    assert long.runs[0].size < short.runs[0].size
    assert shown(long, LabelField.PRODUCT).endswith("…")
    assert long.shortened == (LabelField.PRODUCT,)


@pytest.mark.parametrize(
    ("product", "printed"),
    [
        ("Lámpara Größe 2", "Lámpara Größe 2"),
        ("Lampă ﬁne", "Lampa ﬁne"),
        ("Lamp 智能", "Lamp ?"),
        ("智能灯", ""),
        ("tab\there", "tab here"),
    ],
)
def test_letters_without_a_glyph_are_never_silent(product: str, printed: str) -> None:
    """Characters without a glyph are replaced with the nearest, or the line is omitted, with a warning."""
    each = label(product=product)
    layout = make_artwork(each, *sheet("L7160").label).layout
    assert shown(layout, LabelField.PRODUCT) == printed
    assert bool(list(remarks(each, layout))) == (product != printed)


def test_a_pop_that_cannot_be_written_is_left_out_not_altered() -> None:
    """A PoP with characters without a glyph is in the code only, and the warning does not show it."""
    each = Label("Lamp", "A1", "PROV_000001", Secret("пароль"), Secret("NP:PROV_000001|пароль|b"))
    layout = make_artwork(each, *sheet("L7160").label).layout
    assert layout.omitted == (LabelField.POP,)
    assert "пароль" not in str(list(remarks(each, layout)))


def test_firmware_without_a_pop_has_no_pop_line() -> None:
    """An empty PoP is neither printed nor reported as omitted."""
    each = Label("Lamp", "A1", "PROV_000001", Secret(""), Secret("NP:PROV_000001||b"))
    layout = make_artwork(each, *sheet("L7160").label).layout
    assert not any(run.line is LabelField.POP for run in layout.runs)
    assert not layout.omitted


def test_labels_of_a_batch_are_set_alike() -> None:
    """Labels with narrow and wide digits have the same sizes and baselines."""
    one, two = (
        make_artwork(Label("Lamp", serial, name, Secret(pop), Secret("x" * 68)), *sheet("L7651").label).layout
        for serial, name, pop in (("LMP-000001", "PROV_ffffff", "11111111"), ("LMP-888888", "PROV_dddddd", "abcdabcd"))
    )
    assert [(run.line, run.size, run.baseline) for run in one.runs] == [
        (run.line, run.size, run.baseline) for run in two.runs
    ]


def test_nothing_of_a_label_shows_its_secrets() -> None:
    """The repr of a label and of its drawing shows neither PoP nor payload."""
    each = label()
    assert "5ec2" not in repr(each)
    assert "5ec2" not in repr(make_artwork(each, *sheet("L7160").label))


@pytest.mark.parametrize(("serial", "payload"), [("", "x"), ("A1", "")])
def test_a_label_without_serial_or_payload_is_refused(serial: str, payload: str) -> None:
    """A label without serial or payload is rejected when it is made."""
    with pytest.raises(InputError):
        Label("Lamp", serial, "PROV_000001", Secret("x"), Secret(payload))


SAFE = st.text("ABCXYZabcxyz0189._-", min_size=1, max_size=64)


@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=60),
    SAFE,
    st.text("abcdefPROV_0123 ", max_size=22),
    st.text("0123456789abcdef", max_size=32),
    st.floats(9, 120),
    st.floats(9, 120),
    st.sampled_from([25, 33, 37, 49]),
)
def test_any_text_on_any_label_is_placed_or_reported(
    product: str, serial: str, name: str, pop: str, width: float, height: float, modules: int
) -> None:
    """Text of any length is inside the label, off the code, at 5 pt or more; serial and PoP are complete or omitted."""
    each = Label(product, serial, name, Secret(pop), Secret("x"))
    assume(min(width, height, code_side(width, height)) / (modules + 8) >= 0.2)
    layout = lay_out(each, modules, width, height)
    check_placement(layout, modules)
    for field, text in ((LabelField.SERIAL, serial), (LabelField.POP, pop)):
        assert shown(layout, field) == ("" if field in layout.omitted else text)
    for field in (LabelField.PRODUCT, LabelField.NAME):
        assert shown(layout, field) or field in layout.omitted or not each.texts()[field].reveal()
