"""The deployment of a cloud that registers units: `[cloud]` of product.toml, or that of a deployment file.

A deployment file has only that table. It is for a second cloud beside the product's own, such as one to rehearse with
(`rmfab cloud serve`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rmfab.product.toml_reader import Table, Walker, load_toml
from rmfab.product.vocabulary import CloudKind

_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[0-9]{1,2}")
_CLIENT_ID = re.compile(r"[A-Za-z0-9_+]{1,128}")
_USER = re.compile(r"[^\x00-\x20\x7f]{1,254}")


@dataclass(frozen=True)
class Deployment:
    """Where units are registered: the API at the URL *api*, empty if it is unknown, as *user* (None: ask).

    *ca*: PEM of the CA of its certificates, None for those that the system trusts. Only for RainMaker Neo: *region* and
    *client_id*, the region of the stack and the app client of its admin pool; *sign_in* and *iot*, the URLs of
    Cognito and of AWS IoT, by default those of the region.
    """

    kind: CloudKind = CloudKind.RAINMAKER
    api: str = ""
    user: str | None = None
    ca: Path | None = None
    region: str = ""
    client_id: str = ""
    sign_in: str = ""
    iot: str = ""


def load_deployment(path: Path) -> Deployment:
    """Read a deployment file; *ca* is relative to it. Raise InputError, ComplaintsError with every wrong key."""
    walker = Walker(str(path), load_toml(path, "deployment file"))
    table = walker.table("cloud")
    deployment = read_deployment(table, path.resolve().parent)
    table.finish()
    walker.finish()
    return deployment


def read_deployment(table: Table, root: Path) -> Deployment:
    """Return the deployment in *table*; paths are relative to *root*. What is wrong becomes a complaint."""
    ca = table.text("ca", "")
    found = Deployment(
        kind=table.choice("kind", CloudKind, CloudKind.RAINMAKER),
        api=table.text("api", "", check=_bad_url).rstrip("/"),
        user=table.text("user", "", check=_bad_user) or None,
        ca=root / ca if ca else None,
        region=table.text("region", "", check=_bad_region),
        client_id=table.text("client_id", "", check=_bad_client_id),
        sign_in=table.text("sign_in", "", check=_bad_url).rstrip("/"),
        iot=table.text("iot", "", check=_bad_url).rstrip("/"),
    )
    neo = {"region": found.region, "client_id": found.client_id, "sign_in": found.sign_in, "iot": found.iot}
    for key in (key for key, value in neo.items() if value and found.kind is not CloudKind.NEO):
        table.complain(key, "only RainMaker Neo has this", f'set kind = "{CloudKind.NEO.value}", or remove {key}')
    return found


def _bad_url(text: str) -> str | None:
    if not text:
        return None
    return None if _is_api(text) else f'"{text}" is not the URL of an API (https://HOST/PATH)'


def _is_api(text: str) -> bool:
    try:
        parts = urlsplit(text)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    plain = text.isascii() and not any(letter <= " " for letter in text)
    return plain and named and parts.scheme == "https" and not ("@" in parts.netloc or parts.query or parts.fragment)


def _bad_user(text: str) -> str | None:
    return (
        None if not text or _USER.fullmatch(text) else "expected a user name without spaces, such as an e-mail address"
    )


def _bad_region(text: str) -> str | None:
    return None if not text or _REGION.fullmatch(text) else f'"{text}" is not a region of AWS, such as us-east-1'


def _bad_client_id(text: str) -> str | None:
    return None if not text or _CLIENT_ID.fullmatch(text) else f'"{text}" is not the id of an app client of Cognito'
