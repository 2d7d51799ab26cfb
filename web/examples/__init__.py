"""The document and the questions that a first visit is offered. The manual and its machine are invented."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Example:
    path: Path
    title: str  # as the page names it
    questions: tuple[str, ...]

    @property
    def document(self) -> str:
        """Its name in a workspace."""
        return self.path.name


EXAMPLE = Example(
    path=Path(__file__).parent / "coffee-machine-manual.pdf",
    title="the manual of a coffee machine",
    questions=(
        "How often should I descale the machine with hard water?",
        "What does a flashing red steam lamp mean?",
        "How long does the warranty last?",
        "How many grams of coffee go into the double basket?",
    ),
)
