"""`rmfab run` as a separate process, read event by event."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.line.zygote import ROOT


def line(factory, *argv):
    """Start a real `rmfab run` as a separate process."""
    return subprocess.Popen(
        [sys.executable, "-m", "rmfab", "-C", str(factory.root), "run", "--json", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=factory.root,
        env=dict(os.environ) | {"PYTHONPATH": str(ROOT)},
    )


def read_until(process, fits):
    """Return the events of *process* up to the first that *fits*."""
    events = []
    for text in process.stdout:
        events.append(json.loads(text))
        if fits(events[-1]):
            return events
    raise AssertionError(events)
