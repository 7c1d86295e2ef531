"""Updates over the air: a real server, a board that downloads, and how the board handles the responses."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509

from rmfab.errors import StationError
from rmfab.nvs.packing import pack
from rmfab.nvs.table import Entry as NvsEntry
from rmfab.nvs.table import EntryKind
from rmfab.product.vocabulary import Chip
from rmfab.virtual import BoardSpec, PortKind, Strap, serve
from rmfab.virtual.bench.place import Bench
from rmfab.virtual.build.build_folder import make_app
from rmfab.virtual.firmware import rollback
from rmfab.virtual.firmware.markers import FirmwareFacts
from rmfab.virtual.firmware.otadata import OtaDataEntry, OtaState
from rmfab.virtual.firmware.script import Alarm
from tests.patience import PATIENCE, until
from tests.virtual.image_server import Authority, serving
from tests.virtual.rig import FCTRY, NVS, OTADATA, parts, plain

pytestmark = pytest.mark.slow

SIZE = 128 * 1024
SLOT = 0x200000


def _app(version="2.0.0", *, chip=Chip.ESP32C3, project="rmfab-demo", size=SIZE, secure_version=0, **facts):
    return make_app(chip, project, version, FirmwareFacts(**facts), app_size=size, secure_version=secure_version)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("stranger"))


# Boards.


def _network():
    ssid = b"rmfab-factory"
    values = {"sta.ssid": len(ssid).to_bytes(4, "little") + ssid.ljust(32, b"\0"), "sta.pswd": b"factory-floor"}
    return NVS, pack([NvsEntry("nvs.net80211", key, EntryKind.BLOB, value) for key, value in values.items()], 0x6000)


def _flash_file(folder, index=0, *, online=True, more=(), **options):
    """Return a flash with a whole release, an identity and, if *online*, a network."""
    cells = bytearray(b"\xff" * (4 << 20))
    for offset, data in [*parts(**options), *([_network()] if online else []), *more]:
        cells[offset : offset + len(data)] = data
    path = folder / f"board-{index}.bin"
    path.write_bytes(cells)
    return path


def _spec(folder, index=0, **options):
    return BoardSpec(
        Chip.ESP32C3,
        index=index,
        link=PortKind.SOCKET,
        strap=Strap.RUN,
        flash_file=_flash_file(folder, index, **options),
    )


class _Seat:
    """A board on a bench in this process, and all its output."""

    def __init__(self, place):
        self.place = place
        self.board = place.board
        self.said = bytearray()
        self.board.uart.to_host = self.said.extend

    @property
    def text(self):
        return plain(self.said.decode("utf-8", "replace"))

    @property
    def state(self):
        return self.place._state["slot"], self.place._state["ota"]

    def entries(self):
        return tuple(OtaDataEntry.decode(self.board.flash.read(OTADATA + at, 32)) for at in (0, 0x1000))

    async def until(self, condition):
        """Wait until a condition of the board is true."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, self.text
            await asyncio.sleep(0.005)

    async def ready(self):
        """Wait until the board is on its network and has confirmed its app."""
        await self.until(lambda: "Waiting for User Node Association" in self.text)

    async def ota(self, url, ca_file=None):
        """Send the control command."""
        return await self.place.obey(["ota", url, *([] if ca_file is None else [str(ca_file)])])


def _story(folder, play, *, boards=1, **options):
    """Run the coroutine *play* with seats on a bench of freshly flashed boards."""

    async def run():
        async with Bench([_spec(folder, n, **options) for n in range(boards)], folder / "bench") as bench:
            await play(*[_Seat(place) for place in bench.places])

    asyncio.run(run())


def test_an_update_over_https(tmp_path: Path, authority):
    """The image arrives in ranges and is written to the other slot, started and confirmed; the identity stays."""
    image = _app()

    async def play(seat):
        identity = seat.board.flash.read(FCTRY, 0x6000)
        await seat.ready()
        assert seat.state == ("ota_0", "valid")
        assert await seat.ota(server.url, authority.ca_file) == "ok"
        assert image == seat.board.flash.read(SLOT, SIZE)
        assert seat.entries() == (OtaDataEntry.of(1, OtaState.VALID), OtaDataEntry.of(2, OtaState.NEW))
        await seat.until(lambda: seat.state == ("ota_1", "pending-verify"))
        await seat.until(lambda: seat.state == ("ota_1", "valid"))
        assert identity == seat.board.flash.read(FCTRY, 0x6000)
        for line in LINES:
            assert line in seat.text

    with serving(image, tls=authority.context()) as server:
        _story(tmp_path, play)
    ranges = [f"bytes={start}-{start + 16383}" for start in range(0, SIZE - 16384, 16384)]
    assert server.asked == [("HEAD", None), *(("GET", wanted) for wanted in [*ranges, f"bytes={SIZE - 16384}-"])]


LINES = [
    "esp_rmaker_ota: Reporting in-progress: Starting OTA Upgrade (HTTPS attempt 1/3)\n",
    "esp_https_ota: Writing to <ota_1> partition at offset 0x200000\n",
    "esp_rmaker_https_ota: Image bytes read: 102400\n",
    "esp_rmaker_ota: Reporting in-progress: Firmware Image download complete\n",
    "esp_image: segment 0: paddr=00200020",
    "esp_rmaker_ota: HTTPS OTA upgrade successful. Rebooting in 10 seconds...\n",
    "rst:0xc (RTC_SW_CPU_RST)",
    "App version:      2.0.0\n",
    "esp_rmaker_ota: First Boot after an OTA\n",
    "esp_rmaker_ota: Reporting success: OTA Upgrade finished and verified successfully\n",
]


def test_two_boards_at_once(tmp_path: Path, authority):
    """Two boards download in parallel: the server responds only after both have sent a request."""
    both = threading.Barrier(2)

    def meet(command, _range):
        if command == "HEAD":
            both.wait(PATIENCE)

    async def play(*seats):
        await asyncio.gather(*(seat.ready() for seat in seats))
        answers = await asyncio.gather(*(seat.ota(server.url, authority.ca_file) for seat in seats))
        assert answers == ["ok", "ok"]
        await asyncio.gather(*(seat.until(lambda seat=seat: seat.state == ("ota_1", "valid")) for seat in seats))

    with serving(_app(), tls=authority.context(), before=meet) as server:
        _story(tmp_path, play, boards=2)


def test_an_update_over_plain_http(tmp_path: Path):
    """An update works without TLS, too; a second update goes into the slot that the first one left."""

    async def play(seat):
        await seat.ready()
        assert await seat.ota(server.url) == "ok"
        await seat.until(lambda: seat.state == ("ota_1", "valid"))
        server.image = _app("3.0.0")
        await seat.ready()
        assert await seat.ota(server.url) == "ok"
        await seat.until(lambda: seat.state == ("ota_0", "valid"))
        assert seat.entries() == (OtaDataEntry.of(3, OtaState.VALID), OtaDataEntry.of(2, OtaState.VALID))

    with serving(_app()) as server:
        _story(tmp_path, play)


ODD_SERVERS = {
    "no HEAD": lambda command, _range: 501 if command == "HEAD" else None,
    "no ranges": lambda _command, _range: "whole",
    "redirects once": None,
    "cuts one response": None,
}


@pytest.mark.parametrize("case", ODD_SERVERS)
def test_servers_that_esp_idf_gets_along_with(case: str, tmp_path: Path):
    """The update succeeds without HEAD, without ranges, after a redirection, and after one cut connection."""
    spoilt = iter([302] if case == "redirects once" else [None, None, None, "cut"])
    before = ODD_SERVERS[case] or (lambda _command, _range: next(spoilt, None))

    async def play(seat):
        await seat.ready()
        assert await seat.ota(server.url) == "ok"
        assert ("HTTPS OTA attempt 1 failed" in seat.text) == (case == "cuts one response")
        await seat.until(lambda: seat.state == ("ota_1", "valid"))

    with serving(_app(), before=before) as server:
        _story(tmp_path, play)


def _damaged(image):
    return image[:0x9000] + bytes([image[0x9000] ^ 1]) + image[0x9001:]


REFUSED = {
    "a different chip": (
        {"image": _app(chip=Chip.ESP32S3)},
        "Mismatch chip id, expected 5, found 9",
        "Reporting rejected: Chip revision mismatch",
    ),
    "a different project": (
        {"image": _app(project="kettle")},
        "OTA Image built for Project: kettle. Expected: rmfab-demo",
        "Reporting rejected: Project Name mismatch",
    ),
    "the same version": (
        {"image": _app("1.0.0")},
        "Current running version is same as the new",
        "Reporting rejected: Same version received",
    ),
    "a damaged image": (
        {"image": _damaged(_app())},
        "Checksum failed",
        "OTA Attempt 3/3 failed: Image validation failed",
    ),
    "not an image": (
        {"image": b"no such page"},
        "12 bytes are too short for an app",
        "esp_https_ota: Complete headers were not received",
    ),
    "an image that is cut short": (
        {"image": _app()[:-4096]},
        "Checksum failed",
        "esp_ota_ops: New image failed verification",
    ),
    "an image larger than the slot": (
        {"image": _app() + bytes(0x1E0000)},
        "larger than the 1966080 bytes of ota_1",
        "esp_https_ota: Error: esp_ota_write failed! err=0x104",
    ),
    "no such file": ({"path": "/other.bin"}, "HTTP status 404 from the server", "Received incorrect http status 404"),
    "a file that goes away": (
        {"before": lambda _command, wanted: 404 if wanted and not wanted.startswith("bytes=0-") else None},
        "HTTP status 404 from the server",
        "esp_https_ota: File not found(404)",
    ),
    "a server in trouble": (
        {"before": lambda command, _range: 503 if command == "GET" else None},
        "HTTP status 503 from the server",
        "esp_https_ota: Server error (503)",
    ),
    "connections that are cut": (
        {"before": lambda _command, wanted: "cut" if wanted and wanted.startswith("bytes=32768-") else None},
        "ended in the middle of a response",
        "esp_https_ota: Connection closed before complete data was received!",
    ),
    "an unknown length": (
        {"before": lambda _command, _range: "no-length"},
        "does not send the image's length",
        "Failed to get image length from http response",
    ),
    "a redirection loop": ({"before": lambda _command, _range: 302}, "too many redirections", "URL redirection Failed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str, tmp_path: Path):
    """The answer and the console report the problem, and the app in force stays in force, also after a restart."""
    spoilt, answer, line = REFUSED[case]
    server_of = {"image": _app()} | {key: value for key, value in spoilt.items() if key != "path"}

    async def play(seat):
        await seat.ready()
        got = await seat.ota(server.url.replace("/app.bin", spoilt.get("path", "/app.bin")))
        assert got.startswith("error: ")
        assert answer in got
        assert line in seat.text
        assert seat.state == ("ota_0", "valid")
        seat.said.clear()
        seat.board.restart()
        await seat.ready()
        assert "App version:      1.0.0" in seat.text
        assert seat.state == ("ota_0", "valid")

    with serving(server_of.pop("image"), **server_of) as server:
        _story(tmp_path, play)


@pytest.mark.parametrize("case", ["wrong authority", "wrong host", "no authority", "no server"])
def test_servers_that_are_not_trusted(case: str, tmp_path: Path, authority, stranger):
    """Only the given authority is trusted, the host name is checked, and no byte of the image is requested."""
    host = x509.DNSName("other.example")
    context = authority.context(host) if case == "wrong host" else authority.context()
    ca_file = {"wrong authority": stranger.ca_file, "no authority": None}.get(case, authority.ca_file)

    async def play(seat):
        await seat.ready()
        url = "https://127.0.0.1:1/app.bin" if case == "no server" else server.url
        assert (await seat.ota(url, ca_file)).startswith("error: 127.0.0.1:")
        assert "HTTPS OTA attempt 3 failed: OTA Begin failed" in seat.text
        assert seat.state == ("ota_0", "valid")

    with serving(_app(), tls=context) as server:
        _story(tmp_path, play)
    assert server.asked == []


def test_a_board_that_is_restarted_on_the_way_keeps_its_app(tmp_path: Path):
    """Half an image in the slot changes nothing: the old app starts, and a later update succeeds."""
    reached, go_on = threading.Event(), threading.Event()

    def hold(_command, wanted):
        if wanted == "bytes=32768-49151" and not go_on.is_set():
            reached.set()
            go_on.wait(PATIENCE)

    async def play(seat):
        await seat.ready()
        update = asyncio.create_task(seat.ota(server.url))
        await seat.until(reached.is_set)
        seat.said.clear()
        seat.board.restart()
        go_on.set()
        assert await update == "error: the board was restarted during the update"
        await seat.ready()
        assert seat.state == ("ota_0", "valid")
        assert server.image[:32768] == seat.board.flash.read(SLOT, 32768)
        assert seat.board.flash.is_blank(SLOT + 32768, 0x10000)
        assert await seat.ota(server.url) == "ok"
        await seat.until(lambda: seat.state == ("ota_1", "valid"))

    with serving(_app(), before=hold) as server:
        _story(tmp_path, play)


def test_one_update_at_a_time(tmp_path: Path):
    """During a download a second job is rejected, and the first continues."""
    reached, go_on = threading.Event(), threading.Event()

    def hold(command, _range):
        if command == "HEAD":
            reached.set()
            go_on.wait(PATIENCE)

    async def play(seat):
        await seat.ready()
        update = asyncio.create_task(seat.ota(server.url))
        await seat.until(reached.is_set)
        assert (await seat.ota(server.url)).startswith("error: an update is in progress")
        assert "OTA already in progress. Please try later." in seat.text
        go_on.set()
        assert await update == "ok"

    with serving(_app(), before=hold) as server:
        _story(tmp_path, play)


def test_an_update_that_loses_its_network_goes_back_and_is_reported(tmp_path: Path, monkeypatch):
    """A new app without a broker rolls back by itself; the old app reports that once it has a network."""
    seen = threading.Event()

    def wait(firmware):
        return Alarm(0.05, over(firmware))

    def over(firmware):  # the wait lasts until the test has seen it
        if seen.is_set():
            yield from rollback._take_back(firmware)
        else:
            yield wait(firmware)

    async def play(seat):
        await seat.ready()
        around = seat.board.spec.networks
        assert await seat.ota(server.url) == "ok"
        seat.board.hear(())
        await seat.until(lambda: seat.state == ("ota_1", "pending-verify"))
        assert (await seat.ota(server.url)).startswith("error: the board is not on a network")
        seen.set()
        await seat.until(lambda: seat.state == ("ota_0", "valid"))
        seat.board.hear(around)
        seat.board.uart.from_host(b"wifi-prov rmfab-factory factory-floor\r\n")
        await seat.until(lambda: "Reporting rejected: Firmware rolled back" in seat.text)
        assert "Could not verify firmware even after 90 seconds" in seat.text
        assert seat.entries() == (OtaDataEntry.of(1, OtaState.VALID), OtaDataEntry.of(2, OtaState.INVALID))
        assert re.search(r'"ota_job_id":"\S+","status":"rejected"', seat.text)

    monkeypatch.setattr("rmfab.virtual.firmware.rollback._wait", wait)
    with serving(_app()) as server:
        _story(tmp_path, play)


def test_an_app_that_does_not_confirm_can_not_be_updated(tmp_path: Path):
    """esp_ota_begin() fails while the running app is not confirmed; the next restart rolls that app back."""

    async def play(seat):
        await seat.ready()
        assert await seat.ota(server.url) == "ok"
        seat.said.clear()
        await seat.ready()
        server.image = _app("3.0.0")
        assert "Running app has not confirmed state" in await seat.ota(server.url)
        assert "esp_ota_begin failed (ESP_ERR_OTA_ROLLBACK_INVALID_STATE)" in seat.text
        assert seat.state == ("ota_1", "pending-verify")
        seat.board.restart()
        await seat.until(lambda: seat.state == ("ota_0", "valid"))
        assert seat.entries() == (OtaDataEntry.of(1, OtaState.VALID), OtaDataEntry.of(2, OtaState.ABORTED))

    with serving(_app(confirms=False)) as server:
        _story(tmp_path, play)


def test_an_update_without_rollback(tmp_path: Path):
    """Firmware built without rollback writes no state, reports success at once, and is not rolled back."""

    async def play(seat):
        await seat.ready()
        assert await seat.ota(server.url) == "ok"
        assert "Reporting success: HTTPS OTA Upgrade finished successfully (after 1 attempt)" in seat.text
        await seat.until(lambda: seat.state == ("ota_1", "undefined"))
        seat.board.restart()
        await seat.until(lambda: seat.state == ("ota_1", "undefined"))

    with serving(_app(rollback=False)) as server:
        _story(tmp_path, play, rollback=False)


def test_a_lower_secure_version_is_refused(tmp_path: Path):
    """A confirmed app has burned its secure version, so a lower one is rejected."""

    async def play(seat):
        await seat.ready()
        assert "New secure version is lower" in await seat.ota(server.url)
        server.image = _app(secure_version=2)
        assert await seat.ota(server.url) == "ok"

    with serving(_app(secure_version=1)) as server:
        _story(tmp_path, play, secure_version=2)


def test_boards_that_cannot_be_asked(tmp_path: Path):
    """Without an app, a network, a valid URL or the CA file, the answer reports what is missing."""

    async def play(seat):
        await seat.until(lambda: "Provisioning started with service name" in seat.text)
        assert "is not on a network" in await seat.ota("http://127.0.0.1:1/")
        seat.said.clear()
        seat.board.uart.from_host(b"wifi-prov rmfab-factory factory-floor\r\n")
        await seat.ready()
        assert "not an http:// or https:// URL" in await seat.ota("ftp://127.0.0.1/app.bin")
        assert "is not a file" in await seat.ota("https://127.0.0.1:1/app.bin", tmp_path / "absent.pem")
        assert (await seat.place.obey(["ota"])).startswith("error: restart |")
        seat.board.power(False)
        assert await seat.ota("http://127.0.0.1:1/") == "error: no firmware is running"
        assert seat.state == (None, None)

    _story(tmp_path, play, online=False)


def test_over_the_control_socket(tmp_path: Path, authority):
    """A host starts an update through the board's handle, and `state` contains slot and state."""

    def runs(slot, ota):
        state = board.state()
        return (state["slot"], state["ota"]) == (slot, ota)

    def updated():
        try:
            return board.control(f"ota {server.url} {authority.ca_file}") == "ok"
        except StationError as refusal:
            if "is not on a network" not in str(refusal):
                raise
            return False

    with serving(_app(), tls=authority.context()) as server, serve([_spec(tmp_path)]) as [board]:
        until(lambda: runs("ota_0", "valid"))
        until(updated)
        until(lambda: runs("ota_1", "valid"))
        with pytest.raises(StationError, match="same as the new"):
            board.control(f"ota {server.url} {authority.ca_file}")
