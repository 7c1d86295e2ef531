"""Git, as a command: what it answers about a folder, or why it does not."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_SECONDS = 20
_RUN_NOTHING = ("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "log.showSignature=false")
"""A work tree's configuration names programs that git runs when it reads the index (core.fsmonitor) or a signed commit
(gpg.program). Without the lock it does not write the index, which runs a hook (githooks, post-index-change)."""


@dataclass(frozen=True)
class GitAnswer:
    """What git printed, its exit *code* (None if it could not be run), and, if that is not 0, the *reason* it gave."""

    code: int | None
    text: str = ""
    reason: str = ""


def ask_git(folder: Path, *arguments: str) -> GitAnswer:
    """Run git in *folder* with its English messages, and none of the programs that a work tree from elsewhere names.

    Only `status` may run one: a filter, which tells whether a file was changed (gitattributes).
    """
    command = ["git", "-C", str(folder), *_RUN_NOTHING, *arguments]
    english = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False, env=english
        )
    except subprocess.TimeoutExpired:
        return GitAnswer(None, reason=f"git did not answer within {_SECONDS} seconds")
    except OSError as error:
        return GitAnswer(None, reason=f"git cannot be run: {error.strerror or error}")
    said = done.stderr.strip().splitlines() or [f"git ended with exit code {done.returncode}"]
    reason = "" if done.returncode == 0 else said[0].removeprefix("fatal: ")
    return GitAnswer(done.returncode, done.stdout.strip(), reason)


def work_tree(folder: Path) -> Path | None:
    """Return the git work tree that *folder* is in, found without git; None if it is in none."""
    here = folder.resolve()
    return next((place for place in (here, *here.parents) if (place / ".git").exists()), None)


def would_take(file: Path) -> bool:
    """Return whether `git add` would take *file*: it is in a work tree and not ignored."""
    tree = work_tree(file.parent)
    if tree is None:
        return False
    return ask_git(tree, "check-ignore", "-q", "--", str(file.parent.resolve() / file.name)).code == 1
