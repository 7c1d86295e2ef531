"""Images as a table and as a JSON document, with redacted secrets."""

import json

import pytest

from rmfab.nvs.listing import document, lines
from rmfab.nvs.packing import pack
from rmfab.nvs.reader import read_image
from rmfab.nvs.table import Entry, EntryKind

CERT = "-----BEGIN CERTIFICATE-----\n" + "A" * 200 + "\n"
IMAGE = read_image(
    pack(
        [
            Entry("rmaker_creds", "node_id", EntryKind.BLOB, b"node-1"),
            Entry("rmaker_creds", "client_cert", EntryKind.BLOB, CERT.encode()),
            Entry("rmaker_creds", "client_key", EntryKind.BLOB, b"hunter2-key"),
            Entry("rmaker_creds", "random", EntryKind.BLOB, b"\x00\xde\xad\xbe\xef"),
            Entry("shop", "pop", EntryKind.STRING, "hunter2-pop"),
            Entry("shop", "lot", EntryKind.U32, 42),
        ],
        0x6000,
    )
)


def table(reveal: bool) -> str:
    return "\n".join(lines(IMAGE, reveal=reveal))


def test_table():
    """The table shows names, types, sizes and public values, one line per entry, and the pages."""
    rows = table(reveal=False).splitlines()
    assert rows[0].split() == ["NAMESPACE", "KEY", "TYPE", "SIZE", "VALUE"]
    assert rows[1].split() == ["rmaker_creds", "node_id", "blob", "6", "node-1"]
    assert rows[2].endswith("…")
    assert rows[6].split() == ["shop", "lot", "u32", "4", "42"]
    assert rows[-1].startswith("pages: 0 active (")
    assert len(rows) == 8


@pytest.mark.parametrize("secret", ["hunter2-key", "hunter2-pop", "00deadbeef"])
def test_secrets_are_blanked(secret):
    """Strings and blobs with keys that are not public appear in neither form without *reveal*."""
    assert secret not in table(reveal=False)
    assert secret not in json.dumps(document(IMAGE, reveal=False))
    assert secret in table(reveal=True)
    assert secret in json.dumps(document(IMAGE, reveal=True))


@pytest.mark.parametrize(
    "key",
    ["pin", "setup_pin", "setupPin", "PIN2", "passcode", "unlockCode", "pop", "wifi.pswd", "salt", "api_key", "otp"],
)
@pytest.mark.parametrize("kind", [EntryKind.U32, EntryKind.U64, EntryKind.U16])
def test_secret_numbers(key, kind):
    """Numbers with the name of a secret are redacted too."""
    image = read_image(pack([Entry("n", key, kind, 48291)], 0x3000))
    assert "48291" not in "\n".join(lines(image, reveal=False)) + json.dumps(document(image, reveal=False))
    assert "48291" in "\n".join(lines(image, reveal=True))


@pytest.mark.parametrize("key", ["lot", "hw_version", "ap.authmode", "ap.chan", "spin_rate", "keyboard", "boot_count"])
def test_public_numbers(key):
    """Other numbers are shown."""
    image = read_image(pack([Entry("n", key, EntryKind.U16, 4829)], 0x3000))
    assert "4829" in "\n".join(lines(image, reveal=False))


def test_odd_values():
    """Floats, infinities and strings that are not UTF-8 are shown, and the document is JSON."""
    entries = [
        Entry("n", "f", EntryKind.FLOAT, 1.5),
        Entry("n", "d", EntryKind.DOUBLE, float("-inf")),
        Entry("n", "s", EntryKind.STRING, b"caf\xe9"),
    ]
    made = document(read_image(pack(entries, 0x3000)), reveal=True)
    assert [entry.get("value") for entry in made["entries"]] == [1.5, "-inf", None]
    assert made["entries"][2]["hex"] == b"caf\xe9".hex()
    json.dumps(made, allow_nan=False)


def test_redaction_names_the_size():
    """A redacted value shows its size."""
    assert "<redacted, 11 bytes>" in table(reveal=False)


def test_document():
    """The document has entries with types, blobs in hex and also as text if they are text, and pages."""
    entries = {entry["key"]: entry for entry in document(IMAGE, reveal=True)["entries"]}
    assert entries["node_id"] | {"hex": b"node-1".hex(), "value": "node-1"} == entries["node_id"]
    assert entries["client_cert"]["value"] == CERT
    assert "value" not in entries["random"]
    assert entries["lot"]["value"] == 42
    shown = document(IMAGE, reveal=False)
    assert {entry["key"] for entry in shown["entries"] if entry.get("redacted")} == {"client_key", "random", "pop"}
    assert shown["size"] == 0x6000
    assert shown["pages"][0]["state"] == "active"
    assert shown["findings"] == []


def test_control_characters_cannot_reach_the_terminal():
    """Control characters of a value are escaped."""
    image = read_image(pack([Entry("n", "node_id", EntryKind.STRING, "a\x1b[2Jb\nc")], 0x3000))
    (row,) = [line for line in lines(image, reveal=True) if "node_id" in line]
    assert row.endswith("a\\x1b[2Jb\\nc")
