"""What one read says: logits of its tokens, and the spans of the passages with the features they are judged by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rag.reading import TokenText

# Log-odds of what the softmaxes say. One feature, so that calibration keeps their order: ranked by a model that also
# saw the sentence head, the best span fell from F1 75.9 to 72.5 on SQuAD dev.
SPAN_FEATURES = ("probability",)
REFUSAL_FEATURES = ("null_span", "null_sentence", "best")  # log-odds of no answer by two heads; of the best span
_ODDS = 12.0


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
