"""The user's side of a live conversation: turns that begin, are understood bit by bit, and end; and what comes of them.

    turns = UserTurns(answerer, replies, taker, ...)
    turns.begin(signal, recent)                # frames of 32 ms, the latest last
    turns.end(signal)                          # the transcript follows, and with it an answer, a command or nothing

Runs in the conversation's thread. What a turn was is decided here: a question, the rest of the one before, a command,
an interruption, or no turn at all ("mhm", a noise, the assistant's own voice).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from core.errors import LecternError
from omni.live.backchannel import is_backchannel
from omni.live.barge_in import Interruption, Verdict, judge
from omni.live.commands import Command, recognise
from omni.live.hearing import Heard, Hearing
from omni.live.latency import TurnTimes
from omni.live.outbox import Outbox
from omni.live.readings import common, joined, readings, searched, steady
from omni.live.replies import Replies
from omni.live.speculation import Speculation, asks
from omni.live.turn import Turn
from omni.live.turn_taking import Signal, TurnTaker, words_in
from omni.live.types import Answerer, LiveSettings
from omni.live.work import Work
from omni.types import SpeechRecogniser, Transcript
from omni.vad import FRAME, FRAME_S
from rag.types import Hit

BEFORE_FRAMES = 6  # kept before the first frame of speech: soft consonants
SHOWN_HITS, SHOWN_READINGS = 3, 5
GUESS_BEHIND_S = 0.3  # of sound that waits to be decoded: understanding comes before guessing
GO_ON_AFTER = frozenset({"slower", "faster", "louder", "quieter", "open_page"})  # commands that end no speech
HARDLY_HEARD_S = 0.6  # of an answer: who speaks so soon goes on with the question


class UserTurns:
    """State: the turn that is being heard or understood, and how many there were."""

    def __init__(
        self,
        answerer: Answerer,
        replies: Replies,
        taker: TurnTaker,
        outbox: Outbox,
        settings: LiveSettings,
        *,
        recogniser: Callable[[], SpeechRecogniser],
        vocabulary: Callable[[], Sequence[str]],
        work: Work,
        post: Callable[[Callable[[], None]], None],
        clock: Callable[[], float],
        pronounce: Callable[[str], Sequence[str]] | None,
        arrived: Callable[[int], float],
        changed: Callable[[], None],
    ) -> None:
        """`arrived`: when the frame so many before the next one came; `changed`: called when the state may be new."""
        self.turn: Turn | None = None
        self.closed = False
        self._answerer, self._replies, self._taker = answerer, replies, taker
        self._outbox, self._settings = outbox, settings
        self._recogniser, self._vocabulary, self._pronounce = recogniser, vocabulary, pronounce
        self._work, self._post, self._clock = work, post, clock
        self._arrived, self._changed = arrived, changed
        self._count = 0

    @property
    def open(self) -> Turn | None:
        """The turn that has begun and not ended."""
        return self.turn if self.turn is not None and not self.turn.ended else None

    def next_number(self) -> int:
        """Of a new turn."""
        self._count += 1
        return self._count

    def close(self) -> None:
        """The conversation is over."""
        self.closed = True
        if self.turn is not None:
            self.turn.hearing.close()
            self.turn = None

    def begin(self, signal: Signal, recent: Sequence[np.ndarray]) -> None:
        """`recent`: the latest frames, the one of the signal among them."""
        before = self.turn
        if before is not None and not before.ended:
            before.hearing.close()
            before.speculation.closed = True
            before = None
        number = self.next_number()
        base = max(signal.frame - BEFORE_FRAMES, signal.now - len(recent), 0)
        turn = Turn(
            number,
            signal.frame,
            base,
            Hearing(
                self._recogniser, self._vocabulary, self._work, self._post, lambda heard: self._heard(number, heard)
            ),
            Speculation(
                self._answerer.look, self._work, self._post, lambda asked, hits: self._looking(number, asked, hits)
            ),
            interrupts=self._replies.talking,
            before=before,
        )
        self.turn = turn
        count = max(0, min(signal.now - base, len(recent)))
        for frame in recent[len(recent) - count :]:
            turn.hearing.accept(frame)
        turn.speech_frames = self._taker.spoken_frames
        self._outbox.event("hearing", turn=number, start_sample=signal.frame * FRAME)
        turn.told = True

    def end(self, signal: Signal) -> None:
        """The present turn ends; harmless without one."""
        turn = self.turn
        if turn is None or turn.ended:
            return
        turn.ended = True
        now = self._clock()
        arrived = self._arrived(self._taker.frames - signal.frame + 1)
        speech_s = (signal.frame - turn.start) * FRAME_S
        turn.times = TurnTimes(turn.number, arrived, speech_s=speech_s, reason=signal.reason)
        turn.times.mark("decided", now)
        self._outbox.event(
            "end_of_turn", turn=turn.number, start_sample=turn.start * FRAME, speech_end_sample=signal.frame * FRAME,
            decided_sample=signal.now * FRAME, waited_ms=round((signal.now - signal.frame) * FRAME_S * 1000),
            reason=signal.reason,
        )  # fmt: skip
        if signal.reason == "limit":
            self._replies.error(
                turn.number, "too_long", LecternError("that was too long", remedy="Ask in a few sentences")
            )  # fmt: skip
        turn.hearing.finish()

    # ---- what was understood --------------------------------------------------------------------------------------

    def _heard(self, number: int, heard: Heard) -> None:
        """Words from the recogniser, of whichever turn."""
        turn = self.turn
        if turn is not None and turn.number != number and turn.before is not None:
            turn = turn.before if turn.before.number == number else turn
        if turn is None or turn.number != number or self.closed:
            return
        if turn is not self.turn:
            self._heard_late(turn, heard)
        elif heard.kind == "failed":
            self.turn = None
            self._taker.end()
            assert heard.error is not None
            self._replies.error(number, "recognition_failed", heard.error)
            self._replies.go_on()
        elif heard.kind == "final":
            turn.final = heard.transcript
            if turn.before is None or turn.before.final is not None:
                self.turn = None
                self._understood(turn, heard.transcript)
        elif not turn.ended:
            self._partial(turn, heard)
        self._changed()

    def _heard_late(self, turn: Turn, heard: Heard) -> None:
        """The transcript of a turn after which the user has gone on speaking: the two are one."""
        if heard.kind not in ("final", "failed"):
            return
        after = self.turn
        assert after is not None and turn.times is not None
        turn.final = heard.transcript
        turn.times.mark("transcript", self._clock())
        if not turn.final.text or is_backchannel(turn.final.text):
            after.before = None
            self._outbox.event("not_a_turn", turn=turn.number, reason="noise", text=turn.final.text)
        else:
            self.tell_transcript(turn.number, turn.final)
        if after.final is not None:
            self.turn = None
            self._understood(after, after.final)

    def _partial(self, turn: Turn, heard: Heard) -> None:
        text = heard.transcript.text
        pause = heard.kind == "pause"
        stable = len(text) if pause else common(turn.partial, text)
        shown = text if pause else steady(turn.partial, text)
        if shown and (shown != turn.shown or pause):
            turn.shown = shown
            self._outbox.event("partial", turn=turn.number, text=shown, stable=min(stable, len(shown)))
        turn.readings = readings(heard.transcript)
        turn.partial = text
        command = self._commanded(turn) if pause else None
        if pause:
            begins = command is not None and command.may_begin
            whole = command is not None
            turn.words = words_in(heard.transcript, turn.base + heard.frames, complete=whole, begins=begins)
        if turn.interrupts:
            if pause and command is not None and command.may_begin:
                return  # "show me" may go on, and what is held stays silent
            if pause and command is not None:
                self._end_now(turn)  # "stop" needs no second of silence
                return
            self.judge(turn, ended=pause)
        behind = not pause and turn.hearing.behind_s > GUESS_BEHIND_S
        if self.turn is turn and command is None and not behind:
            heard_so_far = heard.transcript if pause else replace(heard.transcript, text=text[:stable])
            turn.speculation.consider(heard_so_far, sure=pause)

    def _commanded(self, turn: Turn) -> Command | None:
        speech_s = turn.speech_frames * FRAME_S
        return recognise(turn.readings, speech_s=speech_s, pronounce=self._pronounce)

    def _end_now(self, turn: Turn) -> None:
        signal = self._taker.end("silence")
        if signal is not None:
            self.end(replace(signal, reason="complete"))

    def judge(self, turn: Turn, *, ended: bool) -> None:
        """Is this an interruption? If it is clear by now, act."""
        said = self._replies.speech.being_said() if self._replies.speech is not None else ""
        judgement = judge(Interruption(turn.speech_frames * FRAME_S, turn.readings, ended, said))
        if judgement.verdict is Verdict.CANCEL:
            self._interrupt(turn)
        elif judgement.verdict is Verdict.RESUME:
            self._no_turn(turn, judgement.reason)

    def _interrupt(self, turn: Turn) -> None:
        """The user takes the turn."""
        turn.interrupts = False
        answering, speech = self._replies.answering, self._replies.speech
        unheard = speech is None or not speech.announced or speech.seconds_heard < HARDLY_HEARD_S
        recent = answering is not None and self._clock() - answering.times.speech_end < self._settings.join_s
        if answering is not None and unheard and recent and not answering.times.typed:
            turn.joins = answering
        if speech is not None and speech.announced:
            turn.stopped_speech = speech.number
        self._replies.silence("barge_in")

    def _no_turn(self, turn: Turn, reason: str) -> None:
        turn.interrupts = False
        turn.hearing.close()
        turn.speculation.closed = True
        if not turn.ended:
            self._taker.end()
        if self.turn is turn:
            self.turn = None
        self._outbox.event("not_a_turn", turn=turn.number, reason=reason, text=turn.partial)
        self._replies.go_on()

    def _understood(self, turn: Turn, transcript: Transcript) -> None:
        """A turn's final transcript."""
        times = turn.times
        assert times is not None
        times.mark("transcript", self._clock())
        if turn.hearing.ticket is not None:
            times.queued_ms += turn.hearing.ticket.waited_ms
        turn.readings, turn.partial = readings(transcript), transcript.text
        command = self._commanded(turn)
        if turn.interrupts and command is None:
            said = self._replies.speech.being_said() if self._replies.speech is not None else ""
            judgement = judge(Interruption(turn.speech_frames * FRAME_S, turn.readings, True, said))
            if judgement.verdict is Verdict.RESUME:
                self._no_turn(turn, judgement.reason)
                return
            self._interrupt(turn)
        if not transcript.text.strip() or (command is None and is_backchannel(transcript.text)):
            reason = "backchannel" if transcript.text.strip() else "noise"
            self._no_turn(turn, reason)
            self._answer_before(turn)  # it was no continuation after all
            return
        if command is not None:
            self.tell_transcript(turn.number, transcript)
            self.obey(command, turn.number)
            self._answer_before(turn)
            if turn.stopped_speech and command.name in GO_ON_AFTER:
                self._replies.keep_going()  # it was stopped while this was no more than a few words
            return
        joins = 0
        if turn.joins is not None or (turn.before is not None and turn.before.final is not None):
            if turn.joins is not None:
                turn.joins.forget()
                joins, first = turn.joins.turn, turn.joins.transcript.text
            else:
                assert turn.before is not None and turn.before.final is not None
                joins, first = turn.before.number, turn.before.final.text
            transcript = replace(transcript, text=joined(first, transcript.text), hypotheses=(), corrections=())
        self.tell_transcript(turn.number, transcript, joins=joins)
        times.speculation = turn.speculation.verdict(transcript)
        if times.speculation == "kept" and (asked := asks(transcript.text)) in turn.found:
            times.mark("first_hit", turn.found[asked])
        self._replies.answer(turn.number, transcript, times)

    def _answer_before(self, turn: Turn) -> None:
        """What `turn` seemed to go on from is a question of its own: answer it."""
        if turn.joins is not None:
            self._replies.answer(turn.joins.turn, turn.joins.transcript, turn.joins.times)
        elif turn.before is not None and turn.before.final is not None and turn.before.times is not None:
            self._replies.answer(turn.before.number, turn.before.final, turn.before.times)

    def tell_transcript(
        self, turn: int, transcript: Transcript, *, typed: bool = False, corrects: int = 0, joins: int = 0
    ) -> None:
        others = [reading for reading in readings(transcript)[1:] if reading != transcript.text]
        self._outbox.event(
            "transcript", turn=turn, text=transcript.text, confidence=round(transcript.confidence, 3),
            hypotheses=others[:SHOWN_READINGS], searched=searched(transcript), typed=typed, corrects=corrects,
            joins=joins,
        )  # fmt: skip

    def _looking(self, turn: int, question: str, hits: Sequence[Hit]) -> None:
        if self.turn is None or self.turn.number != turn or not hits:
            return
        self.turn.found[asks(question)] = self._clock()
        shown = [self._answerer.hit_json(hit) for hit in hits[:SHOWN_HITS]]
        self._outbox.event("looking", turn=turn, question=question, hits=shown)

    def obey(self, command: Command, turn: int) -> None:
        done = self._replies.obey(command.name)
        self._outbox.event("recognised", turn=turn, command=command.name, done=done)
