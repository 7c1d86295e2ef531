"""What to do with a board after an interruption: its flash against the ledger. Pure.

The line gives the same identity to the same MAC, whatever was cut short, so almost every board may simply be run again
(RESUME). It must not be if running it could leave one identity on two boards, or would destroy the only trace of a
mix-up (QUARANTINE: a person must look). RELEASE gives up a claim, and is rare: see `Finding.UNWRITTEN_CLAIM`.

A claim is never taken back into the pool, not even if its board is blank: a backup of the ledger from before still
gives that identity to that board, and an adoption after a loss puts only free identities in quarantine. So a released
identity becomes void. It is lost, and cannot be on two boards.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique

from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.states import State


@unique
class Action(StrEnum):
    """What to do with a board."""

    IN_ORDER = "in order"
    RESUME = "resume"
    RELEASE = "release"
    QUARANTINE = "quarantine"


@unique
class FactoryData(StrEnum):
    """What a board's factory partition contains.

    BLANK: only 0xFF. UNREADABLE: something, but no identity: a write was cut short, or the firmware ran without a
    factory image and drew a `random` of its own, as RainMaker's does (app_network.c). PART: an identity, but not its
    whole image. WHOLE: the whole image of an identity. NAMED: an identity whose image this host cannot compare, because
    it cannot open the identity.
    """

    BLANK = "blank"
    UNREADABLE = "unreadable"
    PART = "part"
    WHOLE = "whole"
    NAMED = "named"


@unique
class Finding(StrEnum):
    """What a board and the ledger say together."""

    VERIFIED = "verified"
    NEW = "new"
    NOT_WRITTEN = "not-written"
    CUT_SHORT = "cut-short"
    NOT_VERIFIED = "not-verified"
    FAILED = "failed"
    OTHER_FIRMWARE = "other-firmware"
    VOID_REMAINS = "void-remains"
    CARRIED = "carried"
    UNWRITTEN_CLAIM = "unwritten-claim"
    """The board is claimed for one identity, which was never flashed or labelled, and its flash contains the whole
    image of a different one, which no board has. The image proves that the claim was never written, so the claimed
    identity becomes void, and the next run binds the one in the flash."""
    CLONE = "clone"
    MIXED = "mixed"
    CONFLICT = "conflict"
    VOID = "void"
    UNKNOWN = "unknown"
    UNREADABLE = "unreadable"
    OTHER_PRODUCT = "other-product"
    OPEN_BATCH = "open-batch"
    HANDED_OVER = "handed-over"
    NOT_HOLDER = "not-holder"


@dataclass(frozen=True)
class BoardContent:
    """What was read from a board: its *mac*, its *factory* partition, and whether it holds the *firmware* that the
    ledger says it was flashed with, None if that was not compared."""

    mac: str
    factory: FactoryData
    firmware: bool | None = None


@dataclass(frozen=True)
class Known:
    """What the ledger knows about a board.

    *held*: the live unit with its MAC. *carried*: the identities of this ledger that its flash names. *product*: that
    of the line. *holds_pool*: whether this host may give identities from this ledger. *open_batches*: not finished yet.
    """

    held: LedgerIdentity | None
    carried: tuple[LedgerIdentity, ...]
    product: str
    holds_pool: bool = True
    open_batches: frozenset[str] = frozenset()

    @property
    def live(self) -> tuple[LedgerIdentity, ...]:
        """The identities that the flash names and that are not void."""
        return tuple(one for one in self.carried if one.state is not State.VOID)


@dataclass(frozen=True)
class Verdict:
    """What to do with a board, and why; *unit* is the identity that it is about, None if there is none."""

    action: Action
    finding: Finding
    reason: str
    hint: str
    unit: LedgerIdentity | None = None

    @property
    def serial(self) -> str | None:
        """The serial of the unit, for people."""
        return None if self.unit is None else self.unit.serial


def judge_board(content: BoardContent, known: Known) -> Verdict:
    """Return what to do with a board. Changes nothing, and assumes the worst of what is not known."""
    verdict = _clashing(content, known) or (
        _of_no_unit(content, known) if known.held is None else _of_unit(content, known, known.held)
    )
    if verdict.action in (Action.RESUME, Action.RELEASE) and not known.holds_pool:
        return _quarantine(
            Finding.NOT_HOLDER,
            f"{verdict.reason}, according to a ledger that does not hold the pool",
            "reconcile it where the ledger holds the pool: only that ledger knows what was given since",
            verdict.unit,
        )
    return verdict


def advice_without_board(unit: LedgerIdentity) -> str:
    """Return what to do about *unit*, which is claimed or flashed but not verified, and whose board is not here."""
    if unit.state is State.CLAIMED:
        return "connect its board and run it (`rmfab run`): it gets this identity; `rmfab void` if the board is gone"
    return "connect its board and run it (`rmfab run`) or verify it (`rmfab verify`)"


def _clashing(content: BoardContent, known: Known) -> Verdict | None:
    """Return the verdict if the flash names an identity of a different board or one that is handed over, or two."""
    for one in known.carried:
        if one.mac is not None and one.mac != content.mac:
            void = "void " if one.state is State.VOID else ""
            reason = f"its flash contains {one.serial}, the {void}identity of board {one.mac}"
            hint = "set it aside: two boards with one identity must not ship; erase its flash to use it again"
            return _quarantine(Finding.CLONE, reason, hint, one)
        if one.state is State.HANDED_OVER:
            reason = f"its flash contains {one.serial}, which is handed over"
            hint = "it may be a unit of the factory with this identity: send it back, or merge the return first"
            return _quarantine(Finding.HANDED_OVER, reason, hint, one)
    if len(known.live) > 1:
        names = " and ".join(sorted(one.serial for one in known.live))
        return _quarantine(
            Finding.MIXED, f"its flash contains parts of {names}", "set it aside, or erase its flash to use it again"
        )
    return None


def _of_unit(content: BoardContent, known: Known, held: LedgerIdentity) -> Verdict:
    """Return the verdict of a board that has the identity *held* in the ledger."""
    if held.product != known.product:
        return _other_product(held)
    carried = next(iter(known.live), None)
    if carried is not None and carried.name != held.name:
        return _of_two(content, known, held, carried)
    if not known.carried and content.factory not in (FactoryData.BLANK, FactoryData.UNREADABLE):
        return _unknown(held)
    if carried is None or content.factory is FactoryData.PART:
        return _unwritten(content, known, held)
    return _written(content, held)


def _unwritten(content: BoardContent, known: Known, held: LedgerIdentity) -> Verdict:
    """Return the verdict of a unit whose flash does not contain its whole image: the next run writes it."""
    if content.factory is FactoryData.BLANK:
        lost = "" if held.state in (State.CLAIMED, State.FAILED) else f" although it is {held.state}"
        return _resume(Finding.NOT_WRITTEN, f"{held.serial} is not on its board{lost}", held)
    if known.carried and held not in known.carried:
        reason = f"{known.carried[0].serial}, which is void, is still on the board of {held.serial}"
        return _resume(Finding.VOID_REMAINS, reason, held)
    return _resume(Finding.CUT_SHORT, f"{held.serial} is not completely on its board", held)


def _written(content: BoardContent, held: LedgerIdentity) -> Verdict:
    """Return the verdict of a unit whose flash contains its whole image."""
    serial = held.serial
    if held.state is State.VERIFIED:
        if content.firmware is False:
            return _resume(
                Finding.OTHER_FIRMWARE, f"{serial} is verified, but its firmware is not what it was flashed with", held
            )
        return Verdict(Action.IN_ORDER, Finding.VERIFIED, f"{serial} is verified and on its board", "", held)
    if held.state is State.FAILED:
        return _resume(Finding.FAILED, f"{serial} failed and was not run again", held)
    return _resume(Finding.NOT_VERIFIED, f"{serial} is on its board, but not verified", held)


def _of_two(content: BoardContent, known: Known, held: LedgerIdentity, carried: LedgerIdentity) -> Verdict:
    """Return the verdict of the board of *held* whose flash contains *carried*, an identity that no board has."""
    never_written = (
        held.state is State.CLAIMED and held.standing.attempts == 1 and not held.standing.may_have_label
    )  # a unit that was claimed again may have been flashed in between
    may_bind = carried.mac is None and carried.product == known.product and carried.batch not in known.open_batches
    reason = f"it is {held.serial} in the ledger, but its flash contains {carried.serial}"
    if never_written and may_bind and content.factory is FactoryData.WHOLE:
        hint = f"void {held.serial}, which was never written, then run it: it gets {carried.serial}"
        return Verdict(Action.RELEASE, Finding.UNWRITTEN_CLAIM, reason, hint, held)
    hint = f"find out which one its label says, then void the other one, {held.serial} or {carried.serial}"
    return _quarantine(Finding.CONFLICT, reason, hint, held)


def _of_no_unit(content: BoardContent, known: Known) -> Verdict:
    """Return the verdict of a board that has no identity in the ledger."""
    carried = next(iter(known.live), None)
    if carried is not None:
        if carried.product != known.product:
            return _other_product(carried)
        if carried.batch in known.open_batches:
            hint = f"repeat the `rmfab generate` that makes batch {carried.batch}, then reconcile it again"
            reason = f"its flash contains {carried.serial}, whose batch is not finished"
            return _quarantine(Finding.OPEN_BATCH, reason, hint, carried)
        reason = f"its flash contains {carried.serial}, which no board has"
        return _resume(Finding.CARRIED, reason, carried)
    if known.carried:
        void = known.carried[0]
        hint = "set it aside; `rmfab run` would give it a new identity: destroy its label first"
        return _quarantine(Finding.VOID, f"its flash contains {void.serial}, which is void", hint, void)
    if content.factory is FactoryData.BLANK:
        return Verdict(
            Action.IN_ORDER, Finding.NEW, "it has no identity, here or in the ledger", "run it as a new board"
        )
    if content.factory is FactoryData.UNREADABLE:
        return _quarantine(
            Finding.UNREADABLE,
            "the ledger does not know it, and what its factory partition contains is not an identity",
            "find out where it comes from; erase its flash to use it as a new board",
        )
    return _unknown(None)


def _unknown(held: LedgerIdentity | None) -> Verdict:
    of_whom = f"it is {held.serial} in the ledger, but" if held else "the ledger does not know it, and"
    return _quarantine(
        Finding.UNKNOWN,
        f"{of_whom} its flash contains an identity that is not of this ledger",
        "find out which pool it is from; erase its flash to use it here",
        held,
    )


def _other_product(unit: LedgerIdentity) -> Verdict:
    return _quarantine(
        Finding.OTHER_PRODUCT,
        f'{unit.serial} is for product "{unit.product}"',
        f'reconcile it in the workspace of "{unit.product}"',
        unit,
    )


def _resume(finding: Finding, reason: str, unit: LedgerIdentity) -> Verdict:
    return Verdict(Action.RESUME, finding, reason, f"run it (`rmfab run`): it gets {unit.serial}", unit)


def _quarantine(finding: Finding, reason: str, hint: str, unit: LedgerIdentity | None = None) -> Verdict:
    return Verdict(Action.QUARANTINE, finding, reason, hint, unit)
