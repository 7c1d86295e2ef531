"""Rules of the suite itself: what may start a server, and which tests a short run leaves out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
DAEMONS = (
    "mosquitto|cupsd|cups-browsed|dnsmasq|hostapd|wpa_supplicant|NetworkManager|bluetoothd|btvirt|dbus-daemon|avahi-daemon"
    "|initdb|pg_ctl|pg_createcluster|pg_ctlcluster|chromium|systemctl|invoke-rc.d|update-rc.d"
)
_QUOTED = re.compile(rf"""["'](?:/[a-z/]*/)?(?:{DAEMONS})\b""")
_MARKED = re.compile(r"pytest\.mark\.peers\b")
pytest_plugins = ["pytester"]


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A suite with one test of each kind and the conftest.py of this one."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(TESTS.parent))
    pytester.makeconftest((TESTS / "conftest.py").read_text())
    pytester.makeini("[pytest]\nmarkers =\n    slow: long\n    peers: of others\n")
    pytester.makepyfile(
        "import pytest\ndef test_plain(): pass\n@pytest.mark.slow\ndef test_long(): pass\n"
        "@pytest.mark.peers\ndef test_server(): pass\n"
    )
    return pytester


def test_daemons_are_for_marked_tests() -> None:
    """A module that names a daemon as a command is marked `peers`: on a person's machine it starts nothing unasked."""
    for path in sorted(TESTS.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path != Path(__file__) and (found := _QUOTED.search(text)):
            assert _MARKED.search(text), f"{path.relative_to(TESTS)} names {found[0]}, and is not marked peers"


@pytest.mark.parametrize(
    ("options", "ci", "passed", "skipped", "deselected"),
    [
        ((), "", 2, 1, 0),
        (("--fast",), "", 1, 0, 2),
        (("--peers",), "", 3, 0, 0),
        ((), "true", 3, 0, 0),
        (("--fast",), "true", 1, 0, 2),
    ],
    ids=["plain", "fast", "peers", "CI", "fast in CI"],
)
def test_what_runs(
    suite: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    ci: str,
    passed: int,
    skipped: int,
    deselected: int,
) -> None:
    """Tests marked `peers` run with --peers or in CI, and --fast leaves out both kinds of long tests."""
    if ci:
        monkeypatch.setenv("CI", ci)
    done = suite.runpytest_subprocess("-p", "no:xdist", "-rs", *options)
    done.assert_outcomes(passed=passed, skipped=skipped, deselected=deselected)
    if skipped:
        done.stdout.fnmatch_lines(["*run it with --peers, or CI=true*"])


def test_a_skip_in_ci_fails(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """In CI a test that is skipped fails the run, unless its reason is on the list."""
    monkeypatch.setenv("CI", "true")
    suite.makepyfile(test_skips="import pytest\ndef test_it(): pytest.skip('no time')\n")
    done = suite.runpytest_subprocess("-p", "no:xdist")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.stdout.fnmatch_lines(["not accepted in CI: *no time"])
