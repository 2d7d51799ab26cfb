"""Checksums beside files that can be built again: a truncated or changed one is found before it is used.

    seal(path)                       # after writing: CRC-32 and size go into <path>.crc
    if not sealed(path): rebuild()   # before reading

A file without its seal counts as damaged: it was interrupted, or made by a program that knew no seals.
"""

from __future__ import annotations

import logging
import os
import zlib
from pathlib import Path

_BLOCK = 1 << 20

logger = logging.getLogger(__name__)


def crc32_of(path: Path) -> int:
    """CRC-32 of a file's bytes."""
    value = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            value = zlib.crc32(block, value)
    return value


def seal(path: Path) -> None:
    """Note what the file holds now. Raises OSError."""
    mark = _mark(path)
    temporary = mark.with_name(f"{mark.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(f"{crc32_of(path):08x} {path.stat().st_size}\n", encoding="ascii")
        os.replace(temporary, mark)
    finally:
        temporary.unlink(missing_ok=True)


def sealed(path: Path) -> bool:
    """Whether the file is there and is what was sealed; damage is logged."""
    try:
        noted = _mark(path).read_text(encoding="ascii").split()
        if len(noted) == 2 and int(noted[1]) == path.stat().st_size and int(noted[0], 16) == crc32_of(path):
            return True
        reason = "has changed since it was written"
    except FileNotFoundError:
        if not path.exists():
            return False
        reason = "has no checksum"
    except (OSError, ValueError) as error:
        reason = f"cannot be checked ({error})"
    logger.warning("%s %s: it is not used, but built anew", path, reason)
    return False


def unseal(path: Path) -> None:
    """Delete the file and its seal."""
    _mark(path).unlink(missing_ok=True)  # first: a file alone is never trusted
    path.unlink(missing_ok=True)


def _mark(path: Path) -> Path:
    return path.with_name(path.name + ".crc")
