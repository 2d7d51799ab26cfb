"""A stage for live conversations: a clock that follows the sound, scripted ears and voice, a loudspeaker that reports.

Sound is a level: what is said at level k is line k of the script, a word every eight frames. So everything but the
models is real, and a minute of conversation takes a moment.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from omni.live.conversation import LiveConversation
from omni.live.mailbox import Mailbox
from omni.live.outbox import HEADER
from omni.live.types import LiveSettings
from omni.live.work import Priority, Ticket, Work
from omni.types import Hypothesis, Transcript, Waveform
from omni.vad import FRAME, FRAME_S
from rag.types import Answer, AnswerEvent, Citation, Hit

WORD_FRAMES = 8
SAMPLES_A_WORD = 4800  # of the voice: 0.3 s


class InlineWork(Work):
    """Does its jobs when the scene lets it, the most urgent first; `stopped`: not now."""

    def __init__(self) -> None:
        super().__init__(threads=1)
        self.stopped = False
        self.jobs = 0

    def submit(self, job: Callable[[], None], *, priority: Priority) -> Ticket:
        self.jobs += 1
        ticket = Ticket(self, job, priority, self.jobs)
        self._queue.append(ticket)
        return ticket

    @property
    def busy(self) -> bool:
        return False

    def go(self) -> None:
        while self._queue and not self.stopped:
            ticket = min(self._queue)
            self._queue.remove(ticket)
            if not ticket.cancelled:
                ticket.started = time.perf_counter()
                ticket.job()


class ScriptedRecogniser:
    """Hears the levels of a script; `readings`: other hypotheses of a line."""

    name = "scripted"

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.readings: dict[str, tuple[str, ...]] = {}
        self.open = 0

    def level(self, text: str) -> float:
        self.lines.append(text)
        return (len(self.lines) - 1) % 900 / 1000 + 0.05

    def transcribe(self, waveform: Waveform, *, vocabulary: Sequence[str] = ()) -> Transcript:
        session = self.stream(vocabulary)
        session.accept(waveform.samples)
        return session.finish()

    def stream(self, vocabulary: Sequence[str] = ()) -> ScriptedSession:
        self.open += 1
        return ScriptedSession(self)


class ScriptedSession:
    def __init__(self, recogniser: ScriptedRecogniser) -> None:
        self._recogniser = recogniser
        self._frames: dict[int, int] = {}

    def accept(self, samples: np.ndarray) -> None:
        for frame in samples.reshape(-1, FRAME):
            level = float(frame[0])
            if level > 0.04:
                line = round((level - 0.05) * 1000)
                line += (len(self._recogniser.lines) - 1 - line) // 900 * 900
                self._frames[line] = self._frames.get(line, 0) + 1

    def partial(self) -> str:
        said = []
        for line, frames in self._frames.items():
            words = self._recogniser.lines[line].split()
            said.append(" ".join(words[: max(1, frames // WORD_FRAMES)]))
        return " ".join(said)

    def pause(self) -> Transcript:
        text = self.partial()
        readings = (text, *self._recogniser.readings.get(text, ()))
        return Transcript(text, (), 1.0, 0.8, tuple(Hypothesis(reading) for reading in readings if reading))

    def finish(self) -> Transcript:
        self.close()
        return self.pause()

    def close(self) -> None:
        self._recogniser.open -= 1


class ScriptedVoice:
    name = "scripted"
    sample_rate = 16_000

    def __init__(self) -> None:
        self.rates: list[float] = []

    def stream(self, text: str, *, rate: float = 1.0) -> Iterator[Waveform]:
        self.rates.append(rate)
        for word in text.split():
            yield Waveform(np.full(SAMPLES_A_WORD, len(word) / 100, np.float32), self.sample_rate)


class ScriptedAnswerer:
    """Answers by a table; knows what was looked up, asked, heard and forgotten."""

    conversation = "talk-1"

    def __init__(self) -> None:
        self.answers: dict[str, list[str]] = {}
        self.looked: list[str] = []
        self.asked: list[str] = []
        self.kept: dict[str, str | None] = {}  # question -> what was heard of its answer; None: all of it

    def look(self, transcript: Transcript) -> Sequence[Hit]:
        self.looked.append(transcript.text)
        return []

    def ask(self, transcript: Transcript) -> ScriptedReply:
        self.asked.append(transcript.text)
        self.kept[transcript.text] = None
        sentences = self.answers.get(transcript.text, [f"You asked {transcript.text}."])
        return ScriptedReply(self, transcript.text, sentences)

    def citation_json(self, citation: Citation) -> dict[str, Any]:
        return {"n": citation.n, "document": citation.document, "page": citation.page}

    def hit_json(self, hit: Hit) -> dict[str, Any]:
        return {}

    def answer_json(self, answer: Answer) -> dict[str, Any]:
        return {"answer": answer.text}


class ScriptedReply:
    def __init__(self, answerer: ScriptedAnswerer, asked: str, sentences: list[str]) -> None:
        self._answerer, self._asked = answerer, asked
        self.question = asked
        self._events = self._write(sentences)

    def _write(self, sentences: list[str]) -> Iterator[AnswerEvent]:
        citations = []
        for n, sentence in enumerate(sentences, start=1):
            citation = Citation(n, "lease.pdf", 10 + n, sentence, 0, len(sentence))
            citations.append(citation)
            yield AnswerEvent(text=(" " if n > 1 else "") + f"{sentence} [{n}]", citation=citation)
        text = " ".join(f"{sentence} [{n}]" for n, sentence in enumerate(sentences, start=1))
        yield AnswerEvent(answer=Answer(self._asked, text, False, tuple(citations), (), "scripted"))

    def __iter__(self) -> Iterator[AnswerEvent]:
        return self

    def __next__(self) -> AnswerEvent:
        return next(self._events)

    def close(self) -> None:
        self._events.close()  # type: ignore[attr-defined]

    def heard(self, text: str) -> None:
        self._answerer.kept[self._asked] = text

    def forget(self) -> None:
        self._answerer.kept.pop(self._asked, None)


class Scene:
    """One conversation with its client. `say` and `silence` move the clock; the loudspeaker plays along."""

    def __init__(self, *, work: Work | None = None, settings: LiveSettings | None = None) -> None:
        self.now = 100.0
        self.ears, self.voice, self.answerer = ScriptedRecogniser(), ScriptedVoice(), ScriptedAnswerer()
        self.work = work or InlineWork()
        self.mailbox = Mailbox()
        self.records: list[dict[str, Any]] = []
        self.conversation = LiveConversation(
            self.answerer,
            recogniser=lambda: self.ears,
            voice=lambda: self.voice,
            work=self.work,
            post=self.mailbox.post,
            settings=settings,
            clock=lambda: self.now,
            probability=lambda frame: 0.95 if abs(float(frame[0])) > 0.04 else 0.02,
            recorded=self.records.append,
        )
        self.events: list[dict[str, Any]] = []
        self.received: dict[int, int] = {}  # samples of each speech
        self.complete: set[int] = set()
        self.playing = 0  # the speech in the loudspeaker
        self.position = 0
        self.loud = True
        self.plays = True  # the client plays and reports
        self.reader, _ = self.conversation.outbox.attach(wake=lambda: None)

    # ---- the user -------------------------------------------------------------------------------------------------

    def say(self, text: str, *, frames: int | None = None) -> None:
        level = self.ears.level(text)
        for _ in range(frames or WORD_FRAMES * len(text.split())):
            self.frame(level)

    def silence(self, seconds: float) -> None:
        for _ in range(round(seconds / FRAME_S)):
            self.frame(0.0)

    def ask(self, text: str) -> None:
        """Say a question and wait until its answer sounds."""
        number = self.playing
        self.say(text)
        self.silence(1.2)
        self.until(lambda: self.playing > number and self.position > 0)

    def control(self, **message: Any) -> None:
        self.conversation.control(message)
        self.settle()

    # ---- time -----------------------------------------------------------------------------------------------------

    def frame(self, level: float) -> None:
        self.now += FRAME_S
        self.conversation.hear(np.full(FRAME, level, np.float32))
        self.rest()
        self.take()
        self.play()

    def settle(self) -> None:
        """Let threads come to rest: a speech that may speak has sent its lead, or all there is."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            self.rest()
            speech = self.conversation.replies.speech
            if speech is None or speech.held or speech.complete or not self.conversation.replies.answering:
                break
            if speech.announced and speech.samples - speech._position() >= (speech._lead_s - 0.5) * 16_000:
                break
            if not speech.script.lines and not speech.script.ended:
                break
            time.sleep(0.0005)
        self.rest()
        self.take()

    def rest(self) -> None:
        """Work and mailbox have nothing left to do."""
        while True:
            if isinstance(self.work, InlineWork):
                self.work.go()
            if not self.mailbox.drain():
                return

    def until(self, done: Callable[[], bool], seconds: float = 30.0) -> None:
        """Silence until something has happened."""
        for _ in range(round(seconds / FRAME_S)):
            if done():
                return
            self.settle()
            self.frame(0.0)
        assert done(), [event["type"] for event in self.events[-15:]]

    def play(self) -> None:
        if not self.plays or not self.playing or not self.loud:
            return
        self.settle()
        self.position = min(self.position + FRAME, self.received.get(self.playing, 0))
        over = self.playing in self.complete and self.position >= self.received.get(self.playing, 0)
        self.conversation.control(
            {"type": "played", "speech": self.playing, "samples": self.position, "playing": not over}
        )
        self.rest()
        self.take()

    # ---- the client -----------------------------------------------------------------------------------------------

    def take(self) -> None:
        for item in self.reader.take():
            if isinstance(item, bytes):
                _, _, _, speech, _, _, start = HEADER.unpack_from(item)
                assert start == self.received.get(speech, 0), "sound without a gap"
                self.received[speech] = start + (len(item) - HEADER.size) // 2
                continue
            event = json.loads(item)
            self.events.append(event)
            kind = event["type"]
            if kind == "speech":
                self.playing, self.position, self.loud = event["speech"], 0, True
            elif kind == "speech_end":
                self.complete.add(event["speech"])
            elif kind == "hold":
                self.loud = False
            elif kind == "resume":
                self.loud = True
            elif kind == "cancel" and event["speech"] >= self.playing:
                self.playing = 0

    def all(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        return [
            event
            for event in self.events
            if event["type"] == kind and all(event.get(name) == value for name, value in fields.items())
        ]

    def one(self, kind: str, **fields: Any) -> dict[str, Any]:
        found = self.all(kind, **fields)
        assert len(found) == 1, (kind, fields, [event["type"] for event in self.events])
        return found[0]

    def kinds(self, *wanted: str) -> list[str]:
        return [event["type"] for event in self.events if event["type"] in wanted]
