"""Virtual boards: chips that unmodified esptool can flash and that boot what was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmfab.virtual.faults import Fault, FaultCall
    from rmfab.virtual.network import Network
    from rmfab.virtual.serving import BoardHandle, serve
    from rmfab.virtual.spec import BoardSpec, Link, Strap

_HOMES = {
    "BoardHandle": "serving",
    "BoardSpec": "spec",
    "Fault": "faults",
    "FaultCall": "faults",
    "Link": "spec",
    "Network": "network",
    "Strap": "spec",
    "serve": "serving",
}

__all__ = ["BoardHandle", "BoardSpec", "Fault", "FaultCall", "Link", "Network", "Strap", "serve"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
