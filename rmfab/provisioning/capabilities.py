"""The capabilities that a unit reports: the JSON of `proto-ver`.

`prov.ver` is ignored: firmware of the same protocol has reported v1.1 and netprov-v1.2.
Source: network_provisioning, src/manager.c; ESP-IDF v4 and v5, wifi_provisioning/src/manager.c (without sec_ver).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rmfab.json_text import parse_json
from rmfab.product.vocabulary import Security
from rmfab.provisioning.failures import ProtocolError
from rmfab.provisioning.transport import VERSION, ProvisioningTransport

_CLAIMS = frozenset({"claim", "camera_claim"})


@dataclass(frozen=True)
class Capabilities:
    """The capabilities of a unit. *claims*: it waits for assisted claiming, and ignores its factory credentials.

    *pop* is False if security 1 does not require one; *sec_patch_ver* is that of security 2.
    """

    sec_ver: Security
    sec_patch_ver: int = 0
    pop: bool = True
    wifi_scan: bool = False
    claims: bool = False
    challenge_response: bool = False


def read_capabilities(transport: ProvisioningTransport) -> Capabilities:
    """Read the unit's capabilities. Raise what `ProvisioningTransport.exchange` raises, or ProtocolError."""
    return parse_capabilities(transport.exchange(VERSION, b"---"))


def parse_capabilities(data: bytes) -> Capabilities:
    """Parse the answer of `proto-ver`; ignore unknown keys. Raise ProtocolError."""
    try:
        told = parse_json(data)
    except ValueError as error:
        raise ProtocolError("the answer of proto-ver is not JSON") from error
    prov = _table(told, "prov")
    if prov is None:
        raise ProtocolError("the answer of proto-ver has no provisioning data")
    words = _words(prov)
    security = _security(prov, words)
    return Capabilities(
        security,
        _patch(prov) if security is Security.SRP6A else 0,
        pop="no_pop" not in words and "no_sec" not in words,
        wifi_scan="wifi_scan" in words,
        claims=bool(_CLAIMS & _words(_table(told, "rmaker"))),
        challenge_response="ch_resp" in _words(_table(told, "rmaker_extra")),
    )


def _security(prov: dict[str, Any], words: frozenset[str]) -> Security:
    told = prov.get("sec_ver")
    if told is None:
        return Security.PLAIN if "no_sec" in words else Security.X25519
    if isinstance(told, bool) or told not in (0, 1, 2):
        raise ProtocolError("proto-ver reports a security scheme that rmfab does not support", cause="unknown-security")
    return Security(told)


def _patch(prov: dict[str, Any]) -> int:
    told = prov.get("sec_patch_ver", 0)
    if isinstance(told, bool) or told not in (0, 1):
        raise ProtocolError(
            "proto-ver reports a revision of security 2 that rmfab does not support", cause="unknown-security"
        )
    return int(told)


def _table(told: object, key: str) -> dict[str, Any] | None:
    value = told.get(key) if isinstance(told, dict) else None
    return value if isinstance(value, dict) else None


def _words(table: dict[str, Any] | None) -> frozenset[str]:
    told = table.get("cap") if table else None
    return frozenset(word for word in told if isinstance(word, str)) if isinstance(told, list) else frozenset()
