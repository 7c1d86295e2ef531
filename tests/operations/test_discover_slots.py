"""`rmfab station discover`: what a person plugs in and types, and what station.toml becomes."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from rmfab.board.port import PluggedIn
from rmfab.errors import ComplaintsError, InputError, StationError, UsageError
from rmfab.line.discovery import LOOKS
from rmfab.line.station import load_station
from rmfab.operations.discover_slots import DiscoverRequest, NewSlot, add_slots, discover_slots
from rmfab.operations.virtual_watch import VirtualWatch
from rmfab.product.vocabulary import Chip
from rmfab.virtual import BoardHandle, BoardSpec, serve
from tests.commands.conftest import lamp, terminal, workshop
from tests.operations.notebook import Notebook
from tests.patience import until
from tests.terminal import Said, Terminal, environment, process, words

__all__ = ["lamp", "terminal", "workshop"]

Step = Sequence[PluggedIn] | str


def usb(number: int, *, device: str | None = None, what: str = "CP2102N", ids: str = "10c4:ea60") -> PluggedIn:
    place = f"/dev/serial/by-path/pci-0000:00:14.0-usb-0:{number}:1.0-port0"
    return PluggedIn(place, device or f"/dev/ttyUSB{number}", f"1-{number}", what, ids)


class Hand:
    """A hand that plugs and types: each of *steps* is what is plugged in for some looks, or a line that is typed.

    It is both the watch and the keyboard. At the end of the steps, it interrupts if *gives_up*, else it fails.
    """

    def __init__(self, *steps: Step, there: Sequence[PluggedIn] = (), gives_up: bool = False) -> None:
        self._there = tuple(there)
        self._steps = self._played(steps)
        self._gives_up = gives_up

    def _played(self, steps: Sequence[Step]) -> Iterator[str | None]:
        for step in steps:
            if isinstance(step, str):
                yield step
                continue
            self._there = tuple(step)
            for _ in range(LOOKS):
                yield None

    def look(self) -> tuple[PluggedIn, ...]:
        return self._there

    def unit(self, port: PluggedIn) -> str | None:
        return None

    def typed(self, seconds: float) -> str | None:
        assert seconds > 0
        try:
            return next(self._steps)
        except StopIteration:
            if self._gives_up:
                raise KeyboardInterrupt from None
            raise AssertionError("the discovery did not end") from None


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The station.toml of a host without a workspace; it is not there yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RMFAB_STATION", "RMFAB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / ".config" / "rmfab" / "station.toml"


def discovered(hand: Hand, *names: str, number: int | None = None, answers: bool = True) -> Notebook:
    """Run the discovery; return what it said."""
    notebook = Notebook(*([True] if answers else []))
    discover_slots(DiscoverRequest(None, names, number), hand, hand.typed, notebook)
    return notebook


def slots(file: Path) -> list[tuple[str, str]]:
    return [(slot.name, slot.link.address) for slot in load_station(file).slots]


class TestWhatIsPluggedIn:
    def test_until_enter(self, file: Path) -> None:
        """Slots are A1, A2 … until the person presses Enter; the new file is valid, with what is plugged in."""
        said = discovered(Hand([usb(1)], [usb(1), usb(2, what="", ids="1a86:7523")], "")).said
        assert slots(file) == [("A1", usb(1).address), ("A2", usb(2).address)]
        assert "[[slot]]                 # 1-1, CP2102N\n" in file.read_text()
        assert tomllib.loads(file.read_text())["station"]["name"]
        assert said == [
            "plug in slot A1; Enter ends",
            "slot A1: /dev/ttyUSB1, 1-1, CP2102N (CP210x)",
            "plug in slot A2; Enter ends",
            "slot A2: /dev/ttyUSB2, 1-2 (CH340)",
            "plug in slot A3; Enter ends",
            f"{file}: 2 slots added; `rmfab doctor` checks this host",
        ]

    def test_by_names_and_by_number(self, file: Path) -> None:
        """With names or a number it ends by itself, also without a terminal, and asks for no key."""
        said = discovered(Hand([usb(1)], [usb(2)]), "left", "right", answers=False).said
        assert [name for name, _ in slots(file)] == ["left", "right"]
        assert said[0] == "plug in slot left"
        discovered(Hand([usb(3)]), number=1, answers=False)
        assert [name for name, _ in slots(file)] == ["left", "right", "A1"]

    def test_fewer_than_asked_for(self, file: Path) -> None:
        """Enter ends before the last name; what was found is kept."""
        discovered(Hand([usb(1)], ""), "left", "right")
        assert [name for name, _ in slots(file)] == ["left"]

    def test_ports_that_are_there_already(self, file: Path) -> None:
        """What is plugged in at the start is said, with its slot or the way to become one."""
        discovered(Hand([usb(1)]), number=1)
        said = discovered(Hand([], [usb(2)], there=[usb(1), usb(2)]), number=1).said
        assert said[:3] == [
            f"{file} has A1; they stay as they are",
            "plugged in already: /dev/ttyUSB1, 1-1, CP2102N; it is slot A1",
            "plugged in already: /dev/ttyUSB2, 1-2, CP2102N; plug it in again to make it a slot",
        ]
        assert slots(file) == [("A1", usb(1).address), ("A2", usb(2).address)]

    def test_the_same_socket_twice(self, file: Path) -> None:
        """A socket that is a slot already is said, and the question stays."""
        said = discovered(Hand([usb(1)], [], [usb(1)], [usb(1), usb(2)]), number=2).said
        assert "/dev/ttyUSB1, 1-1, CP2102N is slot A1 already; plug into a different socket" in said
        assert slots(file) == [("A1", usb(1).address), ("A2", usb(2).address)]

    def test_two_at_once(self, file: Path) -> None:
        """Ports that appear together are listed with numbers; unplugging one answers, or its number."""
        notebook = discovered(Hand([usb(1), usb(2)], [usb(2)], [usb(2), usb(3), usb(4)], "7", "x", "2"), number=2)
        assert slots(file) == [("A1", usb(2).address), ("A2", usb(4).address)]
        assert "  1  /dev/ttyUSB1, 1-1, CP2102N" in notebook.said
        assert "unplug all but one, or type its number and Enter" in notebook.said
        assert [warning for warning in notebook.warnings if "is not the number" in warning] == [
            '"7" is not the number of a port; Enter alone ends, ^C gives up',
            '"x" is not the number of a port; Enter alone ends, ^C gives up',
        ]

    def test_a_loose_plug(self, file: Path) -> None:
        """A port that comes and goes is warned of once, with a hint."""

        class Loose(Hand):
            """A port that is there in every second look."""

            def look(self) -> tuple[PluggedIn, ...]:
                self.looks = getattr(self, "looks", 0) + 1
                return super().look() if self.looks > 8 or self.looks % 2 else ()

        notebook = discovered(Loose([], [usb(1)], [usb(1)], [usb(1)], [usb(1)], [usb(1)]), number=1)
        assert [text for text in notebook.warnings if "went away again" in text] == [
            (
                "/dev/ttyUSB1, 1-1, CP2102N appeared and went away again; check the plug; "
                "hold BOOT on a blank board with native USB"
            )
        ]
        assert len(slots(file)) == 1

    def test_no_permission(self, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A port that this user may not open becomes a slot, with the command that allows it."""
        monkeypatch.setattr("os.access", lambda path, mode: not str(path).endswith("ttyUSB1"))
        device = tmp_path / "ttyUSB1"
        device.touch(0o600)
        (warning,) = discovered(Hand([usb(1, device=str(device))]), number=1).warnings
        assert warning.startswith(f"no permission for {device}; no group may use it: a udev rule is missing")

    def test_no_name_that_stays(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without udev's link the slot would follow the ttyUSB number: that is said."""
        monkeypatch.setattr("sys.platform", "linux")
        bare = PluggedIn("/dev/ttyUSB7", "/dev/ttyUSB7", "1-7", "CP2102N", "10c4:ea60")
        (warning,) = discovered(Hand([bare]), number=1).warnings
        assert "has no name by its place" in warning

    def test_a_description_that_is_no_comment(self, file: Path) -> None:
        """What a device calls itself cannot leave its comment, and cannot break the file."""
        discovered(Hand([usb(1, what='X"\n[[slot]]\nname = "evil"\x00\u202e' + "y" * 5000)]), number=1)
        assert slots(file) == [("A1", usb(1).address)]
        assert max(map(len, file.read_text().splitlines())) < 260


class TestTheFile:
    EXISTING = (
        b"# mine\r\n[station]\r\nname = 'bench'  # keep\r\n\r\n[[slot]]\r\nname = 'A2'\r\n"
        b"port = '/dev/ttyS7' # old\r\n\r\n[printer]\r\naddress = 'file:///labels'"
    )

    def test_it_is_extended(self, file: Path) -> None:
        """Every byte of an existing file stays, its line ends too; names that it has are not given again."""
        file.parent.mkdir(parents=True)
        file.write_bytes(self.EXISTING)
        discovered(Hand([usb(1)], [usb(2)], ""))
        after = file.read_bytes()
        assert after.startswith(self.EXISTING + b"\r\n\r\n[[slot]]")
        assert after.count(b"\n") == after.count(b"\r\n")
        assert [name for name, _ in slots(file)] == ["A2", "A1", "A3"]

    @pytest.mark.parametrize("text", ["[[slot]\n", "[[slot]]\nname = 3\n", 'slot = "x"\n', "\xff"])
    def test_a_broken_one_is_refused(self, file: Path, text: str) -> None:
        """A file that cannot be read is refused before anybody plugs anything in."""
        file.parent.mkdir(parents=True)
        file.write_bytes(text.encode("latin-1"))
        with pytest.raises(InputError):
            discovered(Hand(), number=1)
        assert file.read_bytes() == text.encode("latin-1")

    def test_slots_in_one_line(self, file: Path) -> None:
        """A file whose slots are an inline list cannot be extended: it stays, and what was found is shown."""
        text = 'slot = [{name = "A1", port = "COM7"}]\n'
        file.parent.mkdir(parents=True)
        file.write_text(text)
        notebook = Notebook(True)
        hand = Hand([usb(1)])
        with pytest.raises(InputError, match="not valid TOML"):
            discover_slots(DiscoverRequest(None, (), 1), hand, hand.typed, notebook)
        assert file.read_text() == text
        assert f'port = "{usb(1).address}"' in notebook.warnings[0]

    def test_somebody_else_was_faster(self, file: Path) -> None:
        """If the file has the name or the port by now, nothing is written."""
        add_slots(file, (NewSlot("A1", usb(1)),))
        before = file.read_bytes()
        for clash in (NewSlot("A1", usb(2)), NewSlot("A2", usb(1))):
            with pytest.raises(ComplaintsError, match="two slots have the same"):
                add_slots(file, (clash,))
        assert file.read_bytes() == before
        assert [path.name for path in file.parent.iterdir()] == ["station.toml"]

    def test_a_link(self, file: Path, tmp_path: Path) -> None:
        """A link to the file stays a link."""
        file.parent.mkdir(parents=True)
        (tmp_path / "real.toml").write_text("")
        file.symlink_to(tmp_path / "real.toml")
        discovered(Hand([usb(1)]), number=1)
        assert file.is_symlink()
        assert slots(tmp_path / "real.toml") == [("A1", usb(1).address)]

    def test_a_name_that_is_taken(self, file: Path) -> None:
        """Names of slots that are there are refused at once; so are bad ones, doubles, and names with a number."""
        add_slots(file, (NewSlot("left", usb(1)),))
        with pytest.raises(InputError, match="slot left is there already, at /dev/serial"):
            discovered(Hand(), "left")
        for names, number in ((("a b",), None), (("",), None), (("x", "x"), None), (("x",), 1)):
            with pytest.raises(UsageError):
                DiscoverRequest(None, names, number)

    def test_nothing_found(self, file: Path) -> None:
        """Enter before the first port is an error of the station, and makes no file."""
        with pytest.raises(StationError, match="no port appeared"):
            discovered(Hand(""))
        assert not file.exists()

    def test_given_up(self, file: Path) -> None:
        """^C leaves the file as it was, also after slots were found."""
        add_slots(file, (NewSlot("A1", usb(1)),))
        before = file.read_bytes()
        with pytest.raises(KeyboardInterrupt):
            discovered(Hand([usb(2)], gives_up=True))
        assert file.read_bytes() == before

    def test_nobody_can_press_enter(self, file: Path) -> None:
        """Without a terminal, names or a number are required."""
        with pytest.raises(UsageError, match="without a terminal"):
            discovered(Hand(), answers=False)

    def test_where_it_is(self, file: Path, terminal: Terminal, lamp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The file is the one that the line reads: RMFAB_STATION's, the workspace's, the user's; or becomes it."""
        request = DiscoverRequest(lamp, ("B1",))
        hand = Hand([usb(1)])
        assert discover_slots(request, hand, hand.typed, Notebook()).file == lamp / "station.toml"
        monkeypatch.setenv("RMFAB_STATION", str(lamp / "other.toml"))
        hand = Hand([usb(1)])
        assert discover_slots(request, hand, hand.typed, Notebook()).file == lamp / "other.toml"

    def test_a_folder_that_nobody_may_write_to(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file that could not be written at the end is refused at the start."""
        monkeypatch.setattr("os.access", lambda path, mode: not mode & os.W_OK)
        with pytest.raises(InputError, match="no permission to write"):
            discovered(Hand(), number=1)


@pytest.fixture
def boards(tmp_path: Path) -> Iterator[list[BoardHandle]]:
    """Two virtual boards that are not plugged in, in the folder `boards`."""
    specs = [BoardSpec(Chip.ESP32C3, index=index, unplugged=True) for index in range(2)]
    with serve(specs, state=tmp_path / "boards") as served:
        yield served


class Screen:
    """`rmfab station discover` on a pseudo-terminal."""

    def __init__(self, cwd: Path, *argv: str) -> None:
        command = words("station", "discover", *argv)
        self._child, self._terminal = pty.fork()
        if self._child == 0:
            os.chdir(cwd)
            os.execve(command[0], command, environment(HOME=str(cwd), TERM="xterm", COLUMNS="200"))
        self.shown = ""

    def shows(self, text: str) -> None:
        """Wait until *text* is on the screen."""

        until(lambda: text in self.shown or (self._waits() and self._read() and False), text)

    def _waits(self) -> bool:
        return bool(select.select([self._terminal], [], [], 0)[0])

    def _read(self) -> bool:
        try:
            piece = os.read(self._terminal, 4096)
        except OSError:
            return False
        self.shown += piece.decode(errors="replace")
        return bool(piece)

    def types(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def ends(self) -> int:
        """Return the exit code."""
        while self._read():
            pass
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self._child, 0)[1])


class TestOnVirtualBoards:
    @pytest.mark.slow
    def test_a_rehearsal(self, tmp_path: Path, boards: list[BoardHandle]) -> None:
        """Virtual boards that are plugged in one after the other become slots with the URLs of their units."""
        screen = Screen(tmp_path, "--virtual", "boards")
        screen.shows("plug in slot A1; Enter ends")
        boards[1].control("return")
        screen.shows("slot A1: rfc2217://127.0.0.1:")
        boards[0].control("return")
        screen.shows("plug in slot A3")
        screen.types("\r")
        assert screen.ends() == 0, screen.shown
        made = load_station(tmp_path / ".config" / "rmfab" / "station.toml").slots
        assert [(slot.link.address, slot.unit) for slot in made] == [
            (board.url, board.provisioning_url) for board in (boards[1], boards[0])
        ]

    @pytest.mark.parametrize(("keys", "code"), [("\x03", 130), ("\x04", 0)])
    def test_ends_by_key(self, tmp_path: Path, boards: list[BoardHandle], keys: str, code: int) -> None:
        """^C writes nothing and ends with 130; ^D is Enter."""
        screen = Screen(tmp_path, "--virtual", "boards")
        screen.shows("plug in slot A1")
        boards[0].control("return")
        screen.shows("plug in slot A2")
        screen.types(keys)
        assert screen.ends() == code, screen.shown
        assert "Traceback" not in screen.shown
        assert (tmp_path / ".config" / "rmfab" / "station.toml").exists() is (code == 0)
        if code:
            assert "station.toml is unchanged" in screen.shown

    def test_json(self, terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """With --json the file and the slots are one document on stdout."""
        turns = iter(range(1000))
        monkeypatch.setattr(
            "rmfab.board.port_watch.plugged_in", lambda: () if next(turns) == 0 else (usb(1, ids="10c4:ea60"),)
        )
        said = json.loads(terminal.well("station", "discover", "left", "--json"))
        assert said["file"].endswith("station.toml")
        assert said["slots"] == [
            {
                "slot": "left",
                "port": usb(1).address,
                "device": "/dev/ttyUSB1",
                "location": "1-1",
                "description": "CP2102N",
                "bridge": "CP210x",
                "unit": None,
            }
        ]

    def test_nobody_serves(self, tmp_path: Path) -> None:
        """A folder without boards, or with boards that nobody serves, is an error with the command that starts them."""
        with serve([BoardSpec(Chip.ESP32C3)], state=tmp_path / "boards"):
            assert len(VirtualWatch(tmp_path / "boards").look()) == 1
        for folder in ("boards", "nowhere"):
            said = self._discover(tmp_path, folder)
            said.refused(4, "no virtual boards are served", f"`rmfab board --unplugged --state {folder}`")

    @staticmethod
    def _discover(cwd: Path, folder: str) -> Said:
        return process("station", "discover", "--virtual", folder, "--count", "1", cwd=cwd, HOME=str(cwd))

    def test_no_terminal(self, tmp_path: Path) -> None:
        """Without a terminal and without an end, it is a usage error."""
        process("station", "discover", cwd=tmp_path, HOME=str(tmp_path)).refused(2, "nobody can press Enter", "--count")


def test_signals_reach_a_discovery_without_a_terminal(tmp_path: Path, boards: list[BoardHandle]) -> None:
    """SIGINT ends a discovery in a script, and nothing is written."""
    ended = _interrupted(tmp_path, lambda: bool(boards[0].control("return")))
    assert ended == 130
    assert not (tmp_path / ".config").exists()


def _interrupted(cwd: Path, plug: Callable[[], bool]) -> int:
    with subprocess.Popen(
        words("station", "discover", "--virtual", "boards", "--count", "2"),
        cwd=cwd, env=environment(HOME=str(cwd)), stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
    ) as running:  # fmt: skip
        assert running.stderr is not None
        assert "plug in slot A1" in running.stderr.readline()
        plug()
        while "plug in slot A2" not in running.stderr.readline():
            pass
        running.send_signal(signal.SIGINT)
        assert "unchanged" in running.stderr.read()
        return running.wait()
