"""The assistant's side of a live conversation: the answer being written, the speech being played, what to repeat.

All of it runs in the conversation's thread; `talking`, `hold`, `go_on` and `silence` are what barge-in works with, and
each command that can be said has a method that tells whether there was anything to do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from core.errors import LecternError
from omni.live.answering import Answering
from omni.live.commands import CommandName
from omni.live.latency import TurnTimes
from omni.live.outbox import Outbox
from omni.live.speaking import Script, Speech
from omni.live.types import Answerer, LiveSettings
from omni.live.work import Work
from omni.spoken_citations import document_name, has_pages
from omni.types import SpeechSynthesiser, Transcript
from rag.types import Citation

log = logging.getLogger(__name__)

SLOWER, FASTER, SLOWEST, FASTEST = 0.85, 1.18, 0.6, 1.6  # steps and bounds of the speaking rate
LOUDER, SOFTEST, LOUDEST = 1.5, 0.3, 2.25  # step and bounds of the gain
ANSWERS_KEPT = 20  # that can be corrected or asked where they stand


class Replies:
    """State: the latest answer, those before it, the speech under way, and whether it is ducked or held."""

    def __init__(
        self,
        answerer: Answerer,
        voice: Callable[[], SpeechSynthesiser],
        work: Work,
        outbox: Outbox,
        settings: LiveSettings,
        *,
        clock: Callable[[], float],
        post: Callable[[Callable[[], None]], None],
        recorded: Callable[[dict[str, Any]], None],
        changed: Callable[[], None],
    ) -> None:
        """`recorded`: told each turn's latency record; `changed`: called when the state may be another."""
        self.settings, self.outbox = settings, outbox
        self.speaks = True
        self.rate = settings.rate
        self.volume = 1.0
        self.answering: Answering | None = None  # the latest, until another is asked
        self.answers: dict[int, Answering] = {}
        self.speech: Speech | None = None
        self.ducked = self.held = False
        self.speeches = 0
        self._answerer, self._voice, self._work = answerer, voice, work
        self._clock, self._post, self._recorded, self._changed = clock, post, recorded, changed
        self._told_conversation = answerer.conversation

    def answer(self, turn: int, transcript: Transcript, times: TurnTimes) -> None:
        self.silence("replaced")
        self.write_times()
        answering = Answering(
            turn, transcript, self._answerer, self._work, self.outbox, times, clock=self._clock, post=self._post,
            done=self.answered,
        )  # fmt: skip
        self.answering = answering
        self.answers[turn] = answering
        while len(self.answers) > ANSWERS_KEPT:
            del self.answers[next(iter(self.answers))]
        if self.speaks:
            self.say(answering.script, turn, "answer")
        answering.start()

    def answered(self, answering: Answering, error: LecternError | None) -> None:
        if self._answerer.conversation != self._told_conversation:
            self._told_conversation = self._answerer.conversation
            self.outbox.event("conversation", id=self._told_conversation)
        if error is not None:
            self.error(answering.turn, "answer_failed", error)
        if error is not None or self.speech is None or self.speech.script is not answering.script:
            self.tell_latency(answering.times)
        self._changed()

    def say(self, script: Script, turn: int, of: str, *, first: int = 0) -> None:
        self.speeches += 1
        number = self.speeches
        times = self.answering.times if self.answering is not None and of == "answer" else None
        speech = Speech(
            number, script, self._voice, self.outbox, turn=turn, of=of, first=first, rate=self.rate,
            lead_s=self.settings.lead_s, clock=self._clock,
            first_sound=lambda: times.mark("first_audio", self._clock()) if times is not None else None,
            ended=lambda error: self._post(lambda: self.spoken(number, error)),
        )  # fmt: skip
        self.speech = speech
        speech.start()

    def spoken(self, number: int, error: LecternError | None) -> None:
        """A speech has sent all of its sound, or has failed."""
        speech = self.speech
        if speech is None or speech.number != number:
            return
        if error is not None:
            self.error(speech.turn, "voice_failed", error)
        if error is not None or not speech.announced:  # there was nothing to say
            if error is not None:
                speech.cancel()
            self.speech = None
            if self.answering is not None and self.answering.complete:
                self.tell_latency(self.answering.times)
        self._changed()

    @property
    def talking(self) -> bool:
        """The assistant has something to say that the user would interrupt."""
        speech = self.speech
        return speech is not None and not speech.cancelled and not speech.over

    def duck(self) -> None:
        speech = self.speech
        if speech is not None and speech.announced and not self.ducked and not self.held:
            self.ducked = True
            self.outbox.event("duck", speech=speech.number)

    def hold(self) -> None:
        speech = self.speech
        if speech is None or self.held:
            return
        self.held = True
        speech.hold()
        if speech.announced:
            self.outbox.event("hold", speech=speech.number)

    def go_on(self) -> None:
        """It was no interruption."""
        speech = self.speech
        if speech is not None and (self.held or self.ducked) and not speech.cancelled:
            speech.resume()
            if speech.announced:
                self.outbox.event("resume", speech=speech.number)
        self.held = self.ducked = False

    def silence(self, reason: str) -> bool:
        """Stop reading and speaking; the history keeps what was heard. Whether there was anything to stop."""
        speech, answering = self.speech, self.answering
        had = False
        if answering is not None and not answering.complete and not answering.cancelled:
            answering.cancel()
            had = True
        if speech is not None:
            had = speech.cancel() or had
            if speech.announced and had:
                self.outbox.event("cancel", speech=speech.number, reason=reason)
            self.keep_heard(speech)
        elif had and answering is not None:
            answering.heard("")
        self.speech = None
        self.held = self.ducked = False
        return had

    def keep_heard(self, speech: Speech) -> None:
        """The history holds what was heard of the answer that this speech was of."""
        answering = self.answers.get(speech.turn)
        if answering is None or speech.of == "where" or speech.script is not answering.script:
            return
        text = speech.heard_text()
        complete = answering.complete and speech.complete and text == answering.script.text
        if speech.of == "answer" or len(text) > len(answering.heard_text):
            if complete:
                answering.heard_text = text
                if speech.of != "answer":
                    answering.heard(text)
            else:
                answering.heard(text)
            self.outbox.event("heard", turn=speech.turn, text=text, complete=complete)

    def speech_over(self) -> None:
        speech = self.speech
        if speech is None:
            return
        self.keep_heard(speech)
        self.speech = None
        self.held = self.ducked = False
        self.write_times()

    def played(self, number: int, samples: int, playing: bool) -> None:
        speech = self.speech
        if speech is None or speech.number != number:
            return
        speech.report(samples, playing)
        if speech.over:
            self.speech_over()

    def first_played(self, message: dict[str, Any]) -> None:
        answering = self.answers.get(message["turn"])
        if answering is None or answering.times.told:
            return
        answering.times.played(message["after_speech_end_ms"])
        self.tell_latency(answering.times)

    # ---- commands -------------------------------------------------------------------------------------------------

    def obey(self, command: CommandName) -> bool:
        """Do what was said; whether there was anything to do it to."""
        run: dict[CommandName, Callable[[], bool]] = {
            "stop": self.stop,
            "repeat": self.repeat,
            "slower": lambda: self.set_rate(self.rate * SLOWER),
            "faster": lambda: self.set_rate(self.rate * FASTER),
            "louder": lambda: self.set_volume(self.volume * LOUDER),
            "quieter": lambda: self.set_volume(self.volume / LOUDER),
            "go_on": self.keep_going,
            "open_page": self.open,
            "where": self.tell_where,
        }
        done = run[command]()
        if self.held:
            self.go_on()
        return done

    def stop(self) -> bool:
        return self.silence("stop")

    def current_line(self) -> int:
        speech = self.speech
        if speech is not None:
            return speech.line_playing()
        heard = self.answering.heard_text if self.answering is not None else ""
        lines = self.answering.script.lines if self.answering is not None else []
        position = 0
        for index, line in enumerate(lines):
            position += len(line.text) + 1
            if len(heard) < position - 1:
                return index
        return len(lines)

    def repeat(self) -> bool:
        """While speaking: from the sentence before, if this one has hardly begun. Afterwards: all of it."""
        answering = self.answering
        if answering is None or not answering.script.lines:
            return False
        speech = self.speech
        first = speech.line_playing() if speech is not None and speech.of != "where" else 0
        self.silence("replaced")
        self.say(answering.script, answering.turn, "repeat", first=first)
        return True

    def set_rate(self, rate: float) -> bool:
        rate = round(min(FASTEST, max(SLOWEST, rate)), 2)
        changed, self.rate = rate != self.rate, rate
        self.outbox.event("rate", rate=rate)
        speech, answering = self.speech, self.answering
        if speech is not None and answering is not None and speech.script is answering.script:
            first = speech.line_playing()
            of = speech.of
            unfinished = not answering.complete
            if unfinished:  # its text must not be cut short: only the sound is made anew
                if speech.cancel() and speech.announced:
                    self.outbox.event("cancel", speech=speech.number, reason="replaced")
            else:
                self.silence("replaced")
            self.held = self.ducked = False
            self.say(answering.script, answering.turn, of if first == 0 else "repeat", first=first)
        return changed

    def set_volume(self, gain: float) -> bool:
        """The client turns it up or down; what has been sent already, too."""
        gain = round(min(LOUDEST, max(SOFTEST, gain)), 2)
        changed, self.volume = gain != self.volume, gain
        self.outbox.event("volume", gain=gain)
        return changed

    def keep_going(self) -> bool:
        """Go on with what was interrupted."""
        answering = self.answering
        if self.talking and self.speech is not None and not self.held:
            return True
        if self.held:
            self.go_on()
            return True
        if answering is None:
            return False
        first = self.current_line()
        if first >= len(answering.script.lines):
            return False
        self.silence("replaced")
        self.say(answering.script, answering.turn, "repeat", first=first)
        return True

    def place(self) -> Citation | None:
        """What stands behind the sentence that is being said, or was last."""
        answering = self.answering
        if answering is None:
            return None
        lines = answering.script.lines
        playing = self.speech.line_playing() if self.speech is not None and self.speech.of != "where" else None
        order = [playing] if playing is not None else []
        for index in [*order, *range(len(lines))]:
            if index < len(lines):
                for n in lines[index].citations:
                    if n in answering.script.known and answering.citations:
                        return answering.script.known[n]
        return answering.citations[0] if answering.citations else None

    def open(self) -> bool:
        citation = self.place()
        if citation is None or self.answering is None:
            return False
        self.outbox.event("open", turn=self.answering.turn, citation=self._answerer.citation_json(citation))
        return True  # and the speech goes on: one may look while one listens

    def tell_where(self) -> bool:
        citation, answering = self.place(), self.answering
        if citation is None or answering is None:
            return False
        self.silence("replaced")
        self.outbox.event("open", turn=answering.turn, citation=self._answerer.citation_json(citation))
        if self.speaks:
            script = Script()
            script.write(spoken_place(citation))
            script.end()
            self.say(script, answering.turn, "where")
        return True

    @property
    def writing(self) -> bool:
        """An answer is under way."""
        return self.answering is not None and not (self.answering.complete or self.answering.cancelled)

    def error(self, turn: int, code: str, error: LecternError, *, fatal: bool = False) -> None:
        message = error.message[:1].upper() + error.message[1:].rstrip(".") + "."
        remedy = error.remedy.rstrip(".") + "." if error.remedy else ""
        self.outbox.event("error", turn=turn, code=code, message=message, remedy=remedy, fatal=fatal)

    def tell_latency(self, times: TurnTimes) -> None:
        if times.told:
            return
        record = times.write()
        self.outbox.event("latency", **record)
        self._recorded(record)

    def write_times(self) -> None:
        """The record of the latest answered turn, if its first sound was never reported as played."""
        if self.answering is not None and (self.answering.complete or self.answering.cancelled):
            self.tell_latency(self.answering.times)


def spoken_place(citation: Citation) -> str:
    """ "That is on page 12 of the lease." """
    name = document_name(citation.document)
    return f"That is on page {citation.page} of {name}." if has_pages(citation) else f"That is in {name}."
