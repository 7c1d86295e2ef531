"""Tests of docs/ci: the release script runs as in CI; the workflows around it are checked as far as possible."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from rmfab.product.vocabulary import Chip
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe
from tests.softhsm import PIN, soft_token
from tests.terminal import ROOT, Terminal, environment

CI = ROOT / "docs" / "ci"
WORKFLOWS = ("github.yml", "gitlab.yml")


@pytest.fixture
def project(terminal: Terminal) -> Path:
    """A firmware project: its build folder, product.toml with `commit-time`, a key pair and a trust file."""
    root = terminal.folder
    make_build_folder(root / "build", FirmwareRecipe(Chip.ESP32C3, app_size=0x20000))
    terminal.well("init", ".", "--name", "lamp", "--cloud-claim")
    text = Path("product.toml").read_text().replace('# seq = "commit-time"', 'seq = "commit-time"')
    Path("product.toml").write_text(text.replace("allow_unsigned = true ", "allow_unsigned = false"))
    terminal.well("release", "keygen", "-o", "release.key", "--no-passphrase")
    _trust(terminal, "release.pub")
    return root


def _trust(terminal: Terminal, public: str) -> None:
    terminal.well("trust", "add", public, "--role", "release")
    terminal.well("trust", "export", "-o", "trust.json")


def _script(project: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run release.sh in *project*, with `rmfab` on the PATH and without a terminal."""
    tools = project / ".tools"
    tools.mkdir(exist_ok=True)
    (tools / "rmfab").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rmfab "$@"\n')
    (tools / "rmfab").chmod(0o755)
    variables = environment(PATH=f"{tools}{os.pathsep}{os.environ['PATH']}", GITLAB_CI="true", **more)
    variables |= {"CI_COMMIT_TIMESTAMP": "2026-02-03T04:05:06+00:00", "CI_COMMIT_SHA": "a" * 40}
    command = ["sh", str(CI / "release.sh"), "build", "out"]
    return subprocess.run(
        command, cwd=project, env=variables, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )


@pytest.mark.parametrize("folded", [False, True], ids=["PEM", "base64"])
def test_a_key_from_a_secret(project: Path, folded: bool):
    """With the key in a variable, the script makes a verified bundle, a report and a shelf; the key appears nowhere."""
    pem = (project / "release.key").read_text()
    secret = base64.b64encode(pem.encode()).decode() if folded else pem
    done = _script(project, RMFAB_KEY="env:SECRET", SECRET=secret)
    assert done.returncode == 0, done.stderr
    release = json.loads((project / "out" / "release.json").read_text())
    assert (release["seq"], release["created"]) == (1770091506, "2026-02-03T04:05:06Z")
    assert ET.parse(project / "out" / "release.xml").getroot().get("failures") == "0"
    assert (project / "out" / "ota" / "latest.json").is_file()
    body = pem.splitlines()[1]
    for path in (project / "out").rglob("*"):
        assert path.is_dir() or body.encode() not in path.read_bytes()
    assert body not in done.stdout + done.stderr


def test_a_key_in_a_token(project: Path, terminal: Terminal):
    """The key stays in a SoftHSM token; the PIN comes from a file."""
    token = soft_token()
    (project / "pin").write_text(PIN)
    (project / "pin").chmod(0o600)
    terminal.well("release", "pubkey", "--key", token.uri, "--passphrase-file", "pin", "-o", "ci.pub")
    terminal.well("trust", "add", "ci.pub", "--role", "release", "--key", "file:release.key")
    terminal.well("trust", "export", "-o", "trust.json", "--force")
    variables = {"SOFTHSM2_CONF": os.environ["SOFTHSM2_CONF"], "RMFAB_KEY_PASSPHRASE_FILE": "pin"}
    done = _script(project, RMFAB_KEY=token.uri, **variables)
    assert done.returncode == 0, done.stderr


def test_a_key_that_nobody_trusts(project: Path, terminal: Terminal):
    """A key that is not in the trust file ends the job with exit code 5, and nothing is published."""
    terminal.well("release", "keygen", "-o", "other.key", "--no-passphrase")
    done = _script(project, RMFAB_KEY="file:other.key")
    assert done.returncode == 5
    assert not (project / "out" / "ota").exists()


def test_a_missing_key(project: Path):
    """Without a key the script reports what is missing before it builds."""
    done = _script(project)
    assert done.returncode != 0
    assert "RMFAB_KEY" in done.stderr
    assert not (project / "out").exists()


def _steps(value: Any) -> Iterator[str]:
    """Return the shell script of every step of a workflow."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("run", "script"):
                yield inner if isinstance(inner, str) else "\n".join(inner)
            else:
                yield from _steps(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _steps(inner)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflows_are_yaml_with_sound_shell(name: str):
    """Each workflow and the script of each step parse, and one step runs the release script tested above."""
    steps = list(_steps(yaml.safe_load((CI / name).read_text())))
    assert any("docs/ci/release.sh build out" in step for step in steps)
    for step in steps:
        subprocess.run(["bash", "-n"], input=step, text=True, check=True, capture_output=True)
    subprocess.run(["sh", "-n", CI / "release.sh"], check=True)
