"""An owner and factories: workspaces on machines of their own, each with its own state folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rmfab.ledger.claim_terms import Claim, Wish
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.states import State
from rmfab.workspace.workspace import Workspace, open_workspace
from tests.terminal import Said, Terminal

NOON = "2026-11-28T12:00:00.000Z"
BATCH = "lamp-0001"


def mac(number: int) -> str:
    """Return the MAC of board *number*."""
    return f"24:0a:c4:00:00:{number:02x}"


@dataclass
class Side:
    """A workspace *folder* on a machine with the state folder *state*."""

    terminal: Terminal
    folder: Path
    state: Path
    monkeypatch: pytest.MonkeyPatch

    def __call__(self, *argv: str | Path) -> Said:
        """Run a command in the workspace, on its machine."""
        self.monkeypatch.setenv("RMFAB_STATE", str(self.state))
        return self.terminal("-C", self.folder, *argv)

    def well(self, *argv: str | Path) -> Said:
        """Run a command that must succeed."""
        said = self(*argv)
        assert said.code == 0, said.err
        return said

    def json(self, *argv: str | Path) -> Any:
        """Run a command that must succeed; return its document."""
        return json.loads(self.well(*argv, "--json").out)

    @contextmanager
    def open(self) -> Iterator[Workspace]:
        """Open the workspace on its machine."""
        self.monkeypatch.setenv("RMFAB_STATE", str(self.state))
        workspace = open_workspace(self.folder)
        try:
            yield workspace
        finally:
            workspace.ledger.close()

    def work(self, *boards: int, verdict: State = State.VERIFIED, batch: str | None = None) -> list[str]:
        """Give identities to *boards* and finish them, as the line does; return the serials."""
        return [self._unit(board, verdict, batch) for board in boards]

    def _unit(self, board: int, verdict: State, batch: str | None) -> str:
        with self.open() as workspace:
            claim = self.claim(workspace, board, batch)
            workspace.open_identity(claim.identity)
            serial = claim.identity.serial
            steps = [
                Event(NOON, EventKind.STEP, serial=serial, step="flash", outcome=Outcome.PASS, state=State.FLASHED)
            ]
            failed = verdict is State.FAILED
            outcome = Outcome.FAIL if failed else Outcome.PASS
            steps.append(
                Event(
                    NOON,
                    EventKind.UNIT,
                    serial=serial,
                    outcome=outcome,
                    state=verdict,
                    cause="panic" if failed else None,
                )
            )
            workspace.ledger.record(workspace.station.name, steps)
            workspace.ledger.labelled([serial], station=workspace.station.name, ts=NOON)
        return serial

    @staticmethod
    def claim(workspace: Workspace, board: int, batch: str | None = None) -> Claim:
        """Claim an identity for *board*."""
        wish = Wish("lamp", batch)
        return workspace.ledger.claim(mac(board), wish, station=workspace.station.name, ts=NOON)

    def states(self) -> dict[str, int]:
        """Count the identities of the workspace by state, without those of which there are none."""
        with self.open() as workspace:
            counts: dict[str, int] = {}
            for one in workspace.ledger.counts():
                for state, number in one.states.items():
                    counts[state.value] = counts.get(state.value, 0) + number
            assert workspace.ledger.check() == ()
            assert workspace.ledger.rebuild() == 0
        return {state: number for state, number in counts.items() if number}

    def unit(self, serial: str) -> Any:
        """Return the standing of a unit."""
        with self.open() as workspace:
            found = workspace.ledger.identity_by_serial(serial)
            assert found is not None
            return found.standing

    def card(self, name: str = "factory.card") -> tuple[Path, str]:
        """Write this side's card; return it and its fingerprint."""
        path = self.terminal.folder / name
        return path, self.well("station", "card", "-o", path, "--force").out.strip()

    def hand_over(self, to: Side, output: str, *more: str) -> str:
        """Hand identities of the batch over to a factory; return the owner's fingerprint."""
        path, fingerprint = to.card(f"{to.folder.name}.card")
        batch = () if "--again" in more else (BATCH,)
        said = self.well("handover", *batch, "--to", path, "--fingerprint", fingerprint, "-o", output, *more)
        match = re.search(r"`rmfab receive`: ([0-9a-f-]+)", said.err)
        assert match is not None
        return match[1]

    def give(self, to: Side, output: str = "1.handover", *more: str) -> None:
        """Hand identities over, and let the factory receive them."""
        fingerprint = self.hand_over(to, output, *more)
        to.well("receive", output, "--fingerprint", fingerprint)
