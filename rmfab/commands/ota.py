"""`rmfab ota`: updates over the air: would devices take one, put it on a shelf, serve the shelf."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rmfab.commands import terminal
from rmfab.commands.judging import trust_option, unknown_option
from rmfab.commands.keys import passphrase_file_option
from rmfab.errors import ComplaintsError

if TYPE_CHECKING:
    from rmfab.ota.http_handler import Access
    from rmfab.release.release import Release

_PATH = click.Path(path_type=Path)
_from_option = click.option(
    "--from", "old", type=_PATH, metavar="OLD", help="What the devices run now: a bundle or a build folder."
)


@click.group("ota")
def command() -> None:
    """Updates over the air: check, export, serve.

    An update replaces the app and nothing else. A shelf is a folder that any web server can serve.

    \b
    rmfab ota check lamp-1.5.0.rmfab --from lamp-1.4.0.rmfab
    rmfab ota export lamp-1.5.0.rmfab -o shelf --trust trust.json
    rmfab ota serve shelf --cert server.pem --key server.key
    """


@command.command("check")
@click.argument("release", metavar="FILE", type=_PATH)
@_from_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document, also where the answer is no.")
def check(release: Path, old: Path | None, as_json: bool) -> None:
    """May devices that run OLD take this release over the air? Without --from: could any?

    Judged by what an update cannot change: partition table, chip revision, secure boot, rollback, flash encryption;
    and by what ESP RainMaker refuses: another project, the same version. Exit code 3 means no.

    \b
    rmfab ota check lamp-1.5.0.rmfab --from lamp-1.4.0.rmfab
    """
    from rmfab.ota.compatibility import inspect_update
    from rmfab.release.opening import open_release

    new = open_release(release)
    before = open_release(old) if old is not None else None
    complaints = inspect_update(new, before)
    if as_json:
        named = {"release": _named(new), "from": _named(before) if before is not None else None}
        terminal.document({"may": not complaints, "reasons": [one.to_json() for one in complaints]} | named)
    if complaints:
        raise ComplaintsError(complaints)
    if not as_json:
        terminal.data(f"{new.name} may " + ("go over the air" if before is None else f"replace {before.name}"))


@command.command("export")
@click.argument("bundle", metavar="FILE", type=_PATH)
@click.option("-o", "--output", type=_PATH, required=True, metavar="DIR", help="The shelf; made where it is not there.")
@click.option("--channel", default="stable", show_default=True, help="The channel that offers the release.")
@_from_option
@trust_option
@unknown_option
@click.option("--allow-downgrade", is_flag=True, help="Let the channel go back to a lower seq.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def export(
    bundle: Path,
    output: Path,
    channel: str,
    old: Path | None,
    trust_file: Path | None,
    allow_unknown: bool,
    allow_downgrade: bool,
    as_json: bool,
) -> None:
    """Put a signed release on a shelf, where a channel offers it.

    What lies on a shelf never changes; latest.json is switched last and in one step, so that devices may load while
    this runs, and after it was cut short the same command goes on. Prints the SHA-256 of the index.

    \b
    rmfab ota export lamp-1.5.0.rmfab -o shelf --trust trust.json --from lamp-1.4.0.rmfab
    rmfab ota export lamp-1.6.0.rmfab -o shelf --channel beta
    """
    from rmfab.commands.judging import accepted_for_all
    from rmfab.ota.compatibility import inspect_update
    from rmfab.ota.shelf import publish
    from rmfab.release.opening import open_release

    judged = accepted_for_all(bundle, trust=trust_file, allow_unknown=allow_unknown)
    release = judged.release
    if old is not None:
        complaints = inspect_update(release, open_release(old), allow_downgrade=allow_downgrade)
        if complaints:
            raise ComplaintsError(complaints)
    envelope = judged.envelope.encode() if judged.envelope is not None else None
    published = publish(output, release, envelope, channel, allow_downgrade=allow_downgrade)
    does = "now offers" if published.changed else "offers already"
    terminal.say(f"{output}: channel {channel} {does} {release.name} for {release.chip.value}: {published.image}")
    if as_json:
        named = {"index": published.index, "image": published.image, "channel": channel, "changed": published.changed}
        signers = [{"id": one.id, "name": one.name} for one in judged.signers]
        terminal.document(named | {"release": _named(release), "signers": signers})
    else:
        terminal.data(published.index)


@command.command("serve")
@click.argument("shelf", metavar="DIR", type=_PATH)
@click.option(
    "--cert", type=_PATH, required=True, metavar="FILE", help="The certificate chain, the server's own first."
)
@click.option("--key", type=_PATH, required=True, metavar="FILE", help="Its private key.")
@passphrase_file_option
@click.option("--port", type=click.IntRange(0, 65535), default=8443, show_default=True, help="0 takes a free one.")
@click.option(
    "--bind", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="0.0.0.0 for boards on the net."
)
@click.option("--json", "as_json", is_flag=True, help="The base URL as one JSON object.")
def serve(
    shelf: Path, cert: Path, key: Path, passphrase_file: Path | None, port: int, bind: str, as_json: bool
) -> None:
    """Serve a shelf over HTTPS, on a bench; a web server does it for the world.

    Prints the base URL and serves until ^C or SIGTERM, which is its good end. Each request is told on stderr.

    \b
    rmfab ota serve shelf --cert server.pem --key server.key --bind 0.0.0.0
    """
    from rmfab.commands.passphrase import KEY_ENVIRONMENT, Passphrases
    from rmfab.ota.server import ShelfServer
    from rmfab.ota.tls import doubt, load_context
    from rmfab.workspace import now

    context = load_context(cert, key, Passphrases(KEY_ENVIRONMENT, passphrase_file).ask)
    if (doubtful := doubt(cert, now())) is not None:
        terminal.warn(f"{cert}: the certificate {doubtful}")
    on_access = None if terminal.quiet() else _tell
    try:
        with ShelfServer(shelf, context, host=bind, port=port, on_access=on_access) as server:
            if as_json:
                terminal.json_line({"url": server.url})
            else:
                terminal.data(server.url)
            server.serve_forever()
    except KeyboardInterrupt:
        terminal.say("served until told to stop")


def _tell(access: Access) -> None:
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
