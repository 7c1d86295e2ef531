"""SoftAP HTTP over loopback: cookies, closed connections, silence, invalid answers; every wait and size has a limit."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab.errors import InputError, StationError, UnitFault
from rmfab.listening import free_port
from rmfab.provisioning.failures import LinkError, ProtocolError, RequestRefused, Stalled, WrongPop
from rmfab.provisioning.http import CutShort, HttpReply, HttpTransport, _parse_head, read_reply
from rmfab.provisioning.session import open_session
from rmfab.secret import Secret
from tests.patience import PATIENCE
from tests.provisioning.device import Device
from tests.provisioning.links import answering, soft_ap

POP = Secret("abcd1234")


@pytest.mark.parametrize("security", [0, 1, 2])
def test_a_session_over_http(security: int) -> None:
    """Every scheme works on one connection, with the first answer's cookie unchanged in each later request."""
    with soft_ap(Device(security=security)) as server, closing(HttpTransport(server.url)) as transport:
        assert open_session(transport, None, POP, "wifiprov", os.urandom).challenge(b"nonce")[0] == "node-1"
    assert b"Cookie" not in server.requests[0]
    assert all(f"\r\nCookie: {server.cookie}\r\n".encode() in request for request in server.requests[1:])


def test_cookies_in_the_wild() -> None:
    """The cookie is sent back without its attributes, whatever its text."""
    answer = b"HTTP/1.1 200 OK\r\nset-cookie:  session=007; Path=/; HttpOnly \r\nContent-Length: 2\r\n\r\n{}"
    with answering(answer, answer) as server, closing(HttpTransport(server.url)) as transport:
        transport.exchange("proto-ver", b"")
        transport.exchange("proto-ver", b"")
    assert b"\r\nCookie: session=007\r\n" in server.requests[1]


def test_a_mismatching_cookie() -> None:
    """A unit that forgets its cookie starts a new session, which its next answer reveals before any proof."""
    device = Device()
    with soft_ap(device, {0: "cookie"}) as server, pytest.raises(UnitFault) as caught:
        open_session(HttpTransport(server.url), None, POP, "wifiprov", os.urandom)
    assert caught.value.cause == "cookie-mismatch"
    assert device.mismatches == 0


def test_a_wrong_pop_closes_the_connection() -> None:
    """A closed connection instead of the proof's answer, by a unit that is still there, is a rejected PoP."""
    device = Device()
    with soft_ap(device) as server, pytest.raises(WrongPop) as caught:
        open_session(HttpTransport(server.url), None, Secret("00000000"), "wifiprov", os.urandom)
    assert (device.mismatches, caught.value.where) == (1, server.url)


def test_a_closed_connection_elsewhere_is_refused() -> None:
    """A closed connection before the proof is a plain rejection."""
    with soft_ap(Device(username="other")) as server, pytest.raises(RequestRefused) as caught:
        open_session(HttpTransport(server.url), None, POP, "wifiprov", os.urandom)
    assert caught.value.cause == "refused"


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_lost_unit(number: int) -> None:
    """A unit that closes and accepts no new connection is lost, at any point of the conversation."""
    with soft_ap(Device(), {number: "vanish"}) as server:
        transport = HttpTransport(server.url)
        with pytest.raises(LinkError) as caught:
            open_session(transport, None, POP, "wifiprov", os.urandom).challenge(b"nonce")
    assert caught.value.cause == "link-lost"


def test_a_stalled_unit() -> None:
    """A unit that accepts connections but does not answer has stalled, which is its fault, after the limit."""
    with soft_ap(Device(), {1: "stall"}) as server:
        transport = HttpTransport(server.url, timeout=0.2)
        with pytest.raises(Stalled):
            open_session(transport, None, POP, "wifiprov", os.urandom)


def test_an_answer_that_drips() -> None:
    """The limit is for the whole answer: single slow bytes do not extend it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                try:
                    while not done.wait(0.02):
                        connection.sendall(b"H")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(Stalled):
            HttpTransport(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.2).exchange("proto-ver", b"")
        done.set()
        thread.join(PATIENCE)


def test_nobody_there() -> None:
    """An address without a server is a station error, with a hint that names where the address comes from."""
    with pytest.raises(StationError) as caught:
        HttpTransport(f"http://127.0.0.1:{free_port('127.0.0.1')}").exchange("proto-ver", b"")
    assert caught.value.cause == "unreachable"
    assert "--unit-url" in str(caught.value.hint)


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "no-endpoint"),
        (b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n", "protocol"),
        (OK + b"Content-Length: 100\r\n\r\n{}", "cut-short"),
        (OK + b"Content-Le", "cut-short"),
        (OK + b"Content-Length: 999999\r\n\r\n", "protocol"),
        (OK + b"Content-Length: -1\r\n\r\n", "protocol"),
        (OK + b"no header\r\n\r\n", "protocol"),
        (b"SSH-2.0-OpenSSH_9.0\r\n\r\n", "protocol"),
        (b"\0" * 9000, "protocol"),
        (OK + b"\r\n" + b"x" * 70000, "protocol"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "protocol"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", "cut-short"),
    ],
)
def test_bad_answers(answer: bytes, cause: str) -> None:
    """Each bad answer is a fault of the unit with its own cause and place."""
    with soft_ap(Device(), {0: answer}) as server:
        transport = HttpTransport(server.url, timeout=PATIENCE)
        with pytest.raises(UnitFault) as caught:
            transport.exchange("proto-ver", b"")
        assert (caught.value.cause, caught.value.where) == (cause, server.url)


def test_good_answers() -> None:
    """A length, chunks or a closed connection ends a body."""
    for body in (
        b"Content-Length: 4\r\n\r\nbody and more",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2;x=y\r\ndy\r\n0\r\n\r\n",
        b"\r\nbody",
    ):
        assert read_reply(feed(OK + body)).body == b"body"


@pytest.mark.parametrize(
    "url", ["", "192.168.4.1", "https://a", "http://", "http://a/b", "http://a:99999", "http://[x"]
)
def test_bad_urls(url: str) -> None:
    """An invalid URL is rejected before anything is sent."""
    with pytest.raises(InputError):
        HttpTransport(url)


@given(st.lists(st.integers(0, 400), max_size=4), st.binary(max_size=400))
def test_any_bytes_are_an_answer_or_a_protocol_error(cuts: list[int], data: bytes) -> None:
    """Any bytes, in any pieces, end as an answer, a ProtocolError or no answer."""
    for prefix in (b"", OK, OK + b"Content-Length: 5\r\n\r\n", OK + b"Transfer-Encoding: chunked\r\n\r\n"):
        error, reply = None, None
        try:
            reply = read_reply(feed(prefix + data, cuts))
        except (EOFError, ProtocolError) as caught:
            error = caught
        assert isinstance(reply, HttpReply) or isinstance(error, ProtocolError) or not prefix + data
        assert isinstance(error, CutShort) == (getattr(error, "cause", None) == "cut-short")


def feed(data: bytes, cuts: list[int] | None = None) -> Callable[[int], bytes]:
    """Return a source of *data* in pieces."""
    edges = sorted({0, len(data), *(cut for cut in cuts or () if cut < len(data))})
    pieces = [data[left:right] for left, right in pairwise(edges)]

    def receive(size: int) -> bytes:
        if not pieces:
            return b""
        taken, pieces[0] = pieces[0][:size], pieces[0][size:]
        if not pieces[0]:
            pieces.pop(0)
        return taken

    return receive


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
        (b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n" * 8 + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", 304, b""),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_interim_answers_and_answers_without_a_body(answer: bytes, status: int, body: bytes, size: int) -> None:
    """1xx is not the answer, and 204 and 304 have no body, whatever their headers: nothing more is waited for."""
    rest = bytearray(answer)

    def receive(most: int) -> bytes:
        assert rest, "read beyond the answer"
        piece = bytes(rest[: min(size, most)])
        del rest[: len(piece)]
        return piece

    reply = read_reply(receive)
    assert (reply.status, reply.body, bytes(rest)) == (status, body, b"")


def test_interim_answers_without_an_end() -> None:
    """A unit that sends nothing but interim answers is a fault, not a wait."""
    endless = iter(lambda: b"HTTP/1.1 100 Continue\r\n\r\n", None)
    with pytest.raises(ProtocolError, match="interim"):
        read_reply(lambda _: next(endless))


def test_blanks_in_a_header() -> None:
    """A header with a megabyte of blanks is read in linear time, without those at its ends: else this takes hours."""
    blanks = b" \t" * (1 << 19)
    head = b"HTTP/1.1 200 OK\r\nCookie:" + blanks + b"a" + blanks + b"b" + blanks
    assert _parse_head(head) == (200, {"cookie": f"a{blanks.decode()}b"})
