"""Packing the factory images of a batch, on all cores if the batch is large enough.

Workers only pack and write no files, so a worker that dies leaves no partial file.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from itertools import tee

from rmfab.identity.factory_image import factory_image
from rmfab.identity.identity import Identity
from rmfab.product.product import Product
from rmfab.secret import Secret
from rmfab.workers.crew import cores, open_crew
from rmfab.workers.feeding import chunked

_WORTH_SPREADING = 1000
_IMAGES_AT_ONCE = 64


def pack_images(
    identities: Iterable[Identity], count: int, product: Product
) -> Generator[tuple[Identity, bytes], None, None]:
    """Yield each of *identities*, about *count*, with its factory image, in order.

    Close the iterator to stop early. Raise what *identities* and `factory_image` raise, StationError if a worker dies.
    """
    jobs = cores() if count >= _WORTH_SPREADING else 1
    kept, sent = tee(chunked(identities, _IMAGES_AT_ONCE if jobs > 1 else 1))
    with open_crew(_Packer, product, jobs) as crew:
        packed = crew.run(_Packer.pack, ([_PlainIdentity.of(each) for each in chunk] for chunk in sent))
        for (_, images), chunk in zip(packed, kept, strict=False):
            yield from zip(chunk, images, strict=True)


@dataclass(frozen=True, repr=False, slots=True)
class _PlainIdentity:
    """An identity on its way to a worker, through a private pipe: `Secret` cannot be pickled."""

    serial: str
    node_id: str | None
    certificate_pem: bytes | None
    private_key_pem: bytes | None
    random: bytes
    sec2_salt: bytes | None
    sec2_verifier: bytes | None
    service_name: str
    extra: dict[tuple[str, str], str]

    @classmethod
    def of(cls, identity: Identity) -> _PlainIdentity:
        """Return *identity* with its secrets unwrapped."""
        return cls(
            serial=identity.serial,
            node_id=identity.node_id,
            certificate_pem=identity.certificate_pem,
            private_key_pem=_bare(identity.private_key_pem),
            random=identity.random.reveal(),
            sec2_salt=identity.sec2_salt,
            sec2_verifier=_bare(identity.sec2_verifier),
            service_name=identity.service_name,
            extra={name: cell.reveal() for name, cell in identity.extra.items()},
        )

    def wrapped(self) -> Identity:
        """Return the identity."""
        return Identity(
            serial=self.serial,
            node_id=self.node_id,
            certificate_pem=self.certificate_pem,
            private_key_pem=_secret(self.private_key_pem),
            random=Secret(self.random),
            sec2_salt=self.sec2_salt,
            sec2_verifier=_secret(self.sec2_verifier),
            service_name=self.service_name,
            extra={name: Secret(cell) for name, cell in self.extra.items()},
        )


def _bare(secret: Secret[bytes] | None) -> bytes | None:
    return None if secret is None else secret.reveal()


def _secret(value: bytes | None) -> Secret[bytes] | None:
    return None if value is None else Secret(value)


class _Packer:
    """Packer of images of one product."""

    def __init__(self, product: Product) -> None:
        self._product = product

    def pack(self, identities: Sequence[_PlainIdentity]) -> list[bytes]:
        """Return the images of a chunk."""
        return [factory_image(each.wrapped(), self._product) for each in identities]
