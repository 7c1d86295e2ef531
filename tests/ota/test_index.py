"""The index of a shelf: round trips, successors, and what is rejected."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab.errors import InputError
from rmfab.ota.index import Index, Listed
from rmfab.product.vocabulary import Chip
from rmfab.signing import canonical
from tests.ota.conftest import AN_ENVELOPE, a_release


def listed(version: str = "1.0.0", seq: int | None = 1, chip: Chip = Chip.ESP32C3, *, mark: int = 0) -> Listed:
    """A release of lamp; *mark* makes a different release of the same version."""
    digest = hashlib.sha256(f"{version} {seq} {chip.value} {mark}".encode()).hexdigest()
    return Listed("lamp", chip, version, version, seq, digest, digest[::-1], 4096, 0, None)


FIRST = Index().with_release(listed(), "stable")
SECOND = FIRST.with_release(listed("1.1.0", 2), "stable")

_texts = st.text(st.characters(codec="utf-8"), max_size=12)
_listed = st.builds(
    Listed,
    project=_texts,
    chip=st.sampled_from(Chip),
    version=_texts,
    app_version=_texts,
    seq=st.one_of(st.none(), st.integers(0, 1 << 53)).map(lambda n: n if n is None else min(n, (1 << 53) - 1)),
    release=st.integers(0, (1 << 256) - 1).map("{:064x}".format),
    sha256=st.integers(0, (1 << 256) - 1).map("{:064x}".format),
    size=st.integers(0, 1 << 32),
    secure_version=st.integers(0, (1 << 32) - 1),
    envelope_sha256=st.none() | st.just("e" * 64),
)
_releases = st.lists(_listed, min_size=1, max_size=6, unique_by=lambda one: one.release)
_order = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["stable", "beta"])), min_size=1, max_size=10)


@given(_releases, _order)
def test_round_trip(releases: list[Listed], order: list[tuple[int, str]]):
    """An index with any releases reads back unchanged, names the index before, and keeps its releases."""
    index = Index()
    for number, channel in order:
        one = releases[number % len(releases)]
        try:
            following = index.with_release(one, channel)
        except InputError:
            continue
        assert following.offered(channel, one.target) == one
        assert set(index.releases) <= set(following.releases)
        assert following is index or following.previous == (index.digest if index.releases else None)
        index = following
    assert Index.parse(index.encode(), "x") == index


def test_the_document():
    """An index is canonical and sorted, and contains the paths that readers follow."""
    release = a_release("1.0.0", 7)
    index = Index().with_release(Listed.of(release, AN_ENVELOPE), "stable")
    sha256 = release.part("app").sha256
    assert json.loads(index.encode()) == {
        "format": "rmfab-ota-index",
        "format_version": 1,
        "previous": None,
        "releases": [
            {
                "project": "lamp",
                "chip": "esp32c3",
                "version": "1.0.0",
                "app_version": "1.0.0",
                "seq": 7,
                "release": release.digest,
                "image": f"images/{sha256}.bin",
                "size": release.part("app").size,
                "sha256": sha256,
                "manifest": f"releases/{release.digest}.json",
                "envelope": f"releases/{hashlib.sha256(AN_ENVELOPE).hexdigest()}.dsse.json",
                "envelope_sha256": hashlib.sha256(AN_ENVELOPE).hexdigest(),
                "secure_version": 7,
            }
        ],
        "channels": {"stable": {"lamp/esp32c3": release.digest}},
    }
    assert b'"envelope"' not in FIRST.encode()
    assert json.loads(SECOND.encode())["previous"] == FIRST.digest


def test_the_same_again_is_nothing_to_do():
    """Publishing what a channel offers already changes nothing; adding or replacing signatures does.

    An unsigned release does not remove the signatures of the same release.
    """
    assert FIRST.with_release(listed(), "stable") is FIRST
    signed = FIRST.with_release(replace(listed(), envelope_sha256="a" * 64), "stable")
    assert signed.releases[0].envelope_sha256 == "a" * 64
    again = signed.with_release(replace(listed(), envelope_sha256="b" * 64), "stable")
    assert (again.releases[0].envelope_sha256, again.previous) == ("b" * 64, signed.digest)
    assert signed.with_release(listed(), "stable") is signed


def test_channels_and_targets_are_apart():
    """A release on one channel or for one chip does not change what the others offer."""
    index = SECOND.with_release(listed("1.2.0-rc1", 3), "beta").with_release(listed(chip=Chip.ESP32), "stable")
    assert index.offered("stable", "lamp/esp32c3") == listed("1.1.0", 2)
    assert index.offered("beta", "lamp/esp32c3") == listed("1.2.0-rc1", 3)
    assert index.offered("stable", "lamp/esp32") == listed(chip=Chip.ESP32)
    assert index.offered("beta", "lamp/esp32") is None
    assert [one.version for one in index.releases] == ["1.0.0", "1.0.0", "1.1.0", "1.2.0-rc1"]


@pytest.mark.parametrize(
    ("new", "channel", "cause"),
    [
        (listed("1.1.0", 5, mark=1), "beta", "version-taken"),
        (listed("1.1.1", 2), "stable", "seq-taken"),
        (listed(), "stable", "downgrade"),
        (listed("0.9.0", None), "stable", "downgrade"),
        (listed(), "../stable", "channel"),
        (listed(), "", "channel"),
    ],
)
def test_refusals(new: Listed, channel: str, cause: str):
    """A version and a seq belong to one release of a project and chip; a channel does not go back."""
    with pytest.raises(InputError) as caught:
        SECOND.with_release(new, channel)
    assert caught.value.cause == cause
    assert caught.value.hint


def test_a_downgrade_that_is_meant():
    """allow_downgrade lets a channel go back, also to a release that is on the shelf already."""
    back = SECOND.with_release(listed(), "stable", allow_downgrade=True)
    assert back.offered("stable", "lamp/esp32c3") == listed()
    assert (back.releases, back.previous) == (SECOND.releases, SECOND.digest)


def _changed(*path: str | int, value: Any) -> bytes:
    """SECOND with one value changed, in canonical form."""
    document = json.loads(SECOND.encode())
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return canonical.encode(document)


DAMAGED = {
    "nothing": b"",
    "no JSON": b"<html>",
    "a list": b"[]",
    "other bytes for the same": SECOND.encode() + b"\n",
    "a different document": canonical.encode({"format": "other"}),
    "a newer format": _changed("format_version", value=2),
    "a true for a one": _changed("format_version", value=True),
    "no releases": canonical.encode(json.loads(Index().encode())),
    "releases that are none": _changed("releases", value="x"),
    "an odd entry": _changed("releases", 0, value={}),
    "a different order": _changed("releases", value=json.loads(SECOND.encode())["releases"][::-1]),
    "a release twice": _changed("releases", 1, value=json.loads(SECOND.encode())["releases"][0]),
    "a seq twice": _changed("releases", 1, "seq", value=1),
    "a path elsewhere": _changed("releases", 0, "image", value="../../etc/passwd"),
    "an envelope elsewhere": _changed("releases", 0, "envelope", value="x"),
    "a field more": _changed("releases", 0, "mood", value="good"),
    "a key more": _changed("mood", value="good"),
    "a size that is not a number": _changed("releases", 0, "size", value="4096"),
    "a size that is a truth": _changed("releases", 0, "size", value=True),
    "a negative size": _changed("releases", 0, "size", value=-1),
    "a digest in capitals": _changed("releases", 0, "sha256", value="A" * 64),
    "an unknown chip": _changed("releases", 0, "chip", value="esp8266"),
    "a name that is none": _changed("releases", 0, "project", value=7),
    "half a letter": SECOND.encode().replace(b'"lamp"', b'"\\ud800"'),
    "a previous index that is not a digest": _changed("previous", value="x"),
    "a channel of nothing": _changed("channels", "stable", value={}),
    "a channel of a list": _changed("channels", "stable", value=[]),
    "channels that are none": _changed("channels", value=[]),
    "a channel with a bad name": _changed("channels", "a/b", value={"lamp/esp32c3": listed().release}),
    "an offer that is not listed": _changed("channels", "stable", "lamp/esp32c3", value="0" * 64),
    "an offer for a different chip": _changed("channels", "stable", "lamp/esp32", value=listed().release),
    "an offer that is a list": _changed("channels", "stable", "lamp/esp32c3", value=[]),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged(data: bytes):
    """An index that `encode` would not write is an error that names the file."""
    with pytest.raises(InputError) as caught:
        Index.parse(data, "shelf/latest.json")
    assert (caught.value.where, caught.value.cause) == ("shelf/latest.json", "index")
    assert caught.value.hint


def test_a_newer_format_asks_for_an_update():
    """An index of a later rmfab is not reported as damaged."""
    with pytest.raises(InputError, match="has format version 2") as caught:
        Index.parse(_changed("format_version", value=2), "x")
    assert "update this one" in str(caught.value.hint)
