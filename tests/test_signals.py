"""Tests of signals that come at a bad moment: while a finalizer runs, twice, or while nobody waits for them."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

from rmfab.signals import repeat_lost_interrupts, stopping
from tests.patience import PATIENCE, until
from tests.terminal import environment

PROGRAM = """
import signal, sys, time, weakref

class Thing:
    pass

def interrupt(_):
    signal.raise_signal(signal.SIGINT)  # as if ^C came while this runs: Python drops the exception

{care}
try:
    {ending}
    for _ in range({looks}):  # Python does not look for a signal that came just before it sleeps
        time.sleep(0.05)
except KeyboardInterrupt:
    print("interrupted")
    sys.exit(130)
print("never interrupted")
"""
CARE = "from rmfab.signals import repeat_lost_interrupts; repeat_lost_interrupts()"
ENDINGS = {
    "finalizer": "Thing.__del__ = interrupt; Thing()",
    "weak reference": "thing = Thing(); watching = weakref.ref(thing, interrupt); del thing",
}


def ended(care: str, ending: str, looks: int = 1_000_000) -> subprocess.CompletedProcess[str]:
    """Run the program above to its end."""
    command = [sys.executable, "-c", PROGRAM.format(care=care, ending=ENDINGS[ending], looks=looks)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment())


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_interrupt_in_a_finalizer(ending: str) -> None:
    """^C while a finalizer or the callback of a weak reference runs interrupts a command all the same, in silence."""
    done = ended(CARE, ending)
    assert (done.returncode, done.stdout, done.stderr) == (130, "interrupted\n", "")


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_interrupt_is_not_repeated_too_soon(ending: str) -> None:
    """On a machine that is busy, the repetition waits until the report of the lost one has ended, or it is lost too."""
    slow = "; start = signals._call_beside; signals._call_beside = lambda action: (start(action), time.sleep(0.2))"
    done = ended(f"from rmfab import signals; {CARE}{slow}", ending)
    assert (done.returncode, done.stdout, done.stderr) == (130, "interrupted\n", "")


@pytest.mark.parametrize("ending", ENDINGS)
def test_python_drops_it(ending: str) -> None:
    """Without this care Python loses such a signal; if this fails, Python no longer does, and the care can go."""
    done = ended("", ending, 2)
    assert done.stdout == "never interrupted\n"
    assert "Exception ignored in" in done.stderr


def test_other_exceptions_in_a_finalizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other exception that Python drops is reported as before."""
    seen: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)
    repeat_lost_interrupts()

    class Broken:
        def __del__(self) -> None:
            raise ValueError("broken")

    Broken()
    assert [type(one.exc_value) for one in seen] == [ValueError]  # type: ignore[attr-defined]


def test_a_signal_while_a_lock_is_held() -> None:
    """*stop* may take a lock that the main thread holds when the signal interrupts it: it waits beside it."""
    lock, taken = threading.Lock(), threading.Event()

    def stop() -> None:
        if lock.acquire(timeout=PATIENCE / 2):
            taken.set()

    with stopping(stop):
        with lock:
            signal.raise_signal(signal.SIGTERM)
        assert taken.wait(PATIENCE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_stops_and_the_second_interrupts(number: signal.Signals) -> None:
    """Inside `stopping` the first signal only calls *stop*; the second is as usual, and so are both afterwards."""
    usual: list[int] = []
    before = signal.signal(number, lambda number, _: usual.append(number))
    stops: list[float] = []
    try:
        with stopping(lambda: stops.append(time.monotonic())):
            signal.raise_signal(number)
            until(lambda: stops)
            assert (len(stops), usual) == (1, [])
            signal.raise_signal(number)
        signal.raise_signal(number)
    finally:
        signal.signal(number, before)
    assert (len(stops), usual) == (1, [number, number])
