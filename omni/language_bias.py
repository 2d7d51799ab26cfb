"""The recogniser's language model, biased towards the documents of a workspace.

    language = document_language(workspace)                      # cheap: reads nothing yet
    recogniser.transcribe(waveform, vocabulary=language)         # builds the mixed model once per workspace version

P(w | h) = (1 - t(h)) * P_general(w | h) + t(h) * P_documents(w | h): linear interpolation (Jelinek & Mercer, 1980) over
the *union* of both trigram models' n-grams, so that general speech keeps its whole model. The documents' share t(h)
rises to WEIGHT for a history that they know well. P_documents is a
Witten-Bell smoothed trigram of the documents' sentences, said as `spoken` says them, and of questions about their
phrases. Words that the pronouncing dictionary lacks are pronounced by espeak-ng, phoneme by phoneme in ARPAbet.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from core.seals import seal, sealed, unseal
from omni.arpabet import to_arpabet
from omni.sphinx_lm import TrigramModel, read_trie, write_trie
from omni.spoken_form import spoken

if TYPE_CHECKING:
    from ingest.workspace import Workspace

logger = logging.getLogger(__name__)

WEIGHT = 0.5  # of the documents' model; see benchmarks/speech.py
SMALL_DOCUMENT = 2000  # words; of a text this short, half the trust is put into the frequency of single words
MAX_WORDS = 400_000  # of the documents, taken evenly from all of them: about 1,000 pages
MAX_NEW_WORDS = 20_000  # outside the dictionary, the most frequent first
FORMAT = 1  # grows when files of older versions must not be used

STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a an and any are as at be been but by can could did do does for from had has have he her his how i if in into
        is it its may more most no not of on or our shall she should so such than that the their them then there these
        they this those to under upon us was we were what when where which who whom whose why will with would you
        your""",
    )
)
_QUESTION_FRAMES = """what is _|what is the _|what was the _|what are the _|what were the _|what does the _
what did the _|what does _|what did _|how many _|how many _ are there|how much _|how much is the _|how much was the _
how does the _|how does _|how did the _|how did _|how long is the _|how is the _|how was _|who is _
who is the _|who was _|who was the _|who were the _|when is the _|when was _|when was the _|when did _
when did the _|where is _|where is the _|where was _|where was the _|where did _|why is the _|why did _
why was the _|why does _|which _|which _ was|which _ is|is _|is the _|are _|does _|does the _|did _
did the _|can _|was the _|according to the _|according to _|what percentage of _|what percentage of the _
what type of _|what kind of _|what year was _|in what year did _|in which year was _|what happened to _
what caused the _|tell me about _|tell me about the _|name the _|of the _|in the _|for the _|by _|with the _
to _|on the _|between _ and"""
FRAMES = [frame.split() for line in _QUESTION_FRAMES.splitlines() for frame in line.split("|")]


class DocumentLanguage(Sequence[str]):
    """The language of some documents: as a sequence, its characteristic words, most frequent first.

    key: names the state of the documents; files built from it are kept in `folder` under that key.
    read: gives the text, passage by passage; called only when something has to be built.
    """

    def __init__(self, key: str, folder: Path, read: Callable[[], Iterable[str]]) -> None:
        self.key = key
        self.folder = folder
        self._read = read
        self._words: list[str] | None = None

    def sentences(self) -> Iterator[list[str]]:
        """Each sentence as lower-case words."""
        for passage in self._read():
            for sentence in re.split(r"(?<=[.!?])\s+|\n\s*\n|[;:]\s", passage):
                words = words_of(sentence)
                if words:
                    yield words

    @property
    def words(self) -> list[str]:
        if self._words is None:
            counts = Counter(
                w for s in self.sentences() for w in s if w not in STOP_WORDS and w.isalpha() and len(w) > 2
            )
            self._words = [word for word, _ in counts.most_common(2000)]
        return self._words

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self.words[index]

    def __len__(self) -> int:
        return len(self.words)


def document_language(workspace: Workspace) -> DocumentLanguage:
    """The language of a workspace's documents, in its present version."""

    def read() -> Iterator[str]:
        chunks = workspace.chunk_count()
        stride = max(1, round(chunks * 150 / MAX_WORDS))  # a chunk has some 150 words
        seen = 0
        for document in workspace.documents():
            for chunk in workspace.document_chunks(document.document_id):
                if seen % stride == 0:
                    yield chunk.text
                seen += 1

    return DocumentLanguage(f"v{workspace.version}", workspace.derived / "language", read)


def phrase_language(phrases: Sequence[str]) -> DocumentLanguage:
    """The language of a plain list of words or sentences (`vocabulary=["EBITDA", ...]`)."""
    digest = hashlib.sha256("\n".join(phrases).encode()).hexdigest()[:16]
    return DocumentLanguage(digest, Path(tempfile.gettempdir()) / f"lectern-language-{os.getuid()}", lambda: phrases)


@dataclass(frozen=True)
class BiasedModel:
    """What pocketsphinx needs: a language model file, and pronunciations of words outside its dictionary."""

    language_model: Path
    pronunciations: dict[str, str]  # word: ARPAbet phones


def biased_model(language: DocumentLanguage, general: Path, known: Callable[[str], bool]) -> BiasedModel:
    """The mixed model of `language`, from its folder or built now (some seconds) and stored there.

    general: pocketsphinx's binary model; known: whether the pronouncing dictionary has a word.
    """
    stem = language.folder / f"{language.key}-{FORMAT}-{WEIGHT:g}"
    model_file, words_file = stem.with_name(stem.name + ".lm.bin"), stem.with_name(stem.name + ".json")
    if not (sealed(model_file) and sealed(words_file)):
        _build(language, general, known, model_file, words_file)
    return BiasedModel(model_file, json.loads(words_file.read_text()))


def _build(
    language: DocumentLanguage, general: Path, known: Callable[[str], bool], model_file: Path, words_file: Path
) -> None:
    sentences = list(language.sentences())
    base = read_trie(general)
    counts = Counter(word for sentence in sentences for word in sentence)
    unknown = [word for word, _ in counts.most_common() if not known(word)][:MAX_NEW_WORDS]
    pronunciations = {word: phones for word in unknown if (phones := to_arpabet(word))}
    usable = {word for word in counts if word in pronunciations or known(word)}
    mixed = interpolate(base, [*sentences, *question_patterns(sentences)], usable, WEIGHT)
    language.folder.mkdir(parents=True, exist_ok=True)
    for old in [*language.folder.glob("*.lm.bin"), *language.folder.glob("*.json")]:
        if old.name.rpartition(".")[0].split("-")[0] != language.key:
            unseal(old)
    partial = model_file.with_name(f".{model_file.name}.{os.getpid()}")
    write_trie(partial, mixed)
    words_file.write_text(json.dumps(pronunciations, ensure_ascii=False))
    os.replace(partial, model_file)
    for path in (words_file, model_file):
        seal(path)
    logger.info(
        "language model of %s: %d words of the documents, %d new", language.key, len(usable), len(pronunciations)
    )


def words_of(sentence: str) -> list[str]:
    """A sentence as the recogniser would write it: lower case, figures and symbols said, no marks."""
    if re.search(r"[^a-z ,.'’\n-]", sentence[1:]):  # the rules are slow, and most sentences need none
        sentence = spoken(sentence)
    return re.findall(r"[a-z]+(?:'[a-z]+)*", sentence.lower().replace("’", "'"))


def question_patterns(sentences: Sequence[list[str]]) -> Iterator[list[str]]:
    """Questions about the phrases (words between stop words, at most three) of the documents, each in turn in the
    next few frames: more of a phrase that occurs more often."""
    phrases: Counter[tuple[str, ...]] = Counter()
    for sentence in sentences:
        run: list[str] = []
        for word in [*sentence, "the"]:
            if word not in STOP_WORDS:
                run.append(word)
                continue
            for length in (1, 2, 3):
                phrases.update(tuple(run[i : i + length]) for i in range(len(run) - length + 1))
            run = []
    turn = 0
    for phrase, count in phrases.most_common(30_000):
        for _ in range(min(8, 1 + count.bit_length())):
            frame = FRAMES[turn % len(FRAMES)]
            turn += 1
            at = frame.index("_")
            yield [*frame[:at], *phrase, *frame[at + 1 :]]


def interpolate(base: TrigramModel, sentences: Iterable[list[str]], usable: set[str], weight: float) -> TrigramModel:
    """Mix a trigram model of `sentences` into `base`; words that are not `usable` break an n-gram."""
    words = list(base.words)
    ids = {word: index for index, word in enumerate(words)}
    for word in sorted(usable - ids.keys()):
        ids[word] = len(words)
        words.append(word)
    size = len(words)
    start, end = ids["<s>"], ids["</s>"]
    stream = [-1]  # one long array; -1 separates
    for sentence in sentences:
        stream += [start, *(ids[word] if word in usable else -1 for word in sentence), end, -1]
    text = np.array(stream, dtype=np.int64)

    # counts: unigrams, bigrams as (word, history), trigrams as (bigram key, first)
    predicted = text[(text >= 0) & (text != start)]
    count1 = np.bincount(predicted, minlength=size).astype(np.float64)
    p1_doc = count1 / count1.sum()
    before, after = text[:-1], text[1:]
    whole = (before >= 0) & (after >= 0) & (after != start)
    key2_doc, count2 = np.unique(after[whole] * size + before[whole], return_counts=True)
    first = text[:-2]
    whole3 = (first >= 0) & whole[1:] & (text[1:-1] != start)
    place = np.searchsorted(key2_doc, text[2:][whole3] * size + text[1:-1][whole3])
    key3_doc, count3 = np.unique(place * size + first[whole3], return_counts=True)

    # unigrams
    p1_base = np.zeros(size)
    p1_base[: len(base.words)] = np.exp(base.unigram_logp.astype(np.float64))
    back1_base = np.zeros(size)
    back1_base[: len(base.words)] = base.unigram_backoff
    # What documents say about a history is worth `weight` as far as they have seen it, and less below.
    trust1 = 0.5 * weight * len(predicted) / (len(predicted) + SMALL_DOCUMENT)
    p1 = (1 - trust1) * p1_base + trust1 * p1_doc

    # bigrams: the union, sorted by (word, history)
    key2_base = base.bigram_words * size + base.bigram_history
    key2 = _union(key2_base, key2_doc)
    word2, history2 = key2 // size, key2 % size
    total, kinds = _history_totals(key2_doc % size, count2, size)
    p2_doc = p1_doc[word2] * np.where(total > 0, kinds / np.maximum(total + kinds, 1), 1.0)[history2]
    at2_doc = np.searchsorted(key2, key2_doc)
    history_doc = key2_doc % size
    p2_doc[at2_doc] += count2 / (total + kinds)[history_doc]
    p2_base = np.exp(back1_base[history2]) * p1_base[word2]
    at2_base = np.searchsorted(key2, key2_base)
    p2_base[at2_base] = np.exp(base.bigram_logp)
    trust2 = _trust(trust1, weight, total, kinds)
    p2 = (1 - trust2[history2]) * p2_base + trust2[history2] * p2_doc
    back1 = _backoff(history2, p2, p1[word2], size)

    # trigrams: (index into the union of bigrams "b c") * size + a
    key3_base = at2_base[base.trigram_bigram] * size + base.trigram_first
    key3_doc = at2_doc[key3_doc // size] * size + key3_doc % size
    key3 = _union(key3_base, key3_doc)
    suffix3, first3 = key3 // size, key3 % size
    context3 = np.searchsorted(key2, history2[suffix3] * size + first3)  # the bigram "a b"
    context3 = np.minimum(context3, len(key2) - 1)
    in_union = key2[context3] == history2[suffix3] * size + first3
    back2_base = np.zeros(len(key2))
    back2_base[at2_base] = base.bigram_backoff
    at3_doc = np.searchsorted(key3, key3_doc)
    total3, kinds3 = _history_totals(context3[at3_doc], count3, len(key2))
    p3_doc = p2_doc[suffix3] * np.where(total3 > 0, kinds3 / np.maximum(total3 + kinds3, 1), 1.0)[context3]
    p3_doc[at3_doc] += count3 / (total3 + kinds3)[context3[at3_doc]]
    p3_base = np.exp(back2_base[context3]) * p2_base[suffix3]
    p3_base[np.searchsorted(key3, key3_base)] = np.exp(base.trigram_logp)
    trust3 = _trust(trust2[word2], weight, total3, kinds3)[context3]
    p3 = (1 - trust3) * p3_base + trust3 * p3_doc
    back2 = _backoff(context3[in_union], p3[in_union], p2[suffix3[in_union]], len(key2))

    return TrigramModel(
        words,
        _log(p1),
        back1,
        word2,
        history2,
        _log(p2),
        back2,
        suffix3,
        first3,
        _log(p3),
    )


def _union(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sorted union of two sorted arrays: a stable sort merges two runs, six times faster than numpy's hashing."""
    merged = np.sort(np.concatenate([a, b]), kind="stable")
    return merged[np.concatenate([[True], merged[1:] != merged[:-1]])]


def _history_totals(history: np.ndarray, counts: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Per history: how often it was seen, and how many different words followed it (Witten & Bell's T)."""
    total = np.bincount(history, weights=counts, minlength=size)
    return total, np.bincount(history, minlength=size).astype(np.float64)


def _trust(lower: float | np.ndarray, weight: float, total: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """The documents' share per history: `lower` where they never saw it, towards `weight` the better they know it."""
    return lower + (weight - lower) * total / np.maximum(total + kinds, 1)


def _backoff(history: np.ndarray, p: np.ndarray, p_lower: np.ndarray, size: int) -> np.ndarray:
    """log of (1 - sum of seen p) / (1 - sum of the same words' lower-order p), per history."""
    left = np.maximum(1.0 - np.bincount(history, weights=p, minlength=size), 1e-6)
    lower = np.maximum(1.0 - np.bincount(history, weights=p_lower, minlength=size), 1e-6)
    return np.log(left / lower).astype(np.float32)


def _log(p: np.ndarray) -> np.ndarray:
    return np.log(np.clip(p, 1e-12, 1.0)).astype(np.float32)
