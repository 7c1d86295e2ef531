"""A factory floor for tests: a workspace with identities and a release, boards on it, and the line's output."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rmfab.cli import main
from rmfab.identity.ca import CaKeyKind, CertificateAuthority
from rmfab.ledger.store import Ledger
from rmfab.line.probe import Probe
from rmfab.line.slot_watch import SlotWatch
from rmfab.operations.advance import completed
from rmfab.operations.generate import GenerateRequest, generate
from rmfab.operations.terminal import Unattended
from rmfab.product.vocabulary import Chip, Credentials
from rmfab.virtual import BoardHandle
from rmfab.virtual.bench import serving
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.faults import FaultCall
from rmfab.virtual.spec import BoardSpec
from rmfab.workspace.create import create_workspace
from rmfab.workspace.workspace import Workspace, now, open_workspace
from tests.patience import until
from tests.pools import copied_with_pool
from tests.virtual.rig import recipe

FCTRY = 0x3FA000
NVS, NVS_KEY, SECURE_CERT, OTADATA, PHY = 0x10000, 0xF000, 0xD000, 0x16000, 0x18000
APP_SIZE = 128 * 1024


# The provisioning URLs of the served boards' units, by the URLs of their ports.
UNITS: dict[str, str] = {}


@contextlib.contextmanager
def serve(specs, **options):
    """Serve virtual boards, and record the URLs of their units for `ports`."""
    with serving.serve(specs, **options) as boards:
        UNITS.update({board.url: board.provisioning_url for board in boards})
        yield boards


def ports(*urls: str, command: str = "run") -> list[str]:
    """Return --port for each URL, and --unit-url if the command reaches units and all of them are known."""
    words = [word for url in urls for word in ("--port", url)]
    if command in ("run", "verify", "reset") and all(url in UNITS for url in urls):
        words += [word for url in urls for word in ("--unit-url", UNITS[url])]
    return words


@dataclass(frozen=True)
class Said:
    """The result of a command: its exit code, its events and its stderr."""

    code: int
    events: list[dict[str, Any]]
    words: str

    @property
    def units(self) -> list[dict[str, Any]]:
        """The verdicts."""
        return [event for event in self.events if event["event"] == "unit"]

    @property
    def refusal(self) -> tuple[int, list[str]]:
        """Exit code and causes of a command that ended before its line started."""
        (only,) = self.events
        assert only["event"] == "error"
        return self.code, [one["class"] for one in only["errors"]]

    @property
    def unit(self) -> dict[str, Any]:
        """The one verdict."""
        (only,) = self.units
        return only

    @property
    def verdict(self) -> tuple[str, str | None]:
        """Outcome and cause of the one unit."""
        return self.unit["outcome"], self.unit["class"]

    @property
    def summary(self) -> dict[str, Any]:
        """The last event."""
        assert self.events[-1]["event"] == "summary"
        return self.events[-1]

    def steps(self, slot: str | None = None) -> dict[str, str]:
        """Return the outcome of each step, of one slot or of all."""
        chosen = (e for e in self.events if e["event"] == "step" and slot in (None, e["slot"]))
        return {event["step"]: event["outcome"] for event in chosen}

    def step(self, name: str) -> dict[str, Any]:
        """Return the event of a step that ran once."""
        (only,) = [e for e in self.events if e["event"] == "step" and e["step"] == name]
        return only

    @property
    def logs(self) -> list[str]:
        """The line's messages to the operator."""
        return [event["text"] for event in self.events if event["event"] == "log"]


class Factory:
    """A workspace and the commands on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._out = io.StringIO()

    @property
    def workspace(self) -> Workspace:
        return open_workspace(self.root)

    @contextlib.contextmanager
    def ledger(self):
        with Ledger.open(self.root / "ledger.db", create=False) as ledger:
            yield ledger

    def do(self, *argv: str) -> Said:
        """Run a line command with --json in this process."""
        out, err = io.StringIO(), io.StringIO()
        self._out = out
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(["-C", str(self.root), *argv, "--json"])
        return Said(code, [json.loads(line) for line in out.getvalue().splitlines()], err.getvalue())

    def wait_for(self, fits: Callable[[dict[str, Any]], bool], count: int = 1) -> None:
        """Wait, in a different thread from the command's, until *count* of its events fit."""

        until(lambda: sum(map(fits, self.events())) >= count, "too few events fit")

    def events(self) -> list[dict[str, Any]]:
        """Return the events of the command so far."""
        text = self._out.getvalue()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def run(self, *urls: str, extra: tuple[str, ...] = (), command: str = "run") -> Said:
        """Run `rmfab run` on *urls*."""
        return self.do(command, *ports(*urls, command=command), *extra)

    def bindings(self) -> dict[str, str]:
        """Return the serial of every live unit by its MAC."""
        with self.ledger() as ledger:
            rows = [one for batch in ledger.batches() for one in ledger.identities(batch.name)]
        return {one.mac: one.serial for one in rows if one.mac is not None}

    def states(self) -> dict[str, str]:
        """Return the state of every claimed identity by its serial."""
        with self.ledger() as ledger:
            rows = [one for batch in ledger.batches() for one in ledger.identities(batch.name)]
        return {one.serial: one.state.value for one in rows if one.mac is not None}

    def check(self) -> None:
        """Assert that the ledger has no contradictions."""
        with self.ledger() as ledger:
            assert ledger.check() == ()

    def identity(self, serial: str):
        """Return the opened identity."""
        workspace = self.workspace
        bound = workspace.ledger.identity_by_serial(serial)
        assert bound is not None
        return workspace.open_identity(bound)

    def forget_configuration(self) -> None:
        """Remove the configuration from the build folder, so that only a board can show what is in the firmware."""
        (self.root / "build" / "config" / "sdkconfig.json").unlink()

    def configure(self, **options: Any) -> None:
        """Change the configuration in the build folder, whatever the images contain."""
        path = self.root / "build" / "config" / "sdkconfig.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | options))

    def edit(self, old: str, new: str) -> None:
        """Replace *old* by *new* in product.toml."""
        path = self.root / "product.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


def found(
    root: Path,
    chip: Chip = Chip.ESP32C3,
    *,
    units: int = 8,
    credentials: Credentials = Credentials.CERTIFICATE,
    edits: tuple[tuple[str, str], ...] = (),
    **firmware: Any,
) -> Factory:
    """Make a workspace for *chip* with a batch of *units* identities and the demo's firmware in `build`."""
    workspace = create_workspace(
        root,
        chip=chip,
        name="Lamp",
        serial="LMP-{n:06d}",
        mqtt_host="mqtt.example.org" if credentials is Credentials.CERTIFICATE else "",
        credentials=credentials,
        force=False,
    )
    factory = Factory(root)
    factory.edit('# path = "build"', 'path = "build"')
    factory.edit("settle = 0.5", "settle = 0.02")
    # A busy machine is no fault of a unit. A test of a unit that stays silent sets a shorter limit.
    factory.edit("boot_timeout = 20.0", "boot_timeout = 60.0")
    factory.edit("answer_timeout = 10.0", "answer_timeout = 60.0")
    for old, new in edits:
        factory.edit(old, new)
    if credentials is Credentials.CERTIFICATE:
        CertificateAuthority.create("Lamp CA", CaKeyKind.ECDSA_P256, now()).save(workspace.ca_folder, None)
    make_build_folder(root / "build", recipe(chip, **({"app_size": APP_SIZE} | firmware)))
    with contextlib.redirect_stderr(io.StringIO()):
        completed(generate(open_workspace(root), GenerateRequest(units, jobs=1), Unattended()))
    return factory


def copied(factory: Factory, root: Path) -> Factory:
    """Copy the factory to a different folder; the copy gives identities as the original does."""
    return Factory(copied_with_pool(factory.root, root))


def spec(chip: Chip = Chip.ESP32C3, index: int = 0, faults: tuple[str, ...] = (), **fields: Any) -> BoardSpec:
    """Return the specification of a board with *faults* by name."""
    return BoardSpec(chip, index, faults=tuple(map(FaultCall.parse, faults)), **fields)


@contextlib.contextmanager
def beside(play: Callable[[], object]) -> Iterator[None]:
    """Run *play* in a thread while the block runs. If it fails, send Ctrl-C, so that the block ends."""
    failures: list[BaseException] = []

    def hand() -> None:
        try:
            play()
        except BaseException as failure:  # noqa: BLE001 - raised again below
            failures.append(failure)
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=hand)
    thread.start()
    yield
    thread.join()
    if failures:
        raise failures[0]


def interrupting(play: Callable[[], object]) -> contextlib.AbstractContextManager[None]:
    """Run *play* in a thread while the block runs, then send Ctrl-C."""

    def hand() -> None:
        play()
        os.kill(os.getpid(), signal.SIGINT)

    return beside(hand)


def looked_at(board: BoardHandle, times: int) -> None:
    """Wait until the line has probed *board* *times* more."""
    restarts = board.state()["restarts"]
    until(lambda: board.state()["restarts"] >= restarts + times)


class Looks:
    """What a waiting line has seen on its slots, in order, by the slot's name."""

    def __init__(self) -> None:
        self._seen: dict[str, list[Probe]] = {}

    def note(self, slot: str, seen: Probe) -> None:
        """Note a look."""
        self._seen.setdefault(slot, []).append(seen)

    def more(self, slot: str, number: int) -> None:
        """Wait for *number* more looks at *slot*."""
        before = len(self._seen.get(slot, []))
        until(lambda: len(self._seen.get(slot, [])) >= before + number, "too few looks")

    def empty(self, slot: str) -> None:
        """Wait until *slot* is seen without a board from now on."""
        before = len(self._seen.get(slot, []))
        until(lambda: any(one.board is None for one in self._seen.get(slot, [])[before:]), "the slot is not empty")


def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    """Return the looks of all waiting slots from now on."""
    noted = Looks()

    class Noted(SlotWatch):
        def look(self) -> Probe:
            seen = super().look()
            noted.note(self.slot.name, seen)
            return seen

    monkeypatch.setattr("rmfab.line.floor.SlotWatch", Noted)
    return noted
