"""The judge of a unit from elsewhere: it fits the product, its credentials belong together, and rmfab would write the
same image.

PoP and service name are derived from `random` as in stock firmware (`rmfab.identity.identity`).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from rmfab.errors import InputError, one_line
from rmfab.exchange.found_unit import FoundUnit, checked_node_id
from rmfab.files import is_safe_name
from rmfab.identity import keypair, sec2_verifier
from rmfab.identity.certificate import common_names, is_issued_by
from rmfab.identity.extra_keys import RAINMAKER_KEYS, as_data, load_extra
from rmfab.identity.factory_image import extra_items
from rmfab.identity.identity import RANDOM_BYTES, Drawn, Identity, service_name
from rmfab.identity.keypair import PrivateKey
from rmfab.identity.record_sealer import Certified
from rmfab.identity.unit_signature import signed_by
from rmfab.json_text import parse_json
from rmfab.nvs.grammar import Column, Encoding
from rmfab.nvs.table import Entry, EntryKind, Value
from rmfab.product.product import Product
from rmfab.product.vocabulary import KeyKind, Security
from rmfab.secret import Secret

_MESSAGE = b"rmfab import"
_LONGEST_QR = 1 << 12
_HOST = re.compile(r"[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,7}")


@dataclass(frozen=True, repr=False)
class JudgedUnit:
    """A unit that can be imported. *drawn* has no sec2 pair if its image has none. *extra*: namespace, key and cell of
    each column of the extra config."""

    where: str
    serial: str | None
    certified: Certified
    drawn: Drawn
    extra: tuple[tuple[str, str, str], ...]


class UnitJudge:
    """Judge of the units of *product*. *authority*: the CA that signed their certificates, None to take any.

    *flashed*: their certificates may have expired since. Raise InputError if the extra config cannot be read.
    """

    def __init__(self, product: Product, authority: x509.Certificate | None, now: datetime, *, flashed: bool) -> None:
        self._product = product
        self._authority = authority
        self._now = now
        self._flashed = flashed
        extra = load_extra(product.factory)
        self._columns = () if extra is None else as_data(extra).columns

    def judge(self, unit: FoundUnit) -> JudgedUnit:
        """Return what the ledger is to keep of *unit*. Raise InputError with the first reason against it."""
        if unit.serial is not None and not is_safe_name(unit.serial):
            raise InputError(
                "the serial is not valid",  # it is not quoted: a wrong --serial-column may be one of secrets
                hint="use 1 to 64 of A-Z a-z 0-9 . _ - and no leading dot: a serial becomes a file name",
            )
        values = self._own_values(unit.entries)
        self._judge_hosts(values)
        certified = self._certified(values)
        drawn = self._drawn(values)
        if unit.qr is not None:
            self._judge_qr(unit.qr, drawn)
        extra = self._extra(unit.entries)
        self._judge_same_extra(unit.entries, certified, drawn, extra)
        return JudgedUnit(unit.where, unit.serial, certified, drawn, extra)

    def _own_values(self, entries: tuple[Entry, ...]) -> Mapping[str, bytes]:
        """Return the values of RainMaker's keys. Raise InputError if one is not a blob: firmware reads nothing else."""
        values = {}
        for entry in entries:
            if entry.namespace != self._product.factory.namespace or entry.key not in RAINMAKER_KEYS:
                continue
            if entry.kind is not EntryKind.BLOB or not isinstance(entry.value, bytes):
                raise InputError(f'"{entry.key}" is a {entry.kind.value}, and firmware reads only blobs')
            values[entry.key] = entry.value
        for key in ("node_id", "mqtt_host", "client_cert", "client_key", "random"):
            if key not in values:
                raise InputError(f'there is no "{key}"', hint="without it, the unit cannot be used with RainMaker")
        return values

    def _judge_hosts(self, values: Mapping[str, bytes]) -> None:
        identity = self._product.identity
        wanted = {"mqtt_host": identity.mqtt_host, "mqtt_cred_host": identity.mqtt_cred_host}
        for key, host in wanted.items():
            told = values.get(key, b"").decode("utf-8", "backslashreplace")
            if told != host:
                shown = f'"{told}"' if not told or _HOST.fullmatch(told) else "not a host"  # columns may be mixed up
                raise InputError(
                    f'{key} is {shown}, the product has "{host}"',
                    hint=f"set [identity] {key} if the product's is wrong; a unit of a different cloud is a different "
                    "product",
                    cause="import-product",
                )

    def _certified(self, values: Mapping[str, bytes]) -> Certified:
        node_id = checked_node_id(values["node_id"])
        certificate = self._certificate(values["client_cert"], node_id)
        key = _private_key(values["client_key"])
        der = certificate.public_bytes(serialization.Encoding.DER)
        if not signed_by(keypair.pem(der, "CERTIFICATE"), _MESSAGE, _signature(key)):
            raise InputError(
                f"the private key does not belong to the certificate of node {node_id}",
                hint="key and certificate are of different units: find out which image each board has",
                cause="import-pair",
            )
        kind = _kind(key)
        if kind is not self._product.identity.key:
            raise InputError(
                f"the key is {'of an unknown kind' if kind is None else kind.value}, "
                f"[identity] key is {self._product.identity.key.value}",
                hint=None if kind is None else f'set [identity] key = "{kind.value}" for this product',
                cause="import-product",
            )
        return Certified(node_id, certificate.serial_number, der, keypair.private_der(key))

    def _certificate(self, pem: bytes, node_id: str) -> x509.Certificate:
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            names = common_names(certificate)
        except ValueError:
            raise InputError("client_cert is not a certificate in PEM", cause="import-unit") from None
        if names != [node_id]:
            told = one_line(", ".join(names), 80)
            raise InputError(
                f'the certificate is that of "{told}", the node id is {node_id}',
                hint="rows and certificates are paired wrongly: find out which image each board has",
                cause="import-pair",
            )
        if pem.count(b"-----BEGIN") != 1:
            raise InputError("client_cert has more than one certificate", cause="import-unit")
        if not self._flashed and not certificate.not_valid_before_utc <= self._now <= certificate.not_valid_after_utc:
            raise InputError("the certificate is not valid now", hint="check the clock", cause="import-unit")
        self._judge_issuer(certificate)
        return certificate

    def _judge_issuer(self, certificate: x509.Certificate) -> None:
        if self._authority is not None and not is_issued_by(certificate, self._authority):
            raise InputError(
                f"the certificate is not signed by the CA {self._authority.subject.rfc4514_string()}",
                hint="the cloud that trusts this CA would not let the unit in",
                cause="import-pair",
            )

    def _drawn(self, values: Mapping[str, bytes]) -> Drawn:
        random = Secret(values["random"])
        if len(values["random"]) != RANDOM_BYTES:
            raise InputError(f'"random" has {len(values["random"])} bytes, not {RANDOM_BYTES}')
        name = service_name(self._product.provisioning.name_prefix, random)
        salt, verifier = values.get("sec2_salt"), values.get("sec2_verifier")
        if salt is None and verifier is None:
            return Drawn(random, None, None, name)
        if salt is None or verifier is None:
            raise InputError("only one of sec2_salt and sec2_verifier is there", cause="import-unit")
        drawn = Drawn(random, salt, Secret(verifier), name)
        self._judge_sec2(drawn, salt)
        return drawn

    def _judge_sec2(self, drawn: Drawn, salt: bytes) -> None:
        """Raise InputError unless every client can use the sec2 pair of *drawn*, and the product has one."""
        provisioning = self._product.provisioning
        if provisioning.security is not Security.SRP6A:
            raise InputError(
                f"the image has a sec2 pair, and [provisioning] security is {int(provisioning.security)}",
                hint="set [provisioning] security = 2",
                cause="import-product",
            )
        fits = len(salt) == sec2_verifier.SALT_BYTES and salt[0] != 0
        if not fits or sec2_verifier.verifier(provisioning.username, drawn.pop, salt) != drawn.sec2_verifier:
            raise InputError(
                "sec2_salt and sec2_verifier do not fit the PoP, or begin with a zero byte",
                hint="no phone could provision this unit",
                cause="import-unit",
            )

    def _judge_qr(self, text: str, drawn: Drawn) -> None:
        """Raise InputError if the QR code *text* is not that of the unit. The PoP is compared, and never quoted."""
        try:
            payload = parse_json(text[:_LONGEST_QR])
        except ValueError:
            payload = None
        if not isinstance(payload, dict):
            raise InputError("the QR code is not JSON", cause="import-unit")
        wanted = {"name": drawn.service_name, "transport": self._product.provisioning.transport.value}
        if self._product.provisioning.has_pop:
            wanted["pop"] = drawn.pop.reveal()
        odd = [key for key, value in wanted.items() if payload.get(key) != value]
        if odd:
            raise InputError(
                f"the QR code has a different {' and '.join(odd)} than this unit of this product",
                hint="compare [provisioning] in product.toml with the firmware and the label",
                cause="import-unit",
            )

    def _extra(self, entries: tuple[Entry, ...]) -> tuple[tuple[str, str, str], ...]:
        found = {(one.namespace, one.key): one for one in entries}
        cells = []
        for column in self._columns:
            entry = found.get((column.namespace, column.key))
            if entry is None or entry.kind is not column.encoding.kind:
                raise InputError(
                    f'the image has no {column.encoding.kind.value} "{column.key}" in namespace "{column.namespace}"',
                    hint="[factory] config must name exactly the further keys of these images",
                    cause="import-product",
                )
            cells.append((column.namespace, column.key, _cell(column, entry.value)))
        return tuple(cells)

    def _judge_same_extra(
        self, entries: tuple[Entry, ...], certified: Certified, drawn: Drawn, extra: tuple[tuple[str, str, str], ...]
    ) -> None:
        """Raise InputError unless the image that rmfab makes has the same further keys and values."""
        own = self._product.factory.namespace
        theirs = {one for one in entries if one.namespace != own or one.key not in RAINMAKER_KEYS}
        identity = Identity(
            serial="unit",
            node_id=certified.node_id,
            certificate_pem=keypair.pem(certified.certificate, "CERTIFICATE"),
            private_key_pem=keypair.private_pem(certified.key),
            random=drawn.random,
            sec2_salt=None,
            sec2_verifier=None,
            service_name=drawn.service_name,
            extra={(namespace, key): Secret(cell) for namespace, key, cell in extra},
        )
        ours = {item for item in extra_items(identity, self._product) if isinstance(item, Entry)}
        if ours != theirs:
            names = ", ".join(sorted({f"{one.namespace}.{one.key}" for one in ours ^ theirs})[:8])
            raise InputError(
                f"this product's images would differ in {names}",
                hint="[factory] config must name exactly the further keys of these images",
                cause="import-product",
            )


def _private_key(pem: bytes) -> PrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InputError("client_key is not an unencrypted private key in PEM", cause="import-pair") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise InputError("client_key is neither an EC nor an RSA key", cause="import-pair")
    return key


def _signature(key: PrivateKey) -> bytes:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(_MESSAGE, ec.ECDSA(hashes.SHA256()))
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.MAX_LENGTH)
    return key.sign(_MESSAGE, pss, hashes.SHA256())


def _kind(key: PrivateKey) -> KeyKind | None:
    if isinstance(key, rsa.RSAPrivateKey):
        return KeyKind.RSA_2048 if key.key_size == 2048 else None
    return {"secp256r1": KeyKind.ECDSA_P256, "secp384r1": KeyKind.ECDSA_P384}.get(key.curve.name)


def _cell(column: Column, value: Value) -> str:
    """Return the cell of a mass_mfg CSV that encodes *value*. Raise InputError if there is none."""
    if column.encoding is Encoding.BASE64 and isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if column.encoding is Encoding.HEX2BIN and isinstance(value, bytes):
        return value.hex()
    try:
        return value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError:
        raise InputError(
            f'"{column.key}" is not text',
            hint='set its encoding in [factory] config to "hex2bin"',
            cause="import-product",
        ) from None
