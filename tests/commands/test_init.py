"""Tests of `rmfab init`, of `rmfab ca` after it, and of choosing a workspace from a terminal."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rmfab.product.vocabulary import Chip
from tests.terminal import Terminal, files


@pytest.mark.parametrize("chip", [chip.value for chip in Chip])
def test_every_chip(terminal: Terminal, chip: str) -> None:
    """For every chip, `init` makes a workspace that other commands can read; stdout stays empty."""
    assert terminal.well("init", "w", "--chip", chip) == ""
    assert f'chip = "{chip}"' in Path("w/product.toml").read_text()
    terminal("-C", "w", "status").refused(4, "no ledger here", "`rmfab generate`")


def test_again_and_otherwise(terminal: Terminal) -> None:
    """The same init can be repeated; a different one is rejected before it makes anything; --force replaces."""
    terminal.well("init", "w", "--mqtt-host", "a.example")
    before = files(Path("w"))
    terminal.well("init", "w", "--mqtt-host", "a.example")
    terminal("init", "w", "--mqtt-host", "b.example").refused(3, "w/product.toml", "--force")
    assert files(Path("w")) == before
    terminal.well("init", "w", "--mqtt-host", "b.example", "--force")
    assert 'mqtt_host = "b.example"' in Path("w/product.toml").read_text()
    assert files(Path("w/keys")) == {Path(name).name: data for name, data in before.items() if name.startswith("keys")}


@pytest.mark.parametrize("argv", [(), ("--cloud-claim", "--serial", "A-{n}", "--chip", "esp32"), ("--name", 'a" # b')])
def test_the_comments_are_aligned(terminal: Terminal, argv: tuple[str, ...]) -> None:
    """The comments of product.toml stand in one column, whatever the values are."""
    terminal.well("init", "w", *argv)
    lines = Path("w/product.toml").read_text().splitlines()
    keys = ("name =", "serial =", "chip =", "credentials =", "node_id =", "boot_timeout =")
    comments = [line[32:] for line in lines if line.startswith(keys)]
    assert len(comments) == len(keys)
    assert all(comment.startswith("# ") for comment in comments)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--cloud-claim", "--mqtt-host", "a.example"), 2, "exclude each other"),
        (("--mqtt-host", "https://a.example"), 3, '--mqtt-host: "https://a.example" is not a host name'),
        (("--serial", "LMP"), 3, '--serial: "LMP" is not a serial pattern'),
        (("--name", "a\nb"), 3, "--name: expected a name of 1 to 64 printable characters"),
        (("--chip", "esp8266"), 2, "esp32c3"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_arguments(terminal: Terminal, arguments: tuple[str, ...], code: int, told: str) -> None:
    """A value that is not valid in product.toml is rejected, and no folder is made."""
    terminal("init", "w", *arguments).refused(code, told)
    assert not Path("w").exists()


@pytest.mark.parametrize("chip", ["ESP32-C3", "esp32-c3", "ESP32C3"])
def test_a_chip_as_its_maker_writes_it(terminal: Terminal, chip: str) -> None:
    """Capitals and a hyphen in the name of a chip are accepted on the command line, and suggested away in a file."""
    terminal.well("init", "w", "--chip", chip)
    path = Path("w/product.toml")
    assert 'chip = "esp32c3"' in path.read_text()
    path.write_text(path.read_text().replace('chip = "esp32c3"', f'chip = "{chip}"'))
    terminal("-C", "w", "status").refused(3, f'chip: "{chip}" is not one of', 'did you mean "esp32c3"?')


def test_a_folder_that_cannot_be(terminal: Terminal) -> None:
    """A file in the way is reported with its path."""
    Path("w").touch()
    terminal("init", "w").refused(3, "w: cannot create this folder")
    terminal("init", "w/below").refused(3, "cannot create this folder")


def test_claim(terminal: Terminal) -> None:
    """--cloud-claim makes a product whose identities need neither a CA nor an MQTT host."""
    terminal.well("init", "w", "--cloud-claim")
    assert terminal.well("-C", "w", "generate", "--count", "2") == "w-0001\n"


def test_chosen_by_environment(terminal: Terminal, lamp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RMFAB_WORKSPACE and -C select a workspace; without them the nearest folder upward is used."""
    terminal("status").refused(3, "no product.toml in this folder or above", "`rmfab init DIR`")
    assert "lamp-0001" in terminal.well("-C", lamp, "status")
    monkeypatch.setenv("RMFAB_WORKSPACE", str(lamp))
    assert "lamp-0001" in terminal.well("status")
    monkeypatch.setenv("RMFAB_WORKSPACE", str(lamp / "csv"))
    terminal("status").refused(3, "csv: no product.toml in this folder")
    monkeypatch.delenv("RMFAB_WORKSPACE")
    monkeypatch.chdir(lamp / "csv")
    assert "lamp-0001" in terminal.well("status")


def test_product_toml_complains_at_once(terminal: Terminal, lamp: Path) -> None:
    """A misspelt key and a wrong value are reported together, with a suggestion."""
    path = lamp / "product.toml"
    path.write_text(path.read_text().replace("mqtt_host", "mqqt_host").replace('"esp32c3" ', '"esp32c33" '))
    said = terminal("-C", lamp, "status")
    said.refused(3, "[identity] mqqt_host: unknown key", 'did you mean "mqtt_host"?', "[product] chip", '"esp32c3"?')


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[station]\nname = 3\n", "[station] name"),
        ('[[slot]]\nname = "A"\n', "port"),
        ('[[slot]]\nname = "A"\nport = "x"\nbuad = 3\n', 'did you mean "baud"?'),
        ('[[slot]]\nname = "A"\nport = "x"\nrestart = "sometimes"\n', "restart"),
        ('[[slot]]\nname = "A"\nport = "x"\n[[slot]]\nname = "A"\nport = "y"\n', "two slots"),
        ("[station\n", "not valid TOML"),
    ],
    ids=["name", "port", "misspelt", "restart", "twice", "toml"],
)
def test_station_toml(terminal: Terminal, lamp: Path, text: str, told: str) -> None:
    """An error in station.toml is reported like one in product.toml."""
    (lamp / "station.toml").write_text(text)
    terminal("-C", lamp, "station", "show").refused(3, "station.toml", told)


def test_a_ca_that_does_not_match(terminal: Terminal, lamp: Path, tmp_path: Path) -> None:
    """A CA with a key that does not match is rejected by `generate` and by `ca import`; nothing is made."""
    terminal.well("init", "other", "--mqtt-host", "a.example")
    terminal.well("-C", "other", "ca", "create", "--no-passphrase")
    (lamp / "ca" / "ca.key").write_bytes((tmp_path / "other" / "ca" / "ca.key").read_bytes())
    terminal("-C", lamp, "generate", "--count", "1").refused(3, "ca")
    assert "lamp-0002" not in terminal.well("-C", lamp, "status")
    terminal.well("init", "third", "--mqtt-host", "a.example")
    crt, key = lamp / "ca" / "ca.crt", tmp_path / "other" / "ca" / "ca.key"
    terminal("-C", "third", "ca", "import", crt, key, "--no-passphrase").refused(3)
    assert not Path("third/ca/ca.key").exists()


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "there",
    [None, "", "build/", "build/\r\n*.key\r\n", "/keys/\n*.key\n!*.key\n", "*.bin\n!keys/\n"],
    ids=["none", "empty", "no newline", "CRLF", "undone", "allowed"],
)
def test_a_repository_with_a_gitignore(terminal: Terminal, there: str | None) -> None:
    """`git add -A` takes no secret after `init`: the lines that .gitignore lacks are appended once and reported; the
    firmware's own lines and pictures stay as they are."""
    _git("init", "-q")
    Path("CMakeLists.txt").touch()
    if there is not None:
        Path(".gitignore").write_bytes(there.encode())
    said = terminal("init", ".", "--name", "lamp", "--cloud-claim")
    assert "added" in said.err
    text = Path(".gitignore").read_bytes()
    assert text.startswith((there or "").encode())
    terminal.well("init", ".", "--name", "lamp", "--cloud-claim")
    assert Path(".gitignore").read_bytes() == text
    terminal.well("release", "keygen", "-o", "release.key", "--no-passphrase")
    terminal.well("generate", "--count", "1")
    terminal.well("build", "lamp-0001", "-o", "out")
    terminal.well("label", "lamp-0001", "--sheet", "L7651", "-o", "labels.pdf")
    Path("logo.png").touch()
    _git("add", "-A")
    taken = set(_git("ls-files").splitlines())
    assert taken == {
        ".gitignore",
        "CMakeLists.txt",
        "csv/config.csv",
        "csv/values.csv",
        "logo.png",
        "product.toml",
        "release.pub",
    }
