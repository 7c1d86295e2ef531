"""Create a workspace: product.toml from the template, the station's keys, sample CSVs."""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
from collections.abc import Callable
from pathlib import Path

from rmfab.errors import ComplaintsError, InputError, RmfabError, UsageError
from rmfab.files import make_folder, read_input, shipped, write_file
from rmfab.product.product import MQTT_HOST_PLACEHOLDER
from rmfab.product.product_file import FILE_NAME, parse_product
from rmfab.product.toml_reader import toml_value
from rmfab.product.vocabulary import Chip, Credentials
from rmfab.secret import Secret
from rmfab.workspace.gitignore import ignore_secrets
from rmfab.workspace.recipients import bare_key
from rmfab.workspace.workspace import UNIQUE_KEY_BYTES, Workspace, open_workspace


def batch_prefix(product: str) -> str:
    """Return the prefix of batch names of *product*: its name as a file name, at most 50 characters."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", product).strip("-").lower()[:50].strip("-")
    return slug or "batch"


def make_keys(folder: Path, source: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """Create the station key and the uniqueness key in *folder* if they are missing; return the recipient."""
    from rmfab.identity.sealing import create_station_key, load_station_key

    make_folder(folder, secret=True)
    station = folder / "station.key"
    key = load_station_key(station) if station.exists() else create_station_key(station)
    unique = folder / "unique.key"
    if not unique.exists():
        write_file(unique, source(UNIQUE_KEY_BYTES).hex().encode() + b"\n", secret=True)
    return key.recipient


def fingerprint(key: Secret[bytes]) -> str:
    """Return the fingerprint by which the ledger recognises its uniqueness key: 16 bytes of SHA-256, in hex."""
    return hashlib.sha256(b"rmfab unique key" + key.reveal()).hexdigest()[:32]


def create_workspace(
    folder: Path,
    *,
    chip: Chip,
    name: str | None,
    serial: str | None,
    mqtt_host: str | None,
    credentials: Credentials,
    force: bool,
) -> Workspace:
    """Create the workspace *folder*. An existing workspace of the same product stays as it is.

    Raise InputError, before anything is written, if an argument is not valid in product.toml.
    """
    if credentials is Credentials.CLOUD_CLAIM and mqtt_host:
        raise UsageError("--cloud-claim and --mqtt-host exclude each other: a unit gets its host by claiming")
    name = name or folder.resolve().name
    if name != name.encode("utf-8", "replace").decode():
        raise InputError(
            "the product name is not valid UTF-8",
            where=repr(name),
            hint="pass --name NAME, or use a UTF-8 locale (LC_ALL=C.UTF-8)",
        )
    text = shipped("templates", FILE_NAME).read_text(encoding="utf-8")
    values = {
        "NAME": name,
        "CHIP": chip.value,
        "SERIAL": serial or _serial_pattern(name),
        "CREDENTIALS": credentials.value,
        "MQTT_HOST": mqtt_host or MQTT_HOST_PLACEHOLDER,
        "MQTT_NOTE": ""
        if mqtt_host or credentials is Credentials.CLOUD_CLAIM
        else "   # your deployment's host; required",
        "RECIPIENT_NAME": bare_key(socket.gethostname().split(".")[0]),
    }
    text = re.sub("@(\\w+)@", lambda match: toml_value(values.get(match[1], match[0]))[1:-1], text)
    text = _TRAILING.sub(lambda match: f"{match[1]:<{_COMMENT_COLUMN}}{match[2]}", text)
    _judge(text.replace("@RECIPIENT@", _NOBODY), folder / FILE_NAME)
    if not force:
        _refuse_other(folder, text)
    make_folder(folder)
    recipient = make_keys(folder / "keys")
    write_file(folder / FILE_NAME, text.replace("@RECIPIENT@", recipient).encode(), force=force)
    make_folder(folder / "csv")
    for sample in ("config.csv", "values.csv"):
        if not (folder / "csv" / sample).exists():
            write_file(folder / "csv" / sample, shipped("csv", sample).read_bytes())
    ignore_secrets(folder)
    return open_workspace(folder)


_OPTIONS = {
    "[product] name": ("--name", "without --name it is the name of the folder"),
    "[product] serial": ("--serial", None),
    "[identity] mqtt_host": ("--mqtt-host", "for example mqtt.example.com"),
}
"""The options of `rmfab init` by the keys that they set, each with a hint."""


def _judge(text: str, path: Path) -> None:
    """Raise InputError if *text* is not a valid product.toml; it names the options, because there is no file yet."""
    try:
        parse_product(text, path)
    except InputError as error:
        raise ComplaintsError([_of_option(one) for one in error.complaints]) from error


def _of_option(complaint: RmfabError) -> InputError:
    where = complaint.where or ""
    option, hint = _OPTIONS.get(where.partition(": ")[2], (where, None))
    return InputError(complaint.what, where=option, hint=complaint.hint or hint, cause=complaint.cause)


def _refuse_other(folder: Path, text: str) -> None:
    """Raise InputError if *folder* is already a workspace, and not the one that *text* would make."""
    there = folder / FILE_NAME
    if there.exists() and text.split("@RECIPIENT@")[0].encode() != read_input(there).split(b"age1")[0]:
        raise InputError(
            "a workspace with a different product.toml already exists",
            where=str(there),
            hint="edit it (`rmfab station key` makes this host's keys), or pass --force to replace it",
            cause="exists",
        )


_TRAILING = re.compile(r'^(\w+ = "(?:[^"\\\n]|\\.)*" ) *(#.*)$', re.MULTILINE)
"""A key with a string and a comment: the comments of the template stand in one column."""
_COMMENT_COLUMN = 32
_NOBODY = "age1" + "q" * 58


def _serial_pattern(name: str) -> str:
    letters = [char for char in name.upper() if char.isascii() and char.isalnum()]
    consonants = [char for char in letters if char not in "AEIOU"]
    stem = "".join((consonants if len(consonants) >= 3 else letters)[:3]) or "SN"
    return f"{stem}-{{n:06d}}"
