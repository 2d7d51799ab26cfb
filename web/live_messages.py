"""What a client of a live conversation may send, checked (docs/live.md). Unknown fields are ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from core.errors import LecternError, UsageError
from omni.live.commands import CommandName
from omni.live.types import Mode

PROTOCOL = 1
MAX_TEXT = 65_536  # bytes of a JSON message
MAX_FRAME = 16_384  # bytes of a sound frame
MAX_QUESTION = 8000  # characters

Count = Annotated[int, Field(ge=0, le=2**53)]
Milliseconds = Annotated[float, Field(ge=-3.6e6, le=3.6e6, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1, max_length=MAX_QUESTION)]


class Have(BaseModel):
    speech: Count
    chunk: int


class Hello(BaseModel):
    type: Literal["hello"]
    protocol: int
    mode: Mode = "hands_free"
    speak: bool = True
    sample_rate: int = 16_000  # of what will be sent; no other is understood, and saying so beats mishearing it all
    conversation: str = Field("", max_length=200)
    session: str = Field("", max_length=200)
    last_event: Count = 0
    have: Have | None = None


class SetMode(BaseModel):
    type: Literal["mode"]
    mode: Mode


class Talk(BaseModel):
    type: Literal["talk"]
    down: bool


class Ask(BaseModel):
    type: Literal["ask"]
    text: Text


class Correct(BaseModel):
    type: Literal["correct"]
    turn: Count
    text: Text


class DoCommand(BaseModel):
    type: Literal["command"]
    name: CommandName


class Speak(BaseModel):
    type: Literal["speak"]
    on: bool


class Gap(BaseModel):
    type: Literal["gap"]
    samples: Annotated[int, Field(ge=0, le=16_000 * 3600)]


class Played(BaseModel):
    type: Literal["played"]
    speech: Count
    samples: Count
    playing: bool = True


class FirstPlayed(BaseModel):
    type: Literal["first_played"]
    speech: Count
    turn: Count
    after_speech_end_ms: Milliseconds
    after_decision_ms: Milliseconds = 0.0


class Stopped(BaseModel):
    type: Literal["stopped"]
    speech: Count
    after_speech_start_ms: Milliseconds


class Ping(BaseModel):
    type: Literal["ping"]
    id: int | str | Annotated[float, Field(allow_inf_nan=False)] | None = None


class Bye(BaseModel):
    type: Literal["bye"]


KNOWN = (Hello, SetMode, Talk, Ask, Correct, DoCommand, Speak, Gap, Played, FirstPlayed, Stopped, Ping, Bye)
_MESSAGE: TypeAdapter[Any] = TypeAdapter(
    Annotated[
        Hello | SetMode | Talk | Ask | Correct | DoCommand | Speak | Gap | Played | FirstPlayed | Stopped | Ping | Bye,
        Field(discriminator="type"),
    ]
)


class UnknownMessage(UsageError):
    """A message of a type that this version does not know: harmless."""


def parse(text: str) -> BaseModel:
    """A client's message. Raises UnknownMessage, UsageError."""
    if len(text) > MAX_TEXT or len(text.encode()) > MAX_TEXT:
        raise UsageError(f"a message is longer than {MAX_TEXT // 1024} KiB", remedy="Send less at once")
    try:
        return _MESSAGE.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "union_tag_invalid":
            raise UnknownMessage("this server does not know such a message", remedy="See docs/live.md") from error
        if first["type"] == "json_invalid":
            raise UsageError(f"a message is no JSON: {first['msg']}", remedy="See docs/live.md") from error
        where = ".".join(str(part) for part in first["loc"]) or "type"
        raise UsageError(
            f"a message is not as it should be: {where}: {first['msg']}", remedy="See docs/live.md"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError("a message is no JSON", remedy="See docs/live.md") from error


def error_event(code: str, error: LecternError, *, fatal: bool = False) -> dict[str, Any]:
    """The fields of an `error` event about a message rather than a turn."""
    from web.schemas import error_json

    return {"turn": 0, "code": code, **error_json(error), "fatal": fatal}
