"""Rules for every test: in CI a skipped test fails the run, unless its reason is on a short list."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.forked import fork_boards
from tests.quick_keys import make_keys_quick
from tests.quick_resets import make_resets_quick

make_keys_quick()
make_resets_quick()
fork_boards()
settings.register_profile("rmfab", deadline=None)  # a busy machine is not a failure
settings.load_profile("rmfab")
LONG = 1_000
"""More tests than stand in a file: one with a long test counts for more than one without."""
GOOD_REASONS = ("no radio", "no real board", "no node")

# Records of pools must not lie among those of the person who runs the tests; commands that tests start inherit this.
os.environ["RMFAB_STATE"] = tempfile.mkdtemp(prefix="rmfab-tests-state-")
atexit.register(shutil.rmtree, os.environ["RMFAB_STATE"], ignore_errors=True)

# Hundreds of tests start a command: each would compile rmfab again if this asked Python not to keep the result.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# As in rmfab itself: thousands of collected tests stay, and looking for garbage among them costs a tenth of the time.
gc.set_threshold(20_000)

# A shell starts background jobs with SIGINT ignored, and nohup with SIGHUP ignored; the commands that tests start would
# inherit that and never end on a signal.
_HANDLERS = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL, "SIGTERM": signal.SIG_DFL}
for _name, _handler in _HANDLERS.items():
    if hasattr(signal, _name) and signal.getsignal(getattr(signal, _name)) is signal.SIG_IGN:
        signal.signal(getattr(signal, _name), _handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--peers` adds what CI adds, `--fast` leaves out the long tests."""
    parser.addoption(
        "--peers", action="store_true", help="run tests marked `peers` too; tests/peers installs what it needs"
    )
    parser.addoption("--fast", action="store_true", help="leave out tests marked `slow` or `peers`")


def with_peers(config: pytest.Config) -> bool:
    """Return whether tests marked `peers` run."""
    return bool(config.getoption("--peers") or os.environ.get("CI"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what needs --peers or CI; with --fast, deselect the long tests. Files with long tests come first."""
    if config.getoption("--fast"):
        left_out = [item for item in items if any(item.get_closest_marker(name) for name in ("slow", "peers"))]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    # pytest-xdist gives out whole files in this order: the longest file as the last one would keep one worker alone.
    longest_first = Counter(item.path for item in items) + Counter(
        {item.path: LONG for item in items if item.get_closest_marker("slow") or item.get_closest_marker("peers")}
    )
    items.sort(key=lambda item: -longest_first[item.path])
    if not with_peers(config):
        for item in items:
            if item.get_closest_marker("peers"):
                item.add_marker(pytest.mark.skip(reason="starts what others made: run it with --peers, or CI=true"))


def pytest_collection_finish() -> None:
    """Leave what collecting made out of every search for garbage."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the tests that were skipped for a reason that CI does not accept."""
    for report in _bad_skips(terminalreporter) if os.environ.get("CI") else ():
        terminalreporter.write_line(f"not accepted in CI: {report.nodeid} was skipped: {_reason(report)}")


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Fail a run with such a skip."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and any(_bad_skips(reporter)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    return (yield)


def _bad_skips(reporter: pytest.TerminalReporter) -> Iterator[pytest.TestReport]:
    for report in reporter.stats.get("skipped", []):
        if not _reason(report).startswith(GOOD_REASONS):
            yield report


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return str(text).removeprefix("Skipped: ")
