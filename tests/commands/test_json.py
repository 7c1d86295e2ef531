"""`--json` of every leaf command: a success and a failure of each print nothing but JSON on stdout."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rmfab.product.vocabulary import Chip
from rmfab.virtual import BoardHandle, BoardSpec
from rmfab.virtual import serve as serve_boards
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe
from rmfab.virtual.cloud.rainmaker import VirtualRainmaker
from rmfab.workspace.workspace import now
from tests.cloud.lab import Lab
from tests.cloud.servers import OpenBroker, listening
from tests.commands.test_demo import hurry
from tests.commands.test_options import leaves
from tests.pools import copied_with_pool
from tests.registration.clouds import Clock, site
from tests.terminal import Terminal, environment, words


@dataclass(frozen=True)
class Proof:
    """One success and one failure of a leaf, as words for the shell; *before*: commands that make what it needs.

    {port} and {unit} are those of a virtual board, {broker} the port of an open broker, {here} the current folder.
    *endless*: the command runs until SIGINT, after its first line. *well* is None if a story with a bench of its own
    shows the success.
    """

    well: str | None
    badly: str
    before: tuple[str, ...] = ()
    endless: bool = False


STRANGER = "age1nty7pcg5wch3letv7jghwhyldds86tm7zyyg5vnanfdzv25k6axqsjql0n"
BUNDLE = "release build build -o r.rmfab --seq 1 --no-sbom"
KEY = "release keygen -o r.key --no-passphrase"
KEEPER = "release keygen -o k.key --no-passphrase"
TRUST = (KEEPER, "trust add k.pub --role trust --role release")
EXCHANGED = "handed over to the folder factory, received and returned"
CHECK = "cloud check lamp-0001 --host localhost --tcp-port {broker} --ca lab/broker/broker-ca.crt"
REGISTER = "register lamp-0001 --deployment site/deployment.toml --password-file site/password"
IMPORTABLE = ("build lamp-0001 -o images", "init other --mqtt-host mqtt.example.org --name lamp")
FOLDER = "--printer file://{here}/labels"
FLASHED = ("flash --release build --port {port}",)
PROOFS = {
    "init": Proof("init new", "init ."),
    "demo": Proof("demo --units 1 --dir d", "demo --fault nonsense"),
    "ca create": Proof("-C fresh ca create --no-passphrase", "ca create --no-passphrase", ("init fresh",)),
    "ca import": Proof(
        "-C fresh ca import ca/ca.crt ca/ca.key --no-passphrase", "ca import no.crt no.key", ("init fresh",)
    ),
    "ca show": Proof("ca show", "-C fresh ca show", ("init fresh",)),
    "generate": Proof("generate --count 1", "generate --count 1 --values no.csv"),
    "import": Proof("-C other import images --batch x", "import images --batch x", IMPORTABLE),
    "build": Proof("build lamp-0001 -o images", "build no-batch -o images"),
    "export": Proof("export csv lamp-0001 -o units.csv", "export csv no-batch -o units.csv"),
    "nvs generate": Proof(
        "nvs generate config.csv values.csv lamp 0x3000", "nvs generate no.csv values.csv lamp 0x3000"
    ),
    "nvs pack": Proof("nvs pack in.csv out.bin 0x3000", "nvs pack no.csv out.bin 0x3000"),
    "nvs read": Proof("nvs read --port {port} -o nvs.bin", "nvs read --port /dev/no -o no.bin", FLASHED),
    "nvs show": Proof("nvs show out.bin", "nvs show in.csv", ("nvs pack in.csv out.bin 0x3000",)),
    "nvs check": Proof("nvs check out.bin", "nvs check", ("nvs pack in.csv out.bin 0x3000",)),
    "release build": Proof(BUNDLE, "release build no -o n.rmfab --seq 1"),
    "release sign": Proof("release sign r.rmfab --key r.key", "release sign r.rmfab --key no.key", (BUNDLE, KEY)),
    "release verify": Proof("release verify r.rmfab", "release verify r.key", (BUNDLE, KEY)),
    "release show": Proof("release show r.rmfab", "release show in.csv", (BUNDLE,)),
    "release keygen": Proof(KEY, "release keygen -o r.pub"),
    "release pubkey": Proof("release pubkey --key r.key -o x.pub", "release pubkey --key no.key -o y.pub", (KEY,)),
    "trust add": Proof(TRUST[1], "trust add no.pub --role release", TRUST[:1]),
    "trust remove": Proof("trust remove r --key k.key", "trust remove no --key k.key",
                          (*TRUST, KEY, "trust add r.pub --role release --key k.key")),
    "trust sign": Proof("trust sign c.json --key k.key", "trust sign in.csv --key k.key",
                        (*TRUST, KEY, "trust add r.pub --role release -o c.json --key k.key")),
    "trust list": Proof("trust list", "trust list in.csv", TRUST),
    "trust import": Proof("trust import t.json", "trust import in.csv", (*TRUST, "trust export -o t.json")),
    "trust export": Proof("trust export -o t.json", "-C fresh trust export -o t.json", (*TRUST, "init fresh")),
    "ota check": Proof("ota check r.rmfab", "ota check in.csv", (BUNDLE,)),
    "ota export": Proof("ota export r.rmfab -o shelf", "ota export in.csv -o shelf", (BUNDLE,)),
    "ota serve": Proof(
        "ota serve shelf --cert ca/ca.crt --key ca/ca.key --tcp-port 0", "ota serve shelf --cert in.csv --key no.key",
        (BUNDLE, "ota export r.rmfab -o shelf"), endless=True,
    ),
    "ota try": Proof(
        None, "ota try LMP-000001 --port {port} --to r.rmfab --cert ca/ca.crt --key ca/ca.key --tcp-port 0", (BUNDLE,)
    ),  # tests/line/test_ota_try.py
    "cloud check": Proof(CHECK, "cloud check no"),
    "cloud serve": Proof("cloud serve --tcp-port 0", "cloud serve --crl in.csv", endless=True),
    "register": Proof(REGISTER, "register lamp-0001"),
    "ports": Proof("ports", "-C fresh ports", ("init fresh",)),
    "flash": Proof(FLASHED[0], "flash --release no --port {port}"),
    "verify": Proof("verify --release build --port {port} --unit-url {unit}", "verify --port A9", FLASHED),
    "run": Proof("run --release build --port {port} --unit-url {unit}", "run --release build --batch no --port {port}"),
    "reset": Proof(
        "reset --release build --port {port} --unit-url {unit}", "reset --release no --port {port}", FLASHED
    ),
    "reconcile": Proof("reconcile --release build --port {port}", "reconcile --port A9", FLASHED),
    "void": Proof("void LMP-000001 --reason lost", "void no --reason lost"),
    "scan": Proof("scan one.png", "scan no.png", ("label LMP-000001 -o one.png",)),
    "reidentify": Proof(
        "reidentify LMP-000001 --port {port} --unit-url {unit} --release build --reason returned --yes",
        "reidentify LMP-000002 --port {port} --reason x --yes", FLASHED,
    ),
    "units": Proof("units", "units no-batch"),
    "report": Proof("report lamp-0001 -o r.html", "report no-batch -o r.json"),
    "label": Proof("label LMP-000001 -o one.png", "label no -o no.png"),
    "status": Proof("status", "status no-batch"),
    "trace": Proof("trace LMP-000001", "trace no"),
    "ledger init": Proof("-C fresh ledger init", "ledger init --station bench", ("init fresh",)),
    "ledger migrate": Proof("ledger migrate", "-C fresh ledger migrate", ("init fresh",)),
    "ledger copy": Proof("ledger copy copy.db --yes", "ledger copy in.csv --yes"),
    "ledger check": Proof("ledger check", "-C fresh ledger check", ("init fresh",)),
    "ledger rebuild": Proof("ledger rebuild", "-C fresh ledger rebuild", ("init fresh",)),
    "ledger restore": Proof("ledger restore b.db --force", "ledger restore in.csv --force", ("ledger backup b.db",)),
    "ledger adopt": Proof("ledger adopt", "-C fresh ledger adopt", ("init fresh",)),
    "ledger move": Proof("ledger move --yes --to " + STRANGER, "ledger move --yes --to age1x",
                         ("station admit " + STRANGER,)),
    "ledger backup": Proof("ledger backup copy.db", "ledger backup no/where.db"),
    "slot list": Proof("slot list", "-C fresh slot list", ("init fresh",)),
    "slot history": Proof("slot history", "slot history A9"),
    "slot disable": Proof("slot disable A1 --reason loose", "slot disable A9"),
    "slot enable": Proof("slot enable A1", "slot enable A9"),
    "slot unlock": Proof("slot unlock A1 --reason mended", "slot unlock A9 --reason mended"),
    "station show": Proof("station show", "-C no station show"),
    "handover": Proof("handover", "handover no-batch --to no.card -o x"),
    "receive": Proof("-C factory receive 1.handover", "-C factory receive no.handover", (EXCHANGED,)),
    "return": Proof("-C factory return -o 2.return", "return -o 2.return", (EXCHANGED,)),
    "merge": Proof("merge 1.return", "merge 1.handover", (EXCHANGED,)),
    "station discover": Proof(None, "station discover --virtual boards --count 1"),  # operations/test_discover_slots.py
    "station card": Proof("station card -o s.card", "station card -o no/where.card"),
    "station key": Proof("station key", "-C no station key"),
    "station release": Proof("station release", "-C no station release"),
    "station admit": Proof(
        "station admit " + STRANGER, "station admit age1x"
    ),
    "printer list": Proof("printer list", "printer list --no-such-option"),
    "printer status": Proof(f"printer status {FOLDER}", "printer status --printer 10.0.0.9"),
    "printer test": Proof(f"printer test {FOLDER}", "printer test"),
    "printer test-code": Proof(f"printer test-code {FOLDER}", f"printer test-code {FOLDER} --size 10x10"),
    "printer serve": Proof("printer serve --tcp-port 0", "printer serve --fault nonsense", endless=True),
    "board": Proof("board", "board --fault nonsense", endless=True),
    "doctor": Proof("doctor", "doctor --no-such-option"),
    "logs prune": Proof("logs prune --keep 1 --yes", "logs prune --yes"),
    "completion": Proof("completion bash", "completion tcsh"),
}  # fmt: skip


def test_every_leaf_has_a_proof() -> None:
    """Each leaf of the command tree is in the table: a new command must show that its --json works."""
    assert {name for name, _ in leaves()} == set(PROOFS)


@pytest.fixture(scope="session")
def bench(workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a CA, a batch of three, a slot, a build folder and CSVs of NVS; only copied."""
    root = tmp_path_factory.mktemp("json") / "bench"
    copied_with_pool(workshop / "lamp", root)
    product = root / "product.toml"
    product.write_text(product.read_text().replace("settle = 0.5", "settle = 0.02"))
    make_build_folder(root / "build", FirmwareRecipe(Chip.ESP32C3, app_size=128 * 1024))
    (root / "in.csv").write_text("key,type,encoding,value\nns,namespace,,\na,data,u8,1\n")
    (root / "config.csv").write_text("ns,namespace,\na,data,u8\n")
    (root / "values.csv").write_text("a\n1\n2\n")
    (root / "station.toml").write_text('[[slot]]\nname = "A1"\nport = "/dev/no"\nunit = "http://10.0.0.7"\n')
    return root


@pytest.fixture
def workspace(bench: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the workspace, as the current folder; nothing is plugged in."""
    root = copied_with_pool(bench, terminal.folder / "bench")
    monkeypatch.chdir(root)
    monkeypatch.setenv("RMFAB_STATE", str(terminal.folder / "state"))
    monkeypatch.setattr("serial.tools.list_ports.comports", list)
    hurry(monkeypatch)
    return root


@pytest.fixture(scope="module")
def board() -> Iterator[BoardHandle]:
    """A virtual board."""
    with serve_boards([BoardSpec(Chip.ESP32C3)]) as (one,):
        yield one


@pytest.fixture
def broker(workspace: Path) -> Iterator[int]:
    """The port of an open broker, whose files are in the folder `lab`; those of a cloud are in `site`."""
    lab = Lab(workspace / "lab")
    assert lab.folder.ca.exists()
    with listening(OpenBroker(lab)) as port, site(workspace / "site", VirtualRainmaker(now), Clock(), lab):
        yield port


def argv(command: str, board: BoardHandle, broker: int) -> list[str]:
    values = {"port": board.url, "unit": board.provisioning_url, "broker": broker, "here": Path.cwd()}
    return [word.format(**values) for word in command.split()]


def exchange(terminal: Terminal) -> None:
    """Hand an identity over to the folder `factory`, receive it there, and return."""
    Path("factory").mkdir()
    card = terminal.well("-C", "factory", "station", "card", "-o", "f.card").strip()
    order = ("lamp-0001", "--count", "1", "--to", "f.card", "--fingerprint", card, "-o", "1.handover")
    owner = json.loads(terminal.well("handover", *order, "--json"))["owner"]
    terminal.well("-C", "factory", "receive", "1.handover", "--fingerprint", owner)
    terminal.well("-C", "factory", "return", "-o", "1.return")


def documents(out: str) -> list[Any]:
    """Return what stdout contains: one JSON document, or one on each line."""
    try:
        return [json.loads(out)]
    except ValueError:
        return [json.loads(line) for line in out.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("name", PROOFS)
def test_json_of_every_leaf(name: str, terminal: Terminal, workspace: Path, board: BoardHandle, broker: int) -> None:
    """With --json, success prints only JSON, and failure only the error, with its cause, as on stderr."""
    proof = PROOFS[name]
    for command in proof.before:
        if command == EXCHANGED:
            exchange(terminal)
        else:
            terminal.well(*argv(command, board, broker))
    if proof.well is None:
        pass
    elif proof.endless:
        assert documents(_interrupted(*argv(proof.well, board, broker), "--json"))
    else:
        said = terminal(*argv(proof.well, board, broker), "--json")
        assert (said.code, "Traceback" in said.err) == (0 if name != "doctor" else said.code, False), said.err
        found = documents(said.out)
        assert found
        assert all(one.get("event") != "error" for one in found if isinstance(one, dict))
    said = terminal(*argv(proof.badly, board, broker), "--json")
    assert said.code in (2, 3, 4, 5), said.err
    (told,) = documents(said.out)
    assert set(told) == {"event", "errors"}, told
    assert told["event"] == "error"
    assert told["errors"]
    assert all(one["class"] and one["reason"] and one["reason"] in said.err for one in told["errors"])


def _interrupted(*command: str) -> str:
    """Return the stdout of a command that is interrupted once it has printed its first line."""
    with subprocess.Popen(words(*command), stdout=subprocess.PIPE, text=True, env=environment()) as running:
        assert running.stdout is not None
        first = running.stdout.readline()
        os.kill(running.pid, signal.SIGINT)
        return first + running.stdout.read()


@pytest.mark.parametrize("name", PROOFS)
def test_usage_errors_are_json(name: str, terminal: Terminal, workspace: Path) -> None:
    """An unknown option is a JSON error too, wherever --json stands."""
    for words_given in ((*name.split(), "--no-such-option", "--json"), (*name.split(), "--json", "--no-such-option")):
        said = terminal(*words_given)
        (told,) = documents(said.out)
        assert (said.code, told["event"], told["errors"][0]["class"]) == (2, "error", "usage")
