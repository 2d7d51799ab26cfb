"""A worker process: `python -m ingest.worker [NICENESS]`, started and spoken to by ingest/worker_pool.py.

A program of its own rather than a fork or a spawned copy of the caller: it neither inherits locks and threads nor runs
the caller's main module again, and a crash in a C library (a broken PDF) costs one file, not the program.

Frames both ways (ingest/frames.py). In: first (factory, arguments), then one payload after another.
Out: ("progress", value) any number of times, then ("result", value) or ("error", exception).
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import signal
import sys
from collections.abc import Callable
from typing import Any

from core.errors import LecternError
from ingest.frames import read_frame, write_frame

Handler = Callable[[Any, Callable[[Any], None]], Any]  # (payload, report progress) -> result


def load_handler(factory: str, arguments: tuple[Any, ...]) -> Handler:
    """The handler that "package.module:function" makes of its arguments."""
    module, _, function = factory.partition(":")
    return getattr(importlib.import_module(module), function)(*arguments)


def main() -> None:
    if hasattr(os, "nice"):
        # bulk work gives way to the questions that a server answers meanwhile
        os.nice(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it closes our input
    inlet = sys.stdin.buffer
    outlet = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not end up between the frames
    try:
        handler: Handler | None = None
        factory, arguments = read_frame(inlet)
        while True:
            payload = read_frame(inlet)
            try:
                handler = handler or load_handler(factory, arguments)
                answer = ("result", handler(payload, lambda value: write_frame(outlet, ("progress", value))))
            except Exception as error:
                answer = ("error", _picklable(error))
            write_frame(outlet, answer)
            del payload, answer
    except (EOFError, BrokenPipeError):  # the parent has finished, or died
        os._exit(0)  # at once: no destructors of half the world of torch


def _picklable(error: Exception) -> Exception:
    """The error as the parent takes it (ingest/frames.py): ours and Python's own, everything else by its words."""
    if isinstance(error, LecternError) or type(error).__module__ == "builtins":
        with contextlib.suppress(Exception):
            pickle.loads(pickle.dumps(error))
            return error
    return RuntimeError(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
