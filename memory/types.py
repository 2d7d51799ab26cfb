"""The records of a conversation and of what is remembered from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from rag.types import Answer
from rag.wordings import Wording

MemoryKind = Literal["turn", "fact"]
FollowUpKind = Literal["alone", "fragment", "reason", "pronoun", "incomplete", "model"]


@dataclass(frozen=True)
class Understood:
    """A question as it is searched for."""

    question: str  # as asked
    query: str  # self-contained
    kind: FollowUpKind
    because: tuple[str, ...] = ()  # what was taken from earlier turns
    others: tuple[Wording, ...] = ()  # what else it may mean, with probabilities; `query` has the rest of 1

    @property
    def changed(self) -> bool:
        return self.query != self.question


@dataclass(frozen=True)
class Turn:
    """One question with its answer, verbatim."""

    turn_id: int  # unique in the workspace, grows with time
    session_id: str
    number: int  # from 1 inside its session
    asked_at: str  # ISO 8601, UTC
    question: str  # as typed or heard
    understood: str  # what was searched for; equal to the question unless it was a follow-up
    answer: str  # as shown, with its [n] markers
    details: dict[str, Any] = field(
        default_factory=dict
    )  # citations, evidence (chunk ids), refused, model, interrupted


@dataclass(frozen=True)
class SessionInfo:
    """A conversation without its turns."""

    session_id: str
    code: str  # takes the session up on another device, e.g. "K7QM-2XPA-9DRF"
    title: str
    created_at: str  # ISO 8601, UTC
    updated_at: str
    turns: int
    remember: bool  # whether long-term memory is written and read in this session
    guest: bool = False  # somebody else's, taken up by its code


@dataclass(frozen=True)
class Said:
    """Words of a turn as they are to be remembered."""

    text: str
    speaker: str = "user"  # user | assistant, or a name in an imported conversation
    kind: MemoryKind = "turn"
    subject: str = ""  # facts: what it is about, lower case; a later fact of the same subject supersedes it


@dataclass(frozen=True)
class Memory:
    """Something remembered: a turn's words, or a fact that the user stated. Nothing in it is inferred."""

    memory_id: int
    kind: MemoryKind
    text: str
    said_at: str  # ISO 8601, UTC
    turn_id: int  # where it was said
    session_id: str
    speaker: str = "user"
    previous: int = 0  # the memory before it in its session, 0 for the first
    subject: str = ""
    superseded_at: str = ""  # when it ceased to hold; empty while it holds
    pinned: bool = False  # always recalled
    edited_at: str = ""  # when somebody changed the text
    score: float = 0.0  # of the recall that found it


@dataclass(frozen=True)
class DialogueAnswer(Answer):
    """An answer inside a conversation: how the question was understood and what was remembered for it."""

    understood: str = ""  # the self-contained question that was searched for
    turn: Turn | None = None  # as stored; None if the store failed
    recalled: tuple[Memory, ...] = ()
