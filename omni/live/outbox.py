"""What goes out to the client: numbered events and chunks of sound, kept so that a lost connection can be taken up.

    outbox.event("partial", turn=3, text="how long")           # from any thread
    reader = outbox.attach(last_event=41, have=(3, 17), wake=wake)     # a connection; the one before it is detached
    for frame in reader.take(): ...                            # str: a JSON event, bytes: a chunk of sound

docs/live.md describes both. Fleeting events are not kept: after a reconnect only the newest state matters.
"""

from __future__ import annotations

import json
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

FLEETING = frozenset(str.split("state partial looking duck hold resume busy latency"))
KEPT_EVENTS, KEPT_BYTES = 2000, 4 * 2**20  # of events, whichever is less
MAX_UNSENT = 8 * 2**20  # bytes; a client that reads so slowly is gone
HEADER = struct.Struct("<BBHIIII")  # kind, flags, sample rate, speech, chunk, sentence, start
SOUND = 1
FIRST_OF_SENTENCE, LAST_OF_SPEECH = 1, 2


@dataclass(frozen=True)
class SoundChunk:
    """A piece of a speech."""

    speech: int
    chunk: int  # from 0
    sentence: int  # from 0
    start: int  # sample of the speech at which it begins
    samples: np.ndarray  # (n,) float32, -1..1
    sample_rate: int
    flags: int = 0

    def frame(self) -> bytes:
        """As it goes over the wire."""
        header = HEADER.pack(
            SOUND, self.flags, self.sample_rate, self.speech, self.chunk, self.sentence, self.start
        )  # fmt: skip
        return header + (np.clip(self.samples, -1.0, 1.0) * 32767).astype("<i2").tobytes()


class Outbox:
    """Thread-safe. State: kept events, the present speech's chunks, and what the attached connection has not read."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._number = 0
        self._kept: deque[tuple[int, str]] = deque()
        self._kept_size = 0  # characters
        self._gone = 0  # number of the latest event that is kept no longer
        self._state: tuple[int, str] | None = None
        self._chunks: deque[tuple[SoundChunk, bytes]] = deque()  # of the present speech, not played yet
        self._reader: Reader | None = None

    def event(self, kind: str, *, keep: bool = True, **fields: Any) -> int:
        """Send an event; its number. `keep`: also to who resumes the session later, unless it is a fleeting one."""
        with self.lock:
            self._number += 1
            text = json.dumps({"type": kind, "n": self._number, **fields}, ensure_ascii=False)
            if kind == "state":
                self._state = (self._number, text)
            elif keep and kind not in FLEETING:
                self._keep(text)
            self._put(text)
            return self._number

    def sound(self, chunk: SoundChunk) -> None:
        with self.lock:
            frame = chunk.frame()
            if self._chunks and self._chunks[-1][0].speech != chunk.speech:
                self._chunks.clear()
            self._chunks.append((chunk, frame))
            self._put(frame)

    def played(self, speech: int, sample: int) -> None:
        """So much has sounded: chunks that ended a second before need not be sent again."""
        with self.lock:
            while self._chunks:
                chunk = self._chunks[0][0]
                done = chunk.start + len(chunk.samples) + chunk.sample_rate <= sample
                if chunk.speech > speech or (chunk.speech == speech and not done):
                    break
                self._chunks.popleft()

    def cancel(self, speech: int) -> None:
        """Drop the sound of this speech and of those before it, sent or not."""
        with self.lock:
            while self._chunks and self._chunks[0][0].speech <= speech:
                self._chunks.popleft()
            if self._reader is not None:
                self._reader.drop_sound(speech)

    def attach(
        self, *, last_event: int | None = None, have: tuple[int, int] | None = None, wake: Callable[[], None]
    ) -> tuple[Reader, bool]:
        """A connection begins to read; (reader, whether events that it missed are lost).

        last_event None: a new session, nothing is repeated. `wake` is called, from any thread, when there is something
        to take or the reader has been replaced.
        """
        with self.lock:
            if self._reader is not None:
                self._reader.replace()
            reader = self._reader = Reader(self, wake)
            if last_event is None:
                return reader, False
            missed = self._gone > last_event
            repeated = [(n, text) for n, text in self._kept if n > last_event]
            if self._state is not None:
                repeated.append(self._state)
            for _, text in repeated:
                self._put(text)
            for chunk, frame in self._chunks:
                if have is None or (chunk.speech, chunk.chunk) > have:
                    self._put(frame)
            return reader, missed

    def detach(self, reader: Reader) -> None:
        """The connection is gone; harmless if another has taken its place."""
        with self.lock:
            if self._reader is reader:
                self._reader = None

    @property
    def attached(self) -> bool:
        return self._reader is not None

    @property
    def kept_bytes(self) -> int:
        with self.lock:
            return sum(len(text) for _, text in self._kept) + sum(len(frame) for _, frame in self._chunks)

    def _keep(self, text: str) -> None:
        self._kept.append((self._number, text))
        self._kept_size += len(text)
        while len(self._kept) > KEPT_EVENTS or self._kept_size > KEPT_BYTES:
            self._gone, dropped = self._kept.popleft()
            self._kept_size -= len(dropped)

    def _put(self, frame: str | bytes) -> None:
        if self._reader is not None:
            self._reader.put(frame)


class Reader:
    """One connection's side of an outbox."""

    def __init__(self, outbox: Outbox, wake: Callable[[], None]) -> None:
        self._outbox = outbox
        self._wake = wake
        self._frames: deque[str | bytes] = deque()
        self._bytes = 0
        self.replaced = False  # a newer connection reads now
        self.overflowed = False  # more than MAX_UNSENT is waiting

    def take(self) -> list[str | bytes]:
        """Everything that is to be sent, in order; empty if there is nothing."""
        with self._outbox.lock:
            frames = list(self._frames)
            self._frames.clear()
            self._bytes = 0
            return frames

    def put(self, frame: str | bytes) -> None:  # under the outbox's lock, as all below
        if self._bytes > MAX_UNSENT:
            self.overflowed = True
            return
        self._frames.append(frame)
        self._bytes += len(frame)
        self._wake()

    def drop_sound(self, speech: int) -> None:
        kept: list[str | bytes] = []
        for frame in self._frames:
            if isinstance(frame, str) or HEADER.unpack_from(frame)[3] > speech:
                kept.append(frame)
        self._frames = deque(kept)
        self._bytes = sum(map(len, kept))

    def replace(self) -> None:
        self.replaced = True
        self._wake()
