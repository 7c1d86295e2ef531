"""Diagnosis of this host and workspace: what the line needs and lacks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from rmfab.causes import Cause
from rmfab.errors import InputError, RmfabError
from rmfab.files import is_there
from rmfab.ledger.host import state_folder
from rmfab.line import host_facts
from rmfab.line.diagnosis import Diagnosis
from rmfab.line.doctor import diagnose, note_radio
from rmfab.line.host_facts import examine
from rmfab.line.port_checks import diagnose_ports
from rmfab.line.station import Station, host_station
from rmfab.operations.disk_space import diagnose_disks
from rmfab.operations.disk_sync import diagnose_sync
from rmfab.operations.examine_clock import clock_facts, judge_clock
from rmfab.operations.examine_fonts import diagnose_fonts
from rmfab.operations.leasing import lease_size, station_spool
from rmfab.operations.own_steps import lacking
from rmfab.operations.read_ledger import leases
from rmfab.operations.slot_states import slots_out_of_service
from rmfab.operations.terminal import counted
from rmfab.privacy import hint_to_close
from rmfab.product.product import Product
from rmfab.workspace.modes import loose_files, loose_keys
from rmfab.workspace.workspace import LEDGER_ENVIRONMENT, Workspace, find_workspace, now, users_station

T = TypeVar("T")


def examine_host(folder: Path | None) -> Iterator[Diagnosis]:
    """Yield every diagnosis of the host, and of the workspace in *folder* if there is one. Open no serial port.

    What cannot be read is a diagnosis too, of the first check that needs it; it keeps no other check from running.
    """
    try:
        workspace = Workspace(find_workspace(folder))
    except InputError as error:
        yield _no_workspace(error)
        yield from _host_alone()
        return
    reported: set[str] = set()
    for what, check in (
        ("this host", _host),
        ("the slots", lambda workspace: _slots(workspace.station)),
        ("the clock", _clock),
        ("fonts", _fonts),
        ("the product's own steps", _own_steps),
        ("the disks", _disks),
        ("permissions", _permissions),
        ("this station's key", _key),
        ("the ledger", _ledger),
        ("this station's lease", _lease),
        ("the trust file", _trust),
        ("the broker of the units", _broker),
        ("the label printer", _printer),
    ):
        found = list(_checked(what, partial(check, workspace)))
        yield from (one for one in found if str(one.error) not in reported)
        reported |= {str(one.error) for one in found if one.error is not None}


def _host_alone() -> Iterator[Diagnosis]:
    """Yield the diagnoses of the host, as the user's station.toml describes it."""
    wrong: list[Diagnosis] = []
    own = _tried(users_station, "station.toml", wrong)
    yield from wrong
    station = host_station() if own is None else own
    for what, check in (
        ("this host", lambda: _without_product(station)),
        ("the slots", lambda: _slots(station)),
        ("the clock", lambda: judge_clock(clock_facts(host_facts.ROOT, None), now())),
        ("fonts", lambda: diagnose_fonts(host_facts.ROOT, os.environ, None)),
        ("the disks", lambda: diagnose_disks(None, None)),
        ("the disk of this host's records", lambda: diagnose_sync(_existing(state_folder()), host_facts.ROOT)),
        ("the ledger", lambda: _named_ledger(station)),
        ("the label printer", lambda: _station_printer(station)),
    ):
        yield from _checked(what, check)


def _without_product(station: Station) -> Iterator[Diagnosis]:
    host = examine(station)
    yield from diagnose_ports(host, station)
    yield from note_radio(host)


def _existing(folder: Path) -> Path:
    """Return *folder*, or the nearest one above that exists."""
    return next(one for one in (folder, *folder.parents) if one.is_dir())


def _named_ledger(station: Station) -> Iterator[Diagnosis]:
    """Diagnose the ledger that the environment or station.toml names, nothing if none does."""
    location = os.environ.get(LEDGER_ENVIRONMENT) or station.ledger
    if location is not None:
        yield from _opened_ledger(Workspace(_existing(state_folder()), ledger=location))


def _no_workspace(error: InputError) -> Diagnosis:
    """Return what it means that there is no workspace: nothing, unless one was named."""
    if error.cause == "no-workspace":
        return Diagnosis("no workspace here or above, so only this host is checked; `rmfab init DIR` makes one", True)
    return Diagnosis(str(error), False, error.hint or Cause(error.cause).remedy, error)


def _checked(what: str, check: Callable[[], Iterable[Diagnosis]]) -> Iterator[Diagnosis]:
    """Yield what *check* yields, and last, if it fails, that as a diagnosis of *what*."""
    wrong: list[Diagnosis] = []
    found = _tried(lambda: iter(check()), what, wrong)
    while found is not None:
        diagnosis = _tried(lambda: next(found, None), what, wrong)
        if diagnosis is None:
            break
        yield diagnosis
    yield from wrong


def _host(workspace: Workspace) -> Iterator[Diagnosis]:
    """Diagnose the host, as far as product.toml and station.toml can be read."""
    wrong: list[Diagnosis] = []
    product: Product | None = _tried(lambda: workspace.product, "product.toml", wrong)
    station: Station | None = _tried(lambda: workspace.station, "station.toml", wrong)
    yield from wrong
    if station is None:  # nobody knows what this host needs
        return
    if product is None:
        yield from diagnose_ports(examine(station), station)
    else:
        yield from diagnose(examine(station), station, product)


def _clock(workspace: Workspace) -> Iterator[Diagnosis]:
    return judge_clock(clock_facts(host_facts.ROOT, _ledger_file(workspace)), now())


def _fonts(workspace: Workspace) -> Iterator[Diagnosis]:
    wrong: list[Diagnosis] = []  # product.toml was reported with the host
    product: Product | None = _tried(lambda: workspace.product, "product.toml", wrong)
    return diagnose_fonts(host_facts.ROOT, os.environ, product)


def _slots(station: Station) -> Iterator[Diagnosis]:
    """Report the slots that start no board."""
    for name, why in slots_out_of_service(station):
        yield Diagnosis(f"slot {name} is {why}", not why.locked, why.way_back(name))


def _own_steps(workspace: Workspace) -> Iterator[Diagnosis]:
    """Report what this host lacks for the product's own steps."""
    steps = workspace.product.steps
    wrong = list(lacking(workspace, steps))
    for error in wrong:
        yield Diagnosis(str(error), False, error.hint or Cause(error.cause).remedy, error)
    if steps and not wrong:
        yield Diagnosis(f"the product's own steps: {', '.join(step.name for step in steps)}", True)


def _disks(workspace: Workspace) -> Iterator[Diagnosis]:
    ledger = _ledger_file(workspace)
    yield from diagnose_disks(workspace.root, ledger)
    yield from diagnose_sync(workspace.root if ledger is None else ledger.parent, host_facts.ROOT)


def _ledger_file(workspace: Workspace) -> Path | None:
    """Return the file of the ledger, None if a server has it."""
    ledger = workspace.ledger_path
    return None if "://" in str(ledger) else Path(ledger)


def _permissions(workspace: Workspace) -> Iterator[Diagnosis]:
    """Diagnose whether the line can write, and whether only it can."""
    for folder in (workspace.root, workspace.root / "logs"):
        if is_there(folder) and not os.access(folder, os.W_OK | os.X_OK):
            hint = "run rmfab as the user who owns it, or get write access"
            yield Diagnosis(f"no permission to write to {folder}", False, hint)
    for path in (*loose_files(workspace.root, workspace.ledger_path), *loose_keys(workspace.root)):
        yield Diagnosis(f"other users of this host can use {path}", False, hint_to_close(path, "go-rwx"))


def _key(workspace: Workspace) -> Iterator[Diagnosis]:
    yield Diagnosis(f"this station's key ({workspace.station_key.recipient})", True)


def _ledger(workspace: Workspace) -> Iterator[Diagnosis]:
    if not workspace.has_ledger:
        yield Diagnosis("the ledger", False, "`rmfab generate` creates one with the first batch")
        return
    yield from _opened_ledger(workspace)
    yield from _batches(workspace)
    for one in leases(workspace):
        yield Diagnosis(f"a lease: {one}", True)


def _opened_ledger(workspace: Workspace) -> Iterator[Diagnosis]:
    """Diagnose the ledger itself: whether it opens, is sound, may be written, and gives identities."""
    workspace.ledger.require_sound()
    read_only = workspace.ledger.caveat
    what = "the ledger" if read_only is None else f"the ledger: {read_only}"
    yield Diagnosis(what, read_only is None, "get write access to it and its folder")
    for weakness in workspace.ledger.weaknesses():
        yield Diagnosis(weakness.what, False, weakness.hint)
    yield from _pool(workspace)


def _lease(workspace: Workspace) -> Iterator[Diagnosis]:
    """Report what this station has for when the server of its ledger is away, and what waits for it."""
    size, there = lease_size(workspace), workspace.lease.has_ledger
    if size and not there:
        yield Diagnosis(f"no lease yet: the next run takes {size} identities", True)
    if not there:
        return
    workspace.lease.ledger.require_sound()
    refusal = workspace.lease.ledger.pool_standing().refusal
    if refusal is not None:
        yield Diagnosis(f"this station's lease: {refusal.what}", False, refusal.hint or "", refusal)
        return
    left, waiting = workspace.lease.ledger.free_identities(), len(station_spool(workspace))
    records = f", {counted(waiting, 'record')} waiting for the server" if waiting else ""
    yield Diagnosis(f"this station's lease: {counted(left, 'identity', 'identities')} left{records}", True)


def _pool(workspace: Workspace) -> Iterator[Diagnosis]:
    """Report if this host may give no identities from the ledger."""
    refusal = workspace.ledger.pool_standing().refusal
    if refusal is not None:
        yield Diagnosis(refusal.what, False, refusal.hint or "", refusal)


def _batches(workspace: Workspace) -> Iterator[Diagnosis]:
    """Report if this station's key opens none of the batches."""
    try:
        recipient = workspace.station_key.recipient
        names = [batch.name for batch in workspace.ledger.batches() if batch.closed]
    except RmfabError:  # reported by other checks
        return
    if names and not any(_opens(workspace, name) for name in names):
        what = f"this key opens 0 of {counted(len(names), 'batch', 'batches')}: send the owner {recipient}"
        yield Diagnosis(what, False, f"the owner runs `rmfab station admit {recipient}`")


def _opens(workspace: Workspace, batch: str) -> bool:
    try:
        workspace.check_key(batch)
    except RmfabError:
        return False
    return True


def _trust(workspace: Workspace) -> Iterator[Diagnosis]:
    """Diagnose whose releases this station accepts."""
    trust = workspace.trust
    if trust is not None:
        yield Diagnosis(f"the trust file, version {trust.version}, fingerprint {trust.fingerprint}", True)
    try:
        unsigned = workspace.product.release.allow_unsigned
    except RmfabError:  # reported with product.toml
        if trust is None:
            yield Diagnosis("no trust file", True)
        return
    if trust is not None and unsigned:
        what = "a product.toml that requires signatures: it still has allow_unsigned = true"
        yield Diagnosis(what, False, "remove allow_unsigned from product.toml: there is a trust file")
    elif unsigned:
        yield Diagnosis("unsigned releases are accepted: allow_unsigned in product.toml", True)
    elif trust is None:
        hint = "`rmfab trust import` imports the owner's"
        yield Diagnosis("a trust file, because releases must be signed", False, hint)


def _broker(workspace: Workspace) -> Iterator[Diagnosis]:
    from rmfab.operations.examine_broker import diagnose_broker

    return diagnose_broker(workspace)


def _printer(workspace: Workspace) -> Iterator[Diagnosis]:
    return _station_printer(workspace.station)


def _station_printer(station: Station) -> Iterator[Diagnosis]:
    from rmfab.operations.examine_printer import diagnose_printer

    return diagnose_printer(station)


def _tried(work: Callable[[], T], what: str, wrong: list[Diagnosis]) -> T | None:
    """Return the result of *work*; if it fails, add a diagnosis of *what* for each complaint, and return None."""
    try:
        return work()
    except RmfabError as error:
        wrong += [
            Diagnosis(_named(what, one, error), False, one.hint or Cause(one.cause).remedy, error)
            for one in error.complaints
        ]
    except OSError as error:
        place = "" if error.filename is None else f"{error.filename}: "
        wrong.append(Diagnosis(f"{what}: {place}{error.strerror or error}", False, "check permissions"))
    return None


def _named(what: str, one: RmfabError, error: RmfabError) -> str:
    """Return the reason of *one* with *what* it is about, and its place if that is in this file or one of several."""
    file, _, place = (one.where or "").partition(":")
    if Path(file).name == what:
        return f"{what}{':' if place else ''}{place}: {one.what}"
    return f"{what}: {one if len(error.complaints) > 1 else one.what}"
