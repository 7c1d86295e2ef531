"""How RainMaker firmware on a virtual board uses the factory partition, and its console."""

from __future__ import annotations

import hashlib
import json
import re

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from rmfab.nvs.packing import pack
from rmfab.nvs.reader import read_image
from rmfab.nvs.table import Entry, EntryKind
from rmfab.product.vocabulary import QrForm, Security, Transport
from rmfab.virtual.firmware.sec2 import verifier
from tests.virtual.rig import FCTRY, NVS, Rig, factory_image, key_pem, parts

POP = bytes(range(4)).hex()


def _boot(factory, seconds=1.0, **options):
    rig = Rig(parts=parts(factory=factory, **options))
    return rig, rig.boot(seconds)


def _payload(text):
    return re.search(r"^https://rainmaker\.espressif\.com/qrcode\.html\?data=(.*)$", text, re.MULTILINE)[1]


@pytest.mark.parametrize(
    ("options", "payload"),
    [
        ({}, {"ver": "v1", "name": "PROV_3d3e3f", "username": "wifiprov", "pop": POP, "transport": "ble"}),
        (
            {"security": Security.X25519, "transport": Transport.SOFTAP, "name_prefix": "Lamp"},
            {"ver": "v1", "name": "Lamp_3d3e3f", "pop": POP, "transport": "softap"},
        ),
        ({"security": Security.PLAIN}, {"ver": "v1", "name": "PROV_3d3e3f", "pop": POP, "transport": "ble"}),
    ],
)
def test_qr_payload_follows_the_firmware(options, payload):
    """Name, PoP, user name and transport match the compile options and `random`."""
    _, text = _boot(factory_image(), **options)
    assert payload == json.loads(_payload(text))
    assert " " not in _payload(text)


def test_compact_qr():
    """The compact form is one line of NP:name|pop|transport."""
    _, text = _boot(factory_image(), qr=QrForm.COMPACT)
    assert f"NP:PROV_3d3e3f|{POP}|b" == _payload(text)


MISSING = {
    "node_id": [
        'Failed to initialise Node Id. Please perform "claiming" using RainMaker CLI.',
        "Could not initialise node. Aborting!!!",
    ],
    "client_cert": ["Failed to get client cert", "Failed to initialise MQTT Params."],
    "client_key": ["Failed to get client key", "Failed to initialise MQTT Params."],
    "mqtt_host": ["Failed to get mqtt host", "Failed to initialise MQTT Params."],
    "random": ["Failed to read random bytes from NVS to generate PoP.", "Could not start network. Aborting!!!"],
}


@pytest.mark.parametrize("key", MISSING)
def test_missing_values_abort(key):
    """Firmware that cannot claim reports each missing factory value in its own words, aborts and restarts."""
    _, text = _boot(factory_image(**{key: None}), seconds=7.0, claim=False)
    for line in MISSING[key]:
        assert line in text
    assert "abort() was called at PC" in text
    assert "rst:0xc (RTC_SW_CPU_RST)" in text
    assert "Provisioning started with" not in text


def test_values_must_be_blobs():
    """A node id written as a string is invisible, as for nvs_get_blob()."""
    entries = [
        Entry("rmaker_creds", "node_id", EntryKind.STRING, "visible?"),
        Entry("rmaker_creds", "client_cert", EntryKind.BLOB, b"x"),
    ]
    _, text = _boot(pack(entries, 0x6000), claim=False)
    assert "Failed to initialise Node Id." in text


def test_blank_factory_partition():
    """A blank `fctry` mounts and is empty."""
    _, text = _boot(b"\xff" * 0x6000, claim=False)
    assert "Failed to initialise Node Id." in text


def test_blank_factory_partition_of_firmware_that_claims():
    """Firmware that can claim generates `random`, stores it in `fctry`, and uses it from then on."""
    rig, text = _boot(b"\xff" * 0x6000)
    random = read_image(rig.board.flash.read(FCTRY, 0x6000)).value("rmaker_creds", "random")
    assert len(random) == 64
    assert f"service name : PROV_{random[-3:].hex()} " in text
    assert f'"pop":"{random[:4].hex()}"' in _payload(rig.boot())


def test_firmware_that_could_claim_uses_what_the_factory_gave():
    """With certificate and key in `fctry` the firmware does not claim; without a host it uses the compiled one."""
    _, text = _boot(factory_image(mqtt_host=None))
    assert "esp_claim" not in text
    assert "Provisioning started with service name" in text


def test_firmware_that_shows_no_qr():
    """The QR payload is printed only if that was compiled in."""
    _, text = _boot(factory_image(), prints_qr=False)
    assert "qrcode.html" not in text
    assert "Provisioning started with service name" in text


def test_claiming_takes_the_mac():
    """With `random` but without credentials the firmware claims, and its node id is the MAC until then."""
    rig, text = _boot(factory_image(node_id=None, client_cert=None, client_key=None, mqtt_host=None))
    assert f"Node ID ----- {rig.spec.base_mac.hex().upper()}" in text
    assert "esp_claim: Initialising Assisted Claiming. This may take time." in text
    assert "Provisioning started with service name" in text


def test_given_pair_is_used_and_fctry_untouched():
    """A factory pair is used unchanged."""
    image = factory_image()
    rig, text = _boot(image)
    assert "Reusing cached sec2 salt-verifier from NVS" in text
    assert image == rig.board.flash.read(FCTRY, 0x6000)


def test_missing_pair_is_made_once():
    """Without a pair, the firmware makes one for the PoP, stores it in `fctry`, and reuses it."""
    rig, text = _boot(factory_image(sec2_salt=None, sec2_verifier=None))
    assert "Generating sec2 salt-verifier for username 'wifiprov'" in text
    assert "Stored sec2 salt-verifier to NVS for later use" in text
    image = read_image(rig.board.flash.read(FCTRY, 0x6000))
    assert image.sound
    salt, value = (image.value("rmaker_creds", key) for key in ("sec2_salt", "sec2_verifier"))
    assert len(salt) == 16
    if salt[15]:  # a salt with a zero as its first byte is stored shifted, see sec2.make_pair
        assert value == verifier(salt, POP) or value == verifier(salt[:15], POP)
    assert "Reusing cached sec2 salt-verifier from NVS" in rig.boot()


def test_verifier_of_rfc5054_group():
    """The verifier is g^H(salt|H(user:pop)) modulo a safe prime of 3072 bits."""
    import gmpy2

    from rmfab.virtual.firmware.sec2 import PRIME

    assert PRIME.bit_length() == 3072
    assert gmpy2.is_prime(PRIME)
    inner = hashlib.sha512(b"wifiprov:abcd1234").digest()
    exponent = int.from_bytes(hashlib.sha512(b"s" * 16 + inner).digest(), "big")
    assert gmpy2.powmod(5, exponent, PRIME) == int.from_bytes(verifier(b"s" * 16, "abcd1234"), "big")


def test_provisioned_board_says_so():
    """A network in `nvs` keeps the board from offering provisioning until a factory reset, which keeps `fctry`."""
    ssid = (5).to_bytes(4, "little") + b"plant".ljust(32, b"\0")
    nvs = pack([Entry("nvs.net80211", "sta.ssid", EntryKind.BLOB, ssid)], 0x6000)
    rig = Rig(parts=[*parts(), (NVS, nvs)])
    assert "app_wifi: Already provisioned, starting Wi-Fi STA" in rig.boot()
    before = rig.board.flash.read(FCTRY, 0x6000)
    text = rig.type("reset-to-factory\r\n", 1.0)
    assert "rst:0xc (RTC_SW_CPU_RST)" in text
    assert "Provisioning started with service name" in text
    assert before == rig.board.flash.read(FCTRY, 0x6000)


def test_console_names_the_node_and_knows_its_commands():
    """get-node-id, help, reboot and an unknown command are answered, each followed by the prompt."""
    rig, _ = _boot(factory_image())
    answer = rig.type("get-node-id\r\n")
    assert re.search(r"^esp_rmaker_commands: Node ID: NodeOfThisVeryTest\n\n>> $", answer, re.MULTILINE)
    assert "sign-data" in rig.type("help\r")
    assert "Unrecognized command" in rig.type("make-coffee\n")
    assert "esp_rmaker_node: Node ID ----- NodeOfThisVeryTest" in rig.type("reboot\r\n", 1.0)


def test_console_takes_a_line_in_pieces():
    """A command may arrive byte by byte."""
    rig, _ = _boot(factory_image())
    rig.type("get-node")
    assert "Node ID: NodeOfThisVeryTest" in rig.type("-id\r\n")


def _signature(rig, text):
    answer = rig.type(f"sign-data {text}\r\n")
    length, digits = re.search(r"esp_rmaker_commands: hex signature\(len (\d+)\): ([0-9a-f]+)", answer).groups()
    assert int(length) * 2 == len(digits)
    return bytes.fromhex(digits)


def test_signature_by_an_ec_key():
    """sign-data proves the key in `fctry`: ECDSA over SHA-256, in DER."""
    pem = key_pem()
    rig, _ = _boot(factory_image(client_key=pem))
    signature = _signature(rig, "challenge")
    load_pem_private_key(pem, None).public_key().verify(signature, b"challenge", ec.ECDSA(hashes.SHA256()))


def test_signature_by_an_rsa_key():
    """sign-data with an RSA key uses PSS over SHA-256."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    rig, _ = _boot(factory_image(client_key=pem))
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
    key.public_key().verify(_signature(rig, "challenge"), b"challenge", pss, hashes.SHA256())


def test_wrong_key_signs_wrongly():
    """The fault `wrong-key` gives a valid signature by a different key."""
    pem = key_pem()
    rig = Rig(parts=parts(factory=factory_image(client_key=pem)), faults=["wrong-key"])
    rig.boot()
    with pytest.raises(InvalidSignature):
        load_pem_private_key(pem, None).public_key().verify(_signature(rig, "x"), b"x", ec.ECDSA(hashes.SHA256()))


def test_unreadable_key_is_said():
    """A key that is not PEM cannot sign."""
    rig, _ = _boot(factory_image(client_key=b"nonsense"))
    assert "Failed to sign message." in rig.type("sign-data x\r\n")


def test_other_identity():
    """The fault `other-identity` prints a different node id in the boot log and on the console."""
    rig = Rig(parts=parts(), faults=["other-identity"])
    assert "NodeOfThisVeryTest" not in rig.boot()
    assert "NodeOfThisVeryTest" not in rig.type("get-node-id\r\n")


def test_firmware_without_console():
    """Firmware built without the console does not answer commands."""
    rig, text = _boot(factory_image(), console=False)
    assert ">>" not in text
    assert rig.type("get-node-id\r\n") == ""


def test_stale_pages_lie_where_nvs_will_be():
    """The fault `stale-nvs` leaves pages with a different identity.

    A line that does not write the whole `fctry` inherits them.
    """
    rig = Rig(faults=["stale-nvs"])
    image = read_image(rig.board.flash.read(FCTRY, 0x6000))
    assert image.value("rmaker_creds", "node_id") == b"StaleNodeOfAnEarlierLife"
    assert sum(page.written > 0 for page in image.pages) >= 2
