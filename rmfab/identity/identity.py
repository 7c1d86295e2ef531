"""The identity of one device: its names, its credentials, and the secrets that protect its provisioning.

Proof of possession and service name are derived from `random` as in stock firmware. Source: esp-rainmaker,
examples/common/rmaker_app_network/app_network.c (get_device_service_name, get_device_pop).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from rmfab.files import is_safe_name
from rmfab.identity import node_id as node_ids
from rmfab.identity import sec2_verifier
from rmfab.identity.extra_keys import Extra
from rmfab.product.product import Provisioning
from rmfab.product.vocabulary import Security
from rmfab.secret import Secret

RANDOM_BYTES = 64


@dataclass(frozen=True)
class Identity:
    """The names and secrets of one device.

    *node_id*, *certificate_pem* and *private_key_pem* are None if the device gets its credentials by self or assisted
    claiming; the key is PEM as SEC1 or PKCS #1. *random* has 64 bytes. *sec2_salt* (16 bytes) and *sec2_verifier*
    (big-endian, at most 384 bytes) are set for security 2. *extra* contains the cells of the product's own mass_mfg
    columns, by namespace and key.
    """

    serial: str
    node_id: str | None
    certificate_pem: bytes | None
    private_key_pem: Secret[bytes] | None
    random: Secret[bytes]
    sec2_salt: bytes | None
    sec2_verifier: Secret[bytes] | None
    service_name: str
    extra: Extra = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not is_safe_name(self.serial):
            raise ValueError(f"serial {self.serial!r} is not a valid file name")
        credentials = (self.node_id, self.certificate_pem, self.private_key_pem)
        if len({value is None for value in credentials}) != 1:
            raise ValueError("node id, certificate and key must be given together")
        if self.node_id is not None:
            node_ids.check(self.node_id)
        if (self.sec2_salt is None) != (self.sec2_verifier is None):
            raise ValueError("sec2 salt and verifier must be given together")
        prefix = self.service_name.rpartition("_")[0]
        if len(self.random.reveal()) != RANDOM_BYTES or self.service_name != service_name(prefix, self.random):
            raise ValueError("random must have 64 bytes, and the service name must be derived from it")

    @property
    def pop(self) -> Secret[str]:
        """The proof of possession, which a phone needs to provision the unit."""
        return pop_of(self.random)


@dataclass(frozen=True)
class Drawn:
    """The random values of an identity, and what is derived from them."""

    random: Secret[bytes]
    sec2_salt: bytes | None
    sec2_verifier: Secret[bytes] | None
    service_name: str

    @property
    def pop(self) -> Secret[str]:
        """The proof of possession."""
        return pop_of(self.random)


def draw(source: Callable[[int], bytes], provisioning: Provisioning) -> Drawn:
    """Return a new `random` and what is derived from it; *source* returns as many random bytes as requested.

    `random` is drawn again if a stock Python client could not verify its PoP.
    """
    random = Secret(source(RANDOM_BYTES))
    while not sec2_verifier.is_usable(provisioning.username, pop_of(random)):
        random = Secret(source(RANDOM_BYTES))
    return with_verifier(
        Drawn(random, None, None, service_name(provisioning.name_prefix, random)), provisioning, source
    )


def with_verifier(drawn: Drawn, provisioning: Provisioning, source: Callable[[int], bytes]) -> Drawn:
    """Return *drawn* with a new sec2 salt and its verifier, if the product uses security 2 and it has none."""
    if provisioning.security is not Security.SRP6A or drawn.sec2_salt is not None:
        return drawn
    salt = sec2_verifier.draw_salt(source)
    verifier = sec2_verifier.verifier(provisioning.username, drawn.pop, salt)
    return replace(drawn, sec2_salt=salt, sec2_verifier=verifier)


def pop_of(random: Secret[bytes]) -> Secret[str]:
    """Return the first four bytes of *random* in lower-case hex."""
    return Secret(random.reveal()[:4].hex())


def service_name(prefix: str, random: Secret[bytes]) -> str:
    """Return the BLE or SoftAP name of an unprovisioned unit: *prefix*, `_`, last three bytes of *random* in hex."""
    return f"{prefix}_{random.reveal()[-3:].hex()}"
