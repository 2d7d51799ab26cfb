"""A session as Markdown for people and as JSON for programs, piece by piece: the longest talk needs no more memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from memory.dialogue_store import DialogueStore
from memory.types import Turn


def export_json(store: DialogueStore, session_id: str) -> Iterator[str]:
    """Pieces of {"session": {...}, "turns": [...], "facts": [...]}, a line a turn; the sharing code is left out.

    Raises NotFoundError, before the first piece is asked for.
    """
    info = asdict(store.session(session_id))
    info.pop("code")  # whoever has it can read and continue the session
    turns = store.each_turn(session_id)
    facts = [asdict(memory) for memory in store.facts(session_id=session_id, holding=False, limit=-1)]

    def pieces() -> Iterator[str]:
        yield f'{{"session": {_json(info)},\n"turns": ['
        separator = "\n"
        for turn in turns:
            yield f"{separator}{_json(vars(turn))}"
            separator = ",\n"
        yield '\n],\n"facts": ['
        yield ",\n".join(map(_json, facts))
        yield "]}\n"

    return pieces()


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def export_markdown(store: DialogueStore, session_id: str) -> Iterator[str]:
    """Pieces: questions as headings, answers verbatim, citations as a list under each.

    Raises NotFoundError, before the first piece is asked for.
    """
    info = store.session(session_id)
    turns = store.each_turn(session_id)

    def pieces() -> Iterator[str]:
        yield f"# {info.title or 'Conversation'}\n\n"
        for turn in turns:
            yield "\n".join(_markdown(turn)) + "\n"

    return pieces()


def _markdown(turn: Turn) -> Iterator[str]:
    yield f"## {turn.number}. {' '.join(turn.question.split())}"
    yield ""
    if turn.understood.strip() != turn.question.strip():
        yield f"*Understood as: {' '.join(turn.understood.split())}*"
        yield ""
    yield turn.answer
    yield ""
    for citation in turn.details.get("citations", ()):
        quote = " ".join(str(citation["quote"]).split())
        yield f"- [{citation['n']}] {citation['document']}, page {citation['page']}: “{quote}”"
    yield ""
    yield f"<small>{turn.asked_at}</small>"
    yield ""
