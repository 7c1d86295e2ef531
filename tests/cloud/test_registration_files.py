"""Registration files: their bytes, what their readers demand, and what is refused before a byte is written."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from rmfab.cloud.aws_bulk import bulk_row, companions
from rmfab.cloud.node import Node
from rmfab.cloud.registration_files import ExportForm, row_form
from rmfab.errors import InputError, IntegrityError
from rmfab.identity.ca import CaKeyKind, CertificateAuthority
from rmfab.identity.certificate import certify
from rmfab.product.product import CertificatePolicy
from rmfab.secret import Secret

NOW = datetime(2026, 11, 29, tzinfo=UTC)
CA = CertificateAuthority.create("lamp Device CA", CaKeyKind.ECDSA_P256, NOW)
NODE_ID = "8vVqUTvyZkBLnjuVWbpqMk"


def certificate(name: str = NODE_ID, ca: CertificateAuthority = CA) -> bytes:
    """Return a certificate of *ca* for the node *name*, DER."""
    made = certify(ca, name, ec.generate_private_key(ec.SECP256R1()).public_key(), CertificatePolicy(), NOW)
    return made.public_bytes(Encoding.DER)


def node(name: str = NODE_ID, serial: str | None = "LMP-000001") -> Node:
    """Return a unit, as its cloud knows it."""
    payload = Secret('{"ver":"v1","name":"PROV_1","pop":"c0ffee11"}')
    return Node(name, certificate(name), serial, "lamp-0001", "verified", "24:0a:c4:00:01:10", payload)


def rows(form: ExportForm, *nodes: Node, **options: bool) -> str:
    """Return the whole file."""
    made = row_form(form, **options)
    return made.head + "".join(map(made.row, nodes))


def test_node_certs() -> None:
    """RainMaker's file has two columns, the certificate in quotes over several lines, and line feeds alone."""
    one = node()
    assert rows(ExportForm.RAINMAKER, one) == f'node_id,certs\n{NODE_ID},"{one.pem}"\n'
    assert "\r" not in rows(ExportForm.RAINMAKER, one)
    assert rows(ExportForm.NEO, one) == rows(ExportForm.RAINMAKER, one)


def test_node_certs_with_qrcode() -> None:
    """The third column has the QR payload, with its quotes doubled; the official reader gets it back."""
    text = rows(ExportForm.RAINMAKER, node(), with_qrcode=True)
    assert text.startswith(f'node_id,certs,qrcode\n{NODE_ID},"-----BEGIN CERTIFICATE-----\n')
    assert text.endswith('-----END CERTIFICATE-----\n","{""ver"":""v1"",""name"":""PROV_1"",""pop"":""c0ffee11""}"\n')
    (row,) = csv.DictReader(io.StringIO(text), strict=True)
    assert json.loads(row["qrcode"])["pop"] == "c0ffee11"


@pytest.mark.parametrize("form", [ExportForm.RAINMAKER, ExportForm.NEO, ExportForm.CSV])
def test_as_strict_readers_read_it(form: ExportForm) -> None:
    """No byte order mark, as many fields in each row as in the header, and each certificate is that of its row."""
    nodes = [node(name, None) for name in (NODE_ID, "node-2", "node.3")]
    text = rows(form, *nodes)
    assert text.encode()[:1].isalpha()
    head, *found = csv.reader(io.StringIO(text), strict=True)
    assert {len(row) for row in found} == {len(head)}
    assert [row[head.index("node_id")] for row in found] == [one.node_id for one in nodes]
    if "certs" in head:
        for row in found:
            (name,) = x509.load_pem_x509_certificate(row[1].encode()).subject
            assert name.value == row[0]


def test_lists() -> None:
    """The lists have what is public about a unit; the one for programs also the certificate; neither has a secret."""
    one = node()
    (listed,) = csv.DictReader(io.StringIO(rows(ExportForm.CSV, one)))
    assert listed == {
        "serial": "LMP-000001",
        "node_id": NODE_ID,
        "batch": "lamp-0001",
        "state": "verified",
        "mac": "24:0a:c4:00:01:10",
        "certificate_id": one.certificate_id,
    }
    assert json.loads(rows(ExportForm.JSONL, one)) == {**listed, "certificate": one.pem}
    assert json.loads(rows(ExportForm.JSONL, node(serial=None)))["serial"] is None
    for form in ExportForm:
        assert "c0ffee11" not in rows(form, one)


@pytest.mark.parametrize("serial", ["-1", "@home", "=1+1", "+1"])
def test_no_formulas(serial: str) -> None:
    """A spreadsheet program takes no cell for a formula."""
    assert f'\n"\'{serial}",' in rows(ExportForm.CSV, node(serial=serial))


@pytest.mark.parametrize("name", ["node-2", "8vVqUTvyZkBLnjuVWbpqMK"])
def test_a_certificate_for_a_different_node(name: str) -> None:
    """A certificate whose common name is not the node id, letter by letter, is refused."""
    with pytest.raises(IntegrityError, match="for a different node"):
        Node(NODE_ID, certificate(name), "LMP-000001", "lamp-0001", "verified")
    with pytest.raises(IntegrityError, match="damaged"):
        Node(NODE_ID, certificate()[:-9], "LMP-000001", "lamp-0001", "verified")


def test_certificate_id(tmp_path: Path) -> None:
    """The id of a certificate is the fingerprint that openssl prints."""
    one = node()
    file = tmp_path / "node.crt"
    file.write_text(one.pem)
    command = ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", file]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.partition("=")[2].strip().replace(":", "").lower() == one.certificate_id


@pytest.mark.parametrize(("name", "fits"), [("a:b_c-D9", True), ("node.1", False), ("x" * 60, True), ("a b", False)])
def test_names_of_things(name: str, fits: bool) -> None:
    """A node id that AWS IoT takes for no name of a thing is refused, with the letters that it takes."""
    if fits:
        assert json.loads(bulk_row(node(name)))["ThingName"] == name
    else:
        with pytest.raises(InputError, match=re.escape(f'no thing named "{name}"')):
            bulk_row(node(name))


def test_aws_bulk() -> None:
    """Template, parameters and policy fit together: each parameter is used, the CA stands in the template, a node may
    use its own topics only, and the instructions name every file."""
    files = companions(CA.certificate)
    template = json.loads(files["template.json"])
    parameters = json.loads(bulk_row(node()))
    used = set(re.findall(r'"Ref": "(\w+)"', files["template.json"]))
    assert used == set(parameters) == set(template["Parameters"])
    properties = template["Resources"]["certificate"]["Properties"]
    x509.load_pem_x509_certificate(parameters["CertificatePem"].encode()).verify_directly_issued_by(
        x509.load_pem_x509_certificate(properties["CACertificatePem"].encode())
    )
    assert files["ca.pem"] == properties["CACertificatePem"]
    assert len(files["template.json"]) <= 10_240
    policy = json.loads(files["policy.json"])
    assert {statement["Action"] for statement in policy["Statement"]} == {
        "iot:Connect", "iot:Publish", "iot:Subscribe", "iot:Receive"
    }  # fmt: skip
    resources = [arn for statement in policy["Statement"] for arn in statement["Resource"]]
    assert all("${iot:Connection.Thing.ThingName}" in arn for arn in resources)
    for name in ("nodes.jsonl", "template.json", "policy.json", "ca.pem"):
        assert name in files["README.md"]


def test_a_different_ca() -> None:
    """A certificate that a different CA of the same name signed is found."""
    other = CertificateAuthority.create("lamp Device CA", CaKeyKind.ECDSA_P256, NOW)
    node().refuse_other_ca(CA.certificate)
    with pytest.raises(InputError, match="a different CA signed"):
        node().refuse_other_ca(other.certificate)
