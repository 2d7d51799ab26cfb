"""An answer on its way to one of OpenAI's clients: the question prepared, the text as far as it may be shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from fastapi import Request

from web.v1.access import require, visible
from web.v1.cutting import Cut
from web.v1.openai_models import unknown_model
from web.v1.openai_schemas import Sampling
from web.v1.questions import answer_events
from web.v1.streams import sse
from web.v1.workspaces import exists
from web.wiring import Assistant

_MARKER = re.compile(r"\[(\d+)\]")
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}, "description": "The answer; with `stream` its chunks"}
}


@dataclass
class Reply:
    """An answer under way, as `pieces` yields it."""

    workspace: str
    question: str
    history: Sequence[tuple[str, str]]
    cut: Cut
    prompt_tokens: int
    citations: list[dict[str, Any]] = field(default_factory=list)
    refused: bool = False
    written_by: str | None = None

    def pieces(self, assistant: Assistant) -> Iterator[tuple[str, dict[str, Any] | None]]:
        """(text, citation) as they come; either may be empty. Afterwards the other fields are true."""
        events = answer_events(assistant, self.question, self.workspace, history=self.history)
        try:
            for kind, data in events:
                if kind == "text":
                    if shown := self.cut.feed(data["text"]):
                        yield shown, None
                elif kind == "citation":
                    self.citations.append(data)
                    yield "", data
                elif kind == "answer":
                    self.refused, self.written_by = data["refused"], data["model"]
                    known = {citation["n"] for citation in self.citations}
                    for citation in data["citations"]:
                        if citation["n"] not in known:
                            self.citations.append(citation)
                            yield "", citation
                if self.cut.done:
                    break
            if shown := self.cut.finish():
                yield shown, None
        finally:
            events.close()  # type: ignore[attr-defined]  # a generator
        if self.cut.done:  # citations of sentences that are not shown go as well
            left = {int(n) for n in _MARKER.findall(self.cut.text)}
            self.citations = [citation for citation in self.citations if citation["n"] in left]

    def usage(self, count_tokens: Callable[[str], int]) -> dict[str, int]:
        written = count_tokens(self.cut.text)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": written,
            "total_tokens": self.prompt_tokens + written,
        }


def prepare(
    request: Request,
    assistant: Assistant,
    wanted: Sampling,
    question: str,
    history: Sequence[tuple[str, str]],
    max_tokens: int | None,
    *,
    also_sent: Sequence[str] = (),
) -> tuple[Reply, Callable[[str], int]]:
    from ingest.embedders import load_token_counter

    check_workspace(request, assistant, wanted.model)
    count = load_token_counter(assistant.settings.embedder)
    stops = [wanted.stop] if isinstance(wanted.stop, str) else list(wanted.stop or ())
    sent = sum(map(count, [question, *also_sent, *(text for _, text in history)]))
    cut = Cut(stops=stops, max_tokens=max_tokens, count_tokens=count)
    return Reply(wanted.model, question, history, cut, sent), count


def check_workspace(request: Request, assistant: Assistant, name: str) -> None:
    """Raises ApiError 404 (model_not_found) for what is no workspace, or none of the caller's."""
    names = visible(request, assistant.workspaces())
    if name not in names:
        raise unknown_model(name, names)
    require(request, name)
    if name != "default" and not exists(assistant, name):
        raise unknown_model(name, names)


def page_links(base_url: str, reply: Reply) -> list[dict[str, Any]]:
    """Where in the answer each citation is marked, and the address of the page it stands on."""
    by_number = {citation["n"]: citation for citation in reply.citations}
    found = []
    for match in _MARKER.finditer(reply.cut.text):
        citation = by_number.get(int(match.group(1)))
        if citation is None:
            continue
        place = f"{quote(reply.workspace)}/documents/{quote(citation['document'])}/pages/{citation['page']}"
        found.append(
            {
                "type": "url_citation",
                "url_citation": {
                    "start_index": match.start(),
                    "end_index": match.end(),
                    "title": f"{citation['document']}, page {citation['page']}",
                    "url": f"{base_url.rstrip('/').removesuffix('/v1')}/v1/workspaces/{place}",
                },
            }
        )
    return found


def failed(detail: dict[str, Any]) -> bytes:
    """A failure in the middle of a stream, as OpenAI's clients expect it."""
    return sse({"error": detail})
