"""The shelf: its files, killed and concurrent writers, and what is rejected."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rmfab.errors import ComplaintsError, InputError
from rmfab.ota.index import LATEST, Index, Listed
from rmfab.ota.shelf import Published, publish, read_index
from rmfab.release.release import Release
from tests.ota.conftest import AN_ENVELOPE, OTA_CSV, a_release
from tests.ota.writers import ENVELOPE, NEXT
from tests.patience import PATIENCE
from tests.release.conftest import tiny_app
from tests.terminal import ROOT, environment, files

FIRST = a_release()


def writers(*argv: str | Path) -> None:
    """Run processes of tests.ota.writers, which must succeed."""
    command = [sys.executable, "-m", "tests.ota.writers", *map(str, argv)]
    subprocess.run(command, cwd=ROOT, env=environment(), check=True, timeout=PATIENCE)


def visible(shelf: Path) -> dict[str, bytes]:
    """The files of a shelf that everyone may fetch."""
    return {name: data for name, data in files(shelf).items() if not Path(name).name.startswith(".")}


def whole(shelf: Path) -> Index:
    """The index in force, after checking that every file in it exists with the right content."""
    index = read_index(shelf)
    for one in index.releases:
        image = (shelf / one.image).read_bytes()
        assert (hashlib.sha256(image).hexdigest(), len(image)) == (one.sha256, one.size)
        assert hashlib.sha256((shelf / one.manifest).read_bytes()).hexdigest() == one.release
        if one.envelope is not None:
            assert hashlib.sha256((shelf / one.envelope).read_bytes()).hexdigest() == one.envelope_sha256
    return index


def test_what_lies_where(tmp_path: Path):
    """Image, manifest, envelope, index and latest.json are complete and named by their content."""
    published = publish(tmp_path / "new" / "shelf", FIRST, ENVELOPE, "stable")
    index = Index().with_release(Listed.of(FIRST, ENVELOPE), "stable")
    sha256 = FIRST.part("app").sha256
    assert published == Published(index.digest, f"images/{sha256}.bin", True)
    assert visible(tmp_path / "new" / "shelf") == {
        f"images/{sha256}.bin": FIRST.part("app").data,
        f"releases/{FIRST.digest}.json": FIRST.manifest,
        f"releases/{hashlib.sha256(ENVELOPE).hexdigest()}.dsse.json": ENVELOPE,
        f"indexes/{index.digest}.json": index.encode(),
        "latest.json": index.encode(),
    }


def test_a_folder_of_something_else(tmp_path: Path):
    """A folder with other files does not become a shelf: keys beside it would be published."""
    (tmp_path / "station.key").write_text("mine")
    with pytest.raises(InputError, match="not only a shelf: it contains station"):
        publish(tmp_path, a_release("1.0.0", 1), AN_ENVELOPE, "stable")
    assert [path.name for path in tmp_path.iterdir()] == ["station.key"]


@pytest.mark.parametrize(
    "name", ["release.key", "index.html", "images/release.key", "releases/lamp.rmfab", "indexes/a/b", "old/latest.json"]
)
def test_a_shelf_with_something_else(shelf: Path, name: str):
    """A file that does not belong to a shelf ends the publication, also in a shelf that was published before; what a
    writer is writing, or left when it was killed, does not."""
    (shelf / ".latest.json.00000000.rmfab-tmp").touch()
    (shelf / "images" / ".x.00000000.rmfab-tmp").touch()
    publish(shelf, FIRST, ENVELOPE, "beta")
    (shelf / name).parent.mkdir(exist_ok=True)
    (shelf / name).touch()
    before = files(shelf)
    with pytest.raises(InputError, match="not only a shelf: it contains "):
        publish(shelf, NEXT, ENVELOPE, "stable")
    assert files(shelf) == before


def test_everybody_may_read_it(tmp_path: Path):
    """Files are 0644 and folders 0755, with any umask."""
    before = os.umask(0o077)
    try:
        publish(tmp_path / "shelf", FIRST, ENVELOPE, "stable")
    finally:
        os.umask(before)
    assert {stat.S_IMODE((tmp_path / "shelf" / name).stat().st_mode) for name in visible(tmp_path / "shelf")} == {0o644}
    folders = [tmp_path / "shelf", *(path for path in (tmp_path / "shelf").iterdir() if path.is_dir())]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o755}
    assert len(folders) == 4


def test_every_index_stays(shelf: Path):
    """A second release keeps all files, and the new index names the one before."""
    before, first = visible(shelf), whole(shelf)
    published = publish(shelf, NEXT, None, "stable")
    after, second = visible(shelf), whole(shelf)
    assert {name: data for name, data in after.items() if name in before} == before | {
        "latest.json": after[f"indexes/{published.index}.json"]
    }
    assert (second.previous, second.digest) == (first.digest, published.index)
    assert [one.envelope is None for one in second.releases] == [False, True]


def test_the_same_again(shelf: Path):
    """Publishing a release on the same channel again changes nothing, and restores its lost files."""
    before = visible(shelf)
    (shelf / Listed.of(FIRST, AN_ENVELOPE).image).unlink()
    again = publish(shelf, FIRST, AN_ENVELOPE, "stable")
    assert (again.changed, again.index) == (False, read_index(shelf).digest)
    assert publish(shelf, FIRST, None, "stable").changed is False
    assert visible(shelf) == before


@pytest.mark.parametrize(
    ("release", "channel", "cause"),
    [
        (a_release("1.0.0", 2), "stable", "version-taken"),
        (a_release("1.0.1", 1), "stable", "seq-taken"),
        (a_release("0.9.0", 0), "stable", "downgrade"),
        (NEXT, ".hidden", "channel"),
    ],
)
def test_refusals_change_nothing(shelf: Path, release: Release, channel: str, cause: str):
    """A rejected release leaves the shelf unchanged."""
    before = visible(shelf)
    with pytest.raises(InputError) as caught:
        publish(shelf, release, None, channel)
    assert caught.value.cause == cause
    assert visible(shelf) == before


def test_a_downgrade_that_is_meant(shelf: Path):
    """allow_downgrade lets the channel go back."""
    publish(shelf, NEXT, None, "stable")
    publish(shelf, FIRST, None, "stable", allow_downgrade=True)
    assert whole(shelf).offered("stable", "lamp/esp32c3") == Listed.of(FIRST, AN_ENVELOPE)


def test_what_no_device_could_take_is_not_published(tmp_path: Path):
    """A table with one slot is rejected before the shelf is created."""
    with pytest.raises(ComplaintsError) as caught:
        publish(tmp_path / "shelf", a_release(csv=OTA_CSV.replace("ota_1,app,ota_1,,64K\n", "")), None, "stable")
    assert caught.value.cause == "no-ota"
    assert list(tmp_path.iterdir()) == []


def test_a_release_that_was_signed_anew(shelf: Path):
    """New signatures of a release, such as after a key leaked, replace the old ones, which stay on the shelf."""
    before = visible(shelf)
    published = publish(shelf, FIRST, ENVELOPE, "stable")
    (only,) = whole(shelf).releases
    assert (published.changed, only.envelope_sha256) == (True, hashlib.sha256(ENVELOPE).hexdigest())
    assert {name: data for name, data in before.items() if name != LATEST}.items() <= visible(shelf).items()


@pytest.mark.parametrize("name", ["image", "manifest", "envelope"])
def test_what_is_published_never_changes(shelf: Path, name: str):
    """Other bytes under the name of a content are damage: rejected, and kept for inspection."""
    path = shelf / getattr(Listed.of(FIRST, AN_ENVELOPE), name)
    path.write_bytes(b"other")
    before = visible(shelf)
    with pytest.raises(InputError, match="different content") as caught:
        publish(shelf, FIRST, AN_ENVELOPE, "beta")
    assert (caught.value.where, caught.value.cause) == (str(path), "published")
    assert "--force" not in str(caught.value.hint)
    assert visible(shelf) == before


def _foreign(path: Path) -> None:
    path.write_text('{"releases": []}')


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _turned(path: Path) -> None:
    """A whole and canonical index that was not published."""
    path.write_bytes(path.read_bytes().replace(b'"1.0.0"', b'"6.6.6"'))


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere.json")


@pytest.mark.parametrize("damage", [_foreign, _cut_short, _turned, _folder, _dangling])
def test_a_latest_that_is_not_ours(shelf: Path, damage):
    """A foreign or damaged latest.json is an error that names it, and nothing is overwritten."""
    damage(shelf / "latest.json")
    before = visible(shelf)
    with pytest.raises(InputError) as caught:
        publish(shelf, NEXT, None, "stable")
    assert caught.value.where == str(shelf / "latest.json")
    assert visible(shelf) == before


def test_a_latest_that_is_gone(shelf: Path):
    """A shelf with a history is not started over; a shelf with only a first index is."""
    publish(shelf, NEXT, None, "stable")
    (shelf / "latest.json").unlink()
    with pytest.raises(InputError, match="has a history") as caught:
        publish(shelf, a_release("2.0.0", 9), None, "stable")
    assert "indexes/" in str(caught.value.hint)


@pytest.mark.slow
@pytest.mark.parametrize("born", [False, True], ids=["first release", "next release"])
def test_a_writer_that_is_killed(tmp_path: Path, born: bool):
    """After a kill before any step on the disk, the shelf is whole, and old or new.

    The same command then completes the publication, with the same files as a writer that was not killed.
    """
    base = tmp_path / "base"
    if born:
        publish(base, FIRST, ENVELOPE, "stable")
    old = read_index(base)
    new = old.with_release(Listed.of(NEXT, ENVELOPE), "stable")
    writers("killed", base, tmp_path / "killed")
    shelves = sorted((tmp_path / "killed").iterdir(), key=lambda path: int(path.name))
    assert len(shelves) > 15
    publish(base, NEXT, ENVELOPE, "stable")
    seen = []
    for shelf in shelves:
        seen.append(whole(shelf))
        assert {name: data for name, data in visible(shelf).items() if name != LATEST}.items() <= visible(base).items()
        publish(shelf, NEXT, ENVELOPE, "stable")
        assert files(shelf) == files(base)
    assert [seen[0], seen[-1]] == [old, new]
    assert sorted(seen, key=[old, new].index) == seen


def test_two_writers_lose_nothing(shelf: Path):
    """Eight concurrent writers with different releases leave all of them on the shelf, in one chain."""
    writers("crowd", shelf, "8")
    index = whole(shelf)
    assert {one.project for one in index.releases} == {"lamp"} | {f"lamp{n}" for n in range(8)}
    assert len(index.channels["stable"]) == 9
    length, previous = 1, index.previous
    while previous is not None:
        document = json.loads((shelf / "indexes" / f"{previous}.json").read_bytes())
        length, previous = length + 1, document["previous"]
    assert length == 9 == len(list((shelf / "indexes").iterdir()))


def test_two_releases_may_share_an_image(shelf: Path):
    """The same app released under two versions is one image and two releases."""
    twin = replace(
        a_release("1.2.0", 5, app=tiny_app("lamp", "1.0.0")), edition=replace(FIRST.edition, version="1.2.0", seq=5)
    )
    published = publish(shelf, twin, None, "beta")
    assert published.image == Listed.of(FIRST, ENVELOPE).image
    assert len(whole(shelf).releases) == 2
