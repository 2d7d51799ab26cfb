"""Uploads on their way into a workspace: received, read in the background, embedded in the background.

A file is first written to `<home>/inbox/<workspace>/<upload>/<name>`, and leaves that folder only after the workspace
has taken it in (or has recorded why it cannot be read). A process that is killed in between goes on at its next start.
Two threads: one reads files, one at a time and in order; one makes vectors. Neither ever stops for a bad file.
"""

from __future__ import annotations

import logging
import os
import queue
import shutil
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import LecternError, StoreError
from ingest.workspace import Workspace
from web.accounts import access

if TYPE_CHECKING:
    from core.settings import Settings
    from ingest.embedders import Embedder

log = logging.getLogger(__name__)

MAX_NAME_BYTES = 200  # file systems allow 255; the workspace may need some of them
_RECEIVING = ".part"


@dataclass
class Upload:
    """A file that is not, or not yet, a document of its workspace."""

    workspace: str
    path: Path
    status: str = "waiting"  # waiting | reading | failed
    pages_read: int = 0
    pages: int = 0  # 0: not known yet
    reason: str = ""
    remedy: str = ""
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def name(self) -> str:
        return self.path.name


class Inbox:
    """Takes files in and works on them until `close()`; `embedder` is called on the embedding thread only."""

    def __init__(
        self,
        home: Path,
        settings: Settings,
        *,
        open_workspace: Callable[[str], Workspace],
        embedder: Callable[[], Embedder],
        settled: Callable[[str], object] = lambda workspace: None,
        give_way: Callable[[], object] = lambda: None,
    ) -> None:
        """`settled` is called with a workspace's name, on the embedding thread, when all its vectors are made.

        `give_way` is called there between short pieces of work; it may wait a little while questions are answered.
        """
        self.root = home / "inbox"
        self.settings = settings
        self._open_workspace = open_workspace
        self._embedder = embedder
        self._settled = settled
        self._give_way = give_way
        self._uploads: list[Upload] = []
        self._lock = threading.Lock()
        self._to_read: queue.Queue[Upload | None] = queue.Queue()
        self._to_embed: queue.Queue[str | None] = queue.Queue()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start working; first of all on what an earlier process left."""
        for folder in sorted(self.root.glob("*/*/")):
            files = [entry for entry in folder.iterdir() if entry.is_file()] if folder.suffix != _RECEIVING else []
            if not files:
                shutil.rmtree(folder, ignore_errors=True)
            for path in files:
                self._enqueue(Upload(folder.parent.name, path))
        for work in (self._read_all, self._embed_all):
            thread = threading.Thread(target=work, name=f"lectern-{work.__name__.strip('_')}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop after the file and the batch at hand, or in the middle of them after `timeout_s`.

        Nothing is lost either way: what is left goes on at the next start.
        """
        deadline = time.monotonic() + timeout_s
        self._stop.set()
        self._to_read.put(None)
        self._to_embed.put(None)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def receive(self, workspace: str, name: str) -> Path:
        """A path to write an upload to, in a folder of its own; hand it to `accept` or `reject` afterwards."""
        access.require(workspace, "write")
        folder = self.root / workspace / f"{uuid.uuid4().hex}{_RECEIVING}"
        folder.mkdir(parents=True)
        return folder / safe_name(name)

    def accept(self, path: Path) -> Upload:
        """Queue a file that `receive` named and that is now complete."""
        folder = path.parent.rename(path.parent.with_suffix(""))
        upload = Upload(folder.parent.name, folder / path.name)
        self._enqueue(upload)
        return upload

    def reject(self, path: Path) -> None:
        """Forget an upload that broke off."""
        shutil.rmtree(path.parent, ignore_errors=True)

    def uploads(self, workspace: str) -> list[Upload]:
        """What is waiting, being read, or could not be handed to the workspace."""
        with self._lock:
            return [upload for upload in self._uploads if upload.workspace == workspace]

    def forget(self, workspace: str, name: str) -> bool:
        """Take a waiting or failed upload away; whether there was one."""
        access.require(workspace, "write")
        with self._lock:
            found = [
                upload
                for upload in self._uploads
                if upload.workspace == workspace and upload.name == name and upload.status != "reading"
            ]
            self._uploads = [upload for upload in self._uploads if upload not in found]
        for upload in found:
            shutil.rmtree(upload.path.parent, ignore_errors=True)
        return bool(found)

    def forget_workspace(self, workspace: str) -> None:
        """Take away all uploads of a workspace that is about to be deleted. Raises StoreError if one is being read."""
        with self._lock:
            found = [upload for upload in self._uploads if upload.workspace == workspace]
            if any(upload.status == "reading" for upload in found):
                raise StoreError(
                    f"a document is being read into workspace {workspace}", remedy="Try again when it has been read"
                )
            self._uploads = [upload for upload in self._uploads if upload not in found]
        for upload in found:
            shutil.rmtree(upload.path.parent, ignore_errors=True)

    def embed(self, workspace: str) -> None:
        """Make the vectors that `workspace` still lacks, in the background."""
        self._to_embed.put(workspace)

    def _enqueue(self, upload: Upload) -> None:
        with self._lock:
            # A file sent again replaces the one of its name that nobody has begun to read, or that failed.
            stale = [
                other
                for other in self._uploads
                if (other.workspace, other.name) == (upload.workspace, upload.name) and other.status != "reading"
            ]
            self._uploads = [other for other in self._uploads if other not in stale] + [upload]
        for other in stale:
            shutil.rmtree(other.path.parent, ignore_errors=True)
        self._to_read.put(upload)

    def _read_all(self) -> None:
        while (upload := self._to_read.get()) is not None and not self._stop.is_set():
            with self._lock:
                if upload not in self._uploads:
                    continue  # taken away or replaced meanwhile
                upload.status = "reading"
            try:
                self._read(upload)
            except LecternError as error:
                upload.reason, upload.remedy = error.message, error.remedy
            except Exception:
                log.exception("reading %s", upload.name)
                upload.reason = "this file could not be read because of a fault in Lectern"
                upload.remedy = "The log says more; the other documents are not affected"
            with self._lock:
                if upload.reason:
                    upload.status = "failed"
                else:
                    self._uploads.remove(upload)
            shutil.rmtree(upload.path.parent, ignore_errors=True)
            upload.done.set()

    def _read(self, upload: Upload) -> None:
        from ingest.pipeline import Progress, ingest_file

        def follow(progress: Progress) -> None:
            if progress.stage == "reading":
                upload.pages_read, upload.pages = progress.done, progress.total

        workspace = self._open_workspace(upload.workspace)
        report = ingest_file(
            workspace, upload.path, settings=self.settings, name=upload.name, retry=True, progress=follow
        )
        if report.status == "failed" and all(info.name != upload.name for info in workspace.documents()):
            upload.reason, upload.remedy = report.reason, report.remedy  # a failure that the workspace does not keep
        self.embed(upload.workspace)

    def _embed_all(self) -> None:
        from ingest.embedding import embed_pending, embed_workspace, worth_processes

        while (name := self._to_embed.get()) is not None and not self._stop.is_set():
            try:
                workspace = self._open_workspace(name)
                pending = workspace.pending_count()
                if worth_processes(self.settings, pending):  # this process stays free to answer questions
                    embed_workspace(workspace, self.settings, stop=self._stop)
                elif pending:  # else the embedder need not be loaded
                    embed_pending(workspace, self._embedder(), stop=self._stop, give_way=self._give_way)
                if not self._stop.is_set() and self._to_embed.empty():
                    self._settled(name)
            except LecternError as error:
                log.warning("no vectors for workspace %s: %s", name, error)
            except Exception:
                log.exception("embedding workspace %s", name)


def safe_name(name: str) -> str:
    """A name that a browser sent as one that a folder can hold: no path, no control characters, not too long."""
    base = "".join(c for c in name.replace("\\", "/").rsplit("/", 1)[-1] if c.isprintable()).strip().strip(".").strip()
    stem, suffix = os.path.splitext(base or "document")
    room = MAX_NAME_BYTES - len(suffix.encode())
    if room < 1:
        return base.encode()[:MAX_NAME_BYTES].decode(errors="ignore")
    return stem.encode()[:room].decode(errors="ignore") + suffix
