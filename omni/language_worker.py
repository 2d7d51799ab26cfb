"""The documents' language models, built in a process of their own: a minute of Python for 10,000 pages, during which
whoever shares the interpreter would wait for it at every step.

    build_apart(workspace.path)     # waits for the process; what it built lies sealed in the workspace's folder

The process runs at a low priority and ends with its parent.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ingest.worker_pool import WorkerPool

__all__ = ["build_apart", "make_handler"]

logger = logging.getLogger(__name__)

FACTORY = "omni.language_worker:make_handler"
NICENESS = 15  # nearly nothing while questions run, and not nothing on a machine that is never idle
LIMIT_S = 3600.0  # which takes its time on a busy machine
_running: list[WorkerPool[Path]] = []
_one = threading.Lock()  # one at a time: two would halve each other's speed and double the memory


def build_apart(folder: Path) -> None:
    """Build the language model of the workspace in `folder` (<home>/workspaces/<name>) as it is now.

    Raises what the process raised: NotFoundError, StoreError, or WorkerDied if it was ended.
    """
    with (
        _one,
        WorkerPool[Path](FACTORY, (), processes=1, payload=str, silence_limit_s=LIMIT_S, niceness=NICENESS) as pool,
    ):
        _running.append(pool)
        try:
            for outcome in pool.map([folder]):
                if outcome.error is not None:
                    raise outcome.error
        finally:
            _running.remove(pool)


@atexit.register
def end_now() -> None:
    """End what is being built: nothing of it is lost but the time. Threads are not waited for when a server ends."""
    for pool in list(_running):
        pool.kill()


def make_handler() -> Callable[[str, Callable[[Any], None]], str]:
    """What the process runs: the folder of a workspace -> the model's file."""

    def build(folder: str, report: Callable[[Any], None]) -> str:
        from ingest.workspace import Workspace
        from omni.biased_models import build_here
        from omni.language_bias import document_language

        path = Path(folder)
        with Workspace.open(path.parents[1], path.name, create=False) as workspace:
            return str(build_here(document_language(workspace)).language_model)

    return build
