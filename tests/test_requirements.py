"""Tests of requirements/station.txt: it is in step with setup.cfg, and every line is a pin with hashes."""

from __future__ import annotations

import configparser
import re
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.terminal import ROOT

STATION = ROOT / "requirements" / "station.txt"
EXTRAS = ("ble", "cloud", "pkcs11", "postgres", "reports", "screen")
OURSELVES = "rmfab (setup.cfg)"
_PIN = re.compile(
    r"^([a-z0-9-]+)==([^ ;\\]+)(?: ;[^\\]+)? \\\n"
    r"(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+"
    r"((?:    #.*\n)+)",
    re.MULTILINE,
)


class Pin(NamedTuple):
    """The version of a package, and whose dependency it is."""

    version: Version
    via: set[str]


def _via(comment: str) -> set[str]:
    words = re.sub(r"^    # *(?:via)? *", "", comment, flags=re.MULTILINE)
    return {line for line in words.splitlines() if line}


PINS = {one[1]: Pin(Version(one[2]), _via(one[3])) for one in _PIN.finditer(STATION.read_text())}


def direct() -> list[Requirement]:
    """What setup.cfg asks for on a station, with the extras."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = "".join(settings["options.extras_require"][name] for name in EXTRAS)
    return [Requirement(line) for line in (settings["options"]["install_requires"] + extras).splitlines() if line]


def test_every_line_is_a_pin_with_hashes() -> None:
    """Nothing in the file escapes `pip install --require-hashes`, and it names no index."""
    rest = _PIN.sub("", STATION.read_text())
    assert all(line.strip().startswith("#") for line in rest.splitlines()), rest


@pytest.mark.parametrize("requirement", direct(), ids=lambda one: one.name)
def test_a_requirement_is_pinned_within_its_bounds(requirement: Requirement) -> None:
    """Each dependency of setup.cfg has a pin that setup.cfg allows; if not, `./dev lock` writes the file again."""
    version = PINS[canonicalize_name(requirement.name)].version
    assert requirement.specifier.contains(version), f"{requirement}, but {version} is pinned: run `./dev lock`"


@pytest.mark.parametrize("requirement", direct(), ids=lambda one: one.name)
def test_a_requirement_has_bounds(requirement: Requirement) -> None:
    """Each dependency has a lower bound, which `./dev test --oldest` tests, and an upper one at the next major.

    cryptography has no upper bound: its majors come every few months and announce removals long before, and a bound
    would keep its security fixes away.
    """
    operators = {one.operator for one in requirement.specifier}
    assert ">=" in operators
    assert "<" in operators or requirement.name == "cryptography"


def test_each_pin_has_a_reason() -> None:
    """What rmfab asks for itself is exactly what setup.cfg names; each other pin is there because a pin needs it.

    That nothing is missing is for `pip install --require-hashes`, which refuses what has no pin.
    """
    ours = {name for name, pin in PINS.items() if OURSELVES in pin.via}
    assert ours == {canonicalize_name(one.name) for one in direct()}, "run `./dev lock`"
    for name, pin in PINS.items():
        assert pin.via, name
        assert pin.via - {OURSELVES} <= set(PINS), name
