"""A workspace: one folder with everything known about a set of documents.

    with Workspace.open(settings.home, "default") as workspace:
        for info in workspace.documents(): ...
        hits = workspace.lexical_search(query_terms("net sales"), limit=10)

    <home>/workspaces/<name>/
        lectern.sqlite    documents, pages, word boxes, chunks, lexical index, vectors: the truth (ingest/schema.py)
        files/            the originals under their hash (ingest/originals.py)
        derived/          what can be built again from the truth (FAISS); emptied by a removal
        *.lock            who ingests, who embeds

Reading is in ingest/workspace_reader.py, changing in ingest/workspace_writer.py.

Opening loads neither torch nor faiss. A `Workspace` may be used from several threads (a connection each) and several
processes; readers are never blocked. `document` arguments take a name, a further name (alias) or a document id.
Texts are never changed in place: a chunk id stands for the same text until its document is replaced or removed.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from core.errors import NotFoundError, UsageError
from ingest import lexical, schema
from ingest.locks import Presence
from ingest.workspace_writer import WorkspaceWriter

_NAME = re.compile(r"[^\W_](?:[\w .-]{0,62}[\w-])?")


class Workspace(WorkspaceWriter):
    """Opened by `open`, closed by `close` or a `with`."""

    @classmethod
    def open(cls, home: Path, name: str = "default", *, create: bool = True) -> Workspace:
        """Raises UsageError (bad name), NotFoundError (absent, not `create`), StoreError (damaged, newer, locked)."""
        path = workspace_path(home, name)
        if not create and not (path / schema.DATABASE).is_file():
            known = ", ".join(list_workspaces(home)) or "none yet"
            raise NotFoundError(
                f"there is no workspace {name!r} in {Path(home)} (there are: {known})",
                remedy=f"Create it with `python -m ingest PATH --workspace {name}`",
            )
        workspace = cls(path, name)
        with schema.translated(workspace.database):
            path.mkdir(parents=True, exist_ok=True)
            workspace._presence = Presence(path)
            try:
                lexical.bring_up_to_date(workspace._connection())
                if workspace._meta("purge"):  # a removal was interrupted after its commit
                    workspace.purge()
            except BaseException:
                workspace.close()
                raise
        return workspace

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def workspace_path(home: Path, name: str) -> Path:
    """Folder of a workspace. Raises UsageError for a name that is not a plain folder name."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise UsageError(
            f"{name!r} is no workspace name",
            remedy="Use up to 64 letters, digits, spaces, hyphens, dots and underscores, a letter or digit first",
        )
    return Path(home).expanduser() / "workspaces" / name


def list_workspaces(home: Path) -> list[str]:
    """Names of the workspaces of a home, sorted."""
    folder = Path(home).expanduser() / "workspaces"
    return sorted(path.parent.name for path in folder.glob(f"*/{schema.DATABASE}"))


def delete_workspace(home: Path, name: str) -> None:
    """Delete a workspace with everything in it. Raises NotFoundError."""
    Workspace.open(home, name, create=False).close()
    path = workspace_path(home, name)
    with schema.translated(path / schema.DATABASE):
        shutil.rmtree(path)
