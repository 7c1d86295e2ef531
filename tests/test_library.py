"""Tests of the public API of the library."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path

import rmfab

ROOT = Path(__file__).parents[1]


def test_every_name_of_the_front_door_opens() -> None:
    """`rmfab.__all__` is sorted, and each of its names is the object of that name in its module."""
    assert sorted(rmfab.__all__) == rmfab.__all__
    for name in rmfab.__all__:
        assert getattr(rmfab, name).__name__ == name
    assert set(rmfab.__all__) <= set(dir(rmfab))


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that the library does not offer raises AttributeError, as usual."""
    assert not hasattr(rmfab, "flash_everything")


def test_importing_rmfab_loads_nothing_heavy() -> None:
    """`import rmfab` alone imports no third-party library."""
    code = "import sys, rmfab; print(sorted({m.split('.')[0] for m in sys.modules} & set(sys.argv[1:])))"
    heavy = ["click", "esptool", "cryptography", "sqlalchemy", "reportlab", "rich", "serial"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_wheel_takes_every_room() -> None:
    """setup.cfg lists every folder of rmfab with code, and the two data folders that a wheel maps in."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    packages = settings["options"]["packages"].split()
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "rmfab").rglob("*.py")}
    assert sorted(packages) == sorted([*(".".join(f.parts) for f in folders), "rmfab.templates", "rmfab.csv"])
