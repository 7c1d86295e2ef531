"""Tests of docs/ci: the release script runs as in CI; the workflows around it are checked as far as possible."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from rmfab.product.vocabulary import Chip
from rmfab.release.build import BuildRequest, make_release
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe
from tests.forked import forked_commands
from tests.softhsm import PIN, soft_token
from tests.terminal import ROOT, Terminal, environment, files

pytestmark = pytest.mark.slow

CI = ROOT / "docs" / "ci"
WORKFLOWS = ("github.yml", "gitlab.yml")


@pytest.fixture(scope="module")
def rmfab() -> Iterator[str]:
    """The program that the script calls."""
    with forked_commands() as script:
        yield script


@pytest.fixture
def project(terminal: Terminal, rmfab: str) -> Path:
    """A committed firmware project: a build folder, product.toml with `commit-time`, a key pair and a trust file."""
    root = terminal.folder
    Path(".gitignore").write_text("build/\n")
    make_build_folder(root / "build", FirmwareRecipe(Chip.ESP32C3, app_size=0x20000))
    terminal.well("init", ".", "--name", "lamp", "--cloud-claim")
    text = Path("product.toml").read_text().replace('# seq = "commit-time"', 'seq = "commit-time"')
    Path("product.toml").write_text(text.replace("allow_unsigned = true ", "allow_unsigned = false"))
    terminal.well("release", "keygen", "-o", "release.key", "--no-passphrase")
    _trust(terminal, "release.pub")
    _git(root, "init", "-q")
    _git(root, "add", "-A")
    _git(root, "commit", "-q", "-m", "lamp")
    _put_tool(root, rmfab)
    return root


def _put_tool(root: Path, rmfab: str) -> None:
    """Put the program *rmfab* where `_script` finds it."""
    (root / ".tools").mkdir()
    (root / ".tools" / "rmfab").write_text(rmfab)
    (root / ".tools" / "rmfab").chmod(0o755)


def _git(root: Path, *words: str) -> None:
    """Run git in *root* as the author of a commit at a fixed time."""
    settings = {"EMAIL": "a@b", "GIT_AUTHOR_NAME": "a", "GIT_COMMITTER_NAME": "a", "GIT_CONFIG_GLOBAL": os.devnull}
    when = {"GIT_COMMITTER_DATE": "1770091506 +0000"}
    subprocess.run(["git", *words], cwd=root, env=os.environ | settings | when, check=True, capture_output=True)


def _trust(terminal: Terminal, public: str) -> None:
    terminal.well("trust", "add", public, "--role", "release")
    terminal.well("trust", "export", "-o", "trust.json")


def _script(project: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run release.sh in *project*, with `rmfab` on the PATH and without a terminal."""
    kept = {name: value for name, value in environment().items() if not name.startswith(("CI", "GITHUB_", "GITLAB_"))}
    variables = kept | {"PATH": f"{project / '.tools'}{os.pathsep}{os.environ['PATH']}", "GITLAB_CI": "true"} | more
    command = ["sh", str(CI / "release.sh"), *(words or ("build", "out"))]
    return subprocess.run(
        command, cwd=project, env=variables, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )


def _left(project: Path) -> set[str]:
    """Return the names in *project* that the script may have left."""
    return {path.name for path in project.iterdir()} - {".tools"}


@pytest.mark.parametrize("folded", [False, True], ids=["PEM", "base64"])
def test_a_key_from_a_secret(project: Path, folded: bool):
    """With the key in a variable, the script makes a verified bundle, a report and a shelf; the key appears nowhere."""
    pem = (project / "release.key").read_text()
    secret = base64.b64encode(pem.encode()).decode() if folded else pem
    done = _script(project, RMFAB_KEY="env:SECRET", SECRET=secret)
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (project / "out").iterdir()}
    assert names == {"rmfab-demo-1.0.0.rmfab", "release.json", "release.xml", "ota"}
    release = json.loads((project / "out" / "release.json").read_text())
    assert release["source"] == "rmfab-demo-1.0.0.rmfab"
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
    _git(project, "commit", "-q", "-a", "-m", "HSM")
    variables = {"SOFTHSM2_CONF": os.environ["SOFTHSM2_CONF"], "RMFAB_KEY_PASSPHRASE_FILE": "pin"}
    done = _script(project, RMFAB_KEY=token.uri, **variables)
    assert done.returncode == 0, done.stderr


def test_a_key_that_nobody_trusts(project: Path, terminal: Terminal):
    """A key that is not in the trust file ends the job with exit code 5; OUT gets only the report."""
    terminal.well("release", "keygen", "-o", "other.key", "--no-passphrase")
    before = _left(project)
    done = _script(project, RMFAB_KEY="file:other.key")
    assert done.returncode == 5
    assert _left(project) == before | {"out"}
    assert [path.name for path in (project / "out").iterdir()] == ["release.xml"]
    assert ET.parse(project / "out" / "release.xml").getroot().get("failures") == "1"


@pytest.mark.parametrize(
    ("words", "variables", "code", "told"),
    [
        ((), {}, 2, "RMFAB_KEY is not set"),
        (("build",), {"RMFAB_KEY": "file:release.key"}, 2, "RMFAB_KEY=env:RMFAB_RELEASE_KEY sh release.sh BUILD OUT"),
        ((), {"RMFAB_KEY": "env:SECRET"}, 3, "is the tag protected"),
        ((), {"RMFAB_KEY": "env:SECRET", "SECRET": ""}, 3, "is the tag protected"),
        ((), {"RMFAB_KEY": "file:none.key"}, 3, "none.key"),
        ((), {"RMFAB_KEY": "file:locked.key"}, 3, "a passphrase is required"),
        ((), {"RMFAB_KEY": "file:locked.key", "RMFAB_KEY_PASSPHRASE_FILE": "none.pass"}, 3, "none.pass"),
        ((), {"RMFAB_KEY": "file:release.key", "RMFAB_TRUST": "none.json"}, 3, "none.json"),
        ((), {"RMFAB_KEY": "file:release.key", "RMFAB_STEP": "sing"}, 2, 'RMFAB_STEP is "sing"'),
        ((), {"RMFAB_KEY": "file:release.key", "CI_COMMIT_TAG": "v1.4.0"}, 3, "the version of the firmware is 1.0.0"),
        (
            (),
            {"RMFAB_KEY": "file:release.key", "GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "1.0"},
            3,
            "the tag is 1.0,",
        ),
    ],
    ids=["no key", "usage", "unset", "empty", "no file", "locked", "no pass", "no trust", "step", "GitLab", "GitHub"],
)
def test_what_stops_the_script(
    project: Path, terminal: Terminal, words: tuple[str, ...], variables: dict[str, str], code: int, told: str
):
    """Whatever is missing is reported, and nothing is left behind."""
    (project / "word.pass").write_text("open sesame\n")
    (project / "word.pass").chmod(0o600)
    terminal.well("release", "keygen", "-o", "locked.key", "--passphrase-file", "word.pass")
    before = _left(project)
    done = _script(project, *words, **variables)
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert _left(project) == before


@pytest.mark.parametrize("tag", ["v1.0.0", "1.0.0"])
def test_a_tag_that_is_the_version(project: Path, tag: str):
    """The tag is the version, with or without a leading v; a branch of GitHub is not compared."""
    done = _script(project, RMFAB_KEY="file:release.key", CI_COMMIT_TAG=tag, GITHUB_REF_NAME="main")
    assert done.returncode == 0, done.stderr


def test_sources_that_are_not_committed(project: Path):
    """A tracked file that differs from the commit ends the job before anything is made."""
    (project / "csv" / "values.csv").write_text("changed")
    before = _left(project)
    done = _script(project, RMFAB_KEY="file:release.key")
    assert (done.returncode, "1 file differs from commit" in done.stderr) == (3, True)
    assert _left(project) == before


def test_the_next_release(project: Path, terminal: Terminal):
    """The shelf in OUT is continued, and RMFAB_AFTER requires that seq grows; a failure leaves OUT as it was."""
    assert _script(project, RMFAB_KEY="file:release.key").returncode == 0
    out = project / "out"
    bundle = out / "rmfab-demo-1.0.0.rmfab"
    before = files(out)
    done = _script(project, RMFAB_KEY="file:release.key", RMFAB_AFTER=str(bundle))
    assert (done.returncode, "seq" in done.stderr) == (3, True)
    assert files(out) == before
    bundle.rename(project / "before.rmfab")
    make_build_folder(project / "build2", FirmwareRecipe(Chip.ESP32C3, app_size=0x20000, version="1.1.0"))
    _git(project, "commit", "-q", "--allow-empty", "-m", "again")
    variables = {"RMFAB_AFTER": "before.rmfab", "RMFAB_SEQ": "1770091507"}
    done = _script(project, "build2", "out", RMFAB_KEY="file:release.key", **variables)
    assert done.returncode == 0, done.stderr
    assert len(list((out / "ota" / "images").iterdir())) == 2
    assert (out / "ota" / "latest.json").stat().st_mode & 0o044


def test_two_signatures_in_two_jobs(project: Path, terminal: Terminal):
    """With RMFAB_STEP=sign the first job packs and signs; the second one, which has the other key, signs the bundle,
    verifies it and makes the rest. One signature is not enough."""
    terminal.well("release", "keygen", "-o", "boss.key", "--no-passphrase")
    add = ("trust", "add", "boss.pub", "--role", "release", "--threshold", "2", "--key", "release.key")
    terminal.well(*add)
    terminal.well("trust", "export", "-o", "trust.json")
    _git(project, "commit", "-q", "-a", "-m", "two keys")
    alone = _script(project, "build", "alone", RMFAB_KEY="file:release.key")
    assert (alone.returncode, "2 required" in alone.stderr) == (5, True)
    first = _script(project, "build", "first", RMFAB_KEY="file:release.key", RMFAB_STEP="sign")
    assert first.returncode == 0, first.stderr
    (bundle,) = (project / "first").iterdir()
    second = _script(project, str(bundle.relative_to(project)), "out", RMFAB_KEY="file:boss.key")
    assert second.returncode == 0, second.stderr
    release = json.loads((project / "out" / "release.json").read_text())
    assert len(release["signatures"]) == 2
    assert (project / "out" / bundle.name).is_file()
    assert (project / "out" / "ota" / "latest.json").is_file()


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
    assert all("safe.directory" in step for step in steps if "pip install" in step)
    subprocess.run(["sh", "-n", CI / "release.sh"], check=True)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_what_a_workflow_passes_on_is_enough(project: Path, name: str, tmp_path: Path):
    """`release build` makes the same release of the files that the first job passes on; objects stay behind."""
    build = project / "build"
    (build / "esp-idf").mkdir()
    (build / "esp-idf" / "main.o").touch()
    (build / "lamp.map").touch()
    jobs = yaml.safe_load((CI / name).read_text())
    text = next(step["with"]["path"] for step in jobs["jobs"]["build"]["steps"] if step.get("with", {}).get("name") ==
                "build") if name == "github.yml" else "\n".join(jobs["build"]["artifacts"]["paths"])  # fmt: skip
    passed = tmp_path / "passed"
    for pattern in text.split():
        for path in project.glob(pattern):
            target = passed / path.relative_to(project)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    assert not list(passed.rglob("*.o")) + list(passed.rglob("*.map"))
    request = BuildRequest(seq=7, make_sbom=False)
    assert make_release(passed / "build", request, {}).digest == make_release(build, request, {}).digest


def test_actions_are_pinned():
    """Every action of the GitHub workflow is pinned to a commit, and no job keeps its token."""
    jobs = yaml.safe_load((CI / "github.yml").read_text())["jobs"]
    used = [step for job in jobs.values() for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"]) for step in used)
    checkouts = [step for step in used if "checkout" in step["uses"]]
    assert len(checkouts) == len(jobs)
    assert not any(step["with"]["persist-credentials"] for step in checkouts)


def test_an_empty_passphrase_makes_no_file(tmp_path: Path):
    """The step that signs on GitHub writes the passphrase to a file only if there is one, and removes it."""
    steps = yaml.safe_load((CI / "github.yml").read_text())["jobs"]["release"]["steps"]
    (script,) = [step["run"] for step in steps if "release.sh" in step.get("run", "")]
    place = tmp_path / "docs" / "ci"
    place.mkdir(parents=True)
    (place / "release.sh").write_text('cat "${RMFAB_KEY_PASSPHRASE_FILE:-/dev/null}"\n')
    for passphrase, said in (("", ""), ("open sesame", "open sesame\n")):
        variables = environment(RUNNER_TEMP=str(tmp_path), RMFAB_RELEASE_PASSPHRASE=passphrase)
        done = subprocess.run(
            ["bash", "-e", "-c", script], cwd=tmp_path, env=variables, capture_output=True, text=True, check=True
        )
        assert done.stdout == said
        assert [path.name for path in tmp_path.iterdir()] == ["docs"]
