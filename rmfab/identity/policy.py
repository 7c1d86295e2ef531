"""The policy of a batch: the part of product.toml that identities depend on, as values for the ledger.

A batch keeps its policy: identities of a different policy would not match the product's firmware, label or
certificates.
"""

from __future__ import annotations

import hashlib
import json

from rmfab.files import read_input
from rmfab.product.product import Product
from rmfab.product.toml_reader import as_toml

_CONFIG = "[factory] config"


def policy(product: Product) -> dict[str, str | int]:
    """Return the policy by key path of product.toml. The extra mass_mfg config counts by the SHA-256 of its file."""
    config = product.factory.config
    return {
        "[identity] credentials": product.identity.credentials.value,
        "[identity] node_id": product.identity.node_id.value,
        "[identity] key": product.identity.key.value,
        "[identity] mqtt_host": product.identity.mqtt_host,
        "[identity] mqtt_cred_host": product.identity.mqtt_cred_host,
        "[certificate] profile": product.certificate.profile.value,
        "[certificate] validity": product.certificate.validity_days or "9999-12-31",
        "[provisioning] security": int(product.provisioning.security),
        "[provisioning] username": product.provisioning.username,
        "[provisioning] transport": product.provisioning.transport.value,
        "[provisioning] name_prefix": product.provisioning.name_prefix,
        "[provisioning] qr": product.provisioning.qr.value,
        "[factory] size": product.factory.size,
        "[factory] namespace": product.factory.namespace,
        _CONFIG: hashlib.sha256(read_input(config, "extra config")).hexdigest() if config else "",
    }


def differences(stored: str, product: Product) -> list[str]:
    """Return the key paths that differ between a batch's policy (JSON, as `policy` returns it) and *product*."""
    made_for = json.loads(stored)
    current = policy(product)
    return [
        f"{path} was {_shown(path, made_for.get(path, ''))}, is {_shown(path, current.get(path, ''))}"
        for path in sorted(made_for.keys() | current.keys())
        if path.startswith("[") and made_for.get(path) != current.get(path)
    ]


def _shown(path: str, value: str | int) -> str:
    """Return a value as it is in product.toml; of a file only its digest is known."""
    if path != _CONFIG:
        return as_toml(value)
    return f"a file with SHA-256 {value!s:.16}…" if value else "no file"
