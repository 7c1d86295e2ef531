"""PKCS #11 URIs: token, object and module of a key. Source: RFC 7512, section 2.3.

A URI never contains a PIN: `pin-value` is rejected, because the command line and its history are visible. `pin-source`
names a file that contains the PIN.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote, unquote, unquote_to_bytes

from rmfab.errors import InputError

_KEY = {"token", "manufacturer", "serial", "model", "object", "id", "type"}
_ELSEWHERE = {
    "library-manufacturer",
    "library-version",
    "library-description",
    "slot-manufacturer",
    "slot-description",
    "slot-id",
}
_QUERY = {"pin-source", "module-name", "module-path"}
_ANY = "pkcs11:…"
_NAME = re.compile(r"[a-z][a-z-]{0,31}")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True)
class Pkcs11Uri:
    """The attributes of a URI, None for each that it omits. *key_id* is CKA_ID, *object* is CKA_LABEL."""

    text: str
    token: str | None = None
    serial: bytes | None = None
    manufacturer: str | None = None
    model: str | None = None
    object: str | None = None
    key_id: bytes | None = None
    module_path: Path | None = None
    pin_file: Path | None = None

    @classmethod
    def parse(cls, text: str) -> Pkcs11Uri:
        """Return the URI in *text*. Raise InputError if it is not the URI of a private key, or contains a PIN."""
        path, _, query = text.removeprefix("pkcs11:").partition("?")
        attributes = _attributes(path, ";", _KEY | _ELSEWHERE)
        options = _attributes(query, "&", _QUERY)
        for name in _ELSEWHERE & attributes.keys():
            _wrong(text, f'"{name}" is not supported', "select the key by token=…, serial=…, object=… or id=…")
        if attributes.get("type", b"private") != b"private":
            _wrong(text, "expected a private key", "use type=private, or leave type out")
        if not attributes.keys() & {"object", "id"}:
            _wrong(text, "no key given", "add object=LABEL or id=%01")
        if "module-name" in options:
            _wrong(text, '"module-name" is not supported', "use module-path=/usr/lib/….so")
        return cls(
            text,
            _text(attributes, "token", text),
            attributes.get("serial"),
            _text(attributes, "manufacturer", text),
            _text(attributes, "model", text),
            _text(attributes, "object", text),
            attributes.get("id"),
            _path(options, "module-path", text),
            _path(options, "pin-source", text),
        )

    def with_module(self, module: str | None) -> Pkcs11Uri:
        """Return the URI with *module* as module-path, unless it has one or *module* is None or empty."""
        if self.module_path is not None or not module:
            return self
        separator = "&" if "?" in self.text else "?"
        return Pkcs11Uri.parse(f"{self.text}{separator}module-path={quote(module)}")

    @property
    def named(self) -> str:
        """The token in words, for a prompt."""
        return f"the token {self.token}" if self.token else "the PKCS #11 token"


def _wrong(where: str, what: str, hint: str) -> NoReturn:
    raise InputError(what, where=where, hint=hint, cause="key-uri")


def _attributes(text: str, separator: str, known: set[str]) -> dict[str, bytes]:
    """Return the attributes in *text*. Errors never repeat a rejected attribute: it may be a PIN."""
    found: dict[str, bytes] = {}
    for part in text.split(separator) if text else ():
        name, equals, value = part.partition("=")
        if unquote(name).lower().startswith("pin") and name not in known:
            _wrong(_ANY, "a PIN is not allowed on the command line", "use pin-source=/path/of/a/file")
        if not equals or name in found or name not in known or _BAD_ESCAPE.search(value):
            what = f'"{name}" {_why(name, found, known)}' if _NAME.fullmatch(name) else "not a PKCS #11 URI"
            _wrong(_ANY, what, "use the form of RFC 7512: pkcs11:token=ci;object=release")
        found[name] = unquote_to_bytes(value)
    return found


def _why(name: str, found: Mapping[str, bytes], known: set[str]) -> str:
    if name not in known:
        return "is not an attribute of a PKCS #11 URI"
    return "is given twice" if name in found else "has no valid value"


def _text(attributes: Mapping[str, bytes], name: str, uri: str) -> str | None:
    value = attributes.get(name)
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        _wrong(uri, f'"{name}" is not UTF-8 text', "see RFC 7512, section 2.3")


def _path(attributes: Mapping[str, bytes], name: str, uri: str) -> Path | None:
    text = _text(attributes, name, uri)
    if text is None:
        return None
    text = text.removeprefix("file://").removeprefix("file:")
    if not text or text.startswith("|") or "\0" in text:
        _wrong(uri, f'"{name}" is not the path of a file', f"use {name}=/path/of/a/file")
    return Path(text)
