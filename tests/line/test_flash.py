"""The contents of a board's flash after the line, with any contents before, and the owner of the identity in it."""

from __future__ import annotations

import random

import pytest

import rmfab
from rmfab.nvs.packing import pack
from rmfab.nvs.reader import read_image
from rmfab.nvs.table import Entry, EntryKind, Namespace
from rmfab.product.vocabulary import Chip, Credentials
from rmfab.release.build_folder import read_build_folder
from rmfab.virtual.spec import BoardSpec, PortKind
from tests.line.floor import FCTRY, NVS, NVS_KEY, OTADATA, PHY, SECURE_CERT, copied, found, serve, spec

SIZE = 4 << 20


def leftovers(path, pieces, blank=True):
    """Write a flash file with *pieces*, {offset: bytes}, on blank flash or on noise."""
    data = bytearray(b"\xff" * SIZE) if blank else bytearray(random.Random(7).randbytes(SIZE))
    for offset, piece in pieces.items():
        data[offset : offset + len(piece)] = piece
    path.write_bytes(data)
    return path


def foreign_image(namespace="rmaker_creds", **values):
    """Return a factory image of a different product."""
    given = {"node_id": b"NodeOfAnotherProduct", "random": bytes(range(64))} | values
    return pack(
        [Namespace(namespace), *(Entry(namespace, key, EntryKind.BLOB, value) for key, value in given.items())], 0x6000
    )


def flashed(factory, board_spec, *extra, command="flash"):
    """Return the output, and the flash file's bytes after the boards went away."""
    with serve([board_spec]) as (board,):
        said = factory.run(board.url, extra=extra, command=command)
        # the firmware changes nvs when it boots: it must not have booted before the flash is read
    return said, board_spec.flash_file.read_bytes()


@pytest.mark.parametrize("chip", [Chip.ESP32, Chip.ESP32S3, Chip.ESP32C3, Chip.ESP32C6])
def test_happy_run(tmp_path, chip):
    """On every chip a blank board passes every step, and its factory partition is the ledger's image."""
    factory = found(tmp_path / "ws", chip, units=1)
    board_spec = spec(chip, flash_file=tmp_path / "flash.bin")
    said, flash = flashed(factory, board_spec, command="run")
    assert said.code == 0, said.unit["reason"]
    assert said.steps() == dict.fromkeys(
        ("detect", "claim", "flash", "readback", "boot", "identify", "provision", "reset"), "PASS"
    ) | {"label": "SKIP"}
    identity = factory.identity(said.unit["serial"])
    image = read_image(flash[FCTRY : FCTRY + 0x6000])
    assert image.value("rmaker_creds", "node_id") == identity.node_id.encode()
    assert image.value("rmaker_creds", "random") == identity.random.reveal()
    release = read_build_folder(factory.root / "build")
    for part in release.parts:
        if part.offset != OTADATA:  # the bootloader writes it at the first boot
            assert flash[part.offset : part.end] == part.data
    assert said.step("identify")["measurements"]["checks"] == dict.fromkeys(
        ("qr", "node_id", "console", "signature"), "PASS"
    )
    factory.check()


class TestLeftovers:
    """Blank boards and boards with leftovers end with the same flash; keys are never touched."""

    @pytest.fixture(scope="class")
    @classmethod
    def result(cls, founded, tmp_path_factory):
        """Boards with the same MAC, each run with its own ledger, so that all get the same identity."""
        folder = tmp_path_factory.mktemp("leftovers")
        wifi = pack([Namespace("nvs.net80211"), Entry("nvs.net80211", "sta.ssid", EntryKind.BLOB, b"bakery")], 0x6000)
        kinds = {
            "blank": ({}, True),
            "old nvs": ({NVS: wifi, OTADATA: b"\x01\0\0\0" + bytes(28)}, True),
            "old namespace": ({FCTRY: foreign_image("other_creds")}, True),
            "foreign product": ({FCTRY: foreign_image(), NVS: wifi}, True),
            "noise": ({}, False),
            "garbage in fctry": ({FCTRY: random.Random(3).randbytes(0x6000)}, True),
        }
        results = {}
        for number, (name, (pieces, blank)) in enumerate(kinds.items()):
            factory = copied(founded, folder / f"ws{number}")
            board_spec = spec(flash_file=leftovers(folder / f"{number}.bin", pieces, blank), link=PortKind.SOCKET)
            results[name] = flashed(factory, board_spec)
        return results

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["old nvs", "old namespace", "foreign product", "noise", "garbage in fctry"])
    def test_same_as_blank(self, result, name):
        """Every region that the line writes or erases holds the same bytes as on a blank board."""
        blank_said, blank = result["blank"]
        said, flash = result[name]
        assert said.verdict == blank_said.verdict == ("PASS", None), said.unit["reason"]
        assert said.unit["serial"] == blank_said.unit["serial"]
        if name != "noise":
            assert flash == blank
        for start, end in ((0, 0x6000), (0xC000, 0xCC00), (NVS, PHY), (0x20000, 0x40000), (FCTRY, FCTRY + 0x6000)):
            assert flash[start:end] == blank[start:end]

    def test_blanks(self, result):
        """`nvs` is blank after the line."""
        for said, flash in result.values():
            assert said.code == 0
            assert flash[NVS : NVS + 0x6000] == b"\xff" * 0x6000

    def test_keys_are_never_touched(self, result):
        """Noise in nvs_key and esp_secure_cert is unchanged, and the certificate partition is reported."""
        noise = random.Random(7).randbytes(SIZE)
        said, flash = result["noise"]
        assert flash[NVS_KEY : NVS_KEY + 0x1000] == noise[NVS_KEY : NVS_KEY + 0x1000]
        assert flash[SECURE_CERT : SECURE_CERT + 0x2000] == noise[SECURE_CERT : SECURE_CERT + 0x2000]
        assert said.step("detect")["measurements"]["esp_secure_cert"] == "not blank"
        assert any("esp_secure_cert" in word for word in said.logs)
        assert flash[0x3E0000:FCTRY] == noise[0x3E0000:FCTRY], "what no part and no erase names stays"

    def test_a_blank_certificate_partition_is_not_reported(self, result):
        """A blank esp_secure_cert is not reported."""
        said, _ = result["blank"]
        assert "esp_secure_cert" not in said.step("detect")["measurements"]


def test_further_partitions_to_blank(factory, tmp_path):
    """`[factory] erase` erases the partitions in it, and nothing else."""
    factory.edit('# erase = ["coredump"]', 'erase = ["phy_init", "reserved"]')
    path = leftovers(tmp_path / "flash.bin", {PHY: b"calibration", 0x3E0000: b"reserved", 0x200000: b"an old app"})
    said, flash = flashed(factory, spec(flash_file=path, link=PortKind.SOCKET))
    assert said.code == 0
    assert flash[PHY : PHY + 0x1000] == b"\xff" * 0x1000
    assert flash[0x3E0000:FCTRY] == b"\xff" * 0x1A000
    assert flash[0x200000 : 0x200000 + 10] == b"an old app"


@pytest.mark.slow
def test_second_run_keeps_the_common_parts(factory):
    """A board that holds the release gets only what the boot changed; the firmware is not sent again."""
    with serve([spec()]) as (board,):
        first = factory.run(board.url)
        second = factory.run(board.url)
    assert first.step("flash")["measurements"]["kept"] == 0
    measured = second.step("flash")["measurements"]
    assert measured["kept"] == 4
    assert measured["sent"] < 1000
    assert (second.code, second.unit["serial"]) == (0, first.unit["serial"])
    assert second.step("claim")["measurements"]["again"] is True


def test_trace_starts_with_detect(factory):
    """The events of a unit start with its detect, also after a claim that failed: then it belongs to the MAC."""
    with serve([spec()]) as (board,):
        mac = factory.run(board.url, extra=("--serial", "LMP-999999"), command="flash").unit["mac"]
        serial = factory.run(board.url, command="flash").unit["serial"]
    with factory.ledger() as ledger:
        told = [[one.event.kind.value, one.event.step, one.event.serial] for one in ledger.history(mac)]
        of_unit = [one.event.step or one.event.kind.value for one in ledger.history(serial)]
    assert told[:3] == [["step", "detect", None], ["step", "claim", None], ["unit", None, None]]
    assert of_unit == ["detect", "claim", "claim", "flash", "readback", "unit"]
    factory.check()


def test_same_board_same_identity(factory):
    """A board that comes back keeps its identity, and no other identity is used up."""
    with serve([spec()]) as (board,):
        serials = {factory.run(board.url, command="flash").unit["serial"] for _ in range(3)}
    assert len(serials) == 1
    with factory.ledger() as ledger:
        assert ledger.free("Lamp") == 7


def test_an_identity_from_elsewhere(factory, tmp_path):
    """A board with an identity that this ledger does not know gets a new one, and the operator is told what its flash
    contained, however hostile; the ledger records it. What firmware reads ends at the first NUL."""
    for index, (node_id, shown) in enumerate(((b"Node\x1b[2J", "Node\\x1b[2J"), (b"Other\0junk", "Other"))):
        path = leftovers(tmp_path / f"{index}.bin", {FCTRY: foreign_image(node_id=node_id)})
        said, _ = flashed(factory, spec(index=index, flash_file=path))
        serial = said.unit["serial"]
        assert said.verdict == ("PASS", None)
        (warning,) = [text for text in said.logs if "is not of this ledger" in text]
        assert f'"{shown}"' in warning
        assert f"{serial} replaces it: if the board has a label, destroy it" in warning
        assert said.step("claim")["measurements"]["replaces"] == shown
        with factory.ledger() as ledger:
            (claim,) = [one.event for one in ledger.history(serial) if one.event.step == "claim"]
        assert claim.details["replaces"] == shown


class TestClone:
    """A board that carries a different board's identity stops the line before any claim."""

    @pytest.mark.slow
    def test_copied_flash(self, factory, tmp_path):
        """A copy of a board's flash on a second board is an integrity error: exit 5, no identity, nothing written."""
        one = spec(flash_file=tmp_path / "one.bin")
        first, flash = flashed(factory, one, command="run")
        other = spec(index=1, flash_file=tmp_path / "other.bin")
        other.flash_file.write_bytes(flash)
        said, after = flashed(factory, other, command="run")
        assert said.code == 5
        assert said.verdict == ("FAIL", "clone")
        assert said.steps() == {"detect": "PASS", "claim": "FAIL"}
        assert factory.bindings() == {first.unit["mac"]: first.unit["serial"]}
        assert factory.states() == {first.unit["serial"]: "verified"}
        for start, end in ((0, NVS), (PHY, SIZE)):  # it booted in between, and a boot changes nvs and otadata
            assert after[start:end] == flash[start:end]

    def test_random_alone_is_enough(self, factory, tmp_path):
        """A copied `random` under a different node id and namespace is a clone too: two units would share a PoP."""
        with serve([spec()]) as (board,):
            first = factory.run(board.url, command="flash")
        random_bytes = factory.identity(first.unit["serial"]).random.reveal()
        image = foreign_image("my_creds", random=random_bytes)
        path = leftovers(tmp_path / "flash.bin", {FCTRY: image})
        said, _ = flashed(factory, spec(index=1, flash_file=path))
        assert (said.code, said.verdict) == (5, ("FAIL", "clone"))

    def test_restored_ledger_trusts_the_board(self, founded, tmp_path):
        """A ledger restored from before the claim adopts the identity on the board, and gives it to no other board."""
        later = copied(founded, tmp_path / "later")
        with serve([spec(), spec(index=1)]) as boards:
            said = later.run(*(board.url for board in boards), command="flash")
            bindings = later.bindings()
            restored = copied(founded, tmp_path / "restored")
            again = restored.run(boards[1].url, command="flash")
            assert again.code == 0
            assert again.step("claim")["measurements"]["restored"] is True
            restored.run(boards[0].url, command="flash")
        assert said.code == 0
        assert restored.bindings() == bindings
        restored.check()


class TestSerial:
    """--serial gives a board this identity, or requires that the board already has it."""

    def test_right_and_wrong(self, factory):
        """The board gets the requested serial; with a different --serial it is rejected later, and nothing changes."""
        with serve([spec()]) as (board,):
            given = factory.run(board.url, extra=("--serial", "LMP-000005"), command="flash")
            assert given.unit["serial"] == "LMP-000005"
            same = factory.run(board.url, extra=("--serial", "LMP-000005"), command="flash")
            assert same.code == 0
            wrong = factory.run(board.url, extra=("--serial", "LMP-000006"), command="flash")
            assert (wrong.code, wrong.verdict) == (3, ("ERROR", "serial-mismatch"))
            verified = factory.run(board.url, extra=("--serial", "LMP-000006"), command="verify")
            assert (verified.code, verified.verdict) == (3, ("ERROR", "serial-mismatch"))
        assert list(factory.bindings().values()) == ["LMP-000005"]

    @pytest.mark.slow
    @pytest.mark.parametrize(("serial", "cause"), [("LMP-999999", "no-serial"), ("LMP-000001", "serial-taken")])
    def test_unknown_and_taken(self, factory, serial, cause):
        """A serial that does not exist, or that a different board has, is not given."""
        with serve([spec(), spec(index=1)]) as (one, other):
            factory.run(one.url, command="flash")
            said = factory.run(other.url, extra=("--serial", serial), command="flash")
        assert (said.code, said.verdict) == (3, ("ERROR", cause))
        assert len(factory.bindings()) == 1

    def test_one_serial_for_two_ports(self, factory):
        """One serial for two ports is a usage error."""
        assert factory.run("rfc2217://127.0.0.1:1", "rfc2217://127.0.0.1:2", extra=("--serial", "LMP-000001")).code == 2


def test_void_unit_gets_a_new_identity(factory):
    """A board with a void identity gets a new one; the void identity is not given again."""
    with serve([spec()]) as (board,):
        first = factory.run(board.url, command="flash").unit["serial"]
        workspace = factory.workspace
        workspace.ledger.void(first, reason="label lost", station="bench", ts="2026-01-31T12:00:00.000Z")
        verified = factory.run(board.url, command="verify")
        assert verified.verdict == ("FAIL", "unbound")
        second = factory.run(board.url)
        assert second.code == 0, second.unit["reason"]
    assert second.unit["serial"] != first
    assert list(factory.bindings().values()).count(second.unit["serial"]) == 1
    factory.check()


class TestClaiming:
    """With credentials = "claim", claiming makes node id, key and certificate, and their checks are SKIP."""

    def test_run(self, tmp_path):
        """A unit passes on its boot and its QR payload; the checks of what claiming makes are SKIP."""
        factory = found(tmp_path / "ws", units=2, credentials=Credentials.CLOUD_CLAIM)
        path = tmp_path / "flash.bin"
        said, flash = flashed(factory, spec(flash_file=path), command="run")
        assert said.code == 0, said.unit["reason"]
        assert said.step("identify")["measurements"]["checks"] == {
            "qr": "PASS",
            "node_id": "SKIP",
            "console": "SKIP",
            "signature": "SKIP",
        }
        image = read_image(flash[FCTRY : FCTRY + 0x6000])
        assert {entry.key for entry in image.entries if entry.namespace == "rmaker_creds"} == {
            "random",
            "sec2_salt",
            "sec2_verifier",
        }

    @pytest.mark.slow
    def test_clone_by_random(self, tmp_path):
        """Without a node id a copied `random` still reveals a clone."""
        factory = found(tmp_path / "ws", units=2, credentials=Credentials.CLOUD_CLAIM)
        _, flash = flashed(factory, spec(flash_file=tmp_path / "one.bin"), command="run")
        other = spec(index=1, flash_file=tmp_path / "other.bin")
        other.flash_file.write_bytes(flash)
        said, _ = flashed(factory, other, command="run")
        assert (said.code, said.verdict) == (5, ("FAIL", "clone"))


@pytest.mark.slow
@pytest.mark.parametrize(("old", "new"), [("security = 2", "security = 1"), ("security = 2", "security = 0")])
def test_product_that_does_not_match_the_firmware(tmp_path, old, new):
    """The line does not start for firmware of the wrong security, as its configuration or the texts of its app show."""
    factory = found(tmp_path / "ws", units=1, edits=((old, new),))
    with serve([spec()]) as (board,):
        said = factory.run(board.url)
    assert said.refusal == (3, ["config-mismatch"])
    factory.forget_configuration()
    with serve([spec()]) as (board,):
        said = factory.run(board.url)
    assert said.refusal == (3, ["config-mismatch"])


def test_batch_is_used_up(tmp_path):
    """If no identities are left, the board gets none, and the exit code is 3."""
    factory = found(tmp_path / "ws", units=1)
    with serve([spec(), spec(index=1), spec(index=2)]) as boards:
        said = factory.run(*(board.url for board in boards))
        assert said.code == 3
        assert sorted((unit["outcome"], unit["class"] or "") for unit in said.units) == [
            ("ERROR", "batch-used-up"),
            ("ERROR", "batch-used-up"),
            ("PASS", ""),
        ]
    assert len(factory.bindings()) == 1
    assert list((factory.root / "logs").iterdir())


def test_another_batch(factory):
    """--batch claims from that batch only; a board of a different batch keeps its identity, with a warning."""
    from rmfab.operations.advance import completed
    from rmfab.operations.generate import GenerateRequest, generate
    from rmfab.operations.terminal import Unattended

    completed(generate(factory.workspace, GenerateRequest(2, "second", jobs=1), Unattended()))
    with serve([spec(), spec(index=1)]) as (one, other):
        factory.run(one.url, command="flash")
        said = factory.run(one.url, other.url, extra=("--batch", "second"), command="flash")
    assert said.code == 0
    assert any("keeps its identity" in word for word in said.logs)
    with factory.ledger() as ledger:
        assert ledger.free("Lamp", "second") == 1
        assert ledger.free("Lamp", "lamp-0001") == 7


def test_no_such_batch(factory):
    """A batch that does not exist is bad input, before any board is touched."""
    assert factory.run("/dev/not-there", extra=("--batch", "nope")).code == 3


@pytest.mark.parametrize("link", [PortKind.RFC2217, PortKind.SOCKET])
def test_board_that_is_busy(factory, link):
    """A port that is in use is a station error, and the other board passes."""
    from rmfab.board.port import open_port

    with serve([BoardSpec(Chip.ESP32C3, link=link), spec(index=1)]) as (busy, free):
        held = open_port(busy.url)
        said = factory.run(busy.url, free.url, command="flash")
        held.close()
    outcomes = {unit["slot"]: (unit["outcome"], unit["class"]) for unit in said.units}
    assert outcomes[free.url] == ("PASS", None)
    assert outcomes[busy.url] == ("ERROR", "port-busy" if link is PortKind.RFC2217 else "port-gone")
    assert said.code == 4


def test_no_batch_yet(tmp_path):
    """If the ledger has no batch, the line does not start, and says how to get identities."""
    factory = found(tmp_path / "ws", units=1)
    for path in factory.root.glob("ledger.db*"):
        path.unlink()
    rmfab.open_workspace(factory.root).make_ledger()
    with serve([spec()]) as (board,):
        said = factory.run(board.url)
        assert board.state()["commands"] == 0
    assert said.refusal == (3, ["no-batch"])
