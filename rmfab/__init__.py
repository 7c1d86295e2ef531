"""rmfab: the manufacturing line for ESP RainMaker devices.

The library's front door: each name is imported from its room when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmfab.errors import RmfabError
    from rmfab.identity.factory_image import factory_image
    from rmfab.identity.identity import Identity
    from rmfab.label.content import Label
    from rmfab.label.make_sheet import make_sheet
    from rmfab.ledger.store import Ledger
    from rmfab.line.floor import Floor
    from rmfab.line.job import Job
    from rmfab.nvs.packing import pack
    from rmfab.nvs.reader import read_image as read_nvs
    from rmfab.product.product import Product
    from rmfab.product.product_file import load_product
    from rmfab.product.vocabulary import Chip
    from rmfab.release.bundle import build_bundle
    from rmfab.release.opening import open_release
    from rmfab.release.preflight import preflight
    from rmfab.release.release import Release
    from rmfab.secret import Secret
    from rmfab.virtual.bench.serving import serve
    from rmfab.workspace import Workspace, open_workspace

__all__ = [
    "Chip",
    "Floor",
    "Identity",
    "Job",
    "Label",
    "Ledger",
    "Product",
    "Release",
    "RmfabError",
    "Secret",
    "Workspace",
    "build_bundle",
    "factory_image",
    "load_product",
    "make_sheet",
    "open_release",
    "open_workspace",
    "pack",
    "preflight",
    "read_nvs",
    "serve",
]

_ROOMS = {
    "Chip": "rmfab.product.vocabulary",
    "Floor": "rmfab.line.floor",
    "Identity": "rmfab.identity.identity",
    "Job": "rmfab.line.job",
    "Label": "rmfab.label.content",
    "Ledger": "rmfab.ledger.store",
    "Product": "rmfab.product.product",
    "Release": "rmfab.release.release",
    "RmfabError": "rmfab.errors",
    "Secret": "rmfab.secret",
    "Workspace": "rmfab.workspace",
    "build_bundle": "rmfab.release.bundle",
    "factory_image": "rmfab.identity.factory_image",
    "load_product": "rmfab.product.product_file",
    "make_sheet": "rmfab.label.make_sheet",
    "open_release": "rmfab.release.opening",
    "open_workspace": "rmfab.workspace",
    "pack": "rmfab.nvs.packing",
    "preflight": "rmfab.release.preflight",
    "read_nvs": "rmfab.nvs.reader",
    "serve": "rmfab.virtual.bench.serving",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'rmfab' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_ROOMS[name]), "read_image" if name == "read_nvs" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
