"""A shared ledger and this station's lease of it, as one ledger for the line.

As long as the server is there, it decides. While it is away, a board gets an identity of the lease if `judge_offline`
lets it. What happens to a unit is recorded where the unit is at home: in the lease, from its claim there until that is
merged; else in the shared ledger, or in the spool until the server is back.

The server is back once all that waits is there: the spool, and the return of the lease (`Stock.settle`). A thread tries
that in the background, at longer and longer intervals. If the claim of a board on the server may have been written, the
board gets nothing from the lease.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from rmfab.errors import BatchUsedUp, InputError, IntegrityError, LedgerError, RmfabError
from rmfab.ledger.badge import signed
from rmfab.ledger.claim_terms import ALONE, Around, Carried, Claim, Wish
from rmfab.ledger.events import Event, StoredEvent, normal_mac, timestamp
from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.sql.outage import Away, Unsettled, Watcher
from rmfab.ledger.states import State
from rmfab.line.events import identities_text
from rmfab.line.offline import HINT, Offline, judge_offline, leased_batches, must_wait
from rmfab.line.stock import Stock

if TYPE_CHECKING:
    from rmfab.ledger.histories import PastEvent
    from rmfab.ledger.store import Ledger

T = TypeVar("T")

GRACE = 3.0
"""A server that is back within so many seconds was not away."""
_FIRST_LOOK, _LAST_LOOK = 1.0, 30.0
"""The intervals at which a server that is away is tried again, in seconds."""
_LAST_WAIT = 5.0
"""How long the end of a run waits for a look at the server that a frozen network holds up, in seconds."""
_REFRESH = 300.0
"""How often the list of bound boards is asked for while the server is there, in seconds."""


@dataclass(frozen=True)
class LeasedIdentity(LedgerIdentity):
    """An identity of the lease: its *chunk* is one of the lease's ledger."""


class LeasedLedger:
    """A shared ledger with the *stock* of this station. See `LineLedger`.

    *open_shared* returns the open shared ledger, or raises LedgerError as long as its server is away; *here*: it was
    just asked, and everything that waits in the stock was brought to it. *renew* fills the lease up.
    """

    def __init__(
        self, open_shared: Callable[[], Ledger], stock: Stock, renew: Callable[[], None], line: Wish, *, here: bool
    ) -> None:
        self._open_shared = open_shared
        self._stock = stock
        self._lease = stock.lease
        self._renew = renew
        self._line = line
        self._here = here
        self._changing = threading.RLock()
        self._at_home: set[str] = set()  # the MACs of units that were claimed from the lease, and are not merged
        self._merged: set[str] = set()  # of those that were, and on which the shared ledger may have worked since
        self._told: int | None = None  # how many identities the operator was told of last
        self._refusal: IntegrityError | None = None
        self._watcher = Watcher(lambda: True, lambda _: None)
        self._guards = ExitStack()
        self._guarded = False
        self._trying = False
        self._over = threading.Event()

    @property
    def here(self) -> bool:
        """Whether the server was there when it was asked last."""
        return self._here

    # What the line asks

    def claim(
        self,
        mac: str,
        wish: Wish,
        *,
        station: str,
        ts: str,
        slot: str | None = None,
        carried: Carried | None = None,
        around: Around = ALONE,
    ) -> Claim:
        """See `LineLedger.claim`. Raise LedgerError (cause `ledger-away`) if the board must wait for the server."""
        if self._refusal is not None:
            raise self._refusal
        order = _Order(normal_mac(mac), wish, station, ts, slot, carried, around)
        if self._asks_server(order.mac):
            try:
                return self._claim_there(order)
            except Away as error:
                self._lose(error)
            except BatchUsedUp:
                # The server has no unit of this board, and nothing that it carries. If the lease has one, it is void.
                if not self._left(order.ts) or self._lease.identity_by_mac(order.mac) is not None or wish.replaces:
                    raise
                return self._claim_here(order)
        if wish.replaces is not None:
            raise must_wait("only it may replace an identity", order.mac)
        self._judge(order)
        return self._claim_here(order)

    def record(self, station: str, events: Iterable[Event]) -> None:
        """See `LineLedger.record`."""
        said = tuple(signed(event, self._lease.badge.name) for event in events)
        after = self._stock.spool.heads()
        mac = next((event.mac for event in reversed(said) if event.mac is not None), None)
        with self._changing:
            if mac in self._at_home:
                self._lease.record(station, said)
                return
            if not self._here:
                self._stock.spool.add(station, said, after)
                return
        try:
            self._server().record(station, said)
        except (Away, Unsettled) as error:  # if it was written, the replay finds it
            with self._changing:
                self._lose(error)
                self._stock.spool.add(station, said, after)

    def identity_by_mac(self, mac: str) -> LedgerIdentity | None:
        """See `LineLedger.identity_by_mac`."""
        mac = normal_mac(mac)
        if self._asks_server(mac):
            try:
                found = self._server().identity_by_mac(mac)
                if found is not None:
                    self._stock.boards.see(mac)
                    return found
                if not self._is_unmerged(mac):
                    return None
            except Away as error:
                self._lose(error)
        return _leased(self._lease.identity_by_mac(mac))

    def identity_by_serial(self, serial: str) -> LedgerIdentity | None:
        """See `LineLedger.identity_by_serial`."""
        leased = _leased(self._lease.identity_by_serial(serial))
        if leased is not None and leased.mac in self._at_home:
            return leased
        if self._here:
            try:
                return self._server().identity_by_serial(serial)
            except Away as error:
                self._lose(error)
        if leased is None and self._stock.boards.is_serial(serial):
            raise must_wait(f"serial {serial} belongs to a board that it has bound")
        return leased

    def identities_named(self, service_name: str) -> tuple[LedgerIdentity, ...]:
        """See `LineLedger.identities_named`: those of the lease count, once."""
        there: tuple[LedgerIdentity, ...] = ()
        if self._here:
            try:
                there = self._server().identities_named(service_name)
            except Away as error:
                self._lose(error)
        known = {one.name for one in there}
        leased = self._lease.identities_named(service_name)
        return (*there, *(LeasedIdentity(**_fields(one)) for one in leased if one.name not in known))

    def hint_for_unknown(self, term: str) -> str | None:
        """See `LineLedger.hint_for_unknown`."""
        return self._asked(lambda ledger: ledger.hint_for_unknown(term))

    def history(self, term: str) -> tuple[StoredEvent, ...]:
        """See `LineLedger.history`."""
        return self._asked(lambda ledger: ledger.history(term))

    def station_verdicts(self, station: str, since: str, until: str) -> tuple[PastEvent, ...]:
        """See `LineLedger.station_verdicts`. Raise LedgerError while the server is away: it alone has all."""
        return self._answered(lambda ledger: ledger.station_verdicts(station, since, until))

    def unit_verdicts(self, name: str, until: str) -> tuple[PastEvent, ...]:
        """See `LineLedger.unit_verdicts`. Raise LedgerError while the server is away."""
        return self._answered(lambda ledger: ledger.unit_verdicts(name, until))

    def free(self, product: str, batch: str | None = None, *, ts: str = "") -> int:
        """See `LineLedger.free`: those of the lease count."""
        left = self._left(ts)
        if self._here:
            try:
                return left + self._server().free(product, batch, ts=ts)
            except Away as error:
                self._lose(error)
        return left

    # Claims

    def _asks_server(self, mac: str) -> bool:
        """Return whether the server is there and knows the board *mac* better than the lease."""
        with self._changing:
            return self._here and mac not in self._at_home

    def _is_unmerged(self, mac: str) -> bool:
        """Return whether *mac* is a unit of the lease of which the server does not know: of a different process."""
        held = self._lease.identity_by_mac(mac)
        there = None if held is None else self._server().standings([held.name]).get(held.name)
        unmerged = there is not None and there.state is State.HANDED_OVER
        if unmerged:
            with self._changing:
                self._at_home.add(mac)
        return unmerged

    def _claim_there(self, order: _Order) -> Claim:
        """Claim on the server. Unless it was surely not bound, the board is remembered as bound."""
        boards = self._stock.boards
        boards.begin(order.mac)
        try:
            claim = order.of(self._server(), order.wish)
        except Unsettled as error:
            self._lose(error)
            raise
        except (Away, InputError, IntegrityError):
            boards.end(order.mac, bound=False)
            raise
        boards.end(order.mac, bound=True)
        return claim

    def _judge(self, order: _Order) -> None:
        """Raise LedgerError if the board must wait until the server is back."""
        boards, mac = self._stock.boards, order.mac
        held = self._lease.identity_by_mac(mac)
        seen = Offline(
            mac,
            held,
            bound=boards.bound(mac),
            otherwise=held is not None and (mac in self._merged or boards.otherwise(held.name)),
            carried=order.carried,
            found=() if order.carried is None else self._lease.identities_carried(order.carried),
        )
        judge_offline(seen)

    def _claim_here(self, order: _Order) -> Claim:
        """Claim from the lease. Raise BatchUsedUp, or LedgerError while the server is away, if nothing is left."""
        mine = leased_batches(self._lease.batches(), order.wish.batch)
        known = self._lease.identity_by_mac(order.mac) is not None or order.wish.serial is not None
        for name in (None,) if known or order.wish.batch is None else mine:
            try:
                with self._changing:
                    claim = order.of(self._lease, replace(order.wish, batch=name))
                    self._at_home.add(order.mac)
                    self._merged.discard(order.mac)
            except BatchUsedUp:
                continue
            self._tell_left(order.ts)
            other = order.wish.batch is not None and claim.identity.batch not in mine
            identity = LeasedIdentity(**_fields(claim.identity))
            return replace(claim, identity=identity, other_batch=other)
        if self._here:
            raise BatchUsedUp("the batch and this station's lease of it are used up")
        raise LedgerError(
            "no identity is left in this station's lease, and the ledger's server is away",
            where=order.mac,
            hint=HINT,
            cause="ledger-away",
        )

    def _left(self, ts: str) -> int:
        """Count what is left in the lease for this line."""
        names = leased_batches(self._lease.claimable(self._line.product, ts), self._line.batch)
        return sum(self._lease.free(self._line.product, name, ts=ts) for name in names)

    def _answered(self, question: Callable[[Ledger], T]) -> T:
        if not self._here:
            raise LedgerError("the ledger's server is away", hint=HINT, cause="ledger-away")
        try:
            return question(self._server())
        except Away as error:
            self._lose(error)
            raise

    def _asked(self, question: Callable[[Ledger], T]) -> T:
        if self._here:
            try:
                return question(self._server())
            except Away as error:
                self._lose(error)
        return question(self._lease)

    # Away and back

    @contextmanager
    def guarded(self, watcher: Watcher | None = None) -> Iterator[None]:
        """See `LineLedger.guarded`. *watcher* is told when the server is away, and when it is back."""
        self._watcher = watcher or self._watcher
        self._over.clear()
        if self._here:
            self._server()
        else:
            self._tell_away("the ledger's server is away")
        looking = threading.Thread(target=self._look, name="look for the ledger", daemon=True)
        looking.start()
        try:
            with self._lease.guarded():
                yield
        finally:
            self._over.set()
            looking.join(_LAST_WAIT)
            if self._here and self._waits() and not looking.is_alive():
                self._come_back()
            self._guards.close()
            self._guarded = False

    def _server(self) -> Ledger:
        """Return the open shared ledger. Raise LedgerError if the server is away."""
        shared = self._open_shared()
        with self._changing:
            if not self._guarded:
                waiting = Watcher(self._is_waiting, lambda _: None, GRACE)
                self._guards.enter_context(shared.guarded(waiting))
                self._guarded = True
        return shared

    def _is_waiting(self) -> bool:
        """Return whether an attempt at the server goes on within its grace."""
        return self._watcher.waits() and (self._here or self._trying)

    def _look(self) -> None:
        """Look for a server that is away, and ask one that is there for what changes."""
        pause, asked = _FIRST_LOOK, time.monotonic()
        while not self._over.wait(pause) and self._refusal is None:
            due = time.monotonic() - asked > _REFRESH
            if self._here and not due and not self._waits():
                pause = _FIRST_LOOK
                continue
            there = self._come_back()
            pause = _FIRST_LOOK if there else min(2 * pause, _LAST_LOOK)
            asked = time.monotonic()

    def _waits(self) -> bool:
        """Return whether anything waits for the server."""
        return bool(self._at_home) or len(self._stock.spool) > 0

    def _come_back(self) -> bool:
        """Bring everything to the server; return whether it is there."""
        self._trying = True
        try:
            shared = self._server()
            settled = self._stock.settle(shared)
            for warning in settled.warnings:
                self._watcher.tell(warning)
            self._renew()
            with self._changing:
                self._merged.clear()
            self._stock.look(shared)
            with self._changing:
                self._stock.settle(shared)  # what came meanwhile
                self._merged |= self._at_home
                self._at_home.clear()
                was_away, self._here = not self._here, True
        except IntegrityError as error:
            self._refusal = error
            self._watcher.refuse(error)
            self._stock.stop.keep(error)
            return False
        except RmfabError as error:
            self._lose(error)
            return False
        finally:
            self._trying = False
        if was_away:
            self._told = None
            self._watcher.tell("the ledger is back, and has what was done meanwhile")
        return True

    def _lose(self, error: RmfabError) -> None:
        """Go on without the server, because of *error*."""
        with self._changing:
            was_here, self._here = self._here, False
        if was_here:
            self._tell_away(error.what)

    def _tell_away(self, why: str) -> None:
        now = self._stock.now()
        self._told = self._left(timestamp(now))
        left = identities_text(self._told)
        self._watcher.tell(f"{why}; ledger away since {now.astimezone():%H:%M}, {left} left in this station's lease")

    def _tell_left(self, ts: str) -> None:
        """Say how many identities are left, if that is half of what was said last, or nothing."""
        with self._changing:
            told = self._told
            if self._here or told is None:
                return
            left = self._left(ts)
            if left > told // 2:
                return
            self._told = left if left else None
        self._watcher.tell(f"{identities_text(left)} left in this station's lease, and the ledger is still away")


@dataclass(frozen=True)
class _Order:
    """A claim of the line; see `LineLedger.claim`."""

    mac: str
    wish: Wish
    station: str
    ts: str
    slot: str | None
    carried: Carried | None
    around: Around

    def of(self, ledger: Ledger, wish: Wish) -> Claim:
        """Claim from *ledger*."""
        return ledger.claim(
            self.mac,
            wish,
            station=self.station,
            ts=self.ts,
            slot=self.slot,
            carried=self.carried,
            around=self.around,
        )


def _leased(identity: LedgerIdentity | None) -> LeasedIdentity | None:
    return None if identity is None else LeasedIdentity(**_fields(identity))


def _fields(identity: LedgerIdentity) -> dict[str, Any]:
    return {one.name: getattr(identity, one.name) for one in fields(identity)}
