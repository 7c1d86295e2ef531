"""README and docs: every command that a page shows runs here as a reader types it, or is marked as not testable."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from rmfab.causes import Cause
from tests.docs.pages import DOCS, PAGES, Block, Stage, read_page
from tests.docs.session import Session
from tests.forked import forked_commands
from tests.terminal import ROOT

_AT_ONCE = 4
_LOOKS_LIKE_A_COMMAND = re.compile(r"(?:rmfab|pip|pipx|\./dev|idf\.py) \w")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _blocks(path: Path) -> list[Block]:
    return [item for item in read_page(path) if isinstance(item, Block)]


def _runs(page: Path) -> bool:
    return any(block.mark in ("run", "serve", "screen") for block in _blocks(page))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_command_is_run_or_marked(page: Path) -> None:
    """A block with commands carries a mark, and nothing that looks like a command stands in it without its `$ `."""
    for block in _blocks(page):
        assert block.mark or not block.commands, f"{_name(page)}:{block.line}: commands without a mark"
        for number, line in enumerate(block.lines, block.line + 1):
            assert not _LOOKS_LIKE_A_COMMAND.match(line), f"{_name(page)}:{number}: a command without `$ `"


@pytest.fixture(scope="module")
def played(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Path, Future[None]]]:
    """The pages that are asked for, at work: a few at once, because most of the time a page waits for boards."""
    tests = [item for item in request.session.items if item.name.startswith("test_commands_do")]
    pages = [item.callspec.params["page"] for item in tests if isinstance(item, pytest.Function)]
    with forked_commands() as rmfab, ThreadPoolExecutor(_AT_ONCE) as readers:
        yield {page: readers.submit(_play, page, tmp_path_factory.mktemp(page.stem), rmfab) for page in pages}


def _play(page: Path, folder: Path, rmfab: str) -> None:
    session = Session(folder, rmfab)
    try:
        for item in read_page(page):
            if isinstance(item, Stage):
                session.prepare(item)
            elif item.mark in ("run", "serve", "screen", "file"):
                session.run(item)
    finally:
        session.close()


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if _runs(page)], ids=_name)
def test_commands_do_what_the_page_shows(page: Path, played: dict[Path, Future[None]]) -> None:
    """The commands of a page run in its order, end as it says, and print every line that it shows."""
    played[page].result()


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_causes_that_a_page_names_exist(page: Path) -> None:
    """Every cause in a table of causes is one that rmfab knows."""
    text = page.read_text(encoding="utf-8")
    for table in re.findall(r"^\| cause \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE):
        for row in table.splitlines():
            for name in re.findall(r"`([a-z0-9-]+)`", row.split("|")[1]):
                assert Cause(name)


def test_no_page_is_forgotten() -> None:
    """Every page of docs/ is in the site's navigation, or is part of the repository only."""
    navigation = (ROOT / "mkdocs.yml").read_text()
    for path in DOCS.glob("*.md"):
        assert path.name in navigation, path.name
