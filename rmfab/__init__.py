"""rmfab: the manufacturing line for ESP RainMaker devices.

The public API of the library: each name is imported from its module on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmfab.cloud.registration_files import ExportForm
    from rmfab.errors import RmfabError
    from rmfab.identity.factory_image import factory_image
    from rmfab.identity.identity import Identity
    from rmfab.ledger.store import Ledger
    from rmfab.nvs.packing import pack
    from rmfab.nvs.reader import read_image
    from rmfab.operations.accept_release import AcceptRequest, accept_release
    from rmfab.operations.advance import Advance, completed
    from rmfab.operations.build_files import BuildFilesRequest, build_files
    from rmfab.operations.check_cloud import CheckRequest, check_cloud
    from rmfab.operations.export_units import ExportUnitsRequest, export_units
    from rmfab.operations.generate import GenerateRequest, generate
    from rmfab.operations.import_batch import Imported, ImportRequest, import_batch
    from rmfab.operations.list_units import UnitQuery, list_units
    from rmfab.operations.open_registrar import CloudAccess
    from rmfab.operations.print_labels import LabelForm, LabelRequest, print_labels
    from rmfab.operations.register_units import RegisterRequest, register_units
    from rmfab.operations.reidentify import ReidentifyRequest, reidentify
    from rmfab.operations.run_line import LineRequest, LineRun, run_line
    from rmfab.operations.terminal import Terminal, Unattended
    from rmfab.operations.try_update import TryRequest, try_update
    from rmfab.operations.write_report import ReportRequest, write_report
    from rmfab.product.product import Product
    from rmfab.product.product_file import load_product
    from rmfab.product.vocabulary import Chip
    from rmfab.release.acceptance import Accepted
    from rmfab.secret import Secret
    from rmfab.virtual.bench.serving import serve
    from rmfab.workspace.create import create_workspace
    from rmfab.workspace.workspace import Workspace, open_workspace

__all__ = [
    "AcceptRequest",
    "Accepted",
    "Advance",
    "BuildFilesRequest",
    "CheckRequest",
    "Chip",
    "CloudAccess",
    "ExportForm",
    "ExportUnitsRequest",
    "GenerateRequest",
    "Identity",
    "ImportRequest",
    "Imported",
    "LabelForm",
    "LabelRequest",
    "Ledger",
    "LineRequest",
    "LineRun",
    "Product",
    "RegisterRequest",
    "ReidentifyRequest",
    "ReportRequest",
    "RmfabError",
    "Secret",
    "Terminal",
    "TryRequest",
    "Unattended",
    "UnitQuery",
    "Workspace",
    "accept_release",
    "build_files",
    "check_cloud",
    "completed",
    "create_workspace",
    "export_units",
    "factory_image",
    "generate",
    "import_batch",
    "list_units",
    "load_product",
    "open_workspace",
    "pack",
    "print_labels",
    "read_image",
    "register_units",
    "reidentify",
    "run_line",
    "serve",
    "try_update",
    "write_report",
]

_ROOMS = {
    "AcceptRequest": "rmfab.operations.accept_release",
    "Accepted": "rmfab.release.acceptance",
    "Advance": "rmfab.operations.advance",
    "BuildFilesRequest": "rmfab.operations.build_files",
    "CheckRequest": "rmfab.operations.check_cloud",
    "Chip": "rmfab.product.vocabulary",
    "CloudAccess": "rmfab.operations.open_registrar",
    "ExportForm": "rmfab.cloud.registration_files",
    "ExportUnitsRequest": "rmfab.operations.export_units",
    "GenerateRequest": "rmfab.operations.generate",
    "Identity": "rmfab.identity.identity",
    "ImportRequest": "rmfab.operations.import_batch",
    "Imported": "rmfab.operations.import_batch",
    "LabelForm": "rmfab.operations.print_labels",
    "LabelRequest": "rmfab.operations.print_labels",
    "Ledger": "rmfab.ledger.store",
    "LineRequest": "rmfab.operations.run_line",
    "LineRun": "rmfab.operations.run_line",
    "Product": "rmfab.product.product",
    "RegisterRequest": "rmfab.operations.register_units",
    "ReidentifyRequest": "rmfab.operations.reidentify",
    "ReportRequest": "rmfab.operations.write_report",
    "RmfabError": "rmfab.errors",
    "Secret": "rmfab.secret",
    "Terminal": "rmfab.operations.terminal",
    "TryRequest": "rmfab.operations.try_update",
    "Unattended": "rmfab.operations.terminal",
    "UnitQuery": "rmfab.operations.list_units",
    "Workspace": "rmfab.workspace.workspace",
    "accept_release": "rmfab.operations.accept_release",
    "build_files": "rmfab.operations.build_files",
    "check_cloud": "rmfab.operations.check_cloud",
    "completed": "rmfab.operations.advance",
    "create_workspace": "rmfab.workspace.create",
    "export_units": "rmfab.operations.export_units",
    "factory_image": "rmfab.identity.factory_image",
    "generate": "rmfab.operations.generate",
    "import_batch": "rmfab.operations.import_batch",
    "list_units": "rmfab.operations.list_units",
    "load_product": "rmfab.product.product_file",
    "open_workspace": "rmfab.workspace.workspace",
    "pack": "rmfab.nvs.packing",
    "print_labels": "rmfab.operations.print_labels",
    "read_image": "rmfab.nvs.reader",
    "register_units": "rmfab.operations.register_units",
    "reidentify": "rmfab.operations.reidentify",
    "run_line": "rmfab.operations.run_line",
    "serve": "rmfab.virtual.bench.serving",
    "try_update": "rmfab.operations.try_update",
    "write_report": "rmfab.operations.write_report",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'rmfab' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_ROOMS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
