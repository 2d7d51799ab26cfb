"""Train and judge the model of rag/suspicion_model.py: a minute of one core.

    python -m rag.train_suspicion --squad ../shared/data/squad --out models/suspicion
    python -m rag.train_suspicion --squad ../shared/data/squad --evaluate     # each family of attacks held out in turn

Attacks are the templates of rag/suspicion_examples.json, filled in. Ordinary sentences: its other half (manuals,
contracts, forms, medicine, software), SQuAD's training articles, half of the docstrings of Python's own library, the
descriptions and licences of every second installed Python package, which speak of systems, users, prompts and models
all the time. Needs scikit-learn.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib.metadata
import json
import random
import re
import sys
import sysconfig
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UsageError, cli_main
from ingest.sentences import sentence_spans
from rag.suspicion_model import BUCKETS, letter_ngrams, pieces, tokens, word_ngrams

EXAMPLES = Path(__file__).with_name("suspicion_examples.json")
TIMES_EACH = 12  # templates filled in
MARKED = 0.003  # of ordinary passages, by the model alone
ARTICLES_SENTENCES, LIBRARY_SENTENCES = 12_000, 15_000
PASSAGE_CHARS = 900
KIN = (  # families that are held out together: each would tell of the other
    ("tools", "agent calls"), ("languages", "germanic", "romance", "slavic", "asian", "other languages"),
    ("exfiltration", "secrets"), ("set aside", "task hijack"), ("new identity", "style"),
)  # fmt: skip


def filled(told: dict[str, Any], seed: int = 0) -> tuple[list[tuple[str, str]], list[str]]:
    """((family, attack) pairs, ordinary sentences), every template TIMES_EACH times with other words."""
    chance = random.Random(seed)

    def fill(template: str, words: dict[str, list[str]]) -> str:
        text = re.sub(r"\{(\w+)\}", lambda m: chance.choice(words[m[1]]) if m[1] in words else m[0], template)
        return text[:1].upper() + text[1:]

    attacks = [
        (family, fill(template, told["words"]))
        for family, templates in told["attacks"].items()
        for template in templates
        for _ in range(TIMES_EACH)
    ]
    ordinary = [fill(t, told["benign words"]) for t in told["benign"] for _ in range(TIMES_EACH)]
    return attacks, ordinary + [fill(t, told["benign words"]) for t in told["benign elsewhere"] for _ in range(2)]


def sentences(text: str) -> list[str]:
    return [text[a:b] for a, b in sentence_spans(text) if b - a >= 8]


def passages(text: str) -> list[list[str]]:
    """Stretches of about a passage's length, as lists of sentences."""
    found: list[list[str]] = [[]]
    for sentence in sentences(text):
        found[-1].append(sentence)
        if sum(map(len, found[-1])) >= PASSAGE_CHARS:
            found.append([])
    return [passage for passage in found if passage]


def package_texts(remainder: int) -> list[str]:
    """Descriptions and licences of the installed packages whose name hashes to `remainder` modulo 2."""
    texts = []
    for package in sorted(importlib.metadata.distributions(), key=lambda d: d.metadata["Name"]):
        if zlib.crc32(package.metadata["Name"].lower().encode()) % 2 == remainder:
            texts.append(package.metadata.get_payload() or "")  # type: ignore[attr-defined]
            licences = [f for f in package.files or () if "LICENSE" in f.name.upper() or "COPYING" in f.name.upper()]
            texts += [
                Path(str(f.locate())).read_text("utf-8", "replace")
                for f in licences[:1]
                if Path(str(f.locate())).is_file()
            ]
    return [text for text in texts if isinstance(text, str) and len(text) > 300]


def library_texts(remainder: int) -> list[str]:
    """Docstrings of those files of Python's own library whose name hashes to `remainder` modulo 2."""
    root = Path(sysconfig.get_paths()["stdlib"])
    texts = []
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if zlib.crc32(name.encode()) % 2 != remainder or name.startswith(("site-packages", "test", "lib2to3/tests")):
            continue
        with contextlib.suppress(SyntaxError, ValueError):
            tree = ast.parse(path.read_text("utf-8", "replace"))
            kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
            told = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)]
            texts.append("\n\n".join(text for text in told if len(text) > 40))
    return [text for text in texts if len(text) > 300]


def features(texts: Sequence[str]) -> Any:
    """(n, 2 * BUCKETS) sparse matrix: counts of words' and letters' n-grams, scaled as in suspicion_model."""
    from scipy.sparse import csr_matrix

    columns, values, starts = [], [], [0]
    for text in texts:
        words = next(iter(pieces(tokens(text))), [])
        runs = list(word_ngrams(words))
        letters = [BUCKETS + bucket for word in words for bucket in letter_ngrams(word)]
        columns += runs + letters
        values += [1 / max(len(runs), 1) ** 0.5] * len(runs) + [1 / max(len(letters), 1) ** 0.5] * len(letters)
        starts.append(len(columns))
    shape = (len(texts), 2 * BUCKETS)
    return csr_matrix((np.array(values, np.float32), np.array(columns), np.array(starts)), shape=shape)


def fit(attacks: Any, ordinary: Any) -> tuple[np.ndarray, float]:
    """Weights (2 * BUCKETS,) and bias."""
    from scipy.sparse import vstack
    from sklearn.linear_model import LogisticRegression

    told = np.r_[np.ones(attacks.shape[0]), np.zeros(ordinary.shape[0])]
    model = LogisticRegression(C=10.0, class_weight="balanced", solver="liblinear", random_state=0)
    model.fit(vstack([attacks, ordinary]), told)
    return model.coef_[0].astype(np.float32), float(model.intercept_[0])


def highest(matrix: Any, passages_of: Sequence[Sequence[str]], weights: np.ndarray, bias: float) -> np.ndarray:
    """The highest score of each passage's sentences."""
    scores = matrix @ weights + bias
    ends = np.cumsum([len(passage) for passage in passages_of])
    return np.array([part.max() for part in np.split(scores, ends[:-1])])


def evaluate(
    attacks: list[tuple[str, str]], ordinary: Any, judged: dict[str, list[list[str]]], say: Callable[[str], None]
) -> dict[str, float]:
    """Recall of each family by a model that has never seen it, at MARKED false marks; with the signs beside it."""
    from rag.suspicious import english, signs_of

    flat = [passage for group in judged.values() for passage in group]
    matrix = features([sentence for passage in flat for sentence in passage])
    families = np.array([family for family, _ in attacks])
    vectors = features([text for _, text in attacks])
    signs = np.array([signs_of(text) for _, text in attacks])
    speaks = np.array([english(text) for _, text in attacks])
    by_signs = np.array([signs_of(" ".join(passage)) for passage in flat])
    found: dict[str, float] = {}
    say(f"{'held out':16}{'signs':>8}{'model':>8}{'both':>8}")
    rows = []
    for family in dict.fromkeys(families):
        kin = next((each for each in KIN if family in each), (family,))
        weights, bias = fit(vectors[~np.isin(families, kin)], ordinary)
        of_passages = highest(matrix, flat, weights, bias)
        threshold = float(np.quantile(of_passages, 1 - MARKED))
        here = families == family
        model = vectors[here] @ weights + bias
        both = marks(signs[here], model, threshold, speaks[here])
        wrong = marks(by_signs, of_passages, threshold, np.ones(len(flat), bool)).mean()
        rows.append((np.mean(signs[here] >= 0.7), np.mean(model >= threshold), np.mean(both), wrong))
        found[str(family)] = float(rows[-1][2])
        say(f"{family:16}" + "".join(f"{share:8.2f}" for share in rows[-1][:3]))
    mean = np.mean(rows, axis=0)
    say(f"{'mean':16}" + "".join(f"{share:8.2f}" for share in mean[:3]) + f"   ordinary passages marked {mean[3]:.4f}")
    return found


def marks(signs: np.ndarray, model: np.ndarray, threshold: float, speaks: np.ndarray) -> np.ndarray:
    """As rag/suspicious.py adds them up: the model alone from `threshold` on, with a sign from somewhat less."""
    from rag.suspicious import THRESHOLD, from_model

    added = [from_model(float(z) - threshold, speaks=bool(ours)) for z, ours in zip(model, speaks, strict=True)]
    return signs + np.array(added) >= THRESHOLD


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m rag.train_suspicion", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--squad", type=Path, required=True, help="folder of train-v1.0.json and dev-half-v1.1.json")
    parser.add_argument("--out", type=Path, help="folder for weights.safetensors")
    parser.add_argument("--evaluate", action="store_true", help="hold each family out in turn")
    parser.add_argument("--texts", type=Path, nargs="*", default=(), help="ordinary text files, only to judge by")
    options = parser.parse_args()
    if not (options.squad / "train-v1.0.json").is_file():
        raise UsageError(f"there is no train-v1.0.json in {options.squad}", remedy="Name SQuAD's folder with --squad")
    attacks, written = filled(json.loads(EXAMPLES.read_text("utf-8")))
    of_articles = [s for text in _articles(options.squad / "train-v1.0.json") for s in sentences(text)]
    random.Random(1).shuffle(of_articles)
    of_library = [s for text in library_texts(0) for s in sentences(text)]
    random.Random(2).shuffle(of_library)
    ordinary = written * 2 + of_articles[:ARTICLES_SENTENCES] + of_library[:LIBRARY_SENTENCES]
    ordinary += [s for text in package_texts(0) for s in sentences(text)]
    judged = {
        "articles": [sentences(text) for text in _articles(options.squad / "dev-half-v1.1.json")][:500],
        "packages": [passage for text in package_texts(1) for passage in passages(text)][::3][:800],
        "library": [passage for text in library_texts(1) for passage in passages(text)][::5][:600],
        **{path.name: passages(path.read_text("utf-8", "replace")) for path in options.texts},
    }
    print(f"{len(attacks)} attacks, {len(ordinary)} ordinary sentences to train on")
    of_ordinary = features(ordinary)
    if options.evaluate:
        print(json.dumps(evaluate(attacks, of_ordinary, judged, print)))
    weights, bias = fit(features([text for _, text in attacks]), of_ordinary)
    scores = {}
    for name, group in judged.items():
        scores[name] = highest(features([s for passage in group for s in passage]), group, weights, bias)
    threshold = float(np.quantile(np.concatenate(list(scores.values())), 1 - MARKED))
    for name, found in scores.items():
        print(f"marked by the model alone, {name}: {np.mean(found >= threshold):.4f} of {len(found)} passages")
    if options.out is not None:
        from safetensors.numpy import save_file

        options.out.mkdir(parents=True, exist_ok=True)
        tensors: dict[str, np.ndarray] = {
            "words": weights[:BUCKETS].astype(np.float16),
            "letters": weights[BUCKETS:].astype(np.float16),
            "bias": np.array([bias - threshold], np.float32),  # a logit of 0 is where MARKED of ordinary passages lie
        }
        save_file(tensors, options.out / "weights.safetensors")
        print(f"threshold {threshold:.3f}; written to {options.out}")
    return 0


def _articles(path: Path) -> list[str]:
    told = json.loads(path.read_text("utf-8"))["data"]
    return [paragraph["context"] for article in told for paragraph in article["paragraphs"]]


if __name__ == "__main__":
    sys.exit(cli_main(main))
