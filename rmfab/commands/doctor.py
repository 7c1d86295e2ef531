"""`rmfab doctor`: what is missing on this host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rmfab.errors import RmfabError, StationError

if TYPE_CHECKING:
    from rmfab.line.doctor import Diagnosis
    from rmfab.workspace import Workspace


@click.command("doctor")
def command() -> None:
    """Look at this host and say what the line lacks: ports and permissions, Bluetooth or Wi-Fi, keys, ledger,
    whose releases it takes.

    Exit code 4 where something is missing.
    """
    from rmfab.commands import terminal
    from rmfab.line.doctor import Diagnosis, diagnose, examine
    from rmfab.workspace import open_workspace

    workspace = open_workspace(terminal.folder())
    found = list(diagnose(examine(), workspace.station, workspace.product))
    try:
        found.append(Diagnosis(f"this station's key ({workspace.station_key.recipient})", True))
    except RmfabError as error:
        found.append(Diagnosis(f"this station's key: {error.what}", False, error.hint or ""))
    found.append(Diagnosis("the ledger", workspace.has_ledger, "`rmfab generate` begins one with the first batch"))
    found.append(_trust(workspace))
    for diagnosis in found:
        terminal.data(f"{'ok     ' if diagnosis.good else 'MISSING'}  {diagnosis.what}")
        if not diagnosis.good and diagnosis.hint:
            terminal.data(f"         {diagnosis.hint}")
    missing = sum(not diagnosis.good for diagnosis in found)
    if missing:
        raise StationError(f"{terminal.counted(missing, 'thing')} to mend on this host", cause="doctor")


def _trust(workspace: Workspace) -> Diagnosis:
    """Whose releases this station takes."""
    from rmfab.line.doctor import Diagnosis

    try:
        trust = workspace.trust
    except RmfabError as error:
        return Diagnosis(f"the trust file: {error.what}", False, error.hint or "")
    if trust is not None:
        return Diagnosis(f"the trust file, version {trust.version}, fingerprint {trust.fingerprint}", True)
    if workspace.product.release.allow_unsigned:
        return Diagnosis("releases are flashed unsigned: allow_unsigned in product.toml", True)
    return Diagnosis("a trust file: releases must be signed", False, "`rmfab trust import` takes the owner's")
