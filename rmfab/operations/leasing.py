"""The lease of a station: identities of a shared ledger that it may give while the server is away.

A lease is a handover to this station's own ledger `lease.db`, without a file. The shared ledger takes the identities
out of the pool first; then the station receives them. A command that is killed in between leaves a lease that only this
ledger can receive, and the next one does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rmfab.errors import BatchUsedUp, InputError, IntegrityError, LedgerError, RmfabError
from rmfab.identity.policy import differences
from rmfab.identity.sealed_record import SealedRecord
from rmfab.identity.station_card import StationCard
from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.events import timestamp
from rmfab.ledger.host_record import Holding, HostRecord
from rmfab.ledger.records import NEVER, LedgerIdentity
from rmfab.ledger.sql.outage import Away
from rmfab.ledger.sql.server_address import is_url
from rmfab.line.bound_boards import BoardMemory
from rmfab.line.offline import leased_batches
from rmfab.line.spool import Spool
from rmfab.line.stop_note import StopNote
from rmfab.operations.merge_return import warn_of_quarantine
from rmfab.operations.pool import hold_pool
from rmfab.operations.terminal import UNATTENDED, Terminal, counted
from rmfab.workspace.gitignore import ignore_secrets
from rmfab.workspace.workspace import Workspace

if TYPE_CHECKING:
    from rmfab.identity.identity import Identity
    from rmfab.ledger.handovers import Handover
    from rmfab.line.leased_ledger import LeasedLedger
    from rmfab.line.stock import Stock

T = TypeVar("T")

_SPOOL, _BOARDS, _STOP = "spool", "lease.macs", "lease.stop"


def lease_size(workspace: Workspace) -> int:
    """Return how many identities this station leases, 0 if it leases none.

    Raise InputError if station.toml wants a lease, and the ledger is a file.
    """
    size = workspace.station.lease
    if size and not is_url(workspace.ledger_path):
        raise InputError(
            "a lease is taken from a ledger on a server, and this one is a file",
            where="station.toml: [station] lease",
            hint="remove lease, or set ledger to the address of the server",
        )
    return size


class StationLease:
    """The lease of the station of *workspace*: *size* identities of *batch* of the shared ledger, None for any batch
    of the product."""

    def __init__(self, workspace: Workspace, size: int, batch: str | None, terminal: Terminal = UNATTENDED) -> None:
        self._workspace = workspace
        self._lease = workspace.lease
        self._size = size
        self._batch = batch
        self._terminal = terminal
        self._here = False

    @property
    def asked(self) -> Workspace:
        """The workspace whose ledger can be asked now: that of the lease if the server is away."""
        return self._workspace if self._here else self._lease

    @property
    def followers(self) -> tuple[Workspace, ...]:
        """The workspaces in which an acceptance is recorded: the lease must know it when the server is away."""
        return (self._workspace, self._lease) if self._here else (self._lease,)

    def enter(self) -> None:
        """Bring what waits to the server and fill the lease up. If the server is away, make do with the lease.

        Raise LedgerError (cause `ledger-away`) if the server is away and there is no lease; IntegrityError if the lease
        contradicts the shared ledger, or was declared lost, also if that was found before, and the server is away now.
        """
        self._make()
        hold_pool(self._lease, self._terminal)
        stock = self.stock()
        try:
            with stock.stop.judged_by_server():
                hold_pool(self._workspace, self._terminal)
                self._workspace.inquiry.enter(self._workspace.station.name)
                self._receive_interrupted()
                self._settle(stock)
                self._fill()
                stock.look(self._workspace.ledger)
                self._learn()
                self._here = True
        except Away as error:
            if not self._lease.ledger.exchange.receipts():
                raise LedgerError(
                    error.what,
                    where=error.where,
                    hint="this station has no lease yet: it takes one at the first run with the server",
                    cause="ledger-away",
                ) from error
            stock.stop.judge()

    def names(self) -> tuple[str, ...]:
        """Return the batches of the lease from which this line can claim. Raise LedgerError if there are none, and the
        server is away."""
        product, ts = self._workspace.product.name, timestamp(self._workspace.now())
        names = leased_batches(self._lease.inquiry.claimable(product, ts), self._batch)
        if not names and not self._here:
            whose = "this product" if self._batch is None else f"batch {self._batch}"
            raise LedgerError(
                f"the ledger's server is away, and this station's lease has nothing left of {whose}",
                hint="run a batch that the lease has, or wait for the server",
                cause="ledger-away",
            )
        return names

    @cached_property
    def line_ledger(self) -> LeasedLedger:
        """The ledger for the line."""
        from rmfab.line.leased_ledger import LeasedLedger

        line = Wish(self._workspace.product.name, self._batch)
        return LeasedLedger(lambda: self._workspace.ledger, self.stock(), self.renew, line, here=self._here)

    def ask(self, question: Callable[[Workspace], T]) -> T:
        """Return the answer of the workspace to *question*; while the server is away, of that with the lease."""
        if self.line_ledger.here:
            with suppress(Away):
                return question(self._workspace)
        return question(self._lease)

    def open_identity(self, record: LedgerIdentity) -> Identity:
        """Open an identity of the line: of the lease, or of the shared ledger. See `Workspace.open_identity`."""
        from rmfab.line.leased_ledger import LeasedIdentity

        return (self._lease if isinstance(record, LeasedIdentity) else self._workspace).open_identity(record)

    def stock(self) -> Stock:
        """Return what this station has for when the server is away."""
        from rmfab.line.stock import Stock

        root = self._workspace.root
        return Stock(
            self._lease.ledger,
            BoardMemory(root / _BOARDS, root / _SPOOL),
            station_spool(self._workspace),
            StopNote(root / _STOP),
            self._workspace.station.name,
            self._workspace.now,
        )

    def renew(self) -> None:
        """Fill the lease up from the batches that the line would claim from, as far as they have free identities.

        Raise IntegrityError if it was declared lost.
        """
        self._receive_interrupted()
        self._fill()

    def _fill(self) -> None:
        shared, ts = self._workspace.inquiry, timestamp(self._workspace.now())
        product = self._workspace.product.name
        for batch in shared.claimable(product, ts):
            theirs = self._batch not in (None, batch.name, batch.replaces)
            if theirs or differences(batch.policy, self._workspace.product):
                continue
            self._workspace.load_keys(batch.name)  # units under way must be opened when the server has gone
            wanted = self._size - self._left(ts)
            if wanted > 0:
                with suppress(BatchUsedUp):  # by a different station just now, or but for what this one gave back
                    self._take(batch.name, wanted)

    def release(self) -> int:
        """Give back what no board has; return how many."""
        from rmfab.exchange.lease_return import merge_lease

        stock, shared = self.stock(), self._workspace
        with stock.stop.judged_by_server():
            hold_pool(shared, self._terminal)
            shared.inquiry.enter(shared.station.name)
            hold_pool(self._lease, self._terminal)
            self._receive_interrupted()
            self._settle(stock)
        station, ts = self._workspace.station.name, timestamp(self._workspace.now())
        merged = merge_lease(shared.ledger, self._lease.ledger, station=station, ts=ts, unused=True)
        if merged.quarantined:
            warn_of_quarantine(merged.quarantined, self._terminal)
        return merged.given_back

    def _settle(self, stock: Stock) -> None:
        for warning in stock.settle(self._workspace.ledger).warnings:
            self._terminal.warn(warning)

    def _learn(self) -> None:
        """Record in the lease which release and trust file the shared ledger accepted last."""
        product, station = self._workspace.product.name, self._workspace.station.name
        shared, lease = self._workspace.ledger, self._lease.ledger
        for there, here in (
            (shared.last_release(product), lease.last_release(product)),
            (shared.last_trust(product), lease.last_trust(product)),
        ):
            if there is not None and (here is None or here.event.details != there.event.details):
                lease.accept(station, there.event, after=here)

    def _make(self) -> None:
        """Make the ledger of the lease if there is none."""
        if self._lease.make_ledger():
            ignore_secrets(self._workspace.root)

    def _left(self, ts: str) -> int:
        lease, product = self._lease.ledger, self._workspace.product.name
        names = leased_batches(lease.claimable(product, ts), self._batch)
        return sum(lease.free(product, name, ts=ts) for name in names)

    def _take(self, batch: str, count: int) -> None:
        """Lease *count* identities of *batch*, or what is left of it."""
        from rmfab.ledger.handovers import Lessee, Terms

        station, key = self._workspace.station.name, self._workspace.signing_key.public
        card = StationCard(station, self._workspace.station_key.recipient, key)
        terms = Terms(station, card.fingerprint, card.recipient, key.pem, NEVER)
        lease, ts = self._lease.ledger, timestamp(self._workspace.now())
        lessee = Lessee(lease.id, lease.holder or "")
        given = self._workspace.ledger.exchange.lease(batch, count, terms, lessee, station=station, ts=ts)
        self._receive(given)

    def _receive_interrupted(self) -> None:
        """Receive what was leased to this ledger and not received. Raise IntegrityError if a lease is lost."""
        lease, shared = self._lease.ledger, self._workspace.ledger
        received = {one.origin.handover: one for one in lease.exchange.receipts()}
        if any(one.origin.pool != shared.id for one in received.values()):
            raise InputError(
                "this station has a lease of a different ledger",
                where=str(self._lease.ledger_path),
                hint="set ledger to that one again, and run `rmfab station release`",
                cause="handed-over",
            )
        for given, _ in shared.exchange.handovers():
            ours = given.lease is not None and (given.lease.ledger, given.lease.holder) == (lease.id, lease.holder)
            if given.number in received and given.lost:
                raise _lost(given, self._lease.ledger_path)
            if ours and given.number not in received and not given.lost:
                self._receive(given)

    def _receive(self, given: Handover) -> None:
        """Receive the lease *given*, sealed again for this station alone."""
        from rmfab.exchange.handover_file import HandoverDocument
        from rmfab.exchange.lease_return import lease_text
        from rmfab.ledger.receipts import Receipt

        shared = self._workspace.ledger
        document = HandoverDocument.of(shared.id, shared.batch(given.batch), given, shared.unique_key or "", {})
        owner, now = self._workspace.signing_key.public.id, timestamp(self._workspace.now())
        receipt = Receipt(document.origin, owner, {}, lease_text(given), ts=now)
        station = self._workspace.station.name
        self._lease.ledger.exchange.receive(document.order, self._chunks(given), receipt, station=station)

    def _chunks(self, given: Handover) -> Iterator[tuple[bytes, list[SealedRecord]]]:
        from rmfab.exchange.handover_file import CHUNK
        from rmfab.operations.resealing import Resealing

        identities = self._workspace.ledger.exchange.handed_over(given.number)
        seal = partial(Resealing(self._workspace).chunk, recipient=self._workspace.station_key.recipient)
        yield from map(seal, iter(lambda: list(islice(identities, CHUNK)), []))


def station_spool(workspace: Workspace) -> Spool:
    """Return the spool of the station of *workspace*."""
    return Spool(workspace.root / _SPOOL, _Heads(workspace))


class _Heads:
    """The last events that this host knows to be in the shared ledger of *workspace*, which may be away."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._record: HostRecord | None = None

    def __call__(self) -> dict[str, int]:
        """Return their numbers by chain."""
        if self._record is None:
            received = self._workspace.lease.ledger.exchange.receipts()
            if not received:
                return {}
            self._record = HostRecord(self._workspace.host, received[0].origin.pool)
        record = self._record.read()
        return {chain: head.seq for chain, head in record.heads.items()} if isinstance(record, Holding) else {}


def release_lease(workspace: Workspace, terminal: Terminal = UNATTENDED) -> int:
    """Give back what is unused of the lease of this station; return how many. Raise LedgerError if the server is away,
    InputError if the ledger is a file."""
    if not workspace.lease.has_ledger:
        terminal.say("this station has no lease; nothing to do")
        if is_url(workspace.ledger_path) and workspace.has_station_key:
            _warn_of_others(workspace, terminal)
        return 0
    if not is_url(workspace.ledger_path):
        raise InputError(
            "this station has a lease of a ledger on a server, and this one is a file",
            where=str(workspace.ledger_path),
            hint="set ledger in station.toml to the address of the server",
        )
    given = StationLease(workspace, 0, None, terminal).release()
    terminal.say(f"{counted(given, 'identity', 'identities')} given back to the shared ledger")
    _warn_of_others(workspace, terminal)
    if workspace.station.lease and given:
        terminal.say("the next run takes a lease again, unless you remove lease from station.toml")
    return given


def _warn_of_others(workspace: Workspace, terminal: Terminal) -> None:
    """Warn of leases of this station that are still out: a different lease.db has them, or had."""
    own = workspace.station_key.recipient
    for one, out in workspace.ledger.exchange.handovers():
        if one.lease is not None and out and one.terms.recipient == own:
            terminal.warn(
                f"{counted(out, 'identity', 'identities')} of lease {one.number} of this station cannot be given back "
                "from here: a different lease.db has them",
                f"if that is lost, the owner voids them: `rmfab handover --lost {one.number}`",
            )


def _lost(given: Handover, path: Path | str) -> RmfabError:
    return IntegrityError(
        f"lease {given.number} of this station was declared lost: its identities are void",
        where=str(path),
        hint="stop the line, set aside the boards that were made without the server since, and move lease.db out of "
        "the workspace; declare the other leases of this station lost, too (`rmfab handover`)",
        cause="handover-lost",
    )
