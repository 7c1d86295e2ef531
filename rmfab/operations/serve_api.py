"""A cloud to rehearse registration with: the API of ESP RainMaker or RainMaker Neo, on this host, strict as the real
one. It forgets its units when it ends."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rmfab.cloud.bench_certificates import BenchPair, still_good, write_pairs
from rmfab.cloud.mosquitto import reachable
from rmfab.files import is_there, make_folder, read_input, write_file
from rmfab.operations.git_warning import warn_of_git
from rmfab.operations.serve_cloud import names_here, refuse_odd_names
from rmfab.operations.terminal import UNATTENDED, Terminal
from rmfab.product.toml_reader import toml_value
from rmfab.product.vocabulary import CloudKind
from rmfab.virtual.cloud.faults import CloudFaultCall
from rmfab.virtual.cloud.neo import COGNITO, IOT, VirtualNeo
from rmfab.virtual.cloud.rainmaker import VirtualRainmaker
from rmfab.virtual.cloud.server import ApiServer, serve_api
from rmfab.workspace.workspace import Workspace

FOLDER = "cloud"
"""Where its files are by default, in the workspace."""
TCP_PORT = 8443


@dataclass(frozen=True)
class ApiRehearsalRequest:
    """Serve the API of *kind* (None: that of the product) at *address* and *tcp_port*, 0 for a free one.

    *names*: further host names of this host. *faults* happen at some of its calls. *folder*: None for that of the
    workspace. Raise UsageError for a name that a certificate cannot contain.
    """

    kind: CloudKind | None = None
    address: str = "127.0.0.1"
    tcp_port: int = TCP_PORT
    names: tuple[str, ...] = ()
    faults: tuple[CloudFaultCall, ...] = ()
    folder: Path | None = None

    def __post_init__(self) -> None:
        refuse_odd_names((reachable(self.address), *self.names))


@dataclass(frozen=True)
class ApiFolder:
    """The files of a served API in the folder *root*."""

    root: Path

    @property
    def ca(self) -> Path:
        """The certificate that clients need to trust the server."""
        return self.root / "api-ca.crt"

    @property
    def deployment(self) -> Path:
        """The deployment file for `rmfab register`."""
        return self.root / "deployment.toml"

    @property
    def password(self) -> Path:
        """The password of its administrator."""
        return self.root / "password"

    def pair(self, names: tuple[str, ...]) -> BenchPair:
        """The certificate of the server, and its key."""
        return BenchPair(self.root / "server.crt", self.root / "server.key", names)


@dataclass(frozen=True)
class ServedApi:
    """An API that is served at the URL *url*, with its files in *folder*."""

    url: str
    folder: ApiFolder
    server: ApiServer


@contextmanager
def serve_rehearsal(
    workspace: Workspace, request: ApiRehearsalRequest, terminal: Terminal = UNATTENDED
) -> Iterator[ServedApi]:
    """Start the API, yield it, and stop it at the end. Raise StationError if it cannot listen."""
    folder = ApiFolder((request.folder or workspace.root / FOLDER).resolve())
    make_folder(folder.root, secret=True)
    names = names_here(request.address, request.names)
    pair = folder.pair(names)
    if not still_good(folder.ca, [pair], workspace.now()):
        write_pairs(folder.ca, "rmfab rehearsal CA", [pair], workspace.now())
    warn_of_git(terminal, "a password and a private key", folder.password, pair.key, shown=folder.root)
    cloud = _cloud(request.kind or workspace.product.cloud.deployment.kind, workspace)
    cloud.sign_ins.password = _password(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    host = names[0] if ":" not in names[0] else f"[{names[0]}]"
    with serve_api(cloud, context, host=request.address, port=request.tcp_port, name=host) as server:
        server.faults = request.faults
        write_file(folder.deployment, _deployment(cloud, folder).encode(), force=True)
        yield ServedApi(cloud.api, folder, server)


def _cloud(kind: CloudKind, workspace: Workspace) -> VirtualRainmaker | VirtualNeo:
    if kind is CloudKind.RAINMAKER:
        return VirtualRainmaker(workspace.now)
    return VirtualNeo(workspace.now)


def _password(folder: ApiFolder) -> str:
    """Return the password of the administrator; make it at the first start."""
    if not is_there(folder.password):
        write_file(folder.password, f"{secrets.token_urlsafe(12)}\n".encode(), secret=True)
    return read_input(folder.password, "password file").decode("ascii", "ignore").strip()


def _deployment(cloud: VirtualRainmaker | VirtualNeo, folder: ApiFolder) -> str:
    values = {"api": cloud.api, "user": cloud.sign_ins.user, "ca": folder.ca.name}
    if isinstance(cloud, VirtualNeo):
        values |= {"kind": CloudKind.NEO.value, "region": cloud.region, "client_id": cloud.client_id}
        values |= {"sign_in": f"{cloud.base}{COGNITO}", "iot": f"{cloud.base}{IOT}"}
    lines = [f"{name} = {toml_value(value)}" for name, value in values.items()]
    return "\n".join(("# written by `rmfab cloud serve` at each start", "[cloud]", *lines, ""))
