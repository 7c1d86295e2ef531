"""`rmfab release`: the commands, on the demo's firmware."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rmfab.commands.release import command
from rmfab.errors import InputError, IntegrityError
from rmfab.product.vocabulary import Chip
from rmfab.release.release import open_release
from rmfab.virtual.firmware import make_build_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A build folder for the esp32."""
    return make_build_folder(tmp_path / "build", Chip.ESP32, app_size=0x20000)


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_build_prints_the_digest_and_can_be_repeated(folder: Path, tmp_path: Path):
    """The digest goes to stdout; the same bundle again is no error, another one is, without --force."""
    bundle = tmp_path / "lamp.rmfab"
    first, second = (_run("build", folder, "-o", bundle) for _ in range(2))
    assert first.stdout == second.stdout == f"{open_release(folder).digest}\n"
    assert "written" in first.stderr
    assert "there already" in second.stderr
    bundle.write_bytes(b"something else")
    assert isinstance(_run("build", folder, "-o", bundle).exception, InputError)
    assert bundle.read_bytes() == b"something else"
    assert _run("build", folder, "-o", bundle, "--force").exit_code == 0
    assert open_release(bundle) == open_release(folder)


def test_build_refuses_what_preflight_refuses(folder: Path, tmp_path: Path):
    """A faulty folder leaves no file."""
    args = json.loads((folder / "flasher_args.json").read_text())
    args["app"]["encrypted"] = "true"
    (folder / "flasher_args.json").write_text(json.dumps(args))
    assert isinstance(_run("build", folder, "-o", tmp_path / "x").exception, InputError)
    assert not (tmp_path / "x").exists()


def test_show_of_folder_and_bundle(folder: Path, tmp_path: Path):
    """A table of parts and partitions for people, one document for programs."""
    bundle = tmp_path / "lamp.rmfab"
    _run("build", folder, "-o", bundle)
    text = _run("show", folder).stdout
    assert "rmfab-demo 1.0.0 for esp32, ESP-IDF v5.5.1" in text
    assert "fctry                 0x3fa000    0x6000  01 02       WiFi data" in text
    document = json.loads(_run("show", bundle, "--json").stdout)
    assert (document["chip"], document["app"]["version"], document["table_offset"]) == ("esp32", "1.0.0", 0xC000)
    assert {part["name"]: part["offset"] for part in document["parts"]}["bootloader"] == 0x1000


def test_verify(folder: Path, tmp_path: Path):
    """A good bundle verifies; a changed one is an integrity error."""
    bundle = tmp_path / "lamp.rmfab"
    _run("build", folder, "-o", bundle)
    assert _run("verify", bundle).stdout == f"{open_release(folder).digest}  {bundle}\n"
    assert json.loads(_run("verify", folder, "--json").stdout)["digest"] == open_release(folder).digest
    data = bytearray(bundle.read_bytes())
    data[20000] ^= 1
    bundle.write_bytes(data)
    assert isinstance(_run("verify", bundle).exception, IntegrityError)
