"""What a scanner read from a label, and the test of the scanner itself.

A hand scanner types the code as a keyboard does. Depending on how it is set up, it adds an AIM identifier (`]Q1`), a
prefix or a suffix; depending on the host, its keys become different characters. What it adds is removed. What it
changes is named, never guessed back: a scanner that reads PoPs wrong has to be set up right.

A scan of a label contains the PoP. No error here contains any of the scanned text.
"""

from __future__ import annotations

import hmac
import re
from difflib import SequenceMatcher

from rmfab.errors import InputError, StationError
from rmfab.identity.qr import URL_PREFIX, Payload, parse_payload
from rmfab.label.keyboards import KEYBOARDS, Keyboard, from_input_method, with_caps_lock
from rmfab.secret import Secret

TEST_CODE = "RMFAB-TEST " + "".join(map(chr, range(0x21, 0x7F))) + ".END"
"""A code with every character that a label's code may have. Scanned, it proves the scanner and the keyboard layout."""

LONGEST = 512
"""The most characters of a scan; a label's code has at most 149, and a scanner adds a few."""
_MOST_ADDED = 32
_ALIKE = 0.6  # of difflib's ratio: what a different layout or a lost character leaves of the test code
_AIM = re.compile(r"\][A-Za-z][0-9A-Za-z]")
_COMPACT = re.compile(r"NP:[^|]{0,149}\|[^|]{0,149}\|[bs]")
_BEGINNING = '{"ver":"v1","name":"'
_SET_UP = "set the scanner up again with the codes of its manual, and scan the test code (`rmfab scan --test`)"


class WrongScan(StationError):
    """A scan that is not the code of a label. Its text may quote no part of the scan."""

    cause = "scan-unreadable"


def parse_scan(text: str) -> Payload:
    """Return the payload in what a scanner typed, without what the scanner added. Raise WrongScan.

    Both forms of the payload are read, and the URL that firmware prints.
    """
    if len(text) > LONGEST:
        raise WrongScan(
            f"the scan has more than {LONGEST} characters: several codes came as one",
            hint=f"the scanner must send Enter after each code; {_SET_UP}",
            cause="scanner-setup",
        )
    text = bare(text)
    payload = _payload_in(text)
    if payload is None:
        raise _diagnosed(text)
    return payload


def may_hold_pop(text: str) -> bool:
    """Return whether *text* is the code of a label, also one that came in damaged: it must not be shown."""
    try:
        parse_scan(text)
    except WrongScan as error:
        return error.cause != WrongScan.cause or "{" in text
    return True


def bare(text: str) -> str:
    """Return a scan without white space around it, an AIM identifier, and the separators of GS1 codes."""
    text = text.strip(" \t\r\n\0\x1d\x1e\x04\ufeff")
    match = _AIM.match(text)
    return text[match.end() :].lstrip("\x1d") if match else text


def is_label_of(scanned: Payload, printed: Secret[str]) -> bool:
    """Return whether *scanned* has the name and the PoP of the payload *printed*; takes the same time either way."""
    return hmac.compare_digest(_key(scanned), _key(parse_payload(printed.reveal())))


def same_label(scanned: Payload, printed: Secret[str]) -> bool:
    """Return whether *scanned* is the payload *printed*, field by field."""
    expected = parse_payload(printed.reveal())
    same_key = is_label_of(scanned, printed)
    return same_key and (scanned.transport, scanned.username) == (expected.transport, expected.username)


def _key(payload: Payload) -> bytes:
    """Return name and PoP as bytes of one length, whatever theirs is."""
    pop = payload.pop.reveal() if payload.pop else ""
    return hmac.digest(b"label", f"{len(payload.name)} {payload.name}{pop}".encode("utf-8", "surrogatepass"), "sha256")


def _payload_in(text: str) -> Payload | None:
    """Return the one payload in *text*, with at most a few characters around it; None if there is none."""
    if _are_two(text):
        return None
    start, found = _find(text)
    around = len(text) - len(found) - (len(URL_PREFIX) if URL_PREFIX in text else 0)
    if not found or around > _MOST_ADDED or start > _MOST_ADDED + len(URL_PREFIX):
        return None
    try:
        payload = parse_payload(found)
    except InputError:
        return None
    return payload if payload.name else None


def _are_two(text: str) -> bool:
    """Return whether *text* has more than one code."""
    return text.count("{") > 1 or ("{" not in text and text.count("NP:") > 1)


def _is_other_json(text: str) -> bool:
    """Return whether *text* is whole, and not the code of a label."""
    try:
        parse_payload(text)
    except InputError:
        return False
    return True


def _find(text: str) -> tuple[int, str]:
    """Return where a payload seems to be in *text*, and the payload: from the first brace to the last, or `NP:`."""
    start, end = text.find("{"), text.rfind("}")
    compact = _COMPACT.search(text)
    if compact is not None and (start < 0 or compact.start() < start):
        return compact.start(), compact.group()
    return (start, text[start : end + 1]) if 0 <= start < end else (0, "")


def _diagnosed(text: str) -> WrongScan:
    """Return why *text* is not the code of a label, as far as it shows. Pure."""
    if (keyboard := _keyboard_of(text)) is not None:
        return keyboard
    if _are_two(text):
        return WrongScan(
            "two codes came as one line",
            hint=f"the scanner must send Enter after each code; {_SET_UP}",
            cause="scanner-setup",
        )
    if not _is_other_json(text) and ('{"' in text[:_MOST_ADDED] or "NP:" in text[:_MOST_ADDED]):
        return WrongScan(
            "the code was cut short, or characters are missing",
            hint=f"scan it again; if that happens again, {_SET_UP}",
            cause="scanner-setup",
        )
    if text.startswith("RMFAB-TEST"):
        return WrongScan("this is the scanner's test code", hint="scan the QR code of the label on the board")
    return WrongScan("this is not the QR code of a label", hint="scan the QR code, not a different code near it")


def _keyboard_of(text: str) -> WrongScan | None:
    """Return the error if *text* is a label's code that was typed on the wrong keyboard."""
    if _payload_in(with_caps_lock(text)) is not None:
        return _wrong_keyboard(None, caps=True)
    if from_input_method(text):
        return _input_method()
    for keyboard in KEYBOARDS:
        for caps in (False, True):
            plain = with_caps_lock(text) if caps else text
            if _payload_in(keyboard.meant(plain)) is not None or _begins_json(plain, keyboard):
                return _wrong_keyboard(keyboard.name, caps=caps)
    return None


def _begins_json(text: str, keyboard: Keyboard) -> bool:
    """Return whether *text* has the beginning of a JSON payload as *keyboard* shows it, without its dead keys."""
    plain = "".join(letter for letter in text[: 2 * _MOST_ADDED] if letter not in keyboard.dead)
    return keyboard.typed(_BEGINNING) in plain


def _wrong_keyboard(layout: str | None, *, caps: bool) -> WrongScan:
    what = [f"the keyboard layout of this host is {layout}, that of the scanner US"] if layout else []
    what += ["Caps Lock is on"] if caps else []
    hints = ["switch the keyboard layout to US, or set the scanner to this layout"] if layout else []
    hints += ["press Caps Lock"] if caps else []
    return WrongScan(
        f"the scan came in as different characters: {'; '.join(what)}",
        hint=f"{' and '.join(hints)}; then scan again",
        cause="scanner-keyboard",
    )


def _input_method() -> WrongScan:
    return WrongScan(
        "the scan came in as different characters: an input method for Chinese, Japanese or Korean is on",
        hint="switch the input method to English; then scan again",
        cause="scanner-keyboard",
    )


def judge_test(text: str) -> str:
    """Return what the scanner adds to the test code, as text for people, empty if nothing.

    Raise WrongScan with what is wrong with the scanner or the keyboard, if *text* is not the test code.
    """
    text = text.strip("\t\r\n")[:LONGEST]
    before, code, after = text.partition(TEST_CODE)
    if code and len(before) + len(after) <= _MOST_ADDED:
        return _added(before, after)
    if code:
        raise _diagnosed(text if TEST_CODE in after else "")
    if with_caps_lock(TEST_CODE) in text:
        raise _wrong_keyboard(None, caps=True)
    if from_input_method(text):
        raise _input_method()
    raise _judged_unlike(text)


def _added(before: str, after: str) -> str:
    added = [
        f"{len(one)} character{'' if len(one) == 1 else 's'} {place} it"
        for one, place in ((before, "before"), (after, "after"))
        if one
    ]
    return " and ".join(added)


def _judged_unlike(text: str) -> WrongScan:
    """Return what happened to the test code on its way, if *text* is what is left of it."""
    tries = {(None, False): TEST_CODE} | {
        (keyboard.name, caps): with_caps_lock(keyboard.typed(TEST_CODE)) if caps else keyboard.typed(TEST_CODE)
        for keyboard in KEYBOARDS
        for caps in (False, True)
    }
    ratios = {key: SequenceMatcher(None, typed, text, autojunk=False).ratio() for key, typed in tries.items()}
    (layout, caps), ratio = max(ratios.items(), key=lambda item: item[1])
    if ratio < _ALIKE and not TEST_CODE.startswith(text[:8] or " "):
        return WrongScan("this is not the test code", hint="`rmfab printer test-code` prints it; scan that one")
    if layout is not None or caps:
        return _wrong_keyboard(layout, caps=caps)
    missing = "".join(letter for letter in dict.fromkeys(TEST_CODE) if letter not in text)
    if not text.rstrip().endswith("END"):
        what = "the test code was cut short: the scanner, or the terminal, is too slow"
    else:
        what = f"the scanner loses characters: {missing or 'some'}"
    return WrongScan(what, hint=_SET_UP, cause="scanner-setup")
