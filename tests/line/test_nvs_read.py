"""`rmfab nvs read`: an NVS partition of a board becomes a file."""

from __future__ import annotations

import json

import pytest

from rmfab.cli import main
from rmfab.nvs.reader import read_image
from tests.line.floor import FCTRY, Factory, serve, spec


def read(capsys, *argv) -> tuple[int, dict, str]:
    code = main(["nvs", "read", "--json", *map(str, argv)])
    said = capsys.readouterr()
    return code, json.loads(said.out), said.err


def test_partition_of_a_board(factory: Factory, tmp_path, capsys):
    """The file holds exactly the partition's bytes, with mode 0600; the board restarts afterwards."""
    board_spec, output = spec(flash_file=tmp_path / "flash.bin"), tmp_path / "fctry.bin"
    with serve([board_spec]) as (board,):
        factory.run(board.url, command="flash")
        before = board.state()["restarts"]
        code, said, words = read(capsys, "--port", board.url, "--partition", "fctry", "-o", output)
        assert board.state()["restarts"] > before
    assert code == 0, words
    assert output.read_bytes() == board_spec.flash_file.read_bytes()[FCTRY : FCTRY + 0x6000]
    assert output.stat().st_mode & 0o777 == 0o600
    identity = factory.identity("LMP-000001")
    image = read_image(output.read_bytes())
    assert image.value("rmaker_creds", "random") == identity.random.reveal()
    assert (said["partition"], said["offset"], said["entries"]) == ("fctry", FCTRY, len(image.entries))


def test_what_cannot_be_read(factory: Factory, tmp_path, capsys):
    """An unknown or different partition, a file in the way and a blank board are errors; no file is made."""
    output = tmp_path / "it.bin"
    with serve([spec(), spec(index=1)]) as (board, blank):
        factory.run(board.url, command="flash")
        for partition, cause in [("absent", "no-partition"), ("nvs_key", "not-nvs")]:
            code, said, _ = read(capsys, "--port", board.url, "--partition", partition, "-o", output)
            assert (code, [one["class"] for one in said["errors"]]) == (3, [cause])
        code, said, _ = read(capsys, "--port", blank.url, "-o", output)
        assert (code, [one["class"] for one in said["errors"]]) == (3, ["no-partition"])
        assert not output.exists()
        output.write_bytes(b"mine")
        code, said, _ = read(capsys, "--port", board.url, "-o", output)
        assert (code, [one["class"] for one in said["errors"]]) == (3, ["exists"])
        assert output.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("fault", "cause"), [("flash-encryption", "flash-encryption"), ("secure-download", "secure-download-mode")]
)
def test_closed_boards(factory: Factory, tmp_path, capsys, fault, cause):
    """A board that lets nobody read its flash is an error with its cause."""
    with serve([spec(faults=(fault,))]) as (board,):
        code, said, _ = read(capsys, "--port", board.url, "-o", tmp_path / "it.bin")
    assert (code, [one["class"] for one in said["errors"]]) == (4, [cause])
