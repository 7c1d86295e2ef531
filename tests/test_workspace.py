"""Tests of the workspace: found upward, selected by option or environment, created; recipients added in place."""

from __future__ import annotations

from pathlib import Path

import pytest

from rmfab.errors import InputError, LedgerError, StationError
from rmfab.product.product_file import load_product
from rmfab.product.vocabulary import Chip, Credentials
from rmfab.secret import Secret
from rmfab.workspace.create import batch_prefix, create_workspace, fingerprint, make_keys
from rmfab.workspace.recipients import add_recipient
from rmfab.workspace.workspace import Workspace, find_workspace, open_workspace

OTHER = "age1" + "q" * 58


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RMFAB_WORKSPACE", "RMFAB_STATION", "RMFAB_LEDGER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def made(folder: Path, **more: object) -> Workspace:
    """Make a workspace in *folder*."""
    arguments: dict[str, object] = {
        "chip": Chip.ESP32C3,
        "name": "Lamp",
        "serial": None,
        "mqtt_host": "mqtt.example.org",
        "credentials": Credentials.CERTIFICATE,
        "force": False,
    }
    return create_workspace(folder, **(arguments | more))  # type: ignore[arg-type]


def test_the_nearest_one_upward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a folder below, the nearest product.toml upward is the workspace; -C and RMFAB_WORKSPACE select others."""
    outer, inner = made(tmp_path / "a").root, made(tmp_path / "a" / "b").root
    deep = inner / "c" / "d"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert find_workspace(None) == inner
    monkeypatch.setenv("RMFAB_WORKSPACE", str(outer))
    assert find_workspace(None) == outer
    assert find_workspace(inner) == inner
    monkeypatch.setenv("RMFAB_WORKSPACE", "")
    assert find_workspace(None) == inner


def test_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing product.toml is reported with the place and a hint; so is a current folder that no longer exists."""
    with pytest.raises(InputError, match="in this folder or above") as caught:
        find_workspace(None)
    assert "rmfab init" in str(caught.value.hint)
    with pytest.raises(InputError, match="nowhere"):
        find_workspace(Path("nowhere"))
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(InputError, match="current folder no longer exists"):
        find_workspace(None)


@pytest.mark.parametrize("name", ["Lamp", 'A "quoted" \\ name', "Lämpchen", "x" * 64, "# no comment", "@CHIP@"])
def test_any_name_survives_the_template(tmp_path: Path, name: str) -> None:
    """A product name with quotes, backslashes or placeholders is read back unchanged."""
    assert made(tmp_path / "w", name=name).product.name == name


@pytest.mark.parametrize(
    ("name", "serial"), [("Lamp", "LMP-000001"), ("Io", "IO-000001"), ("灯", "SN-000001"), ("a-b c", "ABC-000001")]
)
def test_the_serial_pattern_comes_from_the_name(tmp_path: Path, name: str, serial: str) -> None:
    """Without --serial the pattern uses the name's consonants, or its letters if there are too few."""
    assert made(tmp_path / "w", name=name).product.serial.serial(1) == serial


@pytest.mark.parametrize(
    ("name", "prefix"), [("Lamp", "lamp"), ("My  Lamp/2", "my-lamp-2"), ("灯", "batch"), ("x" * 64, "x" * 50)]
)
def test_batch_prefix(name: str, prefix: str) -> None:
    """Batches are named after their product, as a safe file name."""
    assert batch_prefix(name) == prefix


def test_arguments_are_judged_before_anything_is_written(tmp_path: Path) -> None:
    """A value that is not valid in product.toml is rejected, and no folder is made."""
    for wrong in ({"serial": "no counter"}, {"mqtt_host": "https://x"}, {"name": "a\nb"}):
        with pytest.raises(InputError):
            made(tmp_path / "w", **wrong)
        assert not (tmp_path / "w").exists()


def test_what_init_makes(tmp_path: Path) -> None:
    """Keys are 0600 in a 0700 folder, git ignores everything secret, the recipient is this host's."""
    workspace = made(tmp_path / "w")
    assert workspace.keys_folder.stat().st_mode & 0o777 == 0o700
    for key in ("station.key", "unique.key"):
        assert (workspace.keys_folder / key).stat().st_mode & 0o777 == 0o600
    assert list(workspace.product.recipients.values()) == [workspace.station_key.recipient]
    ignored = (tmp_path / "w" / ".gitignore").read_text().splitlines()
    assert {"/keys/", "*.key", "/ledger.db*", "/logs/", "/station.toml", "*.pdf", "*.png", "*.svg"} <= set(ignored)
    secrets = [(workspace.keys_folder / key).read_text().split()[-1] for key in ("station.key", "unique.key")]
    assert not any(secret in (tmp_path / "w" / "product.toml").read_text() for secret in secrets)


def test_init_again(tmp_path: Path) -> None:
    """The same init again changes nothing; a different one is rejected, and makes no keys."""
    made(tmp_path / "w")
    before = {path: path.read_bytes() for path in (tmp_path / "w").rglob("*") if path.is_file()}
    made(tmp_path / "w")
    assert before == {path: path.read_bytes() for path in (tmp_path / "w").rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="already"):
        made(tmp_path / "w", mqtt_host="other.example.org")
    clone = tmp_path / "clone"
    clone.mkdir()
    (clone / "product.toml").write_bytes((tmp_path / "w" / "product.toml").read_bytes().replace(b"settle", b"# settle"))
    with pytest.raises(InputError, match="already") as caught:
        made(clone, mqtt_host="other.example.org")
    assert "rmfab station key" in str(caught.value.hint)
    assert [path.name for path in clone.iterdir()] == ["product.toml"]


def test_keys_are_never_replaced(tmp_path: Path) -> None:
    """Making keys again gives the same recipient; only a missing key is made."""
    recipient = make_keys(tmp_path / "keys")
    unique = (tmp_path / "keys" / "unique.key").read_bytes()
    assert make_keys(tmp_path / "keys") == recipient
    (tmp_path / "keys" / "station.key").unlink()
    assert make_keys(tmp_path / "keys") != recipient
    assert (tmp_path / "keys" / "unique.key").read_bytes() == unique


def test_the_unique_key(tmp_path: Path) -> None:
    """A missing or damaged uniqueness key is an error; its fingerprint reveals nothing of it."""
    workspace = made(tmp_path / "w")
    key = workspace.unique_key
    assert len(key.reveal()) == 32
    assert len(fingerprint(key)) == 32
    assert fingerprint(key) != fingerprint(Secret(bytes(32)))
    path = workspace.keys_folder / "unique.key"
    for damage in (b"", b"zz" * 32, b"00" * 31, b"\xff" * 64):
        path.write_bytes(damage)
        with pytest.raises(InputError, match="not a uniqueness key"):
            _ = workspace.unique_key
    path.unlink()
    with pytest.raises(InputError, match="uniqueness key is missing"):
        _ = workspace.unique_key


def test_a_ledger_is_begun_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only `make_ledger` creates a ledger; reading a missing one is an error with its path."""
    workspace = made(tmp_path / "w")
    with pytest.raises(LedgerError, match="no ledger here"):
        _ = workspace.ledger
    assert not (tmp_path / "w" / "ledger.db").exists()
    assert workspace.make_ledger()
    assert not workspace.make_ledger()
    assert workspace.ledger.batches() == ()
    assert (tmp_path / "w" / "ledger.db").stat().st_mode & 0o777 == 0o600
    workspace.ledger.close()
    monkeypatch.setenv("RMFAB_LEDGER", str(tmp_path / "other" / "l.db"))
    other = open_workspace(tmp_path / "w")
    with pytest.raises(LedgerError, match=r"l\.db"):
        _ = other.ledger
    with pytest.raises(LedgerError, match="cannot create"):
        other.make_ledger()
    monkeypatch.setenv("RMFAB_LEDGER", "mysql://user@host/db")
    with pytest.raises(InputError, match="not the address of a PostgreSQL server"):
        _ = open_workspace(tmp_path / "w").ledger


def test_the_station(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RMFAB_STATION, the workspace's station.toml and the user's apply in this order; without any, the host does."""
    root = made(tmp_path / "w").root
    assert open_workspace(root).station.slots == ()
    user = tmp_path / "home" / ".config" / "rmfab"
    user.mkdir(parents=True)
    for path, name in (
        (user / "station.toml", "user"),
        (root / "station.toml", "own"),
        (tmp_path / "s.toml", "chosen"),
    ):
        path.write_text(f'[station]\nname = "{name}"\n')
        if name == "chosen":
            monkeypatch.setenv("RMFAB_STATION", str(path))
        assert open_workspace(root).station.name == name
    monkeypatch.setenv("RMFAB_STATION", str(tmp_path / "absent.toml"))
    with pytest.raises(InputError, match=r"absent\.toml"):
        _ = open_workspace(root).station


def test_no_station_key(tmp_path: Path) -> None:
    """The error for a missing station key says how to get one."""
    workspace = made(tmp_path / "w")
    (workspace.keys_folder / "station.key").unlink()
    with pytest.raises(StationError) as caught:
        _ = workspace.station_key
    assert "station admit" in str(caught.value.hint)


def test_no_release(tmp_path: Path) -> None:
    """Without --release and [release] path, the hint says how to name a release."""
    with pytest.raises(InputError, match="no release given"):
        made(tmp_path / "w").release_path(None)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("tail", ["", "\n", '\n[recipients] # who\na = "age1' + "z" * 58 + '"', "\n[recipients]"])
def test_admitting_keeps_every_other_byte(tmp_path: Path, newline: str, bom: bytes, tail: str) -> None:
    """A recipient is added to its table, which is created if missing; BOM, line ends and comments stay."""
    path = tmp_path / "product.toml"
    text = '[product]  # ours\nname = "Lamp"\nchip = "esp32"\nserial = "L{n}"' + tail
    before = bom + text.replace("\n", newline).encode()
    path.write_bytes(before)
    add_recipient(path, "bench 2", OTHER)
    assert load_product(path).recipients["bench-2"] == OTHER
    after = path.read_bytes()
    rest = iter(after)
    assert all(byte in rest for byte in before), "a byte was changed"
    assert (b"\r" in after) == (newline == "\r\n")


def test_admitting_what_cannot_be(tmp_path: Path) -> None:
    """A name that is taken, or an invalid recipient, is rejected; the file stays unchanged."""
    root = made(tmp_path / "w").root
    before = (root / "product.toml").read_bytes()
    taken = next(iter(load_product(root / "product.toml").recipients))
    with pytest.raises(InputError, match="different recipient"):
        add_recipient(root / "product.toml", taken, OTHER)
    with pytest.raises(InputError, match="not an age recipient"):
        add_recipient(root / "product.toml", "new", "age1x")
    assert (root / "product.toml").read_bytes() == before
