"""The site: it is built without a warning, loads nothing from elsewhere, and its pictures are those of today."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import DOCS
from tests.terminal import ROOT

PICTURES = sorted(DOCS.glob("*.svg"))
_LOADED = re.compile(
    r'<(?:script|img|iframe|source)\b[^>]*\bsrc="(https?:[^"]*)"'
    r'|<link\b[^>]*\brel="(?:stylesheet|preconnect|icon|preload)"[^>]*\bhref="(https?:[^"]*)"'
    r"|url\(['\"]?(https?:[^)]*)\)"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_in_the_site(site: Path) -> None:
    """Each page of docs/ became a page of the site; a missing link or anchor would have ended the build."""
    for page in DOCS.glob("*.md"):
        assert (site / f"{page.stem}.html").is_file()
    for workflow in ("release.sh", "github.yml", "gitlab.yml"):
        assert (site / "ci" / workflow).is_file()
    assert not list(site.rglob("*.py"))


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    """No page asks another host for a script, a style, a font or a picture."""
    for path in [*site.rglob("*.html"), *site.rglob("*.css"), *site.rglob("*.svg")]:
        assert not _LOADED.findall(path.read_text(encoding="utf-8")), path.name


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.stem)
def test_pictures_load_nothing(picture: Path) -> None:
    """A picture names no font or file of another host."""
    assert "http" not in picture.read_text().replace("http://www.w3.org/2000/svg", "").replace("https://localhost", "")


def test_the_demo_is_pictured_as_it_is() -> None:
    """The picture of the demo shows four units, what is said before them, and no remains of the table that redraws."""
    shown = re.sub(r"<[^>]*>", "", (DOCS / "demo.svg").read_text()).replace("&#160;", " ")
    assert shown.count("PASS") == 4 * 6
    assert "signed by release" in shown
    assert "waiting" not in shown


def test_readme_fits_its_readers() -> None:
    """README is short, and all that it links to in the repository exists."""
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) < 180
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (ROOT / target).exists(), target
