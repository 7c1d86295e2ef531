"""A broker for tests, with the rules of a real one: mosquitto, for the units of this workspace."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from rmfab.cloud.broker_files import BrokerFolder, BrokerSettings, write_files
from rmfab.cloud.mosquitto import Mosquitto, find_mosquitto, reachable
from rmfab.errors import InputError, UsageError
from rmfab.files import read_input
from rmfab.identity.ca import load_workspace_certificate
from rmfab.listening import free_port
from rmfab.operations.git_warning import warn_of_git
from rmfab.operations.terminal import UNATTENDED, Terminal
from rmfab.product.product import MQTT_HOST_PLACEHOLDER
from rmfab.workspace.workspace import Workspace

FOLDER = "broker"
"""Where its files are by default, in the workspace."""
_HOST_NAME = re.compile(r"[A-Za-z0-9._:-]{1,253}")


@dataclass(frozen=True)
class BrokerRequest:
    """Serve at *address* and *tcp_port*, 0 for a free one. *names*: further host names of the broker, besides
    mqtt_host and those of this host. *crl*: PEM of revoked certificates. *folder*: None for that of the workspace.
    Raise UsageError for a name that a certificate cannot contain.
    """

    address: str = "127.0.0.1"
    tcp_port: int = 8883
    names: tuple[str, ...] = ()
    crl: Path | None = None
    folder: Path | None = None

    def __post_init__(self) -> None:
        refuse_odd_names((reachable(self.address), *self.names))


@dataclass(frozen=True)
class ServedBroker:
    """A broker that runs at *host* and *port*, with its files in *folder*."""

    host: str
    port: int
    folder: BrokerFolder
    process: Mosquitto

    @property
    def url(self) -> str:
        """Its address."""
        return f"mqtts://{self.host}:{self.port}"


@contextmanager
def serve_broker(
    workspace: Workspace, request: BrokerRequest, terminal: Terminal = UNATTENDED
) -> Iterator[ServedBroker]:
    """Start the broker, yield it, and stop it at the end.

    Raise StationError if mosquitto is not installed or cannot listen, InputError if the workspace has no CA.
    """
    program = find_mosquitto()
    ca = load_workspace_certificate(workspace.ca_folder).public_bytes(serialization.Encoding.PEM)
    crl = None if request.crl is None else _crl(request.crl)
    names = _names(workspace, request)
    settings = BrokerSettings(request.address, request.tcp_port, names, ca, crl)
    if not settings.port:
        settings = replace(settings, port=free_port(request.address))
    folder = BrokerFolder((request.folder or workspace.root / FOLDER).resolve())
    write_files(folder, settings, workspace.now())
    warn_of_git(terminal, "private keys", folder.key("witness"), shown=folder.root)
    with Mosquitto(program, folder, settings) as process:
        yield ServedBroker(names[0], settings.port, folder, process)


def _names(workspace: Workspace, request: BrokerRequest) -> tuple[str, ...]:
    """Return the names in the broker's certificate. The first is one at which this host reaches it."""
    host = workspace.product.identity.mqtt_host
    product = () if host == MQTT_HOST_PLACEHOLDER else (host,)
    return tuple(dict.fromkeys((*names_here(request.address, request.names), *product)))


def names_here(address: str, more: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of a server that is bound to *address*, and *more*. At the first, this host reaches it."""
    here = reachable(address)
    local = ("localhost",) if here in ("127.0.0.1", "::1") else ()
    host_name = socket.gethostname()
    own = (host_name,) if _fits(host_name) else ()
    return tuple(dict.fromkeys((*local, here, *more, *own)))


def refuse_odd_names(names: tuple[str, ...]) -> None:
    """Raise UsageError for a name that a certificate cannot contain."""
    odd = [name for name in names if not _fits(name)]
    if odd:
        raise UsageError(f'"{odd[0]}" is not a host name', hint="use letters, digits, - and full stops")


def _fits(name: str) -> bool:
    """Return whether a certificate can contain the host name *name*."""
    return _HOST_NAME.fullmatch(name) is not None


def _crl(path: Path) -> bytes:
    pem = read_input(path, "revocation list")
    try:
        x509.load_pem_x509_crl(pem)
    except ValueError:
        raise InputError("not a revocation list in PEM format", where=str(path), cause="tls-certificate") from None
    return pem
