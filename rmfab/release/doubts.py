"""What is worth a warning about a release, but no reason to refuse it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rmfab.product.product import Product
from rmfab.release.origin import BuildOrigin
from rmfab.release.release import Release


@dataclass(frozen=True)
class Doubt:
    """A warning about a release: *what*, and the *hint* what to check."""

    what: str
    hint: str


def doubts_about(release: Release, product: Product | None = None) -> Iterator[Doubt]:
    """Yield the doubts about a release, and about what the build does not show of *product*."""
    yield from _table_doubts(release)
    if release.origin is not None:
        yield from _origin_doubts(release.origin)
    if release.configured.nvs_hmac:
        yield Doubt(
            "the firmware burns an eFuse key at its first boot (CONFIG_NVS_SEC_KEY_PROTECT_USING_HMAC)",
            "a board that has booted cannot go back: try one board first",
        )
    if product is not None and (unsaid := release.configured.unsaid(product)):
        keys = ", ".join(fact.product_key for fact in unsaid)
        yield Doubt(
            f"the build does not show how it was configured; compare {keys} with the firmware",
            "keep config/sdkconfig.json in the build folder, then rmfab compares them",
        )


def _origin_doubts(origin: BuildOrigin) -> Iterator[Doubt]:
    if origin.changes is not None:
        yield Doubt(origin.changes, "commit them before you release: no one can build this again from the commit")
    if origin.problem:
        yield Doubt(f"git does not report the commit of the sources: {origin.problem}", origin.remedy)


def _table_doubts(release: Release) -> Iterator[Doubt]:
    for row in release.table.partitions:
        if row.other_flags:
            yield Doubt(
                f'the partition "{row.label}" has unknown flags 0x{row.other_flags:x}, which ESP-IDF ignores',
                "check the last column of the partition table",
            )
