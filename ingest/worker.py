"""A worker process: `python -m ingest.worker`, started and spoken to by ingest/worker_pool.py.

A program of its own rather than a fork or a spawned copy of the caller: it neither inherits locks and threads nor runs
the caller's main module again, and a crash in a C library (a broken PDF) costs one file, not the program.

Frames, both ways: 8 bytes of length, then a pickle. In: first (factory, arguments), then one payload after another.
Out: ("progress", value) any number of times, then ("result", value) or ("error", exception).
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import struct
import sys
from collections.abc import Callable
from typing import IO, Any

_LENGTH = struct.Struct("<Q")

Handler = Callable[[Any, Callable[[Any], None]], Any]  # (payload, report progress) -> result


def write_frame(stream: IO[bytes], value: object) -> None:
    data = pickle.dumps(value, protocol=5)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def read_frame(stream: IO[bytes]) -> Any:
    """Raises EOFError when the other side has gone."""
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(header)
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return pickle.loads(data)


def load_handler(factory: str, arguments: tuple[Any, ...]) -> Handler:
    """The handler that "package.module:function" makes of its arguments."""
    module, _, function = factory.partition(":")
    return getattr(importlib.import_module(module), function)(*arguments)


def main() -> None:
    if hasattr(os, "nice"):
        os.nice(5)  # bulk work gives way to the questions that a server answers meanwhile
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
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
