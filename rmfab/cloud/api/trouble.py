"""What can go wrong with a request, and what its answer means: pure judges of exceptions and replies.

Sources: RFC 9110 (§10.2.3 Retry-After, §15), openssl-verification-options(1) for the results of the verification.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from rmfab.errors import StationError, one_line
from rmfab.json_text import parse_json

TOLERANCE = timedelta(minutes=5)
"""How far the clocks of client and server may be apart: the limit of AWS for signatures (Signature Version 4)."""

_HTML = re.compile(rb"\s*<(?:!doctype|html|head|body|\?xml)", re.IGNORECASE)
_STRANGERS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG")
_VERIFY = (
    (62, "api-name", "the server's certificate is for a different name"),
    (64, "api-name", "the server's certificate is for a different address"),
    (9, "api-certificate", "the server's certificate is not yet valid"),
    (10, "api-certificate", "the server's certificate has expired"),
)
_AGAIN = "run the same command again: it continues where it stopped"
_REACH = "check the URL and the network, then run the same command again: it continues where it stopped"
_LONGEST_WAIT = 300.0


class PassingTrouble(StationError):
    """Trouble that may pass: the same request may succeed later. *after*: seconds that the server asks for, if any."""

    def __init__(
        self, what: str, *, where: str, cause: str, hint: str | None = None, after: float | None = None
    ) -> None:
        super().__init__(what, where=where, hint=hint or _AGAIN, cause=cause)
        self.after = after


@dataclass(frozen=True)
class Reply:
    """An answer: *fields* by lower-case name, and the whole *body*."""

    status: int
    fields: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def well(self) -> bool:
        """Whether the request succeeded."""
        return 200 <= self.status < 300

    def value(self, where: str) -> dict[str, Any]:
        """Return its JSON object. Raise StationError if it is a page (`api-html`), PassingTrouble if it is broken."""
        if _HTML.match(self.body) or "html" in self.fields.get("content-type", ""):
            raise StationError(
                f"the answer is a web page, not JSON (status {self.status})",
                where=where,
                hint="check the URL of the API, and whether a proxy or a sign-in page of the network answers",
                cause="api-html",
            )
        try:
            value = parse_json(self.body) if self.body else {}
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise PassingTrouble(
                f"the answer is not a JSON object (status {self.status})", where=where, cause="api-answer"
            )
        return value


def judge_status(reply: Reply, where: str, told: str) -> None:
    """Raise StationError for a redirection, PassingTrouble if the server is busy or fails. *told*: what it says."""
    ending = f": {told}" if told else ""
    if 300 <= reply.status < 400:
        raise StationError(
            f"the server redirects to a different place (status {reply.status})",
            where=where,
            hint="set the URL of the API as the deployment gives it: credentials are not sent elsewhere",
            cause="api-redirect",
        )
    if reply.status in (429, 503):
        after = retry_after(reply)
        raise PassingTrouble(
            f"the server is busy (status {reply.status}){ending}", where=where, cause="api-busy", after=after
        )
    if reply.status >= 500:
        raise PassingTrouble(f"the server fails (status {reply.status}){ending}", where=where, cause="api-failed")


def retry_after(reply: Reply) -> float | None:
    """Return for how many seconds the server asks to wait, at most five minutes; None if it does not."""
    text = reply.fields.get("retry-after", "").strip()
    if re.fullmatch("[0-9]{1,9}", text):
        return min(float(text), _LONGEST_WAIT)
    moment, sent = _moment(text), served_at(reply)
    if moment is None or sent is None:
        return None
    return min(max(0.0, (moment - sent).total_seconds()), _LONGEST_WAIT)


def served_at(reply: Reply) -> datetime | None:
    """Return the server's time, None if it does not tell it."""
    return _moment(reply.fields.get("date", ""))


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def wrong_clock(reply: Reply, now: datetime, where: str) -> StationError | None:
    """Return the error to report if a refusal is the fault of this host's clock, None if the clock is right."""
    served = served_at(reply)
    if served is None or abs(served - now) <= TOLERANCE:
        return None
    return StationError(
        f"this host's clock is wrong: here it is {now:%Y-%m-%d %H:%M}, at the server {served:%Y-%m-%d %H:%M} UTC",
        where=where,
        hint="set the clock: the server refuses tokens and signatures of a different time",
        cause="api-clock",
    )


def judge_error(error: Exception, where: str) -> StationError:
    """Return what an exception of `http.client`, `ssl` or `socket` means; PassingTrouble if it may pass."""
    match error:
        case ssl.SSLCertVerificationError():
            return _untrusted(error, where)
        case ssl.SSLError() if any(name in (error.reason or "") for name in _STRANGERS):
            hint = "check the URL and its port, and whether a proxy answers"
            return StationError("the server does not speak TLS", where=where, hint=hint, cause="api-tls")
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return PassingTrouble("the server closed the connection", where=where, cause="api-away")
        case ssl.SSLError():
            reason = (error.reason or str(error)).lower().replace("_", " ")
            return StationError(f"TLS fails: {reason}", where=where, hint="compare the TLS versions", cause="api-tls")
        case socket.gaierror():
            hint = "check the URL, and the DNS of this host"
            return PassingTrouble("the name of the server has no address", where=where, hint=hint, cause="api-dns")
        case TimeoutError():
            return PassingTrouble("the server does not answer in time", where=where, cause="api-silent")
        case http.client.RemoteDisconnected() | ConnectionError():
            what = f"no connection: {one_line(getattr(error, 'strerror', None) or str(error))}"
            return PassingTrouble(what, where=where, hint=_REACH, cause="api-away")
        case OSError():
            what = f"no connection: {one_line(error.strerror or str(error))}"
            return PassingTrouble(what, where=where, hint=_REACH, cause="api-away")
    return PassingTrouble("the answer is not valid HTTP, or incomplete", where=where, cause="api-answer")


def _untrusted(error: ssl.SSLCertVerificationError, where: str) -> StationError:
    for code, cause, what in _VERIFY:
        if code == error.verify_code:
            hint = "check the clock of this host" if cause == "api-certificate" else "check the URL of the API"
            return StationError(what, where=where, hint=hint, cause=cause)
    return StationError(
        f"the server's certificate is not trusted: {error.verify_message}",
        where=where,
        hint="pass its CA with --ca; or a proxy answers in its place",
        cause="api-ca",
    )
