"""Tests of `rmfab build`: its CSVs make the same images with `rmfab nvs generate`."""

from __future__ import annotations

from pathlib import Path

import pytest

from rmfab.nvs.reader import read_image
from tests.terminal import Terminal, files


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lamp", "fan"])
def test_the_csvs_make_the_same_images(terminal: Terminal, lamp: Path, fan: Path, name: str) -> None:
    """`nvs generate` with csv/config.csv and csv/values.csv reproduces every image byte for byte."""
    folder = {"lamp": lamp, "fan": fan}[name]
    terminal.well("-C", folder, "generate", "--count", "3", "--batch", "b")
    assert terminal.well("-C", folder, "build", "b", "-o", "out") == ""
    sheets = ("out/csv/config.csv", "out/csv/values.csv")
    terminal.well("nvs", "generate", *sheets, "unit", "0x6000", "--fileid", "serial", "--outdir", "again")
    ours = files(Path("out/bin"))
    assert len(ours) == 3
    assert {f"unit-{key}": data for key, data in ours.items()} == files(Path("again/bin"))
    for image in ours.values():
        assert len(image) == 0x6000
        assert read_image(image).value("rmaker_creds", "random")


def test_modes_and_again(terminal: Terminal, lamp: Path) -> None:
    """Files are 0600 in 0700 folders; a second run changes nothing; different content is kept without --force."""
    terminal.well("-C", lamp, "build", "lamp-0001", "-o", "out")
    for path in [Path("out"), *Path("out").rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    before = files(Path("out"))
    assert sorted(before) == [
        *(f"bin/LMP-00000{number}.bin" for number in (1, 2, 3)),
        "csv/config.csv",
        "csv/values.csv",
    ]
    terminal.well("-C", lamp, "build", "lamp-0001", "-o", "out")
    assert files(Path("out")) == before
    Path("out/bin/LMP-000002.bin").write_bytes(b"other")
    terminal("-C", lamp, "build", "lamp-0001", "-o", "out").refused(3, "LMP-000002.bin", "different content", "--force")
    assert Path("out/bin/LMP-000002.bin").read_bytes() == b"other"
    terminal.well("-C", lamp, "build", "lamp-0001", "-o", "out", "--force")
    assert files(Path("out")) == before


def test_a_void_identity_is_left_out(terminal: Terminal, lamp: Path) -> None:
    """No image is built for a void identity."""
    terminal.well("-C", lamp, "void", "LMP-000002", "--reason", "lost")
    said = terminal("-C", lamp, "build", "lamp-0001", "-o", "out")
    assert (said.code, sorted(files(Path("out/bin")))) == (0, ["LMP-000001.bin", "LMP-000003.bin"])
    assert "skipped 1 identity that is void, in quarantine or handed over" in said.err


def test_what_cannot_be_built(terminal: Terminal, lamp: Path) -> None:
    """An unknown batch, a file in the way and a station that was not admitted are errors; nothing is half-written."""
    terminal("-C", lamp, "build", "nope", "-o", "out").refused(3, 'no batch "nope"')
    assert not Path("out").exists()
    Path("file").touch()
    terminal("-C", lamp, "build", "lamp-0001", "-o", "file").refused(3, "file")
    (lamp / "keys" / "station.key").unlink()
    terminal("-C", lamp, "build", "lamp-0001", "-o", "out").refused(4, "no station key")
    terminal.well("-C", lamp, "station", "key")
    terminal("-C", lamp, "build", "lamp-0001", "-o", "out").refused(4, "rmfab station admit")
    assert set(files(Path("out"))) <= {"csv/config.csv"}
