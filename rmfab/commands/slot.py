"""`rmfab slot`: list the slots of this host, and take them out of service or put them back."""

from __future__ import annotations

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Branch
from rmfab.commands.options import operator_option, slot_names


@click.group("slot", cls=Branch)
def command() -> None:
    """List slots, take them out of service, put them back.

    A slot locks itself if three boards in a row end with one cause, or if fewer
    boards pass on it than on the others. It starts no board until it is unlocked.
    """


_slot = click.argument("slot", metavar="SLOT", shell_complete=slot_names)


@command.command("list")
def list_() -> None:
    """List the slots of station.toml with their state.

    BOARDS are the last ones that have a verdict, at most 100; PASSED passed at first.
    """
    from rmfab.operations.slot_states import list_slots

    slots = list_slots(terminal.folder())
    if terminal.json_wanted():
        terminal.document([one.to_json() for one in slots])
        return
    rows: list[tuple[object, ...]] = [
        (one.slot.name, "in service" if one.out is None else one.out.word, one.boards, one.passed,
         None if one.out is None else one.out.operator, None if one.out is None else one.out.reason)
        for one in slots
    ]  # fmt: skip
    terminal.table(("slot", "state", "boards", "passed", "by", "reason"), rows)


@command.command()
@click.argument("slot", metavar="[SLOT]", required=False, shell_complete=slot_names)
def history(slot: str | None) -> None:
    """Show who locked, unlocked, disabled and enabled slots, and why.

    These are the last 200 changes on this host. Without SLOT, those of all slots
    of station.toml. What has no name beside it was done by the line.

    \b
    rmfab slot history A3
    """
    from rmfab.operations.slot_states import slot_changes

    changes = slot_changes(terminal.folder(), slot)
    if terminal.json_wanted():
        terminal.document([one.to_json() for one in changes])
        return
    rows: list[tuple[object, ...]] = [
        (one.ts[:16].replace("T", " "), one.slot, one.what, one.operator, one.reason) for one in changes
    ]
    terminal.table(("time (UTC)", "slot", "change", "by", "reason"), rows)


@command.command()
@_slot
@click.option("--reason", required=True, metavar="TEXT", help="What was done, such as: pin replaced.")
@operator_option
def unlock(slot: str, reason: str) -> None:
    """Unlock a slot that has locked itself.

    Its boards so far no longer count.

    \b
    rmfab slot unlock A3 --reason "pin replaced"
    """
    from rmfab.operations.slot_states import unlock_slot

    was = unlock_slot(terminal.folder(), slot, reason, terminal.operator())
    terminal.say(f"slot {slot} is unlocked" if was else f"slot {slot} was not locked")
    terminal.show({"slot": slot, "unlocked": was}, None)


@command.command()
@_slot
@click.option("--reason", default="by the operator", metavar="TEXT", help="Why, for those who ask.")
@operator_option
def disable(slot: str, reason: str) -> None:
    """Take a slot out of service, also while the line runs.

    The board that is under work on it is finished.

    \b
    rmfab slot disable A3 --reason "cable is loose"
    """
    from rmfab.operations.slot_states import disable_slot

    disable_slot(terminal.folder(), slot, reason, terminal.operator())
    terminal.say(f"slot {slot} is disabled")
    terminal.show({"slot": slot, "disabled": True}, None)


@command.command()
@_slot
@operator_option
def enable(slot: str) -> None:
    """Put a disabled slot into service again.

    \b
    rmfab slot enable A3
    """
    from rmfab.operations.slot_states import enable_slot

    was = enable_slot(terminal.folder(), slot, terminal.operator())
    terminal.say(f"slot {slot} is in service" if was else f"slot {slot} was not disabled")
    terminal.show({"slot": slot, "enabled": was}, None)
