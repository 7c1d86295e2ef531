"""`rmfab release verify`, check by check, so that a report can tell which one did not hold."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rmfab.commands.judging import judged, nearest_workspace
from rmfab.commands.junit import Case, write_report
from rmfab.errors import ComplaintsError, InputError, RmfabError

if TYPE_CHECKING:
    from rmfab.release.acceptance import Accepted
    from rmfab.release.release import Release

R = TypeVar("R")
_CHECKS = ("container", "signatures", "layout", "product")


def verify_release(path: Path, trust: Path | None, *, allow_unknown: bool, junit: Path | None) -> Accepted:
    """The release in *path*, if a station would take it. Raises what the first check that does not hold raises; the
    report tells all the same."""
    from rmfab.release.opening import open_unparsed

    run = _Checks(str(path.name))
    try:
        there = run.check("container", lambda: open_unparsed(path))
        verdict = run.check("signatures", lambda: judged(there, trust=trust, allow_unknown=allow_unknown))
        run.check("layout", lambda: _layout(verdict.release))
        run.check("product", lambda: _product(verdict.release))
    finally:
        if junit is not None:
            run.write(junit)
    return verdict


def _layout(release: Release) -> None:
    from rmfab.release.preflight import inspect_release

    _raise(inspect_release(release))


def _product(release: Release) -> None:
    from rmfab.release.preflight import inspect_for_product

    workspace = nearest_workspace()
    if workspace is not None:
        _raise(inspect_for_product(release, workspace.product))


def _raise(complaints: list[InputError]) -> None:
    if complaints:
        raise ComplaintsError(complaints)


class _Checks:
    def __init__(self, group: str) -> None:
        self._group = group
        self._cases: list[Case] = []

    def check(self, name: str, work: Callable[[], R]) -> R:
        """Runs one check and notes how it ended."""
        began = time.monotonic()
        try:
            result = work()
        except RmfabError as error:
            seconds = time.monotonic() - began
            self._cases.append(Case(self._group, name, "FAIL", seconds, error.cause, str(error)))
            raise
        self._cases.append(Case(self._group, name, "PASS", time.monotonic() - began))
        return result

    def write(self, path: Path) -> None:
        """Writes the report; checks that were not reached are skipped."""
        done = {case.name for case in self._cases}
        missing = [Case(self._group, name, "SKIP", reason="not reached") for name in _CHECKS if name not in done]
        write_report(path, "rmfab release verify", [*self._cases, *missing])
