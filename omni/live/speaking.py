"""Saying an answer while it is written, never far ahead of the listener, and knowing what has been heard of it.

    script = Script()                          # sentences, as they are written; shared by all speeches of an answer
    script.citation(citation); script.write("The notice period is three months [1]."); script.end()
    speech = Speech(4, script, voice, outbox, ...); speech.start()
    speech.hold(); speech.resume(); speech.cancel()
    speech.heard_text()                        # what of the answer has sounded, as it is written

A Speech has a thread of its own while it lasts. It keeps `lead_s` of sound ahead of what was reported as played, so
that an interruption wastes little, and a rate that is changed is soon heard.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.errors import LecternError
from omni.live.outbox import FIRST_OF_SENTENCE, LAST_OF_SPEECH, Outbox, SoundChunk
from omni.sentences import SentenceSplitter
from omni.spoken_form import SpokenForm
from omni.types import SpeechSynthesiser
from rag.types import Citation

log = logging.getLogger(__name__)

LEAD_S = 4.0  # of sound sent ahead of the listener
CHUNK_S = 0.4  # longer pieces of a voice are divided, so that a cancellation drops little
PATIENCE_S = 0.25  # a text that pauses this long after a full stop has ended its sentence
CLAUSE_WORDS = 5  # the first clause of an answer that is still being written is worth saying from so many words on
_CLAUSE = re.compile(r"[,;:—–](?=\s)")
_MARK = re.compile(r"\[(\d+)\]")


@dataclass(frozen=True)
class Line:
    """A sentence of an answer."""

    text: str  # as written
    spoken: str  # the words to say
    citations: tuple[int, ...]


class Script:
    """The sentences of one answer as they become complete. Written by one thread, read by those of speeches."""

    def __init__(self) -> None:
        self._splitter = SentenceSplitter()
        self._form = SpokenForm()
        self._changed = threading.Condition()
        self._lines: list[Line] = []
        self._pending = ""  # written, not yet part of a line
        self._ended = False
        self.known: dict[int, Citation] = {}

    def citation(self, citation: Citation) -> None:
        with self._changed:
            self.known[citation.n] = citation
            self._form.citations.learn(citation)

    def write(self, piece: str, *, whole: bool = False) -> None:
        """Add written text. `whole`: it ends with a sentence and its citations."""
        with self._changed:
            self._pending += piece
            self._add(self._splitter.push(piece))
            if whole and self._splitter.looks_complete():
                self._add(self._splitter.flush())
            elif not self._lines:
                self._first_clause()

    def end(self) -> None:
        """No more will be written."""
        with self._changed:
            self._add(self._splitter.flush())
            self._ended = True
            self._changed.notify_all()

    def line(self, index: int, timeout_s: float | None = None) -> Line | None:
        """The sentence with this number; waits for it. None: there is none, or not in time."""
        with self._changed:
            if not self._ready(index):
                self._changed.wait_for(lambda: self._ready(index), timeout_s)
            if index >= len(self._lines) and not self._ended and self._splitter.looks_complete():
                self._add(self._splitter.flush())  # the writer pauses after a full stop
            return self._lines[index] if index < len(self._lines) else None

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def lines(self) -> list[Line]:
        with self._changed:
            return list(self._lines)

    @property
    def text(self) -> str:
        return " ".join(line.text for line in self.lines)

    def _ready(self, index: int) -> bool:
        return index < len(self._lines) or self._ended

    def _add(self, sentences: list[str]) -> None:
        for sentence in sentences:
            cited = tuple(int(n) for n in _MARK.findall(sentence))
            self._lines.append(Line(sentence, self._form(sentence), cited))
        if sentences:
            self._pending = ""
            self._changed.notify_all()

    def _first_clause(self) -> None:
        """An answer that is being written word by word is begun at its first comma."""
        for mark in _CLAUSE.finditer(self._pending):
            clause = self._pending[: mark.end()].strip()
            if len(clause.split()) >= CLAUSE_WORDS:
                rest = self._pending[mark.end() :]
                self._splitter = SentenceSplitter()
                self._add([clause])
                self._pending = rest
                self._add(self._splitter.push(rest.lstrip()))
                return


@dataclass
class _Said:
    """A line in the sound of a speech."""

    index: int  # of the line in its script
    line: Line
    start: int  # samples
    end: int | None = None  # None: still being made


class Speech:
    """One speech: lines of a script from `first` on. `hold`, `resume`, `cancel`, `report` from the conversation."""

    def __init__(
        self,
        number: int,
        script: Script,
        voice: Callable[[], SpeechSynthesiser],
        outbox: Outbox,
        *,
        turn: int,
        of: str = "answer",
        first: int = 0,
        rate: float = 1.0,
        lead_s: float = LEAD_S,
        clock: Callable[[], float],
        first_sound: Callable[[], None] = lambda: None,
        ended: Callable[[LecternError | None], None] = lambda error: None,
    ) -> None:
        """`first_sound` and `ended` are called in the speech's own thread; `ended` not after `cancel`."""
        self.number, self.script, self.turn, self.of, self.first = number, script, turn, of, first
        self._voice, self._outbox, self._rate, self._lead_s, self._clock = voice, outbox, rate, lead_s, clock
        self._first_sound, self._ended = first_sound, ended
        self._changed = threading.Condition()
        self._said: list[_Said] = []
        self._samples = self._chunks = 0  # sent
        self.sample_rate = 16_000
        self._played = 0
        self._playing_since: float | None = None  # clock time of `_played`; None: the client is not playing
        self._reported = False  # the client tells what it plays
        self.announced = self.held = self.cancelled = self.complete = False

    def start(self) -> None:
        threading.Thread(target=self._run, name=f"live-speech-{self.number}", daemon=True).start()

    # ---- from the conversation ------------------------------------------------------------------------------------

    def hold(self) -> None:
        """Send nothing more for now."""
        with self._changed:
            self._played, self._playing_since = self._position(), None
            self.held = True

    def resume(self) -> None:
        with self._changed:
            self.held = False
            if not self._reported and self._samples:
                self._playing_since = self._clock()
            self._changed.notify_all()

    def cancel(self) -> bool:
        """Say no more; whether there was anything to stop."""
        with self._changed:
            had = not self.cancelled and not self.over
            self._played, self._playing_since = self._position(), None
            self.cancelled = True
            self._changed.notify_all()
        if self.announced:
            self._outbox.cancel(self.number)
        return had

    def report(self, samples: int, playing: bool) -> None:
        """The client has played so many samples."""
        with self._changed:
            self._reported = True
            self._played = max(0, min(samples, self._samples))
            self._playing_since = self._clock() if playing and not self.held else None
            self._changed.notify_all()
        self._outbox.played(self.number, samples)

    @property
    def over(self) -> bool:
        """All of it has sounded, as far as is known."""
        with self._changed:
            return self.complete and self._position() >= self._samples

    @property
    def begun(self) -> bool:
        """Something has sounded."""
        with self._changed:
            return self._position() > 0

    @property
    def seconds_heard(self) -> float:
        with self._changed:
            return self._position() / self.sample_rate

    @property
    def samples(self) -> int:
        return self._samples

    @property
    def chunks(self) -> int:
        return self._chunks

    def _position(self) -> int:
        """Sample that is sounding now: as reported, and going on since."""
        since = 0.0 if self._playing_since is None else self._clock() - self._playing_since
        return min(self._samples, self._played + round(since * self.sample_rate))

    def line_playing(self) -> int:
        """Number in the script of the line that is sounding, or was last."""
        with self._changed:
            position = self._position()
            begun = [said for said in self._said if said.start <= position]
            return begun[-1].index if begun else self.first

    def being_said(self) -> str:
        """Spoken words of the lines around the present position: what a microphone may hear of them."""
        with self._changed:
            position = self._position()
            near = [s for s in self._said if s.start <= position and (s.end is None or s.end > position - 32_000)]
            return " ".join(said.line.spoken for said in near)

    def heard_text(self) -> str:
        """The written text of what has sounded; of an unfinished sentence, as many words as its share of time."""
        with self._changed:
            position, complete = self._position(), self.complete
            texts: list[str] = []
            for said in self._said:
                if position <= said.start:
                    break
                if said.end is not None and position >= said.end - self.sample_rate // 10:
                    texts.append(said.line.text)
                    continue
                # A line that is still being made is taken to be as long as its words usually are.
                length = (said.end or said.start + len(said.line.spoken) * self.sample_rate // 15) - said.start
                words = said.line.text.split()
                texts.append(" ".join(words[: int(len(words) * min(1.0, (position - said.start) / max(length, 1)))]))
                break
            whole = complete and len(texts) == len(self._said) and position >= self._samples
        before = [line.text for line in self.script.lines[: self.first]] if self.of != "where" else []
        return self.script.text if whole and self.of != "where" else " ".join(filter(None, [*before, *texts]))

    # ---- its own thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._speak()
        except LecternError as error:
            log.warning("the voice failed: %s", error)
            self._ended(error)
        except Exception as error:
            log.exception("speaking")
            self._ended(LecternError(f"the voice failed: {error}", remedy="Read the answer; the log says more"))

    def _speak(self) -> None:
        index, sentence = self.first, 0
        while not self.cancelled:
            line = self.script.line(index, PATIENCE_S)
            if line is None:
                if self.script.ended and index >= len(self.script.lines):
                    break
                continue
            if line.spoken:
                self._say(line, index, sentence)
                sentence += 1
            index += 1
        if self.cancelled:
            return
        if self.announced:
            # The flag comes with an empty chunk: which one is the last is known only now.
            self._send(np.zeros(0, np.float32), max(sentence - 1, 0), LAST_OF_SPEECH)
            self._outbox.event("speech_end", speech=self.number, chunks=self._chunks, samples=self._samples)
        with self._changed:
            self.complete = True
        self._ended(None)

    def _say(self, line: Line, index: int, sentence: int) -> None:
        voice = self._voice()
        said: _Said | None = None
        for piece in voice.stream(line.spoken, rate=self._rate):
            if said is None:
                self.sample_rate = piece.sample_rate
                if not self._wait():
                    return
                self._announce(piece.sample_rate)
                said = _Said(index, line, self._samples)
                with self._changed:
                    self._said.append(said)
                self._outbox.event(
                    "sentence", speech=self.number, turn=self.turn, sentence=sentence, chunk=self._chunks,
                    start=self._samples, text=line.text, spoken=line.spoken, citations=list(line.citations),
                )  # fmt: skip
                first = FIRST_OF_SENTENCE
            stride = round(CHUNK_S * piece.sample_rate)
            for at in range(0, len(piece.samples), stride):
                if not self._wait():
                    return
                self._send(piece.samples[at : at + stride], sentence, first)
                first = 0
        if said is not None:
            with self._changed:
                said.end = self._samples

    def _announce(self, sample_rate: int) -> None:
        if not self.announced:
            self.announced = True
            self._outbox.event("speech", speech=self.number, turn=self.turn, sample_rate=sample_rate, of=self.of)

    def _wait(self) -> bool:
        """Until there is room in front of the listener; False: cancelled."""
        with self._changed:
            while not self.cancelled:
                ahead = (self._samples - self._position()) / self.sample_rate
                if not self.held and ahead < self._lead_s:
                    return True
                self._changed.wait(0.1 if not self.held else None)
            return False

    def _send(self, samples: np.ndarray, sentence: int, flags: int) -> None:
        with self._changed:
            if self.cancelled:
                return
            chunk = SoundChunk(
                self.number, self._chunks, sentence, self._samples, samples, self.sample_rate, flags
            )  # fmt: skip
            self._chunks += 1
            self._samples += len(samples)
            first = self._chunks == 1
            if first and not self._reported:
                self._playing_since = self._clock()
            self._outbox.sound(chunk)
        if first:
            self._first_sound()
