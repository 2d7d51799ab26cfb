"""Which words a question is likely to hold, by the passages that its first reading finds.

    passages = PassageWords(["the khazars owed labour . kiev fell", ...])
    near = passages.near([("what did the byzantines help the chasers with", 0.8), ...])
    near.p("khazars", ("the",))                   # 0.04: among the words of those passages, after "the"
    near.words                                    # {"khazars": 0.011, ...}: their frequencies

A question is about some passage, so its names are mostly in the passages that the words around them find: of the words
that questions are about, 86 % stand in the first five. Passages weigh as a softmax of BM25, terms of the question count
as often as the readings have them. P is a bigram, backed off to the frequencies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from omni.question_patterns import STOP_WORDS
from omni.transcript_text import words_of
from rag.lexical_index import LexicalIndex

PASSAGE_WORDS = 120
NEAR = 5  # passages
SHARPNESS = 1.5  # of BM25: a passage so much worse is worth 1/e
BACKOFF = 0.5  # counts that a history gives to words unseen after it, for each word that was seen
END = "."  # between sentences

History = tuple[str, ...]


def passages_of(sentences: Sequence[Sequence[str]]) -> Iterator[str]:
    """Consecutive sentences of lower-case words as passages of PASSAGE_WORDS and more, one line each."""
    passage: list[str] = []
    for sentence in sentences:
        passage += [*sentence, END]
        if len(passage) >= PASSAGE_WORDS:
            yield " ".join(passage)
            passage = []
    if passage:
        yield " ".join(passage)


class NearWords:
    """The words of some passages. Immutable after its making."""

    def __init__(self, passages: Sequence[tuple[Sequence[str], float]]) -> None:
        """Words of each passage with END between sentences, and what the passage weighs."""
        self.words: dict[str, float] = defaultdict(float)
        self._after: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for words, weight in passages:
            before = "<s>"
            for word in words:
                if word == END:
                    before = "<s>"
                    continue
                self.words[word] += weight / len(words)
                self._after[before][word] += weight
                before = word
        self._seen = {before: sum(after.values()) for before, after in self._after.items()}

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Each two words that stand in a row."""
        return ((before, word) for before, after in self._after.items() for word in after if before != "<s>")

    def p(self, word: str, history: History = ()) -> float:
        """P(word | the last word of history); 0 for a word that is in none of them."""
        alone = self.words.get(word, 0.0)
        after = self._after.get(history[-1]) if history else None
        if after is None:
            return alone
        rest = BACKOFF * len(after)
        return (after.get(word, 0.0) + rest * alone) / (self._seen[history[-1]] + rest)


class PassageWords:
    """The passages of some documents, to be searched. Immutable after its making."""

    def __init__(self, passages: Sequence[str]) -> None:
        self._index = LexicalIndex.build(passage.split() for passage in passages)
        self._terms = list(self._index.vocabulary)

    def near(self, readings: Sequence[tuple[str, float]]) -> NearWords | None:
        """The words of the passages that some readings of one question find; (text, weight) each. None if they find
        nothing."""
        wanted: dict[str, float] = defaultdict(float)
        for text, weight in readings:
            for term in {form for word in words_of(text) if word not in STOP_WORDS for form in self._forms(word)}:
                wanted[term] += weight
        if not wanted:
            return None
        terms = list(wanted)
        idfs = self._index.idf(terms) * np.array([min(1.0, wanted[term]) for term in terms], np.float32)
        scores = self._index.score(terms, idfs).bm25
        rows = np.argsort(-scores, kind="stable")[:NEAR]
        rows = rows[scores[rows] > 0]
        if not len(rows):
            return None
        weights = np.exp((scores[rows] - scores[rows[0]]) / SHARPNESS)
        weights /= weights.sum()
        found = [[self._terms[term] for term in self._index.sequence_of(int(row))] for row in rows]
        return NearWords(list(zip(found, weights.tolist(), strict=True)))

    def _forms(self, word: str) -> list[str]:
        """The word and its plural or singular, as far as the documents have them."""
        stem = word.removesuffix("'s")
        forms = {stem, f"{stem}s", stem.removesuffix("s"), word}
        return [form for form in forms if len(form) > 1 and form in self._index.vocabulary]
