"""Worker handlers for test_confinement.py: what a reader that was taken over, or that met a bomb, might try."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from typing import Any

from ingest.confinement import confine, cpu_limit

Report = Callable[[Any], None]


def make_confined(memory_mb: int) -> Callable[[str, Report], str]:
    confine(memory_mb=memory_mb)

    def handle(attempt: str, report: Report) -> str:
        try:
            with cpu_limit(1):
                return str(ATTEMPTS[attempt]())
        except MemoryError:
            return "no memory"
        except PermissionError as error:
            return f"refused: {error}"

    return handle


def _write() -> None:
    with open(os.environ["LECTERN_TEST_TARGET"], "w") as file:
        file.write("I was here")


def _spin() -> None:
    while True:
        pass


class _Evil:
    """Unpickles as a call: the classical way out of a pickle."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {os.environ['LECTERN_TEST_TARGET']}",)


ATTEMPTS: dict[str, Callable[[], Any]] = {
    "work": lambda: "done",
    "connect": lambda: socket.create_connection(("127.0.0.1", 9)),
    "look up": lambda: socket.getaddrinfo("example.org", 80),
    "program": lambda: subprocess.run(["true"]),
    "shell": lambda: os.system("true"),
    "write": _write,
    "remove": lambda: os.remove(os.environ["LECTERN_TEST_TARGET"]),
    "allocate": lambda: len(bytearray(2**31)),
    "spin": _spin,
    "abort": os.abort,
}


def make_traitor() -> Callable[[str, Report], Any]:
    return lambda attempt, report: _Evil()
