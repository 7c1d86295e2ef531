"""Output on a page against output of a run: what must be the same, what may vary, and what a run teaches."""

from __future__ import annotations

import pytest

from tests.docs.shown import Learned, missing


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("lamp-0001", "lamp-0001"),
        ("LMP-000001  boot PASS 1.3s  PASS  A1", "LMP-000007    boot PASS 0.6s   PASS  A1"),
        ("fingerprint  7d1f-03a9-5e52-c1b4-9a6e-44f0-2c8b-e913", "fingerprint 8057-7054-c5e9-fc26-a959-4df2-6fb8-3c6f"),
        ("    boot: …", "    boot: the supply voltage drops"),
        ("…", "anything"),
    ],
)
def test_lines_that_agree(shown: str, printed: str) -> None:
    """Blanks, values of one run, and what stands for `…` may differ."""
    assert missing([shown], ["before", printed, "after"], Learned()) == []


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("lamp-0001", "lamp-0002"),
        ("LMP-000001  boot PASS 1.3s  PASS  A1", "LMP-000001  boot FAIL 1.3s  FAIL  A1"),
        ("lamp 1.4.0", "lamp 1.4.0 and more"),
        ("boot: …", "flash: bad"),
    ],
)
def test_lines_that_differ(shown: str, printed: str) -> None:
    """Everything else must be as it is shown."""
    assert missing([shown], [printed], Learned()) == [shown]


def test_a_line_counts_once() -> None:
    """A line that is shown twice must be printed twice."""
    assert missing(["ok", "ok"], ["ok"], Learned()) == ["ok"]


def test_values_keep_their_meaning() -> None:
    """A serial, a port or a fingerprint that a page showed means the same in its later commands and lines."""
    learned = Learned()
    assert (
        missing(
            ["LMP-000002 FAIL A2", "http://127.0.0.1:8443"], ["LMP-000001 FAIL A2", "http://127.0.0.1:40001"], learned
        )
        == []
    )
    assert learned.real("rmfab trace LMP-000002; nc 127.0.0.1 8443") == "rmfab trace LMP-000001; nc 127.0.0.1 40001"
    assert missing(["LMP-000002 failed"], ["LMP-000002 failed"], learned) == ["LMP-000002 failed"]
