"""History and memories for a chat model, packed into a token budget: the most relevant first, in their order."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from memory.types import Memory, Turn
from rag.prompts import NOTES, rough_tokens

KEPT_TURNS = 3  # the latest; rag/prompts.py passes on eight messages
MEMORY_SHARE = 0.4  # of the budget, at most, for memories
_MARKER = re.compile(r"\s*\[\d+(?:\s*[,;]\s*\d+)*\]")


def pack_history(
    turns: Sequence[Turn],
    memories: Sequence[Memory] = (),
    *,
    max_tokens: int = 1200,
    count_tokens: Callable[[str], int] = rough_tokens,
) -> list[tuple[str, str]]:
    """(role, text) messages, oldest first, of at most `max_tokens` in all.

    `memories`, best first, become one leading note in the order they were said; of `turns` the latest are kept whole
    and the one that no longer fits is cut.
    """
    messages: list[tuple[str, str]] = []
    spent = 0
    if note := _note(memories, int(max_tokens * MEMORY_SHARE), count_tokens):
        messages.append(("user", note))
        spent = count_tokens(note)
    kept: list[tuple[str, str]] = []
    for turn in reversed(turns[-KEPT_TURNS:]):
        answer = _MARKER.sub("", turn.answer)
        if turn.details.get("interrupted"):
            answer = f"{answer.rstrip()} …".lstrip()  # a message may not be empty
        pair = [("user", turn.understood), ("assistant", answer)]
        cost = sum(count_tokens(text) for _, text in pair)
        left = max_tokens - spent
        if cost > left:
            question_cost = count_tokens(pair[0][1])
            if left - question_cost < 40:
                break
            pair[1] = ("assistant", _cut(pair[1][1], left - question_cost, count_tokens))
            kept = pair + kept
            break
        spent += cost
        kept = pair + kept
    return messages + kept


def _note(memories: Sequence[Memory], max_tokens: int, count_tokens: Callable[[str], int]) -> str:
    spent, chosen = count_tokens(NOTES), []
    for memory in memories:
        line = f"- {memory.said_at[:10]}, {memory.speaker}: {' '.join(memory.text.split())}"
        line += f" (no longer true since {memory.superseded_at[:10]})" if memory.superseded_at else ""
        cost = count_tokens(line)
        if spent + cost <= max_tokens:
            spent += cost
            chosen.append((memory.memory_id, line))
    return "\n".join([NOTES, *(line for _, line in sorted(chosen))]) if chosen else ""


def _cut(text: str, max_tokens: int, count_tokens: Callable[[str], int]) -> str:
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count_tokens(text[:middle] + " …") <= max_tokens else (low, middle - 1)
    return text[:low].rstrip() + " …"
