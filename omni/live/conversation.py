"""A live conversation: the state machine between microphone, recogniser, answers, voice and client. No transport.

    conversation = LiveConversation(answerer, recogniser=..., voice=..., vocabulary=..., work=Work(), post=mailbox.post)
    conversation.hear(samples)                  # 16 kHz float32, any length
    conversation.control({"type": "ask", "text": "How long is the notice period?"})
    reader, _ = conversation.outbox.attach(wake=...)

Everything here runs in the conversation's one thread (omni/live/mailbox.py); recognition, search and answers run in
`Work`, speech in a thread of its own, and what they find comes back through `post`. docs/live.md tells what goes in and
out; this file is its author's other half.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from core.errors import LecternError
from omni.live.answering import Answering
from omni.live.barge_in import DUCK_FRAMES, HOLD_FRAMES, Interruption, Verdict, is_backchannel, judge
from omni.live.commands import Command, recognise
from omni.live.hearing import Heard, Hearing
from omni.live.latency import TurnTimes
from omni.live.outbox import Outbox
from omni.live.readings import common, readings, searched, steady
from omni.live.replies import Replies
from omni.live.speculation import Speculation, asks
from omni.live.turn_taking import Signal, TurnTaker, Words, words_in
from omni.live.types import Answerer, LiveSettings, Mode
from omni.live.work import Work
from omni.types import SpeechRecogniser, SpeechSynthesiser, Transcript
from omni.vad import FRAME, FRAME_S, SAMPLE_RATE, SpeechProbability
from rag.types import Hit

log = logging.getLogger(__name__)

BEFORE_FRAMES = 6  # kept before the first frame of speech: soft consonants
THRESHOLD_WHILE_SPEAKING = 0.6  # of speech probability: what is left of the assistant's own voice is weaker
SHOWN_HITS, SHOWN_READINGS = 3, 5
BUSY_MS = 300
GUESS_BEHIND_S = 0.3  # of sound that waits to be decoded: understanding comes before guessing
HARDLY_HEARD_S = 0.6  # of an answer: who speaks so soon goes on with the question
_NEVER_MS = 10**9


@dataclass
class _Turn:
    """The user's turn that is being heard, or whose transcript is awaited."""

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
    before: _Turn | None = None  # ended just before, its transcript still awaited when this one began
    final: Transcript | None = None
    found: dict[tuple[str, ...], float] = field(default_factory=dict)  # when what was looked up in advance was found
    stopped_speech: int = 0  # the speech that it interrupted
    ended: bool = False


class LiveConversation:
    """See the module. State: the turn being heard, the answer being given, the speech being played."""

    def __init__(
        self,
        answerer: Answerer,
        *,
        recogniser: Callable[[], SpeechRecogniser],
        voice: Callable[[], SpeechSynthesiser],
        vocabulary: Callable[[], Sequence[str]] = tuple,
        work: Work,
        post: Callable[[Callable[[], None]], None],
        settings: LiveSettings | None = None,
        outbox: Outbox | None = None,
        clock: Callable[[], float] = time.monotonic,
        probability: Callable[[np.ndarray], float] | None = None,
        pronounce: Callable[[str], Sequence[str]] | None = None,
        recorded: Callable[[dict[str, Any]], None] = lambda record: None,
    ) -> None:
        """`probability`: of speech in a frame (Silero's if None); `pronounce`: for commands told by their sound;
        `recorded`: told each turn's latency record."""
        self.settings = settings or LiveSettings()
        self.outbox = outbox or Outbox()
        self.mode: Mode = "hands_free"
        self.received = 0  # samples of the client's clock
        self.replies = Replies(
            answerer, voice, work, self.outbox, self.settings, clock=clock, post=post, recorded=recorded,
            changed=self._tell_state,
        )  # fmt: skip
        self._answerer, self._recogniser, self._vocabulary = answerer, recogniser, vocabulary
        self._work, self._post, self._clock = work, post, clock
        self._pronounce = pronounce
        self._probability = probability or SpeechProbability()
        self._taker = TurnTaker(self.settings.turn_taking)
        self._rest = np.zeros(0, np.float32)
        self._recent: deque[np.ndarray] = deque(maxlen=BEFORE_FRAMES + 8)
        self._arrived: deque[float] = deque(maxlen=256)  # when each of the latest frames came
        self._button = False
        self._turns = 0
        self._turn: _Turn | None = None
        self._state = ""
        self._busy_told = 0
        self._behind_told = self._closed = False
        self._tell_state()

    # ---- what comes in --------------------------------------------------------------------------------------------

    def hear(self, samples: np.ndarray) -> None:
        """Sound of the microphone, (n,) float32 at 16 kHz."""
        now = self._clock()
        self.received += len(samples)
        heard = np.concatenate([self._rest, samples]) if len(self._rest) else samples
        whole = len(heard) // FRAME * FRAME
        self._rest = heard[whole:].copy()
        for frame in heard[:whole].reshape(-1, FRAME):
            self._arrived.append(now)
            self._frame(frame.astype(np.float32, copy=False))
        self._tell_state()

    def control(self, message: dict[str, Any]) -> None:
        """A message of the client, already checked (web/live.py)."""
        kind = message["type"]
        if kind == "mode":
            self.set_mode(message["mode"])
        elif kind == "talk":
            self._press() if message["down"] else self._release()
        elif kind == "ask":
            self._ask_typed(message["text"])
        elif kind == "correct":
            self._correct(message["turn"], message["text"])
        elif kind == "command":
            self._command(Command(message["name"], ""), turn=0)
        elif kind == "speak":
            self.replies.speaks = message["on"]
            if not self.replies.speaks:
                self.replies.silence("stop")
        elif kind == "gap":
            self._gap(message["samples"])
        elif kind == "played":
            self.replies.played(message["speech"], message["samples"], message["playing"])
        elif kind == "first_played":
            self.replies.first_played(message)
        elif kind == "stopped":
            self._stopped(message)
        self._tell_state()

    def set_mode(self, mode: Mode) -> None:
        """hands_free or push_to_talk; an open turn ends."""
        if mode == self.mode:
            return
        if self._turn is not None and not self._turn.ended:
            self._end_turn(self._taker.end() or Signal("end", self._taker.frames, self._taker.frames, "button"))
        self.mode, self._button = mode, False
        quiet = self.settings.turn_taking
        if mode == "push_to_talk":  # the button alone ends a turn, however long the silence
            quiet = replace(quiet, complete_ms=_NEVER_MS, silence_ms=_NEVER_MS, unfinished_ms=_NEVER_MS)
        self._taker.settings = quiet

    def tick(self) -> None:
        """Now and then, also while no sound comes."""
        speech = self.replies.speech
        if speech is not None and speech.over:
            self.replies.speech_over()
        self._tell_busy()
        self._tell_state()

    def close(self) -> None:
        """The conversation is over: stop everything, keep what was heard."""
        self._closed = True
        if self._turn is not None:
            self._turn.hearing.close()
            self._turn = None
        self.replies.silence("stop")
        self.replies.write_times()

    # ---- frames and whose turn it is ------------------------------------------------------------------------------

    def _frame(self, frame: np.ndarray) -> None:
        probability = self._probability(frame)
        self._recent.append(frame)
        if self.mode == "push_to_talk" and not self._button:
            self._taker.skip(1)
            return
        talking = self.replies.talking
        self._taker.threshold = THRESHOLD_WHILE_SPEAKING if talking else self.settings.turn_taking.threshold
        turn = self._turn
        signals = self._taker.step(probability, turn.words if turn is not None else Words())
        if turn is not None and not turn.ended:
            turn.hearing.accept(frame)
            turn.speech_frames = max(turn.speech_frames, self._taker.spoken_frames)
        for signal in signals:
            self._signal(signal)
        if self._taker.spoken_frames >= HOLD_FRAMES and self._taker.silence == 0 and talking and self._unjudged:
            self.replies.hold()
        turn = self._turn
        if turn is not None and turn.interrupts and not turn.ended and turn.speech_frames % 4 == 0:
            self._judge(turn, ended=False)

    @property
    def _unjudged(self) -> bool:
        """What is being heard may yet turn out to be no interruption."""
        return self._turn is None or self._turn.ended or self._turn.interrupts

    def _signal(self, signal: Signal) -> None:
        turn = self._turn
        if signal.kind == "onset":
            if self.replies.speech is not None and self.replies.talking and DUCK_FRAMES:
                self.replies.duck()
        elif signal.kind == "false_onset":
            self.replies.go_on()
        elif signal.kind == "begin":
            self._begin_turn(signal)
        elif turn is None or turn.ended:
            return
        elif signal.kind == "pause":
            turn.hearing.pause()
        elif signal.kind == "resume":
            turn.words = Words()
            turn.hearing.resume()
        elif signal.kind == "end":
            self._end_turn(signal)

    def _begin_turn(self, signal: Signal) -> _Turn:
        before = self._turn
        if before is not None and not before.ended:
            before.hearing.close()
            before.speculation.closed = True
            before = None
        self._turns += 1
        number = self._turns
        base = max(signal.frame - BEFORE_FRAMES, signal.now - len(self._recent), 0)
        turn = _Turn(
            number,
            signal.frame,
            base,
            Hearing(
                self._recogniser, self._vocabulary, self._work, self._post, lambda heard: self._heard(number, heard)
            ),
            Speculation(
                self._answerer.look, self._work, self._post, lambda asked, hits: self._looking(number, asked, hits)
            ),
            interrupts=self.replies.talking,
            before=before,
        )
        self._turn = turn
        count = min(signal.now - base, len(self._recent))
        for frame in list(self._recent)[len(self._recent) - count :] if count > 0 else []:
            turn.hearing.accept(frame)
        turn.speech_frames = self._taker.spoken_frames
        self.outbox.event("hearing", turn=number, start_sample=signal.frame * FRAME)
        turn.told = True
        return turn

    def _end_turn(self, signal: Signal) -> None:
        turn = self._turn
        if turn is None or turn.ended:
            return
        turn.ended = True
        now = self._clock()
        behind = self._taker.frames - signal.frame + 1
        arrived = self._arrived[-min(behind, len(self._arrived))] if self._arrived else now
        turn.times = TurnTimes(
            turn.number, arrived, speech_s=(signal.frame - turn.start) * FRAME_S, reason=signal.reason
        )  # fmt: skip
        turn.times.mark("decided", now)
        self.outbox.event(
            "end_of_turn", turn=turn.number, start_sample=turn.start * FRAME, speech_end_sample=signal.frame * FRAME,
            decided_sample=signal.now * FRAME, waited_ms=round((signal.now - signal.frame) * FRAME_S * 1000),
            reason=signal.reason,
        )  # fmt: skip
        if signal.reason == "limit":
            self.replies.error(
                turn.number, "too_long", LecternError("that was too long", remedy="Ask in a few sentences")
            )  # fmt: skip
        turn.hearing.finish()

    def _press(self) -> None:
        if self.mode != "push_to_talk" or self._button:
            return
        self._button = True
        self.replies.silence("asked")
        self._recent.clear()
        self._begin_turn(self._taker.begin())

    def _release(self) -> None:
        if not self._button:
            return
        self._button = False
        signal = self._taker.end("button")
        if signal is not None:
            self._end_turn(signal)

    def _gap(self, samples: int) -> None:
        self.received += samples
        self._rest = np.zeros(0, np.float32)
        missing = self.received // FRAME - self._taker.frames
        self._taker.skip(missing)

    # ---- what was understood --------------------------------------------------------------------------------------

    def _heard(self, number: int, heard: Heard) -> None:
        """Words from the recogniser, of whichever turn."""
        turn = self._turn
        if turn is not None and turn.number != number and turn.before is not None:
            turn = turn.before if turn.before.number == number else turn
        if turn is None or turn.number != number or self._closed:
            return
        if turn is not self._turn:
            self._heard_late(turn, heard)
        elif heard.kind == "failed":
            self._turn = None
            self._taker.end()
            assert heard.error is not None
            self.replies.error(number, "recognition_failed", heard.error)
            self.replies.go_on()
        elif heard.kind == "final":
            turn.final = heard.transcript
            if turn.before is None or turn.before.final is not None:
                self._turn = None
                self._understood(turn, heard.transcript)
        elif not turn.ended:
            self._partial(turn, heard)
        self._tell_state()

    def _heard_late(self, turn: _Turn, heard: Heard) -> None:
        """The transcript of a turn after which the user has gone on speaking: the two are one."""
        if heard.kind not in ("final", "failed"):
            return
        after = self._turn
        assert after is not None and turn.times is not None
        turn.final = heard.transcript
        turn.times.mark("transcript", self._clock())
        if not turn.final.text or is_backchannel(turn.final.text):
            after.before = None
            self.outbox.event("not_a_turn", turn=turn.number, reason="noise", text=turn.final.text)
        else:
            self._tell_transcript(turn.number, turn.final)
        if after.final is not None:
            self._turn = None
            self._understood(after, after.final)

    def _partial(self, turn: _Turn, heard: Heard) -> None:
        text = heard.transcript.text
        pause = heard.kind == "pause"
        stable = len(text) if pause else common(turn.partial, text)
        shown = text if pause else steady(turn.partial, text)
        if shown and (shown != turn.shown or pause):
            turn.shown = shown
            self.outbox.event("partial", turn=turn.number, text=shown, stable=min(stable, len(shown)))
        turn.readings = readings(heard.transcript)
        turn.partial = text
        command = self._commanded(turn) if pause else None
        if pause:
            turn.words = words_in(heard.transcript, turn.base + heard.frames, complete=command is not None)
        if turn.interrupts:
            if pause and command is not None:
                self._end_now(turn)  # "stop" needs no second of silence
                return
            self._judge(turn, ended=pause)
        behind = not pause and turn.hearing.behind_s > GUESS_BEHIND_S
        if self._turn is turn and command is None and not behind:
            heard_so_far = heard.transcript if pause else replace(heard.transcript, text=text[:stable])
            turn.speculation.consider(heard_so_far, sure=pause)

    def _commanded(self, turn: _Turn) -> Command | None:
        speech_s = turn.speech_frames * FRAME_S
        return recognise(turn.readings, speech_s=speech_s, pronounce=self._pronounce)

    def _end_now(self, turn: _Turn) -> None:
        signal = self._taker.end("silence")
        if signal is not None:
            self._end_turn(replace(signal, reason="complete"))

    def _judge(self, turn: _Turn, *, ended: bool) -> None:
        """Is this an interruption? If it is clear by now, act."""
        said = self.replies.speech.being_said() if self.replies.speech is not None else ""
        judgement = judge(Interruption(turn.speech_frames * FRAME_S, turn.readings, ended, said))
        if judgement.verdict is Verdict.CANCEL:
            self._interrupt(turn)
        elif judgement.verdict is Verdict.RESUME:
            self._no_turn(turn, judgement.reason)

    def _interrupt(self, turn: _Turn) -> None:
        """The user takes the turn."""
        turn.interrupts = False
        answering, speech = self.replies.answering, self.replies.speech
        unheard = speech is None or not speech.announced or speech.seconds_heard < HARDLY_HEARD_S
        recent = answering is not None and self._clock() - answering.times.speech_end < self.settings.join_s
        if answering is not None and unheard and recent and not answering.times.typed:
            turn.joins = answering
        if speech is not None and speech.announced:
            turn.stopped_speech = speech.number
        self.replies.silence("barge_in")

    def _no_turn(self, turn: _Turn, reason: str) -> None:
        turn.interrupts = False
        turn.hearing.close()
        turn.speculation.closed = True
        if not turn.ended:
            self._taker.end()
        if self._turn is turn:
            self._turn = None
        self.outbox.event("not_a_turn", turn=turn.number, reason=reason, text=turn.partial)
        self.replies.go_on()

    def _understood(self, turn: _Turn, transcript: Transcript) -> None:
        """A turn's final transcript."""
        times = turn.times
        assert times is not None
        times.mark("transcript", self._clock())
        if turn.hearing.ticket is not None:
            times.queued_ms += turn.hearing.ticket.waited_ms
        turn.readings, turn.partial = readings(transcript), transcript.text
        command = self._commanded(turn)
        if turn.interrupts and command is None:
            said = self.replies.speech.being_said() if self.replies.speech is not None else ""
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
            self._tell_transcript(turn.number, transcript)
            self._command(command, turn.number)
            self._answer_before(turn)
            if turn.stopped_speech and command.name in ("slower", "faster", "open_page"):
                self.replies.keep_going()  # it was stopped while this was no more than a few words
            return
        joins = 0
        if turn.joins is not None or (turn.before is not None and turn.before.final is not None):
            if turn.joins is not None:
                turn.joins.forget()
                joins, first = turn.joins.turn, turn.joins.transcript.text
            else:
                assert turn.before is not None and turn.before.final is not None
                joins, first = turn.before.number, turn.before.final.text
            transcript = replace(
                transcript, text=f"{first.rstrip(' .?!')} {transcript.text}", hypotheses=(), corrections=()
            )
        self._tell_transcript(turn.number, transcript, joins=joins)
        times.speculation = turn.speculation.verdict(transcript)
        if times.speculation == "kept" and (asked := asks(transcript.text)) in turn.found:
            times.mark("first_hit", turn.found[asked])
        self.replies.answer(turn.number, transcript, times)

    def _answer_before(self, turn: _Turn) -> None:
        """What `turn` seemed to go on from is a question of its own: answer it."""
        if turn.joins is not None:
            self.replies.answer(turn.joins.turn, turn.joins.transcript, turn.joins.times)
        elif turn.before is not None and turn.before.final is not None and turn.before.times is not None:
            self.replies.answer(turn.before.number, turn.before.final, turn.before.times)

    def _tell_transcript(
        self, turn: int, transcript: Transcript, *, typed: bool = False, corrects: int = 0, joins: int = 0
    ) -> None:
        others = [reading for reading in readings(transcript)[1:] if reading != transcript.text]
        self.outbox.event(
            "transcript", turn=turn, text=transcript.text, confidence=round(transcript.confidence, 3),
            hypotheses=others[:SHOWN_READINGS], searched=searched(transcript), typed=typed, corrects=corrects,
            joins=joins,
        )  # fmt: skip

    def _looking(self, turn: int, question: str, hits: Sequence[Hit]) -> None:
        if self._turn is None or self._turn.number != turn or not hits:
            return
        self._turn.found[asks(question)] = self._clock()
        shown = [self._answerer.hit_json(hit) for hit in hits[:SHOWN_HITS]]
        self.outbox.event("looking", turn=turn, question=question, hits=shown)

    # ---- questions and commands ----------------------------------------------------------------------------------

    def _ask_typed(self, text: str, *, corrects: int = 0) -> None:
        self.replies.silence("corrected" if corrects else "asked")
        self._turns += 1
        now = self._clock()
        times = TurnTimes(self._turns, now, typed=True, reason="typed")
        transcript = Transcript(text, (), 0.0, 1.0)
        self._tell_transcript(self._turns, transcript, typed=True, corrects=corrects)
        self.replies.answer(self._turns, transcript, times)

    def _correct(self, turn: int, text: str) -> None:
        if (old := self.replies.answers.pop(turn, None)) is not None:
            self.replies.silence("corrected")
            old.forget()
            if self.replies.answering is old:
                self.replies.answering = None
        self._ask_typed(text, corrects=turn)

    def _stopped(self, message: dict[str, Any]) -> None:
        stopped_ms = round(float(message["after_speech_start_ms"]), 1)
        log.info("speech %d stopped %.0f ms after speech began", message["speech"], stopped_ms)
        turn = self._turn
        if turn is not None and turn.times is not None:
            turn.times.stopped_ms = stopped_ms
        elif self.replies.answering is not None and not self.replies.answering.times.told:
            self.replies.answering.times.stopped_ms = stopped_ms

    def _command(self, command: Command, turn: int) -> None:
        done = self.replies.obey(command.name)
        self.outbox.event("recognised", turn=turn, command=command.name, done=done)

    # ---- what goes out --------------------------------------------------------------------------------------------

    def _tell_state(self) -> None:
        speech = self.replies.speech
        if self.replies.held:
            state = "held"
        elif self._turn is not None and not self._turn.ended:
            state = "hearing"
        elif speech is not None and speech.announced and not speech.over:
            state = "speaking"
        elif self._turn is not None or (speech is not None and not speech.over) or self.replies.writing:
            state = "thinking"
        else:
            state = "listening"
        if state != self._state:
            self._state = state
            self.outbox.event("state", state=state)

    @property
    def state(self) -> str:
        return self._state

    def _tell_busy(self) -> None:
        """Others are before us: say so, and how many."""
        waiting, turn, what = 0, 0, "answer"
        answering = self.replies.answering
        if answering is not None and answering.ticket is not None and answering.ticket.started is None:
            if not answering.cancelled and answering.ticket.waited_ms > BUSY_MS:
                waiting, turn = answering.ticket.position, answering.turn
        elif self._turn is not None and self._turn.ended and self._turn.hearing.ticket is not None:
            ticket = self._turn.hearing.ticket
            if ticket.started is None and ticket.waited_ms > BUSY_MS:
                waiting, turn, what = ticket.position, self._turn.number, "recognition"
        if waiting != self._busy_told:
            self._busy_told = waiting
            self.outbox.event("busy", turn=turn, waiting_for=what, position=waiting)
        behind = self._turn is not None and self._turn.hearing.behind_s > self.settings.behind_s
        if behind and not self._behind_told:
            error = LecternError(
                "this computer cannot keep up with so much speech", remedy="Wait for the answer, or type the question"
            )
            self.replies.error(self._turn.number if self._turn is not None else 0, "behind", error)
        self._behind_told = behind


assert SAMPLE_RATE == 16_000  # docs/live.md promises it to clients
