"""Tests of `rmfab ota`: check, export and serve, with signed bundles of the demo's firmware."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rmfab.ota.shelf import read_index
from rmfab.product.vocabulary import Chip
from rmfab.release.opening import open_release
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe
from tests.ota.conftest import Papers, papers
from tests.patience import PATIENCE
from tests.terminal import Terminal, environment, files, words

__all__ = ["papers"]

IN_BACKGROUND = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")
"""A shell without job control ignores SIGINT for what it starts with `&` (POSIX.1-2017, 2.11)."""


def bundle(terminal: Terminal, version: str, seq: int, *, app_size: int = 0x20000) -> Path:
    """Make a bundle of the demo's firmware, signed by release.key."""
    folder = make_build_folder(
        terminal.folder / f"build-{version}", FirmwareRecipe(Chip.ESP32C3, version=version, app_size=app_size)
    )
    path = terminal.folder / f"lamp-{version}.rmfab"
    terminal.well("release", "build", folder, "-o", path, "--seq", str(seq), "--no-sbom")
    terminal.well("release", "sign", path, "--key", "file:release.key")
    return path


@pytest.fixture
def old(terminal: Terminal) -> Path:
    """Version 1.0.0, seq 1; also writes trust.json, which trusts its signer."""
    terminal.well("release", "keygen", "-o", "release.key", "--no-passphrase")
    terminal.well("init", "owner", "--cloud-claim")
    terminal.well("-C", "owner", "trust", "add", "release.pub", "--role", "release", "--key", "file:release.key")
    terminal.well("-C", "owner", "trust", "export", "-o", "trust.json")
    return bundle(terminal, "1.0.0", 1)


@pytest.fixture
def new(terminal: Terminal, old: Path) -> Path:
    """Version 1.1.0, seq 2."""
    return bundle(terminal, "1.1.0", 2)


def test_check_says_may(terminal: Terminal, old: Path, new: Path):
    """A newer release passes `check`, also from or to a build folder; without --from it is checked for any device."""
    assert terminal.well("ota", "check", new, "--from", old).endswith(" can replace rmfab-demo 1.0.0\n")
    assert terminal.well("ota", "check", "build-1.1.0", "--from", "build-1.0.0").endswith(
        " can replace rmfab-demo 1.0.0\n"
    )
    assert terminal.well("ota", "check", new) == "rmfab-demo 1.1.0 can be installed over the air\n"


def test_check_says_why_not(terminal: Terminal, old: Path):
    """All reasons are printed at once, each with its hint, with exit code 3 and nothing on stdout."""
    said = terminal("ota", "check", old, "--from", old)
    said.refused(3, "rejects the version that is running", "SKIP_VERSION_CHECK", "seq 1 is not above 1")
    assert said.out == ""


def test_check_as_json(terminal: Terminal, old: Path, new: Path):
    """--json prints one document, whatever the result; the exit code is that of the result."""
    document = json.loads(terminal.well("ota", "check", new, "--from", old, "--json"))
    assert (document["may"], document["reasons"]) == (True, [])
    assert document["release"]["digest"] == open_release(new).digest
    assert (document["from"]["version"], document["from"]["seq"]) == ("1.0.0", 1)
    said = terminal("ota", "check", old, "--from", new, "--json")
    said.refused(3, "seq 1 is not above 2")
    document = json.loads(said.out)
    assert document["may"] is False
    assert [(one["class"], one["hint"]) for one in document["reasons"]] == [
        ("seq", "use a larger one: `rmfab release build --seq N`")
    ]
    assert json.loads(terminal.well("ota", "check", new, "--json"))["from"] is None


def test_export(terminal: Terminal, old: Path, new: Path):
    """stdout is the index's digest; a second run changes nothing; the next release follows, with its own envelope."""
    command = ("ota", "export", old, "-o", "shelf", "--trust", "trust.json")
    first = terminal(*command)
    assert (first.code, first.out) == (0, f"{read_index(Path('shelf')).digest}\n")
    assert "channel stable now offers rmfab-demo 1.0.0 for esp32c3" in first.err
    before = files(Path("shelf"))
    again = terminal(*command)
    assert (again.out, files(Path("shelf"))) == (first.out, before)
    assert "already offers" in again.err
    options = ("--from", old, "--channel", "beta", "--trust", "trust.json", "--json")
    document = json.loads(terminal.well("ota", "export", new, "-o", "shelf", *options))
    index = read_index(Path("shelf"))
    assert (document["index"], document["channel"], document["changed"]) == (index.digest, "beta", True)
    assert (document["release"]["version"], [one["name"] for one in document["signers"]]) == ("1.1.0", ["release"])
    assert index.offered("stable", "rmfab-demo/esp32c3") == index.releases[0]
    assert index.offered("beta", "rmfab-demo/esp32c3") == index.releases[1]
    envelope = json.loads((Path("shelf") / index.releases[1].envelope).read_bytes())
    assert envelope["payloadType"] == "application/vnd.in-toto+json"


def test_export_judges_before_it_writes(terminal: Terminal, old: Path):
    """A release by an untrusted signer is rejected with exit code 5, and no shelf is made."""
    terminal.well("release", "keygen", "-o", "other.key", "--no-passphrase")
    terminal.well("release", "sign", old, "--key", "file:other.key", "--replace")
    terminal("ota", "export", old, "-o", "shelf", "--trust", "trust.json").refused(5)
    assert not Path("shelf").exists()


def test_export_of_what_nobody_has_signed(terminal: Terminal, old: Path):
    """If the workspace has a trust file, an unsigned release is rejected in spite of allow_unsigned."""
    terminal.well("release", "build", "build-1.0.0", "-o", "plain.rmfab", "--seq", "9", "--no-sbom")
    assert "allow_unsigned = true" in Path("owner/product.toml").read_text()
    said = terminal("-C", "owner", "ota", "export", "plain.rmfab", "-o", "shelf")
    said.refused(5, "this release is not signed")
    assert not Path("shelf").exists()
    Path("owner/keys/trust.json").unlink()
    assert "warning" in terminal("-C", "owner", "ota", "export", "plain.rmfab", "-o", "shelf").err
    assert Path("shelf").exists()


def test_export_judges_the_way_from_the_old(terminal: Terminal, old: Path):
    """A release that devices of --from could not install is not published."""
    terminal("ota", "export", old, "--from", old, "-o", "shelf", "--trust", "trust.json").refused(
        3, "version that is running"
    )
    assert not Path("shelf").exists()


def test_export_of_a_downgrade(terminal: Terminal, old: Path, new: Path):
    """A downgrade requires --allow-downgrade, which applies to --from too."""
    terminal.well("ota", "export", new, "-o", "shelf", "--trust", "trust.json")
    command = ("ota", "export", old, "-o", "shelf", "--trust", "trust.json")
    terminal(*command).refused(3, "is older than", "--allow-downgrade")
    terminal.well(*command, "--allow-downgrade", "--from", new)
    assert read_index(Path("shelf")).offered("stable", "rmfab-demo/esp32c3").version == "1.0.0"


@contextmanager
def serving(
    terminal: Terminal,
    papers: Papers,
    *options: str,
    key: str | None = None,
    before: tuple[str, ...] = (),
    shell: tuple[str, ...] = (),
) -> Iterator[subprocess.Popen]:
    """`rmfab ota serve shelf` on a free port, as a process that *shell* starts."""
    paths = ("--cert", papers.cert, "--key", key or papers.key, "--port", "0")
    command = [*shell, *words(*before, "ota", "serve", "shelf", *paths, *options)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=terminal.folder, env=environment(), **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("shell", [(), IN_BACKGROUND], ids=["terminal", "background"])
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_serve(terminal: Terminal, old: Path, papers: Papers, end: signal.Signals, shell: tuple[str, ...]):
    """It prints the URL, serves, logs each request on stderr, and exits with 0 when it is stopped.

    A script that starts it in the background can end it with either signal, too.
    """
    terminal.well("ota", "export", old, "-o", "shelf", "--trust", "trust.json")
    trust = ssl.create_default_context(cafile=str(papers.ca))
    with serving(terminal, papers, shell=shell) as process:
        url = process.stdout.readline().strip()
        assert url.startswith("https://127.0.0.1:")
        with urllib.request.urlopen(f"{url}/latest.json", context=trust, timeout=PATIENCE) as response:
            assert response.read() == Path("shelf/latest.json").read_bytes()
        process.send_signal(end)
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out) == (0, "")
    size = Path("shelf/latest.json").stat().st_size
    assert f"rmfab: 127.0.0.1 GET /latest.json 200 {size}\n" in err
    assert "Traceback" not in err


def test_serve_quietly_with_a_passphrase(terminal: Terminal, old: Path, papers: Papers):
    """-q silences requests, --json prints the URL as JSON; an encrypted key is opened with --passphrase-file."""
    terminal.well("ota", "export", old, "-o", "shelf", "--trust", "trust.json")
    Path("pass").write_text("open sesame\n")
    Path("pass").chmod(0o600)
    encrypt = ("openssl", "pkcs8", "-topk8", "-in", str(papers.key), "-out", "tls.key", "-passout", "file:pass")
    subprocess.run(encrypt, check=True, capture_output=True)
    Path("tls.key").chmod(0o600)
    trust = ssl.create_default_context(cafile=str(papers.ca))
    options = ("--passphrase-file", "pass", "--json")
    with serving(terminal, papers, *options, key="tls.key", before=("-q",)) as process:
        url = json.loads(process.stdout.readline())["url"]
        with urllib.request.urlopen(f"{url}/latest.json", context=trust, timeout=PATIENCE) as response:
            assert response.status == 200
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=PATIENCE) == ("", "")
        assert process.returncode == 0


def test_serve_refuses(terminal: Terminal, papers: Papers, old: Path):
    """A missing shelf or certificate is exit code 3, a TCP port in use is 4, and no URL is printed."""
    command = ("ota", "serve", "shelf", "--key", papers.key, "--port", "0", "--cert")
    terminal(*command, papers.cert).refused(3, "no such folder", "rmfab ota export")
    Path("empty").mkdir()
    terminal("ota", "serve", "empty", *command[3:], papers.cert).refused(3, "not a shelf")
    terminal.well("ota", "export", old, "-o", "shelf", "--trust", "trust.json")
    said = terminal(*command, papers.key)
    said.refused(3, "not a certificate")
    assert said.out == ""
    terminal(*command, papers.cert, "--bind", "192.0.2.1").refused(4, "192.0.2.1:0", "cannot listen")
