"""A PostgreSQL server for tests: Debian's, in a folder of its own, as a user without rights, on a socket, and ended.

It touches no cluster of the system. `initdb` and `postgres` refuse to run as root: root runs them as `postgres`, the
user that Debian's package makes.
"""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rmfab.ledger.sql.open_database import open_database
from tests.patience import PATIENCE, until

pytestmark = pytest.mark.peers

USER = "rmfab"
_NUMBERS = itertools.count(1)
_SETTINGS = ("-c", "listen_addresses=", "-c", "max_connections=300")
_MORTAL = ("setpriv", "--pdeathsig", "QUIT")
"""The server ends with the thread that started it (prctl(2), PR_SET_PDEATHSIG), and so with the tests."""
_OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
_FAST = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off")


def find_binaries() -> Path:
    """Return the folder of `initdb`; fail if there is none, because a test that is skipped proves nothing."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    if found or on_path:
        return found[-1].parent if found else Path(str(on_path)).parent
    pytest.fail("there is no PostgreSQL server: `./dev test` installs Debian's package `postgresql` as root")


class Server:
    """A server with its data in *folder*; *durable*: it survives `crash`."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._options = [] if durable else list(_FAST)
        self._process: subprocess.Popen[bytes] | None = None
        self._starter = ThreadPoolExecutor(1)
        self._as = _unprivileged(folder)
        self._binaries = find_binaries()
        _run("cp", "-a", _new_cluster(), self.data, **self._as)  # `initdb` takes five times as much of the processor

    def start(self) -> None:
        """Start the server and wait until it answers."""
        log = (self.folder / "log").open("ab")
        with log:
            command = [self._binaries / "postgres", "-D", self.data, "-k", self.folder, *_SETTINGS, *self._options]
            starting = self._starter.submit(
                subprocess.Popen, [*_MORTAL, *command], stdout=log, stderr=log, env=_clean(), **self._as
            )
            self._process = starting.result()
        self.wait()

    def wait(self) -> None:
        """Wait until the server answers."""
        assert self._process is not None
        end = time.monotonic() + PATIENCE
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < end, "the server does not answer"
                time.sleep(0.05)

    def stop(self, mode: str = "fast") -> None:
        """Stop the server; `immediate` is what a power cut does to it."""
        if self._process is not None:
            _run(self._binaries / "pg_ctl", "stop", "-D", self.data, "-m", mode, "-t", f"{PATIENCE:.0f}", **self._as)
            self._process.wait(PATIENCE)
            self._process = None

    def kill(self) -> None:
        """Kill all its processes with SIGKILL. Each has a session of its own, so that they are no group."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)  # it forks nothing more, and does not see how the others end
        for pid in (children := _children(self._process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait(PATIENCE)
        self._process = None
        end = time.monotonic() + PATIENCE
        while any(_runs(pid) for pid in children):  # a new server refuses to start beside them
            assert time.monotonic() < end, "processes of the server do not end"
            time.sleep(0.01)

    def terminate(self, database: str) -> int:
        """End the connections to *database* except this one; return how many there were."""
        return len(self.execute(f"SELECT pg_terminate_backend(pid) {_OTHERS}", database))

    def kill_backend(self, database: str) -> bool:
        """Kill a backend of *database* with SIGKILL; return whether there was one.

        The server then ends all others, and recovers. When this returns, it has begun to.
        """
        with psycopg.connect(self.url(database), autocommit=True) as witness:
            for (pid,) in witness.execute(f"SELECT pid {_OTHERS}").fetchall():
                if _holds(pid):
                    os.kill(pid, signal.SIGKILL)
                    _await_end(witness)
                    return True
        return False

    def processes(self) -> list[int]:
        """Return the ids of its processes, that of the first one first."""
        assert self._process is not None
        return [self._process.pid, *_children(self._process.pid)]

    def cpu_seconds(self) -> float:
        """Return the CPU time of all its processes so far, also of those that have ended (proc(5))."""
        own, *others = map(_stat, self.processes())
        ticks = [*own[11:15], *(ticks for fields in others for ticks in fields[11:13])]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """Start it no more."""
        self._starter.shutdown()

    def url(self, database: str, user: str = USER) -> str:
        """Return the address of *database*."""
        return f"postgresql://{user}@/{database}?host={self.folder}"

    @property
    def socket(self) -> Path:
        """The socket on which it listens."""
        return self.folder / ".s.PGSQL.5432"

    def execute(self, statement: str, database: str = "postgres", user: str = USER) -> list[tuple[Any, ...]]:
        """Run *statement* by itself and return its rows."""
        with psycopg.connect(self.url(database, user), autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def dump(self, database: str, target: str) -> None:
        """Restore a dump of *database* as the new database *target*."""
        self.execute(f"CREATE DATABASE {target} TEMPLATE template0")
        self.restore(self.save(database), target)

    def save(self, database: str) -> Path:
        """Return a new dump of *database*."""
        saved = self.folder / f"{database}.dump"
        _run(self._binaries / "pg_dump", "-Fc", "-d", self.url(database), "-f", saved, **self._as)
        return saved

    def restore(self, saved: Path, database: str, *options: str) -> None:
        """Restore the dump *saved* into *database*."""
        _run(self._binaries / "pg_restore", *options, "-d", self.url(database), saved, **self._as)


@cache
def _new_cluster() -> Path:
    """Return the data of a server that never ran, made once per process of the tests."""
    folder = Path(tempfile.mkdtemp(prefix="rmfab-pg-new-"))
    atexit.register(shutil.rmtree, folder)
    command = [find_binaries() / "initdb", "-D", folder / "data", "-U", USER, "-A", "trust", "-N", "-E", "UTF8"]
    _run(*command, "--locale", "C.UTF-8", **_unprivileged(folder))
    return folder / "data"


def _unprivileged(folder: Path) -> dict[str, Any]:
    """Return how to start a process in *folder* as a user who may run a server, and give the folder to that user."""
    if os.getuid() != 0:
        return {"cwd": folder}
    shutil.chown(folder, "postgres", "postgres")
    return {"cwd": folder, "user": "postgres", "group": "postgres", "extra_groups": []}


def _run(*command: object, **options: Any) -> None:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, env=_clean(), **options
    )
    assert done.returncode == 0, done.stderr


@contextmanager
def running_server(*, durable: bool = False) -> Iterator[Server]:
    """Yield a server that runs; it is stopped at the end, and leaves nothing."""
    folder = Path(tempfile.mkdtemp(prefix="rmfab-pg-"))  # the path of a socket has less than 108 bytes (unix(7))
    server = None
    try:
        server = Server(folder, durable=durable)
        server.start()
        yield server
    finally:
        with suppress(AssertionError):
            if server is not None:
                server.stop("immediate")
                server.end()
        shutil.rmtree(folder)


def _children(parent: int) -> list[int]:
    """Return the processes whose parent is *parent* (proc(5))."""
    found = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [pid for pid in found if (fields := _stat(pid)) and int(fields[1]) == parent]


def _holds(pid: int) -> bool:
    """Stop process *pid* with SIGSTOP; return whether it is there, and cannot end by itself any more."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    until(lambda: not (fields := _stat(pid)) or fields[0] in "TZ", "the backend does not stop")
    return _stat(pid)[:1] == ["T"]


def _await_end(witness: psycopg.Connection[Any]) -> None:
    """Wait until the server has ended the connection *witness*."""

    def ended() -> bool:
        try:
            witness.execute("SELECT 1")
        except psycopg.OperationalError:
            return True
        return False

    until(ended, "the server does not notice that a backend was killed")


def _runs(pid: int) -> bool:
    fields = _stat(pid)
    return bool(fields) and fields[0] != "Z"


def _stat(pid: int) -> list[str]:
    """Return what /proc says of process *pid* from its state on, nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _clean() -> dict[str, str]:
    """Return the environment without the person's own settings of libpq."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server with a database `template_rmfab`, in which the schema is."""
    with running_server() as started:
        started.execute("CREATE DATABASE template_rmfab TEMPLATE template0")
        database = open_database(
            started.url("template_rmfab"), create=True, patience=30, state=started.folder / "state"
        )
        database.upgrade(create=True)
        database.dispose()
        yield started


@pytest.fixture
def databases(server: Server) -> Iterator[Callable[[], str]]:
    """Return a function that makes a database with an empty schema and returns its address."""
    names = []

    def make() -> str:
        names.append(f"t{next(_NUMBERS)}")
        server.execute(f"CREATE DATABASE {names[-1]} TEMPLATE template_rmfab")
        return server.url(names[-1])

    yield make
    for name in names:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")
