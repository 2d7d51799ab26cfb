"""A session as Markdown for people and as JSON for programs, piece by piece: the longest talk needs no more memory."""

from __future__ import annotations

import json
import re
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
    """Pieces: questions as headings, answers word for word, citations as a list under each.

    Raises NotFoundError, before the first piece is asked for.
    """
    info = store.session(session_id)
    turns = store.each_turn(session_id)

    def pieces() -> Iterator[str]:
        yield f"# {_line(info.title) or 'Conversation'}\n\n"
        for turn in turns:
            yield "\n".join(_markdown(turn)) + "\n"

    return pieces()


def _shown(text: str) -> str:
    """Text as whatever shows Markdown shows it: elements, links and pictures in it become what they look like.

    Documents and questions are other people's words; a page made of an export must run nothing that stands in them.
    """
    text = re.sub(r"&(?=#?\w+;)", "&amp;", text).replace("<", "&lt;")
    return re.sub(r"\](?=[(:\[])", r"]\\", text)


def _line(text: str) -> str:
    return _shown(" ".join(text.split()))


def _markdown(turn: Turn) -> Iterator[str]:
    yield f"## {turn.number}. {_line(turn.question)}"
    yield ""
    if turn.understood.strip() != turn.question.strip():
        yield f"*Understood as: {_line(turn.understood)}*"
        yield ""
    yield _shown(turn.answer)
    yield ""
    for citation in turn.details.get("citations", ()):
        quote, document = _line(str(citation["quote"])), _line(str(citation["document"]))
        yield f"- [{citation['n']}] {document}, page {citation['page']}: “{quote}”"
    yield ""
    yield f"<small>{turn.asked_at}</small>"
    yield ""
