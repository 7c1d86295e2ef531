"""The entries that the generator adds to Wi-Fi credentials, so that images of a config stay byte-identical.

After the first `sta.ssid` or `sta.pswd` it writes three blank entries of the Wi-Fi driver. Before the last of
`ap.ssid`, `ap.passwd` and an `ap.authmode` other than 0 it writes the derived key of the access point.
Source: esp_idf_nvs_partition_gen 0.3.0, `write_entry` (key names, lengths), IEEE 802.11 PSK mapping (PBKDF2).
"""

from __future__ import annotations

from collections.abc import Sequence

from rmfab.nvs.table import Entry, EntryKind, Namespace

_STATION = ("sta.ssid", "sta.pswd")
_ACCESS_POINT = ("ap.ssid", "ap.passwd", "ap.authmode")
COMPANIONED = frozenset((*_STATION, *_ACCESS_POINT))

_STATION_BLANKS = (("sta.apinfo", b"\xff" * 140), ("sta.pmk", b"\x00" * 32), ("sta.apsw", b"\x00" * 2))


def with_companions(items: Sequence[Entry | Namespace]) -> list[Entry | Namespace]:
    """Return the *items*, with the entries that the generator adds to Wi-Fi credentials."""
    result: list[Entry | Namespace] = []
    station_done = False
    access_point: dict[str, bytes] = {}
    for item in items:
        if isinstance(item, Entry) and item.key in _ACCESS_POINT:
            access_point |= _set_part(item)
            if len(access_point) == len(_ACCESS_POINT):
                key = _pmk(access_point["ap.passwd"], access_point["ap.ssid"])
                result.append(Entry(item.namespace, "ap.pmk_info", EntryKind.BLOB, bytes(100) + key))
        result.append(item)
        if isinstance(item, Entry) and item.key in _STATION and not station_done:
            result.extend(Entry(item.namespace, key, EntryKind.BLOB, value) for key, value in _STATION_BLANKS)
            station_done = True
    return result


def _set_part(item: Entry) -> dict[str, bytes]:
    value = item.value if isinstance(item.value, bytes) else str(item.value).encode()
    unset = not value or (item.key == "ap.authmode" and value == b"0")
    return {} if unset else {item.key: value}


def _pmk(password: bytes, ssid: bytes) -> bytes:
    import hashlib  # slow to import: it loads OpenSSL, and few configs have Wi-Fi credentials

    return hashlib.pbkdf2_hmac("sha1", password, ssid, 4096, 32)
