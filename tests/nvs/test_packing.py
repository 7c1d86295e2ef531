"""Images are packed by the generator and come back from our reader."""

import io

import pytest
from esp_idf_nvs_partition_gen import nvs_partition_gen
from hypothesis import given, settings
from hypothesis import strategies as st

from rmfab.errors import InputError, IntegrityError
from rmfab.nvs import packing
from rmfab.nvs.fit import LARGEST_STRING, judge_fit
from rmfab.nvs.packing import pack
from rmfab.nvs.reader import read_image
from rmfab.nvs.table import Entry, EntryKind, Namespace, PageVersion

from .strategies import tables


def plain_generator(entries, size, version):
    """The generator's own API, without our pages; namespaces must not be interleaved."""
    stream = io.BytesIO()
    with nvs_partition_gen.nvs_open(stream, size - 4096, version=int(version)) as nvs:
        current = None
        for entry in entries:
            if entry.namespace != current:
                current = entry.namespace
                nvs.write_namespace(current)
            encoding = "binary" if entry.kind is EntryKind.BLOB else entry.kind.value
            nvs.write_entry(entry.key, entry.value, encoding)
    return stream.getvalue()


@settings(max_examples=60, deadline=None)
@given(tables(), st.sampled_from(PageVersion))
def test_round_trip(entries, version):
    """What is packed, in any mixture of kinds and namespaces, is what our own reader finds, in its order."""
    if version is PageVersion.V1:
        entries = [entry for entry in entries if entry.kind is not EntryKind.BLOB or entry.size <= 1984]
    image = pack(entries, 0x80000, version)
    assert len(image) == 0x80000
    assert read_image(image).entries == tuple(entries)


@settings(max_examples=60, deadline=None)
@given(tables(blob=5000), st.sampled_from(PageVersion))
def test_bytes_are_the_generators(entries, version):
    """The faster pages change no byte of what the generator writes."""
    entries = sorted(entries, key=lambda entry: entry.namespace)
    if version is PageVersion.V1:
        entries = [entry for entry in entries if entry.kind is not EntryKind.BLOB or entry.size <= 1984]
    assert pack(entries, 0x60000, version) == plain_generator(entries, 0x60000, version)


@settings(max_examples=60, deadline=None)
@given(tables(blob=5000), st.sampled_from(PageVersion), st.integers(3, 24))
def test_fit_is_foreseen(entries, version, pages):
    """Whether entries fit is foreseen exactly: the generator packs what passes and refuses what does not."""
    entries = sorted(entries, key=lambda entry: entry.namespace)
    if version is PageVersion.V1:
        entries = [entry for entry in entries if entry.kind is not EntryKind.BLOB or entry.size <= 1984]
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
    """A namespace that is opened again gets its entries, where the generator would file them under the last one."""
    entries = [Entry("a", "x", EntryKind.U8, 1), Entry("b", "x", EntryKind.U8, 2), Entry("a", "y", EntryKind.U8, 3)]
    image = read_image(pack(entries, 0x3000))
    assert image.value("a", "y") == 3
    assert image.value("b", "y") is None
    stream = io.BytesIO()
    with nvs_partition_gen.nvs_open(stream, 0x2000, version=0xFE) as nvs:
        for key, kind, value in [("a", "namespace", ""), ("b", "namespace", ""), ("a", "namespace", "")]:
            nvs_partition_gen.write_entry(nvs, key, kind, "", value)
        nvs_partition_gen.write_entry(nvs, "y", "data", "u8", "3")
    assert read_image(stream.getvalue()).value("b", "y") == 3, "the generator's defect is gone: fence no longer needed"


def test_namespace_without_entries():
    """A namespace can be declared without entries and takes its index where it stands."""
    image = pack([Namespace("empty"), Namespace("full"), Entry("full", "k", EntryKind.I16, -7)], 0x3000)
    assert read_image(image).entries == (Entry("full", "k", EntryKind.I16, -7),)
    assert image[64 + 8 : 64 + 14] == b"empty\0"


def test_duplicate_key():
    """A key that stands twice in its namespace is refused, in two namespaces it is fine."""
    with pytest.raises(InputError, match="twice"):
        pack([Entry("a", "k", EntryKind.U8, 1), Entry("a", "k", EntryKind.U16, 2)], 0x3000)
    assert (
        len(read_image(pack([Entry("a", "k", EntryKind.U8, 1), Entry("b", "k", EntryKind.U8, 2)], 0x3000)).entries) == 2
    )


@pytest.mark.parametrize("size", [0, 0x1000, 0x2000, 0x3001, -0x3000, 0x6100])
def test_bad_size(size):
    """A size that is no partition for writing is refused."""
    with pytest.raises(InputError, match="cannot be packed"):
        pack([], size)


def test_too_big_names_both_sizes():
    """What does not fit says how much room it needs, and fits exactly there."""
    entries = [Entry("a", "blob", EntryKind.BLOB, bytes(9000))]
    with pytest.raises(InputError, match="need a partition of 0x4000 bytes, it has 0x3000") as caught:
        pack(entries, 0x3000)
    assert caught.value.cause == "nvs-too-big"
    assert read_image(pack(entries, 0x4000)).entries == tuple(entries)


@pytest.mark.parametrize(("version", "longest"), [(PageVersion.V2, LARGEST_STRING), (PageVersion.V1, 1983)])
def test_longest_string(version, longest):
    """The longest string that the generator packs is packed, one byte more is refused with a reason."""
    assert read_image(pack([Entry("a", "s", EntryKind.STRING, "x" * longest)], 0x4000, version)).value("a", "s")
    with pytest.raises(InputError, match=f"at most {longest}"):
        pack([Entry("a", "s", EntryKind.STRING, "x" * (longest + 1))], 0x6000, version)


def test_blob_limits_of_the_versions():
    """Format 1 refuses a blob over 1984 bytes, format 2 spreads it over pages."""
    pack([Entry("a", "b", EntryKind.BLOB, bytes(1984))], 0x3000, PageVersion.V1)
    with pytest.raises(InputError, match="V1 take at most 1984"):
        pack([Entry("a", "b", EntryKind.BLOB, bytes(1985))], 0x6000, PageVersion.V1)
    with pytest.raises(InputError, match="508000"):
        pack([Entry("a", "b", EntryKind.BLOB, bytes(508_001))], 0x100000)
    big = Entry("a", "b", EntryKind.BLOB, bytes(508_000))
    assert read_image(pack([Entry("a", "x", EntryKind.U8, 1), big], 0x100000)).value("a", "b") == big.value


def test_too_many_namespaces():
    """NVS has 254 namespaces; the next one is refused."""
    pack([Namespace(f"n{number}") for number in range(254)], 0x6000)
    with pytest.raises(InputError, match="254"):
        pack([Namespace(f"n{number}") for number in range(255)], 0x6000)


def test_wifi_keys_stay_alone():
    """Packing adds nothing beside Wi-Fi credentials; only mass_mfg inputs do."""
    entries = (Entry("nvs.net80211", "sta.ssid", EntryKind.STRING, "x"),)
    assert read_image(pack(entries, 0x3000)).entries == entries


def test_wrong_image_never_leaves(monkeypatch):
    """An image that does not read back as asked is an integrity error."""
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
