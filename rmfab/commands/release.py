"""`rmfab release`: firmware releases as files: built, signed, verified, shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Branch
from rmfab.commands.options import (
    FILE,
    junit_option,
    key_option,
    output_option,
    passphrase_file_option,
    trust_option,
    unknown_option,
)

if TYPE_CHECKING:
    from rmfab.operations.make_release import WrittenRelease
    from rmfab.release.release import Release
    from rmfab.signing.publickey import VerifyingKey

KINDS = ("ed25519", "ecdsa-p256")


@click.group("release", cls=Branch)
def command() -> None:
    """Firmware releases: build, sign, verify, show; make keys.

    Where a release is asked for, a bundle file or an ESP-IDF build folder will do. Signed ones are bundles.

    \b
    rmfab release keygen -o release.key
    rmfab release build build -o lamp-1.4.0.rmfab --seq 14
    rmfab release sign lamp-1.4.0.rmfab --key release.key
    """


@command.command("build")
@click.argument("source", metavar="BUILD_DIR", type=FILE)
@output_option
@click.option("--release-version", help="What the release is called (default: the app's own version).")
@click.option("--version", "former_version", hidden=True)
@click.option(
    "--seq", type=click.IntRange(0), help="Its number, which only ever grows (default: as product.toml says)."
)
@click.option("--notes", default="", metavar="TEXT", help="What is new; @FILE reads it from a file.")
@click.option("--sbom", type=FILE, metavar="FILE", help="Its bill of materials: SPDX or CycloneDX.")
@click.option("--no-sbom", is_flag=True, help="Do not have one made by esp-idf-sbom where that is installed.")
@click.option(
    "--after", type=FILE, metavar="FILE", help="The release that this one follows: seq and secure version grow."
)
@click.option("--force", is_flag=True, help="Replace a file that holds another release.")
def build(
    release_version: str | None,
    former_version: str | None,
    seq: int | None,
    notes: str,
    sbom: Path | None,
    no_sbom: bool,
    **options: Any,
) -> None:
    """Pack an ESP-IDF build folder into one bundle file.

    The same sources give the same bytes, whoever builds them where. Refused is what would brick a board, what the
    nearest product.toml does not allow, and with --after what is no step forward.
    """
    from rmfab.operations.make_release import BundleRequest, build_release
    from rmfab.release.build import BuildRequest
    from rmfab.workspace.workspace import nearest_workspace

    version = release_version or former_version or ""
    edition = BuildRequest(version, seq, notes=notes, sbom=sbom, make_sbom=not no_sbom)
    built = build_release(nearest_workspace(terminal.folder()), BundleRequest(edition=edition, **options))
    release = built.release
    terminal.say(f"{release.name} for {release.chip.value}, seq {release.seq}: {built.path} {_written(built)}")
    terminal.show(_document(release) | {"source": str(built.path)}, release.digest)


@command.command("sign")
@click.argument("bundle", metavar="FILE", type=FILE)
@key_option(required=True)
@click.option("--replace", is_flag=True, help="Drop the signatures that are there, such as those of a revoked key.")
@click.option("-o", "--output", type=FILE, metavar="FILE", help="Write the signed bundle there (default: in place).")
@click.option("--force", is_flag=True, help="Replace another release that --output names.")
def sign(keys: tuple[str, ...], passphrase_file: Path | None, **options: Any) -> None:
    """Add a signature, or with several --key several; those that are there stay.

    What is signed is the manifest, which holds the digests of all parts.

    \b
    rmfab release sign lamp.rmfab --key release.key --passphrase-file release.pass
    rmfab release sign lamp.rmfab --key 'pkcs11:token=ci;object=release'
    """
    from rmfab.operations.make_release import SignRequest, sign_release
    from rmfab.operations.signing_keys import KeyChoice
    from rmfab.signing.publickey import short

    signed = sign_release(SignRequest(keys=KeyChoice(keys, passphrase_file), **options), terminal.TERMINAL)
    release, by = signed.release, ", ".join(map(short, signed.key_ids))
    terminal.say(f"{release.name}: {signed.path} {_written(signed)}, signed by {by}")
    document = _document(release) | {"source": str(signed.path), "signatures": list(signed.key_ids)}
    terminal.show(document, release.digest)


@command.command("verify")
@click.argument("release", type=FILE)
@trust_option
@unknown_option
@junit_option
def verify(release: Path, trust_file: Path | None, allow_unknown: bool, junit: Path | None) -> None:
    """Would a station take this release? Signatures first, then digests and images, then what fits together.

    Judged by --trust or the workspace's trust file; without either nobody's signature is asked for, and that is said.

    \b
    rmfab release verify lamp-1.4.0.rmfab --trust trust.json
    """
    from rmfab.operations.accept_release import TrustChoice
    from rmfab.operations.make_release import verify_release
    from rmfab.report.junit import Case, write_report
    from rmfab.workspace.workspace import nearest_workspace

    cases: list[Case] = []
    choice = TrustChoice(trust_file, allow_unknown)
    try:
        accepted = verify_release(release, nearest_workspace(terminal.folder()), choice, terminal.TERMINAL, cases)
    finally:
        if junit is not None:
            write_report(junit, "rmfab release verify", cases)
    signers = [{"id": one.id, "name": one.name} for one in accepted.signers]
    trusted = accepted.trust.summary if accepted.trust is not None else None
    document = _document(accepted.release) | {"signers": signers, "trust": trusted}
    terminal.show(document, f"{accepted.release.digest}  {accepted.release.source}")


@command.command("show")
@click.argument("release", type=FILE)
def show(release: Path) -> None:
    """What a release holds: app, parts, partition table, signatures. Nothing is judged."""
    from rmfab.commands.release_text import release_lines
    from rmfab.operations.make_release import read_release

    read, key_ids = read_release(release)
    text = "\n".join(release_lines(read, list(key_ids)))
    terminal.show(_document(read) | {"signatures": list(key_ids)}, text)


@command.command("keygen")
@click.option("-o", "--output", "private", type=FILE, required=True, metavar="FILE",
              help="The private key; .pub stands beside it.")  # fmt: skip
@click.option("--kind", type=click.Choice(KINDS), default=KINDS[0], show_default=True, help="Its key pair.")
@click.option("--no-passphrase", "bare", is_flag=True, help="Leave the private key unencrypted.")
@passphrase_file_option
def keygen(private: Path, kind: str, bare: bool, passphrase_file: Path | None) -> None:
    """Make a key pair that signs releases. One that is there already is never replaced."""
    from rmfab.operations.make_release import KeyPairRequest, make_key_pair
    from rmfab.signing.signer import SigningKeyKind

    request = KeyPairRequest(private, SigningKeyKind(kind), bare, passphrase_file)
    _show_public(make_key_pair(request, terminal.TERMINAL), request.public)
    terminal.say(f"{private}: keep it where nobody but the one who signs can read it, and a copy offline")
    add = f"`rmfab trust add {request.public} --role release`"
    terminal.say(f"{request.public}: its public half, for the trust file: {add} (or trust)")


@command.command("pubkey")
@key_option(required=True)
@click.option("-o", "--output", type=FILE, required=True, metavar="FILE", help="The public key to write.")
def pubkey(keys: tuple[str, ...], passphrase_file: Path | None, output: Path) -> None:
    """Write the public half of a key, such as one that never leaves its token."""
    from rmfab.operations.make_release import write_public_key
    from rmfab.operations.signing_keys import KeyChoice

    _show_public(write_public_key(KeyChoice(keys, passphrase_file), output, terminal.TERMINAL), output)


def _show_public(key: VerifyingKey, path: Path) -> None:
    terminal.show({"id": key.id, "kind": key.kind, "public": str(path)}, key.id)


def _written(release: WrittenRelease) -> str:
    return "written" if release.written else "is there already"


def _document(release: Release) -> dict[str, object]:
    """The manifest's predicate, flat, and what it does not say of itself."""
    from rmfab.commands.release_text import secure_boot_digests

    predicate: dict[str, object] = json.loads(release.manifest)["predicate"]
    named = {"source": release.source, "digest": release.digest}
    return named | predicate | {"secure_boot_signatures": secure_boot_digests(release)}
