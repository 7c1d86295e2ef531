"""The text of `rmfab release show`."""

from __future__ import annotations

from collections.abc import Iterator

from rmfab.release.edition import moment
from rmfab.release.parts import APP, BOOTLOADER
from rmfab.release.provenance import source_commit
from rmfab.release.release import Release
from rmfab.release.sbom import SBOM_NAMES, sbom_format
from rmfab.signing.publickey import short


def release_lines(release: Release, signatures: list[str]) -> Iterator[str]:
    """Yield the lines of `rmfab release show`; *signatures* are the ids of the keys that signed."""
    yield from _head(release, signatures)
    yield ""
    yield f"{'part':<20}{'offset':>10}{'size':>10}  SHA-256"
    for part in release.parts:
        yield f"{part.name:<20}{part.offset:>#10x}{part.size:>#10x}  {part.sha256}"
    yield ""
    yield f"{'partition':<20}{'offset':>10}{'size':>10}  {'type':<12}usage"
    for row in release.table.partitions:
        yield f"{row.label:<20}{row.offset:>#10x}{row.size:>#10x}  {row.type:02x} {row.subtype:02x}       {row.usage}"
    if release.edition.notes:
        yield ""
        yield from release.edition.notes.rstrip().splitlines()


def _head(release: Release, signatures: list[str]) -> Iterator[str]:
    app, edition = release.app, release.edition
    yield f"{release.name} for {release.chip.value}, ESP-IDF {release.idf_version}"
    facts = {
        "release digest": release.digest,
        "seq": None if release.seq is None else str(release.seq),
        "commit": _commit(release),
        "sources of": None if edition.created is None else moment(edition.created),
        "app version": app.version if app.version != release.version else None,
        "app ELF SHA-256": app.elf_sha256,
        "flash": f"{release.flash_size >> 20} MB, {release.flash_mode}, {release.flash_freq}",
        "configured": ", ".join(_configured(release)) or None,
        "secure boot": _secure_boot(release),
        "documents": ", ".join(one.name for one in release.documents) or None,
        "bill of materials": next((sbom_format(one) for one in release.documents if one.name in SBOM_NAMES), None),
        "signed by": ", ".join(map(short, signatures)) or "no one",
    }
    for name, value in facts.items():
        if value is not None:
            yield f"{name:<18}{value}"


def _commit(release: Release) -> str | None:
    found = source_commit(release)
    return None if found is None else found[0] + (", but files were modified" if found[1] else "")


def _configured(release: Release) -> Iterator[str]:
    built = release.configured
    if built.security is not None:
        yield f"security {built.security.value}"
    if built.transport is not None:
        yield built.transport.value
    if built.qr is not None:
        yield f"QR {built.qr.value}"
    if built.name_prefix is not None:
        yield f"names {built.name_prefix}_…"
    for name, word in (
        ("secure_boot", "secure boot"),
        ("flash_encryption", "flash encryption"),
        ("rollback", "rollback"),
        ("anti_rollback", f"anti-rollback (secure version {release.app.secure_version})"),
    ):
        if getattr(built, name):
            yield word


def secure_boot_digests(release: Release) -> dict[str, list[dict[str, str]]]:
    """Return the signature blocks of both images: scheme, and the key digest as burned into eFuses."""
    blocks = {BOOTLOADER: release.bootloader_signatures, APP: release.app_signatures}
    return {
        name: [{"scheme": one.scheme.value, "key_digest": one.key_digest} for one in found]
        for name, found in blocks.items()
    }


def _secure_boot(release: Release) -> str | None:
    found = secure_boot_digests(release)
    texts = [
        f"{name} {block['scheme']} {short(block['key_digest'])}…" for name, blocks in found.items() for block in blocks
    ]
    return ", ".join(texts) or None
