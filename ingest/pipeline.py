"""Files to a searchable, then embedded, workspace: read -> chunk -> store -> embed.

    reports = ingest_paths(workspace, ["contracts/", "notes.md"], settings=load_settings())

Interrupt it at any moment and run it again: a document is stored whole or not at all, and what is stored is not done
twice. One bad file is reported, not fatal. Reading runs in processes of its own (a PDF that crashes the parser costs
one file), at most one document each ahead of the store, so memory does not grow with the number of files.

The same content under a second name is stored once: the name becomes an alias of the first (`status` "duplicate").
"""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from core.errors import DocumentError, LecternError
from core.settings import Settings
from ingest import schema
from ingest.embedders import embedder_name
from ingest.embedding import embed_pending, embed_workspace, reembed
from ingest.locks import exclusive
from ingest.originals import IncomingFile, file_sha256
from ingest.prepared import PreparedDocument, recipe
from ingest.progress import OnProgress, Progress
from ingest.reading_worker import FACTORY, ReadingOrder
from ingest.sources import SourceFile, expand, settle_name
from ingest.types import DocumentInfo, PageProblem
from ingest.worker_pool import Outcome, WorkerDied, WorkerPool
from ingest.workspace import Workspace

__all__ = ["FileReport", "Progress", "embed_pending", "embed_workspace", "ingest_file", "ingest_paths", "reembed"]

logger = logging.getLogger(__name__)

ReportStatus = Literal["added", "replaced", "unchanged", "duplicate", "failed", "skipped"]


@dataclass(frozen=True)
class FileReport:
    """What became of one file."""

    name: str  # in the workspace
    path: str
    status: ReportStatus
    document_id: str = ""
    pages: int = 0
    chunks: int = 0
    embedded: int = 0  # chunks with a vector
    seconds: float = 0.0  # from taking the file in to searchable
    reason: str = ""  # of failed, skipped, duplicate
    remedy: str = ""
    problems: tuple[PageProblem, ...] = ()  # pages that could not be read


def ingest_paths(
    workspace: Workspace,
    paths: Sequence[str | os.PathLike[str]],
    *,
    settings: Settings,
    embed: bool = True,
    retry: bool = False,
    progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> list[FileReport]:
    """Bring files and folders into a workspace; a report per file, in order.

    `retry` reads again what failed before with the same content. Waits for another ingest of the same workspace.
    Raises UsageError (a path that does not exist), StoreError (disk, damage, other embedder), ModelError (embedder).
    """
    from ingest.readers import SUFFIXES

    files, skipped = expand(paths, SUFFIXES, exclude=workspace.path.parent)
    if embed:
        workspace.require_embedder(embedder_name(settings.embedder))

    def waiting() -> None:
        if progress is not None:
            progress(Progress("waiting", workspace.name, 0, 0))

    with exclusive(workspace.path, "ingest", on_wait=waiting, stop=stop) as held:
        reports = []
        if held:
            workspace.collect_originals()
            reports = _Run(workspace, settings, retry, progress, stop).run(files)
    if any(report.status == "replaced" for report in reports):
        workspace.purge()
    if embed and not (stop is not None and stop.is_set()):
        embed_workspace(workspace, settings, progress=progress, stop=stop)
    infos = {info.name: info for info in workspace.documents()}
    reports = [_with_vectors(report, infos.get(report.name)) for report in reports]
    for file in skipped:
        kinds = ", ".join(sorted(SUFFIXES))
        reports.append(FileReport(file.name, file.source, "skipped", reason=f"not one of {kinds}"))
    return reports


def ingest_file(
    workspace: Workspace,
    path: str | os.PathLike[str],
    *,
    settings: Settings,
    name: str | None = None,
    retry: bool = False,
    progress: OnProgress | None = None,
) -> FileReport:
    """Make one file searchable by words (no vectors yet). With `name`, e.g. of an upload, it replaces what has it.

    Needs no lock and waits for nobody: made for a server that takes uploads while an ingest runs.
    """
    run = _Run(workspace, settings, retry, progress, None)
    resolved = Path(path).resolve()
    [report] = run.run([SourceFile(resolved, name or resolved.name)], upload=name is not None)
    if report.status == "replaced":
        workspace.purge()
    return report


@dataclass
class _Job:
    """A file on its way through the reading processes."""

    index: int
    file: SourceFile
    name: str
    source: str
    incoming: IncomingFile
    resources: ExitStack
    started: float


@dataclass
class _Run:
    workspace: Workspace
    settings: Settings
    retry: bool
    progress: OnProgress | None
    stop: threading.Event | None
    reports: dict[int, FileReport] = field(default_factory=dict)
    under_way: dict[str, _Job] = field(default_factory=dict)  # by sha256
    named: dict[str, str] = field(default_factory=dict)  # name -> source path, of files under way
    later: list[tuple[int, SourceFile]] = field(default_factory=list)  # twins of files under way

    def run(self, files: Sequence[SourceFile], *, upload: bool = False) -> list[FileReport]:
        self.total, self.upload = len(files), upload
        self.recipe = recipe(self.settings.ingest)
        pool: WorkerPool[_Job] = WorkerPool(
            FACTORY,
            (self.settings.ingest, self.settings.embedder),
            processes=min(self.settings.ingest.reading_workers, max(1, len(files))),
            payload=lambda job: ReadingOrder(job.incoming.path, job.name, job.incoming.sha256),
            on_progress=self._on_page,
            silence_limit_s=self.settings.ingest.page_timeout_s,
            task_limit_s=self.settings.ingest.file_timeout_s,
            memory_mb=self.settings.ingest.reading_memory_mb,
            niceness=self.settings.ingest.niceness,
        )
        waiting = list(enumerate(files))
        try:
            with pool:
                while waiting:
                    for outcome in pool.map(self._jobs(waiting)):
                        self._finish(outcome)
                    waiting, self.later = self.later, []
        finally:
            for job in self.under_way.values():
                job.resources.close()
        return [self.reports[index] for index in sorted(self.reports)]

    def _jobs(self, files: Sequence[tuple[int, SourceFile]]) -> Iterator[_Job]:
        """Settle what needs no reading; yield the rest, each with its copy in the store."""
        for index, file in files:
            if self.stop is not None and self.stop.is_set():
                return
            try:
                job = self._take_in(index, file)
            except OSError as error:  # of the user's file: the store's own come as StoreError
                reason = f"it cannot be opened ({error.strerror or error})"
                remedy = "Check that it exists and that you may read it"
                self._report(index, FileReport(file.name, file.source, "failed", reason=reason, remedy=remedy))
                continue
            if job is not None:
                yield job

    def _take_in(self, index: int, file: SourceFile) -> _Job | None:
        started = time.monotonic()
        source = "" if self.upload else file.source
        name = file.name if self.upload else self._name(file)
        size_mb = file.path.stat().st_size / 2**20
        if size_mb > self.settings.ingest.max_file_mb:  # before it is hashed and copied
            reason = f"it has {size_mb:.0f} MiB, more than the {self.settings.ingest.max_file_mb} MiB allowed"
            remedy = "Split it, or raise ingest.max_file_mb (LECTERN_INGEST__MAX_FILE_MB)"
            self._report(index, FileReport(name, file.source, "failed", reason=reason, remedy=remedy))
            return None
        sha256 = file_sha256(file.path)
        if sha256 in self.under_way:  # decided when its twin is stored or has failed
            self.later.append((index, file))
            return None
        known = self._already_known(file, name, sha256, source)
        if known is not None:
            self._report(index, dataclasses.replace(known, seconds=time.monotonic() - started))
            return None
        with schema.translated(self.workspace.database), ExitStack() as stack:
            incoming = stack.enter_context(self.workspace.originals.incoming(file.path, name))
            job = _Job(index, file, name, source, incoming, stack.pop_all(), started)
        self.under_way[incoming.sha256] = job
        self.named[name] = file.source
        return job

    def _name(self, file: SourceFile) -> str:
        """A path that is known keeps its name, however it is reached; else the first free name."""
        known = self.workspace.name_of_source(file.source)
        if known is not None:
            return known
        return settle_name(file, lambda name: self.named.get(name) or self.workspace.source_of(name))

    def _already_known(self, file: SourceFile, name: str, sha256: str, source: str) -> FileReport | None:
        """The report on a file whose content needs no reading."""
        state = self.workspace.content_state(name, sha256, self.recipe)
        if state == "failed":
            if self.retry:
                return None
            info = self.workspace.document(name)
            return FileReport(name, file.source, "failed", reason=info.reason, remedy=info.remedy)
        if state == "stored":
            self.workspace.confirm(name, source)
            return _report_of(self.workspace.document(name), file.source, "unchanged")
        if state is None and self.workspace.adopt_moved(name, sha256, source=source):
            return None  # under its new name from now on; read again, since the name is part of what is indexed
        first = self.workspace.put_alias(name, sha256, source=source) if state != "outdated" else None
        if first is None:
            return None
        twin = _report_of(self.workspace.document(first), file.source, "duplicate")
        return dataclasses.replace(twin, name=name, reason=f"same content as {first}")

    def _on_page(self, job: _Job, pages: tuple[int, int]) -> None:
        if self.progress is not None:
            self.progress(Progress("reading", job.name, *pages))

    def _finish(self, outcome: Outcome[_Job]) -> None:
        job = outcome.task
        try:
            if outcome.error is None:
                self._store(job, outcome.result)
            else:
                self._fail(job, outcome.error)
        finally:
            job.resources.close()
            self.under_way.pop(job.incoming.sha256, None)
            self.named.pop(job.name, None)

    def _store(self, job: _Job, document: PreparedDocument) -> None:
        replaced = self.workspace.put(document, job.incoming, source=job.source, recipe=self.recipe)
        self._report(
            job.index,
            FileReport(
                job.name,
                job.file.source,
                "replaced" if replaced else "added",
                document_id=document.document_id,
                pages=len(document.pages),
                chunks=len(document.chunks),
                seconds=time.monotonic() - job.started,
                problems=document.problems,
            ),
        )

    def _fail(self, job: _Job, error: Exception) -> None:
        remember = True
        if isinstance(error, WorkerDied):
            reason = f"reading it failed: the reading process {error.reason}"
            remedy = "Open it in another program, save it as a new file and add that"
            if error.killed:
                reason, remedy, remember = f"{reason} (out of memory?)", "Run the command again", False
        elif isinstance(error, DocumentError):
            reason, remedy = error.message.removeprefix(f"{job.name}: "), error.remedy
        elif isinstance(error, LecternError):
            raise error  # the embedder's tokenizer, not this file
        else:
            logger.debug("reading %s failed", job.name, exc_info=error)
            reason, remedy = f"reading it failed ({type(error).__name__}: {error})", "Please report this file"
        if remember:
            self.workspace.put_failure(
                job.name,
                sha256=job.incoming.sha256,
                size=job.incoming.size,
                source=job.source,
                recipe=self.recipe,
                reason=reason,
                remedy=remedy,
            )
        seconds = time.monotonic() - job.started
        report = FileReport(job.name, job.file.source, "failed", seconds=seconds, reason=reason, remedy=remedy)
        self._report(job.index, report)

    def _report(self, index: int, report: FileReport) -> None:
        self.reports[index] = report
        if self.progress is not None:
            self.progress(Progress("files", report.name, len(self.reports), self.total))


def _report_of(info: DocumentInfo, path: str, status: ReportStatus) -> FileReport:
    return FileReport(
        info.name,
        path,
        status,
        document_id=info.document_id,
        pages=info.pages,
        chunks=info.chunks,
        embedded=info.embedded,
        problems=info.problems,
    )


def _with_vectors(report: FileReport, info: DocumentInfo | None) -> FileReport:
    return dataclasses.replace(report, embedded=info.embedded) if info is not None else report
