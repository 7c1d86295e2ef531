"""The QR payload."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab.errors import InputError
from rmfab.identity.qr import URL_PREFIX, parse_payload, payload, same_payload
from rmfab.product.product import Provisioning
from rmfab.product.vocabulary import QrForm, Security, Transport
from rmfab.secret import Secret

POP = Secret("a1b2c3d4")


@pytest.mark.parametrize(
    ("security", "transport", "form", "text"),
    [
        (
            2,
            "softap",
            "json",
            '{"ver":"v1","name":"PROV_123456","username":"wifiprov","pop":"a1b2c3d4","transport":"softap"}',
        ),
        (1, "ble", "json", '{"ver":"v1","name":"PROV_123456","pop":"a1b2c3d4","transport":"ble"}'),
        (0, "ble", "json", '{"ver":"v1","name":"PROV_123456","transport":"ble"}'),
        (2, "ble", "compact", "NP:PROV_123456|a1b2c3d4|b"),
        (1, "softap", "compact", "NP:PROV_123456|a1b2c3d4|s"),
        (0, "ble", "compact", "NP:PROV_123456||b"),
    ],
)
def test_it_is_what_firmware_prints(security: int, transport: str, form: str, text: str) -> None:
    """The payload of each firmware build is right byte for byte, and parses back."""
    provisioning = Provisioning(Security(security), "wifiprov", Transport(transport), "PROV", QrForm(form))
    made = payload("PROV_123456", POP, provisioning)
    assert made.reveal() == text
    read = parse_payload(URL_PREFIX + text + "\r\n")
    assert (read.form, read.name) == (QrForm(form), "PROV_123456")
    assert read.pop == (POP if security else None)
    assert same_payload(text, made.reveal())


def test_payloads_are_compared_as_json() -> None:
    """Spaces and order do not matter; a different value, a missing field or a different form does."""
    text = payload("PROV_123456", POP, Provisioning()).reveal()
    spaced = '{"transport": "ble", "pop": "a1b2c3d4", "username": "wifiprov", "name": "PROV_123456", "ver": "v1"}'
    assert same_payload(text, spaced)
    assert not same_payload(text, text.replace("a1b2", "a1b3"))
    assert not same_payload(text, text.replace('"username":"wifiprov",', ""))
    assert not same_payload(text, "NP:PROV_123456|a1b2c3d4|b")
    assert not same_payload(text, "nonsense")


@pytest.mark.parametrize("bad", ["", "{", "[1]", '"x"', "NP:a|b", "NP:a|b|x", "NP:a|b|c|b", "12"])
def test_what_is_no_payload_is_refused_without_being_shown(bad: str) -> None:
    """Text that is not a payload is an InputError that does not repeat it."""
    with pytest.raises(InputError) as caught:
        parse_payload(bad + "secretpop" if bad.startswith("NP") else bad)
    assert "secretpop" not in str(caught.value)


@pytest.mark.parametrize(
    "provisioning",
    [
        replace(Provisioning(), username='a"b'),
        replace(Provisioning(), username="x" * 64, name_prefix="y" * 22, transport=Transport.SOFTAP),
    ],
)
def test_what_firmware_cannot_print_is_refused(provisioning: Provisioning) -> None:
    """A username that needs escaping, or a payload over 149 bytes, is rejected before any label is made."""
    with pytest.raises(InputError) as caught:
        payload(provisioning.name_prefix + "_123456", POP, provisioning)
    assert caught.value.where == "[provisioning]"


def test_a_pipe_in_a_compact_name_is_refused() -> None:
    """A name with the delimiter of the compact form is rejected."""
    with pytest.raises(InputError, match="escape"):
        payload("A|B_123456", POP, replace(Provisioning(), qr=QrForm.COMPACT))


def test_a_parsed_payload_does_not_show_its_pop() -> None:
    """The PoP stays out of repr."""
    assert "a1b2c3d4" not in repr(parse_payload("NP:PROV_123456|a1b2c3d4|b"))


@given(st.text(max_size=80))
def test_parsing_never_raises_anything_else(text: str) -> None:
    """Any text from a console or scanner parses or raises InputError."""
    with suppress(InputError):
        parse_payload(text)
