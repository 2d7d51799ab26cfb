"""The recogniser's language model, biased towards the documents of a workspace.

    language = document_language(workspace)                      # cheap: reads nothing yet
    recogniser.transcribe(waveform, vocabulary=language)         # builds the mixed model once per workspace version

The documents' model counts their sentences, said as `spoken` says them, and questions about their phrases
(omni/question_patterns.py); it is mixed into the general one (omni/trigram_mixture.py), never used alone. Words that
the pronouncing dictionary lacks are said by the voice's letters-to-sound (omni/arpabet.py). The words of each document
are kept, so that a further document costs its own pages and one mixing.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from core.seals import seal, sealed, unseal
from omni.arpabet import pronunciations
from omni.passage_words import passages_of
from omni.question_patterns import STOP_WORDS, questions
from omni.sphinx_lm import read_trie, write_trie
from omni.spoken_citations import document_name
from omni.transcript_text import untokenised, words_of
from omni.trigram_mixture import interpolate
from omni.written_forms import Counts, forms_in, merged

if TYPE_CHECKING:
    from ingest.workspace import Workspace

__all__ = ["BiasedModel", "DocumentLanguage", "biased_model", "document_language", "phrase_language", "words_of"]

logger = logging.getLogger(__name__)

WEIGHT = 0.7  # of the documents' model where it knows a history well; the general decoder listens beside it
MAX_WORDS = 400_000  # of the documents, taken evenly from all of them: about 1,000 pages
MAX_PART_WORDS = 100_000  # of one document, taken evenly: what keeps a book of 1,000 pages from minutes of work
MAX_NEW_WORDS = 20_000  # outside the dictionary, the most frequent first
MAX_TERMS = 20_000
MIN_QUESTIONS, MAX_QUESTIONS = 10_000, 40_000
NAMES = 500  # that get a possessive
APART_FROM = 200  # chunks of a workspace from which a process of its own builds its model (omni/language_worker.py)
FORMAT = 5  # grows when files of older versions must not be used

_NAME = re.compile(r"(?<=[a-z0-9,;] )[A-Z][A-Za-z&]*[A-Za-z](?![A-Za-z])")  # inside a sentence
_PLAIN = re.compile(r"(?<![A-Za-z])[a-z]+(?![A-Za-z])")


@dataclass(frozen=True)
class Part:
    """A document's words as they are heard, and its names as they are written."""

    sentences: list[list[str]]  # lower case
    names: dict[str, int]  # "Boeing": how often it stands inside a sentence, if seldom in lower case
    forms: Counts = field(default_factory=dict)  # what is written otherwise than it is said (omni/written_forms.py)


class DocumentLanguage(Sequence[str]):
    """The language of some documents: as a sequence, its characteristic words, most frequent first.

    key: names the state of the documents; files built from it are kept in `folder` under that key.
    read: gives the text, passage by passage; called only when something has to be built.
    documents: in place of `read`, (key, read) of each document, so that what was read of one is kept.
    apart: folder of the workspace, where there is so much to read that a process of its own should do it.
    """

    def __init__(
        self,
        key: str,
        folder: Path,
        read: Callable[[], Iterable[str]] = lambda: (),
        *,
        documents: Callable[[], Iterable[tuple[str, Callable[[], Iterable[str]]]]] | None = None,
        apart: Path | None = None,
    ) -> None:
        self.key = key
        self.apart = apart
        self.folder = folder
        self._read = read
        self._documents = documents
        self._words: list[str] | None = None
        self._names: list[str] | None = None

    @property
    def name(self) -> str:
        """One name per state of one set of documents."""
        return f"{self.folder}/{self.key}"

    def parts(self) -> Iterator[Part]:
        """What each document says."""
        if self._documents is None:
            yield read_part(self._read())
            return
        kept = self.folder / "documents"
        kept.mkdir(parents=True, exist_ok=True)
        wanted = set()
        for key, read in self._documents():
            path = kept / f"{key}-{FORMAT}.json.gz"
            wanted |= {path.name, f"{path.name}.crc"}
            if sealed(path):
                record = json.loads(gzip.decompress(path.read_bytes()))
                yield Part([line.split() for line in record["sentences"]], record["names"], record["forms"])
                continue
            part = read_part(read())
            lines = [" ".join(words) for words in part.sentences]
            record = {"sentences": lines, "names": part.names, "forms": part.forms}
            write_sealed(path, gzip.compress(json.dumps(record).encode(), 1))
            yield part
        for path in kept.iterdir():  # of documents that are gone
            if path.name not in wanted:
                path.unlink(missing_ok=True)

    def sentences(self) -> Iterator[list[str]]:
        """Each sentence as lower-case words."""
        for part in self.parts():
            yield from part.sentences

    @property
    def words(self) -> list[str]:
        if self._words is None:
            self._words = list(_terms(self.sentences()))[:2000]
        return self._words

    @property
    def names(self) -> list[str]:
        """The documents' names as they are written, most frequent first."""
        if self._names is None:
            counts: Counter[str] = Counter()
            for part in self.parts():
                counts.update(part.names)
            self._names = [name for name, _ in counts.most_common(NAMES)]
        return self._names

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

    def reader(document_id: str, name: str, chunks: int) -> Callable[[], Iterator[str]]:
        def read() -> Iterator[str]:
            yield document_name(name)
            stride = max(1, round(chunks * 150 / MAX_PART_WORDS))  # a chunk has some 150 words
            for index, chunk in enumerate(workspace.document_chunks(document_id)):
                if index % stride == 0:
                    yield chunk.text

        return read

    def documents() -> Iterator[tuple[str, Callable[[], Iterator[str]]]]:
        for info in workspace.documents():
            if info.chunks:
                yield info.document_id, reader(info.document_id, info.name, info.chunks)

    apart = workspace.path if workspace.chunk_count() >= APART_FROM else None
    return DocumentLanguage(f"v{workspace.version}", workspace.derived / "language", documents=documents, apart=apart)


def phrase_language(phrases: Sequence[str]) -> DocumentLanguage:
    """The language of a plain list of words or sentences (`vocabulary=["EBITDA", ...]`)."""
    digest = hashlib.sha256("\n".join(phrases).encode()).hexdigest()[:16]
    return DocumentLanguage(digest, Path(tempfile.gettempdir()) / f"lectern-language-{os.getuid()}", lambda: phrases)


def read_part(passages: Iterable[str]) -> Part:
    """Sentences, names and ways of writing of one document's passages."""
    sentences: list[list[str]] = []
    capital: Counter[str] = Counter()
    plain: Counter[str] = Counter()
    passages = [untokenised(passage) for passage in passages]
    for passage in passages:
        capital.update(_NAME.findall(passage))
        plain.update(_PLAIN.findall(passage))
        for sentence in re.split(r"(?<=[.!?])\s+|\n\s*\n|[;:]\s", passage):
            words = words_of(sentence)
            if words:
                sentences.append(words)
    names = {name: n for name, n in capital.most_common() if n >= 2 and n > 3 * plain[name.lower()]}
    return Part(sentences, names, forms_in(passages, sentences))


@dataclass(frozen=True)
class BiasedModel:
    """What pocketsphinx needs, and what is known of the documents' words."""

    language_model: Path
    pronunciations: dict[str, list[str]]  # of words outside its dictionary: ARPAbet phones, likeliest first
    names: dict[str, str] = field(default_factory=dict)  # "boeing": "Boeing", "amd": "AMD"
    terms: dict[str, int] = field(default_factory=dict)  # words that may be asked for: how often they stand there
    forms: dict[str, str] = field(default_factory=dict)  # "wartwo": "War II" (omni/written_forms.py)

    def passages(self) -> list[str]:
        """The documents' sentences in runs (omni/passage_words.py); read anew each time."""
        path = _passages_file(self.language_model)
        return gzip.decompress(path.read_bytes()).decode().splitlines() if sealed(path) else []


def biased_model(language: DocumentLanguage, general: Path, known: Callable[[str], bool]) -> BiasedModel:
    """The mixed model of `language`, from its folder or built now (some seconds) and stored there.

    general: pocketsphinx's binary model; known: whether the pronouncing dictionary has a word.
    """
    model_file, words_file = _files(language)
    if not is_built(language):
        _build(language, general, known, model_file, words_file)
    return read_built(model_file)


def is_built(language: DocumentLanguage) -> bool:
    """Whether the mixed model of just this state of the documents lies in the folder, undamaged."""
    return all(map(sealed, _files(language)))


def built_model(language: DocumentLanguage) -> BiasedModel | None:
    """The mixed model of `language` if it has been built, else the newest one of another state of its documents."""
    model_file = _newest(language)
    return None if model_file is None else read_built(model_file)


def as_built(language: DocumentLanguage) -> DocumentLanguage | None:
    """`language` if its model has been built, else the state of its documents of which the newest one was."""
    model_file = _newest(language)
    if model_file is None:
        return None
    key = model_file.name.removesuffix(_suffix())
    return language if key == language.key else DocumentLanguage(key, language.folder)


def _newest(language: DocumentLanguage) -> Path | None:
    model_file, _ = _files(language)
    candidates = [model_file, *sorted(language.folder.glob(f"*{_suffix()}"), key=_age)]
    for candidate in candidates:
        if candidate.exists() and sealed(candidate) and sealed(_words_file(candidate)):
            return candidate
    return None


def _suffix() -> str:
    return f"-{FORMAT}-{WEIGHT:g}.lm.bin"


def read_built(model_file: Path) -> BiasedModel:
    """The model whose language model is that file."""
    record: dict[str, Any] = json.loads(_words_file(model_file).read_text(encoding="utf-8"))
    return BiasedModel(model_file, record["pronunciations"], record["names"], record["terms"], record["forms"])


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:  # removed meanwhile by a newer one
        return 0.0


def _files(language: DocumentLanguage) -> tuple[Path, Path]:
    model_file = language.folder / f"{language.key}{_suffix()}"
    return model_file, _words_file(model_file)


def _words_file(model_file: Path) -> Path:
    return model_file.with_name(model_file.name.removesuffix(".lm.bin") + ".json")


def _passages_file(model_file: Path) -> Path:
    return model_file.with_name(model_file.name.removesuffix(".lm.bin") + ".passages.gz")


def _build(
    language: DocumentLanguage, general: Path, known: Callable[[str], bool], model_file: Path, words_file: Path
) -> None:
    parts = list(language.parts())
    sentences = _evenly([sentence for part in parts for sentence in part.sentences])
    names: Counter[str] = Counter()
    for part in parts:
        names.update(part.names)
    owners = [words for name, _ in names.most_common(NAMES) if (words := words_of(name))]
    size = sum(map(len, sentences))
    asked = list(questions(sentences, owners, min(MAX_QUESTIONS, max(MIN_QUESTIONS, size // 4))))
    counts = Counter(word for sentence in [*sentences, *asked] for word in sentence)
    unknown = [word for word, _ in counts.most_common() if not known(word)][:MAX_NEW_WORDS]
    new = {word: said for word in unknown if (said := pronunciations(word))}
    usable = {word for word in counts if word in new or known(word)}
    mixed = interpolate(read_trie(general), [*sentences, *asked], usable, WEIGHT)
    record = {
        "pronunciations": new,
        "names": {name.lower(): name for name, _ in reversed(names.most_common())},
        "terms": dict(list(_terms(sentences).items())[:MAX_TERMS]),
        "forms": merged(part.forms for part in parts),
    }
    language.folder.mkdir(parents=True, exist_ok=True)
    passages = "\n".join(passages_of(sentences))
    write_sealed(_passages_file(model_file), gzip.compress(passages.encode(), 1))
    partial = model_file.with_name(f".{model_file.name}.{os.getpid()}")
    write_trie(partial, mixed)
    os.replace(partial, model_file)
    seal(model_file)
    write_sealed(words_file, json.dumps(record, ensure_ascii=False).encode())
    # earlier states go last: somebody may be asking with them meanwhile
    for old in [path for kind in ("*.lm.bin", "*.json", "*.passages.gz") for path in language.folder.glob(kind)]:
        if old not in (model_file, words_file, _passages_file(model_file)) and not _same_state(old, language.key):
            unseal(old)
    logger.info("language model of %s: %d words of the documents, %d new", language.key, len(usable), len(new))


def _same_state(path: Path, key: str) -> bool:
    """Whether a file was built by this or another version of the program from the same documents: `v12-2-0.7...`."""
    return path.name.startswith(f"{key}-{FORMAT}-")


def write_sealed(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(data)
    os.replace(partial, path)
    seal(path)


def _evenly(sentences: list[list[str]]) -> list[list[str]]:
    """At most MAX_WORDS, taken evenly."""
    stride = max(1, round(sum(map(len, sentences)) / MAX_WORDS))
    return sentences[::stride]


def _terms(sentences: Iterable[list[str]]) -> dict[str, int]:
    """Words that carry meaning, most frequent first."""
    counts = Counter(w for s in sentences for w in s if w not in STOP_WORDS and w.isalpha() and len(w) > 2)
    return dict(counts.most_common())
