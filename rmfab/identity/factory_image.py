"""The factory image: the content of one unit's factory partition.

Every RainMaker key is an NVS blob, and text has no terminating NUL: firmware reads nothing else. Source:
esp-rainmaker-common, src/factory.c (esp_rmaker_factory_get); esp-rainmaker, app_network.c (sec2 pair).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from rmfab.errors import InputError
from rmfab.identity.extra_keys import as_data, load_extra
from rmfab.identity.identity import Identity
from rmfab.nvs.encoding import RowEncoder
from rmfab.nvs.grammar import Config, Row
from rmfab.nvs.packing import pack
from rmfab.nvs.table import Entry, EntryKind, Namespace
from rmfab.product.product import Factory, Product
from rmfab.product.vocabulary import Credentials, Security


def factory_image(identity: Identity, product: Product) -> bytes:
    """Return the image of *identity*, exactly as large as `[factory] size`.

    Raise InputError if the identity was not made for this product or does not fit, IntegrityError if reading the image
    back gives a different result.
    """
    return pack(entries(identity, product), product.factory.size)


def entries(identity: Identity, product: Product) -> list[Entry | Namespace]:
    """Return the entries of the image in order: RainMaker's keys, then those of the extra config."""
    namespace = product.factory.namespace
    own = [Entry(namespace, key, EntryKind.BLOB, value) for key, value in rainmaker_values(identity, product)]
    return [*own, *extra_items(identity, product)]


def rainmaker_values(identity: Identity, product: Product) -> list[tuple[str, bytes]]:
    """Return RainMaker's keys and their bytes.

    Raise InputError if the identity lacks what the product requires.
    """
    values = []
    if product.identity.credentials is Credentials.CERTIFICATE:
        if identity.node_id is None or identity.certificate_pem is None or identity.private_key_pem is None:
            raise _lacking(identity, "certificate", '[identity] credentials = "certificate"')
        values += [
            ("node_id", identity.node_id.encode()),
            ("mqtt_host", product.identity.mqtt_host.encode()),
            ("mqtt_cred_host", product.identity.mqtt_cred_host.encode()),
            ("client_cert", identity.certificate_pem),
            ("client_key", identity.private_key_pem.reveal()),
        ]
    values.append(("random", identity.random.reveal()))
    if product.provisioning.security is Security.SRP6A:
        if identity.sec2_salt is None or identity.sec2_verifier is None:
            raise _lacking(identity, "sec2 verifier", "[provisioning] security = 2")
        values += [("sec2_salt", identity.sec2_salt), ("sec2_verifier", identity.sec2_verifier.reveal())]
    return values


def extra_cells(identity: Identity, config: Config) -> tuple[str, ...]:
    """Return the cells of *identity* in the order of the extra *config*. Raise InputError if they do not match."""
    wanted = [(column.namespace, column.key) for column in config.columns]
    if set(wanted) != set(identity.extra):
        raise InputError(
            f"the columns of this identity differ from those of {config.path}",
            where=identity.serial,
            hint="restore the config that the batch was generated with",
            cause="extra-config",
        )
    return tuple(identity.extra[name].reveal() for name in wanted)


def extra_items(identity: Identity, product: Product) -> Sequence[Entry | Namespace]:
    """Return the entries of the extra config. Raise InputError if *identity* was made for a different one."""
    config = load_extra(product.factory)
    if config is None:
        if identity.extra:
            raise _lacking(identity, "place for its extra values", "[factory] config")
        return ()
    cells = extra_cells(identity, config)
    return _encoder(product.factory).items(Row(0, cells, cells))


@lru_cache(maxsize=8)
def _encoder(factory: Factory) -> RowEncoder:
    config = load_extra(factory) or Config(Path(), ())
    return RowEncoder(as_data(config), Path("ledger"))


def _lacking(identity: Identity, what: str, key_path: str) -> InputError:
    return InputError(
        f"this identity has no {what}, which the product now requires",
        where=identity.serial,
        hint=f"restore {key_path} as it was when the batch was generated",
        cause="policy-mismatch",
    )
