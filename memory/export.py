"""A session as Markdown for people and as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict

from memory.dialogue_store import DialogueStore


def export_json(store: DialogueStore, session_id: str) -> str:
    """{"session": {...}, "turns": [...], "memories": [...]}; the sharing code is left out. Raises NotFoundError."""
    info = asdict(store.session(session_id))
    info.pop("code")  # whoever has it can read and continue the session
    turns = store.turns(session_id)
    record = {
        "session": info,
        "turns": [asdict(turn) for turn in turns],
        "facts": [asdict(m) for m in store.facts(session_id=session_id, holding=False, limit=-1)],
    }
    return json.dumps(record, ensure_ascii=False, indent=2)


def export_markdown(store: DialogueStore, session_id: str) -> str:
    """Questions as headings, answers verbatim, citations as a list under each. Raises NotFoundError."""
    info = store.session(session_id)
    lines = [f"# {info.title or 'Conversation'}", ""]
    for turn in store.turns(session_id):
        lines += [f"## {turn.number}. {' '.join(turn.question.split())}", ""]
        if turn.understood.strip() != turn.question.strip():
            lines += [f"*Understood as: {' '.join(turn.understood.split())}*", ""]
        lines += [turn.answer, ""]
        for citation in turn.details.get("citations", ()):
            quote = " ".join(str(citation["quote"]).split())
            lines.append(f"- [{citation['n']}] {citation['document']}, page {citation['page']}: “{quote}”")
        lines += ["", f"<small>{turn.asked_at}</small>", ""]
    return "\n".join(lines)
