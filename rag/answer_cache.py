"""Answers that were given before, in memory and on disk: the same question of an unchanged workspace costs nothing.

    cache = AnswerCache(lambda: workspace.derived, lambda: workspace.version, fingerprint(settings))
    place = cache.place(question)           # before the search: what the question is asked of
    if (answer := cache.get(place)) is None:
        cache.put(place, make_answer())

An answer belongs to one version of a workspace and to one state of everything that could change it: settings, weights
and calibration, this program. Files stand in the folder of derived things, which a removal of documents empties, each
with its checksum; a damaged one is a miss.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.seals import seal, sealed, unseal
from core.settings import Settings
from rag.recent import Recent
from rag.types import Answer

log = logging.getLogger(__name__)

FORMAT = 9  # grows when Answer, or the way answers are made, changes
IN_MEMORY = 256
ON_DISK = 500  # answers of one workspace: some 20 MB, as they hold the passages they were chosen from
_FOLDER = "answers"


@dataclass(frozen=True)
class Place:
    """Where the answer to a question belongs: under one version of the workspace."""

    version: int
    key: str


class AnswerCache:
    """Two levels. Thread-safe; several processes may share a workspace."""

    def __init__(self, folder: Callable[[], Path], version: Callable[[], int], state: str) -> None:
        """`folder`: of derived things; `state`: all else that decides how a question is answered."""
        self._folder, self._version, self._state = folder, version, state
        self._memory: Recent[Answer] = Recent(IN_MEMORY)
        self._written = 0

    def place(self, question: str, history: str = "") -> Place:
        """`history`: what else the answer depends on. Blanks do not make another question, letters' case does."""
        asked = "\0".join([str(FORMAT), self._state, " ".join(question.split()), history])
        return Place(self._version(), hashlib.sha256(asked.encode()).hexdigest())

    def get(self, place: Place) -> Answer | None:
        """The answer, if it is known, from memory or disk; never one of another version."""
        name = f"{place.version}/{place.key}"
        answer = self._memory.get(name)
        if answer is None and (answer := self._read(place)) is not None:
            self._memory.put(name, answer)
        return answer

    def put(self, place: Place, answer: Answer) -> None:
        """Keep an answer, unless the workspace has changed since its place was asked for."""
        if self._version() != place.version:
            return
        self._memory.put(f"{place.version}/{place.key}", answer)
        try:
            self._write(place, answer)
        except OSError as error:  # a full disk or a read-only home costs the cache, not the answer
            log.debug("an answer could not be kept on disk: %s", error)

    def _read(self, place: Place) -> Answer | None:
        path = self._folder() / _FOLDER / str(place.version) / f"{place.key}.json"
        if not path.exists() or not sealed(path):
            return None
        try:
            return _answers().validate_json(path.read_bytes())
        except (OSError, ValueError) as error:  # written by another program, or gone meanwhile
            log.debug("%s is not used: %s", path, error)
            return None

    def _write(self, place: Place, answer: Answer) -> None:
        kept = self._folder() / _FOLDER
        folder = kept / str(place.version)
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            for other in kept.iterdir():  # answers of documents as they were
                if other != folder:
                    shutil.rmtree(other, ignore_errors=True)
        path = folder / f"{place.key}.json"
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(_answers().dump_json(answer))
            os.replace(temporary, path)
            seal(path)
        finally:
            temporary.unlink(missing_ok=True)
        self._written += 1
        if self._written % 50 == 1:
            _keep_latest(folder, ON_DISK)


@lru_cache(maxsize=1)
def _answers() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Answer)


def _keep_latest(folder: Path, count: int) -> None:
    files = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[count:]:
        unseal(path)


def fingerprint(settings: Settings, *folders: Path) -> str:
    """What decides an answer beside question and documents: the settings of search and answer, and weights' files."""
    answer = settings.answer.model_copy(update={"api_key": ""})
    parts = [piece.model_dump_json() for piece in (settings.embedder, settings.retrieval, settings.locator, answer)]
    for folder in folders:
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                status = path.stat()
                parts.append(f"{path.name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def as_given(answer: Answer, total_ms: float) -> Answer:
    """A kept answer as it is given again: with the time it took this time, and marked."""
    return replace(answer, cached=True, timings_ms={"first_text": total_ms, "total": total_ms})
