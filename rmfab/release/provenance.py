"""The provenance of a release: repository, commit and CI job, as an in-toto statement.

Sources: SLSA provenance v1 (spec/v1.0/provenance.md); GitHub Actions, GitLab CI and Jenkins documentation, "predefined
variables". User names and passwords are removed from URLs: CI systems put tokens there.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from rmfab.release.manifest import STATEMENT_TYPE
from rmfab.release.parts import PROVENANCE, Document, part_name
from rmfab.release.release import Release
from rmfab.signing import canonical

PROVENANCE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:rmfab:esp-idf-build"
_SECONDS = 20


@dataclass(frozen=True)
class BuildOrigin:
    """The sources and the builder of a build; empty for what is not known.

    *committed* is in Unix seconds. *modified*: the sources differ from the commit. *builder* and *job* are URLs of what
    built it, and of the run.
    """

    repository: str = ""
    commit: str = ""
    ref: str = ""
    committed: int | None = None
    modified: bool = False
    builder: str = ""
    job: str = ""


def find_origin(folder: Path, environment: Mapping[str, str]) -> BuildOrigin:
    """Return the origin from the repository of *folder*, if git is installed, and the CI's *environment*."""
    there = from_environment(environment)
    found = _git(folder, "log", "-1", "--format=%H %ct")
    if found is None:
        return there
    commit, _, committed = found.partition(" ")
    repository = _git(folder, "remote", "get-url", "origin") or ""
    branch = _git(folder, "symbolic-ref", "--quiet", "HEAD") or ""
    return replace(
        there,
        repository=there.repository or public_url(repository),
        commit=commit,
        ref=there.ref or branch,
        committed=int(committed),
        modified=bool(_git(folder, "status", "--porcelain", "--untracked-files=no")),
    )


def from_environment(environment: Mapping[str, str]) -> BuildOrigin:
    """Return the origin from the usual variables of CI systems."""
    get = environment.get
    if get("GITHUB_ACTIONS") == "true":
        repository = f"{get('GITHUB_SERVER_URL', 'https://github.com')}/{get('GITHUB_REPOSITORY', '')}"
        run = f"{repository}/actions/runs/{get('GITHUB_RUN_ID', '')}/attempts/{get('GITHUB_RUN_ATTEMPT', '1')}"
        builder = f"https://github.com/actions/runner/{get('RUNNER_ENVIRONMENT', 'unknown')}"
        return BuildOrigin(repository, get("GITHUB_SHA", ""), get("GITHUB_REF", ""), builder=builder, job=run)
    if get("GITLAB_CI") == "true":
        return BuildOrigin(
            public_url(get("CI_PROJECT_URL", "")),
            get("CI_COMMIT_SHA", ""),
            get("CI_COMMIT_REF_NAME", ""),
            _seconds(get("CI_COMMIT_TIMESTAMP", "")),
            builder=f"{public_url(get('CI_SERVER_URL', ''))}/-/runners/{get('CI_RUNNER_ID', 'unknown')}",
            job=public_url(get("CI_JOB_URL", "")),
        )
    return BuildOrigin(
        public_url(get("GIT_URL", "")),
        get("GIT_COMMIT", ""),
        get("GIT_BRANCH", ""),
        builder=public_url(get("JENKINS_URL", "")),
        job=public_url(get("BUILD_URL", "")),
    )


def public_url(text: str) -> str:
    """Return a URL without user, password, query and fragment; `git@host:path` as ssh://host/path."""
    if "://" not in text and ":" in text:
        host, _, path = text.partition(":")
        text = f"ssh://{host}/{path.lstrip('/')}"
    parts = urlsplit(text)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")) if parts.netloc else ""


def provenance(release: Release, origin: BuildOrigin) -> Document | None:
    """Return the statement that *release* was built from *origin*, None if the commit is not known."""
    if not origin.commit:
        return None
    source: dict[str, object] = {"digest": {"gitCommit": origin.commit}}
    if origin.repository:
        source["uri"] = f"git+{origin.repository}" + (f"@{origin.ref}" if origin.ref else "")
    if origin.modified:
        source["annotations"] = {"modified": True}
    details: dict[str, object] = {"builder": {"id": origin.builder or "urn:rmfab:by-hand"}}
    if origin.job:
        details["metadata"] = {"invocationId": origin.job}
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": part_name(part), "digest": {"sha256": part.sha256}} for part in release.parts],
        "predicateType": PROVENANCE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"project": release.app.project, "target": release.chip.value},
                "internalParameters": {"idf_version": release.idf_version},
                "resolvedDependencies": [source],
            },
            "runDetails": details,
        },
    }
    return Document(PROVENANCE, canonical.encode(statement))


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints, None if it is not installed, fails, or *folder* is not in a repository."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _seconds(text: str) -> int | None:
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError:
        return None
