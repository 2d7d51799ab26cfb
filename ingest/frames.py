"""Frames between a process and its workers: 8 bytes of length, then a pickle.

What comes out of a worker is taken apart with suspicion: it has read a stranger's file, and a pickle may name any
function of Python. Only numbers, texts, containers, arrays and the records of our own packages are made from it.
"""

from __future__ import annotations

import dataclasses
import io
import pickle
import struct
from typing import IO, Any

from core.errors import LecternError

_LENGTH = struct.Struct("<Q")
MAX_BYTES = 8 * 2**30  # a frame that says it is longer is none

_ARRAYS = frozenset(
    (module, name)
    for module in ("numpy", "numpy._core.multiarray", "numpy._core.numeric", "numpy.core.multiarray")
    for name in ("ndarray", "dtype", "_reconstruct", "_frombuffer", "scalar")
)
_PLAIN = frozenset(("set", "frozenset", "bytearray", "complex", "slice", "range"))


class ForeignFrame(pickle.UnpicklingError):
    """A worker sent something that no worker of ours sends."""


class _RecordsOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ARRAYS:
            return super().find_class(module, name)
        if module == "pathlib" and name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"):
            return super().find_class(module, name)
        package = module.partition(".")[0]
        if package in ("builtins", "core", "ingest"):
            found = super().find_class(module, name)
            if isinstance(found, type) and found.__module__ == module and _is_record(found):
                return found
        raise ForeignFrame(f"a worker sent {module}.{name}")


def _is_record(kind: type) -> bool:
    if kind.__module__ == "builtins":
        return issubclass(kind, Exception) or kind.__name__ in _PLAIN
    return dataclasses.is_dataclass(kind) or issubclass(kind, LecternError)


def write_frame(stream: IO[bytes], value: object) -> None:
    data = pickle.dumps(value, protocol=5)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def read_frame(stream: IO[bytes]) -> Any:
    """A frame from the process that started this one. Raises EOFError when it has gone."""
    return pickle.loads(_read(stream))


def read_record(stream: IO[bytes]) -> Any:
    """A frame from a worker. Raises EOFError when it has gone, ForeignFrame for what no worker of ours sends."""
    return _RecordsOnly(io.BytesIO(_read(stream))).load()


def _read(stream: IO[bytes]) -> bytes:
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(header)
    if length > MAX_BYTES:
        raise EOFError
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return data
