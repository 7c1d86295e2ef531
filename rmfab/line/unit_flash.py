"""The flash of a unit whose firmware ran: the way back into its loader, and the proof that it is the same unit."""

from __future__ import annotations

import hashlib

from rmfab.board.esp.facts import BoardFacts, refuse_chip, refuse_security
from rmfab.board.esp.loader import Loader
from rmfab.errors import UnitFault
from rmfab.identity.factory_image import factory_image
from rmfab.identity.identity import Identity
from rmfab.line.visit import Visit
from rmfab.nvs.reader import read_image
from rmfab.product.vocabulary import Credentials
from rmfab.release.plan import factory_partition
from rmfab.release.release import Release
from rmfab.secret import Secret


def into_stub(visit: Visit) -> tuple[Loader, BoardFacts]:
    """Bring the board into its loader, with the stub. Check that it is still the same board."""
    loader, facts = visit.board.into_loader()
    refuse_security(facts)
    refuse_chip(facts, visit.job.product.chip)
    return loader, loader.prepare()


def own_factory(visit: Visit, loader: Loader, identity: Identity, release: Release) -> str:
    """Return the MD5 of the factory partition. Raise UnitFault if the partition is not that of the unit's identity.

    Self or assisted claiming changes the partition; it then must contain the unit's own `random`.
    """
    product = visit.job.product
    partition = factory_partition(release.table, product.factory)
    found = loader.md5(partition.offset, partition.size)
    if found == hashlib.md5(factory_image(identity, product), usedforsecurity=False).hexdigest():
        return found
    if product.identity.credentials is Credentials.CLOUD_CLAIM:
        held = read_image(loader.read(partition.offset, partition.size)).value(product.factory.namespace, "random")
        if isinstance(held, bytes) and Secret(held) == identity.random:
            return found
    raise _changed()


def same_factory(visit: Visit, loader: Loader, release: Release, digest: str) -> None:
    """Raise UnitFault unless the factory partition still has the MD5 *digest*."""
    partition = factory_partition(release.table, visit.job.product.factory)
    if loader.md5(partition.offset, partition.size) != digest:
        raise _changed()


def _changed() -> UnitFault:
    return UnitFault(
        "the factory partition has changed since it was flashed",
        hint="write it again (`rmfab run`); if it changes again, void the unit",
        cause="factory-changed",
    )
