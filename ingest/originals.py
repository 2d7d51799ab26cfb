"""Copies of the ingested files under their hash: what a page image is drawn from, whatever happens to the user's file.

A copy, not a hard link: an editor that writes in place would change the linked copy too. A file is taken in under a
temporary name while it is read (`incoming`), so that what is hashed, what is read and what is kept are the same bytes,
and gets its final name inside the transaction that stores its pages.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_INCOMING = "incoming-"


@dataclass(frozen=True)
class IncomingFile:
    path: Path  # in the store's folder, with the original's suffix
    sha256: str
    size: int  # bytes


def file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Originals:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, sha256: str, name: str) -> Path:
        return self.folder / (sha256 + _suffix(name))

    @contextmanager
    def incoming(self, source: Path, name: str) -> Iterator[IncomingFile]:
        """A copy of `source` for as long as the block runs, unless `keep` gives it its final name.

        `name` is the document's: its suffix tells readers what the file claims to be.
        """
        self.folder.mkdir(exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_INCOMING, suffix=_suffix(name), dir=self.folder)
        path = Path(name)
        try:
            with os.fdopen(handle, "wb") as copy, source.open("rb") as original:
                _lock(copy.fileno())  # held through the block: a copy whose owner died is not locked
                shutil.copyfileobj(original, copy, 1 << 20)
                copy.flush()
                os.fsync(copy.fileno())
                size = copy.tell()
                yield IncomingFile(path, file_sha256(path), size)
        finally:
            path.unlink(missing_ok=True)

    def keep(self, incoming: IncomingFile, name: str) -> None:
        """Give it its final name, durably. Call inside the write transaction."""
        os.replace(incoming.path, self.path(incoming.sha256, name))
        _sync_folder(self.folder)

    def rename(self, sha256: str, name: str, to: str) -> None:
        """Let a copy be found under a name with another suffix, too; the old one is collected after the commit."""
        old, new = self.path(sha256, name), self.path(sha256, to)
        if old != new and old.is_file() and not new.exists():
            partial = new.with_name(f"{_INCOMING}{new.name}")
            shutil.copyfile(old, partial)
            os.replace(partial, new)
            _sync_folder(self.folder)

    def collect(self, used: set[Path]) -> None:
        """Delete what no document uses, and the incoming copies of processes that died. Inside the write transaction,
        where no other process can be between keeping a file and storing its document."""
        if not self.folder.is_dir():
            return
        for path in self.folder.iterdir():
            if path.name.startswith(_INCOMING):
                if _is_abandoned(path):
                    path.unlink(missing_ok=True)
            elif path not in used:
                path.unlink(missing_ok=True)


def _suffix(name: str) -> str:
    suffix = Path(name).suffix.lower()
    return suffix if re.fullmatch(r"\.\w{1,12}", suffix) else ""


def _lock(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: an open file cannot be deleted there, which serves the same end
        return
    fcntl.flock(descriptor, fcntl.LOCK_SH)


def _is_abandoned(path: Path) -> bool:
    try:
        import fcntl
    except ImportError:
        return True  # unlink fails while it is open
    try:
        with path.open("rb") as stream:
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except OSError:
        return False


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
