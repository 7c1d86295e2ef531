"""Secure boot at the line: an image without the board's signature is not written, one with it passes every step."""

from __future__ import annotations

import json

import pytest

from rmfab.product.vocabulary import Chip, ConsolePort, DownloadMode
from rmfab.release.opening import open_release
from rmfab.release.signature_blocks import BlockScheme
from tests.line.floor import beside, copied, found, looks, serve, spec
from tests.line.test_provision import give_network
from tests.release.test_signature_blocks import key_of, signed

pytestmark = pytest.mark.slow

CHIP = Chip.ESP32C6
KEY = key_of(BlockScheme.ECDSA_P256)


def sign_build(build, key):
    """Sign bootloader and app of an ESP-IDF build folder in place. Return the digest of the key."""
    args = json.loads((build / "flasher_args.json").read_text())
    for name in ("bootloader", "app"):
        path = build / args[name]["file"]
        path.write_bytes(signed(build.parent, key, image=path.read_bytes()))
    (block,) = open_release(build).app_signatures
    return block.key_digest


@pytest.fixture(scope="module")
def _plant(tmp_path_factory):
    return found(tmp_path_factory.mktemp("plant") / "ws", CHIP, units=2)


@pytest.fixture
def plant(_plant, tmp_path):
    """A factory for the ESP32-C6 with an unsigned firmware."""
    return copied(_plant, tmp_path / "ws")


def no_loader_answers(monkeypatch):
    """Knock at a loader once, not three times: none answers from now on."""
    monkeypatch.setattr("rmfab.board.esp.loader._CONNECT_ATTEMPTS", 1)


def nothing_was_given(plant, said, cause):
    """Assert that the unit FAILed in detect with *cause*, and that no identity was bound."""
    assert said.code == 1, said.words
    assert (said.unit["outcome"], said.unit["class"]) == ("FAIL", cause)
    assert said.steps() == {"detect": "FAIL"}
    assert plant.bindings() == {}


def test_an_unsigned_release_is_not_written(plant):
    """A board with secure boot gets no unsigned image, and no identity."""
    with serve([spec(CHIP, faults=("secure-boot",))], state=plant.root.parent / "boards") as boards:
        said = plant.run(boards[0].url)
        assert boards[0].flash_file.read_bytes().count(0xFF) == 4 << 20
    nothing_was_given(plant, said, "secure-boot-unsigned")


def test_a_release_of_another_key_is_not_written(plant):
    """The signature must be of the burned key; the message has both digests."""
    digest = sign_build(plant.root / "build", KEY)
    with serve([spec(CHIP, secure_boot_digests=("5" * 64,))]) as boards:
        said = plant.run(boards[0].url)
    nothing_was_given(plant, said, "secure-boot-key")
    assert digest[:16] in said.unit["reason"]
    assert "5" * 16 in said.unit["reason"]


@pytest.mark.parametrize(
    ("chip", "scheme"),
    [(CHIP, BlockScheme.ECDSA_P256), (Chip.ESP32S3, BlockScheme.RSA_3072), (Chip.ESP32, BlockScheme.RSA_3072)],
    ids=lambda value: value.value,
)
def test_the_boards_own_key_passes_every_step(tmp_path, chip, scheme):
    """A release signed with the burned key passes every step."""
    plant = found(tmp_path / "ws", chip, units=1)
    digest = sign_build(plant.root / "build", key_of(scheme))
    with serve([spec(chip, secure_boot_digests=(digest,))]) as boards:
        said = plant.run(boards[0].url)
    assert said.code == 0, said.unit["reason"]
    measured = said.step("detect")["measurements"]
    assert (measured["secure_boot"], measured["secure_boot_digests"]) == (True, [digest])
    assert said.logs == []


def test_any_of_three_keys_is_enough(plant):
    """A board that trusts three keys accepts a release of the last of them."""
    digest = sign_build(plant.root / "build", KEY)
    with serve([spec(CHIP, secure_boot_digests=("1" * 64, "2" * 64, digest))]) as boards:
        said = plant.run(boards[0].url)
    assert said.code == 0, said.unit["reason"]
    assert said.step("detect")["measurements"]["secure_boot_digests"] == ["1" * 64, "2" * 64, digest]


@pytest.mark.parametrize(
    ("turns_on", "words"),
    [(True, "it will burn the key digest {}"), (None, "it may (the build does not record it) burn the key digest {}")],
    ids=["turned on", "not recorded"],
)
def test_an_open_board_is_warned_of(plant, turns_on, words):
    """A bootloader that turns on secure boot is written to an open board, with a warning of what it will burn."""
    digest = sign_build(plant.root / "build", KEY)
    path = plant.root / "build" / "config" / "sdkconfig.json"
    if turns_on:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"SECURE_BOOT": True}))
    else:
        path.unlink()
    with serve([spec(CHIP)]) as boards:
        said = plant.run(boards[0].url)
    assert said.code == 0, said.unit["reason"]
    (warning,) = said.logs
    assert words.format(f"{digest[:16]}…") in warning
    assert "secure_boot" not in said.step("detect")["measurements"]


@pytest.mark.parametrize("mode", [DownloadMode.SECURE, DownloadMode.OFF], ids=lambda mode: mode.value)
def test_a_first_boot_that_closes_the_download_mode(tmp_path, mode, monkeypatch):
    """The whole line passes: what needs the loader comes before that boot, and the console does the reset. Afterwards
    verify and reset require the serial, and nothing can write to the board.
    """
    plant = found(tmp_path / "ws", CHIP, units=2, secure_boot=True, download_mode=mode)
    sign_build(plant.root / "build", KEY)
    with serve([spec(CHIP)]) as (board,):
        said = plant.run(board.url)
        assert said.code == 0, said.unit["reason"]
        (warning,) = said.logs
        assert "the line can no longer read or write it" in warning
        assert said.step("reset")["measurements"] == {"erased": ["nvs"], "download_mode": "closed"}
        serial = said.unit["serial"]
        if mode is DownloadMode.OFF:
            no_loader_answers(monkeypatch)
        for command in ("verify", "reset"):
            again = plant.run(board.url, command=command, extra=("--serial", serial))
            assert again.code == 0, again.unit["reason"]
            assert again.unit["serial"] == serial
        unknown = plant.run(board.url, command="verify")
        assert unknown.code != 0
        assert "--serial" in unknown.unit["reason"] + unknown.words
        unnamed = plant.run(board.url, command="reset")
        assert unnamed.verdict == ("FAIL", "unbound")
        assert "--serial" in unnamed.unit["reason"]
        refused = plant.run(board.url)
    assert refused.code != 0
    assert refused.steps()["detect"] != "PASS"
    assert list(plant.bindings().values()) == [serial]
    plant.check()


def test_a_closed_unit_without_a_console_is_not_reset(tmp_path):
    """Neither loader nor console can reset it: the step is skipped, and the unit joins no network before that."""
    edits = (("join = false", "join = true"),)
    plant = found(tmp_path / "ws", CHIP, units=1, edits=edits, secure_boot=True, console_port=ConsolePort.NONE)
    sign_build(plant.root / "build", KEY)
    give_network(plant)
    with serve([spec(CHIP)]) as (board,):
        said = plant.run(board.url)
    assert said.code == 0, said.unit["reason"]
    assert said.step("provision")["measurements"]["checks"]["join"] == "SKIP"
    assert said.step("reset")["outcome"] == "SKIP"
    assert "closed the download mode, and the firmware has no console" in said.step("reset")["reason"]


def test_a_board_that_says_nothing_may_be_a_closed_unit(tmp_path, monkeypatch):
    """Where the release closes the download mode, a loader that does not answer brings the hint to `rmfab verify`."""
    no_loader_answers(monkeypatch)
    plant = found(tmp_path / "ws", CHIP, units=1, secure_boot=True)
    sign_build(plant.root / "build", KEY)
    with serve([spec(CHIP, faults=("silent", "no-sync"))]) as (board,):
        said = plant.run(board.url)
    assert said.verdict == ("ERROR", "no-answer")
    assert "has closed the download mode, use `rmfab verify`" in said.unit["reason"]


def test_the_reset_of_another_closed_unit_is_noticed_before(tmp_path):
    """If --serial names the wrong unit, its console reveals it before anything is erased."""
    plant = found(tmp_path / "ws", CHIP, units=2, secure_boot=True)
    sign_build(plant.root / "build", KEY)
    with serve([spec(CHIP), spec(CHIP, index=1)], state=tmp_path / "boards") as boards:
        first, second = (plant.run(board.url) for board in boards)
        assert (first.code, second.code) == (0, 0)
        before = boards[0].flash_file.read_bytes()
        said = plant.run(boards[0].url, command="reset", extra=("--serial", second.unit["serial"]))
        assert said.verdict == ("FAIL", "other-identity")
        assert boards[0].flash_file.read_bytes()[0x3FA000:] == before[0x3FA000:]
        log = (plant.root / "logs" / said.unit["log"]).read_text() if said.unit["log"] else ""
    assert "reset-to-factory" not in log


@pytest.mark.parametrize("mode", [DownloadMode.SECURE, DownloadMode.OFF], ids=lambda mode: mode.value)
def test_a_closed_unit_that_stays_on_its_slot(tmp_path, mode, monkeypatch):
    """In a loop a closed unit is not run again, though it reports no MAC; the next board is run."""
    monkeypatch.setattr("rmfab.line.floor._POLL_SECONDS", 0.05)
    plant = found(tmp_path / "ws", CHIP, units=2, secure_boot=True, download_mode=mode)
    sign_build(plant.root / "build", KEY)
    monkeypatch.setattr("rmfab.line.slot_watch._FIRST_LOOK_SECONDS", 0.2)
    seen = looks(monkeypatch)

    def play():
        plant.wait_for(lambda event: event["event"] == "unit")
        seen.more(board.url, 5)
        board.control("vanish")
        seen.empty(board.url)
        board.control("swap")
        plant.wait_for(lambda event: event["event"] == "unit", 2)

    with serve([spec(CHIP)]) as (board,), beside(play):
        said = plant.run(board.url, extra=("--loop",))
    assert (said.code, [(unit["outcome"], unit["class"]) for unit in said.units]) == (0, [("PASS", None)] * 2)
    assert len({unit["mac"] for unit in said.units}) == 2


def test_a_download_mode_that_stays_open(tmp_path):
    """With secure boot burned by its first boot, the unit can still be reset by its loader, and flashed again."""
    plant = found(tmp_path / "ws", CHIP, units=1, secure_boot=True, download_mode=DownloadMode.OPEN)
    digest = sign_build(plant.root / "build", KEY)
    with serve([spec(CHIP)]) as (board,):
        said = plant.run(board.url)
        assert said.code == 0, said.unit["reason"]
        assert "its download mode stays open" in said.logs[0]
        assert "factory" in said.step("reset")["measurements"]
        again = plant.run(board.url)
    assert again.code == 0, again.unit["reason"]
    assert again.step("detect")["measurements"]["secure_boot_digests"] == [digest]


def test_signed_images_of_a_build_without_secure_boot_are_no_news(plant):
    """If the build leaves secure boot off, nothing is burned and there is no warning."""
    sign_build(plant.root / "build", KEY)
    with serve([spec(CHIP)]) as boards:
        said = plant.run(boards[0].url)
    assert (said.code, said.logs) == (0, [])


@pytest.mark.parametrize(
    ("scheme", "cause"),
    [(BlockScheme.RSA_3072, "secure-boot-loader"), (BlockScheme.ECDSA_P256, "secure-boot-scheme")],
    ids=lambda value: getattr(value, "value", ""),
)
def test_what_an_esp32c3_cannot_do_is_refused(tmp_path, scheme, cause):
    """esptool cannot run its stub on an ESP32-C3 with secure boot, and its ROM does not verify ECDSA: each has its own
    cause, and no identity is given.
    """
    plant = found(tmp_path / "ws", Chip.ESP32C3, units=1)
    digest = sign_build(plant.root / "build", key_of(scheme))
    with serve([spec(Chip.ESP32C3, secure_boot_digests=(digest,))]) as boards:
        said = plant.run(boards[0].url)
    nothing_was_given(plant, said, cause)
