"""Virtual clouds refuse what the real ones refuse."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from rmfab.virtual.cloud.certificates import UnfitCertificateError, read_certificate
from rmfab.virtual.cloud.neo import VirtualNeo
from rmfab.virtual.cloud.rainmaker import STAGE, VirtualRainmaker
from rmfab.virtual.cloud.request import ApiAnswer, ApiRequest
from rmfab.virtual.cloud.sheet import BadSheetError, read_sheet
from rmfab.virtual.cloud.storage import Storage
from rmfab.virtual.cloud.store import CloudTask

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
REGISTER = f"{STAGE}/v1/admin/node_certificates/register"


def certificate(name: str, key: Any = None) -> str:
    """A self-signed certificate, as PEM."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM).decode()


def sheet(*rows: tuple[str, str]) -> bytes:
    """A CSV of nodes."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([("node_id", "certs"), *rows])
    return stream.getvalue().encode()


class TestCertificates:
    """What a cloud takes for a certificate."""

    def test_its_id(self) -> None:
        """The id is the SHA-256 of the DER, the node the common name."""
        pem = certificate("node-1")
        der = x509.load_pem_x509_certificate(pem.encode()).public_bytes(serialization.Encoding.DER)
        found = read_certificate(pem)
        assert (found.node_id, found.id) == ("node-1", hashlib.sha256(der).hexdigest())

    @pytest.mark.parametrize(
        "pem",
        [
            "hello",
            "",
            certificate("a") + certificate("b"),
            certificate(""),
            certificate("a b"),
            certificate("a", ed25519.Ed25519PrivateKey.generate()),
            certificate("a", ec.generate_private_key(ec.SECP256K1())),
            certificate("a", rsa.generate_private_key(65537, 1024)),
        ],
        ids=["text", "nothing", "two", "no name", "no thing", "ed25519", "secp256k1", "rsa 1024"],
    )
    def test_what_is_none(self, pem: str) -> None:
        """Text, two certificates, a name that no thing has, and keys that AWS does not take are refused."""
        with pytest.raises(UnfitCertificateError):
            read_certificate(pem)


class TestSheet:
    """CSVs as Go reads them."""

    @given(st.lists(st.tuples(*[st.text(st.characters(exclude_characters="\r\0", codec="utf-8"))] * 2), max_size=5))
    def test_what_python_writes(self, rows: list[tuple[str, str]]) -> None:
        """What Python's writer quotes comes back, trimmed."""
        found = read_sheet(sheet(*rows))
        assert found == [{"node_id": a.strip(), "certs": b.strip()} for a, b in rows]

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            (b"", "EOF"),
            (b"node_id,certs\na\n", "wrong number of fields"),
            (b"node_id,certs\na,b,c\n", "wrong number of fields"),
            (b'node_id,certs\na,x"y\n', "bare"),
            (b'node_id,certs\na,"x"y\n', "extraneous"),
            (b'node_id,certs\na,"x', "extraneous"),
            (b"node_id,certs\na,\xff\n", "UTF-8"),
        ],
    )
    def test_what_it_cannot_read(self, text: bytes, told: str) -> None:
        """Ragged rows and wrong quotes are errors of the whole file."""
        with pytest.raises(BadSheetError, match=told):
            read_sheet(text)

    def test_a_byte_order_mark(self) -> None:
        """A byte order mark is a part of the first column's name."""
        assert list(read_sheet(b"\xef\xbb\xbfnode_id,certs\na,b\n")[0]) == ["\ufeffnode_id", "certs"]


class TestStorage:
    """Presigned uploads."""

    @pytest.mark.parametrize(
        ("change", "status"),
        [
            ({}, 200),
            ({"authorization": "token"}, 400),
            ({"content-type": "text/csv"}, 403),
            ({"if-none-match": ""}, 403),
            ({"content-length": None}, 411),
        ],
    )
    def test_a_put(self, change: dict[str, str | None], status: int) -> None:
        """An upload needs the signed fields and its length, and has no other authorization."""
        storage = Storage(lambda: NOW, once=True)
        assert self.put(storage, storage.presign("", "a"), change) == status

    def test_a_url_counts_once(self) -> None:
        """A second upload, a changed signature, a different key and a URL of yesterday are refused."""
        now = [NOW]
        storage = Storage(lambda: now[0], once=False)
        url = storage.presign("", "a")
        assert self.put(storage, url.replace("/a?", "/b?")) == 403
        assert self.put(storage, f"{url}0") == 403
        now[0] += timedelta(minutes=11)
        assert self.put(storage, url) == 403
        now[0] = NOW
        assert [self.put(storage, url) for _ in range(2)] == [200, 412]

    def put(self, storage: Storage, url: str, change: dict[str, str | None] | None = None) -> int:
        fields = {"content-type": "application/octet-stream", "if-none-match": "*", "content-length": "1"}
        changed = {name: value for name, value in {**fields, **(change or {})}.items() if value is not None}
        return storage.answer(ApiRequest("PUT", url, changed, b"x")).status


class TestRainmaker:
    """ESP RainMaker."""

    @pytest.fixture
    def cloud(self) -> VirtualRainmaker:
        """A cloud whose jobs end at the first look."""
        return VirtualRainmaker(lambda: NOW, looks=1)

    def ask(
        self, cloud: VirtualRainmaker, method: str, target: str, body: object = None, token: str | None = None
    ) -> ApiAnswer:
        token = cloud.sign_ins.issue().access if token is None else token
        data = b"" if body is None else json.dumps(body).encode()
        return cloud.answer(
            ApiRequest(method, target, {"authorization": token, "content-type": "application/json"}, data)
        )

    def test_the_identity_token(self, cloud: VirtualRainmaker) -> None:
        """It names the user by his e-mail address: Espressif's admin CLI asks for it before it registers."""
        payload = cloud.sign_ins.issue().identity.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        assert claims["email"] == cloud.sign_ins.user

    def test_bearer(self, cloud: VirtualRainmaker) -> None:
        """A token with "Bearer", and one that has expired, are refused."""
        access = cloud.sign_ins.issue().access
        target = f"{STAGE}/v1/admin/nodes?node_id=a"
        assert self.ask(cloud, "GET", target, token=access).status == 400
        assert self.ask(cloud, "GET", target, token=f"Bearer {access}").status == 401
        cloud.sign_ins.lifetime = timedelta(0)
        assert self.ask(cloud, "GET", target).status == 401

    def started(self, cloud: VirtualRainmaker, data: bytes, **change: object) -> ApiAnswer:
        told = self.ask(cloud, "GET", f"{REGISTER}?file_name=a.csv").value or {}
        fields = {"content-type": "application/octet-stream", "content-length": str(len(data))}
        assert cloud.answer(ApiRequest("PUT", told["url"], fields, data)).status == 200
        body = {
            "file_name": "a.csv", "file_md5": hashlib.md5(data).hexdigest(),
            "refresh_token": cloud.sign_ins.issue().refresh, "request_id": told["request_id"], "tags": [],
            "force": False, "update_nodes": False, "group_name": "", "type": "", "model": "", "parent_group_id": "",
            "parent_group_name": "", "subtype": "", "node_policies": "", **change,
        }  # fmt: skip
        return self.ask(cloud, "POST", REGISTER, body)

    @pytest.mark.parametrize(
        "change",
        [{"file_md5": "0" * 32}, {"refresh_token": "x"}, {"request_id": "x"}, {"file_name": "b.csv"}, {"x": 1}],
    )
    def test_a_wrong_request(self, cloud: VirtualRainmaker, change: dict[str, object]) -> None:
        """A wrong digest, token, id or file starts no job."""
        assert self.started(cloud, sheet(("a", certificate("a"))), **change).status == 400
        assert cloud.store.tasks == {}

    @pytest.mark.parametrize(
        ("data", "told"),
        [
            (sheet(("a", certificate("a"))), ""),
            (sheet(("a", certificate("b"))), "1 of 1 nodes"),
            (sheet(("a", "hello")), "1 of 1 nodes"),
            (sheet(("a", certificate("a"))) * 2, "2 of 3 nodes"),
            (b"node_id\na\n", "Invalid CSV"),
            (b"node_id,certs\na\n", "Invalid CSV"),
        ],
        ids=["good", "CN", "no certificate", "twice", "no column", "ragged"],
    )
    def test_a_job(self, cloud: VirtualRainmaker, data: bytes, told: str) -> None:
        """A row whose certificate is none, or is for a different node, fails the job; so does a broken CSV."""
        name = (self.started(cloud, data).value or {})["request_id"]
        answer = self.ask(cloud, "GET", f"{REGISTER}?request_id={name}").value or {}
        assert answer["status"] == ("failure" if told else "success")
        assert told in answer["description"]


class TestNeo:
    """RainMaker Neo, behind its signatures."""

    @pytest.mark.parametrize("data", [b"node_id,certs\na\n", b'node_id,certs\na,x"y\n', b"node_id,certs\n", b""])
    def test_a_broken_sheet(self, data: bytes) -> None:
        """A CSV that Go cannot read, or without rows, leaves the job as it is, for ever."""
        cloud, task = self.started(data)
        for _ in range(50):
            cloud._look(task)
        assert cloud._described(task)["status"] == "started"

    def test_the_common_name_counts(self) -> None:
        """The node is the common name, whatever the column says; a row that is registered already changes nothing."""
        pem = certificate("b")
        cloud, task = self.started(sheet(("a", pem), ("b", pem)))
        cloud._look(task)
        assert (list(cloud.store.nodes), task.registered, task.failed) == (["b"], 2, [])

    def test_a_second_certificate(self) -> None:
        """A node with a different certificate gets a second one, and the job does not tell: both are valid."""
        one, two = certificate("a"), certificate("a")
        cloud, task = self.started(sheet(("a", one), ("a", two)))
        cloud._look(task)
        assert cloud.store.nodes["a"].certificates == [read_certificate(pem).id for pem in (one, two)]
        assert (task.registered, task.failed) == (2, [])

    def test_a_mismatch(self) -> None:
        """A deployment that compares certificates, as its specification proposes, reports it and adds nothing."""
        one, two = certificate("a"), certificate("a")
        cloud, task = self.started(sheet(("a", one), ("a", two)), mismatches=True)
        cloud._look(task)
        assert cloud.store.nodes["a"].certificates == [read_certificate(one).id]
        (failed,) = task.failed
        assert (failed.node_id, "cert mismatch" in failed.reason) == ("a", True)

    def started(self, data: bytes, *, mismatches: bool = False) -> tuple[VirtualNeo, CloudTask]:
        cloud = VirtualNeo(lambda: NOW, looks=1, mismatches=mismatches)
        cloud.storage.objects["k"] = data
        body = json.dumps({"cert_file_s3_path": "s3://rmng-files/system/node_certs/k"}).encode()
        assert cloud._start(ApiRequest("POST", "/", {"content-type": "application/json"}, body)).status == 202
        (task,) = cloud.store.tasks.values()
        return cloud, task

    def test_unsigned(self) -> None:
        """A request without a signature is refused; tokens of two sign-ins do not make credentials."""
        cloud = VirtualNeo(lambda: NOW)
        assert cloud.answer(ApiRequest("GET", "/prod/v1/admin/nodes/registration-jobs", {}, b"")).status == 403
        one, two = cloud.sign_ins.issue(), cloud.sign_ins.issue()
        for identity, status in ((one.identity, 200), (two.identity, 403)):
            fields = {"authorization": f"Bearer {one.access}", "content-type": "application/json"}
            body = json.dumps({"id_token": identity}).encode()
            assert cloud.answer(ApiRequest("POST", "/prod/v1/user/credentials", fields, body)).status == status
