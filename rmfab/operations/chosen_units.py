"""The units that an export or a registration is about, and what their cloud learns about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rmfab.cloud.node import Node
from rmfab.errors import InputError
from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.states import State
from rmfab.operations.named_unit import named_unit
from rmfab.operations.terminal import Terminal, counted
from rmfab.secret import Secret
from rmfab.workspace.workspace import Workspace


class ChosenUnits:
    """The units that *units* (batches and serials) name, each once, in one of *states* (empty: all that are ours).

    *what* is done with them, for messages. *taken* and *left_out* count them as they pass. Raise InputError for a
    serial that does not exist, or whose unit is in a different state.
    """

    def __init__(self, workspace: Workspace, units: Sequence[str], states: Sequence[State], what: str) -> None:
        self._workspace = workspace
        self._what = what
        self._states = tuple(states) or tuple(state for state in State if state.ours)
        known = {batch.name for batch in workspace.ledger.batches()}
        self._batches = [name for name in dict.fromkeys(units) if name in known]
        serials = [self._named(name) for name in dict.fromkeys(units) if name not in known]
        self._single = [one for one in serials if one.batch not in self._batches]
        self.taken: dict[str, int] = {}
        self.left_out: dict[str, int] = {}
        self.total = len(self._single) + sum(workspace.ledger.closed_batch(name).size for name in self._batches)
        self.passed = 0

    def identities(self) -> Iterator[LedgerIdentity]:
        """Yield the identities, in the order of the batches, in constant memory. Raise InputError if there is none."""
        for one in self._all():
            self.passed += 1
            if one.state in self._states:
                self.taken[one.batch] = self.taken.get(one.batch, 0) + 1
                yield one
            else:
                self.left_out[one.state.value] = self.left_out.get(one.state.value, 0) + 1
        if not self.taken:
            hint = "`rmfab status` shows their states"
            raise InputError(f"no unit here can be {self._what}", hint=hint, cause="state")

    def _all(self) -> Iterator[LedgerIdentity]:
        for batch in self._batches:
            yield from self._workspace.ledger.identities(batch)
        yield from self._single

    def _named(self, serial: str) -> LedgerIdentity:
        one = named_unit(self._workspace, serial)
        if one.state not in self._states:
            raise InputError(
                f"the unit is {one.state}", where=serial, hint="`rmfab trace` shows its history", cause="state"
            )
        return one


def tell_left_out(left_out: Mapping[str, int], terminal: Terminal) -> None:
    """Report how many units of each state are left out."""
    for state, count in left_out.items():
        terminal.say(f"left out {counted(count, 'unit')}: {state}")


def node_of(one: LedgerIdentity, payload: Secret[str] | None = None) -> Node:
    """Return what the cloud learns about *one*. Raise InputError (cause `no-certificate`) if it has no certificate,
    IntegrityError if that is not for its node id."""
    if one.node_id is None or one.record.certificate is None:
        raise InputError(
            "the unit has no certificate: it gets it by claiming",
            where=one.serial,
            hint="RainMaker registers it when it claims; nothing else is to be done",
            cause="no-certificate",
        )
    serial = None if one.unnamed else one.serial
    return Node(one.node_id, one.record.certificate, serial, one.batch, one.state.value, one.mac, payload)
