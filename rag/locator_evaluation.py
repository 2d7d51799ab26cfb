"""What a reader in training is worth on held-out questions: on the gold paragraph, and on reads of several windows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from rag.article_memory import ArticleMemory
from rag.locator_reads import Example, one_by_one
from rag.reading import assemble, best_spans, cut_windows, sentence_logits
from rag.sliding_window import SENTENCE, SPAN_END, SPAN_START, SlidingWindowReader
from rag.span_metrics import exact_match, token_f1
from rag.squad import Question, Squad


@torch.no_grad()
def evaluate(
    model: SlidingWindowReader, data: Squad, questions: Sequence[Question], device: torch.device
) -> dict[str, float]:
    """F1, EM and sentence accuracy on the gold paragraph; AUROC of no-answer against the hardest negative."""
    model.eval()
    f1, em, hits, null_gold, null_other = [], [], [], [], []
    for question in questions:
        for paragraph in [question.paragraph, *question.negatives[:1].tolist()]:
            text = data.paragraphs[paragraph]
            windows = [(text, w.start, w.end) for w in cut_windows([len(text.ids)], model.config)]
            batch = assemble([question.ids], [windows], model.config)
            with torch.autocast(device.type, torch.bfloat16):
                out = model(batch.ids.to(device), batch.kinds.to(device), batch.mask.to(device))
            tokens, null = out.tokens[0].cpu(), out.null[0].cpu()
            best = best_spans(tokens[..., SPAN_START], tokens[..., SPAN_END], batch.text[0], count=1)[0]
            margin = float(null[SPAN_START] + null[SPAN_END]) - best.logit
            if paragraph != question.paragraph:
                null_other.append(margin)
                continue
            null_gold.append(margin)
            window = windows[best.window]
            first = window[1] + best.start - batch.first[0][best.window]
            last = window[1] + best.end - 1 - batch.first[0][best.window]
            answer = data.contexts[paragraph][text.offsets[first, 0] : text.offsets[last, 1]]
            f1.append(token_f1(answer, question.answers))
            em.append(exact_match(answer, question.answers))
            relevance = sentence_logits(tokens[None, ..., SENTENCE], batch.sentences, int(batch.sentences.max()) + 1)
            hits.append(int(relevance.argmax()) in {int(text.sentences[s]) for s, _ in question.spans})
    model.train()
    gold, other = np.array(null_gold), np.array(null_other)
    auroc = float((other[:, None] > gold[None]).mean()) if len(other) else float("nan")
    return {"f1": float(np.mean(f1)), "em": float(np.mean(em)), "sentence": float(np.mean(hits)), "auroc": auroc}


def whole_paragraphs(data: Squad, question: Question, paragraphs: Sequence[int]) -> Example:
    """A read of the first window of each paragraph."""
    texts = [data.paragraphs[p] for p in paragraphs]
    windows = [(text, 0, min(len(text.ids), 256)) for text in texts]
    spans = [(s, e) for s, e in question.spans if e <= windows[0][2]] if paragraphs[0] == question.paragraph else []
    return Example(question, windows, spans, list(paragraphs))


@torch.no_grad()
def evaluate_reads(
    model: SlidingWindowReader,
    data: Squad,
    questions: Sequence[Question],
    device: torch.device,
    *,
    memory: ArticleMemory | None = None,
    alone: bool = False,
    windows: int = 5,
) -> dict[str, float]:
    """Best span of a read of the gold paragraph and its likeliest confounders, all of one article.

    f1, em, right (the span lies in a sentence that holds a gold answer), and auroc of "no answer" against the same
    read with one more confounder in place of the gold paragraph. `alone`: every window is a read of its own, and the
    best is that whose span stands out most from its own "no answer".
    """
    model.eval()
    f1, em, right, margins = [], [], [], []
    for question in questions:
        others = question.negatives[:windows].tolist()
        for answerable in (True, False):
            read = [question.paragraph, *others[: windows - 1]] if answerable else others
            if not read:
                continue
            example = whole_paragraphs(data, question, read)
            reads = one_by_one([example]) if alone else [example]
            batch = assemble([question.ids] * len(reads), [r.windows for r in reads], model.config)
            notes = [t.to(device) for t in memory.entries(reads)] if memory else [None, None]
            with torch.autocast(device.type, torch.bfloat16):
                out = model(batch.ids.to(device), batch.kinds.to(device), batch.mask.to(device), *notes)
            tokens, null = out.tokens.cpu(), out.null.cpu()
            best = []
            for r in range(len(reads)):
                found = best_spans(tokens[r, ..., SPAN_START], tokens[r, ..., SPAN_END], batch.text[r], count=1)[0]
                nothing = float(null[r, SPAN_START] + null[r, SPAN_END])
                best.append((found.logit - nothing, r, found))
            margin, r, found = max(best, key=lambda item: item[0])
            margins.append((answerable, margin))
            if not answerable:
                continue
            at = r if alone else found.window
            first = found.start - batch.first[r][found.window]
            last = found.end - 1 - batch.first[r][found.window]
            text = data.paragraphs[read[at]]
            answer = data.contexts[read[at]][text.offsets[first, 0] : text.offsets[last, 1]]
            f1.append(token_f1(answer, question.answers))
            em.append(exact_match(answer, question.answers))
            golds = {int(text.sentences[s]) for s, _ in question.spans} if at == 0 else set()
            right.append(int(text.sentences[first]) in golds)
    model.train()
    held, empty = (np.array([m for a, m in margins if a is wanted]) for wanted in (True, False))
    auroc = float((held[:, None] > empty[None]).mean()) if len(empty) else float("nan")
    return {"f1": float(np.mean(f1)), "em": float(np.mean(em)), "right": float(np.mean(right)), "auroc": auroc}
