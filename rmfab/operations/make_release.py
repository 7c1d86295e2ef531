"""Build, sign and verify releases; make the keys that sign them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from rmfab.errors import ComplaintsError, InputError, IntegrityError, RmfabError, UsageError
from rmfab.files import changing, read_input, write_file
from rmfab.operations.accept_release import TrustChoice, judge_downgrade, judge_opened, warn_of_doubts
from rmfab.operations.git_warning import warn_of_git
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
from rmfab.signing.judge_signatures import judge_key
from rmfab.signing.keyfile import write_private_key
from rmfab.signing.publickey import VerifyingKey
from rmfab.signing.signer import SigningKeyKind, make_key
from rmfab.signing.trust import Role, Trust
from rmfab.workspace.workspace import Workspace

R = TypeVar("R")
_CHECKS = ("container", "signatures", "layout", "product", "order")


@dataclass(frozen=True)
class BundleRequest:
    """Pack the build *source* (a folder, a zip of one, or a merged image) into the bundle *output*.

    *edition*: what the build does not contain; *after*: the release that this one follows; *force* replaces
    the bundle of a different release.
    """

    source: Path
    output: Path
    edition: BuildRequest
    after: Path | None = None
    force: bool = False


@dataclass(frozen=True)
class SignRequest:
    """Sign *bundle* with *keys*, in place or as *output*; *replace* drops its existing signatures."""

    bundle: Path
    keys: KeyChoice
    output: Path | None = None
    replace: bool = False
    force: bool = False


@dataclass(frozen=True)
class WrittenRelease:
    """The *release* in the bundle *path*, signed by the keys *key_ids*; *written*: the file is new or has changed."""

    release: Release
    path: Path
    key_ids: tuple[str, ...]
    written: bool


def build_release(workspace: Workspace | None, request: BundleRequest, terminal: Terminal) -> WrittenRelease:
    """Pack a build into one bundle and report what kind of build it is; builds are reproducible.

    Raise ComplaintsError if the release would brick a board, does not fit the product of *workspace*, or is not a
    valid successor of *after*.
    """
    edition = _with_notes(request.edition)
    if workspace is not None:
        edition = replace(edition, seq_source=workspace.product.release.seq)
    release = make_release(request.source, edition, os.environ)
    terminal.say(f"{request.source}: {release.found}")
    complaints = inspect_release(release)
    if workspace is not None:
        complaints += inspect_for_product(release, workspace.product)
    if request.after is not None:
        complaints += inspect_successor(release, open_release(request.after))
    if complaints:
        raise ComplaintsError(complaints)
    warn_of_doubts(release, workspace, terminal)
    _warn_of_version(release, terminal)
    _check_replaceable(request.output)
    written = write_file(request.output, build_bundle(release), force=request.force)
    return WrittenRelease(release, request.output, (), written)


def _warn_of_version(release: Release, terminal: Terminal) -> None:
    """Warn of a release with a version that its devices will not report. `v1.4.0` and `1.4.0` are the same version."""
    reported = release.app.version
    if release.version.removeprefix("v") != reported.removeprefix("v"):
        terminal.warn(f"the release is version {release.version}, but its app reports version {reported}")


def _with_notes(edition: BuildRequest) -> BuildRequest:
    """Return *edition* with its notes as text; read the file of `@FILE`. Raise InputError if they are not UTF-8."""
    notes = edition.notes
    if notes.startswith("@"):
        notes = read_input(Path(notes[1:]), "notes").decode("utf-8", "replace")
    if not notes.isascii() and notes != notes.encode("utf-8", "replace").decode():
        raise InputError("the notes are not UTF-8 text", where="--notes")
    return replace(edition, notes=notes)


def sign_release(workspace: Workspace | None, request: SignRequest, terminal: Terminal) -> WrittenRelease:
    """Add signatures to a bundle; keep the existing ones unless *request* replaces them.

    Warn of each key that the trust file of *workspace* does not accept.
    """
    target = request.output or request.bundle
    if request.bundle.is_dir():
        raise InputError(
            "a folder cannot be signed",
            where=str(request.bundle),
            hint=f"make a bundle of it first: `rmfab release build {request.bundle} -o NAME.rmfab`",
        )
    if target != request.bundle:
        _check_replaceable(target)
    trust = workspace.trust if workspace is not None else None
    with changing(request.bundle) as path:
        signed = _add_signatures(path, path if target == request.bundle else target, request, terminal)
    _warn_of_version(signed.release, terminal)
    if workspace is not None and trust is not None:
        _warn_of_signers(trust, signed.key_ids, workspace.now(), terminal)
    return signed


def _warn_of_signers(trust: Trust, key_ids: Sequence[str], now: datetime, terminal: Terminal) -> None:
    """Warn of each signature for which a station with *trust* would reject the release."""
    for key_id in key_ids:
        try:
            judge_key(key_id, trust, Role.RELEASE, now, where=None)
        except IntegrityError as error:
            terminal.warn(f"stations will reject this release: {error.what}", error.hint)


def _add_signatures(source: Path, target: Path, request: SignRequest, terminal: Terminal) -> WrittenRelease:
    there = open_bundle_file(source)
    release = there.release()
    if release.seq is None:
        raise InputError(
            "cannot sign a release without seq", where=str(source), hint="build it with `rmfab release build --seq N`"
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
    """Raise InputError if *path* is a file but not a bundle, so that --force cannot destroy a key."""
    if path.is_file() and not looks_like_bundle(path):
        raise InputError("not a release bundle, so it is not replaced", where=str(path), hint="choose a different name")


def read_release(path: Path) -> tuple[Release, tuple[str, ...]]:
    """Read the release in *path* and the ids of the keys that signed it, without judging either."""
    opened = open_unparsed(path)
    if isinstance(opened, Bundle):
        return opened.release(), tuple(one.key_id for one in opened.to_sign.signatures)
    return opened, ()


def verify_release(
    path: Path, workspace: Workspace | None, choice: TrustChoice, terminal: Terminal, cases: list[Case]
) -> Accepted:
    """Return the release in *path* if a station would accept it. Add the result of each check to *cases*.

    Raise the error of the first check that fails; later checks are added as skipped.
    """
    checks = _Checks(path.name, cases)
    with checks.completed():
        opened = checks.run("container", lambda: open_unparsed(path))
        accepted = checks.run("signatures", lambda: judge_opened(opened, workspace, choice, terminal))
        checks.run("layout", lambda: _raise(inspect_release(accepted.release)))
        checks.run("product", lambda: _check_product(accepted.release, workspace))
        if workspace is not None and workspace.has_ledger:
            checks.run("order", partial(judge_downgrade, workspace, accepted.release))
        else:
            terminal.say("not checked: whether a station has accepted a newer release (there is no ledger here)")
            checks.skip("order", "no ledger")
    warn_of_doubts(accepted.release, workspace, terminal)
    return accepted


def _check_product(release: Release, workspace: Workspace | None) -> None:
    if workspace is not None:
        _raise(inspect_for_product(release, workspace.product))


def _raise(complaints: list[InputError]) -> None:
    if complaints:
        raise ComplaintsError(complaints)


class _Checks:
    """Runner of the checks of one *group*; adds the result of each to *cases*."""

    def __init__(self, group: str, cases: list[Case]) -> None:
        self._group = group
        self._cases = cases

    def run(self, name: str, work: Callable[[], R]) -> R:
        """Run one check and return its result."""
        began = time.monotonic()
        try:
            result = work()
        except RmfabError as error:
            seconds = time.monotonic() - began
            self._cases.append(Case(self._group, name, "FAIL", seconds, error.cause, str(error)))
            raise
        self._cases.append(Case(self._group, name, "PASS", time.monotonic() - began))
        return result

    def skip(self, name: str, reason: str) -> None:
        """Add a check that cannot be made here."""
        self._cases.append(Case(self._group, name, "SKIP", reason=reason))

    @contextmanager
    def completed(self) -> Iterator[None]:
        """Add the checks that were not reached as skipped at the end."""
        try:
            yield
        finally:
            done = {case.name for case in self._cases}
            self._cases += [
                Case(self._group, name, "SKIP", reason="not reached") for name in _CHECKS if name not in done
            ]


@dataclass(frozen=True)
class KeyPairRequest:
    """A new key pair: the private key in *private*, encrypted unless *bare*, and the public key beside it."""

    private: Path
    kind: SigningKeyKind
    bare: bool = False
    passphrase_file: Path | None = None

    def __post_init__(self) -> None:
        if self.bare and self.passphrase_file is not None:
            raise UsageError("--no-passphrase and --passphrase-file exclude each other")

    @property
    def public(self) -> Path:
        """The path of the public key. Raise InputError if the private key's name does not allow one."""
        if not self.private.name:
            raise InputError("not a file name", where=str(self.private), hint="use a name such as -o release.key")
        if self.private.suffix == ".pub":
            raise InputError(
                ".pub is for the public key", where=str(self.private), hint="use a name such as -o release.key"
            )
        return self.private.with_suffix(".pub")


def make_key_pair(request: KeyPairRequest, terminal: Terminal) -> VerifyingKey:
    """Make a key pair that signs releases. Raise InputError if a file exists: keys are never replaced."""
    public = request.public
    for path in (request.private, public):
        if path.exists():
            raise InputError(
                "already exists; rmfab never replaces a key",
                where=str(path),
                hint="choose a different name with -o, or go on with this key",
                cause="exists",
            )
    passphrases = Passphrases(terminal, KEY_ENVIRONMENT, request.passphrase_file)
    secret = None if request.bare else passphrases.ask_new(str(request.private))
    signer = make_key(request.kind)
    write_private_key(request.private, signer.key, secret)
    write_file(public, signer.public.pem.encode())
    warn_of_git(terminal, "the private key", request.private)
    return signer.public


def write_public_key(keys: KeyChoice, output: Path, terminal: Terminal) -> VerifyingKey:
    """Write the public key of the one key in *keys*, such as one that never leaves its token."""
    if len(keys.uris) != 1:
        raise UsageError("exactly one --key is required")
    with opened_keys(keys, terminal) as (signer,):
        key = signer.public
    write_file(output, key.pem.encode())
    return key
