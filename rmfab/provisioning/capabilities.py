"""What a unit says it can do: the JSON of `proto-ver`.

`prov.ver` is not looked at: firmware of the same protocol has called it v1.1 and netprov-v1.2.
Source: network_provisioning, src/manager.c; ESP-IDF v4 and v5, wifi_provisioning/src/manager.c (no sec_ver there yet).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rmfab.product.vocabulary import Security
from rmfab.provisioning.failures import ProtocolError
from rmfab.provisioning.transport import VERSION, ProvisioningTransport

_CLAIMS = frozenset({"claim", "camera_claim"})


@dataclass(frozen=True)
class Capabilities:
    """What a unit offers. *claims*: it waits for claiming, so that it has no credentials from its factory data.

    *pop* is False where security 1 asks for none; *sec_patch_ver* is that of security 2.
    """

    sec_ver: Security
    sec_patch_ver: int = 0
    pop: bool = True
    wifi_scan: bool = False
    claims: bool = False
    challenge_response: bool = False


def read_capabilities(transport: ProvisioningTransport) -> Capabilities:
    """Asks the unit. Raises what `Transport.exchange` raises, and ProtocolError."""
    return parse_capabilities(transport.exchange(VERSION, b"---"))


def parse_capabilities(data: bytes) -> Capabilities:
    """Reads the answer of `proto-ver`; keys that nothing here needs are ignored. Raises ProtocolError."""
    try:
        told = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("proto-ver answers with what is no JSON") from error
    prov = _table(told, "prov")
    if prov is None:
        raise ProtocolError("proto-ver tells nothing about provisioning")
    words = _words(prov)
    return Capabilities(
        _security(prov, words),
        _patch(prov),
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
        raise ProtocolError("proto-ver names a security scheme that rmfab does not know", cause="unknown-security")
    return Security(told)


def _patch(prov: dict[str, Any]) -> int:
    told = prov.get("sec_patch_ver", 0)
    if isinstance(told, bool) or told not in (0, 1):
        raise ProtocolError(
            "proto-ver names a revision of security 2 that rmfab does not know", cause="unknown-security"
        )
    return int(told)


def _table(told: object, key: str) -> dict[str, Any] | None:
    value = told.get(key) if isinstance(told, dict) else None
    return value if isinstance(value, dict) else None


def _words(table: dict[str, Any] | None) -> frozenset[str]:
    told = table.get("cap") if table else None
    return frozenset(word for word in told if isinstance(word, str)) if isinstance(told, list) else frozenset()
