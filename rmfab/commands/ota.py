"""`rmfab ota`: check, export, serve or try updates over the air."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Branch
from rmfab.commands.options import (
    FILE,
    baud_option,
    passphrase_file_option,
    slot_names,
    trust_option,
    unit_url_option,
    unknown_option,
)
from rmfab.signals import stopping

if TYPE_CHECKING:
    from rmfab.ota.http_handler import Access
    from rmfab.release.release import Release

_from_option = click.option(
    "--from", "before", type=FILE, metavar="OLD", help="Release that the devices run now: a bundle or a build folder."
)


@click.group("ota", cls=Branch)
def command() -> None:
    """Check, export, serve or try updates over the air.

    An update replaces only the app. A shelf is a folder that any web server can serve.

    \b
    rmfab ota check lamp-1.5.0.rmfab --from lamp-1.4.0.rmfab
    rmfab ota export lamp-1.5.0.rmfab -o shelf --trust trust.json
    rmfab ota serve shelf --cert server.pem --key server.key
    rmfab ota try LMP-000017 --port A1 --to lamp-1.5.0.rmfab \\
        --cert server.pem --key server.key
    """


@command.command("check")
@click.argument("release", metavar="FILE", type=FILE)
@_from_option
def check(release: Path, before: Path | None) -> None:
    """Check whether devices can install a release over the air.

    With --from, checks it for devices that run OLD. An update cannot change the partition table, chip revision, secure
    boot, rollback or flash encryption, and ESP RainMaker rejects a different project or the same version. Exits with
    code 3 if they cannot; --json reports the reasons.

    \b
    rmfab ota check lamp-1.5.0.rmfab --from lamp-1.4.0.rmfab
    """
    from rmfab.errors import ComplaintsError
    from rmfab.operations.publish_update import check_update

    judged = check_update(release, before)
    new, old = judged.release, judged.before
    named = {"release": _named(new), "from": _named(old) if old is not None else None}
    document = {"may": not judged.complaints, "reasons": [one.to_json() for one in judged.complaints]} | named
    may = f"{new.name} can " + ("be installed over the air" if old is None else f"replace {old.name}")
    terminal.show(document, None if judged.complaints else may)
    if judged.complaints:
        raise ComplaintsError(list(judged.complaints))


@command.command("export")
@click.argument("bundle", metavar="FILE", type=FILE)
@click.option("-o", "--output", type=FILE, required=True, metavar="DIR", help="The shelf; created if missing.")
@click.option("--channel", default="stable", show_default=True, help="Channel that offers the release.")
@_from_option
@trust_option
@unknown_option
@click.option("--allow-downgrade", is_flag=True, help="Accept a lower seq than the channel's.")
def export(trust_file: Path | None, allow_unknown: bool, **options: Any) -> None:
    """Publish a signed release in a channel of a shelf.

    Files on a shelf never change; latest.json is replaced last and atomically, so devices can download meanwhile. Run
    the same command again if it was interrupted. Prints the SHA-256 of the index.

    \b
    rmfab ota export lamp-1.5.0.rmfab -o shelf --from lamp-1.4.0.rmfab
    rmfab ota export lamp-1.6.0.rmfab -o shelf --channel beta
    """
    from rmfab.operations.accept_release import TrustChoice
    from rmfab.operations.publish_update import ExportRequest, export_update

    request = ExportRequest(trust=TrustChoice(trust_file, allow_unknown), **options)
    workspace = terminal.nearest_workspace() if trust_file is None else None
    accepted, published = export_update(workspace, request, terminal.TERMINAL)
    release, channel = accepted.release, request.channel
    does = "now offers" if published.changed else "already offers"
    terminal.say(
        f"{request.output}: channel {channel} {does} {release.name} for {release.chip.value}: {published.image}"
    )
    named = {"index": published.index, "image": published.image, "channel": channel, "changed": published.changed}
    signers = [{"id": one.id, "name": one.name} for one in accepted.signers]
    terminal.show(named | {"release": _named(release), "signers": signers}, published.index)


@command.command("serve")
@click.argument("shelf", metavar="DIR", type=FILE)
@click.option("--cert", type=FILE, required=True, metavar="FILE", help="Certificate chain, the server's own first.")
@click.option("--key", required=True, metavar="FILE", help="Private key of the certificate.")
@passphrase_file_option
@click.option(
    "--tcp-port", type=click.IntRange(0, 65535), default=8443, show_default=True, help="TCP port; 0 selects a free one."
)
@click.option("--port", "former_port", type=click.IntRange(0, 65535), hidden=True)
@click.option("--bind", "address", default="127.0.0.1", show_default=True, metavar="ADDRESS",
              help="Address to bind; 0.0.0.0 for boards on the network.")  # fmt: skip
def serve(tcp_port: int, former_port: int | None, **options: Any) -> None:
    """Serve a shelf over HTTPS, for a bench.

    In production, use a web server. Prints the base URL, logs each request on stderr, and runs until ^C or SIGTERM,
    with exit code 0.

    \b
    rmfab ota serve shelf --cert server.pem --key server.key --bind 0.0.0.0
    """
    from rmfab.operations.publish_update import ServeRequest, shelf_server

    request = ServeRequest(tcp_port=tcp_port if former_port is None else former_port, **options)
    on_access = None if terminal.quiet() else _say_access
    try:
        with shelf_server(request, on_access, terminal.TERMINAL) as server, stopping(server.stop):
            if terminal.json_wanted():
                terminal.json_line({"url": server.url})
            else:
                terminal.data(server.url)
            server.serve()
    except KeyboardInterrupt:  # it came before `stopping` took over, or a second time
        pass
    terminal.say("server stopped")


@command.command("try")
@click.argument("serial", metavar="SERIAL")
@click.option("-p", "--port", metavar="PORT", required=True, shell_complete=slot_names, help="Port or slot name.")
@baud_option
@unit_url_option
@click.option("--to", type=FILE, required=True, metavar="RELEASE", help="Signed bundle that the unit is to install.")
@click.option("--release", type=FILE, help="Release that the unit runs now (default: product.toml).")
@click.option("--back", is_flag=True, help="Then have it install the release that it ran before, over the air too.")
@click.option("--cert", type=FILE, required=True, metavar="FILE", help="Certificate chain, the server's own first.")
@click.option("--key", required=True, metavar="FILE", help="Private key of the certificate.")
@passphrase_file_option
@click.option(
    "--tcp-port", type=click.IntRange(0, 65535), default=8443, show_default=True, help="TCP port; 0 selects a free one."
)
@click.option("--bind", "address", default="127.0.0.1", show_default=True, metavar="ADDRESS",
              help="Address to bind; 0.0.0.0 for boards on the network.")  # fmt: skip
@click.option("--name", metavar="NAME", help="Name or address of this host for the unit (default: that of --bind).")
@click.option("--timeout", type=click.FloatRange(10, 7200), default=600.0, show_default=True, metavar="SECONDS",
              help="Time limit of each update.")  # fmt: skip
@click.option("--force", is_flag=True, help="Also offer a different project, the same version or a lower secure "
              "version, which the unit must reject.")  # fmt: skip
@unknown_option
def try_(port: str, unit_urls: tuple[str, ...], former_unit_urls: tuple[str, ...], **options: Any) -> None:
    """Have one unit install a release over the air, and prove that it did.

    The unit joins the factory network; the witness at its broker ([cloud] in station.toml) sends it a job, and this
    host serves the image over HTTPS. Then it must report success, run the new version from a different slot, and have
    the same node id, PoP and factory partition. Last it is reset. The ledger records the time of each stage.

    Without --back the unit keeps RELEASE and is no longer verified: `rmfab run` gives it the line's release. The
    firmware must trust the certificate.

    \b
    rmfab ota try LMP-000017 --port A1 --to lamp-1.5.0.rmfab --back \\
        --cert server.pem --key server.key --bind 0.0.0.0
    """
    from rmfab.commands.show_line import show_run
    from rmfab.operations.try_update import TryRequest, try_update

    request = TryRequest(ports=(port,), unit_urls=unit_urls or former_unit_urls, **options)
    with try_update(terminal.workspace(), request, terminal.TERMINAL) as run:
        show_run(run, single=True)


def _say_access(access: Access) -> None:
    terminal.say(f"{access.client} {access.method} {access.path} {access.status} {access.sent}")


def _named(release: Release) -> dict[str, object]:
    return {
        "project": release.app.project,
        "version": release.version,
        "app_version": release.app.version,
        "chip": release.chip.value,
        "seq": release.seq,
        "digest": release.digest,
        "source": release.source,
    }
