"""The origin of a build: repository, commit and CI job, from git and the variables of CI systems.

Sources: GitHub Actions, GitLab CI and Jenkins documentation, "predefined variables". User names and passwords are
removed from URLs: CI systems put tokens there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from rmfab.errors import InputError
from rmfab.git import GitAnswer, ask_git, work_tree

_SHORT = 7
"""Digits of a commit in messages, as many as git shows."""


@dataclass(frozen=True)
class BuildOrigin:
    """The sources and the builder of a build; empty for what is not known.

    *committed* is in Unix seconds. *modified*: the number of tracked files that differ from the commit, None if that is
    not known. *builder* and *job* are URLs of what built it, and of the run. *problem*: why git did not answer although
    there is a repository, and *remedy* what to do.
    """

    repository: str = ""
    commit: str = ""
    ref: str = ""
    committed: int | None = None
    modified: int | None = None
    builder: str = ""
    job: str = ""
    problem: str = ""
    remedy: str = ""

    @property
    def changes(self) -> str | None:
        """How the sources differ from the commit, None if they do not or if it is not known."""
        if not self.modified:
            return None
        differ = "1 file differs" if self.modified == 1 else f"{self.modified} files differ"
        return f"{differ} from commit {self.commit[:_SHORT]}…"

    def require_clean(self, where: str) -> None:
        """Raise InputError unless the sources are known to be those of the commit."""
        if self.changes is not None:
            hint = "commit the changes, or undo them: `git status` lists them"
            raise InputError(self.changes, where=where, hint=hint, cause="not-clean")
        if self.modified is None:
            why = self.problem or "it is not in a git repository"
            hint = self.remedy or "build in the work tree of a commit, or leave out --require-clean"
            raise InputError(
                f"cannot compare the sources with a commit: {why}", where=where, hint=hint, cause="not-clean"
            )


def find_origin(folder: Path, environment: Mapping[str, str]) -> BuildOrigin:
    """Return the origin from the repository of *folder*, if git is installed, and the CI's *environment*."""
    there = from_environment(environment)
    found = ask_git(folder, "log", "-1", "--format=%H %ct")
    if found.code != 0:
        return _without_git(there, folder, found)
    commit, _, committed = found.text.partition(" ")
    there = replace(
        there,
        repository=there.repository or public_url(ask_git(folder, "remote", "get-url", "origin").text),
        commit=commit,
        ref=there.ref or ask_git(folder, "symbolic-ref", "--quiet", "HEAD").text,
        committed=int(committed),
    )
    status = ask_git(folder, "status", "--porcelain", "--untracked-files=no")
    if status.code != 0:
        return _without_git(there, folder, status)
    return replace(there, modified=len(status.text.splitlines()))


def _without_git(origin: BuildOrigin, folder: Path, answer: GitAnswer) -> BuildOrigin:
    """Return *origin* with the reason in git's *answer*, if *folder* is in a work tree."""
    root = work_tree(folder)
    if root is None:
        return origin
    if answer.code is None:
        remedy = "install git, or correct PATH"
    elif "ownership" in answer.reason:  # git-config(1), safe.directory
        remedy = f"if you trust this repository: `git config --global --add safe.directory {root}`"
    else:
        remedy = f"`git -C {root} log -1` must show a commit"
    return replace(origin, problem=answer.reason, remedy=remedy)


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


def _seconds(text: str) -> int | None:
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError:
        return None
