"""The step `reset`: return the unit to its state as shipped, with its identity untouched.

The step checks the factory partition by MD5, erases `nvs` (and what `[factory] erase` names), and restarts the unit,
which must offer provisioning again under the same name. It never touches the factory partition, `nvs_key` or
`esp_secure_cert`.

If the firmware has closed the ROM's download mode, only its console is left: it erases `nvs` itself, and its output
before and afterwards is the only proof.

Without a release, the one that the unit was flashed with is found by the digest that the ledger records.
"""

from __future__ import annotations

import time

from rmfab.board.esp.facts import BoardFacts
from rmfab.board.esp.loader import Loader
from rmfab.board.unit_console import UnitConsole
from rmfab.errors import InputError, UnitFault
from rmfab.identity.identity import Identity
from rmfab.identity.node_id import judge_same_node
from rmfab.line.binding import find_unit, flashed_release
from rmfab.line.boot_judge import judge_node
from rmfab.line.ending import Passed, Skipped
from rmfab.line.job import PreparedRelease
from rmfab.line.listening import NODE_ID_ANSWER, await_provisioning, listen
from rmfab.line.stages import AsNew, Bound, Identified, OnSlot
from rmfab.line.unit_flash import into_stub, own_factory, same_factory
from rmfab.line.visit import Visit
from rmfab.nvs.reader import read_image
from rmfab.release.partition_table import DataSubtype
from rmfab.release.plan import erased_partitions
from rmfab.release.release import Release

_RESET = "reset-to-factory"
_ASK_SECONDS = 1.0
_NAME_RELEASE = "use --release with a release file or a build folder"
_STATION_KEYS = ("sta.ssid", "sta.pswd")


def reset(visit: Visit, stage: OnSlot | Identified) -> Passed[AsNew]:
    """Erase the traces of use, and check that the unit is as new."""
    connected = None
    if visit.job.firmware is None and not visit.board.unwired:
        connected = _recall_release(visit)
    why, firmware = visit.unresettable, visit.job.firmware
    if why is not None or firmware is None:  # on an unwired slot there is a reason, perhaps without a release
        raise Skipped(why)
    release = firmware.release
    bound = stage.bound if isinstance(stage, Identified) else None
    if release.configured.closes_download_mode:
        return _without_loader(visit, bound)
    loader, facts = connected or into_stub(visit)
    bound = bound or find_unit(visit, facts.mac)
    if bound is None:
        raise _unbound()
    digest = own_factory(visit, loader, bound.identity, release)
    if visit.job.console_reset:
        erased = _by_console(visit, bound.identity)
        loader, _ = into_stub(visit)
        _no_station_credentials(loader, release)
    else:
        erased = _by_loader(visit, loader, release)
    same_factory(visit, loader, release, digest)
    visit.holds_network = False
    await_provisioning(visit, bound.identity)
    return Passed(AsNew(bound), {"erased": erased, "factory": digest})


def _without_loader(visit: Visit, known: Bound | None) -> Passed[AsNew]:
    bound = known or find_unit(visit, None)
    if bound is None:
        raise UnitFault(
            "cannot read which unit this is: its firmware has closed the download mode",
            hint="name the expected unit with --serial",
            cause="unbound",
        )
    erased = _by_console(visit, bound.identity)
    visit.holds_network = False
    return Passed(AsNew(bound), {"erased": erased, "download_mode": "closed"})


def _by_loader(visit: Visit, loader: Loader, release: Release) -> list[str]:
    """Erase `nvs` and what `[factory] erase` names, except the OTA data, which selects the app to boot."""
    factory = visit.job.product.factory
    rows = [
        row
        for row in erased_partitions(release, factory)
        if not row.is_data(DataSubtype.OTA) and row.label != factory.partition
    ]
    for row in rows:
        visit.keep_going()
        loader.erase(row.offset, row.size)
        if not loader.is_blank(row.offset, row.size):
            raise UnitFault(
                f"{row.label} is not blank after the erase",
                hint="set the board aside (bad flash chip)",
                cause="erase-failed",
            )
    return [row.label for row in rows]


def _by_console(visit: Visit, identity: Identity) -> list[str]:
    """Run the firmware's own factory reset, which erases `nvs` and restarts. Never `clear-claim-data`."""
    commands = visit.proofs.commands
    if not commands.tried:
        raise InputError(
            f"the unit cannot be reset over its console: {commands.why}",
            hint="leave out --via console to reset with the loader",
            cause="config-mismatch",
        )
    visit.board.restart()
    policy = visit.job.product.verify
    console, log = listen(visit, lambda log: bool(log.app_started and log.node_id), policy.settle)
    if identity.node_id is not None:  # judged before anything is erased
        if log.node_id is not None or visit.proofs.log.required:
            judge_node(log, identity.node_id)
        else:
            judge_same_node(_answered(console, policy.boot_timeout), identity.node_id)
    console.send(_RESET)
    await_provisioning(visit, identity, by_itself=True)
    return ["nvs"]


def _answered(console: UnitConsole, seconds: float) -> str:
    """Return the node id that a unit without a log answers once its console is up, within *seconds*."""
    ending = time.monotonic() + seconds
    while time.monotonic() < ending:
        if match := console.ask("get-node-id", NODE_ID_ANSWER, _ASK_SECONDS):
            return match[1]
    raise UnitFault("the console did not answer get-node-id", cause="no-console")


def _unbound() -> UnitFault:
    return UnitFault("this board has no identity in the ledger", hint="`rmfab run` gives it one", cause="unbound")


def _recall_release(visit: Visit) -> tuple[Loader, BoardFacts] | None:
    """Find the release that this unit was flashed with, by what the ledger records; note it for the visit.

    The unit is the one with the MAC of the board, or with the serial that the operator gave. Return the loader if the
    MAC had to be read there. Raise InputError if the ledger or the workspace does not have the release.
    """
    connected = into_stub(visit) if visit.job.serial is None else None
    unit = find_unit(visit, None if connected is None else connected[1].mac)
    if unit is None:
        raise _unbound()
    serial = unit.record.serial
    flashed = flashed_release(visit.job.ledger.history(unit.record.name))
    if flashed is None:
        raise InputError(f"the ledger does not record a release for {serial}", hint=_NAME_RELEASE, cause="no-release")
    release = visit.job.find_release(flashed["digest"])
    if release is None:
        raise InputError(
            f"{serial} was flashed with release {flashed['version']} ({flashed['digest'][:16]}…), "
            "which is neither in the workspace nor where it was flashed from",
            hint=f"{_NAME_RELEASE}, or copy its bundle into the workspace",
            cause="no-release",
        )
    visit.has_firmware(PreparedRelease.on_unit(release))
    return connected


def _no_station_credentials(loader: Loader, release: Release) -> None:
    nvs = release.table.required("nvs")
    for entry in read_image(loader.read(nvs.offset, nvs.size)).entries:
        if entry.key in _STATION_KEYS and isinstance(entry.value, bytes) and entry.value.strip(b"\0\xff"):
            raise UnitFault("nvs still holds a Wi-Fi network after the factory reset", cause="not-reset")
