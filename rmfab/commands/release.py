"""`rmfab release`: firmware releases as files: built, signed, verified, shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rmfab.commands import terminal
from rmfab.commands.judging import trust_option, unknown_option
from rmfab.commands.keys import key_option, open_keys, passphrase_file_option
from rmfab.errors import ComplaintsError, InputError

if TYPE_CHECKING:
    from rmfab.release.bundle import Bundle
    from rmfab.release.release import Release
    from rmfab.signing.signer import Signer

_PATH = click.Path(path_type=Path)
_json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document.")
KINDS = ("ed25519", "ecdsa-p256")


@click.group("release")
def command() -> None:
    """Firmware releases: build, sign, verify, show; make keys.

    Where a release is asked for, a bundle file or an ESP-IDF build folder will do. Signed ones are bundles.

    \b
    rmfab release keygen -o release.key
    rmfab release build build -o lamp-1.4.0.rmfab --seq 14
    rmfab release sign lamp-1.4.0.rmfab --key file:release.key
    """


@command.command("build")
@click.argument("build_dir", type=_PATH)
@click.option("-o", "--output", type=_PATH, required=True, metavar="FILE", help="The bundle to write.")
@click.option("--version", help="What the release is called (default: the app's own version).")
@click.option(
    "--seq", type=click.IntRange(0), help="Its number, which only ever grows (default: as product.toml says)."
)
@click.option("--notes", default="", metavar="TEXT", help="What is new; @FILE reads it from a file.")
@click.option("--sbom", type=_PATH, metavar="FILE", help="Its bill of materials: SPDX or CycloneDX.")
@click.option("--no-sbom", is_flag=True, help="Do not have one made by esp-idf-sbom where that is installed.")
@click.option(
    "--after", type=_PATH, metavar="FILE", help="The release that this one follows: seq and secure version grow."
)
@click.option("--force", is_flag=True, help="Replace a file that holds another release.")
@_json_option
def build(
    build_dir: Path,
    output: Path,
    version: str | None,
    seq: int | None,
    notes: str,
    sbom: Path | None,
    no_sbom: bool,
    after: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Pack an ESP-IDF build folder into one bundle file.

    The same sources give the same bytes, whoever builds them where. Refused is what would brick a board, what the
    nearest product.toml does not allow, and with --after what is no step forward.
    """
    import os

    from rmfab.commands.judging import nearest_workspace
    from rmfab.files import read_input, write_file
    from rmfab.release.build import BuildRequest, make_release
    from rmfab.release.bundle import build_bundle
    from rmfab.release.opening import open_release
    from rmfab.release.preflight import inspect_for_product, inspect_release, inspect_successor

    workspace = nearest_workspace()
    if notes.startswith("@"):
        notes = read_input(Path(notes[1:]), "notes").decode("utf-8", "replace")
    if not notes.isascii() and notes != notes.encode("utf-8", "replace").decode():
        raise InputError("these notes are not UTF-8 text", where="--notes")
    source = workspace.product.release.seq if workspace else None
    release = make_release(build_dir, BuildRequest(version or "", seq, source, notes, sbom, not no_sbom), os.environ)
    complaints = inspect_release(release)
    if workspace is not None:
        complaints += inspect_for_product(release, workspace.product)
    if after is not None:
        complaints += inspect_successor(release, open_release(after))
    if complaints:
        raise ComplaintsError(complaints)
    _check_replaceable(output)
    written = write_file(output, build_bundle(release), force=force)
    terminal.say(f"{release.name} for {release.chip.value}, seq {release.seq}: {output} {_written(written)}")
    if as_json:
        terminal.document(_document(release) | {"source": str(output)})
    else:
        terminal.data(release.digest)


@command.command("sign")
@click.argument("bundle", metavar="FILE", type=_PATH)
@key_option(required=True)
@click.option("--replace", is_flag=True, help="Drop the signatures that are there, such as those of a revoked key.")
@click.option("-o", "--output", type=_PATH, metavar="FILE", help="Write the signed bundle there (default: in place).")
@click.option("--force", is_flag=True, help="Replace another release that --output names.")
@_json_option
def sign(
    bundle: Path,
    keys: tuple[str, ...],
    passphrase_file: Path | None,
    replace: bool,
    output: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Add a signature, or with several --key several; those that are there stay.

    What is signed is the manifest, which holds the digests of all parts.

    \b
    rmfab release sign lamp.rmfab --key file:release.key --passphrase-file release.pass
    rmfab release sign lamp.rmfab --key 'pkcs11:token=ci;object=release'
    """
    from rmfab.files import changing
    from rmfab.signing.publickey import short

    target = output or bundle
    _check_replaceable(target)
    with changing(bundle) as path:
        place = path if target == bundle else target
        release, signed, written = _add_signatures(path, place, keys, passphrase_file, replace=replace, force=force)
    ids = [one.key_id for one in signed.to_sign.signatures]
    terminal.say(f"{release.name}: {target} {_written(written)}, signed by {', '.join(map(short, ids))}")
    if as_json:
        terminal.document(_document(release) | {"source": str(target), "signatures": ids})
    else:
        terminal.data(release.digest)


@command.command("verify")
@click.argument("release", type=_PATH)
@trust_option
@unknown_option
@click.option("--junit", type=_PATH, metavar="FILE", help="Write a report for CI as well.")
@_json_option
def verify(release: Path, trust_file: Path | None, allow_unknown: bool, junit: Path | None, as_json: bool) -> None:
    """Would a station take this release? Signatures first, then digests and images, then what fits together.

    Judged by --trust or the workspace's trust file; without either nobody's signature is asked for, and that is said.

    \b
    rmfab release verify lamp-1.4.0.rmfab --trust trust.json
    """
    from rmfab.commands.verifying import verify_release

    judged = verify_release(release, trust_file, allow_unknown=allow_unknown, junit=junit)
    if not as_json:
        terminal.data(f"{judged.release.digest}  {judged.release.source}")
        return
    signers = [{"id": one.id, "name": one.name} for one in judged.signers]
    trusted = judged.trust.summary if judged.trust is not None else None
    terminal.document(_document(judged.release) | {"signers": signers, "trust": trusted})


@command.command("show")
@click.argument("release", type=_PATH)
@_json_option
def show(release: Path, as_json: bool) -> None:
    """What a release holds: app, parts, partition table, signatures. Nothing is judged."""
    from rmfab.commands.release_text import release_lines
    from rmfab.release.bundle import Bundle
    from rmfab.release.opening import open_unparsed

    there = open_unparsed(release)
    ids = [one.key_id for one in there.to_sign.signatures] if isinstance(there, Bundle) else []
    parsed = there.release() if isinstance(there, Bundle) else there
    if as_json:
        terminal.document(_document(parsed) | {"signatures": ids})
        return
    for line in release_lines(parsed, ids):
        terminal.data(line)


@command.command("keygen")
@click.option(
    "-o", "--output", type=_PATH, required=True, metavar="FILE", help="The private key; .pub stands beside it."
)
@click.option("--kind", type=click.Choice(KINDS), default=KINDS[0], show_default=True, help="Its key pair.")
@click.option("--no-passphrase", is_flag=True, help="Leave the private key unencrypted.")
@passphrase_file_option
@_json_option
def keygen(output: Path, kind: str, no_passphrase: bool, passphrase_file: Path | None, as_json: bool) -> None:
    """Make a key pair that signs releases. One that is there already is never replaced."""
    from rmfab.commands.passphrase import KEY_ENVIRONMENT, Passphrases
    from rmfab.signing.keyfile import write_private_key
    from rmfab.signing.signer import SigningKeyKind, make_key

    if no_passphrase and passphrase_file is not None:
        raise click.UsageError("--no-passphrase or --passphrase-file")
    public = _public_path(output)
    for path in (output, public):
        if path.exists():
            raise InputError("there is a key already; rmfab never replaces one", where=str(path), cause="exists")
    secret = None if no_passphrase else Passphrases(KEY_ENVIRONMENT, passphrase_file).ask_new(str(output))
    signer = make_key(SigningKeyKind(kind))
    write_private_key(output, signer.key, secret)
    _write_public(signer, public, as_json)
    terminal.say(f"{output}: keep it where nobody but the one who signs can read it, and a copy offline")
    terminal.say(f"{public}: its public half, for the trust file: `rmfab trust add {public} --role release` (or trust)")


@command.command("pubkey")
@key_option(required=True)
@click.option("-o", "--output", type=_PATH, required=True, metavar="FILE", help="The public key to write.")
@_json_option
def pubkey(keys: tuple[str, ...], passphrase_file: Path | None, output: Path, as_json: bool) -> None:
    """Write the public half of a key, such as one that never leaves its token."""
    if len(keys) != 1:
        raise click.UsageError("one --key")
    _write_public(open_keys(keys, passphrase_file)[0], output, as_json)


def _write_public(signer: Signer, path: Path, as_json: bool) -> None:
    from rmfab.files import write_file

    key = signer.public
    write_file(path, key.pem.encode())
    if as_json:
        terminal.document({"id": key.id, "kind": key.kind, "public": str(path)})
    else:
        terminal.data(key.id)


def _public_path(private: Path) -> Path:
    if not private.name:
        raise InputError("this names no file", where=str(private), hint="-o release.key")
    if private.suffix == ".pub":
        raise InputError("this is what the public half will be called", where=str(private), hint="-o release.key")
    return private.with_suffix(".pub")


def _add_signatures(
    source: Path, target: Path, keys: tuple[str, ...], passphrase_file: Path | None, *, replace: bool, force: bool
) -> tuple[Release, Bundle, bool]:
    """Signs the bundle *source* and writes it to *target*; the last of the three is whether there was news to write."""
    from rmfab.files import write_file
    from rmfab.release.bundle import open_bundle_file

    there = open_bundle_file(source)
    release = there.release()
    if release.seq is None:
        raise InputError(
            "a release without seq cannot be signed", where=str(source), hint="`rmfab release build --seq N`"
        )
    unsigned = (there.without_signatures() if replace else there).to_sign
    signed, in_place = there.with_envelope(unsigned.signed(*open_keys(keys, passphrase_file))), target == source
    written = not (in_place and signed == there) and write_file(target, signed.encode(), force=force or in_place)
    return release, signed, written


def _check_replaceable(path: Path) -> None:
    """Raises InputError where something else than a release stands: --force is no way to lose a key."""
    from rmfab.release.bundle import looks_like_bundle

    if path.is_file() and not looks_like_bundle(path):
        raise InputError(
            "another kind of file stands here, and no release replaces it", where=str(path), hint="another name"
        )


def _written(written: bool) -> str:
    return "written" if written else "is there already"


def _document(release: Release) -> dict[str, object]:
    """The manifest's predicate, flat, and what it does not say of itself."""
    from rmfab.commands.release_text import secure_boot_digests

    predicate: dict[str, object] = json.loads(release.manifest)["predicate"]
    named = {"source": release.source, "digest": release.digest}
    return named | predicate | {"secure_boot_signatures": secure_boot_digests(release)}
