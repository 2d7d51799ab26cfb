"""The process that benchmarks/reliability.py kills: it adds, replaces, removes, embeds, asks and talks, for ever.

Every line on stdout is JSON: {"begin": OP, ...} before an operation, {"done": OP, ...} once it has been acknowledged to
whoever called. {"wrong": ...} is an answer that contradicts what has been acknowledged.
"""

from __future__ import annotations

import json
import random
import re
import sys
from pathlib import Path

from core.settings import Settings, load_settings

DOCUMENTS = 8
PASSAGES = 40  # sentences of a document


def settings_of(home: Path) -> Settings:
    """Hashing embedder and a tiny limit for exact search, so that FAISS' compressed lists take part."""
    settings = load_settings(home, embedder={"model": "hashing:64"})
    return settings.model_copy(update={"retrieval": settings.retrieval.model_copy(update={"flat_limit": 12})})


def marker(number: int, version: int) -> str:
    """A word that only this version of this document has."""
    return f"marker{number}x{version}q"


def text_of(number: int, version: int) -> str:
    chance = random.Random(1000 * number + version)
    words = re.findall(r"\w+", "tenant rent premises deposit notice repair clause payment schedule insurance landlord")
    lines = []
    for index in range(PASSAGES):
        line = " ".join(chance.choice(words) for _ in range(12)).capitalize()
        lines.append(f"{line} {marker(number, version)} {index}.")
        if index % 4 == 3:
            lines.append("\n")
    return f"# Document {number}\n\n" + " ".join(lines)


def main() -> None:
    home, seed = Path(sys.argv[1]), int(sys.argv[2])
    state: dict[int, int] = {int(k): v for k, v in json.loads(sys.argv[3]).items()}  # document -> version, if there
    from ingest.embedders import load_embedder
    from ingest.embedding import embed_pending
    from ingest.pipeline import ingest_file
    from ingest.workspace import Workspace
    from memory.dialogue_store import DialogueStore
    from rag.retriever import HybridRetriever

    chance, settings = random.Random(seed), settings_of(home)
    folder = home / "incoming"
    folder.mkdir(parents=True, exist_ok=True)
    tell("begin", op="open")
    workspace = Workspace.open(home, "default")
    embedder = load_embedder(settings.embedder)
    retriever = HybridRetriever(workspace, embedder, settings.retrieval)
    dialogue = DialogueStore(workspace.path)
    session = dialogue.create("killed").session_id
    tell("done", op="open")
    while True:
        op = chance.choices(["add", "remove", "embed", "ask", "say"], [3, 3, 3, 5, 3])[0]
        number = chance.randrange(DOCUMENTS)
        name = f"document{number}.md"
        if op == "add":
            version = state.get(number, 0) + 1
            path = folder / name
            path.write_text(text_of(number, version), encoding="utf-8")
            tell("begin", op=op, number=number, version=version)
            report = ingest_file(workspace, path, settings=settings, name=name)
            assert report.status in ("added", "replaced", "unchanged"), report
            state[number] = version
            tell("done", op=op, number=number, version=version)
        elif op == "remove" and number in state:
            tell("begin", op=op, number=number)
            workspace.remove(name)
            del state[number]
            tell("done", op=op, number=number)
        elif op == "embed":
            tell("begin", op=op)
            embed_pending(workspace, embedder)
            tell("done", op=op)
        elif op == "ask":
            tell("begin", op=op)
            if problem := wrong_answers(retriever, state, [number]):
                tell("wrong", problem=problem)
            tell("done", op=op)
        elif op == "say":
            question = f"question {chance.random()}"
            tell("begin", op=op, question=question)
            dialogue.append(session, question, question, "an answer")
            tell("done", op=op, question=question)


def wrong_answers(retriever: object, state: dict[int, int], numbers: list[int]) -> str:
    """What a search for these documents finds that is not in `state`, or misses; "" if nothing."""
    for number in numbers:
        version = state.get(number)
        hits = retriever.search(f"{marker(number, version or 1)} tenant notice", top_k=5)  # type: ignore[attr-defined]
        texts = [hit.chunk.text for hit in hits]
        if version is not None and not (texts and marker(number, version) in texts[0]):
            return f"document {number} version {version} is acknowledged and not found"
        if version is None and any(f"marker{number}x" in text for text in texts):
            return f"document {number} has been removed and is found"
        if any(f"marker{n}x" in text and (n not in state or marker(n, state[n]) not in text)
               for text in texts for n in range(DOCUMENTS)):  # fmt: skip
            return f"an old version is found for document {number}"
    return ""


def tell(kind: str, **what: object) -> None:
    print(json.dumps({kind: what.get("op", True), **what}), flush=True)


if __name__ == "__main__":
    main()
