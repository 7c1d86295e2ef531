"""Making a release of a build: its seq, its origin, its bill of materials, and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from rmfab.cli import main
from rmfab.errors import InputError
from rmfab.product.vocabulary import QrForm, Security, SeqSource, Transport
from rmfab.release.build import BuildRequest, make_release
from rmfab.release.build_config import BuildConfig
from rmfab.release.bundle import build_bundle, open_bundle
from rmfab.release.doubts import doubts_about
from rmfab.release.origin import BuildOrigin, find_origin, public_url
from rmfab.release.sbom import read_sbom, settled

PLAIN = BuildRequest(seq=7, make_sbom=False)
GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.example",
    "GITHUB_REPOSITORY": "owner/lamp",
    "GITHUB_SHA": "a" * 40,
    "GITHUB_REF": "refs/tags/v1.4.0",
    "GITHUB_RUN_ID": "42",
    "GITHUB_RUN_ATTEMPT": "2",
    "RUNNER_ENVIRONMENT": "github-hosted",
}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_PROJECT_URL": "https://gitlab-ci-token:s3cr3t@gitlab.example/owner/lamp",
    "CI_SERVER_URL": "https://gitlab.example",
    "CI_COMMIT_SHA": "b" * 40,
    "CI_COMMIT_REF_NAME": "v1.4.0",
    "CI_COMMIT_TIMESTAMP": "2026-02-03T04:05:06+01:00",
    "CI_JOB_URL": "https://gitlab.example/owner/lamp/-/jobs/9",
    "CI_RUNNER_ID": "12",
}


def provenance(folder: Path, environment: dict[str, str]) -> dict:
    """The parsed provenance of the build in *folder*."""
    (document,) = make_release(folder, PLAIN, environment).documents
    assert document.name == "provenance.json"
    return json.loads(document.data)


@pytest.fixture(autouse=True)
def _no_other_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove git's variables: a git hook runs its commands with its own repository in the environment."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def repository(build_folder: Path) -> Path:
    """The build folder inside a git repository of one commit, made at a fixed time."""
    root = build_folder.parent
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    when = {"GIT_AUTHOR_DATE": "1770000000 +0100", "GIT_COMMITTER_DATE": "1770000000 +0100"}
    environment = os.environ | who | when | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    (root / "main.c").write_text("int main;")
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "main.c"],
        ["commit", "-q", "-m", "lamp"],
        ["remote", "add", "origin", "https://user:t0ken@example.org/lamp.git"],
    ):
        subprocess.run(["git", *command], cwd=root, env=environment, check=True, capture_output=True)
    return build_folder


def test_a_seq_is_required(build_folder: Path):
    """Without a seq and a source for one there is no release, and the hint lists the options."""
    with pytest.raises(InputError, match="no seq given") as caught:
        make_release(build_folder, BuildRequest(make_sbom=False), {})
    assert "--seq N" in str(caught.value.hint)
    assert "commit-time" in str(caught.value.hint)


def test_the_time_of_the_commit_as_seq(repository: Path):
    """`commit-time` uses the committer's time as seq, and as the creation time of the release."""
    release = make_release(repository, BuildRequest(seq_source=SeqSource.COMMIT_TIME, make_sbom=False), {})
    assert (release.seq, release.edition.created) == (1770000000, 1770000000)


def test_no_commit_no_commit_time(build_folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Outside a repository, or without git, there is no commit time, unless CI provides it."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(build_folder.parent.parent))
    order = BuildRequest(seq_source=SeqSource.COMMIT_TIME, make_sbom=False)
    with pytest.raises(InputError, match="cannot determine the commit time"):
        make_release(build_folder, order, {})
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="cannot determine the commit time"):
        make_release(build_folder, order, {})
    assert make_release(build_folder, order, GITLAB).seq == 1770087906


def test_source_date_epoch(repository: Path):
    """SOURCE_DATE_EPOCH overrides the commit, is in every header of the archive, and must be whole seconds."""
    release = make_release(repository, PLAIN, {"SOURCE_DATE_EPOCH": "1700000000"})
    assert release.edition.created == 1700000000
    assert b'"created":"2023-11-14T22:13:20Z"' in release.manifest
    assert open_bundle(build_bundle(release), "x").release() == release
    for text in ("yesterday", "-1", "1.5", "\u0661"):
        with pytest.raises(InputError, match="not a number of seconds"):
            make_release(repository, PLAIN, {"SOURCE_DATE_EPOCH": text})


def test_the_repository_is_the_origin(repository: Path):
    """Commit, repository and branch come from git, without the token in the URL; a changed file is recorded."""
    said = provenance(repository, {})
    (source,) = said["predicate"]["buildDefinition"]["resolvedDependencies"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True, check=True)
    assert source == {
        "uri": "git+https://example.org/lamp.git@refs/heads/main",
        "digest": {"gitCommit": head.stdout.strip()},
    }
    assert said["predicateType"] == "https://slsa.dev/provenance/v1"
    assert said["predicate"]["runDetails"]["builder"]["id"] == "urn:rmfab:by-hand"
    (repository.parent / "main.c").write_text("int main = 1;")
    (source,) = provenance(repository, {})["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert source["annotations"] == {"modified": True}


def test_sources_that_differ_from_the_commit(repository: Path, capsys: pytest.CaptureFixture[str]):
    """The build warns with the number of tracked files, `show` repeats it, and --require-clean rejects it (exit 3); a
    clean tree and untracked files are no reason to warn."""
    command = ["release", "build", str(repository), "--seq", "7", "--no-sbom", "-o"]
    clean, dirty = (str(repository.parent / name) for name in ("clean.rmfab", "dirty.rmfab"))
    assert main([*command, clean, "--require-clean"]) == 0
    assert "warning" not in capsys.readouterr().err
    (repository.parent / "main.c").write_text("int main = 1;")
    assert main([*command, dirty]) == 0
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True, check=True)
    commit = head.stdout.strip()
    assert f"1 file differs from commit {commit[:7]}\u2026" in capsys.readouterr().err
    for path, modified in ((clean, False), (dirty, True)):
        assert main(["release", "show", path]) == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if commit in line]
        assert ("but files were modified" in line) is modified
        assert main(["release", "show", path, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert (document["commit"], document["modified"]) == (commit, modified)
    assert main([*command, str(repository.parent / "never.rmfab"), "--require-clean"]) == 3
    assert "1 file differs from commit" in capsys.readouterr().err
    assert not (repository.parent / "never.rmfab").exists()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1", ("detected dubious ownership", "safe.directory {root}")),
        ("PATH", "/nowhere", ("git cannot be run: No such file", "install git")),
    ],
    ids=["dubious ownership", "no git"],
)
def test_a_repository_that_git_does_not_read(
    repository: Path, name: str, value: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys
):
    """git's own reason and what to do are in the warning, in the error of `commit-time`, and in that of
    --require-clean."""
    monkeypatch.setenv(name, value)
    root = repository.parent.resolve()
    said = [word.format(root=root) for word in words]
    bundle = repository.parent / "x.rmfab"
    command = ["release", "build", str(repository), "--no-sbom", "-o", str(bundle)]
    assert main([*command, "--seq", "7", "--require-clean"]) == 3
    err = capsys.readouterr().err
    assert all(word in err for word in said), err
    assert not bundle.exists()
    assert main([*command, "--seq", "7"]) == 0
    err = capsys.readouterr().err
    assert all(word in err for word in said), err
    with pytest.raises(InputError, match="cannot determine the commit time") as caught:
        make_release(repository, BuildRequest(seq_source=SeqSource.COMMIT_TIME, make_sbom=False), {})
    assert all(word in f"{caught.value.what} {caught.value.hint}" for word in said)


def test_a_repository_without_a_commit(build_folder: Path):
    """git's reason and how to check are in the warning."""
    subprocess.run(["git", "init", "-q"], cwd=build_folder.parent, check=True)
    (doubt,) = [one for one in doubts_about(make_release(build_folder, PLAIN, {})) if "git" in one.what]
    assert "does not have any commits yet" in doubt.what
    assert "log -1` must show a commit" in doubt.hint


def test_no_repository_is_not_clean(build_folder: Path):
    """Outside a repository nothing is warned about, but --require-clean rejects the build."""
    assert not [one for one in doubts_about(make_release(build_folder, PLAIN, {})) if "git" in one.what]
    with pytest.raises(InputError, match="not in a git repository") as caught:
        make_release(build_folder, replace(PLAIN, require_clean=True), GITHUB)
    assert caught.value.cause == "not-clean"


@pytest.mark.parametrize(
    ("environment", "uri", "builder", "job"),
    [
        (
            GITHUB,
            "git+https://github.example/owner/lamp@refs/tags/v1.4.0",
            "https://github.com/actions/runner/github-hosted",
            "https://github.example/owner/lamp/actions/runs/42/attempts/2",
        ),
        (
            GITLAB,
            "git+https://gitlab.example/owner/lamp@v1.4.0",
            "https://gitlab.example/-/runners/12",
            "https://gitlab.example/owner/lamp/-/jobs/9",
        ),
        (
            {
                "GIT_URL": "git@git.example:owner/lamp.git",
                "GIT_COMMIT": "c" * 40,
                "JENKINS_URL": "https://ci.example/",
                "BUILD_URL": "https://u:p@ci.example/job/lamp/3/",
            },
            "git+ssh://git.example/owner/lamp.git",
            "https://ci.example/",
            "https://ci.example/job/lamp/3/",
        ),
    ],
    ids=["github", "gitlab", "jenkins"],
)
def test_the_ci_is_the_builder(
    build_folder: Path, environment: dict, uri: str, builder: str, job: str, monkeypatch: pytest.MonkeyPatch
):
    """The usual CI variables provide repository, job and runner; none of their tokens gets into the release."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(build_folder.parent.parent))
    said = provenance(build_folder, environment)["predicate"]
    assert said["buildDefinition"]["resolvedDependencies"][0]["uri"] == uri
    assert said["runDetails"] == {"builder": {"id": builder}, "metadata": {"invocationId": job}}
    assert "s3cr3t" not in json.dumps(said)


def test_nothing_known_no_provenance(build_folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Without git and CI there is no provenance."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(build_folder.parent.parent))
    assert find_origin(build_folder, {}) == BuildOrigin()
    assert make_release(build_folder, PLAIN, {}).documents == ()


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://u:p@h.example:8443/a/b.git?x=1#y", "https://h.example:8443/a/b.git"),
        ("git@h.example:a/b.git", "ssh://h.example/a/b.git"),
        ("ssh://git@h.example/a", "ssh://h.example/a"),
        ("/srv/git/lamp", ""),
        ("", ""),
    ],
)
def test_public_urls(text: str, url: str):
    """Users, passwords, queries and local paths are removed from URLs."""
    assert public_url(text) == url


def test_two_machines_build_the_same_bytes(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    """The same commit and environment give the same bundle, with any time zone, umask, user and folder."""
    first = build_bundle(make_release(repository, _full_order(repository.parent), GITHUB))
    for name, value in (("TZ", "Asia/Kathmandu"), ("USER", "operator"), ("HOME", "/nonexistent"), ("LC_ALL", "tr_TR")):
        monkeypatch.setenv(name, value)
    before = os.umask(0o077)
    try:
        moved = Path(shutil.copytree(repository.parent, tmp_path_factory.mktemp("elsewhere") / "other"))
        second = build_bundle(make_release(moved / "build", _full_order(moved), GITHUB))
    finally:
        os.umask(before)
    assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()


def _full_order(folder: Path) -> BuildRequest:
    return BuildRequest(version="1.4.0", seq=7, notes="first", sbom=_sbom_file(folder))


def _sbom_file(folder: Path) -> Path:
    path = folder / "given.spdx"
    path.write_text("SPDXVersion: SPDX-2.3\nCreated: 2026-01-01T00:00:00Z\n")
    return path


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"SPDXVersion: SPDX-2.2\n", "sbom.spdx"),
        (b'{"spdxVersion": "SPDX-2.3"}', "sbom.spdx.json"),
        (b'{"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"}', "sbom.spdx3.json"),
        (b'\xef\xbb\xbf{"bomFormat": "CycloneDX", "specVersion": "1.6"}', "sbom.cdx.json"),
        (b'<?xml version="1.0"?>\n<bom xmlns="http://cyclonedx.org/schema/bom/1.6">', "sbom.cdx.xml"),
    ],
)
def test_bills_of_materials_are_taken_as_given(data: bytes, name: str):
    """The format is detected from the content, and the bytes stay unchanged."""
    document = read_sbom(data, "x")
    assert (document.name, document.data) == (name, data)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"SPDX", b"<bom/>", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_bill_of_materials(data: bytes):
    """Any other file is rejected with the supported formats."""
    with pytest.raises(InputError, match="not a bill of materials") as caught:
        read_sbom(data, "x")
    assert "CycloneDX" in str(caught.value.hint)


def _tool(folder: Path, script: str) -> dict[str, str]:
    """A PATH with an `esp-idf-sbom` that runs *script*."""
    tools = folder / "tools"
    tools.mkdir()
    (tools / "esp-idf-sbom").write_text(f"#!/bin/sh\n{script}\n")
    (tools / "esp-idf-sbom").chmod(0o755)
    return {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}


def test_a_bill_of_materials_is_made_where_its_tool_is_installed(
    build_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The time and namespace of a document by esp-idf-sbom are fixed, so that builds are reproducible."""
    script = (
        'test "$1" = create -a -f "$2" || exit 9\n'
        "echo SPDXVersion: SPDX-2.2\n"
        "echo DocumentNamespace: http://spdx.org/spdxdocs/lamp-$(cat /proc/sys/kernel/random/uuid)\n"
        "date '+Created: %Y-%m-%dT%H:%M:%S.%NZ'"
    )
    monkeypatch.setenv("PATH", _tool(tmp_path, script)["PATH"])
    made = [make_release(build_folder, BuildRequest(seq=7), {"SOURCE_DATE_EPOCH": "0"}) for _ in range(2)]
    (sbom,) = [one for one in made[0].documents if one.name == "sbom.spdx"]
    assert b"Created: 1970-01-01T00:00:00Z\n" in sbom.data
    assert made[0].manifest == made[1].manifest
    assert not [one for one in make_release(build_folder, PLAIN, {}).documents if one.name == "sbom.spdx"]


def test_a_tool_that_fails_is_said(build_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The last line of a failing tool is reported, with the alternatives; the release is not made without an SBOM."""
    monkeypatch.setenv("PATH", _tool(tmp_path, "echo no such component >&2; exit 3")["PATH"])
    with pytest.raises(InputError, match="no such component") as caught:
        make_release(build_folder, BuildRequest(seq=7), {})
    assert "--no-sbom" in str(caught.value.hint)


def test_settling_touches_two_lines():
    """Only the creation time and the end of the namespace change."""
    namespace = b"DocumentNamespace: http://x/y-0f8fad5b-d9cb-469f-a165-70867728950e\n"
    text = b"SPDXVersion: SPDX-2.2\n" + namespace + b"Created: now\nA: b\n"
    assert settled(text, 0, "d" * 64) == (
        b"SPDXVersion: SPDX-2.2\nDocumentNamespace: http://x/y-"
        + b"d" * 32
        + b"\nCreated: 1970-01-01T00:00:00Z\nA: b\n"
    )


def test_documents_travel_with_the_bundle(repository: Path, tmp_path: Path):
    """Bill of materials and provenance read back, and their digests are subjects of the manifest."""
    release = make_release(repository, BuildRequest(seq=7, sbom=_sbom_file(tmp_path)), {})
    read = open_bundle(build_bundle(release), "x").release()
    assert [one.name for one in read.documents] == ["provenance.json", "sbom.spdx"]
    subjects = {one["name"]: one["digest"]["sha256"] for one in json.loads(release.manifest)["subject"]}
    for one in read.documents:
        assert subjects[one.name] == hashlib.sha256(one.data).hexdigest()


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (BuildRequest(seq=7, version="1 4"), "is not a version"),
        (BuildRequest(seq=1 << 53), "seq 9007199254740992 is not in 0 to"),
        (BuildRequest(seq=7, notes="x" * 70000), "64 KiB"),
    ],
)
def test_orders_that_cannot_be(build_folder: Path, order: BuildRequest, words: str):
    """A version with a blank, a seq that JSON parsers would round, and endless notes are rejected."""
    with pytest.raises(InputError, match=words):
        make_release(build_folder, order, {})


SDKCONFIG = {
    "APP_PROV_SECURITY_VERSION_2": True,
    "APP_NETWORK_PROV_NAME_PREFIX": "LAMP",
    "APP_NETWORK_PROV_COMPACT_QR": False,
    "APP_NETWORK_PROV_TRANSPORT_BLE": True,
    "BOOTLOADER_APP_ROLLBACK_ENABLE": True,
}


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({}, "security", Security.SRP6A),
        ({"APP_PROV_SECURITY_VERSION_2": False, "APP_PROV_SECURITY_VERSION_1": True}, "security", Security.X25519),
        ({"APP_PROV_SECURITY_VERSION_2": False}, "security", Security.PLAIN),
        ({}, "transport", Transport.BLE),
        (
            {"APP_NETWORK_PROV_TRANSPORT_BLE": False, "APP_NETWORK_PROV_TRANSPORT_SOFTAP": True},
            "transport",
            Transport.SOFTAP,
        ),
        ({}, "qr", QrForm.JSON),
        ({"APP_NETWORK_PROV_COMPACT_QR": True}, "qr", QrForm.COMPACT),
        ({}, "name_prefix", "LAMP"),
        ({}, "rollback", True),
        ({"BOOTLOADER_APP_ROLLBACK_ENABLE": False}, "rollback", False),
        ({"BOOTLOADER_APP_ANTI_ROLLBACK": True}, "anti_rollback", True),
        ({"SECURE_BOOT": True}, "secure_boot", True),
        ({}, "secure_boot", False),
        ({"SECURE_FLASH_ENC_ENABLED": True}, "flash_encryption", True),
    ],
)
def test_what_the_configuration_says(change: dict, field: str, value: object):
    """Each fact has its option, and reads back from the manifest."""
    configured = BuildConfig.from_sdkconfig(SDKCONFIG | change)
    assert getattr(configured, field) == value
    assert BuildConfig.from_json(json.loads(json.dumps(configured.to_json()))) == configured


def test_a_configuration_of_other_firmware_says_nothing_of_provisioning():
    """Without RainMaker's component the build has no provisioning facts."""
    configured = BuildConfig.from_sdkconfig({"IDF_TARGET": "esp32"})
    assert (configured.security, configured.transport, configured.qr, configured.name_prefix) == (None,) * 4
    assert BuildConfig().to_json() == {}
