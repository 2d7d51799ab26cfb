"""One turn of the user: what is being heard, or what its transcript is awaited for."""

from __future__ import annotations

from dataclasses import dataclass, field

from omni.live.answering import Answering
from omni.live.hearing import Hearing
from omni.live.latency import TurnTimes
from omni.live.speculation import Speculation
from omni.live.turn_taking import Words
from omni.types import Transcript


@dataclass
class Turn:
    """State of one turn, until it is answered, obeyed or found to be none."""

    number: int
    start: int  # absolute frame at which it began
    base: int  # absolute frame of the first that was given to the recogniser
    hearing: Hearing
    speculation: Speculation
    interrupts: bool  # began while the assistant had something to say, and is not judged yet
    partial: str = ""
    shown: str = ""  # of it
    readings: tuple[str, ...] = ()
    words: Words = field(default_factory=Words)
    speech_frames: int = 0
    told: bool = False  # `hearing` was sent
    times: TurnTimes | None = None  # once it has ended
    joins: Answering | None = None  # the turn before, whose answer had not sounded
    before: Turn | None = None  # ended just before, its transcript still awaited when this one began
    final: Transcript | None = None
    found: dict[tuple[str, ...], float] = field(default_factory=dict)  # when what was looked up in advance was found
    stopped_speech: int = 0  # the speech that it interrupted
    ended: bool = False
