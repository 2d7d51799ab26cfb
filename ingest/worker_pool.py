"""A few worker processes that survive the death of any of them.

    with WorkerPool("ingest.reading_worker:make_handler", arguments, processes=2) as pool:
        for outcome in pool.map(tasks):       # in the order of completion; tasks are pulled as workers become free
            outcome.task, outcome.result or outcome.error

`concurrent.futures.ProcessPoolExecutor` would not do: one dead worker breaks the whole pool and does not say on which
task. At most one finished result per worker waits in memory.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from ingest.frames import ForeignFrame, read_record, write_frame

Task = TypeVar("Task")
_WATCH_S = 0.5  # between two looks at whether a worker hangs or grows


class WorkerDied(Exception):
    """The process ended, or was ended for silence, in the middle of a task."""

    def __init__(self, reason: str, *, killed: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.killed = killed  # by somebody else (SIGKILL: most often want of memory), so trying again may help


@dataclass(frozen=True)
class Outcome(Generic[Task]):
    task: Task
    result: Any = None
    error: Exception | None = None


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    inlet: IO[bytes]
    heard_at: float = 0.0  # time.monotonic() of the last frame or of the task's start
    began_at: float = 0.0  # time.monotonic() of the task's start
    stopped: str = ""  # why we ended it


class WorkerPool(Generic[Task]):
    def __init__(
        self,
        factory: str,
        arguments: tuple[Any, ...],
        *,
        processes: int,
        payload: Callable[[Task], Any] = lambda task: task,
        on_progress: Callable[[Task, Any], None] | None = None,
        silence_limit_s: float = 600.0,
        task_limit_s: float = math.inf,
        memory_mb: int = 0,
        threads: int = 1,
        niceness: int = 5,
    ) -> None:
        """`factory` is "package.module:function", called once in each process; it returns a `worker.Handler`.

        `payload` makes of a task what is sent. A worker is killed that says nothing for `silence_limit_s`, that is not
        done after `task_limit_s`, or that is larger than `memory_mb` MiB (0: any size). `niceness`: 0..19, how far the
        processes give way to others.
        """
        self._factory, self._arguments = factory, arguments
        self._processes = processes
        self._payload, self._on_progress = payload, on_progress
        self._silence_limit_s, self._task_limit_s, self._memory_mb = silence_limit_s, task_limit_s, memory_mb
        self._niceness = niceness
        self._watched_at = 0.0
        self._environment = _environment(threads)
        self._workers: list[_Worker] = []
        self._frames: queue.SimpleQueue[tuple[_Worker, Any]] = queue.SimpleQueue()  # a frame, or None for the end

    def __enter__(self) -> WorkerPool[Task]:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.kill()  # between tasks, or the tasks are not wanted any more
        for worker in self._workers:
            worker.process.wait()
            worker.inlet.close()
        self._workers.clear()

    def kill(self) -> None:
        """End the processes, from any thread: tasks at hand come out as WorkerDied."""
        for worker in list(self._workers):
            worker.process.kill()

    def map(self, tasks: Iterable[Task]) -> Iterator[Outcome[Task]]:
        """The outcome of every task, as they come."""
        pending = iter(tasks)
        exhausted = False
        busy: dict[int, tuple[_Worker, Task]] = {}
        self._workers = [worker for worker in self._workers if worker.process.poll() is None]  # killed between tasks
        idle = list(self._workers)
        while True:
            while not exhausted and len(busy) < self._processes:
                try:
                    task = next(pending)
                except StopIteration:
                    exhausted = True
                    break
                worker = idle.pop() if idle else self._start()
                busy[id(worker)] = (worker, task)
                self._send(worker, task)
            if not busy:
                return
            worker, frame = self._next_frame(busy)
            if id(worker) not in busy:
                continue
            task = busy[id(worker)][1]
            worker.heard_at = time.monotonic()
            if frame is not None and frame[0] == "progress":
                if self._on_progress is not None:
                    self._on_progress(task, frame[1])
                continue
            del busy[id(worker)]
            if frame is None:
                self._workers.remove(worker)
                yield Outcome(task, error=_death(worker))
            else:
                idle.append(worker)
                kind, value = frame
                outcome = Outcome(task, error=value) if kind == "error" else Outcome(task, result=value)
                del frame, value
                yield outcome

    def _next_frame(self, busy: dict[int, tuple[_Worker, Task]]) -> tuple[_Worker, Any]:
        while True:
            self._watch([worker for worker, _ in busy.values()])
            with contextlib.suppress(queue.Empty):
                return self._frames.get(timeout=_WATCH_S)

    def _watch(self, workers: Sequence[_Worker]) -> None:
        """End what is silent, slow or large; looked at every now and then, however much the others have to say."""
        now = time.monotonic()
        if now - self._watched_at < _WATCH_S:
            return
        self._watched_at = now
        for worker in workers:
            if worker.stopped:
                continue
            if now - worker.heard_at > self._silence_limit_s:
                worker.stopped = "made no progress for too long and was stopped"
            elif now - worker.began_at > self._task_limit_s:
                worker.stopped = "took too long and was stopped"
            elif self._memory_mb and _resident_mb(worker.process.pid) > self._memory_mb:
                worker.stopped = f"needed more than {self._memory_mb:,} MiB of memory and was stopped"
            if worker.stopped:
                worker.process.kill()

    def _start(self) -> _Worker:
        process = subprocess.Popen(
            [sys.executable, "-m", "ingest.worker", str(self._niceness)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("LECTERN_DEBUG_WORKERS") else subprocess.DEVNULL,
            env=self._environment,
        )
        assert process.stdin is not None and process.stdout is not None
        worker = _Worker(process, process.stdin)
        threading.Thread(target=self._listen, args=(worker, process.stdout), daemon=True).start()
        self._workers.append(worker)
        self._write(worker, (self._factory, self._arguments))
        return worker

    def _send(self, worker: _Worker, task: Task) -> None:
        worker.heard_at = worker.began_at = time.monotonic()
        self._write(worker, self._payload(task))

    @staticmethod
    def _write(worker: _Worker, value: object) -> None:
        with contextlib.suppress(OSError):  # it has died: its listener reports the end
            write_frame(worker.inlet, value)

    def _listen(self, worker: _Worker, outlet: IO[bytes]) -> None:
        with outlet:
            try:
                while True:
                    self._frames.put((worker, read_record(outlet)))
            except Exception as error:  # EOF, or a frame that a dying process left unfinished
                if isinstance(error, ForeignFrame):
                    worker.stopped = "sent what no reader sends, and was stopped"
                    worker.process.kill()
                self._frames.put((worker, None))


def _death(worker: _Worker) -> WorkerDied:
    status = worker.process.wait()
    worker.inlet.close()
    if worker.stopped:
        return WorkerDied(worker.stopped)
    if status == -getattr(signal, "SIGXCPU", 0):
        return WorkerDied("used more processor time than one file may take")
    if status < 0:
        name = signal.Signals(-status).name if -status in list(signal.Signals) else f"signal {-status}"
        return WorkerDied(f"ended with {name}", killed=-status in (signal.SIGKILL, signal.SIGTERM))
    return WorkerDied(f"ended with status {status}")


def _resident_mb(pid: int) -> float:
    import psutil

    try:
        return psutil.Process(pid).memory_info().rss / 2**20
    except psutil.Error:  # it has just ended
        return 0.0


def _environment(threads: int) -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    count = str(threads)
    return {
        **os.environ,
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "TOKENIZERS_PARALLELISM": "false",
        "MALLOC_ARENA_MAX": "2",  # glibc keeps freed memory per arena: a long run must stay as small as a short one
    }
