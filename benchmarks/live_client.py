"""A client of the live conversation (docs/live.md) that plays recordings in real time, for benchmarks and tests.

    async with LiveClient(url, "default") as client:
        await client.say(load_audio("question.wav").samples)     # 16 kHz float32, in real time
        turn = await client.wait_for("transcript", "error")

It "plays" what it receives on the clock: a sample sounds when it would sound in a browser that buffers 30 ms, and is
reported every 250 ms. Every event and chunk is kept with its time.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np

from omni.live.outbox import HEADER
from omni.vad import FRAME, SAMPLE_RATE

OUTPUT_S = 0.03  # between receiving a chunk and hearing its first sample


@dataclass
class Received:
    """An event of the server."""

    at: float  # time.perf_counter()
    event: dict[str, Any]


@dataclass
class Playing:
    """A speech in the client's loudspeaker."""

    speech: int
    sample_rate: int = 16_000
    began: float | None = None  # when its first sample sounded
    received: int = 0  # samples
    chunks: list[int] = field(default_factory=list)
    sentences: list[dict[str, Any]] = field(default_factory=list)
    position: float = 0.0  # samples that have sounded
    since: float = 0.0  # time of `position`
    running: bool = True
    cancelled: bool = False
    silent_at: float | None = None  # when it was held or cancelled
    audio: list[np.ndarray] = field(default_factory=list)

    def now(self, at: float) -> int:
        if not self.running or self.began is None:
            return int(self.position)
        return int(min(self.received, self.position + max(0.0, at - self.since) * self.sample_rate))


class LiveClient:
    """One connection. `resume=` another client's session takes it up."""

    def __init__(
        self,
        url: str,
        workspace: str,
        *,
        mode: str = "hands_free",
        headers: dict[str, str] | None = None,
        reports: bool = True,
        resume: LiveClient | None = None,
        after_reload: bool = False,
        **hello: Any,
    ) -> None:
        """url: http://HOST:PORT of the server."""
        self.url = url.replace("http", "ws", 1) + f"/api/workspaces/{workspace}/live"
        self.events: list[Received] = []
        self.speeches: dict[int, Playing] = {}
        self.welcome: dict[str, Any] = {}
        self.sent = 0  # samples
        self.sent_at: list[float] = []  # when each frame was sent
        self.closed: int | None = None
        self._headers, self._reports = headers or {}, reports
        self._hello: dict[str, Any] = {"type": "hello", "protocol": 1, "mode": mode, **hello}
        if resume is not None:
            self._hello |= {
                "session": resume.welcome["session"],
                "last_event": 0 if after_reload else resume.last_event,
            }
            self.speeches = {} if after_reload else resume.speeches
            if not after_reload and resume.speeches:
                latest = resume.speeches[max(resume.speeches)]
                self._hello["have"] = {"speech": latest.speech, "chunk": max(latest.chunks, default=-1)}
        self._arrived = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._socket: Any = None

    async def __aenter__(self) -> LiveClient:
        import websockets

        self._socket = await websockets.connect(self.url, additional_headers=self._headers, max_size=2**22)
        await self.send(**self._hello)
        self.welcome = json.loads(await self._socket.recv())
        if self.welcome["type"] == "welcome":
            self.sent = self.welcome["next_sample"]
        self._tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._report())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.drop()

    async def drop(self) -> None:
        """Lose the connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._socket.close()

    @property
    def last_event(self) -> int:
        return max((received.event.get("n", 0) for received in self.events), default=0)

    # ---- sending --------------------------------------------------------------------------------------------------

    async def send(self, **message: Any) -> None:
        await self._socket.send(json.dumps(message))

    async def send_raw(self, data: bytes | str) -> None:
        await self._socket.send(data)

    async def say(self, samples: np.ndarray, *, speed: float = 1.0) -> None:
        """Send sound (n,) float32 at 16 kHz, frame by frame as a microphone would."""
        pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2")
        pcm = np.concatenate([pcm, np.zeros(-len(pcm) % FRAME, "<i2")])
        due = time.perf_counter()
        for at in range(0, len(pcm), FRAME):
            due += FRAME / SAMPLE_RATE / speed
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await self._socket.send(pcm[at : at + FRAME].tobytes())
            self.sent += FRAME
            self.sent_at.append(time.perf_counter())

    async def silence(self, seconds: float, *, speed: float = 1.0) -> None:
        await self.say(np.zeros(round(seconds * SAMPLE_RATE), np.float32), speed=speed)

    def captured_at(self, sample: int) -> float:
        """When the frame that ends at this sample of the session was sent (by this connection)."""
        index = sample // FRAME - 1 - (self.sent // FRAME - len(self.sent_at))
        return self.sent_at[max(0, min(index, len(self.sent_at) - 1))]

    # ---- receiving ------------------------------------------------------------------------------------------------

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [received.event for received in self.events if received.event["type"] == kind]

    async def wait_for(
        self,
        *kinds: str,
        after: int = 0,
        timeout_s: float = 20.0,
        where: Callable[[dict[str, Any]], bool] | None = None,
    ) -> Received:
        """The first event of these kinds with a number above `after`. Raises TimeoutError with what did come."""
        deadline = time.perf_counter() + timeout_s
        while True:
            for received in self.events:
                event = received.event
                if event["type"] in kinds and event.get("n", 0) > after and (where is None or where(event)):
                    return received
            self._arrived.clear()
            left = deadline - time.perf_counter()
            if left <= 0 or self.closed is not None:
                came = [received.event["type"] for received in self.events][-12:]
                raise TimeoutError(
                    f"no {' or '.join(kinds)} after event {after}; the latest were {came} ({self.closed})"
                )
            try:
                await asyncio.wait_for(self._arrived.wait(), min(left, 1.0))
            except TimeoutError:
                continue

    async def _receive(self) -> None:
        import websockets

        try:
            async for frame in self._socket:
                at = time.perf_counter()
                if isinstance(frame, bytes):
                    self._sound(frame, at)
                else:
                    event = json.loads(frame)
                    self.events.append(Received(at, event))
                    await self._obey(event, at)
                self._arrived.set()
        except websockets.ConnectionClosed:
            pass
        self.closed = self._socket.close_code
        self._arrived.set()

    def _sound(self, frame: bytes, at: float) -> None:
        _, _, rate, number, chunk, _, start = HEADER.unpack_from(frame)
        playing = self.speeches.setdefault(number, Playing(number))
        if playing.cancelled or chunk in playing.chunks:
            return
        samples = np.frombuffer(frame, "<i2", offset=HEADER.size)
        assert start == playing.received, (start, playing.received)
        playing.chunks.append(chunk)
        playing.audio.append(samples)
        playing.sample_rate = rate
        playing.received += len(samples)
        if playing.began is None and len(samples):
            playing.began = playing.since = at + OUTPUT_S

    async def _obey(self, event: dict[str, Any], at: float) -> None:
        kind = event["type"]
        if kind == "sentence":
            self.speeches.setdefault(event["speech"], Playing(event["speech"])).sentences.append(event)
        if kind not in ("hold", "resume", "cancel"):
            return
        for number, playing in self.speeches.items():
            if number > event["speech"] or playing.cancelled or (kind != "cancel" and number != event["speech"]):
                continue
            playing.position, playing.since = playing.now(at), at
            playing.running = kind == "resume"
            if kind != "resume" and playing.silent_at is None:
                playing.silent_at = at
            if kind == "resume":
                playing.silent_at = None
            playing.cancelled = playing.cancelled or kind == "cancel"
            if self._reports:
                await self.send(type="played", speech=number, samples=int(playing.position), playing=playing.running)

    async def _report(self) -> None:
        told: set[int] = set()
        ended: set[int] = set()
        while self._reports:
            await asyncio.sleep(0.02 if len(told) < len(self.speeches) else 0.1)
            now = time.perf_counter()
            for number, playing in list(self.speeches.items()):
                if playing.cancelled or playing.began is None or number in ended or now < playing.began:
                    continue
                position = playing.now(now)
                over = (
                    any(e.event["type"] == "speech_end" and e.event["speech"] == number for e in self.events)
                    and position >= playing.received
                )
                if number not in told:
                    told.add(number)
                    await self._tell_first(number, playing)
                await self.send(type="played", speech=number, samples=position, playing=playing.running and not over)
                if over:
                    ended.add(number)

    async def _tell_first(self, number: int, playing: Playing) -> None:
        speech = next(
            (e.event for e in self.events if e.event["type"] == "speech" and e.event["speech"] == number), None
        )
        if speech is None or speech["of"] != "answer":
            return
        end = next(
            (e for e in self.events if e.event["type"] == "end_of_turn" and e.event["turn"] == speech["turn"]), None
        )
        asked = next(
            (e for e in self.events if e.event["type"] == "transcript" and e.event["turn"] == speech["turn"]), None
        )
        assert playing.began is not None
        if end is not None:
            spoke = playing.began - self.captured_at(end.event["speech_end_sample"])
            decided = playing.began - self.captured_at(end.event["decided_sample"])
        else:
            spoke = decided = playing.began - (asked.at if asked is not None else playing.began)
        await self.send(
            type="first_played", speech=number, turn=speech["turn"], after_speech_end_ms=spoke * 1000,
            after_decision_ms=decided * 1000,
        )  # fmt: skip
