"""A page that talks: what its microphone will hear, and what was seen and heard of it afterwards.

Nothing here believes the page's own clocks: microphone and loudspeaker are tapped on the audio thread, in blocks of
10 ms on one clock, and where each utterance began and ended is looked up in that recording.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import MissingDependencyError

RATE = 16_000
BLOCK_S = 0.01
LOUD = 0.004  # RMS of a block that holds speech; the fake microphone is silent in between
SILENT = 0.001  # RMS of the loudspeaker that nobody hears
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# Hears what the loudspeaker and the microphone get: [time on the audio clock in s, RMS of the first, of the second].
TAP = """
(() => {
  const source = `registerProcessor("tap", class extends AudioWorkletProcessor {
    constructor() {
      super();
      Object.assign(this, { block: Math.round(sampleRate / 100), sums: [0, 0], count: 0, sent: [] });
    }
    process(inputs) {
      for (let i = 0; i < 128; i += 1) {
        for (const k of [0, 1]) { const sample = inputs[k][0]?.[i] ?? 0; this.sums[k] += sample * sample; }
        this.count += 1;
        if (this.count < this.block) continue;
        const at = currentTime + (i + 1) / sampleRate - 0.01;
        this.sent.push([at, Math.sqrt(this.sums[0] / this.count), Math.sqrt(this.sums[1] / this.count)]);
        this.sums = [0, 0]; this.count = 0;
      }
      if (this.sent.length >= 10) { this.port.postMessage(this.sent); this.sent = []; }
      return true;
    }
  });`;
  const module = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  window.tapped = [];
  const taps = new WeakMap();
  const connect = AudioNode.prototype.connect;
  if (!window.AudioWorkletNode) return;
  const tapOf = (context) => {
    if (!taps.has(context)) {
      window.audio = context;
      taps.set(context, context.audioWorklet.addModule(module).then(() => {
        const tap = new AudioWorkletNode(context, "tap", { numberOfInputs: 2, numberOfOutputs: 1 });
        tap.port.onmessage = ({ data }) => window.tapped.push(...data);
        connect.call(tap, context.destination); // silent; what is not connected does not run
        return tap;
      }).catch(() => new Promise(() => {}))); // closed before it was there
    }
    return taps.get(context);
  };
  AudioNode.prototype.connect = function (to, ...rest) {
    if (to instanceof AudioDestinationNode) tapOf(this.context).then((tap) => connect.call(this, tap, 0, 0));
    return connect.call(this, to, ...rest);
  };
  const fromStream = AudioContext.prototype.createMediaStreamSource;
  AudioContext.prototype.createMediaStreamSource = function (stream) {
    const node = fromStream.call(this, stream);
    tapOf(this).then((tap) => connect.call(node, tap, 0, 1));
    return node;
  };
})();
"""

# Every message of the page's socket with the audio clock's time; of sound only that it came.
LISTEN = """
window.messages = [];
const Native = WebSocket;
const note = (from, data) => window.messages.push([window.audio?.currentTime ?? 0, from, data]);
window.WebSocket = class extends Native {
  constructor(...rest) {
    super(...rest);
    this.addEventListener("message", ({ data }) => { if (typeof data === "string") note("server", data); });
    this.addEventListener("close", ({ code }) => note("closed", String(code)));
  }
  send(data) {
    if (typeof data === "string") note("page", data);
    else if (!this.began) {
      this.began = true;
      note("page", JSON.stringify({ type: "first_frame", samples: data.length }));
    }
    super.send(data);
  }
};
"""


@dataclass(frozen=True)
class Utterance:
    """Something that is said into the microphone; times in the recording, s."""

    text: str
    start_s: float
    end_s: float
    interrupts: bool = False


@dataclass
class Script:
    """A recording for the microphone and what is in it. `speech(text, number)`: 16 kHz float samples."""

    speech: Callable[[str, int], np.ndarray]
    pieces: list[np.ndarray] = field(default_factory=lambda: [np.zeros(RATE, np.float32)])
    utterances: list[Utterance] = field(default_factory=list)
    length: int = RATE

    def say(self, text: str, *, pause_s: float, interrupts: bool = False) -> None:
        """The text, then silence."""
        samples = trimmed(self.speech(text, len(self.utterances)))
        start = self.length / RATE
        self.utterances.append(Utterance(text, start, start + len(samples) / RATE, interrupts))
        self._add(samples)
        self._add(np.zeros(int(pause_s * RATE), np.float32))

    def _add(self, samples: np.ndarray) -> None:
        self.pieces.append(samples)
        self.length += len(samples)

    def samples(self) -> np.ndarray:
        return np.concatenate(self.pieces)


def trimmed(samples: np.ndarray) -> np.ndarray:
    """Without the silence that a voice leaves around its words: the pauses are ours."""
    loudness = blocks_of(samples)
    loud = np.flatnonzero(loudness > LOUD)
    block = round(RATE * BLOCK_S)
    return samples[loud[0] * block : (loud[-1] + 1) * block] if len(loud) else samples


def blocks_of(samples: np.ndarray) -> np.ndarray:
    """RMS of each 10 ms."""
    block = round(RATE * BLOCK_S)
    whole = samples[: len(samples) // block * block].reshape(-1, block)
    return np.sqrt((whole.astype(np.float64) ** 2).mean(axis=1))


def flite(text: str, voice: str) -> np.ndarray:
    """Speech of the program flite."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
        with wave.open(str(path)) as file:
            return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768


def own_voice(text: str) -> np.ndarray:
    from omni.tts import load_synthesiser

    return np.concatenate([piece.samples for piece in load_synthesiser().stream(text)])


def voices() -> tuple[str, Callable[[str, int], np.ndarray]]:
    """flite's voices in turn, as people are not at hand; the product's own where flite is not installed."""
    if shutil.which("flite"):
        names = ("rms", "slt", "awb")
        return "flite rms, slt, awb", lambda text, number: flite(text, names[number % len(names)])
    return "our own (flite is not installed)", lambda text, number: own_voice(text)


def write_wav(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


@dataclass
class Recording:
    """What was tapped: (n, 3) time, loudspeaker, microphone; and the messages, each with its time on the same clock."""

    tapped: np.ndarray
    messages: list[tuple[float, str, dict[str, Any]]]
    cpu_s: float  # of the browser
    seconds: float

    def events(self, kind: str, sender: str = "server") -> list[tuple[float, dict[str, Any]]]:
        return [(at, data) for at, who, data in self.messages if who == sender and data.get("type") == kind]

    def offset(self, script: Script) -> float:
        """When the recording began, on the audio clock: where both loudness curves fit best."""
        wanted = (blocks_of(script.samples()) > LOUD).astype(np.float64)
        heard = (self.tapped[:, 2] > LOUD).astype(np.float64)
        size = 1 << int(np.ceil(np.log2(len(wanted) + len(heard))))
        fit = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(wanted, size)), size)
        lag = int(np.argmax(fit))
        lag -= size if lag > len(heard) else 0
        return float(self.tapped[0, 0] + lag * BLOCK_S)

    def heard(self, utterance: Utterance, offset: float) -> tuple[float, float]:
        """When an utterance began and ended in the microphone: within 0.4 s of where it should have."""
        time_s, loud = self.tapped[:, 0], self.tapped[:, 2] > LOUD
        near = np.flatnonzero(
            loud & (time_s > offset + utterance.start_s - 0.4) & (time_s < offset + utterance.end_s + 0.4)
        )
        if not len(near):
            return offset + utterance.start_s, offset + utterance.end_s
        return float(time_s[near[0]]), float(time_s[near[-1]] + BLOCK_S)

    def first_sound(self, after: float, before: float) -> float | None:
        """When the loudspeaker first sounds."""
        time_s, loudness = self.tapped[:, 0], self.tapped[:, 1]
        found = np.flatnonzero((time_s >= after) & (time_s < before) & (loudness > SILENT))
        return float(time_s[found[0]]) if len(found) else None

    def silence(self, after: float) -> float | None:
        """When the loudspeaker falls silent for at least 0.1 s; None if it did not sound at `after`."""
        time_s, sounds = self.tapped[:, 0], self.tapped[:, 1] > SILENT
        first = int(np.searchsorted(time_s, after))
        if not sounds[max(0, first - 10) : first + 1].any():
            return None
        for i in range(first, len(sounds) - 10):
            if not sounds[i : i + 10].any():
                return float(time_s[i])
        return None


def converse(
    url: str, workspace: str, script: Script, *, wait_s: float = 12.0, said: Callable[[str], None] = print
) -> Recording:
    """Open the page, speak the script into it, hear it out. Raises MissingDependencyError without a browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise MissingDependencyError("a browser is driven with playwright", remedy="pip install playwright") from error
    executable = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if executable is None:
        raise MissingDependencyError(
            "there is no Chromium on this machine", remedy="Install it: apt-get install chromium"
        )
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        microphone = Path(folder) / "microphone.wav"
        write_wav(microphone, script.samples())
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--use-fake-device-for-media-stream"]
        arguments += ["--use-fake-ui-for-media-stream", f"--use-file-for-fake-audio-capture={microphone}%noloop"]
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        context = browser.new_context(permissions=["microphone"], viewport={"width": 1280, "height": 800})
        for source in (f"localStorage.setItem('lectern.workspace', {workspace!r})", TAP, LISTEN):
            context.add_init_script(source)
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.on("pageerror", lambda error: said(f"script error: {error}"))
        page.goto(url)
        page.click(".lec-live-start")
        page.wait_for_selector(".lec-live[data-state=listening]")
        tapped: list[list[float]] = []
        drain = partial(page.evaluate, "window.tapped.splice(0)")
        cpu, began = _browser_cpu(), time.monotonic()
        while time.monotonic() - began < script.length / RATE + wait_s:
            page.wait_for_timeout(5000)
            tapped += drain()
        while (
            page.get_attribute(".lec-live", "data-state") != "listening"
            and time.monotonic() - began < script.length / RATE + 60
        ):
            page.wait_for_timeout(1000)
        tapped += drain()
        messages = [
            (at, who, {"code": data} if who == "closed" else json.loads(data))
            for at, who, data in page.evaluate("window.messages")
        ]
        cpu, seconds = _browser_cpu() - cpu, time.monotonic() - began
        browser.close()
    return Recording(np.array(tapped), messages, cpu, seconds)


def _browser_cpu() -> float:
    """Process CPU time of all children that are no Python, s."""
    import psutil

    total = 0.0
    for child in psutil.Process().children(recursive=True):
        try:
            if "chrom" in child.name():
                used = child.cpu_times()
                total += used.user + used.system
        except psutil.Error:
            continue
    return total


@dataclass
class Heard:
    """What became of one utterance. Times in ms on the audio clock unless said otherwise; None: did not happen."""

    utterance: Utterance
    transcript: str = ""
    answered: bool = False
    sound: float | None = None  # end of speech -> first sound, tapped
    sound_page: float | None = None  # the same as the page reports it
    decided: float | None = None  # end of turn decided -> first sound, as the page reports it
    waited: float | None = None  # end of speech -> decided (server)
    silent: float | None = None  # of an interruption: its start -> silence, tapped
    latency: dict[str, Any] = field(default_factory=dict)
    pages: list[tuple[str, int]] = field(default_factory=list)  # cited
    found: list[tuple[str, int]] = field(default_factory=list)  # the first 5 that the answer's search found


def judge(recording: Recording, script: Script) -> list[Heard]:
    """Match turns to utterances by where they lie in the sound, and measure."""
    offset = recording.offset(script)
    found = [Heard(utterance) for utterance in script.utterances]
    spans = [recording.heard(each.utterance, offset) for each in found]
    first_frame = recording.events("first_frame", "page")
    origin = first_frame[0][0] - first_frame[0][1]["samples"] / RATE if first_frame else offset
    ends = {
        e["turn"]: (e["start_sample"] / RATE + origin, e["speech_end_sample"] / RATE + origin)
        for _, e in recording.events("end_of_turn")
    }
    answers = {e["turn"]: e["answer"] for _, e in recording.events("answer")}
    records = {e["turn"]: e for _, e in recording.events("latency")}
    joined: dict[int, list[int]] = {}
    for _, event in recording.events("transcript"):
        turn = event["turn"]
        parts = joined[turn] = [*joined.pop(event["joins"], []), turn]
        for each, (start, end) in zip(found, spans, strict=True):
            overlap = max(
                (min(end, ends[part][1]) - max(start, ends[part][0]) for part in parts if part in ends), default=0.0
            )
            if overlap <= 0.25 * (end - start):
                continue
            each.transcript = event["text"]
            each.answered = turn in answers
            each.pages = [(c["document"], c["page"]) for c in answers.get(turn, {}).get("citations", [])]
            each.found = first_pages(answers.get(turn, {}).get("found", []))
            each.latency = records.get(turn, {})
            after_end, after_decision = (
                each.latency.get(key, {}) for key in ("after_speech_end_ms", "after_decision_ms")
            )
            each.sound_page, each.decided, each.waited = (
                after_end.get("played"),
                after_decision.get("played"),
                after_end.get("decided"),
            )
    for i, (each, (start, end)) in enumerate(zip(found, spans, strict=True)):
        following = spans[i + 1][0] if i + 1 < len(spans) else float("inf")
        if each.answered and (sounded := recording.first_sound(end, following)) is not None:
            each.sound = 1000 * (sounded - end)
        if each.utterance.interrupts and (silent := recording.silence(start)) is not None:
            each.silent = 1000 * (silent - start)
    return found


def first_pages(hits: Sequence[dict[str, Any]], count: int = 5) -> list[tuple[str, int]]:
    """Where the best hits stand, each page once."""
    return list(dict.fromkeys((hit["document"], hit["page"]) for hit in hits))[:count]


def percentile(values: Sequence[float | None], share: float) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.percentile(known, share)), 1) if known else None
