"""Batches as Espressif's tools leave them: an output folder of the rainmaker admin CLI, folders of claimed boards.

Made with cryptography and Espressif's own NVS generator, apart from rmfab. Source of names, columns and line ends:
esp-rainmaker-admin-cli, rmaker_admin_lib/certs.py; esp-rainmaker-cli, rmaker_tools/rmaker_claim/claim.py.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from esp_idf_nvs_partition_gen import nvs_partition_gen

HOST = "mqtt.example.org"
CONFIG = (
    "rmaker_creds,namespace,",
    "node_id,data,binary",
    "mqtt_host,data,binary",
    "mqtt_cred_host,data,binary",
    "client_cert,file,binary",
    "client_key,file,binary",
    "random,data,hex2bin",
)
_NO_CA = x509.BasicConstraints(ca=False, path_length=None)
_A_CA = x509.BasicConstraints(ca=True, path_length=None)
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass
class Ca:
    """A CA as the admin CLI makes it."""

    key: PrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    name: str = "admin CA"

    def __post_init__(self) -> None:
        self.certificate = self._signed(self.name, self.key, _A_CA)

    def issue(self, name: str, key: PrivateKey) -> bytes:
        """Return a device certificate in PEM."""
        return self._signed(name, key, _NO_CA).public_bytes(serialization.Encoding.PEM)

    def _signed(self, name: str, key: PrivateKey, constraints: x509.BasicConstraints) -> x509.Certificate:
        now = datetime.now(UTC).replace(tzinfo=None)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=365 * 100))
            .add_extension(constraints, critical=True)
            .sign(self.key, hashes.SHA256())
        )


@dataclass
class Node:
    """One unit: what the CSVs and the image say of it. *extra*: its cells of additional columns."""

    node_id: str
    certificate: bytes
    key: bytes
    random: str = field(default_factory=lambda: secrets.token_hex(64))
    host: str = HOST
    extra: Sequence[str] = ()

    @property
    def qr(self) -> str:
        """The payload of its QR code."""
        name = f"PROV_{self.random[-6:]}"
        return json.dumps({"ver": "v1", "name": name, "pop": self.random[:8], "transport": "ble"})


def draw_node(ca: Ca, node_id: str, key: PrivateKey | None = None) -> Node:
    """Return a new unit."""
    private = key or ec.generate_private_key(ec.SECP256R1())
    return Node(node_id, ca.issue(node_id, private), traditional(private))


def traditional(key: PrivateKey) -> bytes:
    """Return *key* as SEC1 or PKCS #1 PEM."""
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def write_admin_batch(
    parent: Path, ca: Ca, nodes: Sequence[Node], extra_config: Sequence[str] = (), extra_names: Sequence[str] = ()
) -> Path:
    """Write an output folder of the admin CLI with *nodes* in *parent*; return it.

    Its CSVs name files as *parent* does: from the working directory, or by absolute paths.
    """
    folder = parent / "out/2026-01-31/Mfg-000001"
    for name in ("bin", "csv", "common", "node_details"):
        (folder / name).mkdir(parents=True)
    common = folder / "common"
    config = (*CONFIG, *extra_config)
    (common / "ca.crt").write_bytes(ca.certificate.public_bytes(serialization.Encoding.PEM))
    (common / "ca.key").write_bytes(traditional(ca.key))
    (common / "endpoint.txt").write_text(HOST)
    (common / "config.csv").write_text("".join(f"{line}\n" for line in config))
    with (common / "values.csv").open("w", newline="") as sheet, (common / "node_certs.csv").open("w") as certs:
        names = ("id", "node_id", "mqtt_host", "mqtt_cred_host", "client_cert", "client_key", "random", "qrcode")
        sheet.write(",".join([*names, *extra_names]) + "\n")
        certs.write("node_id,certs,qrcode\n")
        for number, node in enumerate(nodes, 1):
            row = _write_node(folder, number, node)
            csv.writer(sheet).writerow([*row, node.qr, *node.extra])
            quoted = node.qr.replace('"', '""')
            certs.write(f'{node.node_id},"{node.certificate.decode()}","{quoted}"\n')
            keys = dict(zip([*names, *extra_names], [*row, node.qr, *node.extra], strict=True))
            write_image(folder, f"node-{number:06d}-{node.node_id}", config, keys)
    return folder


def _write_node(folder: Path, number: int, node: Node) -> list[str]:
    """Write the files of *node*; return its cells from `id` to `random`."""
    details = folder / "node_details" / f"node-{number:06d}-{node.node_id}"
    details.mkdir()
    files = {"node.crt": node.certificate, "node.key": node.key, "random.txt": node.random.encode()}
    for name, data in files.items():
        (details / name).write_bytes(data)
    (details / "qrcode.txt").write_text(node.qr)
    return [str(number), node.node_id, node.host, "", f"{details}/node.crt", f"{details}/node.key", node.random]


def write_image(folder: Path, name: str, config: Sequence[str], cells: dict[str, str]) -> None:
    """Write csv/NAME.csv, and bin/NAME.bin by Espressif's generator."""
    sheet = folder / "csv" / f"{name}.csv"
    with sheet.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["key", "type", "encoding", "value"])
        for line in config:
            key, kind, encoding = line.split(",")
            writer.writerow([key, kind, encoding, "" if kind == "namespace" else cells[key]])
    generate_image(sheet, folder / "bin", f"{name}.bin")


def generate_image(sheet: Path, folder: Path, name: str) -> None:
    """Write the image of the CSV of one device by Espressif's generator."""
    request = SimpleNamespace(input=str(sheet), output=name, size="0x3000", version=2, outdir=str(folder))
    with contextlib.redirect_stdout(io.StringIO()):
        nvs_partition_gen.generate(request)


def write_claimed(folder: Path, mac: str, node: Node) -> Path:
    """Write the folder of a claimed board; return it."""
    place = folder / mac
    place.mkdir(parents=True)
    files = {
        "node.info": node.node_id.encode(),
        "endpoint.info": node.host.encode(),
        "mqtt_cred_host.info": b"",
        "node.crt": node.certificate,
        "node.key": node.key,
        "random.info": node.random.encode(),
    }
    for name, data in files.items():
        (place / name).write_bytes(data)
    (place / "node_info.csv").write_text(
        "key,type,encoding,value\nrmaker_creds,namespace,,\n"
        f"node_id,file,binary,{place}/node.info\nmqtt_host,file,binary,{place}/endpoint.info\n"
        f"mqtt_cred_host,file,binary,{place}/mqtt_cred_host.info\nclient_cert,file,binary,{place}/node.crt\n"
        f"client_key,file,binary,{place}/node.key\nrandom,file,hex2bin,{place}/random.info\n"
    )
    generate_image(place / "node_info.csv", place, f"{mac}.bin")
    return place
