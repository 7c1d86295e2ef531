"""Check the credentials of units on their broker, from this host, before the units ever go online."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from rmfab.cloud.attempt import AttemptEnding, BrokerAttempt
from rmfab.cloud.check_unit import Gate, check_broker, check_unit, probe
from rmfab.cloud.credentials import CloudUnit
from rmfab.cloud.witness import watching
from rmfab.errors import StationError, UnitFault, UnitsFailed, UsageError
from rmfab.ledger.events import Event, EventKind, Outcome, timestamp
from rmfab.ledger.records import LedgerIdentity
from rmfab.line.station import StationBroker
from rmfab.operations.advance import Advance
from rmfab.operations.client_files import load_pair
from rmfab.operations.select_cloud_units import cloud_unit, select_units
from rmfab.operations.station_broker import broker_of, witness_pair
from rmfab.operations.terminal import UNATTENDED, Terminal, counted
from rmfab.product.product_file import bad_host
from rmfab.signals import undisturbed
from rmfab.workspace.workspace import Workspace

MOST_JOBS = 64
_OPEN = "broker-open"


@dataclass(frozen=True)
class CheckRequest:
    """Check *units* (batches and serials), or a *sample* of so many of them, on the broker at *host*.

    *tcp_port*: None for 443. *ca*: PEM of the CA of the broker's certificate, None for those that the system trusts.
    *witness_cert*, *witness_key*: a client that may see and send everything. Without *host*, the broker is that of
    station.toml, which then also has what is None here; else mqtt_host. *refused*: PEM files with certificate and key
    that the broker must refuse. *timeout*: seconds to wait for each answer. Raise UsageError for what does not fit.
    """

    units: tuple[str, ...]
    host: str | None = None
    tcp_port: int | None = None
    ca: Path | None = None
    witness_cert: Path | None = None
    witness_key: str | None = None
    refused: tuple[Path, ...] = ()
    sample: int | None = None
    jobs: int = 8
    timeout: float = 10.0

    def __post_init__(self) -> None:
        if (self.witness_cert is None) != (self.witness_key is None):
            raise UsageError("pass both --witness-cert and --witness-key, or neither")
        if self.host is not None and (wrong := bad_host(self.host)):
            raise UsageError(f"--host: {wrong}", hint="the port is --tcp-port")
        if not 1 <= self.jobs <= MOST_JOBS:
            raise UsageError(f"--jobs is a number from 1 to {MOST_JOBS}")


@dataclass(frozen=True)
class BrokerChecked:
    """What the broker did with certificates that no unit has."""

    place: str
    attempts: tuple[BrokerAttempt, ...]


@dataclass(frozen=True)
class UnitChecked:
    """A unit whose credentials were checked. *cause* and *reason* say why it did not pass; *certificate*: its id in AWS
    IoT, None if it cannot be read."""

    ts: str
    name: str
    serial: str
    outcome: Outcome
    attempts: tuple[BrokerAttempt, ...]
    seconds: float
    cause: str | None = None
    reason: str | None = None
    certificate: str | None = None
    error: StationError | None = field(default=None, compare=False)


@dataclass(frozen=True)
class CheckSummary:
    """The numbers of units by outcome."""

    passed: int
    failed: int
    errors: int
    aborted: int


CloudChecked = Advance | BrokerChecked | UnitChecked | CheckSummary


class _HaltedError(Exception):
    """The operator gave up while this unit was checked."""


def check_cloud(
    workspace: Workspace, request: CheckRequest, terminal: Terminal = UNATTENDED
) -> Generator[CloudChecked, None, None]:
    """Check the units; yield what is found as it comes, and last the summary. Each unit is an event in the ledger.

    Raise InputError for a unit that may be online, or has no credentials; StationError if the broker cannot be reached
    or trusted, UnitsFailed at the end if a unit failed.
    """
    units = select_units(workspace, request.units, request.sample, terminal)
    first = cloud_unit(workspace, units[0])  # before anything is sent: this station may not be able to open it
    enforce = workspace.product.cloud.enforce
    halt = threading.Event()
    described = _described(workspace, request)
    with ExitStack() as stack:
        broker, attempts = probe(broker_of(workspace, described, request.timeout), partial(_go_on, halt))
        pair = witness_pair(described, terminal)
        refused = {str(path): load_pair(path, str(path), terminal) for path in request.refused}
        witness = stack.enter_context(watching(broker, pair, partial(_go_on, halt))) if pair else None
        gate = Gate(broker, witness, partial(_go_on, halt))
        found = BrokerChecked(broker.place, (attempts, *check_broker(gate, first.node_id, workspace.now(), refused)))
        yield found
        _judge_broker(found, enforce=enforce, terminal=terminal)
        checker = _Checker(workspace, gate, enforce=enforce)
        yield from checker.run(units, request.jobs, halt)
    checker.warn(terminal)
    yield checker.summary
    checker.judge()


def _go_on(halt: threading.Event) -> None:
    if halt.is_set():
        raise _HaltedError


def _described(workspace: Workspace, request: CheckRequest) -> StationBroker:
    """Return where the broker is. A host that is named may be a different broker than that of station.toml."""
    known = StationBroker() if request.host else workspace.station.broker or StationBroker()
    key = None if request.witness_key is None else Path(request.witness_key)
    return StationBroker(
        request.host or known.host,
        request.tcp_port or known.tcp_port,
        request.ca or known.ca,
        request.witness_cert or known.witness_cert,
        key or known.witness_key,
    )


def _judge_broker(found: BrokerChecked, *, enforce: bool, terminal: Terminal) -> None:
    """Warn of what the broker does not enforce. Raise StationError (cause `broker-open`) if the product demands it."""
    if not (names := _open_to(found.attempts)):
        return
    what = f"this broker lets in clients that it must refuse: {names}"
    if enforce:
        raise _open_broker(what, found.place)
    terminal.warn(f"{found.place}: {what}")


def _open_to(attempts: Iterable[BrokerAttempt]) -> str:
    """Return the names of the *attempts* that the broker had to refuse, and did not."""
    return ", ".join(one.name for one in attempts if one.unenforced)


def _open_broker(what: str, place: str) -> StationError:
    """Return the error of a broker that does not refuse *what* the product demands: it is never the unit's."""
    hint = "fix the broker's policies or configuration, or set enforce = false in [cloud] of product.toml"
    return StationError(what, where=place, hint=hint, cause=_OPEN)


def _fault(attempts: Iterable[BrokerAttempt]) -> UnitFault | None:
    """Return why the unit is bad, None if it is good."""
    failed = next((one for one in attempts if one.ending is AttemptEnding.FAILED), None)
    return None if failed is None else UnitFault(failed.reason or failed.name, cause=failed.cause)


class _Checker:
    """Checks units in threads behind *gate*, and records each."""

    def __init__(self, workspace: Workspace, gate: Gate, *, enforce: bool) -> None:
        self._workspace = workspace
        self._gate = gate
        self._enforce = enforce
        self._outcomes: Counter[Outcome] = Counter()
        self._unenforced: Counter[str] = Counter()
        self._failed: str | None = None
        self._error: StationError | None = None
        self._stopped = False

    def run(self, units: list[LedgerIdentity], jobs: int, halt: threading.Event) -> Iterator[Advance | UnitChecked]:
        """Yield each unit when it is checked and recorded. A broker that fails stops the run; one that does not refuse
        what it must does not, since that may depend on the unit's own policy."""
        waiting, pending, done = iter(units), set[Future[UnitChecked]](), 0
        pool = ThreadPoolExecutor(jobs, thread_name_prefix="check")
        try:
            while True:
                room = 0 if self._stopped else 2 * jobs - len(pending)
                pending |= {pool.submit(self._check, *opened) for opened in self._opened(islice(waiting, room))}
                if not pending:
                    return
                ended = wait(pending, return_when=FIRST_COMPLETED).done
                for checked in self._taken(ended, pending):
                    done += 1
                    yield checked
                    yield Advance(done, len(units))
        finally:
            halt.set()
            begun = {one for one in pending if not one.cancel()}
            self._taken(wait(begun).done, begun)
            pool.shutdown()

    @property
    def summary(self) -> CheckSummary:
        """The numbers so far."""
        by = self._outcomes
        return CheckSummary(by[Outcome.PASS], by[Outcome.FAIL], by[Outcome.ERROR], by[Outcome.ABORTED])

    def warn(self, terminal: Terminal) -> None:
        """Warn of what the broker does not enforce, once for all units."""
        for name, number in sorted(self._unenforced.items()) if not self._enforce else ():
            terminal.warn(f"this broker does not enforce: {name} ({counted(number, 'unit')})")

    def judge(self) -> None:
        """Raise UnitsFailed if a unit failed, StationError if one could not be checked."""
        if self._failed is not None:
            total, failed = self._outcomes.total(), self._outcomes[Outcome.FAIL]
            raise UnitsFailed(f"{failed} of {counted(total, 'unit')} failed; see `rmfab trace {self._failed}`")
        if self._error is not None:
            raise self._error

    def _opened(self, units: Iterable[LedgerIdentity]) -> Iterator[tuple[LedgerIdentity, CloudUnit]]:
        for one in units:
            yield one, cloud_unit(self._workspace, one)

    def _check(self, one: LedgerIdentity, unit: CloudUnit) -> UnitChecked:
        """Check one unit; runs in a thread."""
        began = time.monotonic()
        attempts: tuple[BrokerAttempt, ...] = ()
        outcome, cause, reason, error = Outcome.PASS, None, None, None
        try:
            attempts = check_unit(self._gate, unit, self._workspace.now())
        except StationError as trouble:
            outcome, cause, reason, error = Outcome.ERROR, trouble.cause, trouble.what, trouble
        except _HaltedError:
            outcome, cause, reason = Outcome.ABORTED, "aborted", "stopped by the operator"
        else:
            if (fault := _fault(attempts)) is not None:
                outcome, cause, reason = Outcome.FAIL, fault.cause, fault.what
            elif self._enforce and (opened := _open_to(attempts)):
                error = _open_broker(f"this broker does not refuse a unit: {opened}", self._gate.broker.place)
                outcome, cause, reason = Outcome.ERROR, error.cause, error.what
        ts, seconds = timestamp(self._workspace.now()), time.monotonic() - began
        return UnitChecked(
            ts, one.name, one.serial, outcome, attempts, seconds, cause, reason, unit.certificate_id, error
        )

    def _taken(self, ended: set[Future[UnitChecked]], pending: set[Future[UnitChecked]]) -> list[UnitChecked]:
        """Record what *ended*, and take it from *pending*: ^C does not come in between."""
        with undisturbed():
            found = self._record(ended)
            pending -= ended
        return found

    def _record(self, ended: Iterable[Future[UnitChecked]]) -> list[UnitChecked]:
        """Record what *ended* in one transaction; return it in the order in which it ended."""
        found = sorted((one.result() for one in ended), key=lambda one: (one.ts, one.serial))
        if found:
            self._workspace.ledger.checked(self._workspace.station.name, [self._event(one) for one in found])
        for one in found:
            self._outcomes[one.outcome] += 1
            self._unenforced.update(attempt.name for attempt in one.attempts if attempt.unenforced)
            self._error = self._error or one.error
            self._stopped = self._stopped or (one.error is not None and one.error.cause != _OPEN)
            if one.outcome is Outcome.FAIL:
                self._failed = self._failed or one.serial
        return found

    def _event(self, one: UnitChecked) -> Event:
        return Event(
            one.ts,
            EventKind.CHECK,
            serial=one.name,
            outcome=one.outcome,
            cause=one.cause,
            reason=one.reason,
            seconds=one.seconds,
            details={
                "broker": self._gate.broker.place,
                "certificate": one.certificate,
                "witness": self._gate.witness is not None,
                "attempts": [attempt.to_json() for attempt in one.attempts],
            },
        )
