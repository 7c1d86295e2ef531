"""Provisioning of a virtual board by the tests' own phone: schemes, endpoints, and what remains in the flash."""

from __future__ import annotations

import hashlib

import gmpy2
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from hypothesis import given, settings
from hypothesis import strategies as st

from rmfab.nvs.reader import read_image
from rmfab.product.vocabulary import Security
from rmfab.virtual.firmware.protocomm import security2, wire
from rmfab.virtual.firmware.sec2 import PRIME, patch_version, verifier
from rmfab.virtual.network import FACTORY_NETWORK, NEIGHBOURS, AccessPoint
from tests.virtual.phone import Closed, N, Phone, Plain, Sec1, Sec2, capabilities, one, pair, pb, through, unpb
from tests.virtual.rig import FCTRY, NVS, Rig, factory_image, key_pem, parts, plain

POP = bytes(range(4)).hex()
SALT, VERIFIER = pair(POP)
SSID, PASSWORD = FACTORY_NETWORK.ssid.encode(), FACTORY_NETWORK.password.encode()
BLANK = [b"\xff" * size for size in (36, 65, 32)]  # the driver's blank keys without a network
ENDPOINTS = ["proto-ver", "prov-session", "prov-scan", "prov-config", "prov-ctrl", "ch_resp"]


def _rig(*, factory=None, faults=(), security=Security.SRP6A, boot=1.0, **options):
    fields = {name: options.pop(name) for name in ("networks", "paced") if name in options}
    image = factory_image(sec2_salt=SALT, sec2_verifier=VERIFIER) if factory is None else factory
    rig = Rig(parts=parts(factory=image, security=security, **options), faults=faults, **fields)
    rig.boot(boot)
    return rig


def _scheme(security, pop=POP):
    return {Security.PLAIN: Plain, Security.X25519: lambda: Sec1(pop), Security.SRP6A: lambda: Sec2(pop)}[security]()


def _phone(rig, scheme=None):
    return Phone(through(rig.board), scheme or Sec2(POP))


def _heard(rig, seconds=0.0):
    rig.timeline.run(seconds)
    text = plain(rig.text)
    rig.said.clear()
    return text


def _fctry(rig):
    return rig.board.flash.read(FCTRY, 0x6000)


def _station(rig):
    image = read_image(rig.board.flash.read(NVS, 0x6000))
    return [image.value("nvs.net80211", key) for key in ("sta.ssid", "sta.pswd", "sta.pmk")]


def test_the_group_is_that_of_the_rfc():
    """The boards use the prime that RFC 5054 defines, computed here from pi."""
    assert N == PRIME
    assert gmpy2.is_prime((N - 1) // 2)
    assert verifier(SALT, POP) == VERIFIER


@pytest.mark.parametrize("security", Security)
def test_each_scheme_opens_a_session_that_carries_requests(security):
    """With the label's PoP, each scheme opens a session, the console reports it, and requests pass both ways."""
    rig = _rig(security=security)
    rig.said.clear()
    phone = _phone(rig, _scheme(security))
    assert ("Secured session established!" in _heard(rig)) == (security is not Security.PLAIN)
    assert [phone.node_id() for _ in range(3)] == [b"NodeOfThisVeryTest"] * 3


def test_old_firmware_keeps_its_nonce():
    """Without the patch of security 2 the nonce is 16 bytes that stay, and `proto-ver` contains no patch."""
    rig = _rig(idf_version="v5.4")
    phone = _phone(rig, Sec2(POP, patch=0))
    assert [phone.node_id() for _ in range(3)] == [b"NodeOfThisVeryTest"] * 3
    assert phone.scheme.nonce[8:12] != bytes((0, 0, 0, 1)), "no counter stands in it"
    with pytest.raises(Closed):
        phone.call("ch_resp", bytes(40))
    assert "Failed at mbedtls_gcm_auth_decrypt : -18" in _heard(rig)
    assert "sec_patch_ver" not in capabilities(through(rig.board))["prov"]


@pytest.mark.parametrize(
    ("idf_version", "patch"),
    [
        ("v4.4.8", 0),
        ("v5.0", 0),
        ("v5.0.8", 0),
        ("v5.0.9", 1),
        ("v5.1.6", 0),
        ("v5.1.7", 1),
        ("v5.2.5", 0),
        ("5.2.6-dirty", 1),
        ("v5.3.2-214-g63d2f8b", 0),
        ("v5.3.3", 1),
        ("v5.4", 0),
        ("v5.4-dirty", 0),
        ("v5.4.1", 1),
        ("v5.5", 1),
        ("v6.0-beta1", 1),
        ("v6.1", 1),
        ("heads/master", 1),
    ],
)
def test_which_firmware_counts_its_nonce(idf_version, patch):
    """The ESP-IDF in the app's descriptor decides the revision of security 2."""
    assert patch_version(idf_version) == patch


@pytest.mark.parametrize(("security", "patch", "extra"), [(0, 0, ["no_sec"]), (1, 0, []), (2, 1, [])])
def test_capabilities(security, patch, extra):
    """`proto-ver` reports scheme, patch and capabilities, unencrypted and for any body."""
    told = capabilities(through(_rig(security=Security(security)).board))
    assert told["prov"] == {
        "ver": "netprov-v1.2",
        "sec_ver": security,
        "sec_patch_ver": patch,
        "cap": [*extra, "wifi_prov", "wifi_scan"],
    }
    assert told["rmaker_extra"] == {"ver": "1.0", "cap": ["ch_resp"]}
    assert "rmaker" not in told


def test_claiming_firmware_says_so():
    """Without the factory's certificate, firmware that can claim offers `claim` and no challenges."""
    rig = _rig(factory=factory_image(client_cert=None, sec2_salt=SALT, sec2_verifier=VERIFIER))
    told = capabilities(through(rig.board))
    assert told["rmaker"] == {"ver": "1.0", "cap": ["claim"]}
    assert "rmaker_extra" not in told
    with pytest.raises(Closed):
        _phone(rig).node_id()


def test_firmware_without_challenges():
    """`ch_resp` exists only if it was compiled in; firmware without it has `cloud_user_assoc`, which others lack."""
    rig = _rig(ch_resp=False)
    assert "rmaker_extra" not in capabilities(through(rig.board))
    assert [rig.board.service.has(name) for name in ("ch_resp", "cloud_user_assoc")] == [False, True]
    assert not _rig().board.service.has("cloud_user_assoc")


def test_a_user_is_mapped_once_the_broker_is_reached():
    """`cloud_user_assoc` keeps the user, answers with the node id, and publishes the pair after joining."""
    rig = _rig(ch_resp=False)
    phone = _phone(rig)
    answer = phone.ask("cloud_user_assoc", pb((1, 0), (10, pb((1, b"user-1"), (2, b"key-1")))))
    assert (one(answer, 1), unpb(one(answer, 11))) == (1, {2: [b"NodeOfThisVeryTest"]})
    assert "Got user_id = user-1, secret_key = key-1" in _heard(rig, 1.0)
    phone.configure(SSID, PASSWORD)
    said = _heard(rig, 8.0)
    mapping = '{"node_id":"NodeOfThisVeryTest","user_id":"user-1","secret_key":"key-1"}'
    assert f"esp_rmaker_user_mapping: MQTT Publish: {mapping}" in said
    assert said.index("MQTT Connected") < said.index("User Node association message published successfully.")


def test_a_mapping_without_its_payload():
    """A request without user is an invalid parameter; another message closes the connection; nothing is published."""
    rig = _rig(ch_resp=False)
    phone = _phone(rig)
    assert unpb(one(phone.ask("cloud_user_assoc", pb((1, 0))), 11)) == {1: [1]}
    phone.configure(SSID, PASSWORD)
    assert "MQTT Publish" not in _heard(rig, 8.0)
    with pytest.raises(Closed):
        _phone(_rig(ch_resp=False)).ask("cloud_user_assoc", pb((1, 1)))


def test_the_first_challenge_response():
    """The first versions of `ch_resp` sign challenges, and close the connection on anything else."""
    rig = _rig(first_ch_resp=True)
    status, signature, node = _phone(rig).challenge(b"c")
    assert (status, bool(signature), node) == (0, True, b"NodeOfThisVeryTest")
    for request in (pb((1, 2), (12, b"")), pb((1, 4), (14, b"")), pb((1, 0), (10, b""))):
        with pytest.raises(Closed):
            _phone(rig).ask("ch_resp", request)


def test_pair_made_at_first_boot_serves():
    """Without a factory pair, the pair of the first boot is stored in `fctry` and used, also after a restart."""
    rig = _rig(factory=factory_image(sec2_salt=None, sec2_verifier=None))
    before = _fctry(rig)
    salt, value = (read_image(before).value("rmaker_creds", key) for key in ("sec2_salt", "sec2_verifier"))
    if value != verifier(salt, POP):  # on 1 of 256 boards the salt starts with a zero, and provisioning never succeeds
        assert value == verifier(salt[:15], POP)
        with pytest.raises(Closed):
            _phone(rig)
        return
    assert _phone(rig).node_id()
    rig.boot()
    assert _phone(rig).node_id()
    assert before == _fctry(rig)


def test_device_key_may_be_short(monkeypatch):
    """B is sent and hashed without leading zeros, but padded when it is hashed with A."""
    private, found = 0, None
    multiplier = int.from_bytes(hashlib.sha512(N.to_bytes(384) + (5).to_bytes(384)).digest()) * int.from_bytes(VERIFIER)
    while found is None:
        private += 1
        public = (multiplier + pow(5, private, N)) % N
        found = private if public.bit_length() <= 384 * 8 - 8 else None
    rig = _rig()
    original = security2.secrets.randbits
    monkeypatch.setattr(security2.secrets, "randbits", lambda bits: found if bits == 256 else original(bits))
    assert _phone(rig, Sec2(POP, a=12345)).node_id()


@pytest.mark.parametrize("security", [Security.X25519, Security.SRP6A])
def test_wrong_pop_is_refused_and_counted(security):
    """A wrong PoP closes the connection; the fifth one stops provisioning until a restart, which resets the count."""
    rig = _rig(security=security)
    _heard(rig)
    for attempt in range(1, 6):
        with pytest.raises(Closed):
            _phone(rig, _scheme(security, "ffffffff"))
        said = _heard(rig)
        assert "app_network: Received incorrect PoP or invalid security params! event: 2" in said
        assert ("Max PoP attempts reached!" in said) == (attempt == 5)
        assert "Secured session" not in said
    with pytest.raises(Closed):
        _phone(rig, _scheme(security))
    assert "Provisioning stopped" in _heard(rig, 1.1)
    assert rig.board.service is None
    rig.boot()
    assert _phone(rig, _scheme(security)).node_id()


def test_success_does_not_forget_wrong_attempts():
    """A correct attempt does not reset the count: the fifth wrong one still stops provisioning."""
    rig = _rig()
    for _ in range(4):
        with pytest.raises(Closed):
            _phone(rig, Sec2("00000000"))
    assert _phone(rig).node_id()
    with pytest.raises(Closed):
        _phone(rig, Sec2("00000000"))
    rig.timeline.run(1.1)
    assert rig.board.service is None


@pytest.mark.parametrize(
    "body",
    [
        pb((2, 2), (12, pb((20, pb((1, b"wifiprov"), (2, b"\1" * 383)))))),
        pb((2, 2), (12, pb((20, pb((1, b""), (2, b"\1" * 384)))))),
    ],
)
def test_bad_parameters_count_as_wrong_pops(body):
    """A public key that is not 384 bytes, or an empty user name, counts as an attempt with event 1."""
    rig = _rig()
    _heard(rig)
    with pytest.raises(Closed):
        through(rig.board)("prov-session", body)
    assert "invalid security params! event: 1" in _heard(rig)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        pb((2, 1), (11, pb((20, pb((1, b"x" * 32)))))),
        pb((2, 2)),
        pb((2, 2), (12, pb((1, 2), (22, pb((1, b"x" * 64)))))),
        pb((2, 2), (12, pb((1, 7)))),
        pb((2, 2), (12, pb((20, pb((1, b"wifiprov"), (2, N.to_bytes(384))))))),
    ],
)
def test_broken_handshakes_are_no_attempts(body):
    """A different scheme, a missing part, an early proof and A = N close the connection but are not PoP attempts."""
    rig = _rig()
    _heard(rig)
    with pytest.raises(Closed):
        through(rig.board)("prov-session", body)
    assert "incorrect PoP" not in _heard(rig)


def test_a_new_first_command_begins_anew():
    """A second handshake in the same session replaces the first one."""
    rig = _rig()
    call = through(rig.board)
    Phone(call, Sec2(POP))
    assert Phone(call, Sec2(POP)).node_id()


def test_requests_need_the_session():
    """Without a session, or with the key of a different one, an endpoint closes the connection."""
    rig = _rig()
    with pytest.raises(Closed):
        through(rig.board)("prov-scan", pb((1, 0)))
    phone = _phone(rig)
    _phone(rig)
    with pytest.raises(Closed):
        phone.node_id()


def test_tampered_request_closes():
    """One flipped bit makes the tag of security 2 invalid."""
    rig = _rig()
    phone = _phone(rig)
    sealed = bytearray(phone.scheme.seal(pb((1, 2))))
    sealed[0] ^= 1
    with pytest.raises(Closed):
        phone.call("ch_resp", bytes(sealed))


def test_challenge_with_an_ec_key():
    """`ch_resp` signs a challenge with the key in `fctry` (ECDSA over SHA-256, in DER) and returns the node id."""
    pem = key_pem()
    rig = _rig(factory=factory_image(client_key=pem, sec2_salt=SALT, sec2_verifier=VERIFIER))
    status, signature, node = _phone(rig).challenge(b"c" * 64)
    assert (status, node) == (0, b"NodeOfThisVeryTest")
    load_pem_private_key(pem, None).public_key().verify(signature, b"c" * 64, ec.ECDSA(hashes.SHA256()))


def test_challenge_with_an_rsa_key():
    """With an RSA key the signature is PSS over SHA-256."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    rig = _rig(factory=factory_image(client_key=pem, sec2_salt=SALT, sec2_verifier=VERIFIER))
    _, signature, _ = _phone(rig).challenge(b"x")
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
    key.public_key().verify(signature, b"x", pss, hashes.SHA256())


def test_challenges_that_cannot_be_answered():
    """An empty challenge is an invalid parameter; an unreadable key is a failure."""
    rig = _rig(factory=factory_image(client_key=b"nonsense", sec2_salt=SALT, sec2_verifier=VERIFIER))
    phone = _phone(rig)
    assert [phone.challenge(b"")[0], phone.challenge(b"x")[0]] == [2, 1]


def test_disabled_challenges_come_back_with_the_factory_reset():
    """CmdDisable persists across restarts and ends with the factory reset."""
    rig = _rig()
    assert one(_phone(rig).ask("ch_resp", pb((1, 4), (14, b""))), 2) == 0
    rig.boot()
    assert _phone(rig).challenge(b"x") == (3, b"", b"")
    rig.type("reset-to-factory\r\n", 1.0)
    assert _phone(rig).challenge(b"x")[0] == 0


def test_scan_hears_the_neighbours():
    """A scan returns the networks around the board by strength, with channel and RSSI."""
    phone = _phone(_rig())
    assert phone.scan() == [(n.ssid.encode(), n.channel, n.rssi) for n in NEIGHBOURS]
    assert NEIGHBOURS[0].ssid == "rmfab-factory"


def test_scan_hears_what_is_set():
    """The networks around the board can be changed while it runs; a scan returns at most 16."""
    rig = _rig(networks=(AccessPoint("one", -30),))
    phone = _phone(rig)
    assert [name for name, *_ in phone.scan()] == [b"one"]
    rig.board.hear(tuple(AccessPoint(f"net{n}", -90 + n) for n in range(20)))
    assert [name for name, *_ in phone.scan()] == [b"net%d" % n for n in range(19, 3, -1)]
    rig.board.hear(())
    assert phone.scan() == []


def test_scan_result_beyond_the_end():
    """Requesting a result that does not exist is an internal error."""
    phone = _phone(_rig())
    phone.scan()
    assert one(phone.ask("prov-scan", pb((1, 4), (14, pb((1, 2), (2, 5))))), 2) == 5


def test_paced_scan_takes_its_time():
    """On a paced board a scan does not finish at once."""
    rig = _rig(paced=0, boot=20.0)
    phone = _phone(rig)
    phone.ask("prov-scan", pb((1, 0), (10, b"")))
    assert one(unpb(one(phone.ask("prov-scan", pb((1, 2), (12, b""))), 13)), 1) == 0
    rig.timeline.run(2.0)
    assert one(unpb(one(phone.ask("prov-scan", pb((1, 2), (12, b""))), 13)), 1) == 1


def test_joining_a_network():
    """A configured network is stored in `nvs`, joined, reported, and used again after a restart; `fctry` stays."""
    rig = _rig()
    before = _fctry(rig)
    phone = _phone(rig)
    assert one(phone.status(), 2) == 1
    _heard(rig)
    assert phone.configure(SSID, PASSWORD) == (0, 0)
    kept = [len(SSID).to_bytes(4, "little") + SSID.ljust(32, b"\0"), PASSWORD.ljust(65, b"\0")]
    assert _station(rig) == [*kept, hashlib.pbkdf2_hmac("sha1", PASSWORD, SSID, 4096, 32)]
    said = _heard(rig, 1.0)
    assert f"Received Wi-Fi credentials\n\tSSID     : {SSID.decode()}\n\tPassword : {PASSWORD.decode()}\n" in said
    places = [
        said.index(text)
        for text in (
            "Connected with IP Address:192.168.7.42",
            "app_wifi: Provisioning successful",
            "esp_mqtt_glue: Connecting to mqtt.example.org",
            "MQTT Connected",
        )
    ]
    assert places == sorted(places)
    status = phone.status()
    assert one(status, 2) == 0
    joined = unpb(one(status, 11))
    assert [one(joined, n) for n in (1, 2, 3, 5)] == [b"192.168.7.42", 3, SSID, 6]
    rig.timeline.run(1.1)
    assert rig.board.service is None
    text = rig.boot()
    assert "app_wifi: Already provisioned, starting Wi-Fi STA" in text
    assert "MQTT Connected" in text
    assert "Provisioning started" not in text
    assert rig.board.service is None
    assert before == _fctry(rig)


def test_service_ends_by_itself_after_success():
    """If the phone never asks for the status, provisioning stops after 30 seconds, once."""
    rig = _rig()
    _phone(rig).configure(SSID, PASSWORD)
    assert "Provisioning stopped" not in _heard(rig, 29.0)
    assert _heard(rig, 40.0).count("Provisioning stopped") == 1
    assert rig.board.service is None


@pytest.mark.parametrize(
    ("ssid", "password", "reason", "words"),
    [
        (b"nowhere", b"", 1, "Wi-Fi access-point not found"),
        (SSID, b"wrong-password", 0, "Wi-Fi station authentication failed"),
    ],
)
def test_joining_fails(ssid, password, reason, words):
    """A network that is absent or rejects the board is reported with its reason; prov-ctrl allows a second try."""
    rig = _rig()
    phone = _phone(rig)
    assert phone.control(1) == 5
    _heard(rig)
    phone.configure(ssid, password)
    assert f"Provisioning failed!\n\tReason : {words}" in _heard(rig, 1.0)
    assert [phone.status()[n] for n in (2, 10)] == [[3], [reason]]
    assert phone.configure(SSID, PASSWORD)[1] == 5
    assert (phone.control(3), phone.control(1)) == (5, 0)
    assert not _station(rig)[0].strip(b"\0")
    assert phone.configure(SSID, PASSWORD) == (0, 0)
    rig.timeline.run(1.0)
    assert one(phone.status(), 2) == 0


def test_a_network_that_failed_stays_in_nvs():
    """A network that failed stays stored, and after a restart the board counts as provisioned."""
    rig = _rig()
    _phone(rig).configure(b"nowhere")
    rig.timeline.run(1.0)
    text = rig.boot()
    assert "Already provisioned" in text
    assert "Connected with IP" not in text


@pytest.mark.parametrize(
    "fields", [[(1, b"s" * 33)], [(1, b"x"), (2, b"p" * 64)], [(1, b"x"), (3, b"bssid")]], ids=["ssid", "pass", "bssid"]
)
def test_config_that_is_too_long(fields):
    """SSID, passphrase or BSSID of a wrong size are invalid arguments, and nothing can be applied after that."""
    phone = _phone(_rig())
    answer = phone.ask("prov-config", pb((1, 2), (12, pb(*fields))))
    assert one(unpb(one(answer, 13)), 1) == 4
    assert one(unpb(one(phone.ask("prov-config", pb((1, 4))), 15)), 1) == 5


def test_thread_is_not_built_in():
    """Thread commands are invalid arguments."""
    phone = _phone(_rig())
    assert one(unpb(one(phone.ask("prov-config", pb((1, 6))), 17)), 1) == 4
    assert one(phone.ask("prov-scan", pb((1, 6))), 2) == 4
    assert phone.control(5) == 4


@pytest.mark.parametrize("way", ["console", "loader"])
def test_factory_reset(way):
    """Erasing `nvs` returns a provisioned board to provisioning, with the same name and an unchanged `fctry`."""
    rig = _rig()
    before = _fctry(rig)
    phone = _phone(rig)
    phone.configure(SSID, PASSWORD)
    rig.timeline.run(1.0)
    if way == "console":
        text = rig.type("reset-to-factory\r\n", 1.0)
    else:
        rig.board.flash.erase(NVS, 0x6000)
        text = rig.boot()
    assert "Provisioning started with service name : PROV_3d3e3f " in text
    assert _station(rig) == BLANK
    assert before == _fctry(rig)
    assert _phone(rig).node_id()


def test_a_check_leaves_no_credentials():
    """Session, node id, challenge and scan leave neither a network in `nvs` nor a change in `fctry`."""
    rig = _rig()
    before = _fctry(rig)
    phone = _phone(rig)
    phone.node_id()
    phone.challenge(b"x")
    phone.scan()
    assert _station(rig) == BLANK
    assert before == _fctry(rig)
    assert "Provisioning started" in rig.boot()


def test_no_service_outside_the_firmware():
    """The loader, a board without power, one in reset and one with a crashed app offer no service."""
    rig = _rig()
    rig.board.power(False)
    assert rig.board.service is None
    rig.board.power(True)
    assert rig.board.service is None
    rig.timeline.run(1.0)
    assert rig.board.service is not None
    rig.board.strap = type(rig.board.strap).DOWNLOAD
    rig.board.restart()
    rig.timeline.run(1.0)
    assert rig.board.service is None
    assert _rig(faults=["panic"]).board.service is None
    assert rig.board.provision("proto-ver", b"x").reply is None


# Faults.


@pytest.mark.parametrize("security", [Security.X25519, Security.SRP6A])
def test_wrong_pop_fault(security):
    """`wrong-pop`: the label's PoP is rejected, a different one works, and the flash is as written."""
    rig = _rig(security=security, faults=["wrong-pop"])
    before = _fctry(rig)
    with pytest.raises(Closed):
        _phone(rig, _scheme(security))
    assert _fctry(rig) == before
    pop = bytes(range(4, 8)).hex()
    assert f'"pop":"{pop}"' in rig.boot()
    if security is Security.X25519:  # the salt of security 2 may start with a zero byte
        assert _phone(rig, Sec1(pop)).node_id()


def test_wrong_verifier_fault():
    """`wrong-verifier`: label and console agree, but the PoP is rejected; security 1 has no verifier."""
    rig = _rig(faults=["wrong-verifier"])
    assert f'"pop":"{POP}"' in rig.boot()
    with pytest.raises(Closed):
        _phone(rig)
    assert read_image(_fctry(rig)).value("rmaker_creds", "sec2_verifier") == VERIFIER
    assert _phone(_rig(faults=["wrong-verifier"], security=Security.X25519), Sec1(POP)).node_id()


def test_wrong_key_fault():
    """`wrong-key` applies to challenges, too."""
    pem = key_pem()
    image = factory_image(client_key=pem, sec2_salt=SALT, sec2_verifier=VERIFIER)
    _, signature, _ = _phone(_rig(factory=image, faults=["wrong-key"])).challenge(b"x")
    with pytest.raises(InvalidSignature):
        load_pem_private_key(pem, None).public_key().verify(signature, b"x", ec.ECDSA(hashes.SHA256()))


def test_other_identity_fault():
    """`other-identity` returns the wrong node id on this endpoint, too."""
    assert _phone(_rig(faults=["other-identity"])).node_id() == b"NodeOfThisVeryTest"[::-1]


def test_plain_security_fault():
    """`plain-security` offers only security 0, regardless of the firmware."""
    rig = _rig(faults=["plain-security"])
    assert capabilities(through(rig.board))["prov"]["sec_ver"] == 0
    assert _phone(rig, Plain()).node_id()
    with pytest.raises(Closed):
        _phone(rig)


# Console.


def test_console_joins_a_network():
    """`wifi-prov` stores a network and joins it; a wrong use is reported."""
    rig = _rig(networks=(AccessPoint("a b", -40, password="secret-word"),))
    assert "Invalid Usage." in rig.type("wifi-prov\r\n")
    assert "Connected with IP Address:" in rig.type('wifi-prov "a b" secret-word\r\n', 1.0)
    assert "Already provisioned" in rig.boot()


def test_rare_console_commands():
    """add-user, mem-dump and clear-claim-data work; the last one erases the whole of `fctry`."""
    rig = _rig()
    assert "Invalid Usage." in rig.type("add-user one\r\n")
    assert "Unrecognized" not in rig.type("add-user one two\r\n")
    assert "Free Memory" in rig.type("mem-dump\r\n")
    rig.type("clear-claim-data\r\n")
    assert _fctry(rig) == b"\xff" * 0x6000


# Any bytes.


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([*ENDPOINTS, "", "nothing"]), st.binary(max_size=200)), min_size=1, max_size=8),
    st.sampled_from(list(Security)),
)
def test_any_request_is_survived(requests, security):
    """No request to any endpoint, in any scheme, raises an exception, and a phone can still provision the board."""
    rig = _rig(security=security)
    call = through(rig.board)
    for endpoint, body in requests:
        if rig.board.service is not None:
            rig.board.provision(endpoint, body)
    rig.timeline.run(2.0)
    del call
    rig.board.flash.erase(NVS, 0x6000)
    rig.boot()
    assert _phone(rig, _scheme(security)).node_id()


_MESSAGE = st.recursive(
    st.one_of(st.integers(0, 20), st.binary(max_size=70)),
    lambda inner: st.lists(st.tuples(st.integers(1, 24), inner), max_size=4).map(lambda pairs: pb(*pairs)),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(ENDPOINTS[1:]), st.lists(st.tuples(st.integers(1, 24), _MESSAGE), max_size=4)),
        min_size=1,
        max_size=8,
    )
)
def test_any_message_in_a_session_is_survived(messages):
    """Any correctly encrypted message is answered or closes the connection, and the console keeps working."""
    rig = _rig(security=Security.PLAIN)
    for endpoint, fields in messages:
        if rig.board.service is not None:
            rig.board.provision(endpoint, pb(*fields))
            rig.timeline.run(0.3)
    assert "Node ID: NodeOfThisVeryTest" in rig.type("get-node-id\r\n")


# The wire format, against Google's implementation.


@given(st.text(max_size=40), st.integers(-(1 << 31), (1 << 31) - 1), st.text(max_size=300))
def test_wire_agrees_with_protobuf(name, value, default):
    """Strings and signed 32-bit integers are written and read as by protobuf."""
    theirs = FieldDescriptorProto(name=name, number=value, default_value=default)
    ours = wire.put(1, name) + wire.put(3, value) + wire.put(7, default)
    assert FieldDescriptorProto.FromString(ours) == theirs
    fields = wire.decode(theirs.SerializeToString())
    assert fields == {1: name.encode(), 3: value % (1 << 64), 7: default.encode()}


@given(st.binary(max_size=60))
def test_wire_takes_any_bytes(data):
    """Any bytes are a message or a WireError."""
    try:
        wire.decode(data)
    except wire.WireError:
        return


@pytest.mark.parametrize("data", [b"\x08", b"\x0a\x05x", b"\x0b", b"\x00", b"\x08" + b"\xff" * 11, b"\x0d123"])
def test_wire_refuses(data):
    """Half a varint, a length beyond the end, groups, field 0, an endless varint, half a fixed number are rejected."""
    with pytest.raises(wire.WireError):
        wire.decode(data)


def test_wire_knows_kinds():
    """A field of the wrong type is rejected; an absent one is empty; fixed numbers are skipped."""
    fields = wire.decode(wire.put(1, 5) + wire.put(2, b"xy") + b"\x1d1234" + b"\x2112345678")
    for read_as, field in ((wire.octets, 1), (wire.integer, 2), (wire.message, 1)):
        with pytest.raises(wire.WireError):
            read_as(fields, field)
    assert (wire.integer(fields, 9), wire.octets(fields, 9), wire.message(fields, 9)) == (0, b"", None)
    assert wire.scalar(4, 0) == b""


@pytest.mark.parametrize(
    "values", [{"ssid": ""}, {"ssid": "x" * 33}, {"rssi": 1}, {"channel": 15}, {"password": "abc"}]
)
def test_networks_are_checked(values):
    """An invalid network is rejected."""
    with pytest.raises(ValueError, match=r"SSID|RSSI|password"):
        AccessPoint(**{"ssid": "x", **values})
