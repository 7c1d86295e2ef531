"""Run the line: steps on slots, from the first check to the worst verdict.

run = run_line(workspace, LineRequest(ports=("/dev/ttyUSB0",), release=Path("lamp-1.4.0.rmfab")))
for event in run.events():          # raises at the end if anything failed
    print(event)
print(run.summary)
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rmfab.board.port import absent_ports
from rmfab.errors import InputError, StationError, UsageError
from rmfab.ledger.claim_terms import Replacement
from rmfab.ledger.events import timestamp
from rmfab.line.code_desk import CodeDesk
from rmfab.line.doctor import refuse_without_radio
from rmfab.line.events import Step
from rmfab.line.floor import Floor
from rmfab.line.job import (
    FLASH_STEPS,
    RESET_STEPS,
    RUN_STEPS,
    THERE_AND_BACK_STEPS,
    UPDATE_STEPS,
    VERIFY_STEPS,
    Job,
    PreparedRelease,
    UpdatePlan,
)
from rmfab.line.ledger_opening import LedgerOpening
from rmfab.line.own_work import OwnWork
from rmfab.line.proofs import Proofs, refuse_without_proof
from rmfab.line.radio.air import Air
from rmfab.line.radio.factory_network import FactoryNetwork, load_network
from rmfab.line.station import LEAST_BAUD, MOST_BAUD, Slot, refuse_same_port, slots_for
from rmfab.operations.accept_release import AcceptRequest, judge_again, judge_for_line, record_acceptance
from rmfab.operations.find_release import releases_in, remember_release
from rmfab.operations.line_run import LineRun
from rmfab.operations.own_steps import asks, refuse_without_commands, with_own_steps
from rmfab.operations.pool import hold_pool, more_identities
from rmfab.operations.run_files import RunFiles
from rmfab.operations.slot_states import slot_book
from rmfab.operations.terminal import UNATTENDED, Terminal, scanned_lines
from rmfab.product.serial import SerialSource
from rmfab.product.vocabulary import CloudProof
from rmfab.workspace.workspace import LEDGER_ENVIRONMENT, Workspace

if TYPE_CHECKING:
    from rmfab.line.label_work import LabelWork
    from rmfab.line.line_witness import LineWitness
    from rmfab.operations.leasing import StationLease
    from rmfab.report.metrics import MetricsFile

__all__ = ["FLASH_STEPS", "RESET_STEPS", "RUN_STEPS", "VERIFY_STEPS", "LineRequest", "LineRun", "run_line"]


@dataclass(frozen=True)
class LineRequest:
    """A run of the line. Raise UsageError for values that the command line would not accept.

    *steps*: FLASH_STEPS, VERIFY_STEPS, RUN_STEPS or RESET_STEPS; a part of one would leave out its checks. *ports*:
    ports or slot names, by default all slots of station.toml; *unit_urls*: the provisioning URLs of the running units,
    one for each port. *baud* overrides that of the slots. *slots*: slots as values, instead of *ports*. *release*: a
    bundle or build folder, None for the product's. *batch* and *serial* limit what is claimed. *again*: also flash
    units that are verified and labelled. *scan*: ask for the code of each board that gets its serial from one. *loop*
    continues with one board after the other. *console_reset*: use the firmware's own factory reset. *update* is what
    `try_update` offers; the steps are then those of an update. *replaces*: the identity that the one board has, and is
    to lose. *junit*, *metrics*: the files that are written besides.
    """

    steps: tuple[Step, ...] = RUN_STEPS
    ports: tuple[str, ...] = ()
    unit_urls: tuple[str, ...] = ()
    baud: int | None = None
    slots: tuple[Slot, ...] = ()
    release: Path | None = None
    batch: str | None = None
    serial: str | None = None
    again: bool = False
    scan: bool = False
    loop: bool = False
    console_reset: bool = False
    update: UpdatePlan | None = None
    replaces: Replacement | None = None
    allow_unknown: bool = False
    allow_downgrade: bool = False
    junit: Path | None = None
    metrics: Path | None = None

    def __post_init__(self) -> None:
        updates = (UPDATE_STEPS, THERE_AND_BACK_STEPS)
        if self.steps not in (updates if self.update else (FLASH_STEPS, VERIFY_STEPS, RUN_STEPS, RESET_STEPS)):
            raise UsageError("the steps must be those of `flash`, `verify`, `run` or `reset`")
        if self.baud is not None and not LEAST_BAUD <= self.baud <= MOST_BAUD:
            raise UsageError(f"--baud must be {LEAST_BAUD} to {MOST_BAUD}")

    @property
    def acceptance(self) -> AcceptRequest:
        """The request for the release."""
        return AcceptRequest(self.release, self.allow_unknown, self.allow_downgrade)


def run_line(workspace: Workspace, request: LineRequest, terminal: Terminal = UNATTENDED) -> LineRun:
    """Check *request* and return the line, ready to run; reading its events runs it.

    No port is opened before workspace, ledger, batches and release are checked and the release is accepted; only the
    compression of the firmware runs beside that. Raise InputError if slots, batches or the release are not
    valid, IntegrityError if the release is not trusted.
    """
    slots = request.slots or slots_for(request.ports, workspace.station, request.baud, request.unit_urls)
    refuse_same_port(slots)
    if request.scan and workspace.product.serial.source is not SerialSource.SCAN:
        raise InputError(
            f"the serials of this product are not scanned: {workspace.product.serial}",
            where="product.toml: [product] serial",
            hint='omit --scan, or set a serial with {scan}, such as serial = "{scan}"',
        )
    if request.serial is not None and len(slots) != 1:
        raise UsageError("--serial names one unit, so it requires exactly one --port", where=request.serial)
    steps = _steps(workspace, request)
    lease = _lease(workspace, request, steps, terminal)
    asked = workspace if lease is None else lease.asked
    firmware = _firmware(asked, request, steps, terminal)
    if lease is None:
        hold_pool(workspace, terminal, taking=Step.CLAIM in steps)
        workspace.inquiry.enter(workspace.station.name)
    if firmware is not None and Step.FLASH in steps:
        firmware.compress_meanwhile()
    if asked is workspace:
        _check_batches(workspace, request.batch, claims=Step.CLAIM in steps)
    if lease is not None:
        _check(workspace.lease, lease.names())
    air, witness = _air(workspace, steps, terminal), _witness(workspace, steps, terminal)
    job = _job(workspace, request, steps, firmware, lease, air, witness)
    questions = asks(steps, workspace.product.steps)
    desk, labels = _desk_and_labels(workspace, request, slots, terminal, here=lease is None, questions=questions)
    answered = request.scan or questions or (labels is not None and labels.scans is not None)
    own = OwnWork(workspace.station.commands, desk)
    job = replace(job, codes=desk if request.scan else None, labels=labels, own=own)
    floor = Floor(job, slots, loop=request.loop)
    _check_radio(job, workspace, slots, loop=request.loop)
    if Step.IDENTIFY in steps:
        _announce(job, slots, terminal)
    if firmware is not None and Step.FLASH in steps:
        remember_release(workspace.root, workspace.release_path(request.acceptance.path))
        for one in (workspace,) if lease is None else lease.followers:
            record_acceptance(one, firmware.accepted, request.acceptance, terminal)
    files = RunFiles(request.junit, _metrics(workspace, request.metrics), terminal.warn)
    return LineRun(floor, slots, job.logs, desk, answered, files)


def _metrics(workspace: Workspace, path: Path | None) -> MetricsFile | None:
    """Return the metrics file, which can be written; None for no path. Raise UsageError, InputError, StationError."""
    if path is None:
        return None
    from rmfab.report.metrics import MetricsFile

    metrics = MetricsFile(path, workspace.product.name, workspace.station.name)
    metrics.begin()
    return metrics


def _desk_and_labels(
    workspace: Workspace,
    request: LineRequest,
    slots: tuple[Slot, ...],
    terminal: Terminal,
    *,
    here: bool,
    questions: bool,
) -> tuple[CodeDesk | None, LabelWork | None]:
    """Return the desk for what the operator scans and types, and what the step `label` works with; None without.

    *here*: the ledger was reached, and can be asked for labels in doubt. *questions*: a step of the product asks.
    """
    policy, lines = workspace.product.label, scanned_lines(terminal)
    works = Step.LABEL in request.steps and (policy.prints or policy.scan_back)
    desk = CodeDesk(lines, [slot.name for slot in slots]) if request.scan or works or questions else None
    if not works:
        return desk, None
    from rmfab.operations.line_labels import line_labels, prove_scanner

    if policy.scan_back:
        prove_scanner(workspace, lines, terminal)
    doubtful = workspace.inquiry.labels_in_doubt() if here and policy.prints else ()
    return desk, line_labels(workspace, desk, doubtful, terminal)


def _lease(
    workspace: Workspace, request: LineRequest, steps: tuple[Step, ...], terminal: Terminal
) -> StationLease | None:
    """Return the lease of this station, filled up if the server is there; None if this run needs none."""
    if Step.CLAIM not in steps or not workspace.station.lease:
        return None
    from rmfab.operations.leasing import StationLease, lease_size

    lease = StationLease(workspace, lease_size(workspace), request.batch, terminal)
    lease.enter()
    return lease


def _check_radio(job: Job, workspace: Workspace, slots: tuple[Slot, ...], *, loop: bool) -> None:
    """Raise StationError once, before any identity is claimed, if this host cannot reach units that it must talk to.

    A port that does not exist has an error of its own, which comes first; with *loop*, it is waited for.
    """
    if not workspace.product.verify.provision:
        return
    resets = Step.RESET in job.steps
    talks = [slot for slot in slots if job.provisions or (resets and not job.proofs(slot).log.tried)]
    absent = () if loop else absent_ports(slot.link.address for slot in talks)
    reached = [slot for slot in talks if slot.link.address not in absent]
    refuse_without_radio(workspace.station, workspace.product, reached)


def _announce(job: Job, slots: tuple[Slot, ...], terminal: Terminal) -> None:
    """Print which proofs the release allows, for each kind of slot. Raise InputError if none would identify a unit."""
    cloud = job.product.verify.cloud if Step.CLOUD in job.steps else CloudProof.OFF
    kinds: dict[Proofs, list[str]] = {}
    for slot in slots:
        kinds.setdefault(job.proofs(slot), []).append(slot.name)
    for proofs, names in kinds.items():
        refuse_without_proof(proofs, provisioning=job.provisioning_proves(proofs))
        where = f"{', '.join(names)}: " if len(kinds) > 1 else ""
        for line in proofs.lines(provision=job.provisions, cloud=cloud):
            terminal.say(where + line)
        if proofs.warning:
            terminal.warn(where + proofs.warning, "connect the port that the firmware's console is on to hear it")


def _firmware(
    workspace: Workspace, request: LineRequest, steps: tuple[Step, ...], terminal: Terminal
) -> PreparedRelease | None:
    """Return the release of the run, judged; that of an update was judged already. None if the run needs none."""
    if request.update is not None:
        return PreparedRelease(request.update.before)
    if not _has_release(workspace, request, steps):
        return None
    return PreparedRelease(judge_for_line(workspace, request.acceptance, terminal))


def _has_release(workspace: Workspace, request: LineRequest, steps: tuple[Step, ...]) -> bool:
    """Return whether *steps* need a release, or one is named anyway. `reset` alone finds the one of each unit."""
    needed = steps != RESET_STEPS and bool({Step.FLASH, Step.RESET} & set(steps))
    return needed or request.release is not None or workspace.product.release.path is not None


def _steps(workspace: Workspace, request: LineRequest) -> tuple[Step, ...]:
    """Return the steps. Units that join a network may have to reach their broker, and must not keep its credentials."""
    verify, steps = workspace.product.verify, request.steps
    if steps in (FLASH_STEPS, VERIFY_STEPS, RUN_STEPS):
        steps = with_own_steps(steps, workspace.product.steps)
        refuse_without_commands(workspace, steps)
    if not verify.join or Step.PROVISION not in steps:
        return steps
    after = steps.index(Step.PROVISION) + 1
    cloud = () if verify.cloud is CloudProof.OFF else (Step.CLOUD,)
    reset = () if Step.RESET in steps else (Step.RESET,)
    return (*steps[:after], *cloud, *steps[after:], *reset)


def _job(
    workspace: Workspace,
    request: LineRequest,
    steps: tuple[Step, ...],
    firmware: PreparedRelease | None,
    lease: StationLease | None,
    air: Air,
    witness: LineWitness | None,
) -> Job:
    line = None if lease is None else lease.line_ledger

    def vouched() -> None:
        if firmware is not None:
            judge = partial(judge_again, accepted=firmware.accepted, allow_unknown=request.allow_unknown)
            judge(workspace) if lease is None else lease.ask(judge)

    return Job(
        product=workspace.product,
        firmware=firmware,
        opening=LedgerOpening(lambda: line or workspace.ledger),
        open_identity=(lease or workspace).open_identity,
        station=workspace.station.name,
        steps=steps,
        logs=_logs(workspace),
        now=workspace.now,
        challenge=lambda: secrets.token_hex(16),
        vouched=vouched,
        air=air,
        witness=witness,
        batch=request.batch,
        serial=request.serial,
        again=request.again,
        console_reset=request.console_reset,
        update=request.update,
        replaces=request.replaces,
        root=workspace.root,
        slots=slot_book(workspace.station, workspace.now),
        find_release=releases_in(workspace.root),
        more=more_identities(workspace),
    )


def _logs(workspace: Workspace) -> Path:
    """Return the folder of console logs. Raise StationError if this user may not write there."""
    folder = workspace.logs_folder
    if not os.access(folder, os.W_OK | os.X_OK):
        hint = "run rmfab as the user who owns it, or get write access"
        raise StationError("no permission to write console logs", where=str(folder), hint=hint, cause="no-permission")
    return folder


def _air(workspace: Workspace, steps: tuple[Step, ...], terminal: Terminal) -> Air:
    """Return the station's radio, back in the Wi-Fi network that an earlier run may have left, with the network that
    units join.

    Raise InputError if units must join a network and it is not available.
    """
    radio, verify = workspace.station.radio, workspace.product.verify
    joins = verify.join and verify.provision and Step.PROVISION in steps
    network = _factory_network(radio.network, terminal) if joins else None
    air = Air(radio, workspace.root / ".wifi-to-go-back-to", network)
    if (wrong := air.come_back()) is not None:
        terminal.warn(f"this host could not return to its Wi-Fi network: {wrong}")
    return air


def _witness(workspace: Workspace, steps: tuple[Step, ...], terminal: Terminal) -> LineWitness | None:
    """Return the station's witness, if the product needs one. Raise InputError if it has none."""
    if Step.CLOUD not in steps or workspace.product.verify.cloud is not CloudProof.WITNESS:
        return None
    from rmfab.operations.station_broker import line_witness

    return line_witness(workspace, terminal)


def _factory_network(path: Path | None, terminal: Terminal) -> FactoryNetwork:
    """Return the network that units join: from the file that station.toml names, or the terminal; never from argv."""
    if path is not None:
        return load_network(path)
    if not terminal.interactive:
        raise InputError(
            "[verify] join requires the factory network, and there is no terminal to ask on",
            hint='set network = "factory-wifi.toml" in station.toml ([provisioning]), a file with ssid and passphrase',
            cause="no-network",
        )
    ssid = terminal.ask("SSID of the factory network")
    return FactoryNetwork(ssid, terminal.passphrase("Passphrase (empty for an open network)", optional=True))


def _check_batches(workspace: Workspace, batch: str | None, *, claims: bool) -> None:
    """Raise if an identity that could be claimed cannot be used here.

    Raise InputError if there is no batch, or if it was made for a different product.toml; StationError if this station
    was not admitted.
    """
    ledger = workspace.inquiry
    if batch is not None:
        names = [batch, *(one.name for one in ledger.replacements(batch) if one.closed)]
    elif claims:
        product = workspace.product.name
        names = [one.name for one in ledger.claimable(product, timestamp(workspace.now()))]
        if not names and not any(one.closed and one.product == product for one in ledger.batches()):
            raise InputError(
                f"the ledger has no batch of {product} yet",
                where=str(workspace.ledger_path),
                hint=more_identities(workspace),
                cause="no-batch",
            )
    else:
        names = []
    _check_claimable(workspace, names, named=batch is not None)
    if claims and any(workspace.inquiry.batch(name).leased for name in names):
        raise InputError(
            "this ledger is the lease of a station: which boards are bound elsewhere is not known here",
            where=str(workspace.ledger_path),
            hint=f"unset {LEDGER_ENVIRONMENT}: a station whose station.toml has a lease goes on with it by itself",
            cause="handed-over",
        )


def _check_claimable(workspace: Workspace, names: Sequence[str], *, named: bool) -> None:
    """Raise as `_check` does; unless the batch was *named*, the hint is how to leave one out that does not fit."""
    try:
        _check(workspace, names)
    except InputError as error:
        if error.cause == "policy-mismatch" and not named:
            error.hinted("restore the old values, or name a batch that was made with these with --batch")
        raise


def _check(workspace: Workspace, names: Iterable[str]) -> None:
    """Raise as `_check_batches` does if identities of the batches *names* cannot be used here."""
    for name in names:
        workspace.check_policy(name)
        workspace.check_key(name)
