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
from dataclasses import replace
from typing import Any

import numpy as np

from core.errors import LecternError
from omni.live.barge_in import DUCK_FRAMES, HOLD_FRAMES
from omni.live.commands import Command
from omni.live.latency import TurnTimes
from omni.live.outbox import Outbox
from omni.live.replies import Replies
from omni.live.turn_taking import Signal, TurnTaker, Words
from omni.live.types import Answerer, LiveSettings, Mode
from omni.live.user_turns import BEFORE_FRAMES, UserTurns
from omni.live.work import Work
from omni.types import SpeechRecogniser, SpeechSynthesiser, Transcript
from omni.vad import FRAME, SAMPLE_RATE, SpeechProbability

log = logging.getLogger(__name__)

THRESHOLD_WHILE_SPEAKING = 0.6  # of speech probability: what is left of the assistant's own voice is weaker
BUSY_MS = 300
_NEVER_MS = 10**9


class LiveConversation:
    """See the module. State: the sound's frames, whether the button is down, and what was last told; the user's turns
    and the assistant's replies have their own."""

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
        self._clock = clock
        self._probability = probability or SpeechProbability()
        self._taker = TurnTaker(self.settings.turn_taking)
        self._user = UserTurns(
            answerer, self.replies, self._taker, self.outbox, self.settings, recogniser=recogniser,
            vocabulary=vocabulary, work=work, post=post, clock=clock, pronounce=pronounce, arrived=self._arrival,
            changed=self._tell_state,
        )  # fmt: skip
        self._rest = np.zeros(0, np.float32)
        self._recent: deque[np.ndarray] = deque(maxlen=BEFORE_FRAMES + 8)
        self._arrived: deque[float] = deque(maxlen=256)  # when each of the latest frames came
        self._button = False
        self._state = ""
        self._busy_told = 0
        self._behind_told = False
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
            self._user.obey(Command(message["name"], ""), turn=0)
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
        if self._user.open is not None:
            self._user.end(self._taker.end() or Signal("end", self._taker.frames, self._taker.frames, "button"))
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
        self._user.close()
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
        turn = self._user.turn
        signals = self._taker.step(probability, turn.words if turn is not None else Words())
        if turn is not None and not turn.ended:
            turn.hearing.accept(frame)
            turn.speech_frames = max(turn.speech_frames, self._taker.spoken_frames)
        for signal in signals:
            self._signal(signal)
        if self._taker.spoken_frames >= HOLD_FRAMES and self._taker.silence == 0 and talking and self._unjudged:
            self.replies.hold()
        turn = self._user.turn
        if turn is not None and turn.interrupts and not turn.ended and turn.speech_frames % 4 == 0:
            self._user.judge(turn, ended=False)

    def _arrival(self, behind: int) -> float:
        """When the frame so many before the next one came."""
        return self._arrived[-min(behind, len(self._arrived))] if self._arrived else self._clock()

    @property
    def _unjudged(self) -> bool:
        """What is being heard may yet turn out to be no interruption."""
        return (turn := self._user.open) is None or turn.interrupts

    def _signal(self, signal: Signal) -> None:
        turn = self._user.turn
        if signal.kind == "onset":
            if self.replies.speech is not None and self.replies.talking and DUCK_FRAMES:
                self.replies.duck()
        elif signal.kind == "false_onset":
            self.replies.go_on()
        elif signal.kind == "begin":
            self._user.begin(signal, list(self._recent))
        elif turn is None or turn.ended:
            return
        elif signal.kind == "pause":
            turn.hearing.pause()
        elif signal.kind == "resume":
            turn.words = Words()
            turn.hearing.resume()
        elif signal.kind == "end":
            self._user.end(signal)

    def _press(self) -> None:
        if self.mode != "push_to_talk" or self._button:
            return
        self._button = True
        self.replies.silence("asked")
        self._recent.clear()
        self._user.begin(self._taker.begin(), [])

    def _release(self) -> None:
        if not self._button:
            return
        self._button = False
        signal = self._taker.end("button")
        if signal is not None:
            self._user.end(signal)

    def _gap(self, samples: int) -> None:
        self.received += samples
        self._rest = np.zeros(0, np.float32)
        missing = self.received // FRAME - self._taker.frames
        self._taker.skip(missing)

    # ---- questions and commands ----------------------------------------------------------------------------------

    def _ask_typed(self, text: str, *, corrects: int = 0) -> None:
        self.replies.silence("corrected" if corrects else "asked")
        number = self._user.next_number()
        now = self._clock()
        times = TurnTimes(number, now, typed=True, reason="typed")
        transcript = Transcript(text, (), 0.0, 1.0)
        self._user.tell_transcript(number, transcript, typed=True, corrects=corrects)
        self.replies.answer(number, transcript, times)

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
        turn = self._user.turn
        if turn is not None and turn.times is not None:
            turn.times.stopped_ms = stopped_ms
        elif self.replies.answering is not None and not self.replies.answering.times.told:
            self.replies.answering.times.stopped_ms = stopped_ms

    # ---- what goes out --------------------------------------------------------------------------------------------

    def _tell_state(self) -> None:
        speech = self.replies.speech
        if self.replies.held:
            state = "held"
        elif self._user.open is not None:
            state = "hearing"
        elif speech is not None and speech.announced and not speech.over:
            state = "speaking"
        elif self._user.turn is not None or (speech is not None and not speech.over) or self.replies.writing:
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
        elif self._user.turn is not None and self._user.turn.ended and self._user.turn.hearing.ticket is not None:
            ticket = self._user.turn.hearing.ticket
            if ticket.started is None and ticket.waited_ms > BUSY_MS:
                waiting, turn, what = ticket.position, self._user.turn.number, "recognition"
        if waiting != self._busy_told:
            self._busy_told = waiting
            self.outbox.event("busy", turn=turn, waiting_for=what, position=waiting)
        behind = self._user.turn is not None and self._user.turn.hearing.behind_s > self.settings.behind_s
        if behind and not self._behind_told:
            error = LecternError(
                "this computer cannot keep up with so much speech", remedy="Wait for the answer, or type the question"
            )
            self.replies.error(self._user.turn.number if self._user.turn is not None else 0, "behind", error)
        self._behind_told = behind


assert SAMPLE_RATE == 16_000  # docs/live.md promises it to clients
