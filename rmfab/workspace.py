"""The workspace: the folder with product.toml, and what commands open in it.

product.toml   what is made; committed             ledger.db     identities, units, events
station.toml   this host's slots                   keys/         station.key, unique.key (0600)
ca/            ca.crt, ca.key (0600)               logs/         console logs, without secrets
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rmfab.errors import InputError, LedgerError, StationError
from rmfab.files import make_folder, read_input, shipped, write_file
from rmfab.product.product import MQTT_HOST_PLACEHOLDER, Product
from rmfab.product.product_file import FILE_NAME, load_product, parse_product
from rmfab.product.vocabulary import Chip, Credentials
from rmfab.secret import Secret

if TYPE_CHECKING:
    from rmfab.identity.identity import Identity
    from rmfab.identity.sealing import StationKey
    from rmfab.ledger.records import LedgerIdentity
    from rmfab.ledger.store import Ledger
    from rmfab.line.station import Station
    from rmfab.signing.trust import Trust

ENVIRONMENT = "RMFAB_WORKSPACE"
STATION_ENVIRONMENT = "RMFAB_STATION"
LEDGER_ENVIRONMENT = "RMFAB_LEDGER"
UNIQUE_KEY_BYTES = 32


def find_workspace(folder: Path | None) -> Path:
    """The folder of the nearest product.toml: in *folder*, in RMFAB_WORKSPACE, or upward from here.

    Raises InputError where there is none.
    """
    chosen = folder or (Path(os.environ[ENVIRONMENT]) if os.environ.get(ENVIRONMENT) else None)
    if chosen is not None:
        if (chosen / FILE_NAME).is_file():
            return chosen.resolve()
        raise InputError(f"there is no {FILE_NAME} here", where=str(chosen), hint="`rmfab init DIR` makes a workspace")
    try:
        here = Path.cwd()
    except OSError as error:
        raise InputError(f"the current folder is gone: {error.strerror}", hint="-C DIR chooses a workspace") from error
    for place in (here, *here.parents):
        if (place / FILE_NAME).is_file():
            return place
    raise InputError(
        f"there is no {FILE_NAME} here or above",
        where=str(here),
        hint="`rmfab init DIR` makes a workspace; -C DIR chooses one",
        cause="no-workspace",
    )


def open_workspace(folder: Path | None) -> Workspace:
    """The workspace with its product read. Raises InputError."""
    root = find_workspace(folder)
    return Workspace(root, load_product(root / FILE_NAME))


def now() -> datetime:
    """The host's clock, in UTC."""
    return datetime.now(UTC)


class Workspace:
    """What the commands share. Everything but the product is opened when it is first asked for."""

    def __init__(self, root: Path, product: Product) -> None:
        self.root = root
        self.product = product
        self._data_keys: dict[int, Secret[bytes]] = {}

    @property
    def ca_folder(self) -> Path:
        """Where the CA lies."""
        return self.root / "ca"

    @property
    def keys_folder(self) -> Path:
        """Where the station's keys lie."""
        return self.root / "keys"

    @property
    def logs_folder(self) -> Path:
        """Where console logs are kept; made when asked for."""
        return make_folder(self.root / "logs", secret=True)

    @property
    def ledger_path(self) -> Path | str:
        """The ledger: RMFAB_LEDGER, or `ledger.db` in the workspace."""
        return os.environ.get(LEDGER_ENVIRONMENT) or self.root / "ledger.db"

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger. Raises LedgerError, also where there is none: only `make_ledger` begins one."""
        from rmfab.ledger.store import Ledger

        location = _as_path(self.ledger_path)
        if isinstance(location, Path) and not location.exists():
            raise LedgerError(
                "there is no ledger here",
                where=str(location),
                hint=f"`rmfab generate` begins one with the first batch; {LEDGER_ENVIRONMENT} names another",
                cause="ledger-missing",
            )
        return Ledger.open(location, create=False)

    @property
    def has_ledger(self) -> bool:
        """Whether a ledger was begun; a database elsewhere is taken to be."""
        location = _as_path(self.ledger_path)
        return not isinstance(location, Path) or (location.exists() and location.stat().st_size > 0)

    def make_ledger(self) -> bool:
        """Begins a ledger where there is none, for the first batch; returns whether it did. Raises LedgerError."""
        from rmfab.ledger.store import Ledger

        location = _as_path(self.ledger_path)
        if self.has_ledger:
            return False
        Ledger.open(location, create=True).close()
        return True

    @cached_property
    def station(self) -> Station:
        """station.toml: RMFAB_STATION, the workspace's, or the user's; a nameless one where there is none."""
        from rmfab.line import station

        given = os.environ.get(STATION_ENVIRONMENT)
        user = Path.home() / ".config" / "rmfab" / station.FILE_NAME
        places = [Path(given)] if given else [self.root / station.FILE_NAME, user]
        for place in places:
            if given or place.is_file():
                return station.load_station(place)
        return station.host_station()

    @cached_property
    def station_key(self) -> StationKey:
        """The key by which this host opens sealed identities. Raises StationError where it has none."""
        from rmfab.identity.sealing import load_station_key

        path = self.keys_folder / "station.key"
        if not path.exists():
            raise StationError(
                "this host has no station key, so that it can open no identity",
                where=str(path),
                hint="`rmfab station key` makes one; a station that has one admits it: `rmfab station admit RECIPIENT`",
                cause="no-station-key",
            )
        return load_station_key(path)

    @property
    def unique_key(self) -> Secret[bytes]:
        """The key under which PoPs are compared; only where identities are made. Raises InputError."""
        path = self.keys_folder / "unique.key"
        if not path.exists():
            raise InputError(
                "the workspace's uniqueness key is not here: without it no PoP can be compared",
                where=str(path),
                hint="identities are made where the workspace was made; bring keys/unique.key from there",
                cause="no-unique-key",
            )
        data = read_input(path, "uniqueness key").strip()
        try:
            key = bytes.fromhex(data.decode("ascii"))
        except ValueError:
            key = b""
        if len(key) != UNIQUE_KEY_BYTES:
            raise InputError("this is no uniqueness key of rmfab", where=str(path))
        return Secret(key)

    def open_identity(self, bound: LedgerIdentity) -> Identity:
        """The identity behind a record of the ledger, opened with this station's key.

        Raises StationError where the station was not admitted, IntegrityError where the record was changed, and
        InputError where product.toml no longer says what the batch was made for.
        """
        from rmfab.identity.make_identities import open_identity
        from rmfab.identity.sealing import unwrap

        self.check_policy(bound.batch)
        key = self._data_keys.get(bound.chunk)
        if key is None:
            key = self._data_keys[bound.chunk] = unwrap(self.ledger.wrapped_key(bound.chunk), self.station_key)
        return open_identity(bound.record, key, self.ledger.id, bound.batch)

    def check_key(self, batch: str) -> None:
        """Raises StationError where this station cannot open the identities of *batch*: none is given in vain."""
        from rmfab.identity.sealing import unwrap

        for chunk in self.ledger.chunks(batch):
            self._data_keys[chunk.id] = unwrap(chunk.wrapped_key, self.station_key)
            return

    def check_policy(self, batch: str) -> None:
        """Raises InputError where product.toml and what *batch* was made for differ, naming the keys."""
        from rmfab.identity.policy import differences

        if batch not in self._checked:
            odd = differences(self.ledger.batch(batch).policy, self.product)
            if odd:
                raise InputError(
                    f"batch {batch} was made for another product.toml: {', '.join(odd)}",
                    where=FILE_NAME,
                    hint="put the old values back, or make a new batch for the new ones",
                    cause="policy-mismatch",
                )
            self._checked.add(batch)

    @cached_property
    def _checked(self) -> set[str]:
        return set()

    def release_path(self, given: Path | None) -> Path:
        """The release of --release or of product.toml. Raises InputError where neither names one."""
        path = given or self.product.release.path
        if path is None:
            raise InputError(
                "no release given", hint=f"--release FILE or build folder, or path in {FILE_NAME} ([release])"
            )
        return path

    @property
    def trust_path(self) -> Path:
        """Where this host keeps whom it trusts; changed by `rmfab trust` only."""
        return self.keys_folder / "trust.json"

    @property
    def trust(self) -> Trust | None:
        """Whom this host trusts, None where nobody was named yet. Raises InputError and IntegrityError."""
        from rmfab.signing.trust import load_trust

        there = self.trust_path.exists() or self.trust_path.is_symlink()  # one that leads nowhere is not "nobody"
        return load_trust(self.trust_path)[1] if there else None


def _as_path(location: Path | str) -> Path | str:
    return location if "://" in str(location) else Path(location)


def batch_prefix(product: str) -> str:
    """What the batches of *product* are called before their number: its name as a file name, at most 50 characters."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", product).strip("-").lower()[:50].strip("-")
    return slug or "batch"


def make_keys(folder: Path, source: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """Makes the station's key and the uniqueness key in *folder*, where they are missing; returns the recipient."""
    from rmfab.identity.sealing import create_station_key, load_station_key

    make_folder(folder, secret=True)
    station = folder / "station.key"
    key = load_station_key(station) if station.exists() else create_station_key(station)
    unique = folder / "unique.key"
    if not unique.exists():
        write_file(unique, source(UNIQUE_KEY_BYTES).hex().encode() + b"\n", secret=True)
    return key.recipient


def fingerprint(key: Secret[bytes]) -> str:
    """What the ledger keeps of the uniqueness key, to refuse another one: 16 bytes of its SHA-256, in hex."""
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
    """Makes the workspace *folder*; one of the same product that is there already is left as it is.

    Raises InputError, before anything is written, where an argument cannot stand in product.toml.
    """
    name = name or folder.resolve().name
    if name != name.encode("utf-8", "replace").decode():
        raise InputError(
            "this name is no text in UTF-8",
            where=repr(name),
            hint="--name NAME, or a locale that knows its letters (LC_ALL=C.UTF-8)",
        )
    text = shipped("templates", FILE_NAME).read_text(encoding="utf-8")
    values = {
        "NAME": name,
        "CHIP": chip.value,
        "SERIAL": serial or _serial_pattern(name),
        "CREDENTIALS": credentials.value,
        "MQTT_HOST": mqtt_host or MQTT_HOST_PLACEHOLDER,
        "MQTT_NOTE": "" if mqtt_host or credentials is Credentials.CLAIM else "   # your deployment's host; required",
        "RECIPIENT_NAME": _bare_key(socket.gethostname().split(".")[0]),
    }
    text = re.sub("@(\\w+)@", lambda match: _escaped(values.get(match[1], match[0])), text)
    parse_product(text.replace("@RECIPIENT@", _NOBODY), folder / FILE_NAME)
    if not force:
        _refuse_other(folder, text)
    make_folder(folder)
    recipient = make_keys(folder / "keys")
    write_file(folder / FILE_NAME, text.replace("@RECIPIENT@", recipient).encode(), force=force)
    make_folder(folder / "csv")
    for sample in ("config.csv", "values.csv"):
        if not (folder / "csv" / sample).exists():
            write_file(folder / "csv" / sample, shipped("csv", sample).read_bytes())
    if not (folder / ".gitignore").exists():
        write_file(folder / ".gitignore", _GITIGNORE.encode())
    return open_workspace(folder)


def _refuse_other(folder: Path, text: str) -> None:
    """Raises InputError where *folder* is a workspace already, and not the one that *text* would make."""
    there = folder / FILE_NAME
    if there.exists() and text.split("@RECIPIENT@")[0].encode() != read_input(there).split(b"age1")[0]:
        raise InputError(
            "there is a workspace already, with another product.toml",
            where=str(there),
            hint="edit it; `rmfab station key` makes the keys of this host; --force replaces the file",
            cause="exists",
        )


_NOBODY = "age1" + "q" * 58
_GITIGNORE = """# secret, or of this host only
/keys/
*.key
/ledger.db*
/logs/
/station.toml
/out/
/images/
/boards/
/labels*
"""


def _escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1].replace("\x7f", "\\u007f")  # what TOML escapes, JSON does so too


def _bare_key(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", text) or "station"


def _serial_pattern(name: str) -> str:
    letters = [char for char in name.upper() if char.isascii() and char.isalnum()]
    consonants = [char for char in letters if char not in "AEIOU"]
    stem = "".join((consonants if len(consonants) >= 3 else letters)[:3]) or "SN"
    return f"{stem}-{{n:06d}}"


def admit(product_toml: Path, name: str, recipient: str) -> None:
    """Adds *recipient* to the table `[recipients]` of *product_toml*, keeping every other byte. Raises InputError."""
    known = load_product(product_toml).recipients
    key = _bare_key(name)
    if key in known:
        raise InputError(
            f'there is another recipient called "{key}"', where=f"{FILE_NAME}: [recipients]", hint="--name NAME"
        )
    lines = read_input(product_toml, "product").splitlines(keepends=True)
    end = b"\r\n" if lines[0].endswith(b"\r\n") else b"\n"
    line = f'{key} = "{recipient}"'.encode() + end
    at = next((i for i, row in enumerate(lines) if row.split(b"#")[0].strip() == b"[recipients]"), None)
    if not lines[-1].endswith(b"\n"):
        lines[-1] += end
    if at is None:
        lines += [end, b"[recipients]" + end, line]
    else:
        lines.insert(at + 1, line)
    changed = b"".join(lines)
    parse_product(changed.decode("utf-8-sig"), product_toml)
    write_file(product_toml, changed, force=True)
