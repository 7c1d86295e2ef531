"""The workspace: the folder with product.toml, and everything that commands open in it.

product.toml   the product; committed              ledger.db     identities, units, events
lease.db       identities for when the server      spool/        events that wait for the server
               of the ledger is away               keys/         station.key, signing.key, ledger.key, unique.key (0600)
station.toml   this host's slots
ca/            ca.crt, ca.key (0600)               logs/         console logs, without secrets
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rmfab.errors import InputError, LedgerError, RmfabError, StationError
from rmfab.files import home_folder, is_there, make_folder, near_file, read_input
from rmfab.privacy import login_name, refuse_loose
from rmfab.product.product import Product
from rmfab.product.product_file import FILE_NAME, load_product
from rmfab.product.vocabulary import Credentials
from rmfab.secret import Secret

if TYPE_CHECKING:
    from rmfab.identity.identity import Identity
    from rmfab.identity.sealing import StationKey
    from rmfab.ledger.badge import Badge
    from rmfab.ledger.host import PoolHost
    from rmfab.ledger.inquiry import Inquiry
    from rmfab.ledger.reader import LedgerReader
    from rmfab.ledger.records import LedgerIdentity
    from rmfab.ledger.store import Ledger
    from rmfab.line.station import Station
    from rmfab.signing.signer import KeySigner
    from rmfab.signing.trust import Trust

ENVIRONMENT = "RMFAB_WORKSPACE"
STATION_ENVIRONMENT = "RMFAB_STATION"
LEDGER_ENVIRONMENT = "RMFAB_LEDGER"
OPERATOR_ENVIRONMENT = "RMFAB_OPERATOR"
UNIQUE_KEY_BYTES = 32
STATION_FILE = "station.toml"
LEASE_FILE = "lease.db"
DEMO_MARKER = ".rmfab-demo"
"""The file that says that a folder is a demo."""


def find_workspace(folder: Path | None) -> Path:
    """Return the folder of product.toml: *folder*, RMFAB_WORKSPACE, or the current folder and its parents.

    Raise InputError if there is none.
    """
    chosen = folder or (Path(os.environ[ENVIRONMENT]) if os.environ.get(ENVIRONMENT) else None)
    if chosen is not None:
        if is_there(chosen / FILE_NAME):
            return chosen.resolve()
        if chosen.is_file():
            raise InputError("is a file, expected a folder", where=str(chosen), hint="name the folder of the workspace")
        hint = "`rmfab init DIR` makes a workspace"
        if not is_there(chosen):
            raise InputError("no such folder", where=str(chosen), hint=near_file(chosen) or hint)
        raise InputError(f"no {FILE_NAME} in this folder", where=str(chosen), hint=hint)
    try:
        here = Path.cwd()
    except OSError as error:
        raise InputError(
            f"the current folder no longer exists: {error.strerror}", hint="-C DIR selects a workspace"
        ) from error
    if is_there(here / FILE_NAME):
        return here
    for place in here.parents:
        if _is_file(place / FILE_NAME):
            return place
    raise InputError(
        f"no {FILE_NAME} in this folder or above",
        where=str(here),
        hint="-C DIR selects a workspace, `rmfab init DIR` makes one for a new product; a further station needs the "
        "owner's product.toml here",
        cause="no-workspace",
    )


def folder_to_receive(folder: Path | None) -> Path:
    """Return the folder in which a handover is received: as `find_workspace`, but one without product.toml counts.

    That is *folder*, RMFAB_WORKSPACE, or the current folder. Raise InputError if it does not exist.
    """
    chosen = folder or (Path(os.environ[ENVIRONMENT]) if os.environ.get(ENVIRONMENT) else None)
    if chosen is not None:
        if not chosen.is_dir():
            raise InputError("no such folder", where=str(chosen))
        return chosen.resolve()
    try:
        return find_workspace(None)
    except InputError as error:
        if error.cause != "no-workspace":
            raise
        return Path.cwd()


def open_workspace(folder: Path | None = None) -> Workspace:
    """Open the workspace and read its product. Raise InputError."""
    root = find_workspace(folder)
    return Workspace(root, load_product(root / FILE_NAME), now)


def nearest_workspace(folder: Path | None) -> Workspace | None:
    """Open the workspace as `open_workspace` does; return None if none is named and none is here or above."""
    try:
        return open_workspace(folder)
    except InputError as error:
        if error.cause == "no-workspace":
            return None
        raise


def now() -> datetime:
    """Return the host's time, in UTC."""
    return datetime.now(UTC)


class Workspace:
    """What operations share. Everything is opened on first use, also *product* if it is None; *now* is the clock.

    *ledger*: the path of its ledger, None for the one that the environment, station.toml or the folder names.
    """

    def __init__(
        self,
        root: Path,
        product: Product | None = None,
        now: Callable[[], datetime] = now,
        ledger: Path | str | None = None,
    ) -> None:
        self.root = root
        self._location = ledger
        if product is not None:
            self.product = product
        self.now = now
        self._data_keys: dict[int, Secret[bytes]] = {}
        self._origins: dict[str, tuple[str, str]] = {}

    @cached_property
    def product(self) -> Product:
        """The product of product.toml. Raise InputError, or ComplaintsError with every error and its place."""
        return load_product(self.root / FILE_NAME)

    @property
    def ca_folder(self) -> Path:
        """The folder of the CA."""
        return self.root / "ca"

    @property
    def keys_folder(self) -> Path:
        """The folder of the station's keys."""
        return self.root / "keys"

    @property
    def logs_folder(self) -> Path:
        """The folder of console logs; created on first use."""
        return make_folder(self.root / "logs", secret=True)

    @property
    def ledger_path(self) -> Path | str:
        """The ledger: RMFAB_LEDGER, or that of station.toml, or `ledger.db` in the workspace. Raise InputError."""
        if self._location is not None:
            return self._location
        return os.environ.get(LEDGER_ENVIRONMENT) or self._station_ledger or self.root / "ledger.db"

    @cached_property
    def lease(self) -> Workspace:
        """This workspace with the ledger of its lease: what it has of a shared ledger for when the server is away."""
        lease = Workspace(self.root, self.product, self.now, self.root / LEASE_FILE)
        lease.badge = self.badge
        return lease

    @cached_property
    def badge(self) -> Badge:
        """Who works here. Raise InputError as `host_badge`."""
        return host_badge()

    @cached_property
    def _station_ledger(self) -> Path | str | None:
        path = _station_path(self.root)
        return None if path is None or not _names_ledger(path) else self.station.ledger

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger. Raise LedgerError also if there is none: only `make_ledger` creates one.

        Raise IntegrityError if it is no longer the one that was asked (`inquiry`): its identities may be given twice.
        """
        from rmfab.ledger.store import Ledger

        self._refuse_other_ledger()
        location = _as_path(self.ledger_path)
        if isinstance(location, Path) and not is_there(location):
            raise LedgerError(
                "no ledger here", where=str(location), hint=self._how_to_get_a_ledger(location), cause="ledger-missing"
            )
        ledger = Ledger.open(location, create=False, host=self.host)
        ledger.badge = self.badge
        self._refuse_other_ledger()  # from here on, each write checks the file that was opened
        return ledger

    def _how_to_get_a_ledger(self, location: Path) -> str:
        from rmfab.ledger.host_record import has_given

        if has_given(self.host, str(location)):
            return "this host has given identities from it: put it back, or a backup (`rmfab ledger restore`)"
        return f"`rmfab generate` creates one with the first batch; {LEDGER_ENVIRONMENT} selects an existing one"

    def _refuse_other_ledger(self) -> None:
        asked: LedgerReader | None = self.__dict__.get("_reader")
        if asked is not None:
            asked.refuse_other_file()

    @property
    def inquiry(self) -> Inquiry:
        """The ledger, to ask what must be known before a port is opened: the open one, else one that is only read.

        Importing SQLAlchemy for that would double the time until the port is open. Raise LedgerError as `ledger` does.
        """
        return self.ledger if "ledger" in self.__dict__ else self._reader or self.ledger

    @cached_property
    def _reader(self) -> LedgerReader | None:
        from rmfab.ledger.reader import LedgerReader

        return LedgerReader.open(_as_path(self.ledger_path), self.host)

    @property
    def host(self) -> PoolHost:
        """This host. A demo keeps its records of pools in itself: it leaves nothing elsewhere."""
        from rmfab.ledger.host import this_host

        return this_host(self.root / "state" if _is_file(self.root / DEMO_MARKER) else None)

    @property
    def has_ledger(self) -> bool:
        """Whether the ledger exists; a database server's is assumed to exist."""
        location = _as_path(self.ledger_path)
        try:
            return not isinstance(location, Path) or location.stat().st_size > 0
        except PermissionError:
            return True  # opening it reports that this user may not
        except OSError:
            return False

    def make_ledger(self) -> bool:
        """Create the ledger, or complete one whose creation was interrupted; return False if it existed.

        Raise LedgerError.
        """
        from rmfab.ledger.store import Ledger

        location = _as_path(self.ledger_path)
        if not isinstance(location, Path):  # only `rmfab ledger init` makes one on a server
            Ledger.open(location, create=False, host=self.host).close()
            return False
        existed = self.has_ledger
        Ledger.open(location, create=True, host=self.host).close()
        return not existed

    def complete_ledger(self) -> bool:
        """Complete a ledger whose creation was interrupted; return whether it gives identities now."""
        for name in ("ledger", "_reader"):  # it has a new id once it is complete
            opened = self.__dict__.pop(name, None)
            if opened is not None:
                opened.close()
        self.make_ledger()
        return self.ledger.holder is not None

    @cached_property
    def station(self) -> Station:
        """The station of RMFAB_STATION, else of the workspace's or the user's station.toml, else a default one."""
        return _station_in(self.root)

    @property
    def has_station_key(self) -> bool:
        """Whether this host has a station key."""
        return is_there(self.keys_folder / "station.key")

    @cached_property
    def station_key(self) -> StationKey:
        """The key that opens sealed identities on this host. Raise StationError if there is none."""
        from rmfab.identity.sealing import load_station_key

        path = self.keys_folder / "station.key"
        if not self.has_station_key:
            raise StationError(
                "no station key on this host, so it cannot open identities",
                where=str(path),
                hint="`rmfab station key` makes one; then run `rmfab station admit RECIPIENT` on an admitted station",
                cause="no-station-key",
            )
        return load_station_key(path)

    @property
    def ledger_key(self) -> KeySigner:
        """The key that signs handovers of this workspace; made on first use."""
        from rmfab.workspace.own_keys import LEDGER_KEY, signing_key

        return signing_key(self.keys_folder, LEDGER_KEY)

    @property
    def signing_key(self) -> KeySigner:
        """The key that signs what this station returns; made on first use."""
        from rmfab.workspace.own_keys import STATION_SIGNING_KEY, signing_key

        return signing_key(self.keys_folder, STATION_SIGNING_KEY)

    @property
    def unique_key(self) -> Secret[bytes]:
        """The key that keeps PoPs unique; only the host that makes identities has it. Raise InputError."""
        path = self.keys_folder / "unique.key"
        if not is_there(path):
            raise InputError(
                "the workspace's uniqueness key is missing, so PoPs cannot be compared",
                where=str(path),
                hint="make identities on the host that made the workspace, or copy keys/unique.key from there",
                cause="no-unique-key",
            )
        data = read_input(path, "uniqueness key").strip()
        refuse_loose(path)
        try:
            key = bytes.fromhex(data.decode("ascii"))
        except ValueError:
            key = b""
        if len(key) != UNIQUE_KEY_BYTES:
            raise InputError("not a uniqueness key of rmfab", where=str(path))
        return Secret(key)

    @property
    def can_generate(self) -> bool:
        """Whether this host has the keys to make identities: the uniqueness key, and the CA if devices need one."""
        from rmfab.identity.ca_files import CERTIFICATE_FILE

        own_ca = self.product.identity.credentials is Credentials.CERTIFICATE
        has_ca = not own_ca or is_there(self.ca_folder / CERTIFICATE_FILE)
        return has_ca and is_there(self.keys_folder / "unique.key")

    def open_identity(self, bound: LedgerIdentity) -> Identity:
        """Open the identity of a ledger record with this station's key.

        Raise StationError if the station was not admitted, IntegrityError if the record was altered, and InputError
        if product.toml differs from the one that the batch was made for, or the identity has no serial yet.
        """
        from rmfab.identity.make_identities import open_identity

        if bound.unnamed:
            raise InputError(
                "the identity has no serial yet: it gets it with its board",
                where=bound.name,
                hint="`rmfab run` or `rmfab flash` claims it for a board",
                cause="no-serial",
            )
        self.check_policy(bound.batch)
        key = self.data_key(bound.chunk)
        return open_identity(bound.record, key, *self._sealed_in(bound.batch), bound.standing.given_serial)

    def data_key(self, chunk: int) -> Secret[bytes]:
        """Return the data key of a chunk. Raise StationError if the station was not admitted."""
        from rmfab.identity.sealing import unwrap

        key = self._data_keys.get(chunk)
        if key is None:
            key = self._data_keys[chunk] = unwrap(self.ledger.wrapped_key(chunk), self.station_key)
        return key

    def _sealed_in(self, batch: str) -> tuple[str, str]:
        """Return the pool and the batch in which the identities of *batch* were made and sealed."""
        origin = self._origins.get(batch)
        if origin is None:
            known = self.inquiry.batch(batch).origin
            origin = self._origins[batch] = (known.pool, known.batch) if known else (self.inquiry.id, batch)
        return origin

    def check_key(self, batch: str) -> None:
        """Raise StationError if this station cannot open the identities of *batch*, before any of them is claimed."""
        from rmfab.identity.sealing import unwrap

        chunk = self.inquiry.first_chunk(batch)
        if chunk is not None:
            self._data_keys[chunk.id] = unwrap(chunk.wrapped_key, self.station_key)

    def load_keys(self, batch: str) -> None:
        """Load what opens the identities of *batch*: then they can be opened while the ledger's server is away.

        Raise as `check_policy` and `check_key` do.
        """
        from rmfab.identity.sealing import unwrap

        if batch in self._origins:
            return
        self.check_policy(batch)
        for chunk in self.ledger.chunks(batch):
            if chunk.id not in self._data_keys:
                self._data_keys[chunk.id] = unwrap(chunk.wrapped_key, self.station_key)
        self._sealed_in(batch)

    def check_policy(self, batch: str) -> None:
        """Raise InputError, naming the keys, if product.toml differs from the one that *batch* was made for."""
        from rmfab.identity.policy import differences

        if batch not in self._checked:
            odd = differences(self.inquiry.batch(batch).policy, self.product)
            if odd:
                raise InputError(
                    f"batch {batch} was made for a different product.toml: {', '.join(odd)}",
                    where=FILE_NAME,
                    hint="restore the old values, or make a new batch with these",
                    cause="policy-mismatch",
                )
            self._checked.add(batch)

    @cached_property
    def _checked(self) -> set[str]:
        return set()

    def release_path(self, given: Path | None) -> Path:
        """Return the release of --release or product.toml. Raise InputError if neither names one."""
        path = given or self.product.release.path
        if path is None:
            raise InputError(
                "no release given", hint=f"pass --release FILE or BUILD_DIR, or set path in {FILE_NAME} ([release])"
            )
        return path

    @property
    def trust_path(self) -> Path:
        """The trust file of this host; only `rmfab trust` changes it."""
        return self.keys_folder / "trust.json"

    @property
    def trust(self) -> Trust | None:
        """The trust in force on this host, None if there is no trust file yet. Raise InputError or IntegrityError."""
        from rmfab.signing.trust import load_trust

        there = is_there(self.trust_path) or self.trust_path.is_symlink()  # a dangling link is not "no trust file"
        return load_trust(self.trust_path)[1] if there else None


def host_badge() -> Badge:
    """Return who works at this host: RMFAB_OPERATOR, or the login name.

    Raise InputError for a name that cannot be used.
    """
    from rmfab.ledger.badge import Badge, bad_name

    named = os.environ.get(OPERATOR_ENVIRONMENT)
    if named:
        wrong = bad_name(named)
        if wrong is not None:
            raise InputError(f"not the name of an operator: {wrong}", where=OPERATOR_ENVIRONMENT)
        return Badge(named)
    login = login_name()
    return Badge(None if login is None or bad_name(login) else login)


def nearest_station(folder: Path | None) -> Station:
    """Return the station of the workspace as `Workspace.station` does, without reading its product.

    Without a workspace, return that of RMFAB_STATION or of the user. Raise InputError.
    """
    return _station_in(_root_if_any(folder))


def _station_in(root: Path | None) -> Station:
    from rmfab.line import station

    path = _station_path(root)
    return station.host_station() if path is None else station.load_station(path)


def users_station() -> Station:
    """Return the station of RMFAB_STATION or of the user, else a default one, whatever workspace there is."""
    return _station_in(None)


def station_file(folder: Path | None) -> Path:
    """Return the station.toml that `nearest_station` reads. If there is none: where it belongs.

    That is the workspace, or without one the user's folder. Raise InputError, also if there is neither.
    """
    root = _root_if_any(folder)
    belongs = _users_station_file() if root is None else root / STATION_FILE
    path = _station_path(root) or belongs
    if path is None:
        what = "this user has no home folder for a station.toml"
        raise InputError(what, hint=f"set {STATION_ENVIRONMENT} to a path, or run it in a workspace")
    return path


def _root_if_any(folder: Path | None) -> Path | None:
    """Return the folder of the workspace, None if none is named and none is here or above. Raise InputError."""
    try:
        return find_workspace(folder)
    except InputError as error:
        if error.cause != "no-workspace":
            raise
        return None


def _station_path(root: Path | None) -> Path | None:
    """Return the station.toml of this host, None if it has none."""
    given = os.environ.get(STATION_ENVIRONMENT)
    if given:
        return Path(given)
    if root is not None and is_there(root / STATION_FILE):
        return root / STATION_FILE
    user = _users_station_file()
    return user if user is not None and _is_file(user) else None


def _users_station_file() -> Path | None:
    home = home_folder()
    return None if home is None else home / ".config" / "rmfab" / STATION_FILE


def _names_ledger(path: Path) -> bool:
    """Return whether a station.toml may name a ledger; then it is read properly. Reading it takes longer than this."""
    try:
        return b"ledger" in read_input(path)
    except RmfabError:
        return True


def _is_file(path: Path) -> bool:
    """Return whether *path* is a file that this user may look at."""
    try:
        return path.is_file()
    except PermissionError:
        return False


def _as_path(location: Path | str) -> Path | str:
    return location if "://" in str(location) else Path(location)
