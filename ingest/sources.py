"""Which files a command means, and what each is called in the workspace.

A file of a folder is called by its path below that folder ("2022/lease.pdf"); a file named by itself, by its file name.
A name belongs to one file: when another file that still exists has it, the newcomer's name grows by its parent folders
("b/lease.pdf"); when the file that had it has gone, the newcomer counts as the same document, moved.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import UsageError
from ingest.prepared import storable


@dataclass(frozen=True)
class SourceFile:
    path: Path  # absolute, symbolic links resolved
    name: str  # wanted name, with / between folders

    @property
    def source(self) -> str:
        """The path as the workspace remembers it."""
        return storable(str(self.path))


def expand(
    paths: Sequence[str | os.PathLike[str]], suffixes: frozenset[str], *, exclude: Path
) -> tuple[list[SourceFile], list[SourceFile]]:
    """(files to read, files of unsupported kinds found in folders). Folders are walked, hidden names passed over.

    Each file once, in order. Nothing below `exclude` (where workspaces live) is found by walking.
    Raises UsageError naming every path that does not exist.
    """
    missing = [str(path) for path in paths if not Path(path).exists()]
    if missing:
        raise UsageError(f"no such file or folder: {', '.join(missing)}", remedy="Check the path")
    files: dict[Path, SourceFile] = {}
    skipped: dict[Path, SourceFile] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            resolved = path.resolve()
            files.setdefault(resolved, SourceFile(resolved, storable(path.name)))
            continue
        for found in _walk(path, exclude.resolve()):
            resolved = found.resolve()
            if resolved in files:
                continue
            kind = files if found.suffix.lower() in suffixes else skipped
            kind.setdefault(resolved, SourceFile(resolved, storable(found.relative_to(path).as_posix())))
    return list(files.values()), [file for path, file in skipped.items() if path not in files]


def _walk(folder: Path, exclude: Path) -> Iterable[Path]:
    for parent, folders, names in os.walk(folder):
        if Path(parent).resolve() == exclude:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent) / name
            if not name.startswith(".") and path.is_file():  # not a pipe, a socket or a dangling link
                yield path


def settle_name(file: SourceFile, owner: Callable[[str], str | None]) -> str:
    """The name of a file, given the path that `owner` says a name belongs to ("" = an upload, None = free)."""
    name = file.name
    parents = [part for part in file.path.parts[1:-1]]
    # a name from a folder already contains some of the parents
    above = parents[: len(parents) - name.count("/")]
    while not _may_take(file, owner(name)) and above:
        name = f"{storable(above.pop())}/{name}"
    return name


def _may_take(file: SourceFile, owner: str | None) -> bool:
    return not owner or owner == file.source or not os.path.exists(owner)
