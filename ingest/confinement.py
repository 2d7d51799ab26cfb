"""What a process that reads strangers' files may use: so much memory and processor time, no network, no programs.

    confine(memory_mb=3072)              # once, when the process starts
    with cpu_limit(1800): ...            # around each file

A bomb, an endless loop or a crash in a parser then costs one process and one file. On Linux the kernel enforces both
limits; elsewhere the parent's watch on memory and silence (worker_pool.py) does. The refusals of network, programs and
files are Python's own audit events: they stop what a document could talk our parsers into, not code that has broken out
of one of them, which still has the rights of the user it runs as (SECURITY.md).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from core.errors import DocumentError

FILE_MB = 64  # no reader writes files; libraries may keep small ones
DESCRIPTORS = 256

_REFUSED = frozenset(
    (
        "socket.connect",
        "socket.bind",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "socket.sendto",
        "urllib.Request",
        "subprocess.Popen",
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.fork",
        "os.forkpty",
        "pty.spawn",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.link",
        "os.symlink",
        "os.chmod",
        "os.chown",
        "shutil.rmtree",
        "shutil.move",
    )
)


class ConfinementError(PermissionError):
    """Code in a reading process tried what no reader needs. A library that can do without goes on without."""


def confine(*, memory_mb: int) -> None:
    """For the rest of this process's life. `memory_mb`: private memory in MiB, above which allocations fail."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        # Not RLIMIT_AS: libraries reserve far more addresses than they ever touch.
        _lower(resource.RLIMIT_DATA, memory_mb * 2**20)
        _lower(resource.RLIMIT_FSIZE, FILE_MB * 2**20)
        _lower(resource.RLIMIT_NOFILE, DESCRIPTORS)
        _lower(resource.RLIMIT_CORE, 0)  # a crash must not leave somebody's document behind as a core file
    sys.dont_write_bytecode = True
    sys.addaudithook(_refuse)


@contextmanager
def cpu_limit(seconds: int) -> Iterator[None]:
    """The process ends (SIGXCPU) when the block takes more than `seconds` of processor time, in native code too."""
    try:
        import resource
    except ImportError:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_CPU)
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + max(1, seconds)
    if before[1] != resource.RLIM_INFINITY:
        limit = min(limit, before[1])
    resource.setrlimit(resource.RLIMIT_CPU, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, before)


@contextmanager
def memory_told(name: str, memory_mb: int) -> Iterator[None]:
    """Want of memory as DocumentError: the file is the reason, and reading it again would not help."""
    try:
        yield
    except MemoryError as error:
        raise DocumentError(
            f"{name} needs more than {memory_mb:,} MiB of memory to be read",
            remedy="Split it, or raise ingest.reading_memory_mb if you know where it comes from",
        ) from error


def _lower(which: int, wanted: int) -> None:
    import resource

    _, hard = resource.getrlimit(which)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(which, (limit, limit))


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _REFUSED:
        raise ConfinementError(f"a reader tried {event}, which is refused")
    if event == "open" and len(arguments) == 3:
        path, _, flags = arguments
        writing = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        if writing and path != os.devnull and not isinstance(path, int):
            raise ConfinementError("a reader tried to write a file, which is refused")
