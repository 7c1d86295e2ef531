"""An image as a table or as a JSON document. Secrets are redacted unless *reveal* is true.

Strings and blobs are secret unless their key is public. Numbers are secret if their key says so: a PIN, a passcode.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any

from rmfab.nvs.reader import Image
from rmfab.nvs.table import ENTRIES_PER_PAGE, PAGE_SIZE, Entry, PageState

PUBLIC_KEYS = frozenset({"node_id", "mqtt_host", "mqtt_cred_host", "client_cert"})
"""Keys of `rmaker_creds` that are not secret."""

_SECRET_NAME = re.compile(
    r"pass|pswd|pwd|secret|priv|token|seed|salt|random|nonce|verif|cred|unlock|code|otp|psk"
    r"|\b(?:pins?|pop|puk|pw|keys?|pmk|ptk|ltk|irk|sig|auth)\b"
)
"""Names of secrets, in words as `_words` makes them: long ones anywhere, short ones as words."""

_WIDTH = 60
_HEADINGS = ("NAMESPACE", "KEY", "TYPE", "SIZE", "VALUE")


def document(image: Image, *, reveal: bool) -> dict[str, Any]:
    """Return the image for `json.dumps`. A blob has its value as `hex`, and also as `value` if it is text."""
    return {
        "size": len(image.pages) * PAGE_SIZE,
        "mountable": image.mountable,
        "pages": [
            {
                "page": page.number,
                "state": page.state.name.lower(),
                "sequence": page.sequence if page.version else None,
                "version": page.version or None,
                "written": page.written,
                "erased": page.erased,
            }
            for page in image.pages
        ],
        "entries": [_described(entry, reveal) for entry in image.entries],
        "findings": [
            {
                "severity": finding.severity.value,
                "kind": finding.kind,
                "page": finding.page,
                "entry": finding.entry,
                "text": finding.text,
            }
            for finding in image.findings
        ],
    }


def _described(entry: Entry, reveal: bool) -> dict[str, Any]:
    described: dict[str, Any] = {
        "namespace": entry.namespace,
        "key": entry.key,
        "type": entry.kind.value,
        "size": entry.size,
    }
    if is_secret(entry) and not reveal:
        return described | {"redacted": True}
    if isinstance(entry.value, bytes):
        described["hex"] = entry.value.hex()
        text = _text(entry.value)
        return described if text is None else described | {"value": text}
    value = entry.value
    return described | {"value": str(value) if isinstance(value, float) and not isfinite(value) else value}


def is_secret(entry: Entry) -> bool:
    """Return whether the value of *entry* must be redacted."""
    if entry.key in PUBLIC_KEYS:
        return False
    return entry.kind.width == 0 or _SECRET_NAME.search(_words(entry.key)) is not None


def _words(key: str) -> str:
    """Return the words of a key in lower case: `setupPin2` and `SETUP_PIN` are `setup pin`."""
    return _SEPARATORS.sub(" ", _HUMPS.sub(" ", key)).lower()


_HUMPS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SEPARATORS = re.compile(r"[^A-Za-z]+")


def lines(image: Image, *, reveal: bool) -> Iterator[str]:
    """Yield the image as lines of text: a table of its entries, then one line about its pages."""
    rows = [_HEADINGS, *(_row(entry, reveal) for entry in image.entries)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_HEADINGS) - 1)]
    for row in rows:
        yield "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
    yield _page_line(image)


def _row(entry: Entry, reveal: bool) -> tuple[str, ...]:
    return entry.namespace, entry.key, entry.kind.value, str(entry.size), _shown(entry, reveal)


def _shown(entry: Entry, reveal: bool) -> str:
    if is_secret(entry) and not reveal:
        return f"<redacted, {entry.size} bytes>"
    value = entry.value
    if isinstance(value, (int, float)):
        return str(value)
    text = value if isinstance(value, str) else _text(value)
    if text is None:
        text = value.hex() if isinstance(value, bytes) else value
    safe = "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
    return safe if reveal or len(safe) <= _WIDTH else f"{safe[: _WIDTH - 1]}…"


def _text(value: bytes) -> str | None:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return text if text and all(letter.isprintable() or letter in "\r\n\t" for letter in text) else None


def _page_line(image: Image) -> str:
    used = [page for page in image.pages if page.state is not PageState.UNINITIALIZED]
    parts: Sequence[str] = [
        f"{page.number} {page.state.name.lower()} ({page.written} of {ENTRIES_PER_PAGE} entries)" for page in used
    ]
    blank = len(image.pages) - len(used)
    return f"pages: {', '.join([*parts, f'{blank} blank'])}"
