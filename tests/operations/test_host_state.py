"""The clock, the disk and the fonts of a host: the facts in its files, and what they mean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rmfab.errors import InputError
from rmfab.ledger.sql.network_share import Mount, mount_of
from rmfab.line.diagnosis import Diagnosis
from rmfab.operations.disk_sync import diagnose_sync, fsync_seconds, judge_mount, judge_sync
from rmfab.operations.examine_clock import ClockFacts, clock_facts, judge_clock
from rmfab.operations.examine_fonts import diagnose_fonts
from rmfab.product.product_file import parse_product
from tests.host_tree import HostTree

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.fixture
def host(tmp_path: Path) -> HostTree:
    """An empty host."""
    return HostTree(tmp_path / "host")


class TestClock:
    @pytest.fixture(autouse=True)
    def _linux(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The rules of Linux, wherever the test runs."""
        monkeypatch.setattr("sys.platform", "linux")

    @pytest.mark.parametrize(
        ("facts", "good", "words"),
        [
            (ClockFacts(False, ("chronyd",), False, NOW), True, "kept by chronyd"),
            (ClockFacts(False, ("systemd-timesyncd",), True, NOW), True, "kept by systemd-timesyncd"),
            (ClockFacts(False, ("systemd-timesyncd",), False, NOW), False, "has not reached a time server"),
            (ClockFacts(False, ("chronyd", "systemd-timesyncd"), False, NOW), True, "kept by chronyd"),
            (ClockFacts(False, (), False, NOW), False, "nothing keeps the clock right"),
            (ClockFacts(True, (), False, NOW), True, "whoever runs this system keeps it"),
            (ClockFacts(True, (), False, NOW + timedelta(minutes=4)), True, "shows 2026-11-29 12:00 UTC"),
            (ClockFacts(True, ("chronyd",), True, NOW + timedelta(days=1)), False, "the clock is behind"),
        ],
    )
    def test_judgement(self, facts: ClockFacts, good: bool, words: str) -> None:
        """A clock is good if something keeps it, and it is not behind files that it has dated itself."""
        (one,) = judge_clock(facts, NOW)
        assert (one.good, words in one.what) == (good, True), one
        assert good or "sudo " in one.hint

    def test_facts(self, host: HostTree, tmp_path: Path) -> None:
        """The facts are read from /proc and /run; the ledger's file is one that the clock must have passed."""
        assert clock_facts(host.root, tmp_path / "none").keepers == ()
        host.runs("bash", "systemd-timesyncd")
        host.file("run/systemd/timesync/synchronized")
        ledger = host.file("ledger.db")
        facts = clock_facts(host.root, ledger)
        assert (facts.keepers, facts.reached, facts.container) == (("systemd-timesyncd",), True, False)
        assert facts.newest == datetime.fromtimestamp(ledger.stat().st_mtime, UTC)
        host.file(".dockerenv")
        assert clock_facts(host.root, ledger).container


class TestDisk:
    MOUNTS = (
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "23 22 0:25 / /tmp rw - tmpfs tmpfs rw\n"
        "24 22 0:35 / /mnt/two\\040words rw - nfs4 server:/x rw\n"
        "25 24 8:17 / /mnt/two\\040words/disk rw - ext4 /dev/sdb1 rw\n"
        "26 25 8:33 / /mnt/two\\040words/disk rw - ext4 /dev/sdc1 rw,nobarrier\n"
        "odd\n"
    )

    @pytest.mark.parametrize(
        ("folder", "mount"),
        [
            ("/srv/lamp", Mount("ext4", ("rw", "relatime"))),
            ("/tmp/lamp", Mount("tmpfs", ("rw",))),
            ("/tmpfiles", Mount("ext4", ("rw", "relatime"))),
            ("/mnt/two words", Mount("nfs4", ("rw",))),
            ("/mnt/two words/disk/lamp", Mount("ext4", ("rw", "nobarrier"))),
        ],
    )
    def test_the_mount_of_a_folder(self, folder: str, mount: Mount) -> None:
        """It is the nearest one above the folder, and of two in one place the later one."""
        assert mount_of(Path(folder), self.MOUNTS) == mount

    @pytest.mark.parametrize("mounts", ["", "1 2 3 / /b c - d e f\n"])
    def test_no_mounts(self, mounts: str) -> None:
        """A host that does not tell its mounts, or none that fits, has none."""
        assert mount_of(Path("/srv"), mounts) is None

    def test_the_mount_of_a_host(self, host: HostTree, tmp_path: Path) -> None:
        """The host below a root tells of its mounts itself."""
        host.file("proc/self/mountinfo", "22 1 0:25 / / rw - tmpfs tmpfs rw\n")
        assert "in memory (tmpfs)" in next(iter(diagnose_sync(tmp_path, host.root))).what

    @pytest.mark.parametrize(
        ("mount", "words"),
        [
            (Mount("ext4", ("rw",)), None),
            (Mount("overlay"), None),
            (Mount("tmpfs"), "a power cut loses the ledger"),
            (Mount("nfs4"), "network file system (nfs4)"),
            (Mount("fuse.sshfs"), "network file system"),
            (Mount("9p"), "network file system"),
            (Mount("vboxsf"), "network file system"),
            (Mount("fuseblk"), None),
            (Mount("ext4", ("rw", "barrier=0")), "mounted with barrier=0"),
        ],
    )
    def test_where_a_ledger_is_safe(self, mount: Mount, words: str | None) -> None:
        """Memory, networks and disks without barriers are reported, each with what to do."""
        found = list(judge_mount(Path("/lamp"), mount))
        assert [words is not None and words in one.what and bool(one.hint) for one in found] == [True] * len(found)
        assert len(found) == (words is not None)

    def test_fsync(self, host: HostTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The time of an fsync is the middle one of five; no file is left. A slow disk is reported."""
        ticks = iter([0, 1, 0, 0.002, 0, 0.003, 0, 0.001, 0, 9])
        assert fsync_seconds(tmp_path, lambda: next(ticks)) == 0.003
        assert list(tmp_path.iterdir()) == []
        assert judge_sync(tmp_path, 0.1) == Diagnosis(
            f"fsync on the disk of {tmp_path} takes 100.0 ms", True, judge_sync(tmp_path, 0.1).hint
        )
        assert not judge_sync(tmp_path, 0.101).good
        slow = iter(range(99))
        assert [one.good for one in diagnose_sync(tmp_path, host.root, lambda: next(slow))] == [False]
        monkeypatch.setenv("LD_PRELOAD", "/usr/lib/libeatmydata.so")
        (one,) = diagnose_sync(tmp_path, host.root)
        assert "eatmydata switches fsync off" in one.what
        monkeypatch.setattr("os.access", lambda path, mode: False)
        assert list(diagnose_sync(tmp_path, host.root)) == []


ZH = {"RMFAB_LANG": "zh_CN"}


class TestFonts:
    def test_english_needs_none(self, host: HostTree) -> None:
        """Nothing is said about Chinese letters to who reads English; an unknown language is a finding."""
        assert list(diagnose_fonts(host.root, {"LANG": "C.UTF-8"}, None)) == []
        (one,) = diagnose_fonts(host.root, {"RMFAB_LANG": "tlh"}, None)
        assert not one.good

    @pytest.mark.parametrize(
        ("font", "good"),
        [
            ("usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc", True),
            ("usr/share/fonts/truetype/wqy/wqy-microhei.ttc", True),
            ("home/.local/share/fonts/SourceHanSansSC-Normal.otf", True),
            ("usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", False),
            ("usr/share/fonts/NotoSansCJK-Regular.txt", False),
            ("usr/share/doc/NotoSansCJK-Regular.ttc", False),
        ],
    )
    def test_chinese(self, host: HostTree, font: str, good: bool) -> None:
        """The operator's language Chinese needs one of the known fonts in a folder for fonts."""
        host.file(font)
        (one,) = diagnose_fonts(host.root, ZH | {"HOME": str(host.root / "home")}, None)
        assert one.good is good
        assert good or one.hint == "sudo apt-get install fonts-noto-cjk"

    @pytest.mark.parametrize(
        ("release", "command"),
        [
            ('ID=ubuntu\nID_LIKE="debian"\n', "apt-get"),
            ("ID=fedora\n", "dnf"),
            ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "dnf"),
            ("ID=arch\n", "pacman"),
            ('ID=opensuse-leap\nID_LIKE="suse opensuse"\n', "zypper"),
            ("nonsense", "apt-get"),
        ],
    )
    def test_the_command_of_this_system(self, host: HostTree, release: str, command: str) -> None:
        """The command is that of the distribution."""
        host.file("etc/os-release", release)
        (one,) = diagnose_fonts(host.root, ZH, None)
        assert command in one.hint

    def test_terminals_that_are_elsewhere(self, host: HostTree) -> None:
        """Over ssh the fonts of the other end count; the text console has no Chinese letters at all."""
        (far,) = diagnose_fonts(host.root, ZH | {"SSH_CONNECTION": "10.0.0.7 1 10.0.0.8 22"}, None)
        (console,) = diagnose_fonts(host.root, ZH | {"TERM": "linux"}, None)
        assert (far.good, console.good) == (True, False)

    def test_the_font_of_labels(self, host: HostTree, tmp_path: Path) -> None:
        """The font that product.toml names must be usable, and have the letters of the product's name."""
        import reportlab

        vera = Path(reportlab.__file__).parent / "fonts" / "Vera.ttf"
        text = '[product]\nname = "{}"\nchip = "esp32c3"\nserial = "L-{{n}}"\n[label]\nfont = "{}"\n'

        def found(name: str, font: Path) -> list[Diagnosis]:
            product = parse_product(text.format(name, font), tmp_path / "product.toml")
            return list(diagnose_fonts(host.root, {}, product))

        assert [one.good for one in found("Lamp", vera)] == [True]
        (one,) = found("\u706f", vera)
        assert (one.good, "has no glyph for \u706f" in one.what) == (False, True)
        with pytest.raises(InputError):
            found("Lamp", host.file("broken.ttf", "x"))
