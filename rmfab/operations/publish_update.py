"""Over-the-air updates: judge them, publish them on a shelf, serve the shelf."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rmfab.errors import ComplaintsError, InputError
from rmfab.operations.accept_release import TrustChoice, judge_for_all
from rmfab.operations.passphrases import KEY_ENVIRONMENT, Passphrases
from rmfab.operations.terminal import Terminal
from rmfab.ota.compatibility import inspect_update
from rmfab.ota.http_handler import Access
from rmfab.ota.server import ShelfServer
from rmfab.ota.shelf import Published, publish
from rmfab.ota.tls import doubt, load_context
from rmfab.release.acceptance import Accepted
from rmfab.release.opening import open_release
from rmfab.release.release import Release
from rmfab.workspace.workspace import Workspace, now


@dataclass(frozen=True)
class UpdateJudgement:
    """Whether devices that run *before* (None: any) may install *release* over the air; *complaints* are reasons why
    not."""

    release: Release
    before: Release | None
    complaints: tuple[InputError, ...]


def check_update(release: Path, before: Path | None) -> UpdateJudgement:
    """Judge the release in *release* as an update of the one in *before*."""
    new = open_release(release)
    old = open_release(before) if before is not None else None
    return UpdateJudgement(new, old, tuple(inspect_update(new, old)))


@dataclass(frozen=True)
class ExportRequest:
    """Offer *bundle* in *channel* on the shelf *output*; *before*: the release that devices run now."""

    bundle: Path
    output: Path
    channel: str = "stable"
    before: Path | None = None
    trust: TrustChoice = field(default_factory=TrustChoice)
    allow_downgrade: bool = False


def export_update(
    workspace: Workspace | None, request: ExportRequest, terminal: Terminal
) -> tuple[Accepted, Published]:
    """Publish a release on a shelf; return its acceptance, and what is published now.

    Raise IntegrityError if it is not trusted, InputError if devices could not install it.
    """
    accepted = judge_for_all(request.bundle, workspace, request.trust, terminal)
    if request.before is not None:
        old = open_release(request.before)
        complaints = inspect_update(accepted.release, old, allow_downgrade=request.allow_downgrade)
        if complaints:
            raise ComplaintsError(complaints)
    envelope = accepted.envelope.encode() if accepted.envelope is not None else None
    published = publish(
        request.output, accepted.release, envelope, request.channel, allow_downgrade=request.allow_downgrade
    )
    return accepted, published


@dataclass(frozen=True)
class ServeRequest:
    """Serve *shelf* at *address* and *tcp_port*, with the TLS certificate *cert* and its *key*."""

    shelf: Path
    cert: Path
    key: str
    passphrase_file: Path | None = None
    address: str = "127.0.0.1"
    tcp_port: int = 8443


def shelf_server(request: ServeRequest, on_access: Callable[[Access], None] | None, terminal: Terminal) -> ShelfServer:
    """Return the server, bound to its address; as a context manager it serves. *on_access* receives each request."""
    context = server_context(request.cert, request.key, request.passphrase_file, terminal)
    return ShelfServer(request.shelf, context, host=request.address, port=request.tcp_port, on_access=on_access)


def server_context(cert: Path, key: str, passphrase_file: Path | None, terminal: Terminal) -> ssl.SSLContext:
    """Return the TLS context of a server with this certificate and key; warn of what clients will reject soon."""
    passphrases = Passphrases(terminal, KEY_ENVIRONMENT, passphrase_file)
    path = _key_path(key)
    context = passphrases.opened(lambda ask: load_context(cert, path, ask))
    if (doubtful := doubt(cert, now())) is not None:
        terminal.warn(f"{cert}: the certificate {doubtful}")
    return context


def _key_path(named: str) -> Path:
    """Return the file of a TLS key, given as a path or a file: URI. Raise InputError for any other URI."""
    if named.startswith(("env:", "pkcs11:")):
        raise InputError(
            "the key of a server must be a file", where="--key", hint="pass a path, or file:server.key", cause="key-uri"
        )
    return Path(named.removeprefix("file:"))
