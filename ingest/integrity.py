"""Is everything in a workspace what was stored? And if not: put right what can be, from the copies of the documents.

    for damage in check_workspace(settings.home, "lease"): print(damage)
    for line in repair_workspace(settings.home, "lease", settings): print(line)

Reading never trusts what is damaged: passages, vectors and pages carry checksums, derived files have theirs beside them
(core/seals.py). This goes through all of it at once. Documents come back from files/; conversations, which have no
second copy, only from a backup (ingest/backup.py).
"""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core.errors import NotFoundError, StoreError
from core.seals import sealed
from core.settings import Settings
from ingest import lexical, schema
from ingest.locks import alone, exclusive
from ingest.originals import file_sha256
from ingest.prepared import chunk_crc, document_id, lexical_row, unpack_text, unpack_words
from ingest.records import is_sound, row_crc
from ingest.workspace import Workspace, list_workspaces, workspace_path

logger = logging.getLogger(__name__)

SCRATCH = "backup-"  # folders of a backup or a repair under way
_REPAIR = "repair-"
_AWAY = "damaged-"  # folders of databases that were given up
_DERIVED = frozenset({"derived", "chroma"})  # folders of what is built from the rest
_PAGE_ERRORS = (zlib.error, UnicodeDecodeError, ValueError, IndexError)


@dataclass(frozen=True)
class Damage:
    """One thing that is not as it was stored."""

    what: str  # a sentence for the user
    document: str = ""  # whose passages, page or stored copy it concerns
    curable: bool = True  # by `repair_workspace`

    def __str__(self) -> str:
        return self.what if self.curable else f"{self.what} (not to be repaired: restore a backup)"


def check_workspace(home: Path, name: str) -> list[Damage]:
    """Everything that is damaged; [] if nothing is. Changes nothing. Raises NotFoundError, StoreError (locked)."""
    folder = _folder(home, name)
    found = [*_structures(folder)]
    if not any(schema.DATABASE in damage.what for damage in found):
        try:
            with Workspace.open(home, name, create=False) as workspace:
                found += _contents(workspace)
        except StoreError as error:
            found.append(Damage(error.message))
    found += _derived(folder)
    return found


def databases(folder: Path) -> Iterator[Path]:
    """The SQLite files that a workspace cannot do without, paths as `folder` has them."""
    for path in sorted(folder.rglob("*.sqlite")):
        above = path.relative_to(folder).parts[:-1]
        if not _DERIVED & set(above) and not any(part.startswith((SCRATCH, _REPAIR, _AWAY)) for part in above):
            yield path


def _structures(folder: Path) -> Iterator[Damage]:
    if not (folder / schema.DATABASE).is_file():
        yield Damage(f"{schema.DATABASE} is missing")
    for path in databases(folder):
        label = path.relative_to(folder)
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=schema.BUSY_MS / 1000)) as connection:
                lines = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
                if path.name == schema.DATABASE and not connection.execute("PRAGMA user_version").fetchone()[0]:
                    lines = ["it is empty"]
        except sqlite3.DatabaseError as error:
            lines = [str(error)]
        if lines != ["ok"]:
            yield Damage(f"{label} is damaged: {'; '.join(lines)[:300]}", curable=path.name == schema.DATABASE)


def _contents(workspace: Workspace) -> Iterator[Damage]:
    """With a connection of its own: what is read here must not be what is kept in memory."""
    with contextlib.closing(schema.connect(workspace.database, create=False)) as connection:
        connection.row_factory = sqlite3.Row
        with schema.snapshot(connection):
            documents = connection.execute("SELECT * FROM documents ORDER BY name").fetchall()
            for document in documents:
                yield from _document(connection, document)
                yield from _stored_copy(workspace, document)
            sound = [row["chunk"] for row in connection.execute("SELECT * FROM vectors") if is_sound(row[1], row[2])]
            total = connection.execute("SELECT count(*) FROM vectors").fetchone()[0]
            counted = sum(document["embedded"] for document in documents)
            chunks = connection.execute("SELECT count(*) FROM chunks").fetchone()[0]
        if len(sound) < total:
            yield Damage(f"{total - len(sound)} of {total} vectors have changed since they were stored")
        if counted != total:
            yield Damage(f"{counted} vectors are on the books, {total} are there")
        if broken := _lexical_damage(connection, chunks):
            yield Damage(f"the lexical index is damaged: {broken}")


def _document(connection: sqlite3.Connection, document: sqlite3.Row) -> Iterator[Damage]:
    name, row = document["name"], document["rowid"]
    own = not document["recipe"] or document["document_id"] == document_id(name, document["sha256"], document["recipe"])
    if not own or document["crc"] not in (None, row_crc(document)):
        yield Damage(f"what is known of {name} has changed since it was stored", name)
    texts: dict[int, str] = {}
    for page in connection.execute("SELECT * FROM pages WHERE document = ?", (row,)):
        try:
            texts[page["number"]] = unpack_text(page["text"])
            unpack_words(page["words"])
        except _PAGE_ERRORS as error:
            yield Damage(f"page {page['number']} of {name} cannot be unpacked ({error})", name)
    chunks = connection.execute("SELECT * FROM chunks WHERE document = ?", (row,)).fetchall()
    changed = 0
    for chunk in chunks:
        text = texts.get(chunk["page"], "")[chunk["start"] : chunk["end"]]
        place = (chunk["ordinal"], chunk["page"], chunk["start"], chunk["end"], chunk["context"])
        changed += chunk["crc"] is not None and chunk["crc"] != chunk_crc(*place, text)
    if changed:
        yield Damage(f"{changed} of {len(chunks)} passages of {name} have changed since they were stored", name)
    if len(chunks) != document["chunks"] or len(texts) > document["pages"]:
        yield Damage(f"{name} has {len(chunks)} of {document['chunks']} passages", name)


def _stored_copy(workspace: Workspace, document: sqlite3.Row) -> Iterator[Damage]:
    path = workspace.originals.path(document["sha256"], document["name"])
    if not path.is_file():
        yield Damage(f"the stored copy of {document['name']} is missing", document["name"], curable=False)
    elif file_sha256(path) != document["sha256"]:
        yield Damage(
            f"the stored copy of {document['name']} has changed since it was stored", document["name"], curable=False
        )


def _lexical_damage(connection: sqlite3.Connection, chunks: int) -> str:
    """Compares the index with one made anew in memory from the stored texts: every term at every place."""
    connection.create_function("crc32", 1, lambda text: zlib.crc32(text.encode()), deterministic=True)
    connection.execute("ATTACH ':memory:' AS anew")
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("INSERT INTO lexical (lexical) VALUES ('integrity-check')")
        if (indexed := connection.execute("SELECT count(*) FROM lexical").fetchone()[0]) != chunks:
            return f"{indexed} of {chunks} passages are in it"
        declared = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'lexical'").fetchone()[0]
        connection.execute(re.sub(r"\blexical\b", "anew.lexical", declared, count=1))
        for document, number, packed in connection.execute("SELECT document, number, text FROM pages").fetchall():
            text = _unpacked(packed)
            rows = connection.execute(
                "SELECT rowid, start, end, context FROM chunks WHERE document = ? AND page = ?", (document, number)
            ).fetchall()
            connection.executemany(
                "INSERT INTO anew.lexical (rowid, body, context) VALUES (?, ?, ?)",
                [(row, lexical_row(text[start:end]), lexical_row(context)) for row, start, end, context in rows],
            )
        sums = []
        for place in ("main", "anew"):
            connection.execute(f"CREATE VIRTUAL TABLE temp.{place}_terms USING fts5vocab({place}, lexical, instance)")
            sums.append(
                connection.execute(
                    "SELECT count(*), sum(crc32(term || ' ' || doc || ' ' || col || ' ' || offset)) "
                    f"FROM temp.{place}_terms"
                ).fetchone()[:]
            )
        return "" if sums[0] == sums[1] else "its terms are not those of the texts"
    except sqlite3.DatabaseError as error:
        return str(error)
    finally:
        connection.execute("ROLLBACK")


def _unpacked(packed: bytes) -> str:
    try:
        return unpack_text(packed)
    except _PAGE_ERRORS:
        return ""


def _derived(folder: Path) -> Iterator[Damage]:
    for mark in sorted((folder / "derived").rglob("*.crc")):
        path = mark.with_suffix("")
        if not sealed(path):
            yield Damage(f"{path.relative_to(folder)} has changed since it was written; it is built anew when needed")


def repair_workspace(home: Path, name: str, settings: Settings) -> list[str]:
    """Put right what `check_workspace` finds; what was done, and what could not be, a line each.

    Nobody else may have the workspace open (StoreError). Vectors are left to the next embedding.
    """
    folder = _folder(home, name)
    with alone(folder):
        broken = any(damage.what.startswith(schema.DATABASE) for damage in _structures(folder))
        done = ["the database's own indexes were built anew"] if broken and _reindexed(folder) else []
        if broken and not done:
            done = _start_again(folder)
    if any(folder.glob(f"{_AWAY}*/files")):  # also of a repair that was interrupted
        return done + _from_given_up(home, name, settings)
    with Workspace.open(home, name, create=False) as workspace, exclusive(folder, "ingest"):
        found = [*_contents(workspace), *_derived(folder)]
        worst = sorted({damage.document for damage in found if damage.document and damage.curable})
        copies = {damage.document for damage in found if not damage.curable}
        done += [f"left as it is: {damage.what}" for damage in found if not damage.curable]
        done += [f"cannot be read again, its stored copy is damaged too: {name}" for name in worst if name in copies]
        again = _let_go(workspace, [document for document in worst if document not in copies])
        if found:
            shutil.rmtree(folder / "derived", ignore_errors=True)
            done.append("derived files were deleted: they are built anew when needed")
    if again:
        done += _take_in_again(home, name, settings, again, create=False)
    for document in again:
        shutil.rmtree(document.copy.parent, ignore_errors=True)
    return done


@dataclass(frozen=True)
class _Known:
    """What is to be read again: where its bytes are and what it was called."""

    copy: Path  # outside files/, which would be cleared
    name: str
    source: str
    aliases: tuple[tuple[str, str], ...] = ()  # (name, source)


def _let_go(workspace: Workspace, names: list[str]) -> list[_Known]:
    """Take damaged documents out of the database, keeping their copies; lexical index and vectors are put right."""
    kept = []
    with workspace._writing() as connection:
        for name in names:
            row = connection.execute("SELECT * FROM documents WHERE name = ?", (name,)).fetchone()
            aliases = connection.execute("SELECT name, source FROM aliases WHERE document = ?", (row["rowid"],))
            original = workspace.originals.path(row["sha256"], name)
            copy = Path(tempfile.mkdtemp(prefix=_REPAIR, dir=workspace.path)) / original.name
            shutil.copyfile(original, copy)
            kept.append(_Known(copy, name, row["source"], tuple((a["name"], a["source"]) for a in aliases.fetchall())))
            connection.execute("DELETE FROM documents WHERE rowid = ?", (row["rowid"],))
        bad = [(row[0],) for row in connection.execute("SELECT * FROM vectors") if not is_sound(row[1], row[2])]
        connection.executemany("DELETE FROM vectors WHERE chunk = ?", bad)
        connection.execute(
            "UPDATE documents SET embedded = (SELECT count(*) FROM vectors v JOIN chunks c ON c.rowid = v.chunk"
            " WHERE c.document = documents.rowid)"
        )
        lexical.rebuild(connection)
    return kept


def _reindexed(folder: Path) -> bool:
    """Whether building SQLite's indexes anew was enough: their rows are stored twice."""
    with contextlib.closing(sqlite3.connect(folder / schema.DATABASE)) as connection:
        try:
            connection.execute("REINDEX")
            connection.commit()
            return connection.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",) and bool(
                connection.execute("PRAGMA user_version").fetchone()[0]
            )
        except sqlite3.DatabaseError:
            return False


def _start_again(folder: Path) -> list[str]:
    """Put the broken database and the stored copies aside, for a new one."""
    away = folder / f"{_AWAY}{datetime.now(UTC).strftime('%Y%m%d-%H%M%S')}"
    away.mkdir()
    for name in (schema.DATABASE, f"{schema.DATABASE}-wal", f"{schema.DATABASE}-shm", "files"):
        if (folder / name).exists():
            (folder / name).rename(away / name)
    shutil.rmtree(folder / "derived", ignore_errors=True)
    return [f"{schema.DATABASE} was damaged and is now in {away.name}; delete it when you miss nothing"]


def _from_given_up(home: Path, name: str, settings: Settings) -> list[str]:
    done = []
    for away in sorted(workspace_path(home, name).glob(f"{_AWAY}*")):
        names = _salvaged_names(away / schema.DATABASE)
        known = []
        for path in sorted((away / "files").glob("*")):
            if len(path.stem) == 64 and file_sha256(path) == path.stem:
                known += [_Known(path, *name) for name in names.get(path.stem, [(path.name, "")])]
            elif len(path.stem) == 64:
                done.append(f"left as it is: the stored copy {path.name} has changed since it was stored")
        done += _take_in_again(home, name, settings, known, create=True)
        for path in {document.copy for document in known}:
            path.unlink(missing_ok=True)
        for path in (away / "files").glob("incoming-*"):
            path.unlink(missing_ok=True)
        if (away / "files").is_dir() and not any((away / "files").iterdir()):
            (away / "files").rmdir()
    return done


def _salvaged_names(broken: Path) -> dict[str, list[tuple[str, str]]]:
    """sha256 -> (name, source) as far as a broken database still tells."""
    names: dict[str, list[tuple[str, str]]] = {}
    if not broken.is_file():
        return names
    with contextlib.closing(sqlite3.connect(broken)) as connection, contextlib.suppress(sqlite3.DatabaseError):
        top = 100_000
        with contextlib.suppress(sqlite3.DatabaseError):
            top = connection.execute("SELECT max(rowid) FROM documents").fetchone()[0] or 0
        for row in range(1, top + 1):  # one by one: a broken page costs what is on it, not all behind it
            with contextlib.suppress(sqlite3.DatabaseError):
                found = connection.execute(
                    "SELECT sha256, name, source FROM documents WHERE rowid = ?", (row,)
                ).fetchone()
                if found and all(isinstance(value, str) for value in found):
                    names.setdefault(found[0], []).append((found[1], found[2]))
    return names


def _take_in_again(home: Path, name: str, settings: Settings, known: list[_Known], *, create: bool) -> list[str]:
    from ingest.pipeline import ingest_file

    done = []
    with Workspace.open(home, name, create=create) as workspace:
        for document in known:
            report = ingest_file(workspace, document.copy, settings=settings, name=document.name, retry=True)
            for alias, source in document.aliases:
                workspace.put_alias(alias, file_sha256(document.copy), source=source)
            if document.source:
                workspace.confirm(document.name, document.source)
            done.append(f"{document.name} was read again from its stored copy: {report.status}")
        pending = workspace.pending_count()
    if pending:
        done.append(f"{pending} passages wait for their vectors: the next ingest, or start of the page, makes them")
    return done


def _folder(home: Path, name: str) -> Path:
    folder = workspace_path(home, name)
    if not (folder / schema.DATABASE).is_file() and not any((folder / "files").glob("*")):
        known = ", ".join(list_workspaces(home)) or "none yet"
        raise NotFoundError(f"there is no workspace {name!r} in {home} (there are: {known})", remedy="Choose another")
    return folder
