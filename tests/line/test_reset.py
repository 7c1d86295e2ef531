"""The factory reset: what it erases, what it leaves untouched, and what it rejects."""

from __future__ import annotations

import os
import signal

import pytest

from rmfab.board.esp.loader import Loader
from rmfab.nvs.packing import pack
from rmfab.nvs.reader import read_image
from rmfab.nvs.table import Entry, EntryKind, Namespace
from rmfab.product.vocabulary import Chip, Credentials
from rmfab.release.bundle import build_bundle
from rmfab.release.opening import open_release
from rmfab.virtual.network import FACTORY_NETWORK
from rmfab.virtual.spec import BoardSpec, PortKind
from tests.line.floor import FCTRY, NVS, NVS_KEY, OTADATA, PHY, SECURE_CERT, copied, found, serve, spec
from tests.line.zygote import Zygote

pytestmark = pytest.mark.slow

SIZE = 0x6000
WIFI = "nvs.net80211"
OWNER = pack(
    [
        Namespace(WIFI),
        Entry(WIFI, "sta.ssid", EntryKind.BLOB, (6).to_bytes(4, "little") + b"bakery".ljust(32, b"\0")),
        Entry(WIFI, "sta.pswd", EntryKind.BLOB, b"croissant".ljust(65, b"\0")),
    ],
    SIZE,
)


def station_keys(flash):
    """Return the Wi-Fi credentials in `nvs`."""
    told = [e.value for e in read_image(flash[NVS : NVS + SIZE]).entries if e.key in ("sta.ssid", "sta.pswd")]
    return [value for value in told if isinstance(value, bytes) and value.strip(b"\0\xff")]


def patched(path, **pieces):
    """Write *pieces*, `at_OFFSET=bytes`, into a flash file."""
    data = bytearray(path.read_bytes())
    for name, piece in pieces.items():
        at = int(name.removeprefix("at_"))
        data[at : at + len(piece)] = piece
    path.write_bytes(data)


@pytest.fixture
def owned(factory, tmp_path):
    """A unit in its owner's Wi-Fi network, with noise in nvs_key and esp_secure_cert."""
    one = spec(flash_file=tmp_path / "flash.bin")
    with serve([one]) as (board,):
        assert factory.run(board.url).code == 0
    keys = {f"at_{NVS_KEY}": os.urandom(0x1000), f"at_{SECURE_CERT}": os.urandom(0x2000)}
    patched(one.flash_file, **{f"at_{NVS}": OWNER}, **keys)
    return factory, one


class TestReset:
    """`rmfab reset` on a returned unit."""

    @pytest.mark.parametrize("via", ["loader", "console"])
    def test_owned_unit(self, owned, via):
        """The owner's network is erased; identity, keys and everything else stay byte for byte; the unit is as new."""
        factory, one = owned
        before = one.flash_file.read_bytes()
        assert station_keys(before)
        with serve([one]) as (board,):
            said = factory.run(board.url, command="reset", extra=("--via", via))
            assert board.state()["serving"]
        after = one.flash_file.read_bytes()
        assert said.code == 0, said.unit["reason"]
        assert said.steps() == {"reset": "PASS"}
        assert said.step("reset")["measurements"]["erased"] == ["nvs"]
        assert station_keys(after) == []
        for start, end in ((0, NVS), (OTADATA, PHY), (PHY, len(after))):
            assert after[start:end] == before[start:end]
        assert after[FCTRY : FCTRY + SIZE] == before[FCTRY : FCTRY + SIZE]
        assert list(factory.states().values()) == ["verified"]
        factory.check()

    def test_joined_unit(self, owned):
        """A unit that joined a network is unprovisioned after the reset, and can be verified again."""
        factory, one = owned
        patched(one.flash_file, **{f"at_{NVS}": b"\xff" * SIZE})
        factory.edit("join = false", "join = true")
        (factory.root / "wifi.toml").write_text(
            f'ssid = "{FACTORY_NETWORK.ssid}"\npassphrase = "{FACTORY_NETWORK.password}"\n'
        )
        (factory.root / "wifi.toml").chmod(0o600)
        (factory.root / "station.toml").write_text('[provisioning]\nnetwork = "wifi.toml"\n')
        with serve([one]) as (board,):
            said = factory.run(board.url, command="verify")
            again = factory.run(board.url, command="verify")
        assert said.code == again.code == 0, said.unit["reason"]
        assert list(said.steps()) == ["detect", "boot", "identify", "provision", "reset"]
        assert station_keys(one.flash_file.read_bytes()) == []

    def test_what_the_product_erases(self, owned):
        """The partitions in [factory] erase are erased too, but never the factory partition, even if listed there."""
        factory, one = owned
        factory.edit('# erase = ["coredump"]', 'erase = ["phy_init", "fctry"]')
        patched(one.flash_file, **{f"at_{PHY}": b"calibration"})
        before = one.flash_file.read_bytes()
        with serve([one]) as (board,):
            said = factory.run(board.url, command="reset")
        after = one.flash_file.read_bytes()
        assert said.code == 0, said.unit["reason"]
        assert said.step("reset")["measurements"]["erased"] == ["nvs", "phy_init"]
        assert after[PHY : PHY + 0x1000] == b"\xff" * 0x1000
        assert after[FCTRY : FCTRY + SIZE] == before[FCTRY : FCTRY + SIZE]

    def test_changed_factory_partition(self, owned):
        """A unit with a changed factory partition fails before anything is erased."""
        factory, one = owned
        patched(one.flash_file, **{f"at_{FCTRY + 0x2000}": b"\x00" * 16})
        before = one.flash_file.read_bytes()
        with serve([one]) as (board,):
            said = factory.run(board.url, command="reset")
            assert board.state()["mode"] == "running", "it is not left in its loader"
        assert (said.code, said.verdict) == (1, ("FAIL", "factory-changed"))
        assert station_keys(one.flash_file.read_bytes()) == station_keys(before)

    def test_claimed_unit(self, tmp_path):
        """What cloud claiming wrote into the factory partition is accepted, as long as it is the unit's own."""
        factory = found(tmp_path / "ws", units=1, credentials=Credentials.CLOUD_CLAIM)
        one = spec(flash_file=tmp_path / "flash.bin")
        with serve([one]) as (board,):
            assert factory.run(board.url).code == 0
        flash = one.flash_file.read_bytes()
        held = [e for e in read_image(flash[FCTRY : FCTRY + SIZE]).entries if e.namespace == "rmaker_creds"]
        entries = [Entry("rmaker_creds", e.key, EntryKind.BLOB, e.value) for e in held]
        made = Entry("rmaker_creds", "node_id", EntryKind.BLOB, b"NodeThatClaimingMade")
        claimed = pack([Namespace("rmaker_creds"), *entries, made], SIZE)
        patched(one.flash_file, **{f"at_{FCTRY}": claimed})
        with serve([one]) as (board,):
            said = factory.run(board.url, command="reset")
        assert said.code == 0, said.unit["reason"]
        assert one.flash_file.read_bytes()[FCTRY : FCTRY + SIZE] == claimed
        stranger = pack([Namespace("rmaker_creds"), Entry("rmaker_creds", "random", EntryKind.BLOB, bytes(64))], SIZE)
        patched(one.flash_file, **{f"at_{FCTRY}": stranger})
        with serve([one]) as (board,):
            assert factory.run(board.url, command="reset").verdict == ("FAIL", "factory-changed")

    def test_unknown_board(self, factory):
        """A board that is not in this ledger is unbound, and nothing is erased."""
        with serve([spec()]) as (board,):
            said = factory.run(board.url, command="reset")
        assert (said.code, said.verdict) == (1, ("FAIL", "unbound"))

    def test_swapped_board(self, factory, monkeypatch):
        """A board that is swapped in before the reset step of a run is not touched."""
        original, calls = Loader.connect, []

        def connect(loader):
            facts = original(loader)
            calls.append(facts)
            if len(calls) == 1:
                return facts
            return type(facts)(facts.chip_name, facts.revision, "24:0a:c4:00:00:00", None, facts.security)

        monkeypatch.setattr(Loader, "connect", connect)
        with serve([spec()]) as (board,):
            said = factory.run(board.url)
        assert said.steps()["provision"] == "PASS"
        assert said.verdict == ("ERROR", "board-swapped")
        assert list(factory.states().values()) == ["flashed"]

    def test_unwired_slot(self, factory):
        """On a slot that cannot bring the board into its loader, the step is skipped."""
        with serve([BoardSpec(Chip.ESP32C3, link=PortKind.SOCKET)]) as (board,):
            said = factory.run(board.url, command="reset")
        assert said.steps() == {"reset": "SKIP"}

    @pytest.mark.parametrize("place", ["build", "releases/lamp.rmfab", "lamp.rmfab"])
    def test_the_release_of_the_unit(self, owned, place):
        """Without a release, that of the unit is found by its digest: as the build folder, or as a bundle."""
        factory, one = owned
        factory.edit('path = "build"', '# path = "build"')
        (factory.root / "other.rmfab").write_bytes(b"not a bundle")
        if place != "build":
            (factory.root / "releases").mkdir()
            (factory.root / place).write_bytes(build_bundle(open_release(factory.root / "build")))
            (factory.root / "build").rename(factory.root / "renamed")
        with serve([one]) as (board,):
            said = factory.run(board.url, command="reset")
        assert said.code == 0, said.unit["reason"]
        assert station_keys(one.flash_file.read_bytes()) == []
        factory.check()

    def test_a_release_outside_the_workspace(self, factory, tmp_path):
        """A unit that was flashed with a release elsewhere is reset without naming it again, as long as it is there."""
        factory.edit('path = "build"', '# path = "build"')
        elsewhere = (factory.root / "build").rename(tmp_path / "firmware")
        with serve([spec()]) as (board,):
            assert factory.run(board.url, extra=("--release", elsewhere)).code == 0
            found = factory.run(board.url, command="reset")
            elsewhere.rename(tmp_path / "moved")
            lost = factory.run(board.url, command="reset")
        assert found.code == 0, found.unit["reason"]
        assert lost.verdict == ("ERROR", "no-release")

    def test_a_release_that_is_not_here(self, owned):
        """If the workspace lacks the unit's release, the error names it, and the flash is not changed."""
        factory, one = owned
        factory.edit('path = "build"', '# path = "build"')
        (factory.root / "build").rename(factory.root / "renamed")
        before = one.flash_file.read_bytes()
        with serve([one]) as (board,):
            said = factory.run(board.url, command="reset")
            named = factory.run(board.url, command="reset", extra=("--serial", next(iter(factory.states()))))
            unknown = factory.run(board.url, command="reset", extra=("--serial", "LMP-009999"))
            assert board.state()["mode"] == "running"
        assert (said.code, said.verdict) == (3, ("ERROR", "no-release"))
        assert "was flashed with release 1.0.0" in said.unit["reason"]
        assert "--release" in said.unit["reason"]
        assert named.verdict == ("ERROR", "no-release")
        assert unknown.verdict == ("ERROR", "no-serial")
        assert station_keys(one.flash_file.read_bytes()) == station_keys(before) != []

    def test_an_unknown_board_without_a_release(self, factory):
        """A board that is not in the ledger is unbound, with a release or without."""
        factory.edit('path = "build"', '# path = "build"')
        with serve([spec()]) as (board,):
            said = factory.run(board.url, command="reset")
        assert (said.code, said.verdict) == (1, ("FAIL", "unbound"))

    def test_console_that_is_not_there(self, tmp_path):
        """Firmware without console commands is not reset over its console, and the unit is not to blame."""
        factory = found(tmp_path / "ws", units=1, console=False, edits=(('console = "auto"', 'console = "log"'),))
        with serve([spec()]) as (board,):
            assert factory.run(board.url).code == 0
            said = factory.run(board.url, command="reset", extra=("--via", "console"))
            assert said.verdict == ("ERROR", "config-mismatch")
            assert "no console commands" in said.unit["reason"]
            assert factory.run(board.url, command="reset").code == 0

    def test_console_without_a_log(self, tmp_path):
        """With log level 0 the console still resets the unit: it answers who it is, and the ROM prints the restart."""
        factory = found(tmp_path / "ws", units=1, log_level=0)
        with serve([spec(flash_file=tmp_path / "flash.bin")]) as (board,):
            assert factory.run(board.url).code == 0
            said = factory.run(board.url, command="reset", extra=("--via", "console"))
        assert said.code == 0, said.unit["reason"]

    def test_killed_between_erase_and_boot(self, founded, tmp_path):
        """A reset that was killed at any time is completed by the next one; the unit keeps its identity."""
        factory = copied(founded, tmp_path / "ws")
        one = spec(flash_file=tmp_path / "flash.bin")
        with serve([one]) as (board,):
            assert factory.run(board.url).code == 0
            before = board.state()["commands"]
            factory.run(board.url, command="reset")
            total = board.state()["commands"] - before
        with Zygote() as zygote:
            for number in (total - 12, total - 6, total - 2):
                patched(one.flash_file, **{f"at_{NVS}": OWNER})
                pid = zygote.spawn()
                faulty = spec(faults=(f"kill-at={number}",), flash_file=one.flash_file, kill_pid=pid)
                with serve([faulty]) as (board,):
                    zygote.go(pid, ["-C", str(factory.root), "reset", "--port", board.url], tmp_path / "out")
                    assert zygote.wait(pid) == -signal.SIGKILL
                    board.control("fault none")
                    said = factory.run(board.url, command="reset")
                    assert said.code == 0, said.unit["reason"]
                assert station_keys(one.flash_file.read_bytes()) == []
        factory.check()
