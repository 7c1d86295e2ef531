"""Opening ports: busy, absent and forbidden ports have their causes; a chip's native USB comes back after a restart."""

import errno
import os
import threading

import pytest
import serial
from serial.tools.list_ports_common import ListPortInfo

from rmfab.board.native_usb import is_native_usb, returned, usb_number
from rmfab.board.port import _opening_error, open_port, plugged_in
from rmfab.board.watched_port import watched
from rmfab.errors import PortError
from rmfab.listening import free_port
from rmfab.product.vocabulary import Chip
from rmfab.virtual.bench.serving import serve
from rmfab.virtual.spec import BoardSpec, PortKind
from tests.patience import PATIENCE


@pytest.fixture
def pty(tmp_path):
    """A stable name of a pseudo-terminal, and its other end."""
    return Terminal(tmp_path / "tty")


class Terminal:
    """A pty behind a symbolic link; `plug` makes a new one, `pull` removes it."""

    def __init__(self, link):
        self.link = link
        self.master = -1
        self.plug()

    @property
    def name(self):
        return str(self.link)

    def plug(self):
        self.master, slave = os.openpty()
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(os.ttyname(slave))
        os.set_blocking(self.master, False)
        self.slave = slave

    def pull(self):
        os.close(self.slave)
        os.close(self.master)
        self.link.unlink()


def test_opens_with_lines_released(pty):
    """A port opens at the ROM's baud, with DTR and RTS released and exclusively."""
    port = open_port(pty.name)
    assert (port.baudrate, port.dtr, port.rts, port.is_open) == (115200, False, False, True)
    with pytest.raises(PortError) as caught:
        open_port(pty.name)
    assert caught.value.cause == "port-busy"
    port.close()
    open_port(pty.name).close()


def test_a_wait_that_ran_out_is_forgotten(pty):
    """On a port on which a wait ran out, the next loader waits for the first answer of its stub as on a new one."""
    with open_port(pty.name) as port:
        before = watched(port, lambda: None)
        fresh, before.timeout = before.timeout, 0.001
        assert before.read(1) == b""
        assert watched(port, lambda: None).timeout == fresh == 3.0


def test_absent_port(tmp_path):
    """A device that does not exist is absent, with a hint how to list ports."""
    with pytest.raises(PortError) as caught:
        open_port(str(tmp_path / "ttyUSB7"))
    assert caught.value.cause == "port-absent"
    assert "rmfab ports" in (caught.value.hint or "")


@pytest.mark.parametrize("scheme", ["rfc2217", "socket"])
def test_nothing_listens(scheme):
    """A network port that refuses connections is absent."""
    with pytest.raises(PortError) as caught:
        open_port(f"{scheme}://127.0.0.1:{free_port('127.0.0.1')}")
    assert caught.value.cause == "port-absent"


@pytest.mark.parametrize("scheme", ["rfc2217", "socket"])
def test_unknown_host(scheme):
    """An unknown host is absent."""
    with pytest.raises(PortError) as caught:
        open_port(f"{scheme}://no-such-host.invalid:4000")
    assert caught.value.cause == "port-absent"


@pytest.mark.skipif(os.name != "posix", reason="device files")
@pytest.mark.parametrize("kind", ["folder", "file", "/dev/null"])
def test_what_is_no_port(tmp_path, kind):
    """A folder, a file and a device that is not a serial port are called that, without Python's words for it."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(PortError) as caught:
        open_port(str(tmp_path / kind))
    assert (caught.value.cause, caught.value.what) == ("port-failed", "this is not a serial port")
    assert "/dev/ttyUSB0" in (caught.value.hint or "")


def test_a_scheme_that_there_is_not():
    """The hint for the address of a web page names the forms of a port."""
    with pytest.raises(PortError) as caught:
        open_port("http://127.0.0.1:3")
    assert (caught.value.cause, "rfc2217://host:port" in (caught.value.hint or "")) == ("port-absent", True)


@pytest.mark.parametrize("address", ["rfc2217://", "rfc2217://host", "rfc2217://:x", "socket://", "socket://h:p", ""])
def test_malformed_addresses(address):
    """A malformed address is a PortError, not a crash."""
    with pytest.raises(PortError):
        open_port(address)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (serial.SerialException(errno.ENOENT, "no such file"), "port-absent"),
        (serial.SerialException(errno.ENODEV, "no such device"), "port-absent"),
        (serial.SerialException(errno.EACCES, "Permission denied: '/dev/ttyUSB0'"), "port-denied"),
        (serial.SerialException(errno.EAGAIN, "Could not exclusively lock port"), "port-busy"),
        (serial.SerialException(errno.EBUSY, "Device or resource busy"), "port-busy"),
        (serial.SerialException("could not open port 'COM7': PermissionError(13, 'Access is denied.')"), "port-busy"),
        (serial.SerialException("could not open port 'COM7': FileNotFoundError(2, 'no')"), "port-absent"),
        (serial.SerialException("something else"), "port-failed"),
        (OSError(errno.EIO, "Input/output error"), "port-failed"),
        (ValueError("bad url"), "port-failed"),
    ],
)
def test_causes_of_opening(error, cause):
    """The errors of pyserial on Linux and Windows get their causes and a hint."""
    told = _opening_error("/dev/ttyUSB0", error)
    assert told.cause == cause
    assert told.where == "/dev/ttyUSB0"
    assert told.hint


@pytest.mark.parametrize("link", [PortKind.RFC2217, PortKind.SOCKET])
def test_second_client(link):
    """A board's port accepts one client; over RFC 2217 the second gets "port-busy"."""
    with serve([BoardSpec(Chip.ESP32C3, link=link)]) as (board,):
        first = open_port(board.url)
        if link is PortKind.RFC2217:
            with pytest.raises(PortError) as caught:
                open_port(board.url)
            assert caught.value.cause == "port-busy"
        else:
            second = open_port(board.url)
            second.timeout = PATIENCE
            with pytest.raises(serial.SerialException):
                second.read(1)
            second.close()
        first.close()
        open_port(board.url).close()


def test_plugged_in():
    """Ports can be listed on any host, each with an address to open."""
    for port in plugged_in():
        assert port.address


def test_own_usb_of_no_usb_port(pty):
    """A pty, a URL and a missing device are not native USB."""
    assert usb_number(pty.name) is None
    assert usb_number("rfc2217://127.0.0.1:1") is None
    assert usb_number("/dev/not-there") is None


def test_which_ports_are_a_chips_own(pty, monkeypatch):
    """A port with Espressif's vendor id is the chip's own, one with a different id is not; the rest is not known."""
    own, adapter = ListPortInfo("/dev/ttyACM7"), ListPortInfo("/dev/ttyUSB7")
    own.vid, own.serial_number, adapter.vid = 0x303A, "24:0A", 0x10C4
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [own, adapter])
    assert (is_native_usb("/dev/ttyACM7"), is_native_usb("/dev/ttyUSB7")) == (True, False)
    assert (usb_number("/dev/ttyACM7"), usb_number("/dev/ttyUSB7")) == ("24:0A", None)
    assert is_native_usb(pty.name) is None
    assert is_native_usb("rfc2217://127.0.0.1:1") is None


class TestReturned:
    """A chip's native USB over a restart; a pty that is pulled and plugged in stands in for it."""

    def test_stays(self, pty):
        """A port that stays is kept open."""
        port = open_port(pty.name)
        os.write(pty.master, b"rst:0x1\r\n")
        assert returned(port, pty.name, "24:0A", lambda _: "24:0A") is port
        port.close()

    def test_changed_without_a_word(self, pty):
        """A port that stays but has a different number is a swapped board."""
        port = open_port(pty.name)
        os.write(pty.master, b"rst:0x1\r\n")
        with pytest.raises(PortError) as caught:
            returned(port, pty.name, "24:0A", lambda _: "24:0B")
        assert caught.value.cause == "board-swapped"
        port.close()

    def test_comes_back(self, pty):
        """A port that goes away and comes back is opened again and can be read."""
        port = open_port(pty.name)
        pty.pull()
        timer = threading.Timer(0.3, pty.plug)
        timer.start()
        again = returned(port, pty.name, "24:0A", lambda _: "24:0A" if pty.link.exists() else None)
        timer.join()
        assert again is not port
        os.write(pty.master, b"hello\n")
        assert again.read(5) == b"hello"
        again.close()

    def test_another_board(self, pty):
        """A different USB serial number is a swapped board."""
        port = open_port(pty.name)
        pty.pull()
        pty.plug()
        with pytest.raises(PortError) as caught:
            returned(port, pty.name, "24:0A", lambda _: "24:0B")
        assert caught.value.cause == "board-swapped"

    def test_stays_away(self, pty, monkeypatch):
        """A port that stays away is gone."""
        monkeypatch.setattr("rmfab.board.native_usb._RETURN_SECONDS", 0.2)
        port = open_port(pty.name)
        pty.pull()
        with pytest.raises(PortError) as caught:
            returned(port, pty.name, "24:0A", lambda _: None)
        assert caught.value.cause == "port-gone"
