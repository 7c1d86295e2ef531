"""The check of a unit: a good one passes, each bad one FAILs with its own cause, and nothing else is sent."""

from __future__ import annotations

import logging
import os
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from rmfab.errors import InputError, RmfabError, StationError, UnitFault
from rmfab.product.product import Provisioning, ScanPolicy
from rmfab.product.vocabulary import Credentials, Security
from rmfab.provisioning.check import (
    another_pop,
    check_key,
    check_scan,
    check_session,
    check_wrong_pop,
    judge_joined,
)
from rmfab.provisioning.failures import ProtocolError, Stalled
from rmfab.provisioning.http import HttpTransport
from rmfab.provisioning.session import ProvisioningSession
from rmfab.secret import Secret
from tests.provisioning.device import Device, verifier
from tests.provisioning.links import Direct, soft_ap

POP = Secret("abcd1234")
KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    """Return a certificate of *key*, in PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node-1")])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    made = builder.sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)


def product(security: int) -> Provisioning:
    """Return a product's provisioning with that security."""
    return Provisioning(security=Security(security))


def opened(device: Device, security: int = 2) -> ProvisioningSession:
    """Open a session with *device* by the check."""
    return check_session(Direct(device), product(security), Credentials.CERTIFICATE, POP, os.urandom)


@pytest.mark.parametrize("security", [1, 2])
@pytest.mark.parametrize("key", [KEY, rsa.generate_private_key(65537, 2048)], ids=["ecdsa", "rsa"])
def test_a_good_unit(security: int, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    """Session, key and scan pass in one handshake, and only their endpoints are used."""
    device = Device(security=security, key=key, networks=[(b"factory", -40), (b"x", -70), (b"factory", -60)])
    session = opened(device, security)
    check_key(session, "node-1", certificate(key), os.urandom)
    heard = check_scan(session, ScanPolicy("factory"))
    assert (heard.rssi, heard.networks, heard.marginal) == (-40, 3, False)
    handshake = ["proto-ver", "prov-session", "prov-session"]
    assert device.asked == [*handshake, "ch_resp", *["prov-scan"] * 3]


@pytest.mark.parametrize("security", [1, 2])
def test_a_wrong_pop_is_refused(security: int) -> None:
    """A good unit rejects a wrong PoP, in one attempt."""
    device = Device(security=security)
    check_wrong_pop(Direct(device), product(security), POP, os.urandom)
    assert device.mismatches == 1


@pytest.mark.parametrize(("security", "lies"), [(1, False), (2, False), (2, True)])
def test_a_unit_that_takes_any_pop(security: int, lies: bool) -> None:
    """A unit that accepts a wrong PoP FAILs, with or without a valid proof from the unit."""
    device = Device(security=security, accepts_any_pop=True, lies_about_proof=lies)
    with pytest.raises(UnitFault) as caught:
        check_wrong_pop(Direct(device), product(security), POP, os.urandom)
    assert caught.value.cause == "wrong-pop-accepted"


def told(**prov: object) -> dict[str, object]:
    """Return a proto-ver with these keys in `prov`."""
    return {"prov": prov, "rmaker_extra": {"cap": ["ch_resp"]}}


@pytest.mark.parametrize(
    ("device", "cause"),
    [
        (Device(pop="ffffffff"), "wrong-pop-in-unit"),
        (Device(verifier=verifier(bytes(range(1, 17)), "ffffffff")), "wrong-pop-in-unit"),
        (Device(salt=bytes(16), verifier=verifier(bytes(15), "abcd1234")), "wrong-pop-in-unit"),
        (Device(lies_about_proof=True), "proof-mismatch"),
        (Device(username="somebody"), "session-refused"),
        (Device(security=0), "sec0-offered"),
        (Device(security=1), "security-mismatch"),
        (Device(capabilities=told(sec_ver=2, cap=["no_pop"])), "no-pop-offered"),
        (Device(capabilities={"prov": {"sec_ver": 2}, "rmaker": {"cap": ["claim"]}}), "claiming"),
        (Device(capabilities={"prov": {"sec_ver": 7}}), "unknown-security"),
        (Device(capabilities={"other": 1}), "protocol"),
    ],
)
def test_bad_units(device: Device, cause: str) -> None:
    """Each bad unit is a UnitFault with its own cause."""
    with pytest.raises(UnitFault) as caught:
        opened(device)
    assert caught.value.cause == cause
    assert not isinstance(caught.value, StationError)


def test_claiming() -> None:
    """A product with credentials = "claim" requires a unit that offers assisted claiming."""
    claiming = Device(capabilities={"prov": {"sec_ver": 2, "sec_patch_ver": 1}, "rmaker": {"cap": ["claim"]}})
    check_session(Direct(claiming), product(2), Credentials.CLOUD_CLAIM, POP, os.urandom)
    with pytest.raises(UnitFault) as caught:
        check_session(Direct(Device()), product(2), Credentials.CLOUD_CLAIM, POP, os.urandom)
    assert caught.value.cause == "no-claims"


def test_bad_keys() -> None:
    """A wrong key, a wrong node and a firmware without challenge-response each have their cause."""
    device = Device(key=ec.generate_private_key(ec.SECP256R1()))
    for node, cause in (("node-1", "key-mismatch"), ("node-2", "other-identity")):
        with pytest.raises(UnitFault) as caught:
            check_key(opened(device), node, certificate(KEY), os.urandom)
        assert caught.value.cause == cause
    with pytest.raises(UnitFault) as caught:
        check_key(opened(Device(node_id="\x1b[2J" + "x" * 500)), "node-1", certificate(KEY), os.urandom)
    assert "\x1b" not in caught.value.what
    assert len(caught.value.what) < 200
    mute = Device(capabilities={"prov": {"sec_ver": 2, "sec_patch_ver": 1}})
    with pytest.raises(UnitFault) as caught:
        check_key(opened(mute), "node-1", certificate(KEY), os.urandom)
    assert caught.value.cause == "no-challenge-response"


@pytest.mark.parametrize(("rssi", "cause"), [(-81, "weak-signal"), (None, "not-heard"), (-80, None), (-70, None)])
def test_the_antenna(rssi: int | None, cause: str | None) -> None:
    """The best of the factory's access points decides: PASS, marginal, or a fault."""
    networks = [(b"neighbour", -30)] + ([(b"factory", rssi), (b"factory", rssi - 9)] if rssi else [])
    session = opened(Device(networks=networks))
    if cause is None:
        assert check_scan(session, ScanPolicy("factory")).marginal is (rssi == -80)
        return
    with pytest.raises(UnitFault) as caught:
        check_scan(session, ScanPolicy("factory"))
    assert caught.value.cause == cause


@pytest.mark.parametrize(("patch", "size", "passes"), [(0, 16, True), (0, 12, True), (0, 8, False), (0, 17, False)])
def test_the_nonce_of_each_revision(patch: int, size: int, passes: bool) -> None:
    """Revision 0 of security 2 sends 16 random bytes as its nonce, some firmware 12; any other length is no nonce."""
    device = Device(patch=patch, nonce_bytes=size)
    if passes:
        assert opened(device).challenge(b"nonce")[0] == "node-1"
        return
    with pytest.raises(ProtocolError, match=f"nonce of {size} bytes"):
        opened(device)


def test_a_counting_unit_with_a_long_nonce() -> None:
    """A unit of revision 1 that sends 16 bytes has no counter to be counted."""
    with pytest.raises(ProtocolError, match="nonce of 16 bytes"):
        opened(Device(patch=0, capabilities=told(sec_ver=2, sec_patch_ver=1)))


def test_a_patch_version_that_lies() -> None:
    """A unit that counts nonces differently than it reports is detected at the first answer after the handshake."""
    device = Device(patch=1, key=KEY, capabilities=told(sec_ver=2))
    session = opened(device)
    with pytest.raises(UnitFault) as caught:
        session.challenge(b"nonce")
    assert caught.value.cause == "decrypt"


def test_over_http() -> None:
    """The same works over a socket; a stall is a UnitFault, an absent unit a StationError."""
    with soft_ap(Device(key=KEY)) as server, closing(HttpTransport(server.url)) as transport:
        session = check_session(transport, product(2), Credentials.CERTIFICATE, POP, os.urandom)
        check_key(session, "node-1", certificate(KEY), os.urandom)
    stalled = soft_ap(Device(), {2: "stall"})
    with stalled as server, closing(HttpTransport(server.url, timeout=0.1)) as transport, pytest.raises(Stalled):
        check_session(transport, product(2), Credentials.CERTIFICATE, POP, os.urandom)


def test_another_pop_shares_no_character() -> None:
    """The wrong PoP has the form of the right one and differs in every character."""
    for _ in range(50):
        other = another_pop(POP, os.urandom).reveal()
        assert len(other) == 8
        assert all(left != right for left, right in zip(other, POP.reveal(), strict=True))


def test_no_pop_to_be_wrong() -> None:
    """Security 0 has no PoP: calling the check is a mistake of the caller, raised before anything is sent."""
    device = Device(security=0)
    with pytest.raises(InputError):
        check_wrong_pop(Direct(device), product(0), POP, os.urandom)
    assert device.asked == []


def test_joining_sends_credentials_once_and_shows_them_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """`configure` and `apply` send network and passphrase; neither PoP nor passphrase is in a log or error."""
    caplog.set_level(logging.DEBUG)
    device = Device(key=KEY)
    session = opened(device)
    session.configure("factory", Secret("correct horse"))
    session.apply()
    judge_joined(session.status(), "factory")
    assert device.applied == {"ssid": b"factory", "passphrase": b"correct horse"}
    assert device.asked[3:] == ["prov-config"] * 3
    with pytest.raises(RmfabError) as caught:
        opened(Device(pop="ffffffff"))
    shown = caplog.text + repr(session.__dict__) + repr(caught.value) + str(caught.value.__cause__)
    assert "correct horse" not in shown
    assert "abcd1234" not in shown
