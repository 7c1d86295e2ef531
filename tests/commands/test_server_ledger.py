"""A ledger on a server, as its owner and the people at two stations see it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.postgres import Server
from tests.terminal import Terminal

server_only = pytest.mark.peers
VOID = ("--reason", "lost")


@pytest.fixture
def address(server: Server, databases: Callable[[], str]) -> str:
    """The address of an empty database."""
    address = databases()
    name = address.partition("?")[0].rpartition("/")[2]
    server.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public", name)
    return address


@pytest.fixture
def other(terminal: Terminal, lamp: Path, tmp_path: Path) -> Path:
    """A workspace at a different station, with the product and no ledger."""
    folder = tmp_path / "other"
    shutil.copytree(lamp, folder, ignore=shutil.ignore_patterns("keys", "ledger*", "state", "ca"))
    recipient = terminal.well("-C", folder, "station", "key").strip()
    terminal.well("-C", lamp, "station", "admit", recipient)
    shutil.copy(lamp / "product.toml", folder / "product.toml")
    (folder / "station.toml").write_text('[station]\nname = "bench-2"\n')
    return folder


@server_only
def test_a_second_station(
    terminal: Terminal, lamp: Path, other: Path, address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The owner brings the ledger to a server; then both stations work on it, and the file is only for reading."""
    before = terminal.well("-C", lamp, "status", "--json")
    terminal("-C", lamp, "ledger", "copy", address).refused(3, "nothing was changed", "--yes")
    terminal.well("-C", lamp, "ledger", "copy", address, "--yes")
    terminal("-C", lamp, "void", "LMP-000001", *VOID).refused(5, "was copied to postgresql://", "RMFAB_LEDGER")
    monkeypatch.setenv("RMFAB_LEDGER", address)
    assert terminal.well("-C", lamp, "status", "--json") == before
    terminal.well("-C", lamp, "void", "LMP-000001", *VOID)
    monkeypatch.delenv("RMFAB_LEDGER")
    with (other / "station.toml").open("a") as file:
        file.write(f'ledger = "{address}"\n')
    terminal.well("-C", other, "void", "LMP-000002", *VOID)
    assert "LMP-000001" in terminal.well("-C", other, "trace", "LMP-000001")
    terminal.well("-C", other, "ledger", "check")
    terminal.well("-C", other, "ledger", "backup", tmp_path / "backup.db")
    assert not (other / "ledger.db").exists()
    monkeypatch.setenv("RMFAB_LEDGER", str(tmp_path / "backup.db"))
    terminal.well("-C", lamp, "ledger", "check")
    terminal("-C", lamp, "void", "LMP-000003", *VOID).refused(5, "is a copy")


@server_only
def test_a_ledger_that_begins_on_a_server(
    terminal: Terminal, lamp: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ledger init` makes it, `generate` does not; `migrate` has nothing to do; a backup is not restored into it."""
    monkeypatch.setenv("RMFAB_LEDGER", address)
    terminal("-C", lamp, "generate", "--count", "2").refused(4, "no ledger in this database", "rmfab ledger init")
    terminal.well("-C", lamp, "ledger", "init")
    terminal.well("-C", lamp, "generate", "--count", "2", "--first-serial", "4")  # after those of the file
    terminal.well("-C", lamp, "ledger", "init")
    assert json.loads(terminal.well("-C", lamp, "ledger", "migrate", "--json")) == {"migrated": False}
    assert "2" in terminal.well("-C", lamp, "status")
    terminal("-C", lamp, "ledger", "restore", lamp / "ledger.db").refused(3, "rmfab ledger copy")
    terminal("-C", lamp, "ledger", "init", "--station", "no_such_role").refused(4, "no_such_role")


@server_only
def test_doctor_looks_at_the_server(
    terminal: Terminal, lamp: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`doctor` names the settings with which a power cut of the server loses what it confirmed."""
    monkeypatch.setenv("RMFAB_LEDGER", address)
    terminal.well("-C", lamp, "ledger", "init")
    said = terminal("-C", lamp, "doctor")
    assert "synchronous_commit is off on the ledger's server" in said.out + said.err


def test_no_password_in_an_address(terminal: Terminal, lamp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password in RMFAB_LEDGER, in station.toml or on the command line is refused, and not shown."""
    bad = "postgresql://rmfab:geheim@db.example/rmfab"
    refused = [terminal("-C", lamp, "ledger", "copy", bad, "--yes")]
    monkeypatch.setenv("RMFAB_LEDGER", bad)
    refused += [terminal("-C", lamp, *argv) for argv in (["status"], ["ledger", "check"], ["generate", "--count", "1"])]
    monkeypatch.delenv("RMFAB_LEDGER")
    (lamp / "station.toml").write_text(f'[station]\nledger = "{bad}"\n')
    refused += [terminal("-C", lamp, "status"), terminal("-C", lamp, "doctor")]
    for said in refused:
        assert said.code == 3 or "PGPASSFILE" in said.out + said.err, said.err
        assert "geheim" not in said.out + said.err


def test_a_server_that_is_away(terminal: Terminal, lamp: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A command says at once that the server cannot be reached."""
    monkeypatch.setenv("RMFAB_LEDGER", f"postgresql://rmfab@/rmfab?host={tmp_path}")
    terminal("-C", lamp, "status").refused(4, "the ledger's server is away")
