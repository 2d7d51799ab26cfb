"""Fit the weights of memory/referents.py on CANARD: which mentions of the talk does the gold rewrite put in?

    python -m memory.train_referents [--data ../shared/data/canard/dev-half.json]

A mention is positive when the rewrite has its words and the question does not. Half of the dialogues are for fitting
(by a hash of their id), half for the printed scores: the share of rewrites' added words found and of added words right.
The article's title and section, which CANARD gives with each dialogue, stand in for the titles of cited documents; in
half of the examples they are left out, as a talk over one file may have no useful title.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UsageError, cli_main
from ingest.tokens import index_terms, query_terms
from memory import follow_up, referents
from memory.completion import pronoun_of


@dataclass(frozen=True)
class Example:
    question: str
    turns: tuple[tuple[str, str], ...]  # (gold rewrite of the earlier question, answer)
    topics: tuple[str, ...]
    rewrite: str
    held_out: bool


def examples(path: Path) -> Iterator[Example]:
    """CANARD's records in order; raises UsageError if the file is not there."""
    if not path.is_file():
        raise UsageError(f"{path} is not there", remedy="Give --data PATH of a CANARD file")
    rewrites: dict[tuple[str, int], str] = {}
    for record in json.loads(path.read_text(encoding="utf-8")):
        dialogue, number = record["QuAC_dialog_id"], record["Question_no"]
        rewrites[dialogue, number] = record["Rewrite"]
        history = record["History"]
        title, section = history[0], history[1]
        said = history[2:]
        turns = tuple((rewrites.get((dialogue, i // 2 + 1), said[i]), said[i + 1]) for i in range(0, len(said) - 1, 2))
        code = zlib.crc32(dialogue.encode())
        topics = (section, title) if code & 2 else ()
        yield Example(record["Question"], turns, topics, record["Rewrite"], bool(code & 1))


def rows(example: Example) -> Iterator[tuple[list[float], int]]:
    """Features and label of every mention, as `understand` would see them."""
    pronoun = pronoun_of(example.question)
    asked = set(index_terms(example.question))
    wanted = set(index_terms(example.rewrite)) - asked
    for entry in referents._collect(example.turns[-follow_up.READ_TURNS :], example.topics):
        if entry.key <= asked:
            continue
        values = referents.features(example.question, entry, pronoun)
        content = set(query_terms(entry.text))
        label = bool(content) and len(content & wanted) >= 0.6 * len(content)
        yield [values[name] for name in referents.FEATURES], int(label)


def fit(data: Sequence[Example]) -> dict[str, float]:
    from sklearn.linear_model import LogisticRegression

    pairs = [pair for example in data for pair in rows(example)]
    matrix = np.array([values for values, _ in pairs])
    model = LogisticRegression(C=1.0, max_iter=2000, fit_intercept=False)
    model.fit(matrix, [label for _, label in pairs])
    return {name: round(float(w), 3) for name, w in zip(referents.FEATURES, model.coef_[0], strict=True)}


def scores(data: Sequence[Example]) -> dict[str, float]:
    """Of the content words that gold rewrites add: recall, precision, F1; and questions left alone rightly."""
    added = right = wanted = alone = alone_right = 0
    for example in data:
        query = follow_up.understand(example.question, example.turns, topics=example.topics).query
        asked = set(query_terms(example.question))
        gold, ours = set(query_terms(example.rewrite)) - asked, set(query_terms(query)) - asked
        added, right, wanted = added + len(ours), right + len(gold & ours), wanted + len(gold)
        if not gold:
            alone, alone_right = alone + 1, alone_right + (not ours)
    precision, recall = right / max(1, added), right / max(1, wanted)
    return {
        "n": len(data),
        "recall": round(recall, 4),
        "precision": round(precision, 4),
        "f1": round(2 * precision * recall / max(1e-9, precision + recall), 4),
        "left_alone": round(alone_right / max(1, alone), 4),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m memory.train_referents", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data/canard/dev-half.json"), help="a CANARD file")
    options = parser.parse_args()
    data = list(examples(options.data))
    fitting, held_out = [e for e in data if not e.held_out], [e for e in data if e.held_out]
    weights: dict[str, Any] = fit(fitting)
    referents.WEIGHTS.clear()
    referents.WEIGHTS.update(weights)
    print("WEIGHTS =", json.dumps(weights, indent=4))
    print("fitted on", scores(fitting))
    print("held out ", scores(held_out))
    return 0


if __name__ == "__main__":
    raise SystemExit(cli_main(main))
