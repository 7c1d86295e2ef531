"""Printing a label, killed at every line: the ledger never has a label that did not come out, and none comes twice."""

from __future__ import annotations

import itertools
import sys
import threading
from functools import partial

import pytest

from rmfab.label.printers import folder_printer
from rmfab.label.printers.open_printer import open_printer
from rmfab.label.raster import Raster
from rmfab.ledger.store import Ledger
from rmfab.line import label_event as events
from rmfab.line import label_queue
from rmfab.line.label_event import LabelledUnit, label_event
from rmfab.line.label_queue import LabelOrder, LabelQueue, settle
from tests.killed import killed
from tests.ledger.workshop import FILE, STATION, fresh, now

pytestmark = pytest.mark.slow
PLACES = frozenset(module.__file__ for module in (folder_printer, label_queue, events))


def test_printing_killed_at_every_line(tmp_path):
    """After a kill, a label that the ledger calls printed is there, and one that is there is printed or in doubt.

    The next run asks about a label in doubt; after that, each unit has exactly one.
    """
    with fresh(tmp_path, size=200):
        pass
    for turn in itertools.count(1):
        serial, folder = f"LMP-{turn:06d}", tmp_path / f"printer-{turn}"
        survived = not killed(turn, PLACES, partial(print_or_settle, tmp_path, serial, folder))
        standing, there = standing_of(tmp_path, serial), len(list(folder.glob("*.png")))
        assert standing.printed_count <= there <= 1, turn
        assert not there or standing.printed_count or standing.doubt_ts, turn
        print_or_settle(tmp_path, serial, folder)
        standing = standing_of(tmp_path, serial)
        assert (standing.printed_count, standing.doubt_ts, len(list(folder.glob("*.png")))) == (1, None, 1), turn
        if survived:
            break
    assert turn > 30


def standing_of(root, serial):
    with Ledger.open(root / FILE, create=False) as ledger:
        return ledger.identity_by_serial(serial).standing


def print_or_settle(root, serial, folder):
    """Print the label of *serial* as the step `label` does; an honest operator settles one in doubt."""
    threading.settrace(sys.gettrace())  # the printer works in a thread of its own
    with Ledger.open(root / FILE, create=False) as ledger:

        def note(word, fault=None, *, by_operator=False):
            ledger.record(STATION, [label_event(now(), LabelledUnit(serial), word, by_operator=by_operator)])

        def quiet(_):
            """Say nothing."""

        queue = LabelQueue(open_printer(f"file://{folder}"), 0.0)
        look = lambda _: any(folder.glob("*.png"))  # noqa: E731
        order = LabelOrder(serial, lambda _: Raster(8, 1, b"\x80"), note, quiet, quiet, look, lambda: None)
        standing = ledger.identity_by_serial(serial).standing
        if standing.doubt_ts is not None and settle(order).out:
            return
        if not standing.labelled_count:
            queue.print_label(order)
