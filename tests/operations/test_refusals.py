"""What the command line refuses, the library refuses: the same class, cause, message and hint, for every verb."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import rmfab
from rmfab.cli import exit_code, main
from rmfab.errors import RmfabError, UsageError
from rmfab.identity.ca import CaKeyKind
from rmfab.line.events import Step
from rmfab.line.station import Slot, _lone_slot
from rmfab.operations.accept_release import TrustChoice
from rmfab.operations.admit import admit
from rmfab.operations.change_trust import (
    RevokeKeyRequest,
    TrustKeyRequest,
    TrustSigning,
    change_trust,
    export_trust,
    import_trust,
)
from rmfab.operations.generate import GenerateRequest, generate
from rmfab.operations.make_ca import CaRequest, create_ca
from rmfab.operations.make_release import BundleRequest, KeyPairRequest, build_release, make_key_pair, verify_release
from rmfab.operations.publish_update import ExportRequest, export_update
from rmfab.operations.run_line import FLASH_STEPS, RESET_STEPS, VERIFY_STEPS
from rmfab.operations.signing_keys import KeyChoice
from rmfab.operations.terminal import UNATTENDED
from rmfab.operations.trace import trace_release, trace_signer, trace_unit
from rmfab.operations.void import VoidRequest, void
from rmfab.product.vocabulary import Chip, Credentials
from rmfab.release.build import BuildRequest
from rmfab.signing.signer import SigningKeyKind
from rmfab.signing.trust import Role
from rmfab.workspace.workspace import Workspace
from tests.line import test_release as at_the_line
from tests.line.floor import Factory
from tests.line.test_release import _mill, mill  # noqa: F401 - fixtures

PORT = "socket://127.0.0.1:1"
Call = Callable[[Workspace], Any]


def line(**fields: Any) -> Call:
    """A line on a port that no one answers: it must not come to that."""
    fields = {"ports": (PORT,)} | fields
    return lambda workspace: rmfab.run_line(workspace, rmfab.LineRequest(**fields))


def labels(*units: str, **fields: Any) -> Call:
    form = {"form": rmfab.LabelForm.PDF, "output": Path("l.pdf")} | fields
    return lambda workspace: rmfab.print_labels(workspace, rmfab.LabelRequest(units, **form))


def made(**fields: Any) -> Call:
    return lambda workspace: rmfab.completed(rmfab.generate(workspace, rmfab.GenerateRequest(**fields)))


def trusting(*keys: str, **fields: Any) -> Call:
    signing = TrustSigning(KeyChoice(tuple(f"file:{key}.key" for key in keys)))
    return lambda workspace: change_trust(
        workspace, TrustKeyRequest(Path("stranger.pub"), (Role.RELEASE,), **fields), signing, UNATTENDED
    )


def revoking(key: str, *keys: str) -> Call:
    signing = TrustSigning(KeyChoice(tuple(f"file:{key}.key" for key in keys)))
    return lambda workspace: change_trust(workspace, RevokeKeyRequest(key), signing, UNATTENDED)


@dataclass(frozen=True)
class Refusal:
    """The words of the command line, and the call of the library that must end in the same way."""

    argv: tuple[str, ...]
    call: Call


ONE = Path("lamp/1.rmfab")
TABLE = {
    "port twice": Refusal(
        ("flash", "-p", PORT, "-p", PORT, "--release", str(ONE)), line(ports=(PORT, PORT), release=ONE)
    ),
    "no port": Refusal(("run", "--release", str(ONE)), line(ports=(), release=ONE)),
    "serial of two": Refusal(
        ("run", "-p", PORT, "-p", "COM9", "--serial", "LMP-000001"), line(ports=(PORT, "COM9"), serial="LMP-000001")
    ),
    "baud": Refusal(("run", "-p", PORT, "--baud", "5"), line(baud=5)),
    "unit URLs": Refusal(
        ("run", "-p", PORT, "--unit-url", "http://a", "--unit-url", "http://b"),
        line(unit_urls=("http://a", "http://b")),
    ),
    "bad unit URL": Refusal(("run", "-p", PORT, "--unit-url", "ftp://a"), line(unit_urls=("ftp://a",))),
    "no such batch": Refusal(
        ("flash", "-p", PORT, "--release", str(ONE), "--batch", "none"),
        line(steps=FLASH_STEPS, release=ONE, batch="none"),
    ),
    "no release": Refusal(("flash", "-p", PORT, "--release", "gone"), line(steps=FLASH_STEPS, release=Path("gone"))),
    "no release for a flash": Refusal(("flash", "-p", PORT), line(steps=FLASH_STEPS)),
    "loop without restart": Refusal(("run", "-p", PORT, "--loop", "--release", str(ONE)), line(release=ONE, loop=True)),
    "nothing to generate": Refusal(("generate",), made()),
    "too many": Refusal(("generate", "--count", "3000000"), made(count=3_000_000)),
    "none": Refusal(("generate", "--count", "0"), made(count=0)),
    "jobs": Refusal(("generate", "--count", "1", "--jobs", "0"), made(count=1, jobs=0)),
    "values missing": Refusal(("generate", "--values", "gone.csv"), made(values=Path("gone.csv"))),
    "batch of other size": Refusal(
        ("generate", "--count", "3", "--batch", "lamp-0001"), made(count=3, batch="lamp-0001")
    ),
    "batch name": Refusal(("generate", "--count", "1", "--batch", "../x"), made(count=1, batch="../x")),
    "label of none": Refusal(("label", "nope", "-o", "l.pdf"), labels("nope")),
    "label sheet": Refusal(("label", "lamp-0001", "--sheet", "L0", "-o", "l.pdf"), labels("lamp-0001", sheet="L0")),
    "label without a file": Refusal(("label", "lamp-0001", "--format", "pdf"), labels("lamp-0001", output=None)),
    "label before the first": Refusal(
        ("label", "lamp-0001", "--start-at", "0", "-o", "l.pdf"), labels("lamp-0001", start_at=0)
    ),
    "label after the last": Refusal(
        ("label", "lamp-0001", "--start-at", "66", "-o", "l.pdf"), labels("lamp-0001", start_at=66)
    ),
    "many labels in one picture": Refusal(
        ("label", "lamp-0001", "-o", "l.png"), labels("lamp-0001", form=rmfab.LabelForm.PNG, output=Path("l.png"))
    ),
    "files of no batch": Refusal(
        ("build", "none", "-o", "out"),
        lambda w: rmfab.completed(rmfab.build_files(w, rmfab.BuildFilesRequest("none", Path("out")))),
    ),
    "void of none": Refusal(("void", "none", "--reason", "x"), lambda w: void(w, VoidRequest(("none",), "x"))),
    "void without a reason": Refusal(
        ("void", "LMP-000001", "--reason", " "), lambda w: void(w, VoidRequest(("LMP-000001",), " "))
    ),
    "void of nothing": Refusal(("void", "--reason", "x"), lambda w: void(w, VoidRequest((), "x"))),
    "replace without a batch": Refusal(
        ("generate", "--replace-void"), lambda w: list(generate(w, GenerateRequest(replace_void=True)))
    ),
    "replace with a count": Refusal(
        ("generate", "--replace-void", "--batch", "lamp-0001", "--count", "2"),
        lambda w: list(generate(w, GenerateRequest(2, "lamp-0001", replace_void=True))),
    ),
    "trace of none": Refusal(("trace", "none"), lambda w: trace_unit(w, "none")),
    "trace of no release": Refusal(("trace", "--release", "x"), lambda w: trace_release(w, "x")),
    "trace of no signer": Refusal(("trace", "--signer", "x"), lambda w: trace_signer(w, "x")),
    "admit no one": Refusal(("station", "admit", "age1x"), lambda w: admit(w, "age1x")),
    "a second CA": Refusal(
        ("ca", "create", "--no-passphrase"),
        lambda w: create_ca(w, CaRequest(None, CaKeyKind.ECDSA_P256, bare=True), UNATTENDED),
    ),
    "trust without a signature": Refusal(("trust", "add", "stranger.pub", "--role", "release"), trusting()),
    "trust by a stranger": Refusal(
        ("trust", "add", "stranger.pub", "--role", "release", "--key", "file:stranger.key"), trusting("stranger")
    ),
    "too high a threshold": Refusal(
        ("trust", "add", "stranger.pub", "--role", "release", "--threshold", "9", "--key", "file:boss.key"),
        trusting("boss", threshold=9),
    ),
    "revoke no one": Refusal(("trust", "remove", "nobody", "--key", "file:boss.key"), revoking("nobody", "boss")),
    "import what is none": Refusal(
        ("trust", "import", "ci.pub", "--fingerprint", "0" * 32),
        lambda w: import_trust(w, Path("ci.pub"), "0" * 32, UNATTENDED),
    ),
    "export over another file": Refusal(("trust", "export", "-o", "ci.pub"), lambda w: export_trust(w, Path("ci.pub"))),
    "a key that is there": Refusal(
        ("release", "keygen", "-o", "ci.key", "--no-passphrase"),
        lambda _: make_key_pair(KeyPairRequest(Path("ci.key"), SigningKeyKind.ED25519, bare=True), UNATTENDED),
    ),
    "build without seq": Refusal(
        ("release", "build", "lamp/build", "-o", "x.rmfab"),
        lambda w: build_release(w, BundleRequest(Path("lamp/build"), Path("x.rmfab"), BuildRequest()), UNATTENDED),
    ),
    "verify unsigned": Refusal(
        ("release", "verify", "lamp/build"),
        lambda w: verify_release(Path("lamp/build"), w, TrustChoice(), UNATTENDED, []),
    ),
    "publish unsigned": Refusal(
        ("ota", "export", "lamp/build", "-o", "shelf"),
        lambda w: export_update(w, ExportRequest(Path("lamp/build"), Path("shelf")), UNATTENDED),
    ),
}


def by_command_line(*argv: str) -> tuple[int, list[dict[str, str]]]:
    """Return exit code and errors of the command, run in the workspace `lamp`."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        code = main(["-C", "lamp", *argv, "--json"])
    return code, json.loads(out.getvalue().splitlines()[-1])["errors"]


def by_library(call: Call) -> tuple[int, list[dict[str, str]]]:
    """Return the exit code that the error of the library stands for, and what it reports."""
    with pytest.raises(RmfabError) as caught:
        call(rmfab.open_workspace(Path("lamp")))
    return exit_code(caught.value), [one.to_json() for one in caught.value.complaints]


@pytest.fixture
def at(mill: Factory, monkeypatch: pytest.MonkeyPatch) -> Factory:  # noqa: F811
    """A workspace that demands signed releases, `lamp` in the current folder."""
    for name in ("RMFAB_WORKSPACE", "RMFAB_STATION", "RMFAB_LEDGER", "RMFAB_CA_PASSPHRASE_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(mill.root.parent))
    monkeypatch.chdir(mill.root.parent)
    return mill


@pytest.mark.parametrize("name", TABLE)
def test_the_same_refusal(at: Factory, name: str) -> None:
    """Each refusal of the command line is the library's, word for word."""
    refusal = TABLE[name]
    said = by_command_line(*refusal.argv)
    assert said[0] in (2, 3, 4, 5)
    assert by_library(refusal.call) == said


@pytest.mark.parametrize("cause", at_the_line.REFUSALS)
@pytest.mark.parametrize("command", ["flash", "verify", "reset"])
def test_a_release_that_is_not_trusted(at: Factory, cause: str, command: str) -> None:
    """No verb of the library accepts a release that the command line refuses, and none records it."""
    release = at_the_line.REFUSALS[cause](at)
    steps = {"flash": FLASH_STEPS, "verify": VERIFY_STEPS, "reset": RESET_STEPS}[command]
    said = by_command_line(command, "-p", PORT, "--release", str(release))
    assert (said[0], said[1][0]["class"]) == (5, cause)
    assert by_library(line(steps=steps, release=release)) == said
    assert by_library(lambda w: rmfab.accept_release(w, rmfab.AcceptRequest(release))) == said
    assert at_the_line.release_events(at) == []


def test_a_signature_of_a_stranger_is_not_forgotten_when_unsigned_is_allowed(at: Factory) -> None:
    """`allow_unsigned` accepts builds without a signature, not bundles that a stranger has signed."""
    at.edit("allow_unsigned = false", "allow_unsigned = true ")
    bundle = at_the_line.sign(at, 1, "stranger", replace=True)
    said = by_command_line("flash", "-p", PORT, "--release", str(bundle))
    assert (said[0], said[1][0]["class"]) == (5, "unknown-signer")
    assert by_library(lambda w: rmfab.accept_release(w, rmfab.AcceptRequest(bundle))) == said


def test_a_downgrade(at: Factory) -> None:
    """The library remembers the last release that it accepted, and refuses an older one as the command line does."""
    workspace = rmfab.open_workspace(at.root)
    assert rmfab.accept_release(workspace, rmfab.AcceptRequest(at.root / "2.rmfab")).release.seq == 2
    said = by_command_line("flash", "-p", PORT, "--release", str(at.root / "1.rmfab"))
    assert (said[0], said[1][0]["class"]) == (5, "downgrade")
    assert by_library(lambda w: rmfab.accept_release(w, rmfab.AcceptRequest(at.root / "1.rmfab"))) == said
    assert by_library(line(steps=FLASH_STEPS, release=at.root / "1.rmfab")) == said


def test_an_older_trust_file(at: Factory) -> None:
    """A trust file from before a revocation is refused by the library too."""
    path = at.root / "keys" / "trust.json"
    before = path.read_bytes()
    at_the_line._revoke(at, "ci")
    path.write_bytes(before)
    said = by_command_line("flash", "-p", PORT, "--release", str(at.root / "1.rmfab"))
    assert said[1][0]["class"] == "trust-downgrade"
    assert by_library(lambda w: rmfab.accept_release(w, rmfab.AcceptRequest(at.root / "1.rmfab"))) == said


def test_options_of_a_new_workspace(at: Factory) -> None:
    """A product that claims its certificate has no host of its own, whoever creates it."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        code = main(["init", "fan", "--cloud-claim", "--mqtt-host", "mqtt.example.org", "--json"])
    said = code, json.loads(out.getvalue())["errors"]
    options = {"chip": Chip.ESP32C3, "name": None, "serial": None, "force": False}
    claim = {"mqtt_host": "mqtt.example.org", "credentials": Credentials.CLOUD_CLAIM}
    assert by_library(lambda _: rmfab.create_workspace(Path("fan"), **options, **claim)) == said
    assert not Path("fan").exists()


def test_a_line_is_not_shortened() -> None:
    """Steps are those of a command: a line without its proofs would call a unit verified that never was."""
    for steps in ((), (Step.FLASH,), (*FLASH_STEPS, Step.BOOT, Step.IDENTIFY), tuple(reversed(FLASH_STEPS))):
        with pytest.raises(UsageError, match="the steps must be those of"):
            rmfab.LineRequest(steps)


def test_slots_as_values_are_judged_too(at: Factory) -> None:
    """Two slots with one port are refused, also if they do not come from station.toml."""
    slot = _lone_slot(PORT)
    request = rmfab.LineRequest(FLASH_STEPS, slots=(slot, Slot("B", slot.link)), release=ONE)
    assert by_library(lambda w: rmfab.run_line(w, request))[1][0]["reason"] == "port given twice"


def test_no_way_to_a_release_that_is_not_judged() -> None:
    """No name of the front door opens a release without judging it; what a line flashes comes from a path."""
    assert not {"open_release", "open_unparsed", "open_bundle_file", "judge_release", "Release"} & set(rmfab.__all__)
    for name in rmfab.__all__:
        value = getattr(rmfab, name)
        if isinstance(value, type) or not callable(value):
            continue
        assert not re.search(r"\b(Release|Bundle)\b", str(inspect.signature(value).return_annotation)), name
    assert typing.get_type_hints(rmfab.LineRequest)["release"] == Path | None
