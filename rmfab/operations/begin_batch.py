"""What making a batch begins with, whether its identities are drawn here or come from elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rmfab.errors import InputError
from rmfab.identity.sealed_record import LONGEST_NAME, pool_name
from rmfab.ledger.batches import BatchOrder
from rmfab.ledger.events import timestamp
from rmfab.ledger.numbers import SerialsUnsure
from rmfab.ledger.records import Batch
from rmfab.operations.git_warning import warn_of_git
from rmfab.operations.terminal import Terminal
from rmfab.product.product import Product
from rmfab.product.product_file import FILE_NAME
from rmfab.workspace.workspace import Workspace

MAX_NUMBER = 10**18 - 1
"""The largest number of a serial: a counter has at most 18 digits (`rmfab.product.serial`)."""


def judge_has_recipients(product: Product) -> None:
    """Raise InputError if no station could open new identities."""
    if not product.recipients:
        raise InputError(
            "no recipients configured",
            where="product.toml: [recipients]",
            hint="add a station; `rmfab station key` prints its recipient",
        )


def judge_pool_names(batch: str, count: int) -> None:
    """Raise InputError if the name *batch* leaves no room for the numbers of *count* identities without serials."""
    longest = pool_name(batch, count - 1)
    if len(longest) > LONGEST_NAME:
        raise InputError(
            f'"{batch}" is too long for the name of a batch without serials',
            hint=f"name it with --batch, with at most {LONGEST_NAME - len(longest) + len(batch)} characters",
        )


def judge_recipients(workspace: Workspace) -> None:
    """Raise InputError if this host has a station key, and the new identities would not be sealed for it."""
    if not workspace.has_station_key:
        return
    recipient = workspace.station_key.recipient
    if recipient not in workspace.product.recipients.values():
        raise InputError(
            "[recipients] does not have this station, so it could never open these identities",
            where=str(workspace.root / FILE_NAME),
            hint=f"run `rmfab station admit {recipient}`; "
            "if only other stations make these units, remove keys/station.key",
        )


def begin_batch(workspace: Workspace, order: BatchOrder, terminal: Terminal) -> Batch:
    """Begin the batch of *order*. If serials may have been given, ask on a terminal which number is unused."""
    ts = timestamp(workspace.now())
    try:
        if "serials" not in order.policy and workspace.ledger.was_lost:  # they are those of a file
            terminal.warn(
                "this ledger was lost once, and what it gave after its backup is not in it",
                "make sure that no device has a serial of this file",
            )
        return workspace.ledger.begin_batch(order, ts)
    except SerialsUnsure as error:
        if not terminal.interactive or order.first_number is not None:
            raise
        terminal.warn(str(error), error.hint)
        answer = terminal.ask(f"Number of the first serial, {error.first} or higher").strip()
        if not (answer.isascii() and answer.isdigit() and len(answer) <= len(str(MAX_NUMBER))):
            raise
        return workspace.ledger.begin_batch(replace(order, first_number=int(answer)), ts)


def have_ledger(workspace: Workspace, terminal: Terminal) -> None:
    """Create the ledger if there is none."""
    if not workspace.has_ledger and workspace.make_ledger():
        terminal.say(f"created ledger {workspace.ledger_path}")
        if "://" not in str(workspace.ledger_path):
            warn_of_git(terminal, "the sealed identities", Path(workspace.ledger_path))
