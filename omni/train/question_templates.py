"""How people ask, learned from questions about encyclopedia articles: what to expect around a document's words.

    python -m omni.train.question_templates ../shared/data/squad/train-v1.0.json

Every question is written as the recogniser would hear it; words that occur in questions about many different articles
stay ("in what year did", "percent", "company"), every run of others becomes one slot "_" for the words of a workspace.
Writes models/recognition/question_templates.txt.gz, one template a line, read by omni/question_patterns.py.
SQuAD is by Rajpurkar et al., 2016, CC BY-SA 4.0.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from core.errors import UsageError, cli_main
from omni.question_patterns import SLOT, TEMPLATES
from omni.transcript_text import words_of

COMMON = 20  # a word that was asked with about so many articles belongs to the way of asking
KEPT = 40_000  # of the templates, by lot


def templates(questions: Sequence[tuple[str, list[str]]], *, common: int = COMMON) -> list[list[str]]:
    """(article, words of a question) -> templates, in the same order."""
    articles: dict[str, set[str]] = defaultdict(set)
    for article, words in questions:
        for word in words:
            articles[word].add(article)
    structure = {word for word, seen in articles.items() if len(seen) >= common}
    result = []
    for _, words in questions:
        template: list[str] = []
        for word in words:
            if word in structure:
                template.append(word)
            elif not template or template[-1] != SLOT:
                template.append(SLOT)
        result.append(template)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m omni.train.question_templates")
    parser.add_argument("squad", type=Path, help="train-v1.0.json of SQuAD")
    parser.add_argument("--without", default="", help="titles of articles to leave out, separated by commas")
    parser.add_argument("--out", type=Path, default=TEMPLATES)
    options = parser.parse_args()
    if not options.squad.is_file():
        raise UsageError(f"there is no {options.squad}", remedy="Download SQuAD 1.1's training file and name it")
    left_out = set(options.without.split(","))
    questions = [
        (article["title"], words_of(question["question"]))
        for article in json.loads(options.squad.read_text(encoding="utf-8"))["data"]
        if article["title"] not in left_out
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]
    found = [" ".join(template) for template in templates([item for item in questions if item[1]])]
    chosen = sorted(random.Random(0).sample(found, min(KEPT, len(found))))  # sorted: half the size
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(gzip.compress(("\n".join(chosen) + "\n").encode("ascii"), mtime=0))
    print(f"{options.out}: {len(chosen)} of {len(found)} templates, {options.out.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    raise SystemExit(cli_main(main))
