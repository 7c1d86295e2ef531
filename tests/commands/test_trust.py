"""Tests of `rmfab trust`: a trust file is created, changed, handed over, and never accepted from strangers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rmfab.errors import InputError
from rmfab.signing.publickey import load_public_key
from rmfab.signing.trust import Role, TrustedKey
from tests.terminal import Terminal, dialogue, files, process


@pytest.fixture
def owner(terminal: Terminal) -> Path:
    """The owner's workspace, and the keys a, b, c beside it."""
    for name in ("a", "b", "c"):
        terminal.well("release", "keygen", "-o", f"{name}.key", "--no-passphrase")
    terminal.well("init", "owner", "--cloud-claim")
    terminal.well("init", "station", "--cloud-claim")
    return terminal.folder / "owner"


def _trust(terminal: Terminal, *words: str, where: str = "owner"):
    return terminal("-C", where, "trust", *words)


def test_the_first_key_begins_an_unsigned_file_and_says_so(terminal: Terminal, owner: Path):
    """The first key of a new trust file needs no signature; the next change does."""
    said = _trust(terminal, "add", "a.pub", "--role", "release")
    assert said.code == 0
    assert "this first trust file is not signed" in said.err
    before = files(owner)
    _trust(terminal, "add", "b.pub", "--role", "release").refused(
        3, "a change of the trust file must be signed", "--key URI: 1 of a ("
    )
    assert files(owner) == before
    assert _trust(terminal, "add", "b.pub", "--role", "release", "--key", "file:a.key").code == 0
    assert _trust(terminal, "add", "b.pub", "--role", "release").err.startswith("rmfab: nothing to do")


def test_only_a_keeper_changes_it(terminal: Terminal, owner: Path):
    """A key that is not in the file cannot add itself."""
    _trust(terminal, "add", "a.pub", "--role", "release")
    before = files(owner)
    _trust(terminal, "add", "b.pub", "--role", "release", "--key", "file:b.key").refused(
        5, "unknown key", "may not sign the trust file"
    )
    assert files(owner) == before


def test_list(terminal: Terminal, owner: Path):
    """`list` prints the keys with their roles and dates; with --json, the whole document."""
    _trust(terminal, "list").refused(3, "no trust file yet")
    _trust(terminal, "add", "a.pub", "--role", "release", "--valid-until", "2099-01-01", "--key", "file:a.key")
    _trust(terminal, "add", "b.pub", "--role", "ca", "--role", "station", "--name", "plant-7", "--key", "file:a.key")
    out = terminal.well("-C", "owner", "trust", "list")
    assert "signed by    a (" in out
    assert "valid until 2099-01-01" in out
    assert "plant-7" in out
    assert "ca,station" in out
    document = json.loads(terminal.well("-C", "owner", "trust", "list", "--json"))
    assert {one["name"]: one["roles"] for one in document["keys"]} == {"a": ["release"], "plant-7": ["ca", "station"]}
    assert document["signed_by"] == [load_public_key(Path("a.pub")).id]


def test_remove(terminal: Terminal, owner: Path):
    """A removed key is revoked, with its reason, and cannot be added again; the last keeper cannot be removed."""
    _trust(terminal, "add", "a.pub", "--role", "release")
    _trust(terminal, "remove", "a", "--key", "file:a.key").refused(3, "no key would remain")
    _trust(terminal, "add", "b.pub", "--role", "release", "--key", "file:a.key")
    assert _trust(terminal, "remove", "a", "--reason", "leaked", "--key", "file:b.key").code == 0
    assert ": leaked" in terminal.well("-C", "owner", "trust", "list")
    _trust(terminal, "add", "a.pub", "--role", "release", "--key", "file:b.key").refused(3, "cannot be trusted again")
    _trust(terminal, "remove", "nobody", "--key", "file:b.key").refused(3, 'no single key matches "nobody"', "b (")


def test_remove_the_last_key_that_signs_releases(terminal: Terminal, owner: Path):
    """A warning says if too few keys are left to sign a release, in force or proposed; before that, there is none."""
    _trust(terminal, "add", "a.pub", "--role", "trust")
    _trust(terminal, "add", "b.pub", "--role", "release", "--key", "a.key")
    _trust(terminal, "add", "c.pub", "--role", "release", "--threshold", "2", "--key", "a.key")
    proposed = _trust(terminal, "remove", "c", "--threshold", "1", "--key", "a.key", "-o", "change.json")
    assert "stations accept" not in proposed.err
    assert "stations accept" not in _trust(terminal, "remove", "c", "--threshold", "1", "--key", "a.key").err
    for output in (("-o", "last.json"), ()):
        said = _trust(terminal, "remove", "b", "--key", "a.key", *output)
        assert said.code == 0
        assert "no key of the role release is left: stations accept no release" in said.err


def test_json_on_a_stdout_of_few_letters(terminal: Terminal, owner: Path):
    """Characters that the encoding lacks are escaped as in JSON, and read back."""
    _trust(terminal, "add", "a.pub", "--role", "release")
    _trust(terminal, "add", "b.pub", "--role", "release", "--key", "file:a.key")
    _trust(terminal, "remove", "b", "--reason", "gest\u00f6rt", "--key", "file:a.key")
    few = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C.UTF-8"}
    for where, reason in (("owner", "gest\u00f6rt"), ("d\u00e4h", None)):
        said = process("-C", where, "trust", "list", "--json", cwd=terminal.folder, **few)
        told = json.loads(said.out)
        if reason:
            assert [one["reason"] for one in told["keys"] if "reason" in one] == [reason]
        else:
            assert told["errors"][0]["where"] == where


def test_a_later_version_replaces_an_earlier_export(terminal: Terminal, owner: Path):
    """Export may replace an earlier version; a different owner's trust file, or any other file, is kept."""
    _trust(terminal, "add", "a.pub", "--role", "release", "--name", "desk")
    terminal.well("-C", "owner", "trust", "export", "-o", "t.json")
    _trust(terminal, "add", "a.pub", "--role", "ca", "--key", "file:a.key")
    terminal.well("-C", "owner", "trust", "export", "-o", "t.json")
    told = json.loads(terminal.well("trust", "list", "t.json", "--json"))
    assert (told["version"], told["keys"][0]["name"]) == (2, "desk")
    _trust(terminal, "add", "b.pub", "--role", "release", where="station")
    for name in ("t.json", "a.pub"):
        _trust(terminal, "export", "-o", name, where="station").refused(3, "different content", "--force")


def test_the_first_import_is_by_fingerprint(terminal: Terminal, owner: Path):
    """Without a fingerprint, or with a wrong one, nothing is accepted; upper case and blanks do not matter."""
    _trust(terminal, "add", "a.pub", "--role", "release", "--key", "file:a.key")
    fingerprint = terminal.well("-C", "owner", "trust", "export", "-o", "t.json").strip()
    station = terminal.folder / "station"
    before = files(station)
    _trust(terminal, "import", "t.json", where="station").refused(3, "no terminal to ask on", "--fingerprint")
    for wrong in ("", fingerprint[:-1], fingerprint[:-1] + ("0" if fingerprint[-1] != "0" else "1"), "0" * 32):
        said = _trust(terminal, "import", "t.json", "--fingerprint", wrong or "-", where="station")
        said.refused(5, "fingerprint does not match this trust file")
    assert files(station) == before
    spoken = fingerprint.upper().replace("-", " ")
    assert _trust(terminal, "import", "t.json", "--fingerprint", spoken, where="station").code == 0
    again = _trust(terminal, "import", "t.json", "--fingerprint", "1111-2222", where="station")
    again.refused(5, "fingerprint does not match this trust file")
    assert _trust(terminal, "import", "t.json", where="station").err.endswith("already in force\n")


def test_the_fingerprint_is_asked_for_on_a_terminal(terminal: Terminal, owner: Path):
    """The operator types the fingerprint; it is not printed before."""
    _trust(terminal, "add", "a.pub", "--role", "release", "--key", "file:a.key")
    fingerprint = terminal.well("-C", "owner", "trust", "export", "-o", "t.json").strip()
    answers = [("Fingerprint", fingerprint)]
    code, said = dialogue("-C", "station", "trust", "import", "t.json", cwd=terminal.folder, answers=answers)
    assert code == 0, said
    assert fingerprint not in said.partition("Fingerprint")[0]
    assert "fingerprint" in terminal.well("-C", "station", "trust", "list")


def test_a_later_import_is_by_signature(terminal: Terminal, owner: Path):
    """A later version is accepted if keepers of the previous one signed it; a stranger's and an older one are not."""
    _trust(terminal, "add", "a.pub", "--role", "release", "--key", "file:a.key")
    fingerprint = terminal.well("-C", "owner", "trust", "export", "-o", "1.json").strip()
    terminal.well("-C", "station", "trust", "import", "1.json", "--fingerprint", fingerprint)
    _trust(terminal, "add", "b.pub", "--role", "release", "--key", "file:a.key")
    terminal.well("-C", "owner", "trust", "export", "-o", "2.json")
    said = _trust(terminal, "import", "2.json", where="station")
    assert "signed by a (" in said.err
    _trust(terminal, "import", "1.json", where="station").refused(5, "an older version 1; version 2 is in force")
    terminal.well("init", "stranger", "--cloud-claim")
    for key in ("c", "b", "a"):
        terminal.well("-C", "stranger", "trust", "add", f"{key}.pub", "--role", "release", "--key", "file:c.key")
    terminal.well("-C", "stranger", "trust", "export", "-o", "s.json")
    said = _trust(terminal, "import", "s.json", where="station")
    said.refused(5, "not signed by the keepers of version 2", "a (", "b (")


def test_files_that_are_no_trust_file(terminal: Terminal, owner: Path):
    """A missing, a wrong and an altered file are rejected with their path, and the trust in force stays."""
    _trust(terminal, "add", "a.pub", "--role", "release", "--key", "file:a.key")
    terminal.well("-C", "owner", "trust", "export", "-o", "t.json")
    before = files(owner)
    _trust(terminal, "import", "nowhere.json").refused(3, "nowhere.json")
    _trust(terminal, "import", "a.pub").refused(3, "not a trust file")
    data = bytearray(Path("t.json").read_bytes())
    data[3] ^= 1
    Path("t.json").write_bytes(data)
    _trust(terminal, "import", "t.json").refused(5, "altered or damaged")
    _trust(terminal, "add", "a.key", "--role", "release").refused(3, "contains a private key")
    assert files(owner) == before


def test_a_change_that_another_command_was_faster_with(terminal: Terminal, owner: Path):
    """A change is not written if the trust in force has changed since it was judged: what was revoked stays revoked."""
    from rmfab.operations.change_trust import put_in_force
    from rmfab.signing.signer import open_signer
    from rmfab.workspace.workspace import now, open_workspace

    for name in ("a", "b"):
        _trust(terminal, "add", f"{name}.pub", "--role", "release", "--key", "file:a.key")
    workspace = open_workspace(owner)
    old = workspace.trust
    _trust(terminal, "remove", "b", "--key", "file:a.key")
    before = files(owner)
    signer = open_signer("file:a.key", lambda _: None, {})
    later = old.adding(TrustedKey(load_public_key(Path("c.pub")), "c", (Role.CA,)), now())
    later = replace(later, version=9)
    with pytest.raises(InputError, match="has just changed the trust file"):
        put_in_force(workspace, old, later, [signer])
    assert files(owner) == before


def test_two_keepers_who_do_not_meet(terminal: Terminal, owner: Path):
    """One keeper proposes, a second reviews and signs, anyone imports it; with half the signatures nothing changes."""
    _trust(terminal, "add", "a.pub", "--role", "trust", "--key", "file:a.key")
    _trust(terminal, "add", "b.pub", "--role", "trust", "--threshold", "2", "--key", "file:a.key")
    fingerprint = terminal.well("-C", "owner", "trust", "export", "-o", "t.json").strip()
    terminal.well("-C", "station", "trust", "import", "t.json", "--fingerprint", fingerprint)
    before = files(owner)
    _trust(terminal, "add", "c.pub", "--role", "release", "--key", "file:a.key").refused(5, "2 of ", "--output FILE")
    said = _trust(terminal, "add", "c.pub", "--role", "release", "--key", "file:a.key", "-o", "change.json")
    assert said.code == 0
    assert "not yet in force, signed by a (" in said.err
    assert "2 keys of the role trust must sign: `rmfab trust sign change.json --key URI`" in said.err
    assert files(owner) == before
    _trust(terminal, "import", "change.json").refused(5, "not signed by the keepers of version 2")
    _trust(terminal, "sign", "change.json", "--key", "file:c.key", where="station").refused(5, "unknown key")
    said = _trust(terminal, "sign", "change.json", "--key", "file:b.key", where="station")
    assert said.code == 0
    assert "it adds c (" in said.err
    assert "enough signatures" in said.err
    for where in ("owner", "station"):
        assert "it adds c (" in _trust(terminal, "import", "change.json", where=where).err
    _trust(terminal, "remove", "c", "--key", "file:a.key", "-o", "next.json")
    Path("link.json").symlink_to("next.json")
    assert "enough signatures" in _trust(terminal, "sign", "link.json", "--key", "file:b.key").err
    assert Path("link.json").is_symlink()
    assert len(json.loads(Path("next.json").read_bytes())["signatures"]) == 2
    stale = ("remove", "c", "--key", "file:a.key", "-o", "change.json")
    said = _trust(terminal, *stale)
    said.refused(3, "already exists with different content", "not replaced")
    assert "--force" not in said.err
    assert (
        "version 3 of the trust file is already in force"
        in _trust(terminal, "sign", "change.json", "--key", "file:b.key").err
    )
    _trust(terminal, "add", "c.pub", "--role", "ca", "--key", "file:a.key", "-o", "late.json")
    _trust(terminal, "import", "next.json")
    said = _trust(terminal, "sign", "late.json", "--key", "file:b.key")
    said.refused(5, "a different version 4", "a different change was imported first")
    terminal.well("init", "fresh", "--cloud-claim")
    said = _trust(terminal, "add", "a.pub", "--role", "release", "-o", "x.json", where="fresh")
    said.refused(3, "no keeper who must sign")
    assert not Path("x.json").exists()


def test_the_last_trust_key_and_validity(terminal: Terminal, owner: Path):
    """The last keeper is not removed, as release keys would take over; an added role keeps a key's last day."""
    _trust(terminal, "add", "a.pub", "--role", "trust", "--valid-until", "2999-01-01", "--key", "file:a.key")
    _trust(terminal, "add", "b.pub", "--role", "release", "--key", "file:a.key")
    _trust(terminal, "remove", "a", "--key", "file:a.key").refused(3, "the last key of the role trust")
    _trust(terminal, "add", "a.pub", "--role", "station", "--key", "file:a.key")
    assert "valid until 2999-01-01" in terminal.well("-C", "owner", "trust", "list")
    _trust(terminal, "add", "c.pub", "--role", "ca", "--valid-until", "0001-01-01", "--key", "file:a.key")
    assert "expired 0001-01-01" in terminal.well("-C", "owner", "trust", "list")
    _trust(terminal, "remove", "b", "--reason", "two\nlines", "--key", "file:a.key").refused(3, "one line")


def test_unsigned_builds_are_mentioned(terminal: Terminal, owner: Path):
    """A warning is printed on add and import if product.toml weakens the trust file."""
    assert "allow_unsigned" in _trust(terminal, "add", "a.pub", "--role", "release", "--key", "file:a.key").err


def test_a_trust_file_in_force_that_was_altered(terminal: Terminal, owner: Path):
    """A trust file edited by hand is rejected wherever it is read."""
    _trust(terminal, "add", "a.pub", "--role", "release", "--key", "file:a.key")
    path = owner / "keys" / "trust.json"
    path.write_bytes(path.read_bytes().replace(b'"keyid"', b'"keyID"'))
    _trust(terminal, "list").refused(5, "altered or damaged")


def test_a_link_that_leads_nowhere_is_not_nobody(terminal: Terminal, owner: Path):
    """If the trust file exists and cannot be read, no new one is created."""
    (owner / "keys" / "trust.json").symlink_to("nowhere")
    _trust(terminal, "add", "a.pub", "--role", "release", "--key", "file:a.key").refused(
        3, "cannot read this trust file"
    )


def test_a_certificate_is_trusted_by_its_key(terminal: Terminal, owner: Path):
    """`trust add ca.crt --role ca` adds the public key of the certificate."""
    terminal.well("init", "maker", "--mqtt-host", "mqtt.example.org")
    terminal.well("-C", "maker", "ca", "create", "--no-passphrase")
    _trust(terminal, "add", "a.pub", "--role", "release", "--key", "file:a.key")
    assert _trust(terminal, "add", "maker/ca/ca.crt", "--role", "ca", "--key", "file:a.key").code == 0
    assert "ecdsa-p256  ca" in terminal.well("-C", "owner", "trust", "list")


def test_thresholds(terminal: Terminal, owner: Path):
    """After a threshold of two is set, two keys must sign the next change."""
    _trust(terminal, "add", "a.pub", "--role", "release", "--key", "file:a.key")
    command = ("add", "b.pub", "--role", "release", "--threshold", "2", "--key", "file:a.key")
    assert _trust(terminal, *command).code == 0
    command = ("add", "c.pub", "--role", "ca", "--key", "file:a.key")
    _trust(terminal, *command).refused(5, "not signed by the keepers")
    assert _trust(terminal, *command, "--key", "file:b.key").code == 0
    assert "2 keys of the role release must sign" in terminal.well("-C", "owner", "trust", "list")


def test_json_for_programs(terminal: Terminal, owner: Path):
    """Every change prints version and fingerprint as one JSON document; for a key, its id."""
    document = json.loads(terminal.well("release", "keygen", "-o", "j.key", "--no-passphrase", "--json"))
    assert document == {"id": load_public_key(Path("j.pub")).id, "kind": "ed25519", "public": "j.pub"}
    first = json.loads(terminal.well("-C", "owner", "trust", "add", "j.pub", "--role", "release", "--json"))
    assert first["version"] == 1
    exported = json.loads(terminal.well("-C", "owner", "trust", "export", "-o", "t.json", "--json"))
    assert exported == first
    imported = terminal.well(
        "-C", "station", "trust", "import", "t.json", "--fingerprint", first["fingerprint"], "--json"
    )
    assert json.loads(imported) == first
    terminal.well("-C", "owner", "trust", "add", "a.pub", "--role", "release", "--key", "file:j.key")
    removed = terminal.well("-C", "owner", "trust", "remove", "a", "--key", "file:j.key", "--json")
    assert json.loads(removed)["version"] == 3
