"""A shelf over HTTPS: replies, stalled and concurrent clients, and what cannot be fetched."""

from __future__ import annotations

import hashlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from rmfab.errors import InputError, StationError
from rmfab.ota.http_handler import Access
from rmfab.ota.index import Listed
from rmfab.ota.server import MOST_SILENT, ShelfServer
from rmfab.ota.shelf import publish, read_index
from rmfab.ota.tls import load_context
from rmfab.signals import stopping
from tests.ota.conftest import AN_ENVELOPE, Bench, Papers, a_release, running
from tests.patience import PATIENCE, until

FIRST = Listed.of(a_release(), AN_ENVELOPE)
APP = a_release().part("app").data
FOR_EVER = "public, max-age=31536000, immutable"
LARGE = 24 << 20  # more than socket buffers hold


@pytest.fixture
def large(shelf: Path) -> str:
    """An image of many megabytes on the shelf: its target."""
    data = bytes(range(256)) * (LARGE // 256)
    name = f"images/{hashlib.sha256(data).hexdigest()}.bin"
    (shelf / name).write_bytes(data)
    return f"/{name}"


def index_name(shelf: Path) -> str:
    """The index in force, under the name of its content."""
    return f"indexes/{read_index(shelf).digest}.json"


def test_every_file_of_the_shelf(shelf: Path, bench: Bench):
    """GET returns content, length, type, entity tag and cache lifetime; HEAD returns the same without the content."""
    for name, kind, cache in (
        (FIRST.image, "application/octet-stream", FOR_EVER),
        (FIRST.manifest, "application/json", FOR_EVER),
        (FIRST.envelope, "application/json", FOR_EVER),
        (index_name(shelf), "application/json", FOR_EVER),
        ("latest.json", "application/json", "no-cache"),
    ):
        data = (shelf / name).read_bytes()
        response, body = bench.ask(f"/{name}")
        assert (response.status, body) == (200, data)
        wanted = {
            "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
            "Cache-Control": cache,
            "Content-Type": kind,
            "Content-Length": str(len(data)),
            "Accept-Ranges": "bytes",
            "Server": "rmfab",
        }
        assert {key: response.headers[key] for key in wanted} == wanted
        head, nothing = bench.ask(f"/{name}", "HEAD")
        assert (head.status, nothing) == (200, b"")
        assert {key: head.headers[key] for key in wanted} == wanted
    told = [bench.accesses.get(timeout=PATIENCE) for _ in range(10)]  # connections may report in any order
    for access in (("GET", len(APP)), ("HEAD", 0)):
        assert Access("127.0.0.1", access[0], f"/{FIRST.image}", 200, access[1]) in told


def test_ranges_and_conditions(bench: Bench):
    """Ranges, conditions, and resuming the same or a changed file get the right status and bytes."""
    tag = f'"{FIRST.sha256}"'
    target = f"/{FIRST.image}"
    part, body = bench.ask(target, Range="bytes=100-199")
    assert (part.status, body, part.headers["Content-Length"]) == (206, APP[100:200], "100")
    assert (part.headers["Content-Range"], part.headers["ETag"]) == (f"bytes 100-199/{len(APP)}", tag)
    none, _ = bench.ask(target, Range=f"bytes={len(APP)}-")
    assert (none.status, none.headers["Content-Range"]) == (416, f"bytes */{len(APP)}")
    assert none.headers["Cache-Control"] == "no-store"
    there, body = bench.ask(target, If_None_Match=tag)
    assert (there.status, body, there.headers["ETag"], there.headers["Cache-Control"]) == (304, b"", tag, FOR_EVER)
    resumed, body = bench.ask(target, Range="bytes=-5", If_Range=tag)
    assert (resumed.status, body) == (206, APP[-5:])
    other, body = bench.ask(target, Range="bytes=-5", If_Range='"other"')
    assert (other.status, body) == (200, APP)
    several, body = bench.ask(target, Range="bytes=0-1,5-6")
    assert (several.status, body) == (200, APP)


def test_latest_json_has_a_tag_of_its_content(shelf: Path, bench: Bench):
    """A conditional request gets 304 until the content changes."""
    first, _ = bench.ask("/latest.json")
    tag = first.headers["ETag"]
    assert bench.ask("/latest.json", If_None_Match=tag)[0].status == 304
    publish(shelf, a_release("1.1.0", 2), None, "stable")
    changed, body = bench.ask("/latest.json?now", If_None_Match=tag)
    assert (changed.status, body) == (200, (shelf / "latest.json").read_bytes())


NOT_THERE = {
    "the folder": "/",
    "a folder of it": "/images/",
    "nothing": "*",
    "no slash": "latest.json",
    "a different file": "/secret.txt",
    "the lock": "/.lock",
    "an image that is not there": f"/images/{'0' * 64}.bin",
    "a name in capitals": f"/images/{FIRST.sha256.upper()}.bin",
    "an image among releases": f"/releases/{FIRST.sha256}.bin",
    "up and away": "/../secret.txt",
    "up and back": "/images/../latest.json",
    "up, percent-encoded": "/%2e%2e/secret.txt",
    "a letter, percent-encoded": "/latest%2ejson",
    "a slash, percent-encoded": f"/images%2f{FIRST.sha256}.bin",
    "a backslash": f"/images\\{FIRST.sha256}.bin",
    "two slashes": f"/images//{FIRST.sha256}.bin",
    "a control before it": "\x01/latest.json",
    "an end of text": "/latest.json\0",
    "more behind it": "/latest.json/",
    "no path": "https://localhost",
    "a different scheme": "file:///latest.json",
    "a link out of the shelf": f"/images/{'1' * 64}.bin",
    "a link into the shelf that hides it": f"/images/{'2' * 64}.bin",
    "a link in a circle": f"/images/{'3' * 64}.bin",
    "a folder with the name of an image": f"/images/{'4' * 64}.bin",
    "a pipe": f"/images/{'5' * 64}.bin",
}


@pytest.mark.parametrize("target", NOT_THERE.values(), ids=NOT_THERE.keys())
def test_nothing_else_can_be_fetched(shelf: Path, bench: Bench, target: str):
    """Any target other than the exact name of a shelf file is 404."""
    (shelf / "secret.txt").write_text("secret")
    (shelf.parent / "secret.bin").write_text("secret")
    (shelf / "images" / f"{'1' * 64}.bin").symlink_to(shelf.parent / "secret.bin")
    (shelf / "images" / f"{'2' * 64}.bin").symlink_to("../../shelf/../secret.bin")
    (shelf / "images" / f"{'3' * 64}.bin").symlink_to(f"{'3' * 64}.bin")
    (shelf / "images" / f"{'4' * 64}.bin").mkdir()
    os.mkfifo(shelf / "images" / f"{'5' * 64}.bin")
    said = bench.answers(f"GET {target} HTTP/1.1", "Host: x", "Connection: close", "", "")
    assert said.startswith(b"HTTP/1.1 404 "), said
    assert b"secret" not in said


def test_links_inside_the_shelf_are_followed(shelf: Path, tmp_path: Path, papers: Papers):
    """The shelf and an image in it may be links, if the target is inside the shelf."""
    image = shelf / FIRST.image
    image.rename(shelf / "kept.bin")
    image.symlink_to("../kept.bin")
    (tmp_path / "link").symlink_to(shelf)
    with running(tmp_path / "link", papers) as bench:
        assert bench.ask(f"/{FIRST.image}")[1] == APP


def test_a_target_with_host_is_taken(bench: Bench):
    """The absolute form of a target, which every server must accept (RFC 9112 §3.2.2), is served."""
    said = bench.answers("GET https://localhost/latest.json HTTP/1.1", "Host: localhost", "Connection: close", "", "")
    assert said.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"])
def test_other_methods(bench: Bench, method: str):
    """Other methods get 405 with the allowed ones; a small body is skipped and the connection stays open."""
    connection = bench.connect()
    for _ in range(2):
        connection.request(method, "/latest.json", body=b"x" * 1000)
        response = connection.getresponse()
        assert (response.status, response.headers["Allow"], response.read()) == (
            405,
            "GET, HEAD",
            b"405 Method Not Allowed\n",
        )
    connection.request("GET", "/latest.json")
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize("field", ["Content-Length: 99999999", "Transfer-Encoding: chunked", "Expect: 100-continue"])
def test_a_body_that_is_not_read_ends_the_connection(bench: Bench, field: str):
    """A body that is large, of unknown length or still to come ends the connection after an immediate answer."""
    said = bench.answers("POST /latest.json HTTP/1.1", "Host: x", field, "", "GET /latest.json HTTP/1.1", "", "")
    assert said.startswith(b"HTTP/1.1 405 ")
    assert said.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close" in said


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["NONSENSE", "", ""], b"400"),
        (["GET /latest.json HTTP/3.0", "", ""], b"505"),
        (["GET /" + "a" * 70000 + " HTTP/1.1", "", ""], b"414"),
        (["GET / HTTP/1.1", "X: " + "a" * 70000, "", ""], b"431"),
    ],
)
def test_what_is_no_request(bench: Bench, lines: list[str], status: bytes):
    """An invalid request gets a short error, and the connection ends."""
    said = bench.answers(*lines)
    assert status in said.split(b"\n", 1)[0]
    assert len(said) < 400
    assert bench.accesses.get(timeout=PATIENCE).status == int(status)


HOST = "Host: x"
AMBIGUOUS = {
    "two lengths": [HOST, "Content-Length: 5", "Content-Length: 6"],
    "a list of lengths": [HOST, "Content-Length: 5, 6"],
    "a list of one length": [HOST, "Content-Length: 5, 5"],
    "a length with a sign": [HOST, "Content-Length: +5"],
    "a negative length": [HOST, "Content-Length: -1"],
    "a length in hex": [HOST, "Content-Length: 0x5"],
    "no length": [HOST, "Content-Length: "],
    "other digits": [HOST, "Content-Length: \u00b2"],
    "a length and a coding": [HOST, "Content-Length: 5", "Transfer-Encoding: chunked"],
    "a coding and a length": [HOST, "Transfer-Encoding: chunked", "content-length: 0"],
    "two codings": [HOST, "Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
    "a coding that is none": [HOST, "Transfer-Encoding: xchunked"],
    "a coding after chunked": [HOST, "Transfer-Encoding: chunked, gzip"],
    "a space before the colon": [HOST, "Content-Length : 5"],
    "a folded line": [HOST, "X: a", " Content-Length: 5"],
    "a folded length": [HOST, "Content-Length:", "\t5"],
    "a fold before the first field": [" X: a", HOST],
    "a bare CR": [HOST, "X: a\rContent-Length: 5"],
    "a NUL": [HOST, "X: a\0b"],
    "no colon": [HOST, "Content-Length"],
    "no name": [HOST, ": 5"],
    "two hosts": [HOST, "Host: y"],
}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("fields", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_a_request_that_can_be_read_in_two_ways(bench: Bench, fields: list[str], method: str):
    """It gets 400 and the connection ends: what follows is not taken for a second request."""
    said = bench.answers(f"{method} /latest.json HTTP/1.1", *fields, "", "GET /latest.json HTTP/1.1", HOST, "", "")
    assert said.startswith(b"HTTP/1.1 400 "), said
    assert said.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close" in said


@pytest.mark.parametrize(
    "fields",
    [
        ["Content-Length: 0"],
        ["Content-Length: 0", "Content-Length: 0"],
        ["X: \u00e4", "X-Empty:"],
        ["content-length:0"],
    ],
)
def test_a_request_that_can_be_read_in_one_way(bench: Bench, fields: list[str]):
    """A length that is said twice alike, empty fields and other bytes are harmless: both requests are answered."""
    second = ["GET /nowhere HTTP/1.1", HOST, "Connection: close", "", ""]
    said = bench.answers("GET /latest.json HTTP/1.1", HOST, *fields, "", *second)
    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.count(b"HTTP/1.1 404 ") == 1


@pytest.mark.parametrize("fields", [["X: a"] * 101, ["X: " + "a" * 1000] * 40], ids=["many", "long together"])
def test_a_heap_of_fields(bench: Bench, fields: list[str]):
    """Too many fields, and fields that are too long together, get 431 before all are read."""
    assert bench.answers("GET /latest.json HTTP/1.1", *fields, "", "").startswith(b"HTTP/1.1 431 ")


def test_accesses_are_printable(bench: Bench):
    """Whatever a client sends, reported accesses are printable."""
    bench.answers("GET /\x1b[31mred\xff HTTP/1.1", "Connection: close", "", "")
    assert bench.accesses.get(timeout=PATIENCE).path == "/%1B[31mred%FF"


def test_one_connection_many_requests(bench: Bench):
    """HTTP/1.1 keeps the connection for every kind of answer; HTTP/1.0 does not."""
    connection = bench.connect()
    connection.connect()
    local = connection.sock.getsockname()
    for target, status in (("/latest.json", 200), ("/nowhere", 404), (f"/{FIRST.image}", 200), ("/latest.json", 200)):
        connection.request("GET", target)
        response = connection.getresponse()
        response.read()
        assert (response.status, connection.sock.getsockname()) == (status, local)
    connection.close()
    said = bench.answers("GET /latest.json HTTP/1.0", "", "")
    assert b" 200 OK" in said.split(b"\r\n")[0]


def test_two_clients_at_once(bench: Bench, large: str):
    """A client in the middle of its download does not delay a second one."""
    first = bench.connect()
    first.request("GET", large)
    slow = first.getresponse()
    begun = slow.read(1000)
    response, body = bench.ask(large)
    assert (response.status, hashlib.sha256(body).hexdigest()) == (200, Path(large).stem)
    assert begun + slow.read() == body
    first.close()


def test_a_file_that_is_replaced_while_it_is_sent(shelf: Path, bench: Bench, large: str):
    """A running download continues with the file that it started with."""
    connection = bench.connect()
    connection.request("GET", large)
    response = connection.getresponse()
    begun = response.read(1000)
    (shelf / "new").write_bytes(b"other")
    (shelf / "new").replace(shelf / large[1:])
    assert hashlib.sha256(begun + response.read()).hexdigest() == Path(large).stem
    connection.close()


def test_a_file_that_is_cut_short_while_it_is_sent(shelf: Path, bench: Bench, large: str):
    """A download that cannot be completed ends the connection, so that no later answer is taken for the rest."""
    connection = bench.connect()
    connection.request("GET", large)
    response = connection.getresponse()
    response.read(1000)
    os.truncate(shelf / large[1:], 5000)
    with pytest.raises(http.client.IncompleteRead):
        response.read()
    connection.close()


def test_a_client_that_goes_away(bench: Bench, large: str, capfd: pytest.CaptureFixture[str]):
    """After a disconnect, the bytes sent are reported, nothing is printed, and the next client is served."""
    connection = bench.connect()
    connection.request("GET", large)
    connection.getresponse().read(1000)
    connection.close()
    access = bench.accesses.get(timeout=PATIENCE)
    assert (access.path, access.status) == (large, 200)
    assert access.sent < LARGE
    assert bench.ask("/latest.json")[0].status == 200
    assert capfd.readouterr() == ("", "")


def test_a_client_that_speaks_no_tls(bench: Bench, capfd: pytest.CaptureFixture[str]):
    """Plain HTTP, garbage or no data ends the connection silently, and the next client is served."""
    for said in (b"GET /latest.json HTTP/1.1\r\n\r\n", bytes(range(256)), b""):
        with socket.create_connection(("127.0.0.1", bench.port), timeout=PATIENCE) as plain:
            answer = b""
            plain.sendall(said)
            with suppress(OSError):  # a reset is fine as well
                plain.shutdown(socket.SHUT_WR)
                answer = plain.makefile("rb").read()
            assert b"200" not in answer
    assert bench.ask("/latest.json")[0].status == 200
    assert capfd.readouterr() == ("", "")


def test_clients_that_stall_keep_nobody_waiting(bench: Bench):
    """Clients that are silent, stop in the handshake or stop in a request do not delay others."""
    with (
        socket.create_connection(("127.0.0.1", bench.port)),
        socket.create_connection(("127.0.0.1", bench.port)) as begun,
        bench.speak("GET /latest.json HT"),
    ):
        begun.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert bench.ask("/latest.json")[0].status == 200


LET_GO = 6.0
"""Seconds after which a client that stalls is let go, and in which one that does not stall has its answer."""


@pytest.mark.slow
def test_clients_that_stall_are_let_go(shelf: Path, papers: Papers):
    """The server disconnects clients that stall in the handshake, in a request, or between two, after its patience."""
    with (
        running(shelf, papers, patience=LET_GO) as bench,
        ThreadPoolExecutor() as pool,
        socket.create_connection(("127.0.0.1", bench.port), timeout=PATIENCE) as silent,
    ):
        half = pool.submit(bench.answers, "GET /latest.json HT")
        whole = pool.submit(bench.answers, "GET /latest.json HTTP/1.1", "", "")
        assert silent.recv(100) == b""
        assert half.result() == b""
        assert whole.result().startswith(b"HTTP/1.1 200 ")


@pytest.mark.slow
def test_a_client_that_trickles_is_let_go(shelf: Path, papers: Papers, monkeypatch: pytest.MonkeyPatch):
    """The patience is for a whole request: single bytes do not extend it."""
    accept = ShelfServer.get_request

    def accepted(server: ShelfServer) -> tuple[ssl.SSLSocket, Any]:
        found = accept(server)
        server.patience = 1.0  # for the request, which is never whole; the handshake has its limit already
        return found

    monkeypatch.setattr(ShelfServer, "get_request", accepted)
    with running(shelf, papers, patience=PATIENCE) as bench, bench.speak("GET /latest.json HTTP/1.1") as slow:
        assert any(_ended(slow) for _ in range(10_000))


def _ended(connection: ssl.SSLSocket) -> bool:
    """Whether the connection ends before one more byte arrives."""
    time.sleep(0.02)
    try:
        connection.sendall(b"x")
    except OSError:
        return True
    return False


@pytest.mark.slow
def test_a_client_that_does_not_read_is_let_go(shelf: Path, papers: Papers, large: str):
    """A client that stops reading its download is disconnected."""
    with running(shelf, papers, patience=LET_GO) as bench, bench.speak(f"GET {large} HTTP/1.1", "", ""):
        access = bench.accesses.get(timeout=PATIENCE)
        assert access.sent < LARGE


def test_the_most_connections(shelf: Path, papers: Papers, monkeypatch: pytest.MonkeyPatch):
    """With all places taken, a client waits until one is free and is not rejected."""
    monkeypatch.setattr("rmfab.ota.server._GRACE", 2 * PATIENCE)
    with running(shelf, papers, most=2) as bench:
        holders = [socket.create_connection(("127.0.0.1", bench.port)) for _ in range(2)]
        answers: list[int] = []
        waiting = threading.Thread(target=lambda: answers.append(bench.ask("/latest.json")[0].status))
        waiting.start()
        assert answers == []
        holders[0].close()
        waiting.join()
        assert answers == [200]
        holders[1].close()


def test_it_ends_with_connections_open(shelf: Path, papers: Papers, large: str):
    """Closing does not wait for clients that are idle, silent or in the middle of a download."""
    with running(shelf, papers) as bench:
        idle, busy = bench.connect(), bench.connect()
        idle.request("GET", "/latest.json")
        idle.getresponse().read()
        busy.request("GET", large)
        response = busy.getresponse()
        silent = socket.create_connection(("127.0.0.1", bench.port), timeout=PATIENCE)
    with pytest.raises(http.client.IncompleteRead):
        response.read()
    for one in (idle, busy, silent):
        one.close()


def test_a_signal_at_a_bad_moment(shelf: Path, papers: Papers, monkeypatch: pytest.MonkeyPatch):
    """A signal while a silent client is accepted ends the server at once: it interrupts nothing half done."""
    context = load_context(papers.cert, papers.key, str)
    start = threading.Thread.start

    def start_and_signal(thread: threading.Thread) -> None:
        start(thread)
        signal.raise_signal(signal.SIGINT)

    with ShelfServer(shelf, context, patience=3600) as server:
        monkeypatch.setattr(threading.Thread, "start", start_and_signal)
        with stopping(server.stop), socket.create_connection(server.server_address):
            server.serve()
            began = time.monotonic()
            server.server_close()
            assert time.monotonic() - began < PATIENCE


def test_where_it_cannot_listen(shelf: Path, papers: Papers, bench: Bench):
    """A port in use and a foreign address are station errors; a folder that is not a shelf is bad input."""
    context = load_context(papers.cert, papers.key, str)
    for host, port in (("127.0.0.1", bench.port), ("192.0.2.1", 0), ("a" * 300, 0)):
        with pytest.raises(StationError) as caught:
            ShelfServer(shelf, context, host=host, port=port)
        assert (caught.value.where, caught.value.cause) == (f"{host}:{port}", "port-in-use")
    with pytest.raises(InputError, match="no such folder"):
        ShelfServer(shelf / "nowhere", context)


def test_the_url(shelf: Path, papers: Papers):
    """The default is loopback; a server on all addresses uses the host name; IPv6 is in brackets."""
    context = load_context(papers.cert, papers.key, str)
    for host, name in (("127.0.0.1", "127.0.0.1"), ("0.0.0.0", socket.gethostname()), ("::1", "[::1]")):
        with ShelfServer(shelf, context, host=host) as server:
            assert server.url == f"https://{name}:{server.server_address[1]}"
    with ShelfServer(shelf, context) as server:
        assert server.url.startswith("https://127.0.0.1:")


def curl(bench: Bench, *argv: str, cwd: Path) -> str:
    """The output of curl, which trusts only the CA."""
    command = ["curl", "-q", "--noproxy", "*", "--silent", "--show-error", "--fail", "--cacert", str(bench.ca), *argv]
    done = subprocess.run(command, cwd=cwd, capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode("latin-1")


def test_curl(bench: Bench, large: str, shelf: Path, tmp_path: Path):
    """curl gets the headers, a range, a resumed download, and 304 for a file that it has."""
    base = f"https://localhost:{bench.port}"
    head = curl(bench, "-I", f"{base}/{FIRST.image}", cwd=tmp_path).splitlines()
    assert head[0] == "HTTP/1.1 200 OK"
    assert {f"Content-Length: {len(APP)}", "Accept-Ranges: bytes", f"Cache-Control: {FOR_EVER}"} <= set(head)
    curl(bench, "-r", "100-199", "-o", "part", f"{base}/{FIRST.image}", cwd=tmp_path)
    assert (tmp_path / "part").read_bytes() == APP[100:200]
    whole = (shelf / large[1:]).read_bytes()
    (tmp_path / "image").write_bytes(whole[:1_000_000])
    curl(bench, "-C", "-", "-o", "image", base + large, cwd=tmp_path)
    assert (tmp_path / "image").read_bytes() == whole
    code = ("-w", "%{http_code}", "-o", "latest")
    curl(bench, "--etag-save", "tag", *code, f"{base}/latest.json", cwd=tmp_path)
    assert curl(bench, "--etag-compare", "tag", *code, f"{base}/latest.json", cwd=tmp_path) == "304"


def test_curl_without_the_ca(bench: Bench, tmp_path: Path):
    """A client that does not trust the CA cannot send a request."""
    done = subprocess.run(
        ["curl", "-q", "--noproxy", "*", "-sS", f"https://localhost:{bench.port}/latest.json"], capture_output=True
    )
    assert (done.returncode, done.stdout) == (60, b"")
    assert bench.accesses.empty()


@pytest.mark.slow
def test_mute_clients_make_room(shelf: Path, papers: Papers):
    """A good client does not wait for the patience of clients that fill all places and send nothing."""
    with running(shelf, papers, most=4, patience=3600) as bench:
        mute = [socket.create_connection(("127.0.0.1", bench.port)) for _ in range(4)]
        assert bench.ask("/latest.json")[0].status == 200
        for connection in mute:
            connection.close()


def idle_connection(bench: Bench, number: int, source: str = "127.0.0.1") -> socket.socket:
    """Open a connection that sends nothing, half a handshake, or half a request after its handshake."""
    plain = socket.create_connection(("127.0.0.1", bench.port), timeout=PATIENCE, source_address=(source, 0))
    if number % 3 == 1:
        plain.sendall(b"\x16\x03\x01\x02\x00\x01")
    if number % 3 == 2 and number < 60:
        plain = bench.trust.wrap_socket(plain, server_hostname="127.0.0.1")
        plain.sendall(b"GET /latest.json HTTP/1.1\r\nHost")
    return plain


@pytest.mark.slow
@pytest.mark.parametrize("count", [70, 200])
def test_idle_connections_keep_nobody_out(shelf: Path, papers: Papers, tmp_path: Path, count: int):
    """Next to idle connections of one address, more than there are places, curl is served again and again."""
    with running(shelf, papers, most=64, patience=3600) as bench:
        idle = [idle_connection(bench, number) for number in range(count)]
        for _ in range(5):
            assert curl(bench, "--max-time", "120", f"https://localhost:{bench.port}/latest.json", cwd=tmp_path)
        for connection in idle:
            connection.close()


@pytest.mark.slow
def test_the_idle_connections_of_an_address_are_limited(shelf: Path, papers: Papers):
    """An address that opens more and more connections without a request loses the oldest, those of others stay."""
    with running(shelf, papers, patience=3600) as bench:
        other = idle_connection(bench, 0, "127.0.0.2")
        idle = [idle_connection(bench, 0) for _ in range(MOST_SILENT + 4)]
        until(lambda: len(bench.server._idle()) == MOST_SILENT + 5, "the grace does not end")
        assert bench.ask("/latest.json")[0].status == 200
        for connection in idle[:4]:
            assert connection.recv(1) == b""
        for connection in (idle[-1], other):
            connection.settimeout(0.2)
            with pytest.raises(TimeoutError):
                connection.recv(1)
        for connection in (*idle, other):
            connection.close()


def test_one_address_does_not_take_all_places(shelf: Path, papers: Papers, large: str):
    """Downloads of one address leave places to others; its next connection is ended, and nothing else."""
    with running(shelf, papers, most_of_one_peer=2, patience=3600) as bench:
        slow = []
        for _ in range(2):
            plain = socket.create_connection(
                ("127.0.0.1", bench.port), timeout=PATIENCE, source_address=("127.0.0.2", 0)
            )
            slow.append(bench.trust.wrap_socket(plain, server_hostname="127.0.0.1"))
            slow[-1].sendall(f"GET {large} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            assert slow[-1].recv(12) == b"HTTP/1.1 200"
        third = socket.create_connection(("127.0.0.1", bench.port), timeout=PATIENCE, source_address=("127.0.0.2", 0))
        assert third.recv(1) == b""
        third.close()
        assert bench.ask("/latest.json")[0].status == 200
        for connection in slow:
            count = 0
            while piece := connection.recv(1 << 20):
                count += len(piece)
            assert count > LARGE
            connection.close()


@pytest.mark.slow
def test_a_download_keeps_its_place(shelf: Path, papers: Papers, large: str):
    """A client that is being served is never ended to make room."""
    with running(shelf, papers, most=1, patience=3600) as bench:
        busy = bench.connect()
        busy.request("GET", large)
        answer = busy.getresponse()
        answer.read(1)
        waiting = threading.Thread(target=lambda: bench.ask("/latest.json"))
        waiting.start()
        time.sleep(1.5)
        assert len(answer.read()) == LARGE - 1
        busy.close()
        waiting.join()
