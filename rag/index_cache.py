"""The coarse index on disk: a cache in the workspace's folder for derived things, so that a second start is quick.

manifest.json names the workspace's version, the tokeniser, the embedder and a CRC-32 of each file. Whatever does not
match, is damaged or is missing means "no cache": the index is then built from the workspace, which is the truth.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from core.seals import crc32_of, unseal
from ingest.tokens import TOKENIZER_VERSION
from rag.coarse_index import IndexedDocument, WordSide
from rag.document_prior import DocumentProfile, Period
from rag.lexical_index import LexicalIndex

logger = logging.getLogger(__name__)

FORMAT = 3  # grows when the files below, or how documents are profiled, change
MANIFEST, TABLES, TEXTS, VECTORS, LISTS = "coarse.json", "coarse.npz", "coarse_texts.json", "vectors.npy", "dense.faiss"


@dataclass(frozen=True)
class CachedIndex:
    """What was found on disk, checked."""

    words: WordSide
    vectors: np.ndarray | None  # (n, dim) float16, a memory map
    vector_rows: np.ndarray  # (n,) chunk row of each vector
    embedded: int


def save(
    folder: Path, *, version: int, embedder: str, words: WordSide, vectors: np.ndarray | None, vector_rows: np.ndarray
) -> None:
    """Write the cache. A full disk or a folder that has just been emptied costs the cache, not the search."""
    lexical = words.lexical
    tables = {
        "document_rows": words.document_rows,
        "ordinals": words.ordinals,
        "pages": words.pages,
        "spans": words.spans,
        "vector_rows": vector_rows,
        **lexical.arrays(),
    }

    def write_texts(file: Any) -> None:
        """The vocabulary, then a document a line: 100,000 of them never stand in memory as JSON."""
        for content in chain([list(lexical.vocabulary)], map(asdict, words.documents)):
            file.write(json.dumps(content, ensure_ascii=False).encode() + b"\n")

    try:
        folder.mkdir(exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)  # from here to the end there is no cache
        checks = {
            TABLES: _write(folder / TABLES, lambda file: np.savez(file, **tables)),  # type: ignore[arg-type]
            TEXTS: _write(folder / TEXTS, write_texts),
        }
        if vectors is not None:
            halves = vectors.astype(np.float16, copy=False)
            checks[VECTORS] = _write(folder / VECTORS, lambda file: np.save(file, halves))
        manifest = _header(version, embedder) | {"embedded": len(vector_rows), "crc32": checks}
        _write(folder / MANIFEST, lambda file: file.write(json.dumps(manifest, indent=1).encode()))
    except OSError as error:
        logger.warning("the index cache in %s could not be written: %s", folder, error)


def load(folder: Path, *, version: int, embedder: str) -> CachedIndex | None:
    """The cache of exactly this version of the workspace, or None."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        header = _header(version, embedder)
        if {key: manifest.get(key) for key in header} != header:
            return None
        for name, check in manifest["crc32"].items():
            if crc32_of(folder / name) != check:
                raise ValueError(f"{name} has changed since it was written")
        with np.load(folder / TABLES, allow_pickle=False) as file:
            tables = {name: file[name] for name in file.files}
        with open(folder / TEXTS, "rb") as lines:
            vocabulary = json.loads(next(lines))
            documents = tuple(_document(json.loads(line)) for line in lines)
        vectors = np.load(folder / VECTORS, mmap_mode="r") if VECTORS in manifest["crc32"] else None
        lexical = LexicalIndex.from_arrays(vocabulary, tables)
        words = WordSide(
            documents, tables["document_rows"], tables["ordinals"], tables["pages"], tables["spans"], lexical
        )
        return CachedIndex(words, vectors, tables["vector_rows"], manifest["embedded"])
    except FileNotFoundError:
        return None
    except Exception as error:  # whatever damage does to JSON, zip and array headers: the truth is elsewhere
        logger.warning("the index cache in %s is damaged and is built anew: %s", folder, error)
        return None


def drop(folder: Path) -> None:
    """Delete the cache."""
    for name in (MANIFEST, TABLES, TEXTS, VECTORS, LISTS):
        unseal(folder / name)


def _header(version: int, embedder: str) -> dict[str, Any]:
    return {"format": FORMAT, "version": version, "tokenizer": TOKENIZER_VERSION, "embedder": embedder}


def _document(entry: dict[str, Any]) -> IndexedDocument:
    profile = entry["profile"]
    period = Period(**{key: tuple(value) for key, value in profile.pop("period").items()})
    words: dict[str, Any] = {
        key: tuple(map(sys.intern, value)) if isinstance(value, list) else value for key, value in profile.items()
    }
    return IndexedDocument(entry["document_id"], entry["name"], DocumentProfile(**words, period=period), entry["pages"])


def _write(path: Path, write: Any) -> int:
    """Write through a temporary file; returns the CRC-32 of what was written."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
        check = crc32_of(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return check
