"""How long each step of a turn took, from the end of speech to the first sound in the listener's ear: one record."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import Any, Literal

log = logging.getLogger("lectern.live")

Step = Literal["decided", "transcript", "first_hit", "first_text", "first_audio", "played"]


@dataclass
class TurnTimes:
    """Times of one turn on the server's clock, in seconds."""

    turn: int
    speech_end: float  # the last frame of speech reached the server (typed: the question did)
    typed: bool = False
    speech_s: float = 0.0
    reason: str = ""  # why the turn ended
    speculation: Literal["kept", "dropped", "none"] = "none"
    queued_ms: float = 0.0
    stopped_ms: float | None = None
    told: bool = False  # the record has been given out
    _at: dict[Step, float] = field(default_factory=dict)

    def mark(self, step: Step, now: float) -> None:
        """The first time counts."""
        self._at.setdefault(step, now)

    def has(self, step: Step) -> bool:
        return step in self._at

    def played(self, after_speech_end_ms: float) -> None:
        """As the browser measured it."""
        self._at.setdefault("played", self.speech_end + after_speech_end_ms / 1000)

    def record(self) -> dict[str, Any]:
        """The fields of the `latency` event."""
        decided = self._at.get("decided", self.speech_end)
        return {
            "turn": self.turn,
            "speech_s": round(self.speech_s, 2),
            "typed": self.typed,
            "reason": self.reason,
            "speculation": self.speculation,
            "after_speech_end_ms": {step: round((at - self.speech_end) * 1000, 1) for step, at in self._at.items()},
            "after_decision_ms": {
                step: round((at - decided) * 1000, 1) for step, at in self._at.items() if step != "decided"
            },
            "queued_ms": round(self.queued_ms, 1),
            "stopped_ms": self.stopped_ms,
        }

    def write(self) -> dict[str, Any]:
        """The record, once, also to the log."""
        self.told = True
        record = self.record()
        log.info("%s", json.dumps(record))
        return record
