"""What a live conversation is given: who answers, and the settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from omni.live.turn_taking import TurnTaking
from omni.types import Transcript
from rag.types import Answer, AnswerEvent, Citation, Hit

Mode = Literal["hands_free", "push_to_talk"]


class LiveReply(Protocol):
    """One answer as it is written. Iterated and closed by one thread at a time; `heard` may come from any."""

    @property
    def question(self) -> str:
        """What is being searched for, if it differs from what was asked; known from the first event on."""
        ...

    def __iter__(self) -> Iterator[AnswerEvent]: ...
    def __next__(self) -> AnswerEvent: ...
    def close(self) -> None: ...

    def heard(self, text: str) -> None:
        """Only so much of the answer was heard: the conversation keeps no more of it."""
        ...

    def forget(self) -> None:
        """The question was not what was meant: the conversation keeps nothing of it."""
        ...


class Answerer(Protocol):
    """One conversation with the documents of a workspace. Called from threads, never by two at once but for `look`."""

    def look(self, transcript: Transcript) -> Sequence[Hit]:
        """Search and read for what may be asked; nothing of it is kept, but asking it then takes less time."""
        ...

    def ask(self, transcript: Transcript) -> LiveReply:
        """Answer what was understood; the transcript's hypotheses may help to find its page."""
        ...

    def citation_json(self, citation: Citation) -> dict[str, Any]: ...
    def hit_json(self, hit: Hit) -> dict[str, Any]: ...
    def answer_json(self, answer: Answer) -> dict[str, Any]: ...

    @property
    def conversation(self) -> str:
        """Id of the stored conversation, "" before its first turn."""
        ...


@dataclass(frozen=True)
class LiveSettings:
    """Of one conversation; what a user may set of it is in core/settings.py."""

    turn_taking: TurnTaking = field(default_factory=TurnTaking)
    rate: float = 1.0  # speaking rate
    lead_s: float = 4.0  # sound sent ahead of the listener
    behind_s: float = 10.0  # sound that may wait to be decoded
    join_s: float = 2.5  # speech that follows the end of a turn so soon, before an answer sounds, belongs to it
