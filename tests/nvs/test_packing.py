"""Images are packed with the bytes of Espressif's generator, and read back by our reader."""

import io

import pytest
from esp_idf_nvs_partition_gen import nvs_partition_gen
from hypothesis import given, settings
from hypothesis import strategies as st

from rmfab.errors import InputError, IntegrityError
from rmfab.nvs import packing
from rmfab.nvs.packing import LARGEST_STRING, judge_fit, pack
from rmfab.nvs.reader import read_image
from rmfab.nvs.table import ENTRIES_PER_PAGE, Entry, EntryKind, Namespace, PageVersion

from .strategies import GENERATOR_KINDS, tables


def plain_generator(entries, size, version):
    """Return the image of the generator's API, which needs the index of the namespace if namespaces are interleaved."""
    stream = io.BytesIO()
    indexes = {}
    with nvs_partition_gen.nvs_open(stream, size - 4096, version=int(version)) as nvs:
        for entry in entries:
            if entry.namespace not in indexes:
                nvs.write_namespace(entry.namespace)
                indexes[entry.namespace] = nvs.get_namespace_count()
            encoding = "binary" if entry.kind is EntryKind.BLOB else entry.kind.value
            nvs.write_entry(entry.key, entry.value, encoding, indexes[entry.namespace])
    return stream.getvalue()


def for_version(entries, version):
    """Return the entries that fit pages of *version*."""
    if version is PageVersion.V2:
        return entries
    return [entry for entry in entries if entry.kind is not EntryKind.BLOB or entry.size <= 1984]


@settings(max_examples=60, deadline=None)
@given(tables(), st.sampled_from(PageVersion))
def test_round_trip(entries, version):
    """Our reader finds the packed entries, in order, for any mix of kinds and namespaces."""
    entries = for_version(entries, version)
    image = pack(entries, 0x80000, version)
    assert len(image) == 0x80000
    assert read_image(image).entries == tuple(entries)


@settings(max_examples=150, deadline=None)
@given(tables(blob=20000, kinds=GENERATOR_KINDS), st.sampled_from(PageVersion))
def test_bytes_are_the_generators(entries, version):
    """The bytes are the generator's, for any mix of kinds and namespaces, and blobs over several pages."""
    entries = for_version(entries, version)
    assert pack(entries, 0x100000, version) == plain_generator(entries, 0x100000, version)


EDGES = [0, 1, 31, 32, 33, 64, 1983, 1984, 3936, 3967, 3968, 3999, 4000, 4001, 8000, 12001]


@pytest.mark.slow
@pytest.mark.parametrize("version", PageVersion)
@pytest.mark.parametrize("kind", [EntryKind.BLOB, EntryKind.STRING, EntryKind.U64])
def test_bytes_at_every_place_of_a_page(version, kind):
    """The bytes are the generator's wherever on a page an item begins, and whether it just fits or just does not."""
    largest = {EntryKind.BLOB: 1984, EntryKind.STRING: 1983, EntryKind.U64: 0}[kind]
    if version is PageVersion.V2:
        largest = {EntryKind.BLOB: 99999, EntryKind.STRING: LARGEST_STRING, EntryKind.U64: 0}[kind]
    make = {EntryKind.BLOB: bytes, EntryKind.STRING: "x".__mul__, EntryKind.U64: int}[kind]
    for before in range(ENTRIES_PER_PAGE + 1):
        entries = [Entry("n", f"k{number}", EntryKind.U8, number) for number in range(before)]
        for size in (size for size in EDGES if size <= largest):
            items = [*entries, Entry("n", "item", kind, make(size)), Entry("n", "after", EntryKind.I16, -1)]
            assert pack(items, 0x8000, version) == plain_generator(items, 0x8000, version)


@settings(max_examples=60, deadline=None)
@given(tables(blob=5000, kinds=GENERATOR_KINDS), st.sampled_from(PageVersion), st.integers(3, 24))
def test_fit_is_foreseen(entries, version, pages):
    """judge_fit is exact: the generator packs what passes, and rejects what does not."""
    entries = for_version(entries, version)
    size = pages * 0x1000
    try:
        packed = len(plain_generator(entries, size, version))
    except nvs_partition_gen.InsufficientSizeError:
        with pytest.raises(InputError, match="need a partition of"):
            judge_fit(entries, size, version)
    else:
        assert packed == size
        judge_fit(entries, size, version)


def test_reopened_namespace_ends_right():
    """A namespace that is opened again gets its entries; the generator would put them into the last namespace."""
    entries = [Entry("a", "x", EntryKind.U8, 1), Entry("b", "x", EntryKind.U8, 2), Entry("a", "y", EntryKind.U8, 3)]
    image = read_image(pack(entries, 0x3000))
    assert image.value("a", "y") == 3
    assert image.value("b", "y") is None
    stream = io.BytesIO()
    with nvs_partition_gen.nvs_open(stream, 0x2000, version=0xFE) as nvs:
        for key, kind, value in [("a", "namespace", ""), ("b", "namespace", ""), ("a", "namespace", "")]:
            nvs_partition_gen.write_entry(nvs, key, kind, "", value)
        nvs_partition_gen.write_entry(nvs, "y", "data", "u8", "3")
    assert read_image(stream.getvalue()).value("b", "y") == 3, "the generator's defect is fixed: compare with it"


def test_namespace_without_entries():
    """A namespace can be declared without entries, and gets its index at its declaration."""
    image = pack([Namespace("empty"), Namespace("full"), Entry("full", "k", EntryKind.I16, -7)], 0x3000)
    assert read_image(image).entries == (Entry("full", "k", EntryKind.I16, -7),)
    assert image[64 + 8 : 64 + 14] == b"empty\0"


def test_duplicate_key():
    """A key that is twice in one namespace is rejected; in two namespaces it is accepted."""
    with pytest.raises(InputError, match="duplicate key"):
        pack([Entry("a", "k", EntryKind.U8, 1), Entry("a", "k", EntryKind.U16, 2)], 0x3000)
    assert (
        len(read_image(pack([Entry("a", "k", EntryKind.U8, 1), Entry("b", "k", EntryKind.U8, 2)], 0x3000)).entries) == 2
    )


@pytest.mark.parametrize("size", [0, 0x1000, 0x2000, 0x3001, -0x3000, 0x6100])
def test_bad_size(size):
    """A size that is not that of a writable partition is rejected."""
    with pytest.raises(InputError, match="cannot pack"):
        pack([], size)


def test_too_big_names_both_sizes():
    """The error has the size that the entries need, and they fit this size."""
    entries = [Entry("a", "blob", EntryKind.BLOB, bytes(9000))]
    with pytest.raises(InputError, match="need a partition of 0x4000 bytes, it has 0x3000") as caught:
        pack(entries, 0x3000)
    assert caught.value.cause == "nvs-too-big"
    assert read_image(pack(entries, 0x4000)).entries == tuple(entries)


@pytest.mark.parametrize(("version", "longest"), [(PageVersion.V2, LARGEST_STRING), (PageVersion.V1, 1983)])
def test_longest_string(version, longest):
    """The longest string that the generator packs is packed; one byte more is rejected with the limit."""
    assert read_image(pack([Entry("a", "s", EntryKind.STRING, "x" * longest)], 0x4000, version)).value("a", "s")
    with pytest.raises(InputError, match=f"at most {longest}"):
        pack([Entry("a", "s", EntryKind.STRING, "x" * (longest + 1))], 0x6000, version)


def test_blob_limits_of_the_versions():
    """Format 1 rejects a blob of more than 1984 bytes, format 2 spreads it over pages."""
    pack([Entry("a", "b", EntryKind.BLOB, bytes(1984))], 0x3000, PageVersion.V1)
    with pytest.raises(InputError, match="V1 holds at most 1984"):
        pack([Entry("a", "b", EntryKind.BLOB, bytes(1985))], 0x6000, PageVersion.V1)
    with pytest.raises(InputError, match="508000"):
        pack([Entry("a", "b", EntryKind.BLOB, bytes(508_001))], 0x100000)
    big = Entry("a", "b", EntryKind.BLOB, bytes(508_000))
    assert read_image(pack([Entry("a", "x", EntryKind.U8, 1), big], 0x100000)).value("a", "b") == big.value


def test_too_many_namespaces():
    """254 namespaces are accepted, 255 are rejected."""
    pack([Namespace(f"n{number}") for number in range(254)], 0x6000)
    with pytest.raises(InputError, match="254"):
        pack([Namespace(f"n{number}") for number in range(255)], 0x6000)


def test_wifi_keys_stay_alone():
    """Packing adds nothing to Wi-Fi credentials; only mass_mfg does."""
    entries = (Entry("nvs.net80211", "sta.ssid", EntryKind.STRING, "x"),)
    assert read_image(pack(entries, 0x3000)).entries == entries


def test_wrong_image_never_leaves(monkeypatch):
    """An image that does not read back as its entries raises IntegrityError, without showing values."""
    damaged = bytearray(pack([Entry("a", "k", EntryKind.BLOB, b"secret-value")], 0x3000))
    damaged[64 + 96] ^= 1
    monkeypatch.setattr(packing, "_pack", lambda *_: bytes(damaged))
    with pytest.raises(IntegrityError) as caught:
        pack([Entry("a", "k", EntryKind.BLOB, b"secret-value")], 0x3000)
    assert "secret" not in str(caught.value)


def test_nothing_is_printed(capfd):
    """Packing prints nothing."""
    pack([Entry("a", "k", EntryKind.U8, 1)], 0x3000)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
