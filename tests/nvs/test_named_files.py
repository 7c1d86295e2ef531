"""The files that `file` rows name stay in the folders that they are allowed to be in."""

import os
from pathlib import Path

import pytest

from rmfab.errors import InputError
from rmfab.nvs.named_files import NamedFiles


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("csv/deep", "keys", "csv-other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "csv/a.bin").write_bytes(b"a")
    (tmp_path / "csv/deep/b.bin").write_bytes(b"b")
    (tmp_path / "keys/secret").write_bytes(b"secret")
    (tmp_path / "csv-other/c.bin").write_bytes(b"c")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_inside(folder):
    """Files in the folder and below are read, by relative and absolute names, also through links that stay inside."""
    files = NamedFiles(Path(), [Path("csv")])
    Path("csv/link").symlink_to("deep/b.bin")
    names = ["csv/a.bin", "./csv/deep/b.bin", "csv/deep/../a.bin", str(folder / "csv/a.bin"), "csv/link"]
    assert [files.read(name) for name in names] == [b"a", b"b", b"a", b"a", b"b"]


OUTSIDE = [
    "keys/secret",
    "csv/../keys/secret",
    "/etc/passwd",
    "csv-other/c.bin",
    "csv/link",
    "csv/linked/secret",
    "csv/absent-link",
    "/etc/absent",
    "csv/loop/../../keys/secret",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_outside(folder, name):
    """Anything else is refused before it is opened, whether it exists or not, also through links."""
    Path("csv/link").symlink_to("../keys/secret")
    Path("csv/linked").symlink_to("../keys")
    Path("csv/absent-link").symlink_to("/nowhere/at/all")
    Path("csv/loop").symlink_to("loop")
    with pytest.raises(InputError, match="outside of the folder") as caught:
        NamedFiles(Path(), [Path("csv")]).read(name)
    assert caught.value.cause == "file-outside"
    assert "--allow-files" in (caught.value.hint or "")


def test_more_folders(folder):
    """More folders can be allowed; a folder may itself be a link."""
    Path("elsewhere").symlink_to("keys")
    for more in ("keys", "elsewhere", folder / "keys"):
        assert NamedFiles(Path(), [Path("csv"), Path(more)]).read("keys/secret") == b"secret"
    assert NamedFiles(Path("csv"), [Path("csv"), Path("keys")]).read("../keys/secret") == b"secret"


def test_what_is_no_file(folder):
    """Folders and pipes are refused instead of waited for; missing, blank and impossible names are errors."""
    os.mkfifo("csv/pipe")
    files = NamedFiles(Path(), [Path("csv")])
    for name, what in [
        ("csv/pipe", "not a regular file"),
        ("csv/deep", "not a regular file"),
        ("csv/absent", "No such file"),
        ("", "blank"),
        ("csv/a\0", "NUL"),
    ]:
        with pytest.raises(InputError, match=what):
            files.read(name)


def test_too_large(folder):
    """A file that no blob could hold is not read."""
    with Path("csv/huge").open("wb") as stream:
        stream.truncate(1 << 30)
    with pytest.raises(InputError, match="too large"):
        NamedFiles(Path(), [Path("csv")]).read("csv/huge")
