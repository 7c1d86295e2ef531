"""The cloud that registers units: its deployment, the account, and the way to it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from rmfab.cloud.api.cognito import Cognito
from rmfab.cloud.api.https import HttpsClient
from rmfab.cloud.api.neo import NeoPlaces, NeoRegistrar
from rmfab.cloud.api.pace import Pace
from rmfab.cloud.api.rainmaker import RainmakerRegistrar
from rmfab.cloud.api.registrar import Registrar
from rmfab.cloud.api.tokens import Account, TokenFile
from rmfab.errors import InputError, StationError
from rmfab.files import locked, make_folder
from rmfab.operations.client_files import load_authorities
from rmfab.operations.passphrases import CLOUD_ENVIRONMENT, Passphrases
from rmfab.operations.terminal import Terminal
from rmfab.product.deployment import Deployment, load_deployment
from rmfab.product.product_file import FILE_NAME
from rmfab.product.vocabulary import CloudKind
from rmfab.secret import Secret
from rmfab.workspace.workspace import Workspace

_PACE = Pace()


@dataclass(frozen=True)
class CloudAccess:
    """How to reach a cloud: its *deployment* file, None for `[cloud]` of product.toml; *user* and *ca* replace what it
    names. *password_file*: None for that of the environment, else the terminal. *patience*: seconds to wait for each
    answer. *pace*: how often a request is tried."""

    deployment: Path | None = None
    user: str | None = None
    password_file: Path | None = None
    ca: Path | None = None
    patience: float = 30.0
    pace: Pace = _PACE


@dataclass(frozen=True)
class OpenedCloud:
    """A cloud that can be asked. *name* is the URL of its API: it names the cloud in the ledger."""

    name: str
    registrar: Registrar


def deployment_of(workspace: Workspace, access: CloudAccess) -> Deployment:
    """Return the deployment. Raise InputError if it is not known which one, or if a key of it is missing."""
    if access.deployment is not None:
        found, where = load_deployment(access.deployment), str(access.deployment)
    else:
        found, where = workspace.product.cloud.deployment, FILE_NAME
    needed = ("api", "region", "client_id") if found.kind is CloudKind.NEO else ("api",)
    missing = [key for key in needed if not getattr(found, key)]
    if missing:
        raise InputError(
            f"[cloud] lacks {' and '.join(missing)}",
            where=where,
            hint="docs/cloud.md says where they come from; `rmfab cloud serve` is a cloud to rehearse with",
            cause="no-deployment",
        )
    return replace(found, user=access.user or found.user, ca=access.ca or found.ca)


@contextmanager
def opened_cloud(workspace: Workspace, access: CloudAccess, terminal: Terminal) -> Iterator[OpenedCloud]:
    """Yield the cloud of this workspace; no other process of this host registers in it meanwhile.

    Nothing is sent. Raise InputError as `deployment_of` does, and if there is no user to sign in as.
    """
    deployment = deployment_of(workspace, access)
    user = deployment.user or _asked_user(terminal)
    tokens = TokenFile.of(workspace.host.state, deployment.api, user)
    make_folder(tokens.path.parent, secret=True)
    passphrases = Passphrases(terminal, CLOUD_ENVIRONMENT, access.password_file)

    @cache
    def password() -> Secret[str]:
        return passphrases.ask(f"{user} at {deployment.api}")

    account = Account(user, password, tokens)
    ca = None if deployment.ca is None else load_authorities(deployment.ca)
    client = HttpsClient(ca, workspace.now, access.patience)
    pace = replace(access.pace, told=partial(_tell_retry, terminal))
    registrar = _registrar(deployment, client, account, pace)
    with locked(_lock(workspace, deployment.api)):
        try:
            yield OpenedCloud(deployment.api, registrar)
        finally:
            registrar.close()


def _tell_retry(terminal: Terminal, trouble: StationError, seconds: float) -> None:
    terminal.warn(f"{trouble}; trying again in {seconds:.0f} s")


def _lock(workspace: Workspace, api: str) -> Path:
    """Return the file that this host locks while it registers units of this ledger in the cloud at *api*."""
    name = hashlib.sha256(f"{workspace.ledger.id}\n{api}".encode()).hexdigest()[:32]
    return workspace.host.state / "cloud" / f"{name}.lock"


def _registrar(deployment: Deployment, client: HttpsClient, account: Account, pace: Pace) -> Registrar:
    if deployment.kind is CloudKind.RAINMAKER:
        return RainmakerRegistrar(deployment.api, client, account, pace)
    region = deployment.region
    sign_in = deployment.sign_in or f"https://cognito-idp.{region}.amazonaws.com"
    iot = deployment.iot or f"https://iot.{region}.amazonaws.com"
    cognito = Cognito(sign_in, deployment.client_id, client, account)
    return NeoRegistrar(NeoPlaces(deployment.api, iot, region), client, cognito, pace)


def _asked_user(terminal: Terminal) -> str:
    if not terminal.interactive:
        raise InputError(
            "no user to sign in as", hint="pass --user, or set user in [cloud] of product.toml", cause="sign-in"
        )
    return terminal.ask("User of the cloud").strip()
