"""Scans: what a scanner types, and what it means."""

from __future__ import annotations

import pytest

from rmfab.screen.scans import BadgeScan, Code, CodeScan, NameScan, PayloadScan, ScanField, Scanned, parse_scan

PAYLOAD = '{"ver":"v1","name":"PROV_1f677d","pop":"3dc1e8a4","transport":"ble"}'


@pytest.mark.parametrize(
    ("text", "scanned"),
    [
        ("LMP-000017", NameScan("LMP-000017")),
        ("  LMP-000017 ", NameScan("LMP-000017")),
        ("]C1LMP-000017", NameScan("LMP-000017")),
        ("]d2LMP-000017", NameScan("LMP-000017")),
        ("A3", NameScan("A3")),
        (PAYLOAD, PayloadScan(PAYLOAD)),
        (f"]Q1{PAYLOAD}", PayloadScan(PAYLOAD)),
        ("NP:PROV_1f677d|3dc1e8a4|b", PayloadScan("NP:PROV_1f677d|3dc1e8a4|b")),
        ("BADGE:wei", BadgeScan("wei")),
        ("badge: wei", BadgeScan("wei")),
        ("BADGE:", NameScan("BADGE:")),
        ("RETRY", CodeScan(Code.RETRY)),
        ("retry A3", CodeScan(Code.RETRY, "A3")),
        ("ABORT ", CodeScan(Code.ABORT)),
        ("RETRYING", NameScan("RETRYING")),
        ("", NameScan("")),
        ("]", NameScan("]")),
    ],
)
def test_parse_scan(text: str, scanned: Scanned) -> None:
    """A symbology identifier is no part of a code; everything that is nothing else is a name."""
    assert parse_scan(text) == scanned


def test_a_payload_is_not_shown() -> None:
    """A payload contains a PoP: neither the scan field nor the value's text has it."""
    field = ScanField()
    for letter in PAYLOAD:
        field.type(letter, 0.0)
        assert "{" not in field.shown
    assert field.shown == f"({len(PAYLOAD)})"
    assert "3dc1e8a4" not in repr(parse_scan(PAYLOAD))


@pytest.mark.parametrize(
    ("text", "gap", "scanned"),
    [("LMP-000017", 0.005, True), ("LMP-000017", 0.15, False), ("abc", 0.005, False), ("]C1x", 0.2, True)],
)
def test_a_scanner_types_fast(text: str, gap: float, scanned: bool) -> None:
    """Fast keys, or a symbology identifier, are a scan; slow keys are a person's."""
    field = ScanField()
    for number, letter in enumerate(text):
        field.type(letter, number * gap)
    assert field.scanned is scanned
    assert not field.rested(len(text) * gap - gap)
    assert field.rested(len(text) * gap + 1)


def test_the_field_is_bounded() -> None:
    """Keys without end do not fill the memory; erasing the last letter of nothing is no error."""
    field = ScanField()
    field.erase()
    for _ in range(1000):
        field.type("x", 0.0)
    assert len(field.take()) == 512
    assert (field.text, field.rested(9.0)) == ("", False)
