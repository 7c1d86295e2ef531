"""Releases and the keys that sign them: built, signed, verified check by check; key pairs made."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from rmfab.errors import ComplaintsError, InputError, RmfabError, UsageError
from rmfab.files import changing, read_input, write_file
from rmfab.operations.accept_release import TrustChoice, judge_opened
from rmfab.operations.passphrases import KEY_ENVIRONMENT, Passphrases
from rmfab.operations.signing_keys import KeyChoice, opened_keys
from rmfab.operations.terminal import Terminal
from rmfab.release.acceptance import Accepted
from rmfab.release.build import BuildRequest, make_release
from rmfab.release.bundle import Bundle, build_bundle, looks_like_bundle, open_bundle_file
from rmfab.release.opening import open_release, open_unparsed
from rmfab.release.preflight import inspect_for_product, inspect_release, inspect_successor
from rmfab.release.release import Release
from rmfab.report.junit import Case
from rmfab.signing.keyfile import write_private_key
from rmfab.signing.publickey import VerifyingKey
from rmfab.signing.signer import SigningKeyKind, make_key
from rmfab.workspace.workspace import Workspace

R = TypeVar("R")
_CHECKS = ("container", "signatures", "layout", "product")


@dataclass(frozen=True)
class BundleRequest:
    """The build folder *source* as the bundle *output*.

    *edition*: what the build cannot say of itself; *after*: the release that this one follows; *force* replaces a
    bundle of another release.
    """

    source: Path
    output: Path
    edition: BuildRequest
    after: Path | None = None
    force: bool = False


@dataclass(frozen=True)
class SignRequest:
    """Signatures by *keys* for *bundle*, in place or as *output*; *replace* drops those that are there."""

    bundle: Path
    keys: KeyChoice
    output: Path | None = None
    replace: bool = False
    force: bool = False


@dataclass(frozen=True)
class WrittenRelease:
    """A *release* in the bundle *path*, signed by the keys of *key_ids*; *written*: the file is new or changed."""

    release: Release
    path: Path
    key_ids: tuple[str, ...]
    written: bool


def build_release(workspace: Workspace | None, request: BundleRequest) -> WrittenRelease:
    """Packs a build folder into one bundle; the same sources give the same bytes.

    Raises ComplaintsError for what would brick a board, what the product of *workspace* does not allow, and what is no
    step after the release before.
    """
    edition = _with_notes(request.edition)
    if workspace is not None:
        edition = replace(edition, seq_source=workspace.product.release.seq)
    release = make_release(request.source, edition, os.environ)
    complaints = inspect_release(release)
    if workspace is not None:
        complaints += inspect_for_product(release, workspace.product)
    if request.after is not None:
        complaints += inspect_successor(release, open_release(request.after))
    if complaints:
        raise ComplaintsError(complaints)
    _check_replaceable(request.output)
    written = write_file(request.output, build_bundle(release), force=request.force)
    return WrittenRelease(release, request.output, (), written)


def _with_notes(edition: BuildRequest) -> BuildRequest:
    """*edition* with its notes as text: `@FILE` is read. Raises InputError where they are no text."""
    notes = edition.notes
    if notes.startswith("@"):
        notes = read_input(Path(notes[1:]), "notes").decode("utf-8", "replace")
    if not notes.isascii() and notes != notes.encode("utf-8", "replace").decode():
        raise InputError("these notes are not UTF-8 text", where="--notes")
    return replace(edition, notes=notes)


def sign_release(request: SignRequest, terminal: Terminal) -> WrittenRelease:
    """Adds signatures to a bundle; those that are there stay, unless they are to be replaced."""
    target = request.output or request.bundle
    _check_replaceable(target)
    with changing(request.bundle) as path:
        return _add_signatures(path, path if target == request.bundle else target, request, terminal)


def _add_signatures(source: Path, target: Path, request: SignRequest, terminal: Terminal) -> WrittenRelease:
    there = open_bundle_file(source)
    release = there.release()
    if release.seq is None:
        raise InputError(
            "a release without seq cannot be signed", where=str(source), hint="`rmfab release build --seq N`"
        )
    unsigned = (there.without_signatures() if request.replace else there).to_sign
    with opened_keys(request.keys, terminal) as signers:
        signed = there.with_envelope(unsigned.signed(*signers))
    in_place = target == source
    changed = not (in_place and signed == there)
    written = changed and write_file(target, signed.encode(), force=request.force or in_place)
    ids = tuple(one.key_id for one in signed.to_sign.signatures)
    return WrittenRelease(release, request.output or request.bundle, ids, written)


def _check_replaceable(path: Path) -> None:
    """Raises InputError where something else than a release stands: --force is no way to lose a key."""
    if path.is_file() and not looks_like_bundle(path):
        raise InputError(
            "another kind of file stands here, and no release replaces it", where=str(path), hint="another name"
        )


def read_release(path: Path) -> tuple[Release, tuple[str, ...]]:
    """The release in *path* and the ids of the keys that signed it. Nothing is judged."""
    opened = open_unparsed(path)
    if isinstance(opened, Bundle):
        return opened.release(), tuple(one.key_id for one in opened.to_sign.signatures)
    return opened, ()


def verify_release(
    path: Path, workspace: Workspace | None, choice: TrustChoice, terminal: Terminal, cases: list[Case]
) -> Accepted:
    """The release in *path*, if a station would take it; *cases* gets how each check ended, those not reached too.

    Raises what the first check that does not hold raises.
    """
    checks = _Checks(path.name, cases)
    with checks.completed():
        opened = checks.run("container", lambda: open_unparsed(path))
        accepted = checks.run("signatures", lambda: judge_opened(opened, workspace, choice, terminal))
        checks.run("layout", lambda: _raise(inspect_release(accepted.release)))
        checks.run("product", lambda: _check_product(accepted.release, workspace))
    return accepted


def _check_product(release: Release, workspace: Workspace | None) -> None:
    if workspace is not None:
        _raise(inspect_for_product(release, workspace.product))


def _raise(complaints: list[InputError]) -> None:
    if complaints:
        raise ComplaintsError(complaints)


class _Checks:
    """Runs checks of one *group* and notes in *cases* how each ended."""

    def __init__(self, group: str, cases: list[Case]) -> None:
        self._group = group
        self._cases = cases

    def run(self, name: str, work: Callable[[], R]) -> R:
        """Runs one check."""
        began = time.monotonic()
        try:
            result = work()
        except RmfabError as error:
            seconds = time.monotonic() - began
            self._cases.append(Case(self._group, name, "FAIL", seconds, error.cause, str(error)))
            raise
        self._cases.append(Case(self._group, name, "PASS", time.monotonic() - began))
        return result

    @contextmanager
    def completed(self) -> Iterator[None]:
        """Notes at the end the checks that were not reached as skipped."""
        try:
            yield
        finally:
            done = {case.name for case in self._cases}
            self._cases += [
                Case(self._group, name, "SKIP", reason="not reached") for name in _CHECKS if name not in done
            ]


@dataclass(frozen=True)
class KeyPairRequest:
    """A new key pair in *private*, its public half beside it; encrypted unless *bare*."""

    private: Path
    kind: SigningKeyKind
    bare: bool = False
    passphrase_file: Path | None = None

    def __post_init__(self) -> None:
        if self.bare and self.passphrase_file is not None:
            raise UsageError("--no-passphrase or --passphrase-file")

    @property
    def public(self) -> Path:
        """Where the public half goes. Raises InputError where the private key's name leaves no name for it."""
        if not self.private.name:
            raise InputError("this names no file", where=str(self.private), hint="-o release.key")
        if self.private.suffix == ".pub":
            raise InputError(
                "this is what the public half will be called", where=str(self.private), hint="-o release.key"
            )
        return self.private.with_suffix(".pub")


def make_key_pair(request: KeyPairRequest, terminal: Terminal) -> VerifyingKey:
    """Makes a key pair that signs releases. Raises InputError where one is there: none is ever replaced."""
    public = request.public
    for path in (request.private, public):
        if path.exists():
            raise InputError("there is a key already; rmfab never replaces one", where=str(path), cause="exists")
    passphrases = Passphrases(terminal, KEY_ENVIRONMENT, request.passphrase_file)
    secret = None if request.bare else passphrases.ask_new(str(request.private))
    signer = make_key(request.kind)
    write_private_key(request.private, signer.key, secret)
    write_file(public, signer.public.pem.encode())
    return signer.public


def write_public_key(keys: KeyChoice, output: Path, terminal: Terminal) -> VerifyingKey:
    """Writes the public half of the one key of *keys*, such as one that never leaves its token."""
    if len(keys.uris) != 1:
        raise UsageError("one --key")
    with opened_keys(keys, terminal) as (signer,):
        key = signer.public
    write_file(output, key.pem.encode())
    return key
