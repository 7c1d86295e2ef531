"""The front door of the library."""

from __future__ import annotations

import subprocess
import sys

import rmfab


def test_every_name_of_the_front_door_opens() -> None:
    """`rmfab.__all__` is sorted, and each of its names is what its room calls so."""
    assert sorted(rmfab.__all__) == rmfab.__all__
    for name in rmfab.__all__:
        assert getattr(rmfab, name).__name__ in (name, "read")
    assert set(rmfab.__all__) <= set(dir(rmfab))


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that the library does not offer is told as Python tells it."""
    assert not hasattr(rmfab, "flash_everything")


def test_importing_rmfab_loads_nothing_heavy() -> None:
    """`import rmfab` alone imports no foreign library."""
    code = "import sys, rmfab; print(sorted({m.split('.')[0] for m in sys.modules} & set(sys.argv[1:])))"
    heavy = ["click", "esptool", "cryptography", "sqlalchemy", "reportlab", "rich", "serial"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
