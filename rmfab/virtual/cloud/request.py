"""An HTTP request and its answer, as values: what an API sees."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class ApiRequest:
    """A request: *target* with its query, as it was sent; *fields* by lower-case name."""

    method: str
    target: str
    fields: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def path(self) -> str:
        """The path of the target, as it was sent."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The query of the target, decoded."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def token(self) -> str:
        """The value of `Authorization`."""
        return self.fields.get("authorization", "")

    def json(self) -> dict[str, Any] | None:
        """Return the JSON object in the body, None if it is none, or not declared as one."""
        if "json" not in self.fields.get("content-type", ""):
            return None
        try:
            value = json.loads(self.body)
        except ValueError:
            return None
        return value if isinstance(value, dict) else None


@dataclass(frozen=True)
class ApiAnswer:
    """An answer: JSON, or with *text* an XML document of the storage."""

    status: int
    value: Mapping[str, Any] | None = None
    text: str = ""

    @property
    def body(self) -> bytes:
        """What is sent."""
        return self.text.encode() if self.value is None else json.dumps(dict(self.value)).encode()

    @property
    def content_type(self) -> str:
        """The type of the body."""
        return "application/xml" if self.value is None else "application/json"


class VirtualCloud(Protocol):
    """A cloud that answers requests."""

    def answer(self, request: ApiRequest) -> ApiAnswer:
        """Return the answer to *request*, after it took effect."""
