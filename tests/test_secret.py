"""Tests of secrets: they are never printed, and console text is redacted."""

from __future__ import annotations

import copy
import json
import logging
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab.secret import REDACTED, Secret, redact


@given(st.text("abcdef0123456789", min_size=8))
def test_a_secret_shows_nowhere(value: str) -> None:
    """repr, str, format, f-strings, containers, exceptions and logging show nothing of the value."""
    for secret in (Secret(value), Secret(value.encode())):
        shown = [
            repr(secret),
            str(secret),
            f"{secret}",
            f"{secret:>40}",
            "{} {!r}".format(*(secret, secret)),
            repr([secret]),
        ]
        shown += [
            repr({"k": secret}),
            repr(ValueError(secret)),
            logging.LogRecord("n", 0, "", 0, "%s", (secret,), None).getMessage(),
        ]
        assert not any(value in text for text in shown)
        assert secret.reveal() in (value, value.encode())


def test_a_secret_does_not_leave_by_accident() -> None:
    """A Secret cannot be pickled, copied, dumped as JSON or iterated, and has no __dict__."""
    secret = Secret(b"x" * 16)
    for leave in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps, vars, iter, len, bytes):
        with pytest.raises(TypeError):
            leave(secret)  # type: ignore[operator]


def test_equality() -> None:
    """Secrets compare by value, never with a bare value, never bytes with text; equal ones hash equal."""
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("ä") == Secret("ä")
    assert Secret("a") != "a"
    assert Secret("a") != Secret(b"a")
    assert len({Secret("a"), Secret("a"), Secret(b"a")}) == 2


@pytest.mark.parametrize(
    ("line", "lost"),
    [
        (
            'I (1) app: {"ver":"v1","name":"PROV_1","username":"wifiprov","pop":"c5c9ba19","transport":"ble"}',
            "c5c9ba19",
        ),
        ('{"pop" : "c5c9ba19"}', "c5c9ba19"),
        ("https://x/qrcode.html?data={%22name%22%3A%22P%22%2C%22pop%22%3A%22c5c9ba19%22}", "c5c9ba19"),
        ("\tPassword : hunter two\x1b[0m", "hunter two"),
        ("Passphrase: s3cret", "s3cret"),
        ("PoP: c5c9ba19", "c5c9ba19"),
    ],
)
def test_what_firmware_prints_is_redacted(line: str, lost: str) -> None:
    """PoP and Wi-Fi credentials are redacted in console text, known or not; the rest of the line stays."""
    text = redact(f"before\n{line}\nafter")
    assert lost not in text
    assert REDACTED in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter")


@given(
    st.text("ghijkl \n", max_size=40),
    st.text("abcdef0123456789", min_size=4, max_size=16),
    st.text("ghi{}", max_size=40),
)
def test_known_secrets_are_redacted_in_any_case(before: str, value: str, after: str) -> None:
    """A known secret is redacted wherever it occurs, also in upper case."""
    for shown in (value, value.upper()):
        assert redact(before + shown + after, Secret(value)) == before + REDACTED + after
    assert redact("text", Secret("")) == "text"


@pytest.mark.parametrize(
    "line",
    [
        '{"ver":"v1","name":"PROV_0a1b2c","username":"wifiprov","pop":"abcd1234","transport":"ble"}',
        "%22name%22%3A%22PROV_0a1b2c%22%2C%22pop%22%3A%22abcd1234%22%2C%22transport",
        "NP:PROV_0a1b2c|abcd1234|b",
    ],
)
@pytest.mark.parametrize("after", ["", "\r\n", "\nI (600) wifi: and so on"])
def test_console_that_was_cut_off(line: str, after: str) -> None:
    """A line that ends in the middle of the PoP, as when a board is pulled out, shows none of its digits."""
    start = line.index("abcd1234")
    for length in range(1, 9):
        assert redact(line[: start + length] + after) == line[:start] + REDACTED + after
