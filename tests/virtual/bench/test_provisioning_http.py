"""Provisioning over HTTP: the port of a served board, its cookies, its single socket, and its failures."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmfab.errors import StationError
from rmfab.product.vocabulary import Chip, Security
from rmfab.virtual import BoardSpec, FaultCall, Strap, serve
from rmfab.virtual.bench import provisioning_http
from rmfab.virtual.chip.flash import Flash
from tests.patience import PATIENCE, until
from tests.virtual.phone import Closed, Http, Phone, Plain, Sec1, Sec2, capabilities, one, pair, pb
from tests.virtual.rig import FCTRY, factory_image, parts

POP = bytes(range(4)).hex()
SALT, VERIFIER = pair(POP)
_LINES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            b"POST /proto-ver HTTP/1.1\r\n",
            b"POST /prov-session HTTP/1.1\r\n",
            b"POST /proto-ver?x HTTP/1.1\r\n",
            b"Content-Length: 3\r\n",
            b"Content-Length: x\r\n",
            b"Cookie: session=0\r\n",
            b"\r\n",
            b"abc",
        ]
    ),
)


@contextmanager
def _served(tmp_path, *faults, security=Security.SRP6A, strap=Strap.RUN):
    path = tmp_path / "flash.bin"
    flash = Flash(4 << 20, path)
    for offset, data in parts(factory=factory_image(sec2_salt=SALT, sec2_verifier=VERIFIER), security=security):
        flash.program(offset, data)
    flash.sync()
    calls = tuple(map(FaultCall.parse, faults))
    with serve([BoardSpec(Chip.ESP32C3, strap=strap, flash_file=path, faults=calls)]) as (board,):
        if strap is Strap.RUN:
            _until(board, True)
        yield board


@pytest.fixture
def dial():
    """Make clients of a board, and disconnect them at the end."""
    clients = []

    def make(board, **options):
        clients.append(Http(board.provisioning_url, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def _until(board, serving):
    until(lambda: board.state()["serving"] is serving)


def _refused(board):
    host, _, port = board.provisioning_url.removeprefix("http://").rpartition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))
    return True


@pytest.mark.parametrize("fresh", [False, True], ids=["one connection", "a connection each"])
@pytest.mark.parametrize("security", Security)
def test_a_session_over_http(dial, tmp_path, security, fresh):
    """Every scheme works over one connection and over one per request, if the cookie is echoed unchanged."""
    scheme = {Security.PLAIN: Plain, Security.X25519: lambda: Sec1(POP), Security.SRP6A: lambda: Sec2(POP)}[security]()
    with _served(tmp_path, security=security) as board:
        http = dial(board, fresh=fresh)
        assert capabilities(http)["prov"]["sec_ver"] == security
        phone = Phone(http, scheme)
        assert phone.node_id() == b"NodeOfThisVeryTest"
        assert phone.scan()
        assert len(http.given) == 1
        assert http.given[0].startswith("session=")
        assert http.given[0].removeprefix("session=").isdecimal()
        http.close()


def test_a_socket_is_a_session_without_cookies(dial, tmp_path):
    """A client without cookies keeps its session as long as its socket."""
    with _served(tmp_path) as board:
        http = dial(board, cookies=False)
        phone = Phone(http, Sec2(POP))
        assert phone.node_id()
        http.close()
        with pytest.raises(Closed):
            phone.node_id()
        http.close()


def test_a_cookie_that_does_not_match_opens_another_session(dial, tmp_path):
    """A wrong cookie gets a new one and ends the existing session; a cookie that is too long is ignored."""
    with _served(tmp_path) as board:
        http = dial(board)
        phone = Phone(http, Sec2(POP))
        long = {"Cookie": "session=" + "1" * 40}
        http.cookies = False
        response, _ = http.request("POST", "/proto-ver", b"x", {"Cookie": http.given[0]})
        assert response.getheader("Set-Cookie") is None
        response, _ = http.request("POST", "/proto-ver", b"x", {"Cookie": "session=1"})
        assert response.getheader("Set-Cookie") not in (None, "session=1", http.given[0])
        response, _ = http.request("POST", "/proto-ver", b"x", long)
        assert response.getheader("Set-Cookie") is None  # the socket of the session
        http.cookies = True
        with pytest.raises(Closed):
            phone.node_id()
        http.close()


def test_another_connection_takes_the_socket(dial, tmp_path):
    """There is one socket: a new connection closes the previous one, and the session continues by its cookie."""
    with _served(tmp_path) as board:
        first, second = dial(board), dial(board)
        phone = Phone(first, Sec2(POP))
        second.cookie = first.cookie
        phone.call = second
        assert phone.node_id()
        with pytest.raises(Closed):
            first("proto-ver", b"x")
        assert phone.node_id()
        second.close()


def test_failure_is_a_closed_socket(dial, tmp_path):
    """A failing handler and a body that is missing or larger than 4096 bytes get no response."""
    with _served(tmp_path, security=Security.PLAIN) as board:
        http = dial(board)
        for endpoint, body in (("prov-session", b"\xff"), ("proto-ver", b""), ("proto-ver", b"x" * 4097)):
            with pytest.raises(Closed):
                http(endpoint, body)
        assert http("proto-ver", b"x" * 4096)
        http.close()


def test_errors_of_the_server(dial, tmp_path):
    """Unknown paths get 404, other methods 405, nonsense 400, headers beyond the buffer 431; each disconnects."""
    with _served(tmp_path) as board:
        http = dial(board, fresh=True)
        assert [http.request(*what)[0].status for what in (("POST", "/"), ("POST", "/nothing", b"x"))] == [404, 404]
        assert http.request("GET", "/proto-ver")[0].status == 405
        http.close()
        for data, status in (
            (b"nonsense\r\n\r\n", b" 400 "),
            (b"POST /proto-ver HTTP/1.1\r\nno colon\r\n\r\n", b" 400 "),
            (b"POST /proto-ver HTTP/1.1\r\nX: " + b"x" * 3000 + b"\r\n\r\n", b" 431 "),
            (b"POST /proto-ver HTTP/1.1\r\nContent-Length: 5\r\n\r\nab", b""),
            (b"POST /proto-ver HTTP/1.1\r\nContent-Length: -5\r\n\r\nab", b""),
            (b"\r\n\r\n", b""),
            (b"", b""),
        ):
            answer = http.raw(data)
            assert status in answer[:20]
            assert status or answer == b"" or b" 400 " in answer[:20]
        assert capabilities(http)
        http.close()


def test_the_port_follows_the_board(dial, tmp_path):
    """The port accepts connections only while the firmware offers provisioning, always at the same number."""
    with _served(tmp_path, strap=Strap.DOWNLOAD) as board:
        url = board.provisioning_url
        assert url.startswith("http://127.0.0.1:")
        assert _refused(board)
        board.control("strap run")
        for _ in range(3):
            board.control("restart")
            _until(board, True)
            assert capabilities(dial(board))
            assert board.state()["provisioning"] == url
        board.control("power off")
        assert _refused(board)


def test_a_restart_cuts_the_connection(dial, tmp_path):
    """A restart closes the chip's connections and ends its session."""
    with _served(tmp_path) as board:
        http = dial(board)
        phone = Phone(http, Sec2(POP))
        board.control("restart")
        _until(board, True)
        with pytest.raises(Closed):
            phone.node_id()
        with pytest.raises(Closed):
            phone.node_id()


@pytest.mark.slow
def test_five_wrong_pops_close_the_port(dial, tmp_path):
    """After five wrong PoPs the port is closed until a restart."""
    with _served(tmp_path) as board:
        for _ in range(5):
            http = dial(board)
            with pytest.raises(Closed):
                Phone(http, Sec2("ffffffff"))
        _until(board, False)
        assert _refused(board)
        board.control("restart")
        _until(board, True)
        assert Phone(dial(board), Sec2(POP)).node_id()


def test_provisioned_over_http(dial, tmp_path):
    """A phone brings the board onto a network; then the port stays closed, across restarts, until `nvs` is erased."""
    with _served(tmp_path) as board:
        before = _fctry(board)
        board.control("network workshop -61 nuts-and-bolts")
        http = dial(board)
        phone = Phone(http, Sec2(POP))
        assert (b"workshop", 6, -61) in phone.scan()
        assert phone.configure(b"workshop", b"nuts-and-bolts") == (0, 0)
        until(lambda: one(phone.status(), 2) == 0)
        http.close()
        _until(board, False)
        board.control("restart")
        assert _refused(board)
        assert before == _fctry(board)


def _fctry(board):
    return board.flash_file.read_bytes()[FCTRY : FCTRY + 0x6000]


@pytest.mark.parametrize("command", ["network", "network x", "network x loud", "network x -40 short", "network x 5"])
def test_networks_that_cannot_be(tmp_path, command):
    """The control socket rejects an invalid network."""
    with _served(tmp_path, strap=Strap.DOWNLOAD) as board, pytest.raises(StationError):
        board.control(command)


def test_no_networks(dial, tmp_path):
    """After `network none` a scan finds nothing."""
    with _served(tmp_path) as board:
        board.control("network none")
        assert Phone(dial(board), Sec2(POP)).scan() == []


def test_other_cookie_fault(dial, tmp_path):
    """`other-cookie`: a client that echoes the cookie gets a new session per request, and no handshake succeeds."""
    with _served(tmp_path, "other-cookie") as board:
        http = dial(board)
        capabilities(http)
        capabilities(http)
        assert len(set(http.given)) == 2
        with pytest.raises(Closed):
            Phone(http, Sec2(POP))


@pytest.mark.parametrize("fault", ["stalled-session", "stall-at=1"])
def test_stalled_session_fault(dial, tmp_path, fault):
    """`stalled-session` accepts the handshake and stays silent, for other connections, too, until a restart."""
    with _served(tmp_path, fault) as board:
        if fault == "stalled-session":
            assert capabilities(dial(board))
        http = dial(board, seconds=0.3)
        with pytest.raises(TimeoutError):
            http("prov-session", pb((2, 2)))
        with pytest.raises(TimeoutError):
            dial(board, seconds=0.3)("proto-ver", b"x")
        http.close()
        if fault == "stalled-session":
            board.control("restart")
            _until(board, True)
            assert capabilities(dial(board))


def test_short_reply_fault(dial, tmp_path):
    """`short-reply` announces a body and closes the connection in the middle of it."""
    with _served(tmp_path, "short-reply") as board:
        answer = dial(board).raw(b"POST /proto-ver HTTP/1.1\r\nContent-Length: 1\r\n\r\nx")
        head, _, body = answer.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:"))
        assert len(body) == length // 2


def test_requests_wait_for_their_turn(tmp_path):
    """A connection in the middle of its request is served before a later one."""
    with _served(tmp_path) as board:
        host, _, port = board.provisioning_url.removeprefix("http://").rpartition(":")
        before = board.state()["commands"]
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as slow:
            slow.sendall(b"POST /proto-ver HTTP/1.1\r\nContent-Length: 2\r\n\r\na")
            until(lambda: board.state()["commands"] > before)
            with socket.create_connection((host, int(port)), timeout=0.2) as later:
                later.sendall(b"POST /proto-ver HTTP/1.1\r\nContent-Length: 1\r\n\r\nx")
                with pytest.raises(TimeoutError):
                    later.recv(1)
                slow.sendall(b"b")
                assert b" 200 OK" in slow.recv(100)
                later.settimeout(PATIENCE)
                assert b" 200 OK" in later.recv(100)


def test_a_machine_that_stands_still_uses_up_no_patience(monkeypatch):
    """What comes while the process of the boards does not run came in time: the chip's clock would not have run."""
    monkeypatch.setattr(provisioning_http, "_RECEIVE_SECONDS", 0.2)

    async def story():
        reader = asyncio.StreamReader()
        request = asyncio.ensure_future(provisioning_http._received(reader.readexactly(4)))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.25, reader.feed_data, b"rest")
        time.sleep(0.5)
        return await request

    assert asyncio.run(story()) == b"rest"


def test_a_client_that_stops_sending_is_let_go(monkeypatch):
    """A request that does not go on is not waited for longer than the chip's limit."""
    monkeypatch.setattr(provisioning_http, "_RECEIVE_SECONDS", 0.2)

    async def story():
        await provisioning_http._received(asyncio.StreamReader().readexactly(4))

    with pytest.raises(TimeoutError):
        asyncio.run(story())


def test_any_bytes_are_survived(dial, tmp_path):
    """After any bytes on the port, the next client is served."""
    with _served(tmp_path) as board:

        @settings(max_examples=80, deadline=None)
        @given(st.lists(_LINES, max_size=4))
        def throw(lines):
            dial(board).raw(b"".join(lines))

        throw()
        assert Phone(dial(board), Sec2(POP)).node_id()


def test_requests_count_as_commands(dial, tmp_path):
    """A request to the service counts as a command of the board, also for `kill-at`."""
    with _served(tmp_path) as board:
        before = board.state()["commands"]
        capabilities(dial(board))
        assert board.state()["commands"] == before + 1
