"""What happens to a command, and when.

A `Fault` happens in its process, at the n-th change of a file, by a library in front of the C library's calls (Linux,
with `cc`). It counts writes, syncs, renames, links and removals. At a given number it kills the process before or after
that call, tears the write in two first, or says from then on that the disk is full.

A `ServerFault` happens to the server of its ledger, or on the way there.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Protocol

SHORT_PATIENCE = 1.0
"""Seconds for which a command waits for its ledger while the link is frozen."""


class Fault(IntEnum):
    """What happens at the n-th change of a file. COUNT: nothing."""

    COUNT = 1
    KILL_BEFORE = 2
    KILL_AFTER = 3
    TEAR = 4
    FULL = 5


class ServerFault(StrEnum):
    """What happens to a server, or on the way to it, at some moment or at the next COMMIT; afterwards it works again.

    KILLED_AT_COMMIT kills the command while its COMMIT is on the way; it is delivered later.
    """

    KILLED = "server killed"
    IMMEDIATE = "stop immediate"
    BACKEND_KILLED = "backend killed"
    BACKENDS_ENDED = "backends ended"
    FROZEN = "link frozen"
    COMMIT_LOST = "COMMIT lost"
    ANSWER_LOST = "answer lost"
    COMMIT_FROZEN = "COMMIT frozen"
    ANSWER_FROZEN = "answer frozen"
    KILLED_AT_COMMIT = "kill at COMMIT"

    @property
    def freezes(self) -> bool:
        """Whether it freezes the link, for longer than a command is patient."""
        return self in (ServerFault.FROZEN, ServerFault.COMMIT_FROZEN, ServerFault.ANSWER_FROZEN)


class Victim(Protocol):
    """A command at work."""

    def runs(self) -> bool:
        """Return whether it has not ended yet."""

    def kill(self) -> None:
        """Kill it."""


_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>
enum { COUNT = 1, KILL_BEFORE, KILL_AFTER, TEAR, FULL };
static volatile int mode;
static volatile long at, seen;
void rmfab_arm(int new_mode, long number) { seen = 0; at = number; mode = new_mode; }
long rmfab_seen(void) { return seen; }
static void die(void) { kill(getpid(), SIGKILL); for (;;) pause(); }
static int is_file(int fd) { struct stat s; return fd > 2 && !fstat(fd, &s) && S_ISREG(s.st_mode); }
static int now(int counts) {
    if (!mode || !counts) return 0;
    long number = __atomic_add_fetch(&seen, 1, __ATOMIC_SEQ_CST);
    if (mode == FULL) return number >= at;
    if (mode == COUNT || number != at) return 0;
    if (mode == KILL_BEFORE) die();
    return 1;
}
#define ORIGINAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define WRITER(name, rest, ...) \
ssize_t name(int fd, const void *data, size_t size rest) { \
    int hit = now(is_file(fd)); \
    if (hit && mode == FULL) { errno = ENOSPC; return -1; } \
    if (hit && mode == TEAR) { ORIGINAL(name)(fd, data, size / 2 __VA_ARGS__); die(); } \
    ssize_t done = ORIGINAL(name)(fd, data, size __VA_ARGS__); \
    if (hit) die(); \
    return done; \
}
#define AT , off_t offset
#define AT64 , off64_t offset
#define NONE
WRITER(write, NONE)
WRITER(pwrite, AT, , offset)
WRITER(pwrite64, AT64, , offset)
#define CALL(name, arguments, counts, ...) \
int name arguments { \
    int hit = now(counts); \
    if (hit && mode == FULL) hit = 0; \
    int done = ORIGINAL(name)(__VA_ARGS__); \
    if (hit) die(); \
    return done; \
}
CALL(fsync, (int fd), 1, fd)
CALL(fdatasync, (int fd), 1, fd)
CALL(ftruncate, (int fd, off_t size), 1, fd, size)
CALL(ftruncate64, (int fd, off64_t size), 1, fd, size)
CALL(rename, (const char *from, const char *to), 1, from, to)
CALL(renameat, (int a, const char *from, int b, const char *to), 1, a, from, b, to)
CALL(link, (const char *from, const char *to), 1, from, to)
CALL(linkat, (int a, const char *from, int b, const char *to, int flags), 1, a, from, b, to, flags)
CALL(unlink, (const char *path), 1, path)
CALL(unlinkat, (int a, const char *path, int flags), 1, a, path, flags)
"""


def build_library(folder: Path) -> Path | None:
    """Compile the library in *folder*; return its path, None if there is no compiler, or not Linux."""
    compiler = shutil.which("cc") if sys.platform == "linux" else None
    if compiler is None:
        return None
    source, library = folder / "faults.c", folder / "faults.so"
    source.write_text(_SOURCE)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def arm(fault: Fault, number: int) -> None:
    """Start counting in this process, which was started with the library preloaded; *fault* happens at *number*."""
    ctypes.CDLL(None).rmfab_arm(int(fault), ctypes.c_long(number))


def seen() -> int:
    """Return how many changes of files were counted since `arm`."""
    function = ctypes.CDLL(None).rmfab_seen
    function.restype = ctypes.c_long
    return int(function())
