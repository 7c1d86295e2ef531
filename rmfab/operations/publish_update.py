"""Updates over the air: judged, put on a shelf, served from it."""

from __future__ import annotations

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
    """Whether devices that run *before* (None: any) may take *release* over the air; *complaints* say why not."""

    release: Release
    before: Release | None
    complaints: tuple[InputError, ...]


def check_update(release: Path, before: Path | None) -> UpdateJudgement:
    """Judges the release in *release* as an update of the one in *before*."""
    new = open_release(release)
    old = open_release(before) if before is not None else None
    return UpdateJudgement(new, old, tuple(inspect_update(new, old)))


@dataclass(frozen=True)
class ExportRequest:
    """The *bundle* is to be offered by *channel* on the shelf *output*; *before*: what the devices run now."""

    bundle: Path
    output: Path
    channel: str = "stable"
    before: Path | None = None
    trust: TrustChoice = field(default_factory=TrustChoice)
    allow_downgrade: bool = False


def export_update(
    workspace: Workspace | None, request: ExportRequest, terminal: Terminal
) -> tuple[Accepted, Published]:
    """Puts a release on a shelf; returns who vouches for it, and what is published now.

    Raises IntegrityError where it is not trusted, InputError where devices could not take it.
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
    """The *shelf* is to be served at *address* and *tcp_port*, with the TLS certificate *cert* and its *key*."""

    shelf: Path
    cert: Path
    key: str
    passphrase_file: Path | None = None
    address: str = "127.0.0.1"
    tcp_port: int = 8443


def shelf_server(request: ServeRequest, on_access: Callable[[Access], None] | None, terminal: Terminal) -> ShelfServer:
    """The server, bound to its address; entered, it serves. *on_access* is called with each request."""
    passphrases = Passphrases(terminal, KEY_ENVIRONMENT, request.passphrase_file)
    context = load_context(request.cert, _key_path(request.key), passphrases.ask)
    if (doubtful := doubt(request.cert, now())) is not None:
        terminal.warn(f"{request.cert}: the certificate {doubtful}")
    return ShelfServer(request.shelf, context, host=request.address, port=request.tcp_port, on_access=on_access)


def _key_path(named: str) -> Path:
    """The file of a TLS key, named by its path or a file: URI. Raises InputError for every other URI."""
    if named.startswith(("env:", "pkcs11:")):
        raise InputError("a server's key is a file", where="--key", hint="a path, or file:server.key", cause="key-uri")
    return Path(named.removeprefix("file:"))
