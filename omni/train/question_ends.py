"""Fit models/turn_taking/question_ends.json.gz: where questions and sentences end.

    python -m omni.train.question_ends [--data ../shared/data/squad/train-v1.0.json]

SQuAD's training questions and sentences (Rajpurkar et al., 2016; CC BY-SA 4.0), each once whole and twice cut off: once
anywhere, once after a word after which hardly anybody ends. L2-regularised logistic regression; needs scikit-learn.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from core.errors import UsageError, cli_main
from omni.live.completeness import words_of
from omni.live.question_ends import PATH, features

FREQUENT = 300  # words that stand for themselves
LEAST = 12  # occurrences of a feature
KEPT = 0.08  # smaller weights are left out
SENTENCES = 60_000
GOES_ON = frozenset(str.split("a an the of in on at to for from with by and or is are was were that which if than as"))


def examples(texts: Sequence[str], rng: random.Random) -> list[tuple[list[str], bool]]:
    """Words and whether they are whole."""
    found: list[tuple[list[str], bool]] = []
    for text in texts:
        words = words_of(text)
        if not 3 <= len(words) <= 30:
            continue
        cuts = [rng.randrange(1, len(words))]
        cuts += (
            rng.sample(places, 1) if (places := [i for i in range(1, len(words)) if words[i - 1] in GOES_ON]) else []
        )
        found.append((words, True))
        found += [(words[:cut], False) for cut in cuts]
    return found


def fit(data: Path) -> dict[str, object]:
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression

    articles = json.loads(data.read_text())["data"]
    rng = random.Random(0)
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    questions = [qa["question"] for paragraph in paragraphs for qa in paragraph["qas"]]
    sentences = [s for paragraph in paragraphs for s in paragraph["context"].split(". ") if s[:1].isupper()]
    rng.shuffle(sentences)
    found = examples([*questions, *sentences[:SENTENCES]], rng)
    counts = Counter(word for words, _ in found for word in words[-1:])
    frequent = frozenset(word for word, _ in counts.most_common(FREQUENT) if word.isalpha() or "'" in word)
    rows = [dict.fromkeys(features(words, frequent), 1.0) for words, _ in found]
    seen = Counter(feature for row in rows for feature in row)
    rows = [{feature: 1.0 for feature in row if seen[feature] >= LEAST} for row in rows]
    vectorizer = DictVectorizer()
    matrix = vectorizer.fit_transform(rows)
    whole = [int(label) for _, label in found]
    model = LogisticRegression(C=0.5, max_iter=120, class_weight="balanced").fit(matrix, whole)
    weights = dict(zip(vectorizer.get_feature_names_out(), model.coef_[0].tolist(), strict=True))
    print(f"{len(found)} examples, {len(weights)} features, right in {model.score(matrix, whole):.3f} of them")
    return {
        "bias": round(float(model.intercept_[0]), 3),
        "frequent": sorted(frequent),
        "weights": {name: round(weight, 2) for name, weight in sorted(weights.items()) if abs(weight) >= KEPT},
    }


def run(data: Path) -> int:
    if not data.is_file():
        raise UsageError(f"{data} is missing", remedy="Name SQuAD's training questions with --data")
    # mtime 0: the same weights are the same file
    PATH.write_bytes(gzip.compress(json.dumps(fit(data), separators=(",", ":")).encode(), mtime=0))
    print(f"{PATH}: {PATH.stat().st_size / 1024:.0f} KiB")
    return 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/squad/train-v1.0.json"))
    arguments = parser.parse_args(argv)
    return cli_main(lambda: run(arguments.data))


if __name__ == "__main__":
    raise SystemExit(main())
