"""`rmfab release`: build, sign, verify or show firmware releases; make signing keys."""

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
    """Build, sign, verify or show firmware releases; make keys.

    A release is a bundle file or a build; signed releases are bundles.

    \b
    rmfab release keygen -o release.key
    rmfab release build build -o lamp-1.4.0.rmfab --seq 14
    rmfab release sign lamp-1.4.0.rmfab --key release.key
    """


@command.command("build")
@click.argument("source", metavar="BUILD", type=FILE)
@output_option
@click.option("--release-version", help="Version of the release (default: the app's version).")
@click.option("--version", "former_version", hidden=True)
@click.option(
    "--seq",
    type=click.IntRange(0),
    help="Sequence number, higher than that of all earlier releases (default: product.toml).",
)
@click.option("--notes", default="", metavar="TEXT", help="Release notes; @FILE reads them from a file.")
@click.option("--sbom", type=FILE, metavar="FILE", help="Software bill of materials, SPDX or CycloneDX.")
@click.option("--no-sbom", is_flag=True, help="Do not create an SBOM with esp-idf-sbom, even if it is installed.")
@click.option(
    "--after", type=FILE, metavar="FILE", help="Previous release: require that seq and secure version do not go back."
)
@click.option(
    "--table-offset",
    metavar="OFFSET",
    help="Flash offset of the partition table, such as 0x8000, for builds that do not contain it.",
)
@click.option("--require-clean", is_flag=True, help="Reject sources that differ from their git commit.")
@click.option("--force", is_flag=True, help="Replace an existing bundle.")
def build(
    release_version: str | None,
    former_version: str | None,
    seq: int | None,
    notes: str,
    sbom: Path | None,
    no_sbom: bool,
    table_offset: str | None,
    require_clean: bool,
    **options: Any,
) -> None:
    """Pack a build into one bundle file.

    BUILD is the build folder of ESP-IDF, PlatformIO or the Arduino IDE, a zip of one, or a merged image. Builds are
    reproducible. Rejects releases that would brick a board or that the nearest product.toml does not allow, and with
    --after, downgrades. Warns if tracked files differ from the git commit.
    """
    from rmfab.operations.make_release import BundleRequest, build_release
    from rmfab.product.size import parse_size
    from rmfab.release.build import BuildRequest

    version = release_version or former_version or ""
    offset = None if table_offset is None else parse_size(table_offset)
    edition = BuildRequest(
        version, seq, notes=notes, sbom=sbom, make_sbom=not no_sbom, table_offset=offset, require_clean=require_clean
    )
    request = BundleRequest(edition=edition, **options)
    built = build_release(terminal.nearest_workspace(), request, terminal.TERMINAL)
    release = built.release
    terminal.say(f"{release.name} for {release.chip.value}, seq {release.seq}: {built.path} {_written(built)}")
    terminal.show(_document(release) | {"source": str(built.path)}, release.digest)


@command.command("sign")
@click.argument("bundle", metavar="FILE", type=FILE)
@key_option(required=True)
@click.option("--replace", is_flag=True, help="Drop the existing signatures, such as that of a revoked key.")
@click.option("-o", "--output", type=FILE, metavar="FILE", help="Signed bundle to write (default: in place).")
@click.option("--force", is_flag=True, help="Replace an existing bundle with --output.")
def sign(keys: tuple[str, ...], passphrase_file: Path | None, **options: Any) -> None:
    """Add signatures to a release bundle.

    Each --key adds one; existing signatures stay. The signed manifest contains the digests of all parts. Warns if the
    trust file of the workspace, if there is one, would not accept a signature.

    \b
    rmfab release sign lamp.rmfab --key release.key --passphrase-file release.pass
    rmfab release sign lamp.rmfab --key 'pkcs11:token=ci;object=release'
    """
    from rmfab.operations.make_release import SignRequest, sign_release
    from rmfab.operations.signing_keys import KeyChoice
    from rmfab.signing.publickey import short

    request = SignRequest(keys=KeyChoice(keys, passphrase_file), **options)
    signed = sign_release(terminal.nearest_workspace(), request, terminal.TERMINAL)
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
    """Check whether a station would accept a release.

    Checks the signatures, the digests and images, the flash layout, the product, and that the ledger, if there is one,
    has not accepted a newer release. Trust comes from --trust or the workspace; without either, signatures are not
    checked (a warning says so).

    \b
    rmfab release verify lamp-1.4.0.rmfab --trust trust.json
    """
    from rmfab.operations.accept_release import TrustChoice
    from rmfab.operations.make_release import verify_release
    from rmfab.report.junit import report_of

    choice = TrustChoice(trust_file, allow_unknown)
    with report_of("rmfab release verify", junit) as cases:
        accepted = verify_release(release, terminal.nearest_workspace(), choice, terminal.TERMINAL, cases)
    signers = [{"id": one.id, "name": one.name} for one in accepted.signers]
    trusted = accepted.trust.summary if accepted.trust is not None else None
    document = _document(accepted.release) | {"signers": signers, "trust": trusted}
    terminal.show(document, f"{accepted.release.digest}  {accepted.release.source}")


@command.command("show")
@click.argument("release", type=FILE)
def show(release: Path) -> None:
    """Show the app, parts, partitions and signers of a release.

    Nothing is checked.
    """
    from rmfab.commands.release_text import release_lines
    from rmfab.operations.make_release import read_release
    from rmfab.release.provenance import source_commit

    read, key_ids = read_release(release)
    text = "\n".join(release_lines(read, list(key_ids)))
    commit, modified = source_commit(read) or (None, None)
    sources = {"commit": commit, "modified": modified}
    terminal.show(_document(read) | sources | {"signatures": list(key_ids)}, text)


@command.command("keygen")
@click.option("-o", "--output", "private", type=FILE, required=True, metavar="FILE",
              help="Private key to write; the public key is written beside it as .pub.")  # fmt: skip
@click.option("--kind", type=click.Choice(KINDS), default=KINDS[0], show_default=True, help="Key type.")
@click.option("--no-passphrase", "bare", is_flag=True, help="Leave the private key unencrypted.")
@passphrase_file_option
def keygen(private: Path, kind: str, bare: bool, passphrase_file: Path | None) -> None:
    """Make a key pair that signs releases.

    An existing key is never replaced.
    """
    from rmfab.operations.make_release import KeyPairRequest, make_key_pair
    from rmfab.signing.signer import SigningKeyKind

    request = KeyPairRequest(private, SigningKeyKind(kind), bare, passphrase_file)
    _show_public(make_key_pair(request, terminal.TERMINAL), request.public)
    terminal.say(f"{private}: private key; only its owner should be able to read it; keep an offline copy")
    add = f"`rmfab trust add {request.public} --role release`"
    terminal.say(f"{request.public}: public key; add it to a trust file with {add} (or --role trust)")


@command.command("pubkey")
@key_option(required=True)
@click.option("-o", "--output", type=FILE, required=True, metavar="FILE", help="Public key to write.")
def pubkey(keys: tuple[str, ...], passphrase_file: Path | None, output: Path) -> None:
    """Write the public key of a signing key.

    Use it for keys that never leave their token.
    """
    from rmfab.operations.make_release import write_public_key
    from rmfab.operations.signing_keys import KeyChoice

    _show_public(write_public_key(KeyChoice(keys, passphrase_file), output, terminal.TERMINAL), output)


def _show_public(key: VerifyingKey, path: Path) -> None:
    terminal.show({"id": key.id, "kind": key.kind, "public": str(path)}, key.id)


def _written(release: WrittenRelease) -> str:
    return "written" if release.written else "unchanged"


def _document(release: Release) -> dict[str, object]:
    """Return the manifest's predicate, flat, with source, digest and secure boot signatures."""
    from rmfab.commands.release_text import secure_boot_digests

    predicate: dict[str, object] = json.loads(release.manifest)["predicate"]
    named = {"source": release.source, "digest": release.digest}
    return named | predicate | {"secure_boot_signatures": secure_boot_digests(release)}
