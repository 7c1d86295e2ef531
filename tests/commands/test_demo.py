"""Tests of `rmfab demo`: the whole line from nothing, its folder, its exit codes, and where secrets may be."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from rmfab.cloud import mosquitto
from rmfab.identity.identity import Identity
from rmfab.virtual import BoardSpec
from rmfab.workspace.workspace import open_workspace
from tests.conftest import with_peers
from tests.forked import forked_commands
from tests.patience import PATIENCE
from tests.terminal import Said, Terminal, copied, environment, files

pytestmark = pytest.mark.slow

CHIPS = ("esp32", "esp32s3", "esp32c3", "esp32c6")
CLOUD = ("--json", "--cloud")
WANTED = (
    CLOUD,
    *(("--json", "--chip", chip) for chip in CHIPS),
    (),
    *(("--json", "--fault", fault) for fault in ("panic", "wrong-chip", "no-sync", "other-identity")),
    ("--json",),
)
"""The options of the demos that tests want: first the longest, then in the order of the tests."""
AT_ONCE = 4


def events(out: str) -> list[dict[str, Any]]:
    """Return the JSON lines of a run; the last is the summary."""
    found: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    assert [event["event"] for event in found].count("summary") == 1
    assert found[-1]["event"] == "summary"
    return found


class Demos:
    """Demos of `rmfab demo` with two units, which are made once, because each takes seconds, and copied for every test.

    Their boards are as slow as real ones: they are made as processes beside each other.
    """

    def __init__(self, root: Path, rmfab: Path, makers: ThreadPoolExecutor, wanted: Iterable[tuple[str, ...]]) -> None:
        self._root = root
        self._rmfab = rmfab
        self._made = {options: makers.submit(self._make, options) for options in wanted}

    def get(self, folder: Path, *options: str) -> Said:
        """Copy the demo that `rmfab demo` makes with *options* to *folder*; return what it printed."""
        said = self._made[options].result()
        copied(self._folder(options), folder)
        return said

    def _folder(self, options: tuple[str, ...]) -> Path:
        return self._root / ("-".join(options) or "plain")

    def _make(self, options: tuple[str, ...]) -> Said:
        argv = [str(self._rmfab), "demo", "--units", "2", "--dir", str(self._folder(options)), *options]
        done = subprocess.run(
            argv, cwd=self._root, env=environment(), capture_output=True, text=True, timeout=5 * PATIENCE
        )
        return Said(done.returncode, done.stdout, done.stderr)


def hurry(patch: pytest.MonkeyPatch) -> None:
    """Let the boards of demos in this process run as fast as they can, for tests of something else."""
    patch.setattr("rmfab.operations.demo.BoardSpec", lambda **fields: BoardSpec(**(fields | {"paced": None})))


@pytest.fixture(scope="module")
def demos(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demos]:
    """The demos of this module."""
    root = tmp_path_factory.mktemp("demos")
    rmfab = root / "rmfab"
    with forked_commands() as program, ThreadPoolExecutor(AT_ONCE) as makers:
        rmfab.write_text(program)
        rmfab.chmod(0o755)
        yield Demos(root, rmfab, makers, WANTED if with_peers(request.config) else WANTED[1:])
        makers.shutdown(cancel_futures=True)


@pytest.mark.parametrize("chip", CHIPS)
def test_json(terminal: Terminal, demos: Demos, chip: str) -> None:
    """`--json` prints one event per line and ends with the summary; every chip passes."""
    said = demos.get(Path("d"), "--json", "--chip", chip)
    assert said.code == 0, said.err
    found = events(said.out)
    assert (found[-1]["passed"], found[-1]["failed"], found[-1]["errors"]) == (2, 0, 0)
    steps = {(event["slot"], event["step"]): event["outcome"] for event in found if event["event"] == "step"}
    for name in ("detect", "claim", "flash", "readback", "boot", "identify"):
        assert (steps["v1", name], steps["v2", name]) == ("PASS", "PASS")
    for event in found[:-1]:
        assert {"event", "ts", "station", "slot", "serial"} <= set(event)
    assert {event["serial"] for event in found if event["event"] == "unit"} == {"LMP-000001", "LMP-000002"}


def test_what_it_leaves_behind(terminal: Terminal, demos: Demos) -> None:
    """The demo prints a table of units and the paths of all results; other commands work in its workspace."""
    said = demos.get(Path("d"))
    assert said.code == 0, said.err
    for what in ("labels", "factory images", "ledger", "console logs", "firmware", "boards' flash"):
        (where,) = re.findall(rf"^{what} +(\S+)$", said.out, re.MULTILINE)
        assert Path(where).exists()
    assert len(re.findall(r"  PASS +\d+\.\ds  v\d ", said.out)) == 2
    assert len(re.findall(r"^LMP-00000\d  verified", said.out, re.MULTILINE)) == 2
    assert "demo-lamp-0001" in terminal.well("-C", "d", "status")
    terminal.well("-C", "d", "ledger", "check")
    assert "unit" in terminal.well("-C", "d", "trace", "LMP-000002")
    terminal.well("-C", "d", "release", "show", "d/build")


@pytest.mark.parametrize(
    ("fault", "code", "outcome", "cause"),
    [("panic", 1, "FAIL", "panic"), ("wrong-chip", 1, "FAIL", "chip-mismatch"), ("no-sync", 4, "ERROR", None)],
)
def test_faults(terminal: Terminal, demos: Demos, fault: str, code: int, outcome: str, cause: str | None) -> None:
    """A bad unit ends the demo with 1, a bad station with 4; the other board passes and gets its label."""
    said = demos.get(Path("d"), "--json", "--fault", fault)
    said.refused(code)
    units = [event for event in events(said.out) if event["event"] == "unit"]
    assert sorted(unit["outcome"] for unit in units) == sorted(["PASS", outcome])
    (bad,) = [unit for unit in units if unit["outcome"] == outcome]
    assert bad["reason"]
    assert cause in (None, bad["class"])
    assert Path("d/labels.pdf").exists()


def test_folders(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with other files is kept, an earlier demo is replaced, a file in place of the folder is rejected."""
    Path("d").mkdir()
    Path("d/thesis.txt").write_text("precious")
    terminal("demo", "--dir", "d").refused(3, "not empty, and not a demo", "--dir")
    assert files(Path("d")) == {"thesis.txt": b"precious"}
    Path("f").touch()
    terminal("demo", "--dir", "f").refused(3, "f: is a file, expected a folder")
    Path("e/old").mkdir(parents=True)
    (Path("e") / ".rmfab-demo").touch()
    hurry(monkeypatch)
    assert terminal("demo", "--dir", "e", "--units", "1").code == 0
    assert not Path("e/old").exists()


@pytest.mark.parametrize(
    ("fault", "told"), [("nope", "brownout"), ("panic@2", "0 to 1"), ("kill-at=3", "rmfab board"), ("panic=3", "panic")]
)
def test_faults_that_cannot_be(terminal: Terminal, fault: str, told: str) -> None:
    """An unknown fault, or a fault of a board that does not exist, is rejected before anything is made."""
    terminal("demo", "--units", "2", "--fault", fault).refused(2, fault, told)
    assert not Path("rmfab-demo").exists()


def long_secrets(identity: Identity) -> dict[str, bytes]:
    """Return the secrets of an identity, raw and in each text form; only files made for them may contain one."""
    random = identity.random.reveal()
    verifier = identity.sec2_verifier.reveal() if identity.sec2_verifier else b""
    assert 376 < len(verifier) <= 384  # leading zeros are dropped
    assert identity.private_key_pem is not None
    body = b"".join(identity.private_key_pem.reveal().splitlines()[1:-1])
    key = load_pem_private_key(identity.private_key_pem.reveal(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    scalar = key.private_numbers().private_value.to_bytes(32, "big")
    assert scalar in base64.b64decode(body)
    found = {"random": random[4:-3], "verifier": verifier, "key": scalar}
    found |= {f"{name} in hex": data.hex().encode() for name, data in list(found.items())}
    found["key in PEM"] = identity.private_key_pem.reveal().splitlines()[2]
    found["key in base64"] = body[60:120]
    return found


def database_text(path: Path) -> bytes:
    """Yield every cell of a database as bytes: a search of the file would miss cells that SQLite splits over pages."""
    parts: list[bytes] = []
    with sqlite3.connect(path) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in connection.execute(f'SELECT * FROM "{name}"'):
                parts += [cell if isinstance(cell, bytes) else str(cell).encode() for cell in row]
    connection.close()
    return b"\0".join(parts)


@pytest.mark.peers
def test_with_a_cloud(terminal: Terminal, demos: Demos) -> None:
    """With --cloud, each unit is registered, its credentials are checked, and it obeys its cloud before its reset; one
    loads a second release over the air, and goes back."""
    said = demos.get(Path("d"), "--json", "--cloud")
    assert said.code == 0, said.err
    assert "registered 2 units" in said.err
    assert "checked the credentials of 2 units" in said.err
    told = [json.loads(line) for line in said.out.splitlines()]
    assert [event["passed"] for event in told if event["event"] == "summary"] == [2, 1]
    passed = Counter(event["step"] for event in told if event["event"] == "step" and event["outcome"] == "PASS")
    assert (passed["cloud"], passed["update"], passed["back"], passed["reset"]) == (3, 1, 1, 3)
    traced = json.loads(terminal.well("-C", "d", "trace", "LMP-000001", "--json"))
    steps = [event["kind"] if event["step"] is None else event["step"] for event in traced["events"]]
    first = [one for one in steps if one in ("register", "check", "provision", "cloud", "reset")][:5]
    assert first == ["register", "check", "provision", "cloud", "reset"]
    assert traced["identities"][0]["first_connected"]
    subprocess.run(["git", "init", "-q", "d"], check=True)
    listed = ["git", "-C", "d", "ls-files", "--others", "--exclude-standard"]
    told_git = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split()
    assert "product.toml" in told_git
    assert not [name for name in told_git if name.startswith(("factory-wifi", "state/", "cloud/", "broker/", "keys/"))]


def test_a_cloud_without_mosquitto(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without mosquitto, it says how to install it, before anything is made."""
    monkeypatch.setattr(mosquitto, "_BESIDE_PATH", "")
    monkeypatch.setenv("PATH", "")
    terminal("demo", "--cloud").refused(4, "mosquitto is not installed", "apt install mosquitto")
    assert not Path("rmfab-demo").exists()


@pytest.mark.parametrize(
    "options",
    [(), ("--fault", "panic"), ("--fault", "other-identity"), pytest.param(("--cloud",), marks=pytest.mark.peers)],
    ids=" ".join,
)
def test_no_secret_where_none_belongs(terminal: Terminal, demos: Demos, options: tuple[str, ...]) -> None:
    """Except in images, labels, boards and keys, no file and no output contains a secret of any unit."""
    spoken = ""
    for said in (
        demos.get(Path("d"), "--json", *options),
        terminal("-C", "d", "status"),
        terminal("-C", "d", "trace", "LMP-000001"),
        terminal("-C", "d", "trace", "LMP-000002", "--json"),
        terminal("-C", "d", "ledger", "check"),
        terminal("-C", "d", "build", "demo-lamp-0001", "-o", "d/images"),
        terminal("-C", "d", "nvs", "show", "d/images/bin/LMP-000001.bin"),
        terminal("-C", "d", "ca", "show"),
    ):
        spoken += said.out + said.err
    workspace = open_workspace(Path("d"))
    units = [workspace.open_identity(bound) for bound in workspace.ledger.identities("demo-lamp-0001")]
    assert len(units) == 2
    workspace.ledger.close()
    written = {"what was said": spoken.encode(), "cells of the ledger": database_text(Path("d/ledger.db"))}
    by_design = ("images/", "labels", "boards/", "keys/")
    written |= {name: data for name, data in files(Path("d")).items() if not name.startswith(by_design)}
    assert {"product.toml", "ledger.db"} <= set(written)
    assert any(name.startswith("logs/") for name in written)
    for identity in units:
        for place, data in written.items():
            for what, secret in long_secrets(identity).items():
                assert secret not in data, f"{what} of {identity.serial} stands in {place}"
            if place.endswith((".log", ".toml", ".csv", "said", ".json")):
                assert identity.pop.reveal().encode() not in data.lower(), f"PoP of {identity.serial} in {place}"


def test_the_search_finds_what_is_there(terminal: Terminal, demos: Demos) -> None:
    """The same search finds every secret where it is expected: in the files of `build` and in a board's flash."""
    assert demos.get(Path("d"), "--json").code == 0
    workspace = open_workspace(Path("d"))
    bound, _ = workspace.ledger.identities("demo-lamp-0001")
    identity = workspace.open_identity(bound)
    workspace.ledger.close()
    image = Path("d/images/bin/LMP-000001.bin").read_bytes()
    board = b"".join(path.read_bytes() for path in Path("d/boards").rglob("*") if path.is_file())
    sheet = Path("d/images/csv/values.csv").read_bytes()
    secrets = long_secrets(identity)
    for name in ("random", "verifier", "key in PEM"):
        assert secrets[name] in image
        assert secrets[name] in board
    for name in ("random in hex", "verifier in hex"):
        assert secrets[name] in sheet


def test_a_screen_that_is_not_installed(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Textual `demo --screen` says so before it makes anything."""
    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr("rmfab.screen.show.find_spec", lambda _: None)
    terminal("demo", "--screen").refused(4, "the screen needs Textual", "pip install '.[screen]'")
    assert files(terminal.folder) == {}
