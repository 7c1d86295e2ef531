"""Virtual boards: simulated chips that unmodified esptool can flash, and that boot what was written.

It may import `nvs`, `release`, `product` and the files at the top of rmfab, never the host's side (board, provisioning,
line, ledger, label). Start with `spec.py`, the properties of a board, then `chip/`, `firmware/`, `build/` and `bench/`,
in this order. `cloud/` is apart from them: the APIs with which clouds register units.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmfab.virtual.bench.serving import BoardHandle, serve
    from rmfab.virtual.faults import BoardFault, FaultCall
    from rmfab.virtual.network import AccessPoint, Route
    from rmfab.virtual.spec import BoardSpec, PortKind, Strap

_HOMES = {
    "AccessPoint": "network",
    "BoardFault": "faults",
    "BoardHandle": "bench.serving",
    "BoardSpec": "spec",
    "FaultCall": "faults",
    "PortKind": "spec",
    "Route": "network",
    "Strap": "spec",
    "serve": "bench.serving",
}

__all__ = ["AccessPoint", "BoardFault", "BoardHandle", "BoardSpec", "FaultCall", "PortKind", "Route", "Strap", "serve"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
