"""Releases at the station: signed ones are flashed and recorded, all others stop before a board is touched."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from sqlalchemy import select

from rmfab.cli import main
from rmfab.ledger.events import EventKind
from rmfab.ledger.sql import schema
from rmfab.ledger.stored_events import stored
from rmfab.product.vocabulary import Chip
from rmfab.release.bundle import open_bundle_file
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe
from tests.ledger.workshop import beneath
from tests.line.floor import APP_SIZE, Factory, beside, copied, found, ports, serve, spec
from tests.terminal import dialogue, environment, words

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def _mill(tmp_path_factory: pytest.TempPathFactory) -> Factory:
    """A workspace that accepts only signed releases, trusts `ci` and `boss`, and has releases of seq 1 and 2."""
    root = tmp_path_factory.mktemp("mill")
    mill = found(
        root / "lamp",
        edits=(("allow_unsigned = true ", "allow_unsigned = false"), ('path = "build"', '# path = "build"')),
    )
    for name in ("ci", "boss", "stranger"):
        rmfab(mill, "release", "keygen", "-o", root / f"{name}.key", "--no-passphrase")
    rmfab(
        mill,
        "trust",
        "add",
        root / "boss.pub",
        "--role",
        "trust",
        "--role",
        "release",
        "--key",
        f"file:{root}/boss.key",
    )
    rmfab(mill, "trust", "add", root / "ci.pub", "--role", "release", "--key", f"file:{root}/boss.key")
    for seq, version in ((1, "1.0.0"), (2, "1.1.0")):
        build = make_build_folder(
            root / f"build-{seq}", FirmwareRecipe(Chip.ESP32C3, app_size=APP_SIZE, version=version)
        )
        bundle = mill.root / f"{seq}.rmfab"
        rmfab(mill, "release", "build", build, "-o", bundle, "--seq", str(seq), "--no-sbom")
        rmfab(mill, "release", "sign", bundle, "--key", f"file:{root}/ci.key")
    return mill


@pytest.fixture
def mill(_mill: Factory, tmp_path: Path) -> Factory:
    """A copy of that workspace, with the keys beside it."""
    for path in _mill.root.parent.glob("*.key"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
        (tmp_path / path.name).chmod(0o600)
        (tmp_path / path.with_suffix(".pub").name).write_bytes(path.with_suffix(".pub").read_bytes())
    return copied(_mill, tmp_path / "lamp")


def rmfab(mill: Factory, *argv: str | Path, code: int = 0) -> tuple[str, str]:
    """Run a command in the workspace of *mill*. Return its stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        ended = main(["-C", str(mill.root), *map(str, argv)])
    assert ended == code, err.getvalue()
    return out.getvalue(), err.getvalue()


def sign(mill: Factory, seq: int, *keys: str, replace: bool = False) -> Path:
    """Sign the release *seq* with more keys."""
    bundle = mill.root / f"{seq}.rmfab"
    options = [word for key in keys for word in ("--key", f"file:{mill.root.parent}/{key}.key")]
    rmfab(mill, "release", "sign", bundle, *options, *(["--replace"] if replace else []))
    return bundle


def release_events(mill: Factory) -> list:
    """Return the acceptances in the ledger, oldest first."""
    with beneath(mill.root, "ledger.db") as connection:
        query = select(schema.event).where(schema.event.c.kind == EventKind.RELEASE.value).order_by(schema.event.c.id)
        return [stored(row._mapping).event for row in connection.execute(query)]


def test_a_signed_release_is_flashed_and_remembered(mill: Factory):
    """The line prints who signed it; the unit's flash event has digest and signers; the ledger keeps both."""
    with serve([spec()]) as boards:
        said = mill.run(boards[0].url, extra=("--release", str(mill.root / "2.rmfab")))
    assert (said.code, said.summary["passed"]) == (0, 1), said.words
    assert "release rmfab-demo 1.1.0, seq 2, signed by ci (" in said.words
    digest = open_bundle_file(mill.root / "2.rmfab").release().digest
    named = said.step("flash")["measurements"]["release"]
    assert (named["digest"], named["seq"], [one["name"] for one in named["signers"]]) == (digest, 2, ["ci"])
    (accepted,) = release_events(mill)
    assert (accepted.details["digest"], accepted.details["product"], accepted.cause) == (digest, "Lamp", None)
    assert accepted.details["trust"]["version"] == 2
    mill.check()


def _raise_threshold(mill: Factory) -> None:
    root = mill.root.parent
    options = ("--role", "release", "--threshold", "2", "--key", f"file:{root}/boss.key")
    rmfab(mill, "trust", "add", root / "ci.pub", *options)


def _revoke(mill: Factory, name: str) -> None:
    rmfab(mill, "trust", "remove", name, "--reason", "leaked", "--key", f"file:{mill.root.parent}/boss.key")


def _altered(mill: Factory) -> Path:
    path = mill.root / "1.rmfab"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return path


REFUSALS = {
    "unsigned": lambda mill: mill.root.parent / "lamp" / "build",
    "unknown-signer": lambda mill: sign(mill, 1, "stranger"),
    "too-few-signatures": lambda mill: (_raise_threshold(mill), mill.root / "1.rmfab")[1],
    "key-revoked": lambda mill: (_revoke(mill, "ci"), mill.root / "1.rmfab")[1],
    "bundle-altered": _altered,
    "no-trust": lambda mill: ((mill.root / "keys" / "trust.json").unlink(), mill.root / "1.rmfab")[1],
}
WORDS = {
    "unsigned": "this release is not signed",
    "unknown-signer": "signed by an unknown key",
    "too-few-signatures": "1 valid signature by trusted keys, 2 required",
    "key-revoked": "which was revoked on",
    "bundle-altered": "altered or damaged",
    "no-trust": "this station has no trust file",
}


@pytest.mark.parametrize("command", ["run", "flash"])
@pytest.mark.parametrize("cause", list(REFUSALS))
def test_the_line_does_not_start(mill: Factory, cause: str, command: str):
    """Each rejected release exits with 5 and its own message; no board is touched, nothing claimed, no file left."""
    release = REFUSALS[cause](mill)
    with serve([spec()]) as boards:
        said = mill.run(boards[0].url, extra=("--release", str(release)), command=command)
        assert boards[0].state()["commands"] == 0
    assert said.refusal == (5, [cause]), said.words
    assert WORDS[cause] in said.words
    assert mill.bindings() == {}
    assert release_events(mill) == []


def test_verify_and_reset_want_a_trusted_release_too(mill: Factory):
    """`verify` and `reset` reject an untrusted release: its partition table would select what to erase."""
    bundle = sign(mill, 1, "stranger", replace=True)
    for command in ("verify", "reset"):
        said = mill.do(command, "--port", "socket://127.0.0.1:1", "--release", str(bundle))
        assert said.code == 5, said.words


def test_an_unknown_signer_may_be_overlooked(mill: Factory):
    """An unknown signer is accepted beside enough trusted ones, and only if requested."""
    bundle = sign(mill, 1, "stranger")
    with serve([spec()]) as boards:
        extra = ("--release", str(bundle), "--allow-unknown-signers")
        said = mill.run(boards[0].url, extra=extra, command="flash")
    assert said.code == 0, said.words
    assert [one["name"] for one in said.step("flash")["measurements"]["release"]["signers"]] == ["ci"]


def test_a_step_back_is_refused_and_remembered_where_it_is_meant(mill: Factory):
    """After seq 2 the line rejects seq 1; --allow-downgrade accepts it, and the ledger records that."""
    with serve([spec()]) as boards:
        url = boards[0].url
        for seq in (1, 2):
            assert mill.run(url, extra=("--release", str(mill.root / f"{seq}.rmfab")), command="flash").code == 0
        back = ("--release", str(mill.root / "1.rmfab"))
        said = mill.run(url, extra=back, command="flash")
        assert said.code == 5
        assert "seq 1 is below 2 of 1.1.0" in said.words
        assert "--allow-downgrade" in said.words
        said = mill.run(url, extra=(*back, "--allow-downgrade"), command="flash")
        assert said.code == 0, said.words
        assert mill.run(url, extra=back, command="flash").code == 0  # the last accepted release is now the older one
    first, second, third = release_events(mill)
    assert [one.details["seq"] for one in (first, second, third)] == [1, 2, 1]
    assert (third.cause, third.details["before"]["seq"]) == ("downgrade", 2)
    mill.check()


def test_an_old_trust_file_taken_back_is_found_by_the_ledger(mill: Factory):
    """A trust file from before a revocation is rejected, imported again or restored by hand, even if no release was
    accepted since; a trust file that its owner started again is accepted if requested.
    """
    path = mill.root / "keys" / "trust.json"
    fingerprint = rmfab(mill, "trust", "export", "-o", mill.root / "old.json")[0].strip()
    _revoke(mill, "ci")
    path.unlink()
    imports = ("trust", "import", mill.root / "old.json", "--fingerprint", fingerprint)
    assert "the ledger has version 3" in rmfab(mill, *imports, code=5)[1]
    assert not path.exists()
    path.write_bytes((mill.root / "old.json").read_bytes())
    release = ("--release", str(mill.root / "1.rmfab"))
    for command in ("run", "flash", "verify"):
        said = mill.do(command, "--port", "socket://127.0.0.1:1", *release)
        assert said.refusal == (5, ["trust-downgrade"])
    for command in (("release", "verify"), ("ota", "export", "-o", mill.root / "shelf")):
        rmfab(mill, *command, mill.root / "1.rmfab", code=5)
    path.unlink()
    rmfab(mill, *imports, "--allow-downgrade")
    with serve([spec()]) as boards:
        assert mill.run(boards[0].url, extra=release, command="flash").code == 0
    with mill.ledger() as ledger:
        event = ledger.last_trust("Lamp").event
    assert (event.cause, event.details["version"]) == ("trust-downgrade", 2)
    mill.check()


def test_a_step_back_is_asked_on_a_terminal(mill: Factory):
    """--allow-downgrade on a terminal asks for confirmation; "no" rejects the release."""
    with serve([spec()]) as boards:
        url = boards[0].url
        assert mill.run(url, extra=("--release", str(mill.root / "2.rmfab")), command="flash").code == 0
        command = ("-C", mill.root, "flash", *ports(url, command="flash"), "--release", mill.root / "1.rmfab")
        code, said = dialogue(*command, "--allow-downgrade", cwd=mill.root, answers=[("[y/N]", "n")])
    assert code == 5, said
    assert len(release_events(mill)) == 1


def test_another_release_under_the_same_seq_is_refused(mill: Factory):
    """A second release with the same seq is rejected."""
    with serve([spec()]) as boards:
        url = boards[0].url
        assert mill.run(url, extra=("--release", str(mill.root / "2.rmfab")), command="flash").code == 0
        build = mill.root.parent / "other"
        make_build_folder(build, FirmwareRecipe(Chip.ESP32C3, app_size=APP_SIZE, version="9.9.9"))
        bundle = mill.root / "9.rmfab"
        rmfab(mill, "release", "build", build, "-o", bundle, "--seq", "2", "--no-sbom")
        rmfab(mill, "release", "sign", bundle, "--key", f"file:{mill.root.parent}/ci.key")
        said = mill.run(url, extra=("--release", str(bundle)), command="flash")
    assert said.code == 5
    assert "seq 2 is taken by" in said.words


def test_a_key_that_is_revoked_while_the_line_runs_ends_the_loop(mill: Factory):
    """The unit on the bench is finished; the next board gets nothing, and the station reports the reason."""
    revoke = words("-C", mill.root, "trust", "remove", "ci", "--reason", "leaked")

    def play() -> None:
        mill.wait_for(lambda event: event["event"] == "unit")
        revoked = [*revoke, "--key", f"file:{mill.root.parent}/boss.key"]
        subprocess.run(revoked, check=True, capture_output=True, env=environment())
        boards[0].control("swap")

    with serve([spec()]) as boards, beside(play):
        said = mill.run(boards[0].url, extra=("--release", str(mill.root / "2.rmfab"), "--loop"))
    assert (said.code, [unit["outcome"] for unit in said.units]) == (5, ["PASS"]), said.words
    assert "which was revoked on" in said.words
    assert "leaked" in said.words
    (error,) = [event for event in said.events if event["event"] == "error"]
    assert error["errors"][0]["class"] == "key-revoked"
    assert len(mill.bindings()) == 1


def test_unsigned_is_said_on_every_start(mill: Factory):
    """A maker's own build folder is flashed if product.toml allows it, with a warning on every start."""
    mill.edit("allow_unsigned = false", "allow_unsigned = true")
    with serve([spec()]) as boards:
        for _ in range(2):
            said = mill.run(boards[0].url, extra=("--release", str(mill.root / "build")), command="flash")
            assert said.code == 0, said.words
            assert "this release is not signed; allow_unsigned in product.toml accepts it" in said.words
    assert said.step("flash")["measurements"]["release"]["signers"] == []


def test_trace_finds_the_units_of_a_release(mill: Factory):
    """Units are found by the bundle, its digest, or its signer's key; a unit with a newer release is marked."""
    with serve([spec(index=0), spec(index=1)]) as boards:
        one, two = (board.url for board in boards)
        assert mill.run(one, two, extra=("--release", str(mill.root / "1.rmfab")), command="flash").code == 0
        assert mill.run(two, extra=("--release", str(mill.root / "2.rmfab")), command="flash").code == 0
        serials = {mill.bindings()[board.mac]: board for board in boards}
    digest = open_bundle_file(mill.root / "1.rmfab").release().digest
    for term in (mill.root / "1.rmfab", digest, digest.upper()):
        units = json.loads(rmfab(mill, "trace", "--release", term, "--json")[0])["units"]
        assert {unit["serial"]: unit["replaced"] for unit in units} == {
            serial: board.url == two for serial, board in serials.items()
        }
    for term in ("ci", mill.root.parent / "ci.pub"):
        units = json.loads(rmfab(mill, "trace", "--signer", term, "--json")[0])["units"]
        assert {unit["release"]["version"] for unit in units} == {"1.0.0", "1.1.0"}
    text = rmfab(mill, "trace", "--release", mill.root / "1.rmfab")[0]
    assert text.count("replaced since") == 1
    assert f"release 1.0.0 ({digest[:16]}…), signed by ci" in rmfab(mill, "trace", next(iter(serials)))[0]
    refused = json.loads(rmfab(mill, "trace", "--signer", "stranger", "--json", code=3)[0])
    assert refused["errors"][0]["reason"] == 'no key matches "stranger"'


def test_a_report_of_verify_for_ci(mill: Factory, tmp_path: Path):
    """`verify --junit` writes a case for each step of each unit, and failures with their cause."""
    with serve([spec(), spec(index=1, faults=("panic",))]) as boards:
        urls = [board.url for board in boards]
        release = ("--release", str(mill.root / "1.rmfab"))
        assert mill.run(*urls, extra=release, command="flash").code == 0
        said = mill.run(*urls, extra=(*release, "--junit", str(tmp_path / "v.xml")), command="verify")
    assert said.code == 1
    suite = ET.parse(tmp_path / "v.xml").getroot()
    assert suite.get("failures") == "1"
    names = {case.get("name", "").split()[1] for case in suite}
    assert {"detect", "boot", "identify", "provision"} <= names
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("type") == "panic"


def test_a_release_that_preflight_refuses_is_not_accepted(mill: Factory):
    """A release that would brick a board is not recorded as accepted, signed or not."""
    mill.edit("security = 2 ", "security = 1 ")
    said = mill.do("flash", "--port", "socket://127.0.0.1:1", "--release", str(mill.root / "2.rmfab"))
    assert said.code == 3
    assert "security = 2 (" in said.words
    assert release_events(mill) == []
