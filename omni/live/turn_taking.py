"""When somebody has begun to speak and when they have finished: probabilities of speech and the words so far.

    taker = TurnTaker()
    for frame in frames:                                   # 512 samples at 16 kHz
        for signal in taker.step(probability(frame), Words("how long is the", heard_to=taker.frames)):
            ...                                            # onset, begin, pause, resume, end

`onset` comes first and early (64 ms), and may be taken back by `false_onset`; `begin` is sure enough to decode, `pause`
comes at the first 160 ms of silence (time to decode to the end and to look things up), `end` hands the turn over.
How much silence ends a turn depends on what was understood (omni/live/turn_ends.py), but only if the words reach up to
the silence: a recogniser that lags behind tells nothing about how a turn ended.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from omni.live.completeness import Finish
from omni.live.turn_ends import Ending, ending
from omni.types import Transcript
from omni.vad import FRAME_S

READINGS = 6  # that tell how a turn ended
CERTAIN, LIKELY = 9.0, 0.63  # log-odds; after the second, a turn ends as it normally does
# in silences that normally end a turn
EVEN = 2.0  # is waited out where an end is as likely as not,
PER_NAT = 1.6  # less for each nat that it is likelier: who pauses in a sentence goes on at any moment alike
OTHER = 0.84  # at least, after anything but a complete question
Kind = Literal["onset", "false_onset", "begin", "pause", "resume", "end"]
Reason = Literal["complete", "silence", "unfinished", "limit", "button"]


@dataclass(frozen=True)
class TurnTaking:
    """Thresholds. Milliseconds are rounded to frames of 32 ms."""

    threshold: float = 0.5  # speech begins at this probability
    end_threshold: float = 0.35  # and goes on down to this one
    onset_ms: int = 64
    begin_ms: int = 96  # shorter bursts are no speech
    pause_ms: int = 160  # silence after which the recogniser may finish in advance
    complete_ms: int = 320  # silence that ends a turn: at least, after a complete question,
    silence_ms: int = 500  # normally; where an end is as likely as not, EVEN times as much,
    unfinished_ms: int = 1100  # and at most
    limit_s: float = 60.0  # a turn never gets longer

    def patience_ms(self, end: Ending | None) -> float:
        """Silence that is waited out after words that end so."""
        if end is None:
            return self.silence_ms
        patience = self.silence_ms * (EVEN - PER_NAT * end.log_odds)
        if end.light:
            patience = min(patience, self.silence_ms)
        if not end.whole:
            patience = max(patience, OTHER * self.silence_ms)
        return min(max(patience, self.complete_ms), self.unfinished_ms)


@dataclass(frozen=True)
class Words:
    """What has been understood of the present turn, and up to which frame (exclusive)."""

    text: str = ""
    heard_to: int = -1
    complete: bool = False  # known to be whole: a command,
    begins: bool = False  # though one that questions begin with, too
    readings: tuple[tuple[str, float], ...] = ()  # with their probabilities, best first; none: `text` alone
    closed: float | None = None  # as in Transcript

    @cached_property
    def ending(self) -> Ending | None:
        """How likely they are all that is said; None: nothing was understood."""
        if self.complete:
            return Ending(LIKELY if self.begins else CERTAIN, whole=True)
        return ending(self.readings or ((self.text, 1.0),), self.closed)


def words_in(transcript: Transcript, heard_to: int, *, complete: bool = False, begins: bool = False) -> Words:
    """What a recogniser understood up to a frame; `complete`, `begins`: as in Words."""
    best = transcript.hypotheses[0].score if transcript.hypotheses else 0.0
    readings = tuple((each.text, math.exp(each.score - best)) for each in transcript.hypotheses[:READINGS])
    return Words(transcript.text, heard_to, complete, begins, readings, transcript.closed)


@dataclass(frozen=True)
class Signal:
    """Frames are counted from the first that was ever heard."""

    kind: Kind
    frame: int  # where it happened: first frame of speech, or first frame of silence
    now: int  # frames heard when it was noticed
    reason: Reason = "silence"  # of `end`

    @property
    def waited_ms(self) -> float:
        return (self.now - self.frame) * FRAME_S * 1000


class TurnTaker:
    """State: where the present turn began, since when it is silent, and what has been signalled of it."""

    def __init__(self, settings: TurnTaking | None = None) -> None:
        self.settings = settings or TurnTaking()
        self.frames = 0  # heard so far
        self.threshold = self.settings.threshold  # higher while the assistant speaks
        self._forget()

    def _forget(self) -> None:
        self._began: int | None = None  # first frame of what may be, or is, speech
        self._loud = 0  # frames of speech since
        self._told_onset = self._open = self._paused = False
        self._silent_since: int | None = None
        self.last_speech = 0  # the frame after the last frame of speech

    @property
    def open(self) -> bool:
        """A turn has begun and not ended."""
        return self._open

    @property
    def silence(self) -> int:
        """Frames since somebody spoke; 0 while they do."""
        return 0 if self._silent_since is None else self.frames - self._silent_since

    @property
    def spoken_frames(self) -> int:
        """Frames of speech in the present turn, so far."""
        return self._loud

    def step(self, probability: float, words: Words = Words()) -> list[Signal]:
        """One more frame; what is noticed with it, in order."""
        now, self.frames = self.frames, self.frames + 1
        if not self._open:
            return self._before(probability, now)
        return self._inside(probability, now, words)

    def end(self, reason: Reason = "button") -> Signal | None:
        """End the present turn now: a button was released. None if there is none."""
        if not self._open:
            self._forget()
            return None
        signal = Signal("end", self.last_speech or self.frames, self.frames, reason)
        self._forget()
        return signal

    def begin(self) -> Signal:
        """Begin a turn now, whatever is heard: a button is held down."""
        self._forget()
        self._began, self._open, self._told_onset = self.frames, True, True
        return Signal("begin", self.frames, self.frames)

    def skip(self, frames: int) -> None:
        """Frames that were lost on the way."""
        self.frames += frames

    def _before(self, probability: float, now: int) -> list[Signal]:
        if self._began is None:
            if probability < self.threshold:
                return []
            self._began, self._loud = now, 0
        elif probability < self.settings.end_threshold:
            began, told = self._began, self._told_onset
            self._forget()
            return [Signal("false_onset", began, now + 1)] if told else []
        self._loud += 1
        self.last_speech = now + 1
        signals: list[Signal] = []
        length_ms = (now + 1 - self._began) * FRAME_S * 1000
        if not self._told_onset and length_ms >= self.settings.onset_ms:
            self._told_onset = True
            signals.append(Signal("onset", self._began, now + 1))
        if length_ms >= self.settings.begin_ms:
            self._open = True
            signals.append(Signal("begin", self._began, now + 1))
        return signals

    def _inside(self, probability: float, now: int, words: Words) -> list[Signal]:
        settings, began = self.settings, self._began
        assert began is not None
        if probability >= settings.end_threshold:
            resumed = self._paused
            self._silent_since, self._paused = None, False
            self._loud += 1
            self.last_speech = now + 1
            if (now + 1 - began) * FRAME_S >= settings.limit_s:
                return [self._ended("limit")]
            return [Signal("resume", now, now + 1)] if resumed else []
        if self._silent_since is None:
            self._silent_since = now
        silent_ms = (now + 1 - self._silent_since) * FRAME_S * 1000
        signals: list[Signal] = []
        if not self._paused and silent_ms >= settings.pause_ms:
            self._paused = True
            signals.append(Signal("pause", self._silent_since, now + 1))
        end = words.ending if words.heard_to >= self._silent_since else None
        if silent_ms >= settings.patience_ms(end):
            reasons: dict[Finish, Reason] = {Finish.COMPLETE: "complete", Finish.OPEN: "unfinished"}
            signals.append(self._ended(reasons.get(end.finish, "silence") if end else "silence"))
        return signals

    def _ended(self, reason: Reason) -> Signal:
        since = self._silent_since if self._silent_since is not None else self.frames
        signal = Signal("end", since, self.frames, reason)
        self._forget()
        return signal
