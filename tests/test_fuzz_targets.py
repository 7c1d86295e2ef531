"""The fuzz targets in small: their corpus has no finding, nor have inputs near it, long ones and mixtures."""

from __future__ import annotations

import random
import re
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz import console, files, harness, images
from rmfab.errors import RmfabError

FOLDER = Path(__file__).parents[1] / "fuzz/corpus"
TARGETS = {"console": console, "files": files, "images": images}
CORPUS = [(target, path) for name, target in TARGETS.items() for path in sorted((FOLDER / name).iterdir())]
IDS = [f"{path.parent.name}/{path.name}" for _, path in CORPUS]
_LONG = 64 << 10


@pytest.mark.parametrize(("target", "path"), CORPUS, ids=IDS)
def test_no_finding(target: ModuleType, path: Path) -> None:
    """An input of the corpus ends in a value or an error of rmfab, within its limits."""
    target.one_input(path.read_bytes())


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_every_reader_accepts_something(target: ModuleType) -> None:
    """The corpus has good inputs for every reader, so that fuzzing need not find them."""
    accepted = set()
    for data in (path.read_bytes() for one, path in CORPUS if one is target):
        try:
            target.TARGETS[data[0]](data[1:])
        except RmfabError:
            continue
        accepted.add(data[0])
    assert accepted == set(range(len(target.TARGETS)))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(CORPUS), st.data())
def test_no_finding_in_the_neighbourhood(chosen: tuple[ModuleType, Path], data: st.DataObject) -> None:
    """Removed, inserted, changed and repeated bytes raise only rmfab's own errors."""
    target, path = chosen
    whole = bytearray(path.read_bytes())
    at = data.draw(st.integers(1, len(whole) - 1))
    length = data.draw(st.integers(0, 64))
    whole[at : at + length] = data.draw(st.binary(max_size=64)) * data.draw(st.sampled_from([1, 1, 100]))
    target.one_input(bytes(whole))


@pytest.mark.parametrize(("target", "path"), CORPUS, ids=IDS)
def test_long_inputs_cost_little(target: ModuleType, path: Path) -> None:
    """A piece of an input, repeated to 64 KiB, stays within the limits of time and memory: nothing is quadratic."""
    data, dice = path.read_bytes(), random.Random(path.name)
    for _ in range(2):
        start = dice.randrange(1, len(data))
        piece = data[start : start + dice.choice((1, 3, 17, 90))]
        target.one_input(data[:start] + piece * (_LONG // len(piece)))


VALUES = r"""
    0x{f} -1 1e400 nan true 1979-05-27 07:32:00 1979-05-27T07:32:00Z
    [] [[]] {{a=1}} [0x{f}] ["\u0000"] ["{{mode}}"] ["{{ssid}}"]
    "" "{f}K" "0x{f}" "\u0000" "\u001b]52;c;x\u0007" "\u202e" "\U0010ffff" "~" "/" "../.."
    "{{n:99999999999d}}" "{{n:06d}}{{n}}" "0001-01-01" "99999999" "http://a:99999" "http://[::1"
""".format(f="f" * 5000).split()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["product-template", "station"])
@pytest.mark.parametrize("value", VALUES, ids=lambda value: value[:24])
def test_every_key_with_odd_values(name: str, value: str) -> None:
    """No value of any key is a bug: it is accepted or a complaint."""
    data = (FOLDER / "files" / name).read_bytes()
    lines = data[1:].decode().splitlines()
    for at, line in enumerate(lines):
        if found := re.match(r"(?:# )?(\w+)\s*=", line):
            text = "\n".join([*lines[:at], f"{found[1]} = {value}", *lines[at + 1 :]])
            files.one_input(data[:1] + text.encode())


def _unprintable(_: bytes) -> None:
    with harness.shown() as printed:
        printed.write("\x1b]52;c;aGk=\x07")


def _foreign(_: bytes) -> None:
    raise RecursionError


@pytest.mark.parametrize(("reader", "kind"), [(_unprintable, AssertionError), (_foreign, RecursionError)])
def test_findings(reader: harness.Reader, kind: type[Exception]) -> None:
    """A foreign exception is a finding, and output that a terminal would act on."""
    with pytest.raises(kind):
        harness.read_one((reader,), b"\0")


@pytest.mark.parametrize("limit", ["MOST_SECONDS", "MOST_GROWTH"])
def test_limits(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """An input above the limit of time or memory is a finding."""
    harness.read_one((len,), b"\0")
    monkeypatch.setattr(harness, limit, -1)
    with pytest.raises(AssertionError, match="one input took"):
        harness.read_one((len,), b"\0")
