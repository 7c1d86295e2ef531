"""Try an update over the air on one unit of the bench: it loads a release, proves it, and goes back if asked.

with try_update(workspace, TryRequest("LMP-000017", Path("lamp-1.5.0.rmfab"), ("/dev/ttyUSB0",), ...)) as run:
    for event in run.events():      # as those of the line; raises at the end if the unit did not pass
        print(event)
"""

from __future__ import annotations

import ssl
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rmfab.errors import ComplaintsError, InputError, UsageError
from rmfab.ledger.states import State
from rmfab.line.job import THERE_AND_BACK_STEPS, UPDATE_STEPS, OfferedRelease, UpdatePlan
from rmfab.line.station import Slot
from rmfab.operations.accept_release import AcceptRequest, TrustChoice, judge_for_all, judge_for_line
from rmfab.operations.named_unit import named_unit
from rmfab.operations.publish_update import server_context
from rmfab.operations.run_line import LineRequest, LineRun, run_line
from rmfab.operations.terminal import UNATTENDED, Terminal
from rmfab.ota.compatibility import inspect_update
from rmfab.ota.http_handler import Access
from rmfab.ota.server import ShelfServer
from rmfab.ota.shelf import publish
from rmfab.ota.tls import refuse_other_name
from rmfab.product.product import Product
from rmfab.product.vocabulary import CloudProof
from rmfab.release.acceptance import Accepted
from rmfab.workspace.workspace import Workspace

MIN_TIMEOUT, MAX_TIMEOUT = 10.0, 7200.0
_TO, _BACK = "try", "back"
_JUDGED_BY_UNITS = frozenset({"project", "same-version", "secure-version"})
"""Complaints about an update that the firmware has as well: with `force`, the unit is to show that."""

_UNFIT = {
    State.VOID: ("the identity is void", "name a unit that is not"),
    State.HANDED_OVER: ("the identity is handed over: its board is elsewhere", "try the update where it is"),
    State.QUARANTINED: ("the identity is in quarantine: no board of this ledger has it", "name a different unit"),
}


@dataclass(frozen=True)
class TryRequest:
    """Have the unit *serial* on *ports* load the release *to* from this host, and with *back* the line's again.

    *slots* replace *ports* with *unit_urls* and *baud*. *release* is what the unit runs now, None for the product's.
    *cert* and *key*: TLS of the server at *address* and *tcp_port*, which units reach as *name* (None: by its address).
    *timeout*: seconds for each update. *force*: also offer what the firmware must reject. Raise UsageError for what
    does not fit.
    """

    serial: str
    to: Path
    ports: tuple[str, ...]
    cert: Path
    key: str
    passphrase_file: Path | None = None
    address: str = "127.0.0.1"
    tcp_port: int = 8443
    name: str | None = None
    unit_urls: tuple[str, ...] = ()
    baud: int | None = None
    release: Path | None = None
    back: bool = False
    timeout: float = 600.0
    force: bool = False
    allow_unknown: bool = False
    slots: tuple[Slot, ...] = ()

    def __post_init__(self) -> None:
        if self.back and self.force:
            raise UsageError("--force has no --back: the unit is to reject the release")
        if not MIN_TIMEOUT <= self.timeout <= MAX_TIMEOUT:
            raise UsageError(f"--timeout must be {MIN_TIMEOUT:g} to {MAX_TIMEOUT:g} seconds")


@contextmanager
def try_update(workspace: Workspace, request: TryRequest, terminal: Terminal = UNATTENDED) -> Iterator[LineRun]:
    """Yield the line, ready to run, with the image served meanwhile.

    No port is opened before unit, releases, certificate and broker are checked. Raise InputError if the unit or a
    release does not fit, IntegrityError if a release is not trusted, StationError if the server or the witness fails.
    """
    context = server_context(request.cert, request.key, request.passphrase_file, terminal)
    _refuse_unfit(workspace, request.serial)
    bench = Workspace(workspace.root, _on_bench(workspace.product), workspace.now)
    bench.badge = workspace.badge
    line = judge_for_line(bench, AcceptRequest(request.release, request.allow_unknown), terminal)
    to = judge_for_all(request.to, workspace, TrustChoice(allow_unknown=request.allow_unknown), terminal)
    _refuse_update(line, to, request)
    shown = {_TO: to} | ({_BACK: line} if request.back else {})
    sent = _Sent()
    with _served(shown, request, context, sent) as offered:
        plan = UpdatePlan(line, offered[_TO], offered.get(_BACK), request.timeout, lambda: sent.octets)
        yield run_line(bench, _line_request(request, plan), terminal)


def _line_request(request: TryRequest, plan: UpdatePlan) -> LineRequest:
    return LineRequest(
        UPDATE_STEPS if plan.back is None else THERE_AND_BACK_STEPS,
        slots=request.slots,
        ports=request.ports,
        unit_urls=request.unit_urls,
        baud=request.baud,
        release=request.release,
        serial=request.serial,
        allow_unknown=request.allow_unknown,
        update=plan,
    )


def _on_bench(product: Product) -> Product:
    """Return *product* with the checks that an update needs: the unit joins, and the witness watches it."""
    verify = replace(product.verify, provision=True, join=True, cloud=CloudProof.WITNESS, wrong_pop_every=0)
    return replace(product, verify=verify)


def _refuse_unfit(workspace: Workspace, serial: str) -> None:
    """Raise InputError unless this ledger has flashed the unit, and still has it."""
    unit = named_unit(workspace, serial)
    if unit.state in _UNFIT:
        what, hint = _UNFIT[unit.state]
        raise InputError(what, where=serial, hint=hint, cause=unit.state.value)
    if unit.standing.flashed_ts is None:
        raise InputError(
            f"this ledger has not flashed the unit: it is {unit.state}",
            where=serial,
            hint="flash it first (`rmfab run`)",
            cause="not-flashed",
        )


def _refuse_update(line: Accepted, to: Accepted, request: TryRequest) -> None:
    """Raise ComplaintsError if units that run *line* could not load *to*, or not go back."""
    complaints = inspect_update(to.release, line.release)
    if request.force:
        complaints = [one for one in complaints if one.cause not in _JUDGED_BY_UNITS]
    if request.back:
        complaints += inspect_update(line.release, to.release, allow_downgrade=True)
    if complaints:
        raise ComplaintsError(complaints)


class _Sent:
    """How many bytes of images were sent."""

    def __init__(self) -> None:
        self.octets = 0
        self._lock = threading.Lock()

    def note(self, access: Access) -> None:
        """Count an answered request; called in the threads of the connections."""
        with self._lock:
            self.octets += access.sent


@contextmanager
def _served(
    releases: Mapping[str, Accepted], request: TryRequest, context: ssl.SSLContext, sent: _Sent
) -> Iterator[Mapping[str, OfferedRelease]]:
    """Serve the apps of *releases* from a shelf that ends with the block; yield them with their URLs, by channel."""
    with tempfile.TemporaryDirectory(prefix="rmfab-ota-") as folder:
        shelf = Path(folder) / "shelf"
        images = {
            channel: publish(shelf, one.release, None, channel, allow_downgrade=True).image
            for channel, one in releases.items()
        }
        with ShelfServer(shelf, context, host=request.address, port=request.tcp_port, on_access=sent.note) as server:
            host = request.name or server.host
            refuse_other_name(request.cert, host)
            url = server.url_as(host)
            with _serving(server):
                yield {channel: OfferedRelease(one, f"{url}/{images[channel]}") for channel, one in releases.items()}


@contextmanager
def _serving(server: ShelfServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve, name="images", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.stop()
        thread.join()
