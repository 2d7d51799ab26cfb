"""Recordings of people for the tests; they live outside the repository, and tests that need them skip without them."""

from __future__ import annotations

import csv
import re
from functools import cache
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2].parent / "shared" / "data" / "speech"
needs_speech = pytest.mark.skipif(not FOLDER.exists(), reason=f"no recordings at {FOLDER}")


@cache
def transcripts() -> dict[str, str]:
    """File name -> what is said, lower case, words only."""
    with open(FOLDER / "transcripts.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {row["file"]: bare(row["transcript"]) for row in rows}


def bare(text: str) -> str:
    return " ".join(re.findall(r"[a-z']+", text.lower()))
