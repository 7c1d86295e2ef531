"""Tests of `rmfab release`: build, sign, verify and show, with the demo's firmware."""

from __future__ import annotations

import base64
import json
import stat
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.dsse import Envelope as TheirEnvelope
from securesystemslib.signer import SSlibKey

from rmfab.operations.accept_release import AcceptRequest, accept_release
from rmfab.product.vocabulary import Chip
from rmfab.release.bundle import open_bundle_file
from rmfab.release.opening import open_release
from rmfab.signing.publickey import load_public_key
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe
from rmfab.workspace.workspace import open_workspace
from tests.softhsm import PIN, soft_token
from tests.terminal import Terminal, dialogue, environment, files, words


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A build folder for the esp32."""
    return make_build_folder(tmp_path / "build", FirmwareRecipe(Chip.ESP32, app_size=0x20000))


@pytest.fixture
def bundle(terminal: Terminal, folder: Path) -> Path:
    """An unsigned bundle, seq 7."""
    terminal.well("release", "build", folder, "-o", "lamp.rmfab", "--seq", "7", "--no-sbom")
    return terminal.folder / "lamp.rmfab"


@pytest.fixture
def signed(terminal: Terminal, bundle: Path) -> Path:
    """The bundle, signed by release.key, which trust.json trusts."""
    terminal.well("release", "keygen", "-o", "release.key", "--no-passphrase")
    terminal.well("release", "sign", bundle, "--key", "file:release.key")
    terminal.well("init", "owner", "--cloud-claim")
    terminal.well("-C", "owner", "trust", "add", "release.pub", "--role", "release", "--key", "file:release.key")
    terminal.well("-C", "owner", "trust", "export", "-o", "trust.json")
    return bundle


def test_build_prints_the_digest_and_can_be_repeated(terminal: Terminal, folder: Path):
    """stdout is the digest; building the same bundle again succeeds, a different one is rejected without --force."""
    command = ("release", "build", folder, "-o", "lamp.rmfab", "--no-sbom")
    first, second = (terminal(*command, "--seq", "7") for _ in range(2))
    path = terminal.folder / "lamp.rmfab"
    assert first.out == second.out == f"{open_release(path).digest}\n"
    assert "written" in first.err
    assert "unchanged" in second.err
    before = path.read_bytes()
    terminal(*command, "--seq", "8").refused(3, "exists with different content", "--force")
    assert path.read_bytes() == before
    terminal.well(*command, "--seq", "8", "--force")
    assert open_release(path).seq == 8


def test_build_wants_a_seq(terminal: Terminal, folder: Path):
    """Without --seq and without a seq in product.toml the build is rejected, and leaves no file."""
    before = files(terminal.folder)
    terminal("release", "build", folder, "-o", "x.rmfab").refused(3, "no seq given", "--seq N")
    assert files(terminal.folder) == before


def test_build_refuses_what_preflight_refuses(terminal: Terminal, folder: Path):
    """A faulty build folder leaves no file."""
    args = json.loads((folder / "flasher_args.json").read_text())
    args["app"]["encrypted"] = "true"
    (folder / "flasher_args.json").write_text(json.dumps(args))
    terminal("release", "build", folder, "-o", "x", "--seq", "1").refused(3, "flash encryption")
    assert not (terminal.folder / "x").exists()


def test_build_in_a_workspace_obeys_its_product(terminal: Terminal, folder: Path):
    """The nearest product.toml is checked: chip, security, and a required rollback."""
    terminal.well("init", ".", "--chip", "esp32c3", "--name", "lamp", "--cloud-claim")
    path = terminal.folder / "product.toml"
    text = path.read_text().replace("security = 2 ", "security = 1 ").replace("# rollback = true", "rollback = true")
    path.write_text(text)
    (folder / "config").mkdir(exist_ok=True)
    (folder / "config" / "sdkconfig.json").write_text(json.dumps({"APP_PROV_SECURITY_VERSION_2": True}))
    said = terminal("release", "build", folder, "-o", "x.rmfab", "--seq", "1")
    said.refused(3, "the product for esp32c3", "security = 2 (", "the product has 1", "does not roll back an update")
    assert not (terminal.folder / "x.rmfab").exists()


def test_build_after_another_release(terminal: Terminal, folder: Path, bundle: Path):
    """--after rejects a seq that does not grow."""
    command = ("release", "build", folder, "-o", "next.rmfab", "--after", bundle, "--no-sbom")
    terminal(*command, "--seq", "7").refused(3, "seq 7 is not above 7")
    terminal.well(*command, "--seq", "8")


def test_build_takes_version_notes_and_sbom(terminal: Terminal, folder: Path):
    """The manifest contains the owner's options; --json prints it."""
    Path("notes.txt").write_text("Brighter.\n")
    Path("s.json").write_text('{"bomFormat": "CycloneDX"}')
    options = ("--seq", "3", "--version", "1.4.0", "--notes", "@notes.txt", "--sbom", "s.json", "--json")
    document = json.loads(terminal.well("release", "build", folder, "-o", "l.rmfab", *options))
    assert (document["version"], document["seq"], document["notes"]) == ("1.4.0", 3, "Brighter.\n")
    assert document["app"]["version"] == "1.0.0"
    shown = terminal.well("release", "show", "l.rmfab")
    assert "rmfab-demo 1.4.0 for esp32" in shown
    assert "CycloneDX JSON" in shown
    assert shown.endswith("Brighter.\n")


@pytest.mark.parametrize(("version", "warned"), [("1.4.0", True), ("1.0.0", False), ("v1.0.0", False)])
def test_a_version_that_the_app_does_not_report(terminal: Terminal, folder: Path, version: str, warned: bool):
    """`build` and `sign` warn, on one line, of a release whose app reports a different version."""
    terminal.well("release", "keygen", "-o", "x.key", "--no-passphrase")
    build = ("release", "build", folder, "-o", "l.rmfab", "--seq", "3", "--no-sbom", "--release-version", version)
    for argv in (build, ("release", "sign", "l.rmfab", "--key", "x.key")):
        said = terminal(*argv)
        lines = [line for line in said.err.splitlines() if "its app reports" in line]
        expected = f"rmfab: warning: the release is version {version}, but its app reports version 1.0.0"
        assert (said.code, lines) == (0, [expected] if warned else [])


def test_show_of_folder_and_bundle(terminal: Terminal, folder: Path, signed: Path):
    """`show` prints a table of parts and partitions, or one JSON document, with the signers."""
    text = terminal.well("release", "show", folder)
    assert "rmfab-demo 1.0.0 for esp32, ESP-IDF v5.5.1" in text
    assert "fctry                 0x3fa000    0x6000  01 02       WiFi data" in text
    assert "signed by         no one" in text
    document = json.loads(terminal.well("release", "show", signed, "--json"))
    assert (document["chip"], document["app"]["version"], document["table_offset"]) == ("esp32", "1.0.0", 0xC000)
    assert {part["name"]: part["offset"] for part in document["parts"]}["bootloader"] == 0x1000
    assert document["signatures"] == [load_public_key(Path("release.pub")).id]


def test_keygen(terminal: Terminal):
    """The private key is 0600, the public key is readable; neither is ever replaced, and stdout is the id."""
    key_id = terminal.well("release", "keygen", "-o", "release.key", "--no-passphrase").strip()
    assert stat.S_IMODE(Path("release.key").stat().st_mode) == 0o600
    assert load_public_key(Path("release.pub")).id == key_id
    before = files(terminal.folder)
    terminal("release", "keygen", "-o", "release.key", "--no-passphrase").refused(3, "never replaces")
    terminal("release", "keygen", "-o", "other.pub", "--no-passphrase").refused(3, "for the public key")
    assert files(terminal.folder) == before
    openssl = subprocess.run(
        ["openssl", "pkey", "-in", "release.key", "-pubout"], cwd=terminal.folder, capture_output=True, check=True
    )
    assert openssl.stdout == Path("release.pub").read_bytes()


def test_keygen_in_a_repository(terminal: Terminal):
    """A private key that `git add` would take is a warning; an ignored one, or one outside a work tree, is not."""
    assert "git" not in terminal("release", "keygen", "-o", "a.key", "--no-passphrase").err
    subprocess.run(["git", "init", "-q"], check=True)
    said = terminal("release", "keygen", "-o", "b.key", "--no-passphrase")
    assert "b.key is in a git work tree and not ignored" in said.err
    assert "add b.key to .gitignore" in said.err
    Path(".gitignore").write_text("*.key\n")
    assert "git" not in terminal("release", "keygen", "-o", "c.key", "--no-passphrase").err


def test_keygen_with_a_passphrase(terminal: Terminal, bundle: Path, monkeypatch: pytest.MonkeyPatch):
    """The passphrase comes from a file, by option or variable; without it nothing is signed. It is never printed."""
    Path("pass").write_text("correct horse\n")
    Path("pass").chmod(0o600)
    terminal.well("release", "keygen", "-o", "k.key", "--kind", "ecdsa-p256", "--passphrase-file", "pass")
    load_pem_private_key(Path("k.key").read_bytes(), b"correct horse")
    said = terminal("release", "sign", bundle, "--key", "file:k.key")
    said.refused(3, "a passphrase is required", "RMFAB_KEY_PASSPHRASE_FILE")
    terminal.well("release", "sign", bundle, "--key", "file:k.key", "--passphrase-file", "pass")
    monkeypatch.setenv("RMFAB_KEY_PASSPHRASE_FILE", "pass")
    said = terminal("release", "sign", bundle, "--key", "file:k.key", "-o", "again.rmfab")
    assert said.code == 0
    assert "correct horse" not in said.out + said.err
    assert Path("again.rmfab").read_bytes() == bundle.read_bytes()


def test_a_passphrase_typed_on_a_terminal(terminal: Terminal, bundle: Path):
    """On a terminal the passphrase is asked for, and is not shown."""
    Path("pass").write_text("typed words\n")
    Path("pass").chmod(0o600)
    terminal.well("release", "keygen", "-o", "k.key", "--passphrase-file", "pass")
    answers = [("Passphrase of k.key", "typed words")]
    code, said = dialogue("release", "sign", bundle, "--key", "file:k.key", cwd=terminal.folder, answers=answers)
    assert code == 0, said
    assert "typed words" not in said
    assert len(open_bundle_file(bundle).to_sign.signatures) == 1


def test_force_replaces_releases_only(terminal: Terminal, folder: Path, signed: Path):
    """A typing error in -o never destroys a key, even with --force; a folder, or no file name, is an error."""
    command = ("release", "build", folder, "--seq", "9", "--no-sbom", "--force", "-o")
    before = files(terminal.folder)
    terminal(*command, "release.key").refused(3, "not a release bundle")
    terminal("release", "sign", signed, "--key", "file:release.key", "-o", "release.pub", "--force").refused(
        3, "release.pub", "not a release bundle"
    )
    for name in (".", "/", folder):
        terminal(*command, name).refused(3, "is a directory, expected a file")
        terminal("release", "keygen", "-o", name, "--no-passphrase").refused(3)
    assert files(terminal.folder) == before
    terminal.well(*command, signed)


def test_a_private_key_is_never_said_again(terminal: Terminal, signed: Path):
    """A key given in place of its URI, as PEM or base64, is not repeated in the error; nor is a PIN in its URI."""
    pem = Path("release.key").read_bytes()
    folded = base64.b64encode(pem).decode()
    for given in (folded, f"env:{folded}", f"file:{pem.decode()}", f"env:{pem.decode()}", f"base64:{folded}"):
        said = terminal("release", "sign", signed, "--key", given)
        said.refused(3, "the command line is visible")
        assert folded[60:90] not in said.err
    for name in ("pin", "PIN-VALUE", "pin%2dvalue", "pin-value", "Pin"):
        said = terminal("release", "sign", signed, "--key", f"pkcs11:object=a?{name}=7391")
        said.refused(3, "a PIN is not allowed")
        assert "7391" not in said.err


def test_verify_in_json_also_where_the_answer_is_no(terminal: Terminal, bundle: Path, signed: Path):
    """An error is a JSON document too, with class and reason."""
    assert terminal.well("release", "verify", signed, "--trust", "trust.json", "--json")
    terminal.well("release", "build", "build", "-o", "plain.rmfab", "--seq", "7", "--no-sbom")
    said = terminal("release", "verify", "plain.rmfab", "--trust", "trust.json", "--json")
    said.refused(5, "is not signed")
    (error,) = json.loads(said.out)["errors"]
    assert (error["class"], error["where"]) == ("unsigned", "plain.rmfab")


def test_a_passphrase_and_none(terminal: Terminal):
    """--no-passphrase and --passphrase-file together are rejected, so no key is left unencrypted by accident."""
    Path("pass").write_text("open sesame")
    Path("pass").chmod(0o600)
    terminal("release", "keygen", "-o", "x.key", "--no-passphrase", "--passphrase-file", "pass").refused(2, "or")
    assert not Path("x.key").exists()
    Path("pass").write_text("x" * 2000)
    terminal("release", "keygen", "-o", "x.key", "--passphrase-file", "pass").refused(3, "longer than 1023 bytes")


def test_what_a_file_says_does_not_steer_the_terminal(terminal: Terminal, folder: Path):
    """Escape sequences in notes are printed escaped."""
    terminal.well("release", "build", folder, "-o", "n.rmfab", "--seq", "7", "--no-sbom", "--notes", "a\x1b[2Jb")
    out = terminal.well("release", "show", "n.rmfab")
    assert "a\\x1b[2Jb" in out
    assert "\x1b" not in out


def test_sign_adds_and_replaces(terminal: Terminal, signed: Path):
    """A second key adds its signature, the first one again changes nothing, --replace leaves only the new one."""
    terminal.well("release", "keygen", "-o", "two.key", "--no-passphrase", "--kind", "ecdsa-p256")
    once = signed.read_bytes()
    assert "unchanged" in terminal("release", "sign", signed, "--key", "file:release.key").err
    assert signed.read_bytes() == once
    terminal.well("release", "sign", signed, "--key", "file:two.key")
    assert len(open_bundle_file(signed).to_sign.signatures) == 2
    terminal.well("release", "sign", signed, "--key", "file:two.key", "--replace")
    (only,) = open_bundle_file(signed).to_sign.signatures
    assert only.key_id == load_public_key(Path("two.pub")).id


def test_sign_refuses_what_is_no_release(terminal: Terminal, signed: Path):
    """An altered bundle is not signed, and a target that is not a bundle is kept; both leave all files unchanged."""
    data = bytearray(signed.read_bytes())
    data[20000] ^= 1
    Path("bad.rmfab").write_bytes(data)
    Path("other").write_bytes(b"mine")
    before = files(terminal.folder)
    terminal("release", "sign", "bad.rmfab", "--key", "file:release.key").refused(5, "altered or damaged")
    terminal("release", "sign", signed, "--key", "file:release.key", "-o", "other").refused(3, "not a release bundle")
    terminal("release", "sign", signed, "--key", "file:nowhere.key").refused(3, "nowhere.key")
    assert files(terminal.folder) == before


def test_a_softhsm_signs_and_a_station_verifies_offline(terminal: Terminal, bundle: Path):
    """A bundle signed inside a PKCS #11 token is accepted by a station that has only the trust file."""
    token = soft_token()
    Path("pin").write_text(PIN)
    Path("pin").chmod(0o600)
    terminal.well("release", "pubkey", "--key", token.uri, "--passphrase-file", "pin", "-o", "ci.pub")
    terminal.well("release", "sign", bundle, "--key", f"{token.uri}&pin-source=pin")
    terminal.well("init", "owner", "--cloud-claim")
    terminal.well("-C", "owner", "trust", "add", "ci.pub", "--role", "release")
    fingerprint = terminal.well("-C", "owner", "trust", "export", "-o", "trust.json").strip()
    terminal.well("init", "station", "--cloud-claim", "--chip", "esp32")
    terminal.well("-C", "station", "trust", "import", "trust.json", "--fingerprint", fingerprint)
    assert terminal("-C", "station", "release", "verify", bundle).code == 0
    Path("wrong").write_text("0000")
    Path("wrong").chmod(0o600)  # no session stayed logged in
    terminal("release", "sign", bundle, "--key", f"{token.uri}&pin-source=wrong").refused(3, "the PIN is wrong")
    theirs = TheirEnvelope.from_dict(json.loads(open_bundle_file(bundle).to_sign.encode()))
    assert theirs.verify([SSlibKey.from_crypto(_public("ci.pub"))], 1)


def _public(path: str):
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    return load_pem_public_key(Path(path).read_bytes())


def test_verify_by_a_trust_file(terminal: Terminal, signed: Path):
    """A release signed by a trusted key exits with 0: digest and file on stdout, signers in --json."""
    out = terminal.well("release", "verify", signed, "--trust", "trust.json")
    assert out == f"{open_release(signed).digest}  {signed}\n"
    document = json.loads(terminal.well("release", "verify", signed, "--trust", "trust.json", "--json"))
    assert document["signers"] == [{"id": load_public_key(Path("release.pub")).id, "name": "release"}]
    assert document["trust"]["version"] == 1


def test_verify_without_anybody_to_trust_says_so(terminal: Terminal, folder: Path, signed: Path):
    """Without a workspace and --trust, digests and images are checked, and a warning says that signatures are not."""
    said = terminal("release", "verify", signed)
    assert (said.code, "signatures are not checked" in said.err) == (0, True)
    said = terminal("release", "verify", folder)
    assert (said.code, "this release is not signed" in said.err) == (0, True)


@pytest.mark.parametrize("command", ["verify", "show"])
def test_an_altered_bundle(terminal: Terminal, signed: Path, command: str):
    """A changed byte is an integrity error, exit code 5."""
    data = bytearray(signed.read_bytes())
    data[20000] ^= 1
    signed.write_bytes(data)
    terminal("release", command, signed).refused(5, "altered or damaged")


def test_verify_refuses(terminal: Terminal, folder: Path, signed: Path):
    """Unsigned, unknown signer, too few signatures: each has exit code 5 and its own message."""
    terminal("release", "verify", folder, "--trust", "trust.json").refused(5, "this release is not signed")
    terminal.well("release", "keygen", "-o", "two.key", "--no-passphrase")
    terminal.well("release", "sign", signed, "--key", "file:two.key")
    terminal("release", "verify", signed, "--trust", "trust.json").refused(5, "signed by an unknown key")
    options = ("--trust", "trust.json", "--allow-unknown-signers")
    terminal.well("release", "verify", signed, *options)
    terminal.well("release", "sign", signed, "--key", "file:two.key", "--replace")
    terminal("release", "verify", signed, *options).refused(5, "no valid signature by trusted keys, 1 required")


def test_a_report_for_ci(terminal: Terminal, signed: Path):
    """The JUnit report has one case per check and is written in any case; checks that were not reached are skipped."""
    terminal.well("release", "verify", signed, "--trust", "trust.json", "--junit", "good.xml")
    suite = ET.parse("good.xml").getroot()
    assert [case.get("name") for case in suite] == ["container", "signatures", "layout", "product", "order"]
    assert (suite.get("failures"), suite.get("skipped")) == ("0", "1")  # no ledger
    terminal.well("release", "keygen", "-o", "two.key", "--no-passphrase")
    terminal.well("release", "sign", signed, "--key", "file:two.key", "--replace")
    assert terminal("release", "verify", signed, "--trust", "trust.json", "--junit", "bad.xml").code == 5
    suite = ET.parse("bad.xml").getroot()
    assert (suite.get("failures"), suite.get("skipped")) == ("1", "3")
    failure = suite.find("testcase[@name='signatures']/failure")
    assert failure is not None
    assert failure.get("type") == "unknown-signer"


def test_two_processes_build_the_same_bytes(terminal: Terminal, folder: Path):
    """Builds with a different umask, time zone, locale and hash seed give the same file."""
    settings = (
        {"TZ": "UTC", "PYTHONHASHSEED": "1", "LC_ALL": "C"},
        {"TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "2", "LC_ALL": "tr_TR.UTF-8"},
    )
    for number, more in enumerate(settings):
        command = words("release", "build", folder, "-o", f"{number}.rmfab", "--seq", "7", "--no-sbom")
        mask = [0o022, 0o077][number]
        subprocess.run(
            command, cwd=terminal.folder, env=environment(**more), check=True, capture_output=True, umask=mask
        )
    assert Path("0.rmfab").read_bytes() == Path("1.rmfab").read_bytes()


def test_verify_says_what_it_cannot_check(terminal: Terminal, signed: Path):
    """Without a ledger, `verify` reports that the order of releases is not checked; with one, it judges as a line
    would: a release older than the last accepted one has exit code 5."""
    terminal.well("init", "station", "--cloud-claim", "--chip", "esp32")
    fingerprint = terminal.well("-C", "owner", "trust", "export", "-o", "trust.json").strip()
    terminal.well("-C", "station", "trust", "import", "trust.json", "--fingerprint", fingerprint)
    assert (
        "not checked: whether a station has accepted a newer release"
        in terminal("-C", "station", "release", "verify", signed).err
    )
    terminal.well("-C", "station", "generate", "--count", "1")
    said = terminal("-C", "station", "release", "verify", signed)
    assert (said.code, "not checked" in said.err) == (0, False)
    terminal.well("release", "build", "build", "-o", "next.rmfab", "--seq", "8", "--no-sbom")
    terminal.well("release", "sign", "next.rmfab", "--key", "release.key")
    accept_release(open_workspace(Path("station")), AcceptRequest(Path("next.rmfab")))
    said = terminal("-C", "station", "release", "verify", signed, "--junit", "old.xml")
    said.refused(5, "seq 7 is below 8", "run or flash with --allow-downgrade")
    failure = ET.parse("old.xml").getroot().find("testcase[@name='order']/failure")
    assert failure is not None
    assert failure.get("type") == "downgrade"
    terminal.well("-C", "station", "release", "verify", "next.rmfab")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("release", ()),
        ("stranger", ("signed by an unknown key",)),
        ("ended", ("ended (", "which expired on 2020-01-01")),
        ("gone", ("gone (", "which was revoked on", "(leaked)")),
        ("other", ("other (", "may not sign as release")),
    ],
)
def test_signing_with_a_key_that_stations_reject(terminal: Terminal, signed: Path, key: str, words: tuple[str, ...]):
    """`release sign` signs, and warns if the workspace's trust file calls the key unknown, expired or revoked."""
    for name, options in (
        ("stranger", None),
        ("ended", ("release", "--valid-until", "2020-01-01")),
        ("gone", ("release",)),
        ("other", ("ca",)),
    ):
        terminal.well("release", "keygen", "-o", f"{name}.key", "--no-passphrase")
        if options is not None:
            add = ("trust", "add", f"{name}.pub", "--key", "release.key", "--role", *options)
            terminal.well("-C", "owner", *add)
    terminal.well("-C", "owner", "trust", "remove", "gone", "--reason", "leaked", "--key", "release.key")
    said = terminal("-C", "owner", "release", "sign", signed, "--key", f"{key}.key", "--replace")
    assert said.code == 0
    assert ("stations will reject this release" in said.err) is bool(words)
    for word in words:
        assert word in said.err


def test_the_hints_of_a_judge_name_the_trust_file(terminal: Terminal, signed: Path):
    """By --trust FILE, the hint lists the keys of that file; an expired key can be replaced by signing again."""
    terminal.well("release", "keygen", "-o", "two.key", "--no-passphrase")
    terminal.well("release", "sign", signed, "--key", "two.key", "--replace")
    said = terminal("release", "verify", signed, "--trust", "trust.json")
    said.refused(5, "hint: compare its id with `rmfab trust list trust.json`; sign it again")
    add = ("trust", "add", "two.pub", "--role", "release", "--valid-until", "2020-01-01", "--key", "release.key")
    terminal.well("-C", "owner", *add)
    terminal.well("-C", "owner", "trust", "export", "-o", "trust.json")
    terminal("release", "verify", signed, "--trust", "trust.json").refused(
        5, "expired", "or sign it again with a valid key", "`rmfab release sign --replace`"
    )
