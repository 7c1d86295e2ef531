"""The bundle: canonical, reproducible, and rejected if a byte differs."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rmfab.errors import InputError, IntegrityError
from rmfab.release import container
from rmfab.release.bundle import build_bundle, open_bundle
from rmfab.release.opening import open_release
from rmfab.release.parts import Part
from rmfab.release.release import Release

from .conftest import with_part


def test_a_bundle_reads_back_as_the_release(release: Release, tmp_path: Path):
    """Build folder and bundle give the same release with the same digest, from memory and from a file."""
    data = build_bundle(release)
    path = tmp_path / "lamp.rmfab"
    path.write_bytes(data)
    for read in (open_bundle(data, "lamp.rmfab").release(), open_release(path)):
        assert read == release
        assert read.digest == release.digest
        assert build_bundle(read) == data


def test_tar_reads_it(release: Release):
    """Python's tarfile finds the members, their order and the fixed fields."""
    with tarfile.open(fileobj=io.BytesIO(build_bundle(release)), mode="r:") as archive:
        members = archive.getmembers()
        assert [m.name for m in members] == [
            "manifest.json",
            "manifest.sha256",
            "parts/app.bin",
            "parts/bootloader.bin",
            "parts/otadata.bin",
            "parts/partition-table.bin",
        ]
        assert {(m.mode, m.uid, m.gid, m.mtime, m.uname, m.gname, m.type) for m in members} == {
            (0o644, 0, 0, 0, "", "", tarfile.REGTYPE)
        }
        manifest = archive.extractfile(members[0]).read()
        assert archive.extractfile(members[2]).read() == release.part("app").data
    assert hashlib.sha256(manifest).hexdigest() == release.digest
    statement = json.loads(manifest)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicate"]["app"]["project"] == "rmfab-demo"
    assert statement["predicate"]["table_offset"] == 0xC000
    app = {one["name"]: one["digest"]["sha256"] for one in statement["subject"]}["parts/app.bin"]
    assert app == hashlib.sha256(release.part("app").data).hexdigest()


@pytest.mark.skipif(shutil.which("tar") is None or shutil.which("sha256sum") is None, reason="no tar or sha256sum here")
def test_the_systems_tools_read_and_check_it(release: Release, tmp_path: Path):
    """tar unpacks it without warnings, and sha256sum checks the manifest."""
    (tmp_path / "b").write_bytes(build_bundle(release))
    done = subprocess.run(["tar", "xf", "b"], cwd=tmp_path, capture_output=True, check=True)
    assert done.stderr == b""
    subprocess.run(["sha256sum", "-c", "manifest.sha256"], cwd=tmp_path, capture_output=True, check=True)
    assert (tmp_path / "parts" / "app.bin").read_bytes() == release.part("app").data


@pytest.mark.slow
def test_every_changed_byte_is_refused(tiny_release: Release):
    """A change of one bit or all bits in any byte of a small bundle is rejected."""
    data = build_bundle(tiny_release)
    for at in range(len(data)):
        for flip in (1 << at % 8, 0xFF):
            changed = bytearray(data)
            changed[at] ^= flip
            with pytest.raises(IntegrityError):
                open_bundle(bytes(changed), "changed").release()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.data())
def test_inserted_removed_and_moved_bytes_are_refused(tiny_release: Release, data: st.DataObject):
    """Cutting, inserting or swapping pieces does not give a valid bundle."""
    whole = build_bundle(tiny_release)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), min_size=2, max_size=2)))
    a, b, c = whole[: cuts[0]], whole[cuts[0] : cuts[1]], whole[cuts[1] :]
    changed = data.draw(st.sampled_from([a, a + c, a + b, b + a + c, a + b + b + c, whole + b, a + bytes(512) + b + c]))
    if changed == whole:
        return
    with pytest.raises((IntegrityError, InputError)):
        open_bundle(changed, "changed").release()


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_same_input_gives_the_same_bytes(
    build_folder: Path, release: Release, tmp_path: Path, zone: str, umask: int, monkeypatch: pytest.MonkeyPatch
):
    """Time zone, umask, modes, times and order of files do not change the bytes."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    before = os.umask(umask)
    try:
        copy = tmp_path / "copy"
        for path in sorted(build_folder.rglob("*.*"), reverse=True):
            target = copy / path.relative_to(build_folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
        assert build_bundle(open_release(copy)) == build_bundle(release)
    finally:
        os.umask(before)
        monkeypatch.undo()
        time.tzset()


def test_hash_seed_and_locale_leave_no_trace(build_folder: Path, release: Release):
    """A process with a different hash seed and locale writes the same bytes."""
    code = (
        "import hashlib, pathlib, sys; from rmfab.release.opening import open_release;"
        "from rmfab.release.bundle import build_bundle;"
        "print(hashlib.sha256(build_bundle(open_release(pathlib.Path(sys.argv[1])))).hexdigest())"
    )
    env = dict(os.environ, PYTHONHASHSEED="4711", LC_ALL="tr_TR.UTF-8", PYTHONPATH=os.pathsep.join(sys.path))
    done = subprocess.run(
        [sys.executable, "-c", code, build_folder], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == hashlib.sha256(build_bundle(release)).hexdigest()


def _pack(members: list[tuple[str, bytes]]) -> bytes:
    """A bundle of any members, with correct headers and checksum line."""
    manifest = dict(members)["manifest.json"]
    line = f"{hashlib.sha256(manifest).hexdigest()}  manifest.json\n".encode()
    packed = [(name, line if name == "manifest.sha256" else data) for name, data in members]
    return container.encode(packed, 0)


def _members(release: Release) -> list[tuple[str, bytes]]:
    return [(name, bytes(data)) for name, data in container.decode(build_bundle(release))[0]]


def _with_manifest(release: Release, change: Callable[[dict], object]) -> bytes:
    """The bundle with a change of its manifest's predicate, or of the whole statement under the key `statement`."""
    manifest = json.loads(release.manifest)
    predicate = manifest["predicate"]
    change(predicate | {"statement": manifest} if "statement" in change.__code__.co_consts else predicate)
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return _pack([("manifest.json", text.encode()), *_members(release)[1:]])


def test_the_packer_of_these_tests_is_right(tiny_release: Release):
    """Without a change, the packer of these tests gives the bundle: the rejections below are due to the change."""
    assert _with_manifest(tiny_release, lambda m: None) == build_bundle(tiny_release)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["app"].update(version="1.5.0"),
        lambda m: m["flash"].update(size=8 << 20),
        lambda m: m.update(idf_version="v6.0"),
        lambda m: m.update(table_offset=0x8000),
        lambda m: m.update(more=1),
        lambda m: m.pop("flash"),
        lambda m: m.pop("chip"),
        lambda m: m.update(chip="esp8266"),
        lambda m: m.update(format="other"),
        lambda m: m.update(parts=[]),
        lambda m: m.update(parts={}),
        lambda m: m["parts"].append(m["parts"][0]),
        lambda m: m["parts"].reverse(),
        lambda m: m["parts"].pop(),
        lambda m: m["parts"][0].update(sha256=m["parts"][1]["sha256"]),
        lambda m: m["parts"][0].update(sha256=""),
        lambda m: m["parts"][0].update(size=1),
        lambda m: m["parts"][0].update(offset=0.0),
        lambda m: m["parts"][0].update(offset=-4096),
        lambda m: m["parts"][0].update(name="../bootloader"),
        lambda m: m["parts"][0].update(name=None),
        lambda m: m["partitions"][0].update(size=0x5000),
        lambda m: m["partitions"].reverse(),
        lambda m: m.update(seq=-1),
        lambda m: m.update(seq=True),
        lambda m: m.update(seq="7"),
        lambda m: m.update(seq=1 << 53),
        lambda m: m.update(version="a b"),
        lambda m: m.update(created="2026-02-30T00:00:00Z"),
        lambda m: m.update(created="2026-02-03T00:00:00Z"),
        lambda m: m["configured"].update(security=7),
        lambda m: m["configured"].update(other=1),
        lambda m: m["app"].update(secure_version=1),
        lambda m: m["statement"].update(_type="https://in-toto.io/Statement/v0.1"),
        lambda m: m["statement"].update(predicateType="https://slsa.dev/provenance/v1"),
        lambda m: m["statement"]["subject"].pop(),
        lambda m: m["statement"]["subject"].append(m["statement"]["subject"][0]),
        lambda m: m["statement"]["subject"][0]["digest"].update(sha1="0" * 40),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(tiny_release: Release, change: Callable[[dict], object]):
    """A manifest that does not follow from the parts is rejected, even with a correct checksum line."""
    with pytest.raises(IntegrityError):
        open_bundle(_with_manifest(tiny_release, change), "changed").release()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null\n",
        b"[]\n",
        b"{}\n",
        b"NaN\n",
        b"\xff\n",
        b"[" * 100_000,
        b'{\n  "_type": "https://in-toto.io/Statement/v1",\n  "predicateType": "urn:rmfab:release"\n}\n',
    ],
)
def test_a_manifest_that_is_none(tiny_release: Release, text: bytes):
    """A manifest that is not JSON, or different JSON, is rejected."""
    with pytest.raises(IntegrityError):
        open_bundle(_pack([("manifest.json", text), *_members(tiny_release)[1:]]), "changed").release()


def test_a_manifest_in_other_words_is_refused(tiny_release: Release):
    """The same values with other spaces or a duplicate key are rejected."""
    spaced = json.dumps(json.loads(tiny_release.manifest), sort_keys=True).encode()
    doubled = tiny_release.manifest.replace(b'"chip"', b'"chip":"esp32c3","chip"', 1)
    for text in (spaced, doubled, tiny_release.manifest + b"\n"):
        with pytest.raises(IntegrityError, match=r"not what rmfab writes|duplicate key"):
            open_bundle(_pack([("manifest.json", text), *_members(tiny_release)[1:]]), "changed").release()


def test_a_later_format_asks_for_a_newer_rmfab(tiny_release: Release):
    """An unknown format version is not reported as damage."""
    with pytest.raises(InputError, match="format version 3") as caught:
        open_bundle(_with_manifest(tiny_release, lambda m: m.update(format_version=3)), "new").release()
    assert "newer rmfab" in str(caught.value.hint)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: [*m, ("parts/more.bin", b"x")],
        lambda m: [*m, m[-1]],
        lambda m: m[:-1],
        lambda m: [*m[:2], m[3], m[2], *m[4:]],
        lambda m: [m[0], *m[2:], m[1]],
        lambda m: [m[0], *m[2:]],
        lambda m: [*m[:-1], ("parts/renamed.bin", m[-1][1])],
        lambda m: [*m[:-1], ("../" + m[-1][0], m[-1][1])],
        lambda m: [*m[:-1], ("/" + m[-1][0], m[-1][1])],
        lambda m: [*m[:-1], (m[-1][0], m[-1][1][:-32])],
        lambda m: [*m, ("signatures/owner.dsse", b"{}")],
        lambda m: [*m, ("signatures/manifest.dsse.json", b"{}")],
        lambda m: [*m, ("sbom.spdx", b"SPDXVersion: SPDX-2.3\n")],
    ],
)
def test_members_added_missing_renamed_or_swapped(tiny_release: Release, change: Callable[[list], list]):
    """The members must be exactly those of the manifest, in order, once each."""
    with pytest.raises(IntegrityError):
        open_bundle(_pack(change(_members(tiny_release))), "changed").release()


def test_parts_may_not_be_swapped_between_bundles(tiny_release: Release):
    """A part of a different bundle does not match the manifest's digest."""
    members = _members(tiny_release)
    other = dict(members)["parts/bootloader.bin"] + b"\xff" * 16
    swapped = [(name, other if name == "parts/bootloader.bin" else data) for name, data in members]
    with pytest.raises(IntegrityError, match="SHA-256"):
        open_bundle(_pack(swapped), "swapped").release()


def test_a_size_that_is_not_there_takes_no_memory(tiny_release: Release):
    """A header that announces eight gigabytes is rejected without allocating them."""
    data = build_bundle(tiny_release)
    bomb = container._header("parts/app.bin", 0o77777777777, 0) + bytes(1024)
    with pytest.raises(IntegrityError, match="truncated"):
        open_bundle(data[:-1024] + bomb, "bomb").release()


@pytest.mark.parametrize("data", [b"", b"\xe9" * 4096, bytes(10240)])
def test_what_is_no_bundle_is_bad_input(data: bytes):
    """A file that is not a bundle is bad input, with a hint how to make one."""
    with pytest.raises(InputError, match="not a release bundle"):
        open_bundle(data, "firmware.bin").release()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_packed_bundle_is_never_unpacked(tiny_release: Release, pack: Callable[[bytes], bytes]):
    """A compressed bundle, which could be a bomb, is rejected by its first bytes."""
    with pytest.raises(InputError, match="compressed with"):
        open_bundle(pack(build_bundle(tiny_release)), "lamp.rmfab.gz").release()


def test_a_missing_file(tmp_path: Path):
    """A missing file is an error with its path."""
    with pytest.raises(InputError, match="No such file") as caught:
        open_release(tmp_path / "none.rmfab")
    assert caught.value.where == str(tmp_path / "none.rmfab")


def test_encrypted_parts_cannot_be_bundled(tiny_release: Release):
    """Encrypted parts are rejected: a bundle does not keep the flag."""
    with pytest.raises(InputError, match="encrypted parts"):
        build_bundle(with_part(tiny_release, "app", encrypted=True))


def test_part_digest_is_its_own():
    """A part with a wrong digest is an integrity error; its bytes do not show in repr."""
    with pytest.raises(IntegrityError):
        Part("app", 0, b"data", "0" * 64)
    assert "data" not in repr(Part("app", 0, b"data"))
