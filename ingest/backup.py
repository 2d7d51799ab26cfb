"""A workspace as one file, and back: `python app.py backup lease lease.zip`, `python app.py restore lease.zip`.

    report = backup_workspace(settings.home, "lease", Path("lease.zip"))
    restore_workspace(Path("lease.zip"), settings.home, name="lease-2")

The copy is consistent while the page and an ingest go on: every database is copied by SQLite's backup interface in one
step, and the stored originals, which never change, are those that this copy of the database names. The file is a ZIP
with `manifest.json` (format, sizes, SHA-256 of every member); it is read back and compared before it gets its name.
What can be built again (search caches, vectors of memories) is left out. Logins and keys belong to the home, not to a
workspace, and are not in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from core.errors import StoreError, UsageError
from ingest import schema
from ingest.integrity import SCRATCH, databases
from ingest.locks import alone
from ingest.originals import Originals
from ingest.workspace import Workspace, workspace_path

FORMAT = 1
MANIFEST = "manifest.json"

_BLOCK = 1 << 20
_ABANDONED_S = 86_400.0
_ATTEMPTS = 5  # a document may be removed between the copy of the database and that of its original


@dataclass(frozen=True)
class BackupReport:
    """What is in a backup."""

    workspace: str
    path: str
    documents: int
    files: int  # members besides the manifest
    size: int  # bytes of the file
    seconds: float = 0.0

    def __str__(self) -> str:
        size = f"{self.size / 2**20:.1f} MiB"
        return f"workspace {self.workspace}: {self.documents} documents, {self.files} files, {size} in {self.path}"


def backup_workspace(home: Path, name: str, out: Path, *, overwrite: bool = False) -> BackupReport:
    """Copy a workspace into the file `out`, also while it is used.

    Raises NotFoundError, UsageError (`out` exists), StoreError (damaged, disk full, copies that went missing).
    """
    started = time.monotonic()
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists", remedy="Name another file, or add --overwrite")
    if not out.parent.is_dir():
        raise UsageError(f"the folder of {out} does not exist", remedy="Create it, or name another file")
    with (
        Workspace.open(home, name, create=False) as workspace,
        schema.translated(out),
        tempfile.TemporaryDirectory(prefix=SCRATCH, dir=_swept(workspace.path)) as scratch,
    ):
        members = _snapshot(workspace, Path(scratch))
        partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
        try:
            manifest = _write(partial, name, members)
            verify_backup(partial)
            _sync(partial)
            os.replace(partial, out)
        finally:
            partial.unlink(missing_ok=True)
    size = out.stat().st_size
    return BackupReport(
        name, str(out), manifest["documents"], len(manifest["files"]), size, round(time.monotonic() - started, 2)
    )


def _swept(folder: Path) -> Path:
    """The workspace's folder, rid of what a killed backup left there."""
    for left in folder.glob(f"{SCRATCH}*"):
        if time.time() - left.stat().st_mtime > _ABANDONED_S:
            shutil.rmtree(left, ignore_errors=True)
    return folder


def _snapshot(workspace: Workspace, scratch: Path) -> dict[str, Path]:
    """Member name -> a file that nobody changes any more."""
    for _ in range(_ATTEMPTS):
        members = {}
        for path in databases(workspace.path):
            copy = scratch / path.relative_to(workspace.path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.unlink(missing_ok=True)
            _copy_database(path, copy)
            members[path.relative_to(workspace.path).as_posix()] = copy
        originals = _originals_of(members[schema.DATABASE], workspace.originals)
        kept = scratch / "files"
        kept.mkdir(exist_ok=True)
        try:
            for original in originals:
                _hold(original, kept / original.name)
                members[f"files/{original.name}"] = kept / original.name
            return members
        except FileNotFoundError as error:  # removed meanwhile, with its document; or really missing
            missing = error.filename
    raise StoreError(
        f"the stored copy {missing} is missing",
        remedy=f"See `python app.py check {workspace.name}`, then back up again",
    )


def _copy_database(path: Path, copy: Path) -> None:
    with (
        schema.translated(path),
        contextlib.closing(sqlite3.connect(path, timeout=schema.BUSY_MS / 1000)) as source,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)  # all pages in one step: one state, and writers go on in the log
        if (found := target.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise StoreError(f"{path} is damaged ({found})", remedy=schema.damage_remedy(path))
        target.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it


def _originals_of(database: Path, originals: Originals) -> list[Path]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT DISTINCT sha256, name FROM documents ORDER BY rowid").fetchall()
    return list({originals.path(sha256, name): None for sha256, name in rows})


def _hold(original: Path, held: Path) -> None:
    """A second name for a file that never changes (a copy where the file system has no links)."""
    if held.exists():
        return
    try:
        os.link(original, held)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(original, held)


def _write(out: Path, name: str, members: dict[str, Path]) -> dict[str, Any]:
    with contextlib.closing(sqlite3.connect(members[schema.DATABASE])) as connection:
        documents = connection.execute("SELECT count(*) FROM documents").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    files = {}
    with zipfile.ZipFile(out, "w", allowZip64=True) as archive:
        for member, path in members.items():
            digest, size = hashlib.sha256(), 0
            compress = zipfile.ZIP_DEFLATED if member.endswith(".sqlite") else zipfile.ZIP_STORED
            info = zipfile.ZipInfo(member, date_time=time.gmtime()[:6])
            info.compress_type = compress
            info._compresslevel = 1  # type: ignore[attr-defined]  # what is in it is mostly packed already
            with path.open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
                while block := source.read(_BLOCK):
                    digest.update(block)
                    size += len(block)
                    target.write(block)
            if member.startswith("files/") and digest.hexdigest() != Path(member).stem:
                raise StoreError(
                    f"the stored copy {Path(member).name} has changed since it was stored",
                    remedy=f"See `python app.py check {name}`: a backup of it would be worthless",
                )
            files[member] = {"sha256": digest.hexdigest(), "size": size}
        manifest = {
            "format": FORMAT,
            "workspace": name,
            "schema": version,
            "documents": documents,
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "files": files,
        }
        archive.writestr(MANIFEST, json.dumps(manifest, indent=1))
    return manifest


def verify_backup(path: Path) -> dict[str, Any]:
    """Compare every member with the manifest, which is returned. Raises StoreError (not a backup, damaged, newer)."""
    with _opened(path) as (archive, manifest):
        for member, entry in manifest["files"].items():
            _extract(archive, member, entry, None)
    return manifest


def restore_workspace(path: Path, home: Path, *, name: str | None = None, replace: bool = False) -> BackupReport:
    """Make a workspace of a backup, under its old name or another. It appears whole, once all of it is verified.

    Raises StoreError (not a backup, damaged, in use, no space), UsageError (the name is taken and not `replace`).
    """
    started = time.monotonic()
    with _opened(path) as (archive, manifest):
        name = name or manifest["workspace"]
        folder = workspace_path(home, name)
        if folder.exists() and any(folder.glob("*.sqlite")) and not replace:
            raise UsageError(
                f"there is a workspace {name} already", remedy="Restore it --as another name, or add --replace"
            )
        with schema.translated(folder / schema.DATABASE):
            folder.parent.mkdir(parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(prefix=".restore-", dir=folder.parent.parent))
            try:
                for member, entry in manifest["files"].items():
                    target = fresh / member
                    target.parent.mkdir(parents=True, exist_ok=True)
                    _extract(archive, member, entry, target)
                with contextlib.closing(schema.connect(fresh / schema.DATABASE, create=False)):
                    pass  # upgraded now, or refused now
                _forget_collections(fresh)
                _exchange(fresh, folder)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
    size = path.stat().st_size
    count = len(manifest["files"])
    return BackupReport(name, str(path), manifest["documents"], count, size, round(time.monotonic() - started, 2))


def _forget_collections(folder: Path) -> None:
    """Vectors of memories are named after the workspace they were made for; a second one makes its own."""
    for path in databases(folder):
        with contextlib.closing(sqlite3.connect(path)) as connection, contextlib.suppress(sqlite3.OperationalError):
            connection.execute("DELETE FROM meta WHERE key = 'collection'")
            connection.commit()


def _exchange(fresh: Path, folder: Path) -> None:
    """Put `fresh` in the place of `folder`; a crash in between leaves the old one beside it, under another name."""
    if not folder.exists():
        os.replace(fresh, folder)
        return
    with alone(folder):
        old = Path(tempfile.mkdtemp(prefix=".replaced-", dir=folder.parent.parent))
        os.replace(folder, old / folder.name)
        os.replace(fresh, folder)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, Any]]]:
    """The archive and its manifest, its form checked: a backup is a file from outside."""
    remedy = "Use another backup of this workspace"
    if not path.is_file():
        raise UsageError(f"{path} does not exist", remedy="Name a file that `python app.py backup` has made")
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(archive.read(MANIFEST))
            if int(manifest["format"]) > FORMAT or int(manifest["schema"]) > schema.SCHEMA_VERSION:
                raise StoreError(f"{path} was made by a newer Lectern", remedy="Update Lectern")
            for member, entry in manifest["files"].items():
                place = PurePosixPath(member)
                if place.is_absolute() or ".." in place.parts or "\\" in member or not _is_ours(place):
                    raise StoreError(f"{path} holds {member!r}, which no backup has", remedy=remedy)
                entry["size"], entry["sha256"] = int(entry["size"]), str(entry["sha256"])
            if schema.DATABASE not in manifest["files"]:
                raise StoreError(f"{path} holds no {schema.DATABASE}", remedy=remedy)
            yield archive, manifest
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, AttributeError, EOFError) as error:
        raise StoreError(f"{path} is no backup, or is damaged ({error})", remedy=remedy) from error


def _is_ours(place: PurePosixPath) -> bool:
    return place.suffix == ".sqlite" or (len(place.parts) == 2 and place.parts[0] == "files")


def _extract(archive: zipfile.ZipFile, member: str, entry: dict[str, Any], target: Path | None) -> None:
    """Compare a member with its manifest entry while it is written to `target` (None: only compared)."""
    digest, size = hashlib.sha256(), 0
    try:
        with archive.open(member) as source, contextlib.ExitStack() as stack:
            sink = stack.enter_context(target.open("wb")) if target is not None else None
            while block := source.read(_BLOCK):
                size += len(block)
                if size > entry["size"]:  # a bomb, or damage: stop at what was promised
                    break
                digest.update(block)
                if sink is not None:
                    sink.write(block)
            if sink is not None:
                sink.flush()
                os.fsync(sink.fileno())
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, NotImplementedError) as error:
        raise _damaged(archive, member, str(error)) from error
    if size != entry["size"] or digest.hexdigest() != entry["sha256"]:
        raise _damaged(archive, member, "it is not what was backed up")


def _damaged(archive: zipfile.ZipFile, member: str, reason: str) -> StoreError:
    return StoreError(
        f"{member} in {archive.filename} is damaged ({reason})", remedy="Use another backup of this workspace"
    )


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
