"""Which units a check of credentials may connect as: none that may be online itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from rmfab.cloud.credentials import ClientPair, CloudUnit
from rmfab.errors import InputError
from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.states import State
from rmfab.operations.named_unit import named_unit, named_units
from rmfab.operations.terminal import Terminal, counted
from rmfab.workspace.workspace import Workspace

_ELSEWHERE: Mapping[State, tuple[str, str]] = {
    State.VOID: ("the identity is void", "void"),
    State.HANDED_OVER: ("the identity is handed over: the station that has it checks it", "handed-over"),
    State.QUARANTINED: ("the identity is in quarantine: a board of a lost ledger may have it", "quarantined"),
}


def cloud_unit(workspace: Workspace, one: LedgerIdentity) -> CloudUnit:
    """Open the credentials of *one* with this station's key. Raise as `Workspace.open_identity` does, and InputError
    (cause `no-certificate`) if it has none."""
    identity = workspace.open_identity(one)
    if identity.node_id is None or identity.certificate_pem is None or identity.private_key_pem is None:
        raise InputError(
            "the identity has no certificate: the unit gets it by claiming",
            where=one.serial,
            hint='only units with credentials = "certificate" can be checked',
            cause="no-certificate",
        )
    return CloudUnit(identity.node_id, ClientPair(identity.certificate_pem, identity.private_key_pem))


def select_units(
    workspace: Workspace, units: Sequence[str], sample: int | None, terminal: Terminal
) -> list[LedgerIdentity]:
    """Return the identities that *units* name, each once, in order; only *sample* of them, evenly spread, if it is set.

    Raise InputError for a serial that cannot be checked, and for any unit that may be online: a second connection with
    its client id would throw it out.
    """
    of_batch, of_serial = partial(_of_batch, workspace, terminal), partial(_of_serial, workspace)
    chosen = named_units(workspace, units, of_batch, of_serial)
    if not chosen:
        raise InputError("no unit here can be checked", where=" ".join(units))
    spread = _spread(chosen, sample)
    _refuse_online(workspace, spread)
    _warn_of_finished(spread, terminal)
    return spread


def _of_batch(workspace: Workspace, terminal: Terminal, batch: str) -> list[LedgerIdentity]:
    there = list(workspace.ledger.identities(batch))
    found = [one for one in there if one.state.ours and not one.unnamed]
    if skipped := len(there) - len(found):
        what = counted(skipped, "identity that is", "identities that are")
        terminal.say(f"skipped {what} void, in quarantine, handed over, or without a serial")
    return found


def _of_serial(workspace: Workspace, serial: str) -> LedgerIdentity:
    identity = named_unit(workspace, serial)
    if (why := _ELSEWHERE.get(identity.state)) is not None:
        raise InputError(why[0], where=identity.serial, cause=why[1])
    return identity


def _spread(units: list[LedgerIdentity], sample: int | None) -> list[LedgerIdentity]:
    if sample is None or sample >= len(units):
        return units
    return [units[place * len(units) // sample] for place in range(sample)]


def _refuse_online(workspace: Workspace, units: list[LedgerIdentity]) -> None:
    online = workspace.ledger.maybe_online(one.name for one in units)
    named = next((one.serial for one in units if one.name in online), None)
    if named is not None:
        others = f", and {counted(len(online) - 1, 'more unit')}" if len(online) > 1 else ""
        raise InputError(
            f"the unit may be online{others}: it joined a network, and was not reset since",
            where=named,
            hint="`rmfab reset` it first: a check would throw it off its broker",
            cause="maybe-online",
        )


def _warn_of_finished(units: list[LedgerIdentity], terminal: Terminal) -> None:
    if finished := sum(one.finished for one in units):
        is_done = "is" if finished == 1 else "are"
        terminal.warn(
            f"{counted(finished, 'unit')} {is_done} verified and labelled",
            "if one was shipped and is online, a check throws it off its broker",
        )
