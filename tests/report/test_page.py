"""The page of a report: hostile text stays text, and a real browser sorts, filters and prints it."""

from __future__ import annotations

import io
from pathlib import Path

import pypdfium2
import pytest

from rmfab.report.document import ReportDocument
from rmfab.report.report_page import MOST_UNITS, write_page
from tests.report.agreement import Page
from tests.report.chromium import Browser
from tests.report.made import history, past, report, run

HOSTILE = [
    "<script>document.title='owned'</script>",
    "</style><img src=x onerror=document.title='owned'>",
    "\"><svg onload=document.title='owned'>",
    "$\\frac{1}{$ __import__('os')",
    "{{ 7 * 7 }}{% raw %}",
    "\x1b[31mred\x07\u202eevil\u2028",
    "javascript:alert(1)//",
    "]]><!--",
    "张伟 & søn",
]


def written(document: ReportDocument) -> str:
    """The page."""
    stream = io.BytesIO()
    write_page(stream, document)
    return stream.getvalue().decode("utf-8")


def hostile() -> ReportDocument:
    """A report in which every text that a device, a fixture or a person may write is hostile."""
    units = []
    for number, text in enumerate(HOSTILE):
        details = {text: {"value": 1.0, "low": 0, "unit": text}, "rssi": -50, "rssi_limits": [text, None], "x": text}
        fields = {"slot": text, "station": text, "reason": text, "operator": text, "details": details}
        units.append(history(f"U{number}{text}", [*run(f"U{number}", number, "FAIL", text, slot=text, operator=text),
                                                  *run(f"U{number}", number, **fields)]))  # fmt: skip
        release = {"version": text, "digest": "d" * 64}
        units.append(history(f"R{number}", [past(f"R{number}", 1, step="flash", details={"release": release}),
                                            *run(f"R{number}", 2)]))  # fmt: skip
    return report(units, product=HOSTILE[0])


def test_hostile_text_is_text() -> None:
    """No text of a device becomes an element or an attribute; control characters are escaped; the plots are drawn."""
    text = written(hostile())
    page = Page()
    page.feed(text)
    assert (page.tags["script"], page.tags["img"], page.tags["@onerror"], page.tags["@onload"]) == (1, 0, 0, 0)
    assert page.tags["svg"] >= 4
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "49" not in {cell for table in page.tables for row in table for cell in row}
    assert f"U0{HOSTILE[0]}" in {one["serial"] for one in page.units}


def test_more_units_than_a_page_lists() -> None:
    """Of very many units, the page lists those that did not pass at once, and says so; its totals count all."""
    some = [
        history(f"U{n}", run(f"U{n}", n % 1440, *(("PASS", None) if n % 1000 else ("FAIL", "panic"))))
        for n in range(MOST_UNITS + 1)
    ]
    text = written(report(some))
    page = Page()
    page.feed(text)
    assert len(page.units) == 11
    assert page.terms["units"] == str(MOST_UNITS + 1)
    assert "The other forms list all" in text


@pytest.fixture(scope="module")
def browser():
    """A browser for all tests."""
    with Browser() as one:
        yield one


@pytest.fixture(scope="module")
def thirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of 30 units; every third failed, serials count beyond nine."""
    units = [history(f"L-{n}", run(f"L-{n}", 3 * n, "FAIL" if n % 3 == 0 else "PASS", "panic" if n % 3 == 0 else None,
                                   slot=f"A{n % 4 + 1}")) for n in range(1, 31)]  # fmt: skip
    path = tmp_path_factory.mktemp("thirty") / "r.html"
    path.write_text(written(report(units)), encoding="utf-8")
    return path


@pytest.fixture
def page(browser: Browser, thirty: Path) -> Browser:
    """The page of 30 units in a browser, as it is opened."""
    browser.complaints.clear()
    browser.requests.clear()
    browser.open(thirty)
    return browser


def shown(page: Browser, column: int = 0) -> list[str]:
    """The visible cells of a column of the list of units."""
    cells: list[str] = page.evaluate(
        "[...document.querySelectorAll('#units tbody tr')].filter(r => r.offsetParent !== null)"
        f".map(r => r.cells[{column}].textContent)"
    )
    return cells


@pytest.mark.peers
def test_sorting_in_a_browser(page: Browser) -> None:
    """A click on a head sorts by it, numbers as numbers; a second one turns the order round."""
    serials = [f"L-{n}" for n in range(1, 31)]
    head = "#units thead th:nth-child({}) button"
    page.click(head.format(1))
    assert shown(page) == serials
    page.click(head.format(1))
    assert shown(page) == serials[::-1]
    assert page.evaluate("document.querySelector('#units th').getAttribute('aria-sort')") == "descending"
    page.click(head.format(7))
    assert shown(page, 6) == sorted(shown(page, 6))
    assert page.evaluate("document.querySelectorAll('[aria-sort]').length") == 1


@pytest.mark.peers
def test_filtering_in_a_browser(page: Browser) -> None:
    """Text and verdict filter together; what is shown is counted, and all comes back."""
    page.click("#search")
    page.type("PANIC")
    assert shown(page) == [f"L-{n}" for n in range(3, 31, 3)]
    assert page.evaluate("document.getElementById('shown').textContent") == "10 of 30"
    page.evaluate(
        "(s => { s.value = 'PASS'; s.dispatchEvent(new Event('change')) })(document.getElementById('verdict'))"
    )
    assert shown(page) == []
    page.evaluate("(s => { s.value = ''; s.dispatchEvent(new Event('input')) })(document.getElementById('search'))")
    assert len(shown(page)) == 20
    page.click("#search")
    page.ask("Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", windowsVirtualKeyCode=13)
    assert page.evaluate("document.querySelectorAll('#units tbody tr').length") == 30, "Enter must not load the page"


@pytest.mark.peers
def test_a_browser_finds_nothing_to_complain_about(page: Browser) -> None:
    """Nothing is loaded besides the page, the policy is not violated, and the style is in force."""
    assert [url for url in page.requests if not url.startswith("file:")] == []
    assert len(page.requests) == 1
    assert page.complaints == []
    assert page.evaluate("getComputedStyle(document.querySelector('#units td.PASS')).color") == "rgb(0, 114, 178)"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.peers
def test_hostile_text_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    """A browser runs nothing of what devices wrote, and lists it as text."""
    path = tmp_path / "hostile.html"
    path.write_text(written(hostile()), encoding="utf-8")
    browser.complaints.clear()
    browser.open(path)
    assert browser.evaluate("document.title") != "owned"
    assert browser.complaints == []
    assert browser.evaluate("document.querySelectorAll('img, #units script').length") == 0
    assert f"U0{HOSTILE[0]}" in shown(browser)


@pytest.mark.peers
def test_on_paper(page: Browser) -> None:
    """It prints on A4: numbered sheets, the heads of the list on each, no form; and nothing runs over the edge."""
    document = pypdfium2.PdfDocument(page.pdf())
    assert {tuple(map(round, sheet.get_size())) for sheet in document} == {(595, 842)}
    texts = [sheet.get_textpage().get_text_bounded() for sheet in document]
    listing = [text for text in texts if "L-30" in text or "L-1\r" in text or "L-12" in text]
    assert listing
    assert all("first pass" in text and "tries" in text for text in listing)
    assert "Find" not in "".join(texts)
    assert f"1 / {len(texts)}" in texts[0]


def test_a_narrow_window(browser: Browser, tmp_path: Path) -> None:
    """The page fits a telephone: what is long in its head, such as a digest, is broken, and a wide table scrolls."""
    at = tmp_path / "r.html"
    at.write_text(written(report([history("U1", run("U1", 1))], product="p" * 90)), encoding="utf-8")
    browser.open(at, width=380, height=900)
    wide = "[...document.querySelectorAll('h1, h1 ~ p')].filter(one => one.scrollWidth > one.clientWidth).length"
    assert (browser.evaluate("document.querySelectorAll('h1, h1 ~ p').length") > 2, browser.evaluate(wide)) == (True, 0)
    page = "document.documentElement"
    assert browser.evaluate(f"{page}.scrollWidth <= {page}.clientWidth")


def test_a_wide_table(browser: Browser, tmp_path: Path) -> None:
    """In a window that is wide enough for people, but not for a table, the table scrolls as well."""
    at = tmp_path / "r.html"
    at.write_text(written(report([history("U1", run("U1", 1, slot="s" * 150))])), encoding="utf-8")
    browser.open(at, width=1200, height=900)
    tables = "[...document.querySelectorAll('table')]"
    assert browser.evaluate(f"{tables}.some(one => one.offsetWidth > one.parentElement.clientWidth)")
    assert browser.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert browser.evaluate(f"{tables}.every(one => one.parentElement.getBoundingClientRect().right <= 1200)")
