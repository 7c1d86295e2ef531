"""Tests of `rmfab doctor` anywhere: each check reports its own finding, and none keeps another from running."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.listening import free_port
from rmfab.operations import disk_space
from rmfab.operations.disk_space import Space, judge_space, measure
from rmfab.workspace.workspace import open_workspace
from tests.cloud.lab import Lab
from tests.cloud.servers import OpenBroker, listening
from tests.terminal import Terminal, environment, process, words

CHECKS = (("port",), ("disk of ",), ("this station's key",), ("the ledger",), ("trust file", "releases are"))


def findings(terminal: Terminal, *argv: str | Path) -> tuple[int, list[dict[str, Any]]]:
    """Return the exit code and all diagnoses."""
    said = terminal(*argv, "doctor", "--json")
    assert "bug" not in said.err, said.err
    return said.code, json.loads(said.out)


def bad(found: list[dict[str, Any]]) -> list[str]:
    return [one["what"] for one in found if not one["good"]]


def test_without_a_workspace(terminal: Terminal) -> None:
    """The host is checked, and that there is no workspace is not a problem."""
    _, found = findings(terminal)
    assert found[0]["good"]
    assert "no workspace here" in found[0]["what"]
    assert any("port" in one["what"] for one in found)
    assert any(one["what"].startswith("disk of ") for one in found)


def test_what_the_users_station_needs(
    terminal: Terminal, lamp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a workspace, the user's station.toml is what the host is checked for: slots, printer and ledger."""
    monkeypatch.setattr("rmfab.operations.disk_sync.fsync_seconds", lambda *_: 0.003)
    own = tmp_path / ".config" / "rmfab" / "station.toml"
    own.parent.mkdir(parents=True)
    slot = '[[slot]]\nname = "A1"\nport = "{}"\n[printer]\naddress = "file://{}/labels"\n'
    own.write_text(slot.format("rfc2217://10.0.0.8:4000", tmp_path))
    code, found = findings(terminal)
    assert (code, bad(found)) == (0, [])
    said = " ".join(one["what"] for one in found)
    for words_ in ("every slot is on the network", "the printer file:", "Bluetooth adapter hci0", "the clock", "fsync"):
        assert words_ in said, words_
    assert "the ledger" not in said
    monkeypatch.setenv("RMFAB_LEDGER", str(lamp / "ledger.db"))
    assert any(one["what"].startswith("the ledger") for one in findings(terminal)[1])
    monkeypatch.setenv("RMFAB_LEDGER", str(tmp_path / "gone.db"))
    assert bad(findings(terminal)[1]) == ["the ledger: no ledger here"]
    monkeypatch.delenv("RMFAB_LEDGER")
    own.write_text(slot.format("/dev/ttyUSB77", tmp_path) + "[lable]\n")
    code, found = findings(terminal)
    assert (code, "station.toml: [lable]: unknown table" in bad(found)[0]) == (4, True)
    own.write_text(slot.format("/dev/ttyUSB77", tmp_path))
    assert "slot A1: nothing is plugged in at /dev/ttyUSB77" in bad(findings(terminal)[1])


def test_a_workspace_that_was_named(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace that is named and not there is a problem, and the host is still checked."""
    for argv in (("-C", "nowhere"), ()):
        code, found = findings(terminal, *argv)
        assert code == 4
        assert "nowhere: no such folder" in bad(found)[0]
        assert any("port" in one["what"] for one in found)
        monkeypatch.setenv("RMFAB_WORKSPACE", str(terminal.folder / "nowhere"))


def test_a_folder_that_has_gone(tmp_path: Path) -> None:
    """In a folder that no longer exists, the host is checked."""
    folder = tmp_path / "gone"
    folder.mkdir()
    command = ["sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh", *words("doctor", "--json")]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stderr
    found = json.loads(done.stdout)
    assert "no longer exists" in bad(found)[0]
    assert any("disk of" in one["what"] for one in found)


def broken_product(lamp: Path) -> None:
    (lamp / "product.toml").write_text("[product\n")


def binary_product(lamp: Path) -> None:
    (lamp / "product.toml").write_bytes(b"\xff\xfe\0")


def product_folder(lamp: Path) -> None:
    (lamp / "product.toml").unlink()
    (lamp / "product.toml").mkdir()


def broken_station(lamp: Path) -> None:
    (lamp / "station.toml").write_text("[[slot]]\nname = 7\n")


def no_key(lamp: Path) -> None:
    (lamp / "keys" / "station.key").unlink()


def broken_key(lamp: Path) -> None:
    (lamp / "keys" / "station.key").write_bytes(b"\0" * 100)


def open_key(lamp: Path) -> None:
    (lamp / "keys" / "station.key").chmod(0o644)


def no_ledger(lamp: Path) -> None:
    (lamp / "ledger.db").unlink()


def empty_ledger(lamp: Path) -> None:
    (lamp / "ledger.db").write_bytes(b"")


def other_ledger(lamp: Path) -> None:
    (lamp / "ledger.db").unlink()
    with sqlite3.connect(lamp / "ledger.db") as other:
        other.execute("CREATE TABLE t (a)")
    other.close()


def ledger_folder(lamp: Path) -> None:
    (lamp / "ledger.db").unlink()
    (lamp / "ledger.db").mkdir()


def noise_ledger(lamp: Path) -> None:
    (lamp / "ledger.db").write_bytes(bytes(range(256)) * 64)


def half_ledger(lamp: Path) -> None:
    data = (lamp / "ledger.db").read_bytes()
    (lamp / "ledger.db").write_bytes(data[:2048] + b"\xff" * (len(data) - 2048))


def broken_trust(lamp: Path) -> None:
    (lamp / "keys" / "trust.json").write_text("{")


def dangling_trust(lamp: Path) -> None:
    (lamp / "keys" / "trust.json").symlink_to("nowhere")


def logs_file(lamp: Path) -> None:
    shutil.rmtree(lamp / "logs", ignore_errors=True)
    (lamp / "logs").write_text("")


FAULTS = [
    (broken_product, 4, "product.toml"),
    (binary_product, 4, "product.toml"),
    (product_folder, 4, "product.toml"),
    (broken_station, 4, "station.toml"),
    (no_key, 4, "this station's key"),
    (broken_key, 4, "this station's key"),
    (open_key, 4, "this station's key"),
    (no_ledger, 4, "the ledger"),
    (empty_ledger, 4, "the ledger"),
    (other_ledger, 4, "the ledger"),
    (ledger_folder, 4, "the ledger"),
    (noise_ledger, 5, "the ledger"),
    (half_ledger, 5, "the ledger"),
    (broken_trust, 5, "the trust file"),
    (dangling_trust, 4, "the trust file"),
    (logs_file, 4, "logs"),
]


@pytest.mark.parametrize(("fault", "code", "told"), FAULTS, ids=[fault[0].__name__ for fault in FAULTS])
def test_a_fault_and_everything_else(terminal: Terminal, lamp: Path, fault: Any, code: int, told: str) -> None:
    """A fault is a finding of its own, with a hint; every other check runs. Damage is exit code 5, the rest 4."""
    fault(lamp)
    ended, found = findings(terminal, "-C", lamp)
    assert ended == code
    own = [one for one in found if not one["good"] and told in one["what"]]
    assert own, bad(found)
    assert all(one["hint"] for one in own), own
    for check in CHECKS:
        assert any(word in one["what"] for one in found for word in check), (check, found)
    said = terminal("-C", lamp, "doctor")
    assert said.code == code
    assert "MISSING  " + own[0]["what"] in said.out
    assert said.err.count("rmfab: error: ") == 1


def test_one_slip_is_one_finding(terminal: Terminal, lamp: Path) -> None:
    """A misspelt key in a file that several checks read is one problem, with what was meant."""
    (lamp / "station.toml").write_text('[station]\nname = "b"\n\n[[slot]]\nname = "A"\nprot = "/dev/ttyUSB0"\n')
    _, found = findings(terminal, "-C", lamp)
    (slip,) = [one for one in found if "station.toml" in one["what"]]
    assert (slip["what"], slip["hint"]) == ("station.toml: [[slot]] no. 1 prot: unknown key", 'did you mean "port"?')


def test_all_at_once(terminal: Terminal, lamp: Path) -> None:
    """With every fault at once each is listed, and the worst decides the exit code."""
    for fault in (broken_product, broken_station, open_key, noise_ledger, broken_trust):
        fault(lamp)
    (lamp / "keys").chmod(0o755)
    code, found = findings(terminal, "-C", lamp)
    assert code == 5
    for told in ("product.toml: ", "station.toml: ", "this station's key: ", "the ledger: ", "the trust file: "):
        assert any(one.startswith(told) for one in bad(found)), (told, bad(found))
    assert f"other users of this host can use {lamp / 'keys'}" in bad(found)
    classes = {one["class"] for one in found}
    assert {"ledger-corrupt", "key-file-open"} <= classes


def test_modes_are_reported_and_left(terminal: Terminal, lamp: Path) -> None:
    """What others could use is listed with a chmod, and `doctor` changes no mode."""
    loose = ("ledger.db", "keys", "keys/unique.key", "keys/station.key", "ca", "ca/ca.key")
    for name in loose:
        (lamp / name).chmod(0o755 if (lamp / name).is_dir() else 0o640)
    _, found = findings(terminal, "-C", lamp)
    for name in loose:
        (one,) = [one for one in found if one["what"] == f"other users of this host can use {lamp / name}"]
        assert one["hint"] == f"chmod go-rwx {lamp / name}"
        assert (lamp / name).stat().st_mode & 0o077


def test_a_user_without_a_home(lamp: Path) -> None:
    """A container's user without a home folder is no problem."""
    said = process("-C", lamp, "doctor", "--json", cwd=lamp, HOME="")
    assert said.code == 4, said.err
    assert [one for one in json.loads(said.out) if one["class"]] == []


@pytest.mark.parametrize(
    ("space", "good", "told"),
    [
        (Space(Path("/w"), 2_000_000_000, 10_000), True, "disk of /w: 2.0 GB free"),
        (Space(Path("/w"), 999_000_000, None), False, "only 999 MB free on the disk of /w; a shift needs 1.0 GB"),
        (Space(Path("/w"), 0, 0), False, "only 0 MB free"),
        (Space(Path("/w"), 2_000_000_000, 399), False, "only 399 more files fit on the disk of /w; a shift needs 400"),
        (Space(Path("/w"), 2_000_000_000, 400), True, "disk of /w"),
    ],
)
def test_what_a_shift_needs(space: Space, good: bool, told: str) -> None:
    """A disk with too few bytes or too few inodes is a problem with a hint."""
    found = judge_space(space, 1_000_000_000, 400)
    assert (found.good, found.what.startswith(told)) == (good, True), found.what
    assert good or "logs prune" in found.hint


def test_a_full_disk(terminal: Terminal, lamp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disks of the workspace, of a ledger elsewhere and of temporary files are measured; a larger ledger needs
    more."""
    other = terminal.folder / "elsewhere"
    other.mkdir()
    monkeypatch.setenv("RMFAB_LEDGER", str(shutil.copy(lamp / "ledger.db", other)))
    monkeypatch.setattr(disk_space, "measure", lambda folder: Space(folder, 110_000_000, 10_000))
    assert sum("disk of" in one for one in bad(findings(terminal, "-C", lamp)[1])) == 0
    with (other / "ledger.db").open("r+b") as stream:
        stream.truncate(200_000_000)
    code, found = findings(terminal, "-C", lamp)
    short = [one for one in bad(found) if "free on the disk of" in one]
    assert code in (4, 5)
    assert [str(folder) in " ".join(short) for folder in (lamp, other)] == [True, True]
    assert len(short) == 3


def test_measuring(tmp_path: Path) -> None:
    """The free space of a real disk is a number of bytes, and of files if the disk has such a limit."""
    space = measure(tmp_path)
    assert space.free > 0
    assert space.files is None or space.files > 0


def broker_table(lamp: Path, **keys: object) -> None:
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    (lamp / "station.toml").write_text("\n".join(["[cloud]", *lines, ""]))


ABOUT = ("this host's clock", "the broker", "the witness", "no witness")


def about_the_broker(found: list[dict[str, Any]]) -> list[tuple[str, bool]]:
    return [(one["what"], one["good"]) for one in found if one["what"].startswith(ABOUT)]


def test_a_station_without_a_broker(lamp: Path, terminal: Terminal) -> None:
    """Without [cloud] in station.toml nothing is said about a broker, and none is connected to."""
    _, found = findings(terminal, "-C", lamp)
    assert about_the_broker(found) == []


def test_a_broker_that_is_away(lamp: Path, terminal: Terminal) -> None:
    """A broker that does not answer is a problem, with the place and a hint; the clock is checked as well."""
    broker_table(lamp, host="localhost", tcp_port=free_port("127.0.0.1"))
    code, found = findings(terminal, "-C", lamp)
    clock, broker = about_the_broker(found)
    assert code == 4
    assert clock[1]
    assert (broker[0].startswith("the broker of the units: "), broker[1]) == (True, False)


def test_a_broker(lamp: Path, terminal: Terminal, tmp_path: Path) -> None:
    """A broker that can be reached is good; so is that the station has no witness, unless the product needs one."""
    lab = Lab(tmp_path / "lab")
    with listening(OpenBroker(lab)) as port:
        broker_table(lamp, host="localhost", tcp_port=port, ca=str(lab.folder.ca))
        _, found = findings(terminal, "-C", lamp)
        assert [good for _, good in about_the_broker(found)] == [True, True, True]
        path = lamp / "product.toml"
        text = path.read_text().replace("join = false", "join = true").replace('cloud = "off"', 'cloud = "witness"')
        path.write_text(text)
        code, found = findings(terminal, "-C", lamp)
    (told,) = (one for one in found if one["what"].startswith(ABOUT))
    assert (code, told["good"]) == (4, False)
    assert "witness_cert" in told["hint"]


def test_a_clock_that_is_behind(lamp: Path, terminal: Terminal) -> None:
    """A clock that is behind the newest record of the ledger is a problem."""
    event = Event("2099-01-01T00:00:00.000Z", EventKind.STEP, serial="LMP-000001", step="boot", outcome=Outcome.ERROR)
    with open_workspace(lamp).ledger as ledger:
        ledger.record("bench", [event])
    broker_table(lamp, host="localhost", tcp_port=1)
    _, found = findings(terminal, "-C", lamp)
    assert about_the_broker(found)[0][1] is False
