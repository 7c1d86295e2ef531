"""PKCS #11 URIs: which token, which object, through which module. Source: RFC 7512, section 2.3.

A PIN never stands in the URI (`pin-value` is refused: the command line and its history are no place for it);
`pin-source` names a file that holds it.
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
    """What a URI says; None where it leaves something open. *key_id* is CKA_ID, *object* CKA_LABEL."""

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
        """Raises InputError where *text* is no PKCS #11 URI of a private key, or holds a PIN."""
        path, _, query = text.removeprefix("pkcs11:").partition("?")
        attributes = _attributes(path, ";", _KEY | _ELSEWHERE)
        options = _attributes(query, "&", _QUERY)
        for name in _ELSEWHERE & attributes.keys():
            _wrong(text, f'"{name}" is not looked at here', "token=…, serial=…, object=… and id=… find a key")
        if attributes.get("type", b"private") != b"private":
            _wrong(text, "a private key is wanted here", "type=private, or leave it out")
        if not attributes.keys() & {"object", "id"}:
            _wrong(text, "this names no key in the token", "object=LABEL, or id=%01")
        if "module-name" in options:
            _wrong(text, '"module-name" is not looked at here', "module-path=/usr/lib/….so")
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
        """The URI with *module* as its module-path, unless it has one or *module* is None or empty."""
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
    """The attributes in *text*. What is refused is not said again: it may be a PIN."""
    found: dict[str, bytes] = {}
    for part in text.split(separator) if text else ():
        name, equals, value = part.partition("=")
        if unquote(name).lower().startswith("pin") and name not in known:
            _wrong(_ANY, "a PIN does not belong on the command line", "pin-source=/path/of/a/file instead")
        if not equals or name in found or name not in known or _BAD_ESCAPE.search(value):
            what = f'"{name}" {_why(name, found, known)}' if _NAME.fullmatch(name) else "this is no PKCS #11 URI"
            _wrong(_ANY, what, "RFC 7512: pkcs11:token=ci;object=release")
        found[name] = unquote_to_bytes(value)
    return found


def _why(name: str, found: Mapping[str, bytes], known: set[str]) -> str:
    if name not in known:
        return "cannot stand in a PKCS #11 URI"
    return "stands twice" if name in found else "has no value that can be read"


def _text(attributes: Mapping[str, bytes], name: str, uri: str) -> str | None:
    value = attributes.get(name)
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        _wrong(uri, f'"{name}" is not UTF-8 text', "RFC 7512, section 2.3")


def _path(attributes: Mapping[str, bytes], name: str, uri: str) -> Path | None:
    text = _text(attributes, name, uri)
    if text is None:
        return None
    text = text.removeprefix("file://").removeprefix("file:")
    if not text or text.startswith("|") or "\0" in text:
        _wrong(uri, f'"{name}" names no file', f"{name}=/path/of/a/file")
    return Path(text)
