"""`rmfab ca`: the CA that signs device certificates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmfab.commands import passphrase, terminal

if TYPE_CHECKING:
    from cryptography import x509

    from rmfab.secret import Secret

_PATH = click.Path(path_type=Path)
KINDS = ("ecdsa-p256", "ecdsa-p384", "rsa-2048", "rsa-3072")


@click.group("ca")
def command() -> None:
    """The CA that signs device certificates: create, import, show.

    It lies in the workspace as ca/ca.crt and ca/ca.key. Its passphrase is asked for on the terminal, or read from the
    file that RMFAB_CA_PASSPHRASE_FILE names.
    """


@command.command("create")
@click.option("--cn", metavar="NAME", help="Its common name (default: the product's name and Device CA).")
@click.option("--kind", type=click.Choice(KINDS), default=KINDS[0], show_default=True, help="Its key pair.")
@click.option("--no-passphrase", is_flag=True, help="Leave the key unencrypted.")
def create(cn: str | None, kind: str, no_passphrase: bool) -> None:
    """Make a new CA. One that is there already is never replaced."""
    from rmfab.identity.ca import CaKeyKind, CertificateAuthority, refuse_existing
    from rmfab.workspace import now, open_workspace

    workspace = open_workspace(terminal.folder())
    refuse_existing(workspace.ca_folder)
    name = cn if cn is not None else f"{workspace.product.name[:54]} Device CA"
    secret = None if no_passphrase else passphrase.CA.ask_new(str(workspace.ca_folder / "ca.key"))
    authority = CertificateAuthority.create(name, CaKeyKind(kind), now())
    authority.save(workspace.ca_folder, secret)
    terminal.say(f"CA {authority.name} made; keep a copy of {workspace.ca_folder} and of its passphrase offline")
    terminal.data(str(workspace.ca_folder / "ca.crt"))


@command.command("import")
@click.argument("certificate", metavar="CERT", type=_PATH)
@click.argument("key", metavar="KEY|URI")
@click.option("--no-passphrase", is_flag=True, help="Leave the key unencrypted in the workspace.")
def import_(certificate: Path, key: str, no_passphrase: bool) -> None:
    """Take over a CA from its certificate (PEM or DER) and its private key: a PEM file, env:NAME, or pkcs11:….

    An encrypted key stays encrypted under its own passphrase; one in a token stays there.

    \b
    rmfab ca import ca.crt 'pkcs11:token=ca;object=device-ca?module-path=/usr/lib/opensc-pkcs11.so'
    """
    import os

    from rmfab.commands.keys import closed_at_the_end
    from rmfab.identity.ca import CertificateAuthority, refuse_existing
    from rmfab.signing.token import TokenKey
    from rmfab.workspace import now, open_workspace

    workspace = open_workspace(terminal.folder())
    refuse_existing(workspace.ca_folder)
    used: list[Secret[str]] = []

    def remember(subject: str) -> Secret[str]:
        used.append(passphrase.CA.ask(subject))
        return used[-1]

    uri = key if key.startswith(("file:", "env:", "pkcs11:")) else f"file:{key}"
    authority = closed_at_the_end(CertificateAuthority.read(certificate, uri, remember, now(), os.environ))
    bare = no_passphrase or isinstance(authority.key, TokenKey)
    if not used and not bare:
        used.append(passphrase.CA.ask_new(str(workspace.ca_folder / "ca.key")))
    authority.save(workspace.ca_folder, None if bare else used[-1])
    terminal.say(f"CA {authority.name} imported")
    terminal.data(str(workspace.ca_folder / "ca.crt"))


@command.command("show")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def show(as_json: bool) -> None:
    """Show the CA's certificate; asks for no passphrase."""
    from rmfab.identity.ca import load_workspace_certificate
    from rmfab.workspace import open_workspace

    workspace = open_workspace(terminal.folder())
    facts = _facts(load_workspace_certificate(workspace.ca_folder))
    facts["certificate"] = str(workspace.ca_folder / "ca.crt")
    facts |= _key_facts(workspace.ca_folder / "ca.key")
    if as_json:
        terminal.document(facts)
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        words = {True: "yes", False: "no", None: "none"}
        shown = words[value] if value is None or isinstance(value, bool) else value
        terminal.data(f"{name.replace('_', ' '):<{width}}  {shown}")


def _facts(certificate: x509.Certificate) -> dict[str, Any]:
    from cryptography.hazmat.primitives import hashes

    from rmfab.identity.ca import key_description, path_length

    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial_number": f"{certificate.serial_number:x}",
        "key": key_description(certificate),
        "path_length": path_length(certificate),
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
    }


def _key_facts(key: Path) -> dict[str, Any]:
    """Whether the key file asks for a passphrase, or in which token the key lies."""
    from rmfab.files import read_input
    from rmfab.identity.ca import token_uri
    from rmfab.signing.keyfile import is_encrypted

    if not key.exists():
        return {"key_encrypted": None}
    uri = token_uri(key)
    return {"key_in_token": uri} if uri else {"key_encrypted": is_encrypted(read_input(key, "CA key"))}
