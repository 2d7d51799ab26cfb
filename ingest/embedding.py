"""Vectors for the chunks that have none yet: in this process, or for many chunks by several at once.

Two single-thread processes embed twice as fast as one process with two threads; each loads its own model.
Every block is stored in its own transaction: an interrupted run goes on where it stopped; search uses what is there.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from core.errors import ModelError
from core.settings import EmbedderSettings, Settings
from ingest.embedders import Embedder, embedder_name, load_embedder
from ingest.locks import exclusive
from ingest.progress import OnProgress, Progress
from ingest.worker_pool import WorkerDied, WorkerPool
from ingest.workspace import Workspace

logger = logging.getLogger(__name__)

FACTORY = "ingest.embedding:make_handler"
_BLOCK = 128  # passages a block: a few seconds of one core
_SHORT_BLOCK = 16  # half a second at most, where others share the process
_POOL_FROM = 512  # pending passages that pay for starting processes (some seconds each)
_WORKER_MB = 900  # resident memory of a worker with the default model, MiB
_ATTEMPTS = 3

Block = list[tuple[int, str]]  # (chunk row, text)


def make_handler(
    settings: EmbedderSettings, device: str, threads: int
) -> Callable[[list[str], Callable[[Any], None]], np.ndarray]:
    """What a worker process runs: texts to (n, dim) float16 unit vectors."""
    embedder = load_embedder(settings, device=device, threads=threads)
    return lambda texts, report: embedder.embed_passages(texts).astype(np.float16)


def embed_pending(
    workspace: Workspace,
    embedder: Embedder,
    *,
    progress: OnProgress | None = None,
    stop: threading.Event | None = None,
    give_way: Callable[[], object] | None = None,
) -> int:
    """Embed in this process what has no vector yet; returns how many passages. Ends early when `stop` is set.

    `give_way`: called between short blocks; it may wait for others to be done. Waits while another process embeds the
    same workspace. Raises StoreError if the workspace has another embedder.
    """
    workspace.require_embedder(embedder.name)
    done = 0
    with exclusive(workspace.path, "embed", stop=stop) as held:
        if not held:
            return 0
        for block in _blocks(workspace, stop, _BLOCK if give_way is None else _SHORT_BLOCK):
            if give_way is not None:
                give_way()
            vectors = embedder.embed_passages([text for _, text in block])
            done += workspace.add_vectors(embedder.name, [row for row, _ in block], vectors)
            _report(workspace, progress, done)
    return done


def embed_workspace(
    workspace: Workspace,
    settings: Settings,
    *,
    progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> int:
    """`embed_pending` with the embedder of the settings, by several processes where there is much to do.

    This process then loads no model, and its own searches are not held up. Raises StoreError, ModelError.
    """
    name = embedder_name(settings.embedder)
    workspace.require_embedder(name)
    pending = workspace.pending_count()
    if not pending:
        return 0
    processes = worker_count(settings)
    if not worth_processes(settings, pending) or processes < 1:
        embedder = load_embedder(settings.embedder, device=settings.device, threads=settings.threads)
        return embed_pending(workspace, embedder, progress=progress, stop=stop)
    with exclusive(workspace.path, "embed", stop=stop) as held:
        return _embed_by_pool(workspace, settings, name, processes, progress, stop) if held else 0


def worth_processes(settings: Settings, pending: int) -> bool:
    """Whether so many passages pay for processes of their own: not for hashing, not for one GPU."""
    return (
        pending >= _POOL_FROM
        and not settings.embedder.model.startswith("hashing:")
        and not settings.device.startswith("cuda")
    )


def worker_count(settings: Settings) -> int:
    """Embedding processes: as set, or one a core as far as memory reaches."""
    if settings.ingest.embedding_workers:
        return settings.ingest.embedding_workers
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    by_memory = int(psutil.virtual_memory().available / 2**20 * 0.7 / _WORKER_MB)
    return max(1, min(cores // settings.threads, by_memory))


def reembed(workspace: Workspace, settings: Settings, *, progress: OnProgress | None = None) -> int:
    """Drop all vectors and make them again with the embedder of the settings. Raises ModelError before dropping any."""
    load_embedder(settings.embedder, device=settings.device, threads=settings.threads).embed_query("ready?")
    with exclusive(workspace.path, "embed"):
        workspace.forget_vectors()
    return embed_workspace(workspace, settings, progress=progress)


def _blocks(workspace: Workspace, stop: threading.Event | None, size: int = _BLOCK) -> Iterator[Block]:
    after = 0
    while block := workspace.pending_passages(size, after=after):
        if stop is not None and stop.is_set():
            return
        yield block
        after = block[-1][0]


def _embed_by_pool(
    workspace: Workspace,
    settings: Settings,
    name: str,
    processes: int,
    progress: OnProgress | None,
    stop: threading.Event | None,
) -> int:
    done = 0
    pool: WorkerPool[Block] = WorkerPool(
        FACTORY,
        (settings.embedder, settings.device, settings.threads),
        processes=processes,
        payload=lambda block: [text for _, text in block],
        threads=settings.threads,
        niceness=settings.ingest.niceness,
    )
    with pool:
        blocks: Iterator[Block] | Sequence[Block] = _blocks(workspace, stop)
        for attempt in range(1, _ATTEMPTS + 1):
            lost: list[Block] = []
            for outcome in pool.map(blocks):
                if isinstance(outcome.error, WorkerDied):
                    logger.warning("an embedding process %s; its passages are tried again", outcome.error.reason)
                    lost.append(outcome.task)
                elif outcome.error is not None:
                    raise outcome.error
                else:
                    done += workspace.add_vectors(name, [row for row, _ in outcome.task], outcome.result)
                    _report(workspace, progress, done)
            if not lost:
                return done
            blocks = lost
            if attempt == _ATTEMPTS:
                raise ModelError(
                    f"embedding processes died {_ATTEMPTS} times on the same passages",
                    remedy="Most often memory ran out: set ingest.embedding_workers to 1 and run the command again",
                )
    return done


def _report(workspace: Workspace, progress: OnProgress | None, done: int) -> None:
    if progress is not None:
        progress(Progress("embedding", workspace.name, done, done + workspace.pending_count()))
