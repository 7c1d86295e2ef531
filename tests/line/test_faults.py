"""Bad boards and bad cables: the right outcome and cause, an identity only if one was due, and no other effect."""

from __future__ import annotations

import pytest

from rmfab.product.vocabulary import Chip
from rmfab.provisioning.transport import SESSION, VERSION
from rmfab.virtual.faults import BoardFault
from rmfab.virtual.spec import BoardSpec
from tests.line.floor import copied, found, serve, spec
from tests.line.never import nobody_answers, stays_away, stays_silent
from tests.line.test_cloud import FAULTS as ONLINE

pytestmark = pytest.mark.slow

DETECTED = ("detect",)
FLASHED = ("detect", "claim", "flash")
READ_BACK = (*FLASHED, "readback")
BOOTED = (*READ_BACK, "boot")
IDENTIFIED = (*BOOTED, "identify")
PROVISIONED = (*IDENTIFIED, "provision")
DONE = (*PROVISIONED, "reset", "label")

# A loader that greets and then receives nothing; esptool misses the greeting if it arrives late.
MUTE = ("tx-path", "no-answer")

# fault: outcome, cause, steps that ran, whether the board has an identity afterwards
FAULTS = {
    "drop-bytes": ("PASS", None, DONE, True),
    "vanish": ("ERROR", "port-gone", FLASHED, True),
    "vanish-and-swap": ("ERROR", "board-swapped", FLASHED, True),  # seen by the second attempt
    "brownout": ("FAIL", "brownout", BOOTED, True),
    "panic": ("FAIL", "panic", BOOTED, True),
    "silent": ("FAIL", "silent", BOOTED, True),
    "no-sync": ("ERROR", MUTE, DETECTED, False),
    "wrong-chip": ("FAIL", "chip-mismatch", DETECTED, False),
    "small-flash": ("FAIL", "flash-too-small", DETECTED, False),
    "secure-boot": ("FAIL", "secure-boot-unsigned", DETECTED, False),
    "flash-encryption": ("FAIL", "flash-encryption", DETECTED, False),
    "secure-download": ("FAIL", "secure-download-mode", DETECTED, False),
    "old-revision": ("FAIL", "revision-too-old", DETECTED, False),
    "stale-nvs": ("PASS", None, DONE, True),
    "other-identity": ("FAIL", "other-identity", IDENTIFIED, True),
    "bad-flash": ("FAIL", "readback-mismatch", READ_BACK, True),
    "wrong-key": ("FAIL", "key-mismatch", IDENTIFIED, True),
    "wrong-pop": ("FAIL", "pop-mismatch", IDENTIFIED, True),
    "wrong-verifier": ("FAIL", "wrong-pop-in-unit", PROVISIONED, True),
    "plain-security": ("FAIL", "qr-mismatch", IDENTIFIED, True),
    "other-cookie": ("FAIL", "cookie-mismatch", PROVISIONED, True),
    "slow-flash": ("PASS", None, DONE, True),
    "late-panic": ("FAIL", "panic", PROVISIONED, True),
    "stalled-session": ("FAIL", "stalled", PROVISIONED, True),
    "short-reply": ("FAIL", "cut-short", PROVISIONED, True),
    "lies-connected": ("PASS", None, DONE, True),  # it shows where units join, in test_provision.py
    "impossible-rssi": ("PASS", None, DONE, True),  # it shows where units scan
    "just-in-time=20": ("FAIL", "stalled", PROVISIONED, True),
    "stall-at=3": ("ERROR", MUTE, DETECTED, False),
    "stall-at=35": ("ERROR", MUTE, DETECTED, False),
    "stall-at=55": ("ERROR", MUTE, FLASHED, True),  # at the second attempt: the first ends with answer-stopped
    "healthy": ("PASS", None, DONE, True),
}


# Faults that have their own tests: what kills the line, what depends on the rate, and what only a unit shows that is
# online, or updates itself.
ELSEWHERE = {"kill-at", "loses-param", "no-ota-status", "rolls-back", "bad-cable", "worn-cable", *ONLINE}


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """All faulty boards and a healthy one, on one floor in parallel: the output, the bindings, the ledger's check."""
    limits = (("provision_timeout = 45.0", "provision_timeout = 120.0"),)
    factory = found(tmp_path_factory.mktemp("faults") / "ws", units=len(FAULTS), edits=limits)
    specs = [spec(index=n, faults=() if name == "healthy" else (name,)) for n, name in enumerate(FAULTS)]
    with serve(specs) as boards, pytest.MonkeyPatch.context() as patch:
        patch.setattr("rmfab.line.steps.identify._ANSWER_SECONDS", 60.0)
        patch.setattr("rmfab.line.connection._RETURN_SECONDS", 20.0)
        named = dict(zip(FAULTS, boards, strict=True))
        # What never comes is waited for shortly; all that does come has long limits.
        stays_silent(patch, named["silent"].url)
        stays_away(patch, named["vanish"].url)
        stalled, late = (named[name].provisioning_url for name in ("stalled-session", "just-in-time=20"))
        nobody_answers(patch, {(stalled, SESSION), (late, VERSION)})
        said = factory.run(*(board.url for board in boards))
        return factory, said, named


def test_every_fault_has_a_row():
    """The table has every fault of the virtual board, except those that have their own tests."""
    assert {name.split("=")[0] for name in FAULTS} - {"healthy"} == {fault.value for fault in BoardFault} - ELSEWHERE


@pytest.mark.parametrize("name", FAULTS)
def test_verdict(batch, name):
    """The outcome, the cause and the steps that ran are as in the table."""
    _, said, boards = batch
    outcome, cause, steps, _ = FAULTS[name]
    (unit,) = [unit for unit in said.units if unit["slot"] == boards[name].url]
    assert unit["outcome"] == outcome, unit["reason"]
    assert unit["class"] in (cause if cause is MUTE else (cause,)), unit["reason"]
    told = said.steps(boards[name].url)
    assert tuple(told) == steps
    bad = {value for value in told.values() if value not in ("PASS", "MARGINAL", "SKIP")}
    assert bad == (set() if cause is None else {outcome})
    assert unit["reason"] or outcome == "PASS"


@pytest.mark.parametrize("name", FAULTS)
def test_identity(batch, name):
    """A rejected board gets no identity; one that failed later keeps its own."""
    factory, said, boards = batch
    (unit,) = [unit for unit in said.units if unit["slot"] == boards[name].url]
    assert (unit["serial"] is not None) == FAULTS[name][3]
    states = factory.states()
    if unit["serial"] is not None:
        assert factory.bindings()[unit["mac"]] == unit["serial"]
        expected = {"PASS": {"verified"}, "FAIL": {"failed"}, "ERROR": {"claimed"}}[unit["outcome"]]
        assert states[unit["serial"]] in expected


def test_nothing_else(batch):
    """Every unit has one verdict, no serial is given twice, a failed unit exits with 1, and the ledger is valid."""
    factory, said, _ = batch
    serials = [unit["serial"] for unit in said.units if unit["serial"]]
    assert len(said.units) == len(FAULTS)
    assert len(set(serials)) == len(serials)
    assert said.code == 1
    counts = [row[0] for row in FAULTS.values()]
    assert said.summary == {
        "event": "summary",
        "passed": counts.count("PASS"),
        "failed": counts.count("FAIL"),
        "errors": counts.count("ERROR"),
        "aborted": 0,
        "seen": 0,
        "labels": {},
    }
    factory.check()


@pytest.mark.parametrize(
    ("chip", "outcome", "failed"), [(Chip.ESP32, "PASS", "flash-read"), (None, "MARGINAL", "blank-flash")]
)
def test_slow_flash(tmp_path, chip, outcome, failed):
    """A first start before the flash was ready is harmless on an ESP32, and MARGINAL on a chip without that erratum."""
    chips = {} if chip is None else {"chip": chip}
    factory = found(tmp_path / "ws", units=1, **chips)
    with serve([spec(faults=("slow-flash",), **chips)]) as (board,):
        said = factory.run(board.url)
    boot = said.step("boot")
    assert (said.code, boot["outcome"], boot["measurements"]["failed_starts"]) == (0, outcome, [failed])


def test_mended_boards_keep_their_identity(founded, tmp_path, monkeypatch):
    """A repaired board passes a later run with the identity that it had."""
    monkeypatch.setattr("rmfab.line.connection._RETURN_SECONDS", 0.0)  # no board returns while a line runs
    factory = copied(founded, tmp_path / "ws")
    with serve([spec(faults=("brownout",)), spec(index=1, faults=("vanish",))]) as (sagging, leaving):
        first = factory.run(sagging.url, leaving.url)
        assert {unit["outcome"] for unit in first.units} == {"FAIL", "ERROR"}
        before = factory.bindings()
        for board in (sagging, leaving):
            board.control("fault none")
        leaving.control("return")
        second = factory.run(sagging.url, leaving.url)
        assert (second.code, {unit["outcome"] for unit in second.units}) == (0, {"PASS"})
        assert factory.bindings() == before
    factory.check()


def test_swapped_board_is_another_unit(factory, monkeypatch):
    """A port that comes back with a different board ends as ERROR; that board gets a new identity."""
    monkeypatch.setattr("rmfab.line.connection._RETURN_SECONDS", 0.0)  # it comes back after the line has ended
    with serve([spec(faults=("vanish",))]) as (board,):
        first = factory.run(board.url)
        assert first.verdict == ("ERROR", "port-gone")
        board.control("swap")
        second = factory.run(board.url)
        assert second.verdict[0] == "PASS", second.unit
    assert second.unit["mac"] != first.unit["mac"]
    assert second.unit["serial"] != first.unit["serial"]
    assert factory.bindings() == {first.unit["mac"]: first.unit["serial"], second.unit["mac"]: second.unit["serial"]}


@pytest.mark.parametrize("chip", [Chip.ESP32, Chip.ESP32S3, Chip.ESP32C3, Chip.ESP32C6])
def test_refusals_of_every_chip(tmp_path, chip):
    """Security and size are read on every chip; none of these boards gets an identity."""
    factory = found(tmp_path / "ws", chip, units=3)
    faults = ["secure-boot", "flash-encryption", "small-flash", "wrong-chip"]
    with serve([spec(chip, n, (name,)) for n, name in enumerate(faults)]) as boards:
        said = factory.run(*(board.url for board in boards), command="flash")
        causes = {unit["slot"]: unit["class"] for unit in said.units}
        assert [causes[board.url] for board in boards] == [
            "secure-boot-unsigned",
            "flash-encryption",
            "flash-too-small",
            "chip-mismatch",
        ]
    assert said.code == 1
    assert factory.bindings() == {}


def test_too_new(factory):
    """A chip newer than the release supports is rejected."""
    with serve([BoardSpec(Chip.ESP32C3, revision=250)]) as (board,):
        said = factory.run(board.url)
    assert said.verdict == ("FAIL", "revision-too-new")
    assert factory.bindings() == {}
