"""The reply to a GET or HEAD of a file: the whole file, one range of it, or only a status.

Sources: RFC 9110 §13.1 (If-Match, If-None-Match, If-Range) and §13.2.2 (their order), §14.1 and §14.2 (Range).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e]*")')
_RANGE = re.compile(r"bytes=[ \t]*(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))[ \t]*", re.IGNORECASE)


@dataclass(frozen=True)
class RangeReply:
    """*status*, and the *length* bytes from *first* that follow it."""

    status: HTTPStatus
    first: int = 0
    length: int = 0

    def content_range(self, size: int) -> str | None:
        """Return the Content-Range header for a file of *size* bytes, or None."""
        if self.status is HTTPStatus.PARTIAL_CONTENT:
            return f"bytes {self.first}-{self.first + self.length - 1}/{size}"
        if self.status is HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return f"bytes */{size}"
        return None


def judge(method: str, headers: Mapping[str, str], etag: str, size: int) -> RangeReply:
    """Return the reply from a file of *size* bytes with the strong entity tag *etag*.

    *headers* are keyed by lower-case name, duplicate fields joined by commas. A Range that is invalid or requests
    several ranges is ignored, as the RFC allows.
    """
    if "if-match" in headers and not _names(headers["if-match"], etag, weak=False):
        return RangeReply(HTTPStatus.PRECONDITION_FAILED)
    if "if-none-match" in headers and _names(headers["if-none-match"], etag, weak=True):
        return RangeReply(HTTPStatus.NOT_MODIFIED)
    whole = RangeReply(HTTPStatus.OK, 0, size)
    if method != "GET" or headers.get("if-range", etag).strip() != etag:
        return whole
    match = _RANGE.fullmatch(headers.get("range", ""))
    return whole if match is None else _range(match, size, whole)


def joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the header fields of a request as `judge` expects them."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return headers


def _names(field: str, etag: str, *, weak: bool) -> bool:
    """Whether a list of entity tags contains *etag*; a weak tag counts only in *weak* comparison."""
    if field.strip() == "*":
        return True
    return any(tag == etag and (weak or not mark) for mark, tag in _TAG.findall(field))


def _range(match: re.Match[str], size: int, whole: RangeReply) -> RangeReply:
    """Return the reply to one range; a last byte before the first makes the range invalid."""
    start, end, suffix = match.groups()
    if suffix is not None:
        first, last = max(0, size - int(suffix)), size - 1
    else:
        first, last = int(start), min(int(end), size - 1) if end else size - 1
        if end and int(end) < first:
            return whole
    if first >= size:
        return RangeReply(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
    return RangeReply(HTTPStatus.PARTIAL_CONTENT, first, last - first + 1)
