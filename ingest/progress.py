"""What a long-running ingest tells whoever shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Progress:
    """`reading`: pages of one file; `files`: finished files, `name` the latest; `embedding`: passages;
    `waiting`: another process works on the workspace, nothing is counted."""

    stage: Literal["reading", "files", "embedding", "waiting"]
    name: str  # document, or workspace when embedding or waiting
    done: int
    total: int


OnProgress = Callable[[Progress], None]
