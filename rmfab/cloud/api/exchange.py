"""JSON over HTTPS: what both APIs share. It judges answers, keeps secrets out of messages, and uploads a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from rmfab.cloud.api.https import HttpsClient
from rmfab.cloud.api.registrar import RegistrationFile
from rmfab.cloud.api.tokens import Tokens, expiry
from rmfab.cloud.api.trouble import PassingTrouble, Reply, judge_status, wrong_clock
from rmfab.errors import InputError, StationError, one_line
from rmfab.secret import Secret, redact

JSON = {"Content-Type": "application/json"}
CSV = "application/octet-stream"
_TOLD = ("description", "message", "Message", "error")
_MOST_TOLD = 300


class Exchange:
    """Requests with *client* to the API at the URL *api*. Messages contain none of the *secrets* that were sent."""

    def __init__(self, client: HttpsClient, api: str) -> None:
        self.client = client
        self.api = api
        self.secrets: set[Secret[str]] = set()

    def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> tuple[Reply, dict[str, Any]]:
        """Send a request and return the answer with its JSON object, also one that says that the request is wrong.

        Raise StationError; PassingTrouble if the server is busy, fails, or its answer is lost.
        """
        reply = self.client.ask(method, url, headers, body)
        try:
            value = reply.value(self.place(url))
        except StationError:
            judge_status(reply, self.place(url), "")
            raise
        judge_status(reply, self.place(url), self.told(value))
        return reply, value

    def refused(self, reply: Reply, value: Mapping[str, Any], url: str, hint: str | None = None) -> StationError:
        """Return the error for a request that the server refuses: the clock's fault, or what the server says."""
        place = self.place(url)
        clock = wrong_clock(reply, self.client.now(), place)
        if clock is not None and reply.status in (401, 403):
            return clock
        told = self.told(value)
        what = f"the server refuses the request (status {reply.status})" + (f": {told}" if told else "")
        return StationError(what, where=place, hint=hint, cause="api-refused")

    def told(self, value: Mapping[str, Any]) -> str:
        """Return what an answer says to people, without secrets."""
        text = next((value[name] for name in _TOLD if isinstance(value.get(name), str) and value[name]), "")
        return self.clean(text)

    def clean(self, text: str) -> str:
        """Return *text* of the server on one line, without secrets."""
        return one_line(redact(text, *self.secrets), _MOST_TOLD)

    def text(self, value: Mapping[str, Any], name: str, url: str) -> str:
        """Return the string *name* of an answer. Raise PassingTrouble if it is missing."""
        found = value.get(name)
        if not isinstance(found, str) or not found:
            raise PassingTrouble(f'the answer has no "{name}"', where=self.place(url), cause="api-answer")
        return found

    def put(self, url: str, file: RegistrationFile) -> None:
        """Upload *file* to the presigned *url*, which is valid once.

        Raise PassingTrouble also if it is refused: a new URL may succeed.
        """
        file.stream.seek(0)
        headers = {"Content-Type": CSV, "Content-Length": str(file.size)}
        signed = parse_qs(urlsplit(url).query).get("X-Amz-SignedHeaders", [""])[0].lower().split(";")
        if "if-none-match" in signed:  # RainMaker Neo signs that nothing is overwritten
            headers["If-None-Match"] = "*"
        reply = self.client.ask("PUT", url, headers, file.stream)
        judge_status(reply, self.place(url), "")
        if not reply.well:
            clock = wrong_clock(reply, self.client.now(), self.place(url))
            what = f"the storage refuses the upload (status {reply.status})"
            raise clock or PassingTrouble(what, where=self.place(url), cause="upload-refused")
        if reply.body.strip():  # the storage answers with nothing: it was somebody else
            reply.value(self.place(url))

    def place(self, url: str) -> str:
        """Return host and path of *url*, for messages: a query may authorise."""
        parts = urlsplit(url)
        return f"{parts.netloc}{parts.path}"


def encoded(value: Mapping[str, Any]) -> bytes:
    """Return *value* as the body of a request."""
    return json.dumps(value).encode()


def wrong_sign_in(user: str, told: str, api: str) -> InputError:
    """Return the error for a sign-in that the cloud refuses."""
    return InputError(
        f"the cloud refuses the sign-in of {user}: {told}",
        where=api,
        hint="check user and password: it is the account of an administrator of the deployment",
        cause="sign-in",
    )


def refuse_expired(tokens: Tokens, reply: Reply, exchange: Exchange) -> None:
    """Raise StationError (cause `api-clock`) if *tokens*, which *reply* has just brought, have expired here."""
    if tokens.valid(exchange.client.now()):
        return
    end = expiry(tokens.access.reveal())
    clock = exchange.refused(Reply(401, reply.fields, b""), {}, exchange.api)
    if clock.cause == "api-clock":
        raise clock
    raise PassingTrouble(
        f"a new token has already expired ({end:%Y-%m-%d %H:%M} UTC)", where=exchange.api, cause="api-answer"
    )
