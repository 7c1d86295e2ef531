"""The workspace: the folder with product.toml, and what commands open in it.

product.toml   what is made; committed             ledger.db     identities, units, events
station.toml   this host's slots                   keys/         station.key, unique.key (0600)
ca/            ca.crt, ca.key (0600)               logs/         console logs, without secrets
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rmfab.errors import InputError, LedgerError, StationError
from rmfab.files import make_folder, read_input
from rmfab.product.product import Product
from rmfab.product.product_file import FILE_NAME, load_product
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


def open_workspace(folder: Path | None = None) -> Workspace:
    """The workspace with its product read. Raises InputError."""
    root = find_workspace(folder)
    return Workspace(root, load_product(root / FILE_NAME), now)


def nearest_workspace(folder: Path | None) -> Workspace | None:
    """As `open_workspace`; None if no workspace is named and none is here or above."""
    try:
        return open_workspace(folder)
    except InputError as error:
        if error.cause == "no-workspace":
            return None
        raise


def now() -> datetime:
    """The host's clock, in UTC."""
    return datetime.now(UTC)


class Workspace:
    """What operations share. Everything but the product is opened when it is first asked for; *now* is the clock."""

    def __init__(self, root: Path, product: Product, now: Callable[[], datetime] = now) -> None:
        self.root = root
        self.product = product
        self.now = now
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
