"""The reader sees what firmware sees, reports every problem, and never crashes."""

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmfab.errors import InputError
from rmfab.nvs.packing import pack
from rmfab.nvs.reader import Image, Severity, read_image
from rmfab.nvs.table import Entry, EntryKind, PageState, PageVersion

from .handmade import ACTIVE, BLANK, FREEING, FULL, HandPage, crc, image


def kinds(decoded: Image) -> list[str]:
    return [finding.kind for finding in decoded.findings]


def page(sequence: int = 0, state: int = ACTIVE, *, named: bool = True, version: int = 0xFE) -> HandPage:
    made = HandPage(sequence, state, version)
    if named:
        made.u8(0, b"ns", 1)
    return made


def test_sizes():
    """A size that is not a multiple of a page is rejected."""
    for size in (0, 1, 4095, 4097):
        with pytest.raises(InputError):
            read_image(bytes(size))


def test_blank_image():
    """A blank partition has no entries and no findings."""
    decoded = read_image(BLANK * 6)
    assert (decoded.entries, decoded.findings) == ((), ())
    assert {summary.state for summary in decoded.pages} == {PageState.UNINITIALIZED}


def test_sound_image_by_hand():
    """A page built by hand from the description of the format is read without findings."""
    made = page()
    made.put(1, 0x12, b"i16", struct.pack("<h", -5))
    made.put(1, 0x08, b"u64", struct.pack("<Q", 2**64 - 1))
    made.long(1, 0x21, b"text", b"h\xc3\xa9\0")
    made.long(1, 0x42, b"blob", b"x" * 40, chunk=0)
    made.index(1, b"blob", 40, 1)
    decoded = read_image(image(made, BLANK, BLANK))
    assert decoded.findings == ()
    assert [(entry.key, entry.value) for entry in decoded.entries] == [
        ("i16", -5),
        ("u64", 2**64 - 1),
        ("text", "hé"),
        ("blob", b"x" * 40),
    ]
    assert decoded.value("ns", "text") == "hé"
    assert decoded.value("ns", "nothing") is None
    assert decoded.pages[0].written == made.used


@pytest.mark.parametrize("start", [0x00, 0x80])
def test_blob_over_pages(start):
    """A blob's chunks are found on several pages, in either range of chunk numbers."""
    first, second = page(0, FULL), page(1, named=False)
    first.long(1, 0x42, b"blob", b"a" * 100, chunk=start)
    second.long(1, 0x42, b"blob", b"b" * 50, chunk=start + 1)
    second.index(1, b"blob", 150, 2, start)
    assert read_image(image(second, first, BLANK)).value("ns", "blob") == b"a" * 100 + b"b" * 50


def test_version_1_blob():
    """Blobs of version 1 pages are read."""
    made = page(version=0xFF)
    made.long(1, 0x41, b"old", b"y" * 70)
    decoded = read_image(image(made, BLANK, BLANK))
    assert decoded.value("ns", "old") == b"y" * 70
    assert decoded.pages[0].version == 1


def test_erased_entries_are_skipped():
    """An erased entry is skipped, although its bytes are still there."""
    made = page()
    made.mark(made.u8(1, b"gone", 7), 0b00)
    made.u8(1, b"here", 8)
    decoded = read_image(image(made, BLANK, BLANK))
    assert [entry.key for entry in decoded.entries] == ["here"]
    assert decoded.pages[0].erased == 1
    assert decoded.findings == ()


def test_page_order_is_by_sequence():
    """Pages are read in the order of their sequence numbers, not in flash order."""
    old, new = page(3, FULL), page(4, named=False)
    old.u8(1, b"k", 1)
    new.u8(1, b"other", 2)
    assert [entry.key for entry in read_image(image(new, old, BLANK)).entries] == ["k", "other"]


def test_newest_item_replaces_the_older():
    """After a power cut the last item of the last page erases the older one, as firmware does."""
    old, new = page(0, FULL), page(1, named=False)
    old.u8(1, b"k", 1)
    new.u8(1, b"k", 2)
    decoded = read_image(image(old, new, BLANK))
    assert decoded.value("ns", "k") == 2
    assert kinds(decoded) == ["superseded"]
    assert decoded.sound


def test_stale_page():
    """A leftover page of an older image is reported, and the first item of a name is used."""
    new, stale = page(0), page(1)
    for key in (b"k", b"l"):
        new.u8(1, key, 1)
        stale.u8(1, key, 2)
    stale.u8(1, b"z", 3)
    decoded = read_image(image(new, stale, BLANK))
    assert decoded.value("ns", "k") == 1
    assert {"active-page", "stale-page", "duplicate-item", "duplicate-namespace"} <= set(kinds(decoded))
    assert not decoded.sound


def test_equal_sequence_numbers():
    """Two pages with one sequence number are an error."""
    assert "stale-page" in kinds(read_image(image(page(5), page(5, named=False), BLANK)))


def test_page_that_was_being_freed():
    """The items of a page that was being freed are read, and its partial copy is dropped."""
    freeing, copy = page(0, FREEING), page(1, named=False)
    freeing.u8(1, b"k", 1)
    copy.u8(1, b"half", 2)
    decoded = read_image(image(freeing, copy, BLANK))
    assert [entry.key for entry in decoded.entries] == ["k"]
    assert kinds(decoded)[-1] == "freeing-page"


def test_power_cut_before_the_old_value_was_erased():
    """If the last item of the active page repeats an earlier one of any type, firmware erases that: only a warning."""
    made = page()
    made.long(1, 0x21, b"k", b"old\0")
    made.u8(1, b"other", 1)
    made.u8(1, b"k", 2)
    decoded = read_image(image(made, BLANK, BLANK))
    assert decoded.value("ns", "k") == 2
    assert kinds(decoded) == ["superseded"]
    assert decoded.sound


def test_power_cut_after_a_new_blob_was_written():
    """The index of the new version replaces the old one; the chunks of the old version are orphans: only warnings."""
    made = page()
    made.long(1, 0x42, b"blob", b"old value", chunk=0)
    made.index(1, b"blob", 9, 1)
    made.long(1, 0x42, b"blob", b"new", chunk=0x80)
    without = read_image(image(made, BLANK, BLANK))
    assert (without.value("ns", "blob"), kinds(without), without.sound) == (b"old value", ["orphan-chunk"], True)
    made.index(1, b"blob", 3, 1, 0x80)
    decoded = read_image(image(made, BLANK, BLANK))
    assert (decoded.value("ns", "blob"), kinds(decoded)) == (b"new", ["superseded", "orphan-chunk"])
    assert decoded.sound


def test_same_key_twice_on_the_active_page():
    """On the active page the later of two items is used, as in firmware; no power cut leaves them if others follow."""
    made = page()
    made.u8(1, b"k", 1)
    made.u8(1, b"k", 2)
    made.u8(1, b"other", 1)
    decoded = read_image(image(made, BLANK, BLANK))
    assert decoded.value("ns", "k") == 2
    assert kinds(decoded) == ["duplicate-item"]
    assert not decoded.sound


def test_two_types_of_one_key():
    """Firmware asks for a name and a type: on two pages it finds both, on one page only the first."""
    first, last = page(0, FULL), page(1, named=False)
    first.u8(1, b"k", 1)
    first.long(1, 0x21, b"k", b"hidden\0")
    last.long(1, 0x21, b"k", b"text\0")
    last.u8(1, b"x", 1)
    decoded = read_image(image(first, last, BLANK))
    assert [(entry.key, entry.value) for entry in decoded.entries] == [("k", 1), ("k", "text"), ("x", 1)]
    assert kinds(decoded) == ["duplicate-item", "two-types"]


def test_blob_of_both_formats():
    """Firmware reads the blob of format 2, wherever that of format 1 is."""
    first, last = page(0, FULL, version=0xFF), page(1, named=False)
    first.long(1, 0x41, b"k", b"old")
    last.long(1, 0x42, b"k", b"new", chunk=0)
    last.index(1, b"k", 3, 1)
    last.u8(1, b"x", 1)
    decoded = read_image(image(first, last, BLANK))
    assert decoded.value("ns", "k") == b"new"
    assert kinds(decoded) == ["duplicate-item"]


def test_float_and_double():
    """The types of ESP-IDF 6.1 are read; NaN, which firmware never writes, is skipped."""
    made = page()
    made.put(1, 0x24, b"f", struct.pack("<f", 1.5))
    made.put(1, 0x28, b"d", struct.pack("<d", -0.1))
    made.put(1, 0x28, b"inf", struct.pack("<d", float("inf")))
    made.put(1, 0x24, b"nan", struct.pack("<f", float("nan")))
    decoded = read_image(image(made, BLANK, BLANK))
    assert [(entry.key, entry.kind, entry.value, entry.size) for entry in decoded.entries] == [
        ("f", EntryKind.FLOAT, 1.5, 4),
        ("d", EntryKind.DOUBLE, -0.1, 8),
        ("inf", EntryKind.DOUBLE, float("inf"), 8),
    ]
    assert kinds(decoded) == ["odd-entry"]


def test_string_that_is_not_utf8():
    """A string that is not UTF-8 keeps its bytes: firmware does not care, and it packs to the same image."""
    made = page()
    made.long(1, 0x21, b"latin", b"caf\xe9\0")
    decoded = read_image(image(made, BLANK, BLANK))
    assert [(entry.kind, entry.value, entry.size) for entry in decoded.entries] == [(EntryKind.STRING, b"caf\xe9", 5)]
    assert (kinds(decoded), decoded.sound) == (["string-utf8"], True)
    assert pack(decoded.entries, 0x3000) == image(made, BLANK, BLANK)


def test_same_key_twice_on_a_full_page():
    """On a full page the first of two items is used."""
    made, last = page(0, FULL), page(1, named=False)
    made.u8(1, b"k", 1)
    made.u8(1, b"k", 2)
    last.u8(1, b"x", 1)
    decoded = read_image(image(made, last, BLANK))
    assert decoded.value("ns", "k") == 1
    assert kinds(decoded) == ["duplicate-item"]


def bad_header(made):
    made.data[28] ^= 1


def not_blank(made):
    made.data[0:4] = b"\xff\xff\xff\xff"


def odd_state(made):
    made.data[0:4] = b"\x12\x34\x56\x78"


def new_version(made):
    fresh = HandPage(0, ACTIVE, 0xFD)
    made.data[:32] = fresh.data[:32]


def bad_entry(made):
    made.data[64 + 32 + 24] ^= 1


def impossible_state(made):
    made.data[32] = made.data[32] & ~0b1100 | 0b0100


def after_the_end(made):
    made.mark(made.used + 3, 0b10)


def half_written(made):
    made.data[64 + 32 * made.used] = 0


def no_namespace(made):
    made.u8(9, b"lost", 1)


def two_names(made):
    made.u8(0, b"twin", 1)


def odd_namespace(made):
    made.u8(0, b"any", 255)


def unknown_type(made):
    made.put(1, 0x77, b"what", b"")


def span_of_integer(made):
    made.put(1, 0x01, b"wide", b"\x01", span=3)


def span_past_the_page(made):
    made.put(1, 0x21, b"long", struct.pack("<HHI", 5, 0xFFFF, 0), span=200)


def span_zero(made):
    made.put(1, 0x21, b"zero", struct.pack("<HHI", 5, 0xFFFF, 0), span=0)


def partly_written(made):
    index = made.long(1, 0x21, b"part", b"x" * 40 + b"\0")
    made.mark(index + 1, 0b00)


def longer_than_span(made):
    made.put(1, 0x21, b"lies", struct.pack("<HHI", 500, 0xFFFF, 0), span=1)


def bad_data(made):
    index = made.long(1, 0x21, b"text", b"abc\0")
    made.data[64 + 32 * (index + 1)] ^= 1


def no_nul(made):
    made.long(1, 0x21, b"text", b"abc")


def not_utf8(made):
    made.long(1, 0x21, b"text", b"\xff\xfe\0")


def odd_key(made):
    made.u8(1, b"k\x01", 1)


def orphan(made):
    made.long(1, 0x42, b"blob", b"abc", chunk=0)


def missing_chunk(made):
    made.long(1, 0x42, b"blob", b"abc", chunk=0)
    made.index(1, b"blob", 6, 2)


def one_chunk_too_many(made):
    made.long(1, 0x42, b"blob", b"abc", chunk=0)
    made.long(1, 0x42, b"blob", b"def", chunk=1)
    made.index(1, b"blob", 3, 1)


def index_as_chunk(made):
    made.put(1, 0x48, b"blob", struct.pack("<IBB", 0, 0, 0), chunk=0)


def chunk_as_index(made):
    made.long(1, 0x42, b"blob", b"abc", chunk=0xFF)


def longer_span(made):
    made.put(1, 0x21, b"text", struct.pack("<HHI", 2, 0xFFFF, crc(b"a\0")), span=3)
    made.raw(b"a\0".ljust(32, b"\xff"))
    made.raw(b"\xff" * 32)


def wrong_size(made):
    made.long(1, 0x42, b"blob", b"abc", chunk=0)
    made.index(1, b"blob", 4, 1)


DAMAGES = [
    (bad_header, "page-crc", "error"),
    (not_blank, "page-not-blank", "error"),
    (odd_state, "page-state", "error"),
    (new_version, "page-version", "error"),
    (bad_entry, "entry-crc", "error"),
    (impossible_state, "entry-state", "error"),
    (after_the_end, "entry-after-end", "error"),
    (half_written, "half-written", "warning"),
    (no_namespace, "no-namespace", "error"),
    (two_names, "duplicate-namespace", "error"),
    (odd_namespace, "namespace-entry", "error"),
    (unknown_type, "entry-shape", "error"),
    (span_of_integer, "entry-shape", "error"),
    (span_past_the_page, "entry-shape", "error"),
    (span_zero, "entry-shape", "error"),
    (partly_written, "entry-shape", "error"),
    (longer_than_span, "entry-shape", "error"),
    (bad_data, "data-crc", "error"),
    (no_nul, "string-end", "error"),
    (not_utf8, "string-utf8", "warning"),
    (odd_key, "odd-entry", "warning"),
    (orphan, "orphan-chunk", "warning"),
    (missing_chunk, "blob-chunk", "error"),
    (wrong_size, "blob-size", "error"),
    (one_chunk_too_many, "blob-chunk", "error"),
    (index_as_chunk, "entry-shape", "error"),
    (chunk_as_index, "entry-shape", "error"),
    (longer_span, "entry-shape", "error"),
]


@pytest.mark.parametrize(("damage", "kind", "severity"), DAMAGES, ids=lambda value: getattr(value, "__name__", value))
def test_damage_is_named(damage, kind, severity):
    """Each kind of damage is a finding with its kind, severity and page."""
    made = page()
    made.u8(1, b"first", 1)
    damage(made)
    finding = next(finding for finding in read_image(image(made, BLANK, BLANK)).findings if finding.kind == kind)
    assert finding.severity is Severity(severity)
    assert finding.page == 0
    assert str(finding).startswith("page 0")


@pytest.mark.parametrize("damage", [missing_chunk, wrong_size, one_chunk_too_many])
def test_blob_that_does_not_match_its_index(damage):
    """Firmware of ESP-IDF 5.3 and later erases such a blob when it opens the partition: one finding, no value."""
    made = page()
    damage(made)
    decoded = read_image(image(made, BLANK, BLANK))
    assert decoded.value("ns", "blob") is None
    (finding,) = decoded.findings
    assert "5.3" in finding.text


def test_no_free_page():
    """Without a free page firmware rejects the partition; a smaller one can still be read."""
    refused = read_image(image(page(0, FULL), page(1, FULL, named=False), page(2, named=False)))
    assert kinds(refused) == ["no-free-page"]
    assert not refused.mountable
    small = page()
    small.u8(1, b"k", 1)
    readable = read_image(image(small))
    assert readable.mountable
    assert readable.sound
    assert readable.value("ns", "k") == 1


def test_unmountable_image_gives_no_values():
    """If firmware rejects the partition, no value is read, but its entries can be shown."""
    made, strange = page(0, FULL), HandPage(1, ACTIVE, 0xFD)
    made.u8(1, b"k", 1)
    decoded = read_image(image(made, strange, BLANK))
    assert decoded.entries
    assert not decoded.mountable
    assert decoded.value("ns", "k") is None


def test_wrong_chunk_data_loses_the_blob():
    """A blob with a damaged chunk is dropped, and the chunk is reported."""
    entries = [Entry("a", "b", EntryKind.BLOB, b"z" * 64)]
    damaged = bytearray(pack(entries, 0x3000))
    damaged[64 + 64 + 5] ^= 0x10
    decoded = read_image(bytes(damaged))
    assert decoded.entries == ()
    assert kinds(decoded) == ["data-crc"]


def test_namespace_without_a_reachable_index():
    """Of two namespaces with one name, firmware uses the first and cannot reach the entries of the second."""
    made, second = page(0, FULL), page(1, named=False)
    made.u8(1, b"k", 1)
    second.u8(0, b"ns", 2)
    second.u8(2, b"k", 5)
    second.u8(2, b"last", 5)
    decoded = read_image(image(made, second, BLANK))
    assert decoded.value("ns", "k") == 1
    assert {"duplicate-namespace", "no-namespace"} <= set(kinds(decoded))


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=0, max_size=300), st.integers(1, 4), st.randoms(use_true_random=False))
def test_arbitrary_bytes(head, pages, rng):
    """Arbitrary bytes do not crash the reader."""
    noise = bytes(rng.getrandbits(8) for _ in range(200))
    body = (head + noise * 100)[: pages * 4096].ljust(pages * 4096, b"\xff")
    read_image(body)


SOUND = pack(
    [
        Entry("creds", "id", EntryKind.BLOB, b"node"),
        Entry("creds", "cert", EntryKind.BLOB, bytes(range(256)) * 20),
        Entry("creds", "n", EntryKind.I32, -1),
        Entry("other", "text", EntryKind.STRING, "hello"),
    ],
    0x5000,
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(SOUND) - 1), st.sampled_from(["flip", "zero", "ff", "noise"]), st.integers(1, 64)),
        min_size=1,
        max_size=8,
    ),
    st.integers(),
)
def test_mutated_images(mutations, seed):
    """Damage at any place neither crashes the reader nor changes a value silently."""
    rng = random.Random(seed)
    data = bytearray(SOUND)
    for place, how, length in mutations:
        end = min(place + length, len(data))
        if how == "flip":
            data[place] ^= 1 << rng.randrange(8)
        elif how == "noise":
            data[place:end] = rng.randbytes(end - place)
        else:
            data[place:end] = (b"\0" if how == "zero" else b"\xff") * (end - place)
    decoded = read_image(bytes(data))
    sound = {(entry.namespace, entry.key): entry.value for entry in read_image(SOUND).entries}
    for entry in decoded.entries:
        assert sound.get((entry.namespace, entry.key)) == entry.value


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 4), st.binary(min_size=32, max_size=32), st.integers(0, 125), st.sampled_from([ACTIVE, FULL]))
def test_mutated_entries_with_right_crc(kind, entry, index, state):
    """Entries with a valid CRC but absurd content do not crash the reader."""
    made = page(0, state)
    made.long(1, 0x42, b"blob", b"abc", chunk=0)
    types = (0x01, 0x21, 0x41, 0x42, 0x48)
    made.used = max(made.used, index)
    if made.used < 126:
        made.put(entry[0], types[kind], entry[8:24], entry[24:32], span=entry[2], chunk=entry[3])
        for before in range(made.used):
            made.mark(before, 0b10)
    read_image(image(made, BLANK, BLANK))


@pytest.mark.parametrize("version", PageVersion)
def test_packed_pages_are_summarised(version):
    """The summary has versions, states and the fill level of the pages."""
    packed = read_image(pack([Entry("a", f"k{number}", EntryKind.U8, 1) for number in range(130)], 0x5000, version))
    assert [summary.written for summary in packed.pages] == [126, 5, 0, 0, 0]
    assert [summary.state for summary in packed.pages[:2]] == [PageState.FULL, PageState.ACTIVE]
    assert packed.pages[0].version == (2 if version is PageVersion.V2 else 1)
