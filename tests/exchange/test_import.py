"""Importing batches made elsewhere: what the admin CLI, mass_mfg and esp-rainmaker-cli wrote becomes identities."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from rmfab.errors import BatchUsedUp, InputError
from rmfab.identity.factory_image import factory_image
from rmfab.identity.identity import Identity
from rmfab.ledger.claim_terms import Carried, Wish
from rmfab.ledger.states import State
from rmfab.nvs.reader import read_image
from rmfab.operations.advance import Advance
from rmfab.operations.import_batch import ImportRequest, import_batch
from rmfab.workspace.workspace import Workspace, open_workspace
from tests.exchange.admin_cli import Ca, Node, draw_node, traditional, write_admin_batch, write_claimed
from tests.exchange.sides import NOON
from tests.line.floor import FCTRY, found, ports, serve, spec
from tests.postgres import databases, server
from tests.terminal import Said, Terminal, files

__all__ = ["databases", "server"]

CA = Ca()


@pytest.fixture
def lamp(terminal: Terminal) -> Path:
    """A workspace without a batch."""
    terminal.well("init", "lamp", "--mqtt-host", "mqtt.example.org")
    return Path("lamp").absolute()


@pytest.fixture
def opened(lamp: Path) -> Iterator[Callable[[], Workspace]]:
    """Return a function that opens the workspace as it is then."""
    spaces: list[Workspace] = []

    def opens() -> Workspace:
        spaces.append(open_workspace(lamp))
        return spaces[-1]

    yield opens
    for space in spaces:
        if space.has_ledger:
            space.ledger.close()


def nodes(count: int = 3) -> list[Node]:
    return [draw_node(CA, f"node-{number}") for number in range(1, count + 1)]


def imported(terminal: Terminal, source: Path, *options: str) -> Said:
    return terminal("-C", "lamp", "import", source, "--batch", "old", *options)


def document(terminal: Terminal, source: Path, *options: str) -> Any:
    said = imported(terminal, source, *options, "--json")
    assert said.code == 0, said.err
    return json.loads(said.out)


def identities(space: Workspace) -> list[Identity]:
    return [space.open_identity(one) for one in space.ledger.identities("old")]


def test_a_batch_of_the_admin_cli(terminal: Terminal, opened: Callable[[], Workspace]) -> None:
    """Every unit of an output folder becomes an identity with its names, secrets and certificate; the sec2 pair that
    its image lacks is made, and the image that rmfab makes says the same otherwise."""
    made = nodes()
    source = write_admin_batch(Path(), CA, made)
    said = imported(terminal, source)
    assert (said.code, said.out) == (0, "old\n")
    assert "batch old: 3 identities imported" in said.err
    assert "whoever made this batch can still give its identities" in said.err
    assert "made the sec2 pair of 3 units" in said.err
    space = opened()
    assert space.ledger.check() == ()
    found_now = identities(space)
    assert [one.serial for one in found_now] == ["LMP-000001", "LMP-000002", "LMP-000003"]
    for node, one in zip(made, found_now, strict=True):
        assert (one.node_id, one.certificate_pem) == (node.node_id, node.certificate)
        assert one.private_key_pem is not None
        assert one.private_key_pem.reveal() == node.key
        assert one.random.reveal().hex() == node.random
        theirs = read_image(next((source / "bin").glob(f"*-{node.node_id}.bin")).read_bytes())
        ours = read_image(factory_image(one, space.product))
        own = {entry.key: entry.value for entry in ours.entries}
        assert own.pop("sec2_salt")
        assert own.pop("sec2_verifier")
        assert own == {entry.key: entry.value for entry in theirs.entries}


def test_a_round_trip(terminal: Terminal, lamp: Path) -> None:
    """What `rmfab build` writes is imported by a different workspace, with the same serials, and builds the same
    files; a second import changes nothing."""
    terminal.well("init", "first", "--mqtt-host", "mqtt.example.org", "--name", "lamp")
    terminal.well("-C", "first", "ca", "create", "--no-passphrase")
    terminal.well("-C", "first", "generate", "--count", "3", "--batch", "b")
    terminal.well("-C", "first", "build", "b", "-o", "images")
    shown = document(terminal, Path("images"), "--ca", "first/ca/ca.crt")
    assert shown == {"batch": "old", "size": 3, "source": "mass-mfg", "flashed": False, "refused": []}
    terminal.well("-C", "lamp", "build", "old", "-o", "again")
    assert files(Path("again")) == files(Path("images"))
    assert "imported already" in imported(terminal, Path("images")).err


@pytest.mark.peers
def test_on_a_server(
    terminal: Terminal, lamp: Path, databases: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch is imported into a ledger on a server as into a file: once, soundly, and its units are given."""
    monkeypatch.setenv("RMFAB_LEDGER", databases())
    terminal.well("-C", "lamp", "ledger", "adopt", "--only-copy", "--name", "lamp")
    source = write_admin_batch(Path(), CA, nodes())
    assert document(terminal, source)["size"] == 3
    assert "imported already" in imported(terminal, source).err
    terminal.well("-C", "lamp", "ledger", "check")
    terminal.well("-C", "lamp", "build", "old", "-o", "images")
    assert len(list(Path("images/bin").glob("*.bin"))) == 3


def test_claimed_boards(terminal: Terminal, opened: Callable[[], Workspace]) -> None:
    """Folders of `esp-rainmaker-cli claim` are imported as flashed, and only so: each is the identity of a board."""
    made = nodes(2)
    for number, node in enumerate(made):
        write_claimed(Path("claim_data/user"), f"AABBCCDDEE0{number}", node)
    imported(terminal, Path("claim_data")).refused(2, "boards have these identities", "--flashed")
    assert document(terminal, Path("claim_data"), "--flashed")["source"] == "esp-rainmaker-cli"
    states = {one.node_id: one.state for one in opened().ledger.identities("old")}
    assert states == {"node-1": State.QUARANTINED, "node-2": State.QUARANTINED}


def test_a_folder_that_was_moved(terminal: Terminal, lamp: Path) -> None:
    """Paths in the CSVs count from the folder of the batch, wherever it lies now."""
    write_admin_batch(Path(), CA, nodes())
    Path("out").rename("archive")
    assert imported(terminal, Path("archive/2026-01-31/Mfg-000001")).code == 0


def test_flashed_units_are_never_given_to_a_blank_board(terminal: Terminal, opened: Callable[[], Workspace]) -> None:
    """With --flashed no blank board gets an identity, by number or by serial; a board whose flash has it does. The
    ledger is sound, and its history makes the same standings again."""
    made = nodes()
    source = write_admin_batch(Path(), CA, made)
    assert "in quarantine" in imported(terminal, source, "--flashed").err
    space = opened()
    station = space.station.name
    with pytest.raises(BatchUsedUp):
        space.ledger.claim("24:0a:c4:00:00:01", Wish("lamp", "old"), station=station, ts=NOON)
    with pytest.raises(InputError, match="in quarantine"):
        space.ledger.claim("24:0a:c4:00:00:01", Wish("lamp", serial="LMP-000001"), station=station, ts=NOON)
    claim = space.ledger.claim(
        "24:0a:c4:00:00:01", Wish("lamp"), station=station, ts=NOON, carried=Carried(made[1].node_id)
    )
    assert (claim.identity.serial, claim.restored) == ("LMP-000002", True)
    before = space.ledger.standings(["LMP-000001", "LMP-000002"])
    assert space.ledger.check() == ()
    assert space.ledger.rebuild() == 0
    assert space.ledger.standings(["LMP-000001", "LMP-000002"]) == before


@pytest.mark.parametrize("options", [(), ("--flashed",)])
def test_an_interrupted_import_continues(
    terminal: Terminal, opened: Callable[[], Workspace], monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """An import that ends after a chunk has made nothing that a board can get; the same command completes it, and
    makes no unit twice."""
    monkeypatch.setattr("rmfab.operations.import_batch._CHUNK_SIZE", 2)
    source = write_admin_batch(Path(), CA, nodes(5))
    request = ImportRequest(source, "old", flashed=bool(options))
    space = opened()
    with closing(import_batch(space, request)) as events:
        next(one for one in events if isinstance(one, Advance) and one.total)
    assert [(batch.closed, batch.size) for batch in space.ledger.batches()] == [(False, 5)]
    with pytest.raises(InputError, match="old"):
        space.ledger.claim("24:0a:c4:00:00:01", Wish("lamp", "old"), station=space.station.name, ts=NOON)
    assert document(terminal, source, *options)["size"] == 5
    again = opened()
    assert again.ledger.check() == ()
    wanted = State.QUARANTINED if options else State.GENERATED
    assert {one.node_id: one.state for one in again.ledger.identities("old")} == {
        f"node-{number}": wanted for number in range(1, 6)
    }


def test_serials_of_a_column(terminal: Terminal, opened: Callable[[], Workspace]) -> None:
    """--serial-column names the column of the serials, such as one of the factory's additional values."""
    made = [replace(node, extra=(f"SN-{number}",)) for number, node in enumerate(nodes(), 7)]
    source = write_admin_batch(Path(), CA, made, extra_names=("s_no",))
    document(terminal, source, "--serial-column", "s_no")
    assert [one.serial for one in opened().ledger.identities("old")] == ["SN-7", "SN-8", "SN-9"]
    imported(terminal, source, "--serial-column", "no").refused(3, 'there is no column "no"')


def test_additional_keys(terminal: Terminal, opened: Callable[[], Workspace]) -> None:
    """Keys besides RainMaker's are imported if the product's extra config names exactly them."""
    config = ("extra_creds,namespace,", "mac_addr,data,binary")
    made = [replace(node, extra=(f"AABBCCDDEE{number}",)) for number, node in enumerate(nodes(2))]
    source = write_admin_batch(Path(), CA, made, config, ("mac_addr",))
    imported(terminal, source).refused(3, "would differ in extra_creds.mac_addr", "[factory] config")
    Path("lamp/extra.csv").write_text("\n".join(config))
    product = Path("lamp/product.toml")
    text = product.read_text()
    product.write_text(text.replace("[factory]\n", '[factory]\nconfig = "extra.csv"\n'))
    assert product.read_text() != text
    document(terminal, source)
    space = opened()
    told = [read_image(factory_image(one, space.product)).value("extra_creds", "mac_addr") for one in identities(space)]
    assert told == [b"AABBCCDDEE0", b"AABBCCDDEE1"]


def _swapped_keys(made: list[Node]) -> None:
    made[0].key, made[1].key = made[1].key, made[0].key


def _swapped_pairs(made: list[Node]) -> None:
    _swapped_keys(made)
    made[0].certificate, made[1].certificate = made[1].certificate, made[0].certificate


def _strange_ca(made: list[Node]) -> None:
    made[1] = draw_node(Ca(name="other CA"), "node-2")


def _other_curve(made: list[Node]) -> None:
    made[1] = draw_node(CA, "node-2", ec.generate_private_key(ec.SECP384R1()))


def _rsa(made: list[Node]) -> None:
    made[1] = draw_node(CA, "node-2", rsa.generate_private_key(65537, 2048))


def _same_pop(made: list[Node]) -> None:
    made[1].random = made[0].random[:8] + made[1].random[8:]


def _same_name(made: list[Node]) -> None:
    made[1].random = made[1].random[:-6] + made[0].random[-6:]


def _same_random(made: list[Node]) -> None:
    made[1].random = made[0].random


def _no_key(made: list[Node]) -> None:
    made[1].key = made[1].certificate


def _chain(made: list[Node]) -> None:
    made[1].certificate = made[1].certificate + made[0].certificate


BAD_UNITS: dict[str, tuple[Callable[[list[Node]], None], str]] = {
    "keys of two rows swapped": (_swapped_keys, "the private key does not belong to the certificate of node node-2"),
    "certificates of two rows swapped": (_swapped_pairs, 'the certificate is that of "node-1", the node id is node-2'),
    "certificate of a different CA": (_strange_ca, "the certificate is not signed by the CA CN=admin CA"),
    "a different curve": (_other_curve, "the key is ecdsa-p384, [identity] key is ecdsa-p256"),
    "an RSA key": (_rsa, "the key is rsa-2048, [identity] key is ecdsa-p256"),
    "a PoP twice": (_same_pop, "the PoP is already that of"),
    "a service name twice": (_same_name, "is already that of"),
    "random twice": (_same_random, "the PoP is already that of"),
    "a key that is a certificate": (_no_key, "client_key is not an unencrypted private key in PEM"),
    "no certificate": (lambda made: setattr(made[1], "certificate", b"none"), "client_cert is not a certificate"),
    "two certificates": (_chain, "client_cert has more than one certificate"),
    "a different host": (lambda made: setattr(made[1], "host", "mqtt.evil.org"), 'mqtt_host is "mqtt.evil.org"'),
    "a short random": (lambda made: setattr(made[1], "random", "00" * 32), '"random" has 32 bytes, not 64'),
    "a node id with a slash": (
        lambda made: made.__setitem__(1, draw_node(CA, "node 2")), "there is no usable node id"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_UNITS)
def test_bad_units(terminal: Terminal, lamp: Path, name: str) -> None:
    """One bad unit keeps everything out, and is named with its line; --skip-refused imports the others. No secret is
    printed."""
    made = nodes()
    change, words = BAD_UNITS[name]
    change(made)
    source = write_admin_batch(Path(), CA, made)
    said = imported(terminal, source)
    said.refused(3, words, "common/values.csv:3", "nothing was imported", "--skip-refused")
    assert not (lamp / "ledger.db").exists()
    for node in made:
        assert node.random[:8] not in said.err
    skipped = document(terminal, source, "--skip-refused")
    assert skipped["size"] + len(skipped["refused"]) == 3
    assert any(words in one["reason"] for one in skipped["refused"])


def test_a_source_that_was_repaired(terminal: Terminal, lamp: Path) -> None:
    """Units that were refused, and can be imported now, do not come into the batch without them, but into another."""
    source = write_admin_batch(Path(), CA, nodes())
    image = _image(source, 2)
    image.rename("away.bin")
    assert document(terminal, source, "--skip-refused")["size"] == 2
    Path("away.bin").rename(image)
    imported(terminal, source).refused(3, "batch old has 2 units of this source, and 3 can be imported now", "--batch")
    said = json.loads(terminal.well("-C", lamp, "import", source, "--batch", "rest", "--skip-refused", "--json"))
    assert (said["size"], len(said["refused"])) == (1, 2)


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode())


def _image(source: Path, number: int) -> Path:
    return source / "bin" / f"node-00000{number}-node-{number}.bin"


def _outside(source: Path) -> None:
    _edit(source / "common/values.csv", f"{_details(2)}/node.key", "../../../../secret.key")
    Path("secret.key").write_bytes(traditional(ec.generate_private_key(ec.SECP256R1())))


def _details(number: int) -> str:
    return f"out/2026-01-31/Mfg-000001/node_details/node-00000{number}-node-{number}"


def _link_outside(source: Path) -> None:
    Path("secret.key").write_bytes(traditional(ec.generate_private_key(ec.SECP256R1())))
    key = Path(_details(2)) / "node.key"
    key.unlink()
    key.symlink_to(Path("secret.key").absolute())


def _link_image(source: Path) -> None:
    _image(source, 2).rename("elsewhere.bin")
    _image(source, 2).symlink_to(Path("elsewhere.bin").absolute())


def _swap_images(source: Path) -> None:
    first, second = _image(source, 1).read_bytes(), _image(source, 2).read_bytes()
    _image(source, 1).write_bytes(second)
    _image(source, 2).write_bytes(first)


def _other_random(source: Path) -> None:
    line = (source / "common/values.csv").read_text().splitlines()[2]
    random = line.split(",")[6]
    _edit(source / "common/values.csv", random, "ab" * 64)


def _twice(source: Path) -> None:
    (source / "bin" / "copy.bin").write_bytes(_image(source, 2).read_bytes())


def _registered_otherwise(source: Path) -> None:
    ours = Path(_details(2), "node.crt").read_text()
    _edit(source / "common/node_certs.csv", ours, Path(_details(1), "node.crt").read_text())


def _broken_image(source: Path) -> None:
    data = bytearray(_image(source, 2).read_bytes())
    data[0x200] ^= 1
    _image(source, 2).write_bytes(data)


def _qr(source: Path) -> None:
    row = (source / "common/values.csv").read_text().splitlines()[2]
    name = row.split('""name"": ""')[1].split('"')[0]
    _edit(source / "common/values.csv", name, "PROV_000000")


BAD_FOLDERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "an image is missing": (lambda source: _image(source, 2).unlink(), "no image has node id node-2"),
    "an image is there twice": (_twice, "several images have the node id node-2: copy.bin"),
    "random differs from the image": (_other_random, "differ in rmaker_creds.random"),
    "a bit of an image": (_broken_image, "node-000002-node-2.bin"),
    "an empty image": (lambda source: _image(source, 2).write_bytes(b""), "wrong size of an NVS image: 0 bytes"),
    "a link as image": (_link_image, "not a regular file in this folder"),
    "a path that leaves the folder": (_outside, "is outside of the folder"),
    "a link that leaves the folder": (_link_outside, "is outside of the folder"),
    "a missing key file": (lambda _: Path(_details(2), "node.key").unlink(), "cannot read this file"),
    "registered otherwise": (_registered_otherwise, "of node_certs.csv has a different certificate for node node-2"),
    "a QR code of a different unit": (_qr, "the QR code has a different name"),
}


@pytest.mark.parametrize("name", BAD_FOLDERS)
def test_bad_folders(terminal: Terminal, lamp: Path, name: str) -> None:
    """A unit that files of the folder contradict is refused with its place; nothing is imported."""
    source = write_admin_batch(Path(), CA, nodes())
    change, words = BAD_FOLDERS[name]
    change(source)
    imported(terminal, source).refused(3, words, "units are refused, and nothing was imported")
    assert not (lamp / "ledger.db").exists()


def test_names_that_are_not_text(terminal: Terminal, lamp: Path) -> None:
    """Images and folders may have names that are not UTF-8."""
    source = write_admin_batch(Path(), CA, nodes())
    _image(source, 2).rename(os.fsdecode(b"out/\xff.bin"))
    Path(os.fsdecode(b"out/\xff.bin")).rename(source / "bin" / os.fsdecode(b"\xff.bin"))
    there = source.rename(os.fsdecode(b"\xfe"))
    assert imported(terminal, there).code == 0
    said = terminal("-C", "lamp", "import", there, "--batch", "new")
    said.refused(3, "is already in batch old", "3 of 3")


def test_swapped_images_are_no_matter(terminal: Terminal, lamp: Path) -> None:
    """An image belongs to the row whose node id it contains, whatever its file is called."""
    source = write_admin_batch(Path(), CA, nodes())
    _swap_images(source)
    assert imported(terminal, source).code == 0


BAD_SHEETS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no images": (lambda source: (source / "bin").rename("bin"), "there is no folder bin"),
    "a ragged row": (lambda source: _edit(source / "common/values.csv", "2,node-2,", "2,node-2,,"), "cells"),
    "not UTF-8": (lambda source: (source / "common/values.csv").write_bytes(b"id,node_id\n1,\xff\n"), "is not UTF-8"),
    "a huge field": (
        lambda source: _edit(source / "common/values.csv", "node-2", "x" * 200_000), "field larger than field limit"
    ),
    "NUL in a cell": (lambda source: _edit(source / "common/values.csv", "/node.key", "/node\0.key"), "NUL"),
    "no header": (lambda source: (source / "common/values.csv").write_bytes(b""), "the values file is empty"),
    "a link as CSV": (
        lambda source: ((source / "common/values.csv").rename("v.csv"),
                        (source / "common/values.csv").symlink_to(Path("v.csv").absolute())),
        "a link to a file outside",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_SHEETS)
def test_bad_sheets(terminal: Terminal, lamp: Path, name: str) -> None:
    """A source that cannot be read as a whole is refused with the file and the line, not with a traceback."""
    source = write_admin_batch(Path(), CA, nodes())
    change, words = BAD_SHEETS[name]
    change(source)
    imported(terminal, source).refused(3, words)


def test_no_source(terminal: Terminal, lamp: Path) -> None:
    """A folder that contains no batch is refused with what was looked for; one with several names one of them."""
    Path("empty").mkdir()
    imported(terminal, Path("empty")).refused(3, "there is no batch in this folder", "common/values.csv", "node_info")
    imported(terminal, Path("none")).refused(3, "SOURCE is not a folder")
    source = write_admin_batch(Path(), CA, nodes(1))
    Path("certs").mkdir()
    Path("certs/node_certs.csv").touch()
    imported(terminal, Path("certs")).refused(3, "node_certs.csv alone has no keys")
    imported(terminal, source.parent).refused(3, "contains batches", "Mfg-000001")


def test_what_the_ledger_has(terminal: Terminal, lamp: Path) -> None:
    """A unit that the ledger has already is refused by its name, and the batch that has it."""
    made = nodes()
    source = write_admin_batch(Path(), CA, made[:2])
    document(terminal, source)
    Path("out").rename("before")
    other = draw_node(CA, "node-9")
    other.random = made[0].random[:8] + other.random[8:]
    source = write_admin_batch(Path(), CA, [made[1], made[2], other])
    said = terminal("-C", "lamp", "import", source, "--batch", "new")
    said.refused(3, 'node id "node-2" is already in batch old', "the PoP is already in batch old", "2 of 3")
    assert made[0].random[:8] not in said.err
    imported(terminal, source).refused(3, "batch old already exists, and is not from this source")
    terminal.well("-C", "lamp", "import", source, "--batch", "new", "--skip-refused")


def test_no_secret_is_left_behind(terminal: Terminal, lamp: Path) -> None:
    """No file of the workspace contains a private key, a PoP or `random` in the clear."""
    made = nodes()
    document(terminal, write_admin_batch(Path(), CA, made))
    for path, data in files(lamp).items():
        for node in made:
            for secret in (bytes.fromhex(node.random), node.random.encode(), node.key, node.random[:8].encode()):
                assert secret not in data, path


@pytest.mark.slow
def test_the_line_works_on_imported_units(terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Imported units are labelled, run on a virtual board and verified as ours."""
    root = found(tmp_path / "lamp", units=1).root
    monkeypatch.chdir(tmp_path)
    source = write_admin_batch(Path(), CA, nodes(2))
    terminal.well("-C", root, "import", source, "--batch", "old")
    terminal.well("-C", root, "label", "old", "-o", "labels.pdf")
    with serve([spec()]) as (board,):
        terminal.well("-C", root, "run", "--batch", "old", *ports(board.url))
        terminal.well("-C", root, "verify", *ports(board.url, command="verify"))
    assert [state for _, state in states(root)] == [State.VERIFIED, State.GENERATED]


@pytest.mark.slow
def test_a_shipped_board_comes_back(terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A board that was shipped with an identity imported as flashed keeps it on the line; a blank one gets none."""
    root = found(tmp_path / "lamp", units=1).root
    monkeypatch.chdir(tmp_path)
    source = write_admin_batch(Path(), CA, nodes(2))
    terminal.well("-C", root, "import", source, "--batch", "old", "--flashed")
    flash = bytearray(b"\xff" * (FCTRY + 0x6000))
    image = _image(source, 2).read_bytes()
    flash[FCTRY : FCTRY + len(image)] = image
    (tmp_path / "flash.bin").write_bytes(flash)
    with serve([spec(flash_file=tmp_path / "flash.bin"), spec(index=1)]) as (shipped, blank):
        terminal.well("-C", root, "run", "--batch", "old", *ports(shipped.url))
        terminal("-C", root, "run", "--batch", "old", *ports(blank.url)).refused(3, "batch old is used up")
    assert states(root) == [("node-1", State.QUARANTINED), ("node-2", State.VERIFIED)]


def states(root: Path) -> list[tuple[str | None, State]]:
    """Return node id and state of each identity of the batch `old`."""
    with closing(open_workspace(root).ledger) as ledger:
        return [(one.node_id, one.state) for one in ledger.identities("old")]


def test_serials_that_come_with_the_board(terminal: Terminal, opened: Callable[[], Workspace]) -> None:
    """A product whose serials come with the board imports units without serials, and refuses a source with them."""
    product = Path("lamp/product.toml")
    product.write_text(product.read_text().replace("LMP-{n:06d}", "LMP-{mac}"))
    made = [replace(node, extra=(f"SN-{number}",)) for number, node in enumerate(nodes(2))]
    source = write_admin_batch(Path(), CA, made, extra_names=("serial",))
    imported(terminal, source).refused(3, "the source has serials", "LMP-{mac}")
    _edit(source / "common/values.csv", ",serial\n", ",s_no\n")
    document(terminal, source)
    assert [one.name for one in opened().ledger.identities("old")] == ["old#1", "old#2"]
