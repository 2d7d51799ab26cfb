"""The prompt of a spoken conversation: Llama-3 turns, `<speech>` placeholders, retrieved context with its citations.

    context = fit_context(hits, budget_tokens=2000, count_tokens=lambda text: len(tokenizer(text).input_ids))
    text = format_prompt([("user", SPEECH + "\\n" + INSTRUCTION)], context=context.text)
    ids = encode_prompt(tokenizer, text)         # SPEECH_ID where the sound goes

Without context and history the result is the reference's prompt, token by token, its doubled BOS included. Text that
comes from documents or from people cannot forge turns: its control sequences are broken up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rag.types import Citation, Hit

SPEECH = "<speech>"
SPEECH_ID = -200  # the reference's IGNORE-like id for the placeholder
SYSTEM = (
    "You are a helpful language and speech assistant. You are able to understand the speech content that the user "
    "provides, and assist the user with a variety of tasks using natural language."
)
INSTRUCTION = "Please directly answer the questions in the user's speech."
CONTEXT_HEADER = (
    "Answer from these numbered passages of the user's documents, and put the number of the passage, such as [1], "
    "after each claim. If they do not hold the answer, say so."
)


def plain(text: str) -> str:
    """Break up control sequences of the chat format, so that a document cannot start a turn or place speech."""
    return text.replace("<|", "< |").replace(SPEECH, "< speech >")


def format_prompt(turns: Sequence[tuple[str, str]], *, system: str = SYSTEM, context: str = "") -> str:
    """(role, text) turns, role in {"user", "assistant"} -> the prompt up to where the assistant speaks.

    The context follows the system turn, as a second one: so the first stays a prefix common to all prompts. The texts
    of turns are taken as they are (they may hold `SPEECH`); pass what people wrote through `plain`.
    """

    def turn(role: str, text: str) -> str:
        return f"<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>"

    parts = ["<|begin_of_text|>", turn("system", system)]
    if context:
        parts.append(turn("system", context))
    parts += [turn(role, text) for role, text in turns]
    return "".join(parts) + "<|start_header_id|>assistant<|end_header_id|>\n\n"


def encode_prompt(tokenizer: Any, text: str) -> list[int]:
    """Tokenise around the placeholders; every chunk after the first loses the BOS that the tokenizer adds."""
    ids: list[int] = []
    for index, chunk in enumerate(text.split(SPEECH)):
        piece = list(tokenizer(chunk).input_ids)
        if index:
            ids.append(SPEECH_ID)
            if piece and piece[0] == tokenizer.bos_token_id:
                piece = piece[1:]
        ids += piece
    return ids


@dataclass(frozen=True)
class Context:
    """Passages as the model reads them, and what their numbers stand for."""

    text: str = ""
    citations: tuple[Citation, ...] = ()
    tokens: int = 0

    def cited(self, answer: str) -> tuple[Citation, ...]:
        """The citations whose [n] occurs in `answer`, in order of n."""
        return tuple(c for c in self.citations if f"[{c.n}]" in answer)


def fit_context(hits: Sequence[Hit], *, budget_tokens: int, count_tokens: Callable[[str], int]) -> Context:
    """As many passages, best first, as the budget holds; the last one may be cut at a word, never below 40 characters.

    Numbers follow the order of `hits`, so [n] in the reply is `citations[n - 1]`.
    """
    parts, citations = [CONTEXT_HEADER], []
    used = count_tokens(CONTEXT_HEADER)
    for n, hit in enumerate(hits, start=1):
        head = f"[{n}] {plain(hit.chunk.document)}, page {hit.chunk.page}:\n"
        body = plain(hit.chunk.text.strip())
        cost = _cost(count_tokens, head, body)
        cut = used + cost > budget_tokens
        if cut:
            body = _cut(body, budget_tokens - used, partial(_cost, count_tokens, head))
            if not body:
                break
            cost = _cost(count_tokens, head, body)
        parts.append(head + body)
        citations.append(_citation(n, hit))
        used += cost
        if cut:
            break
    if not citations:
        return Context()
    return Context("\n\n".join(parts), tuple(citations), used)


def _cost(count_tokens: Callable[[str], int], head: str, body: str) -> int:
    return count_tokens("\n\n" + head + body)


def _cut(body: str, budget: int, cost: Callable[[str], int]) -> str:
    words = body.split(" ")
    low, high = 0, len(words)
    while low < high:  # cost grows with length: bisect
        middle = (low + high + 1) // 2
        low, high = (middle, high) if cost(" ".join(words[:middle])) <= budget else (low, middle - 1)
    kept = " ".join(words[:low])
    return kept if len(kept) >= 40 else ""


def _citation(n: int, hit: Hit) -> Citation:
    """Point to the best located span, else to the whole passage."""
    if hit.spans:
        best = hit.spans[0]
        return Citation(n, best.document, best.page, best.text, best.start, best.end, best.boxes, True, best.score)
    chunk = hit.chunk
    return Citation(n, chunk.document, chunk.page, chunk.text, chunk.start, chunk.end, (), True, hit.score)
