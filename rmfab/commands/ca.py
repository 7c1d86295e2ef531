"""`rmfab ca`: create, import or show the CA that signs device certificates."""

from __future__ import annotations

from pathlib import Path

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Branch
from rmfab.commands.options import FILE

KINDS = ("ecdsa-p256", "ecdsa-p384", "rsa-2048", "rsa-3072")


@click.group("ca", cls=Branch)
def command() -> None:
    """Create, import or show the CA of device certificates.

    The workspace keeps it as ca/ca.crt and ca/ca.key. rmfab asks for its passphrase on the terminal, or reads it from
    the file that RMFAB_CA_PASSPHRASE_FILE names.
    """


@command.command("create")
@click.option("--cn", "name", metavar="NAME", help='Common name (default: the product name and "Device CA").')
@click.option("--kind", type=click.Choice(KINDS), default=KINDS[0], show_default=True, help="Key type.")
@click.option("--no-passphrase", "bare", is_flag=True, help="Leave the key unencrypted.")
def create(name: str | None, kind: str, bare: bool) -> None:
    """Create a CA.

    An existing CA is never replaced.
    """
    from rmfab.identity.ca import CaKeyKind
    from rmfab.operations.make_ca import CaRequest, create_ca

    workspace = terminal.workspace()
    made = create_ca(workspace, CaRequest(name, CaKeyKind(kind), bare), terminal.TERMINAL)
    terminal.say(f"created CA {made}; keep an offline copy of {workspace.ca_folder} and its passphrase")
    _show(made, workspace.ca_folder / "ca.crt")


@command.command("import")
@click.argument("certificate", metavar="CERT", type=FILE)
@click.argument("key", metavar="KEY|URI")
@click.option("--no-passphrase", "bare", is_flag=True, help="Leave the key unencrypted in the workspace.")
def import_(certificate: Path, key: str, bare: bool) -> None:
    """Import a CA from its certificate and private key.

    The certificate is PEM or DER; the key is a PEM file, env:NAME, or pkcs11:…. An encrypted key keeps its passphrase;
    a key in a token stays there.

    \b
    rmfab ca import ca.crt \\
        'pkcs11:token=ca;object=ca?module-path=/usr/lib/opensc-pkcs11.so'
    """
    from rmfab.operations.make_ca import import_ca

    workspace = terminal.workspace()
    name = import_ca(workspace, certificate, key, terminal.TERMINAL, bare=bare)
    terminal.say(f"imported CA {name}")
    _show(name, workspace.ca_folder / "ca.crt")


@command.command("show")
def show() -> None:
    """Show the CA's certificate.

    No passphrase is needed.
    """
    from rmfab.operations.make_ca import ca_facts

    facts = ca_facts(terminal.workspace())
    if terminal.json_wanted():
        terminal.document(facts)
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        words = {True: "yes", False: "no", None: "none"}
        shown = words[value] if value is None or isinstance(value, bool) else value
        terminal.data(f"{name.replace('_', ' '):<{width}}  {shown}")


def _show(name: str, certificate: Path) -> None:
    terminal.show({"name": name, "certificate": str(certificate)}, str(certificate))
