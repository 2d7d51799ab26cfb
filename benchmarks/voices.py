"""The voices beside each other on held-out sentences, in the ears of two recognisers.

    python -m benchmarks.voices [--short] [--sentences 220] [--patterned] [--voice auto | --voice lectern:slt]
    python -m benchmarks.voices --listeners moonshine --only lectern

For the product's voice, its teacher flite (where the program is installed) and espeak-ng, in one run on one thread:
word error rate (WER) of pocketsphinx and of Moonshine (where its wheel is installed), both without any words to expect,
and by how many points it is above the teacher's, with the 95 % interval over sentences drawn again and again (paired
bootstrap); ms to the first sound, process CPU seconds per second of speech (RTF; not to be had for flite, which is
another process), the largest spectral flux where pieces meet against the largest elsewhere (1.05 or less: no seam is to
be heard), the size of the voice, and a MOS-like score (see `benchmarks.naturalness`). espeak-ng says 60 sentences.

No sentence is among those that the voice was trained on. The 220 of `varied_sentences.txt` share no pattern;
`--patterned` takes 200 made from 25 patterns, none of which is a training pattern.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.naturalness import load_dnsmos
from core.errors import cli_main
from core.runtime import stay_offline
from core.settings import SpeechSettings
from omni.asr import load_recogniser
from omni.audio import concatenate, load_audio
from omni.moonshine_model import weights_folder
from omni.spoken_form import spoken
from omni.transcript_text import words_of
from omni.tts import load_synthesiser
from omni.types import SpeechRecogniser, Waveform

VARIED = Path(__file__).parent / "varied_sentences.txt"
LISTENERS = ("pocketsphinx", "moonshine")
_FRAMES = (
    "I think the {thing} is due at the end of the {period}.",
    "You can find the answer in the {place} of the report.",
    "Did you want to know when the {thing} was sent?",
    "The {person} asked for a copy of the {thing} last week.",
    "It says here that the {person} should call before {period} ends.",
    "How long does the {person} have to answer the letter?",
    "There are {number} people in the meeting this morning.",
    "Please tell the {person} that we need more time.",
    "I am not sure, but it looks like {number} of them were late.",
    "We bought the house in nineteen {number} and sold it the year after.",
    "The {thing} costs {number} dollars more than it did before.",
    "Let me read that part again, it is about the {thing}.",
    "What happens if the {person} does not pay on time?",
    "All of the doors must be closed before the {person} leaves.",
    "Good morning, how can I help you with the {thing} today?",
    "The water has to be changed every {number} weeks.",
    "My {person} said that the {place} is too long to read.",
    "Can I still return the {thing} after {number} days?",
    "They moved to a small town near the river.",
    "Nobody knows why the {thing} was never opened.",
    "The first {place} explains how to start the machine.",
    "If you like, I can make a list of every {thing}.",
    "She wrote to the {person} three times without an answer.",
    "Only {number} percent of the money came from the government.",
    "The road was closed because of heavy snow.",
)
_FILLERS = {
    "thing": ("payment", "package", "contract", "ticket", "letter", "insurance", "machine", "order"),
    "person": ("doctor", "owner", "manager", "teacher", "neighbor", "lawyer", "brother", "driver"),
    "place": ("second chapter", "last section", "middle", "introduction", "beginning", "summary"),
    "period": ("month", "summer", "day", "season", "quarter", "winter"),
    "number": ("twenty", "fifteen", "forty", "ninety", "eleven", "sixty", "thirteen", "seventy"),
}


def conversation(count: int) -> list[str]:
    """The first `count` of the held-out sentences; always the same ones."""
    chance, found = random.Random(7), dict[str, None]()
    for frame in itertools.cycle(_FRAMES):
        found[frame.format(**{slot: chance.choice(words) for slot, words in _FILLERS.items()})] = None
        if len(found) >= count or len(found) == 0:
            return list(found)
    raise AssertionError("the frames are never used up")


def varied(count: int) -> list[str]:
    """The first `count` of the sentences of which no two share a pattern."""
    return VARIED.read_text(encoding="utf-8").splitlines()[:count]


def load_listeners(names: Sequence[str] = LISTENERS) -> dict[str, SpeechRecogniser]:
    """The recognisers that are here; says which is not."""
    found = {}
    for name in names:
        if name == "moonshine" and weights_folder() is None:
            print("moonshine does not listen: its wheel moonshine-voice is not installed")
            continue
        found[name] = load_recogniser(SpeechSettings(recogniser=name))
    return found


@dataclass
class Heard:
    """What one recogniser made of one voice's sentences."""

    errors: list[int] = field(default_factory=list)  # of each sentence
    words: list[int] = field(default_factory=list)

    def add(self, reference: str, transcript: str) -> None:
        import jiwer

        result = jiwer.process_words(" ".join(words_of(reference)), " ".join(words_of(transcript)))
        self.errors.append(result.substitutions + result.deletions + result.insertions)
        self.words.append(result.substitutions + result.deletions + result.hits)

    @property
    def wer(self) -> float:
        return 100 * sum(self.errors) / max(1, sum(self.words))

    def above(self, other: Heard, *, draws: int = 2000) -> tuple[float, float, float]:
        """Points of WER above another voice's on the same sentences, and the 95 % interval of that."""
        more, words = np.array(self.errors) - np.array(other.errors), np.array(self.words)
        chosen = np.random.default_rng(0).integers(0, len(more), (draws, len(more)))
        drawn = 100 * more[chosen].sum(1) / words[chosen].sum(1)
        low, high = np.percentile(drawn, [2.5, 97.5])
        return 100 * float(more.sum() / words.sum()), float(low), float(high)


def flite_stream(voice: str) -> Callable[[str], Iterator[Waveform]]:
    def stream(text: str) -> Iterator[Waveform]:
        with tempfile.TemporaryDirectory() as folder:
            wav = Path(folder) / "flite.wav"
            subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(wav)], check=True)
            yield load_audio(wav)

    return stream


def seam_flux(pieces: list[np.ndarray]) -> tuple[float, float] | None:
    """Largest spectral flux (1 ms steps, 16 ms windows) in windows that hold a seam, and in all others."""
    if len(pieces) < 2:
        return None
    samples, hop = np.concatenate(pieces), 16
    frames = np.lib.stride_tricks.sliding_window_view(samples, 256)[::hop] * np.hanning(256)
    flux = np.sqrt((np.diff(np.abs(np.fft.rfft(frames)), axis=0) ** 2).sum(1))
    near = np.zeros(len(flux), bool)
    for seam in np.cumsum([len(piece) for piece in pieces])[:-1]:
        near[max(0, (seam - 256) // hop) : seam // hop + 1] = True
    return (float(flux[near].max()), float(flux[~near].max())) if near.any() and not near.all() else None


def measure_voice(
    stream: Callable[[str], Iterator[Waveform]],
    listeners: Mapping[str, SpeechRecogniser],
    sentences: Sequence[str],
    dnsmos: Callable[[Waveform], dict[str, float]] | None = None,
) -> tuple[dict[str, float], dict[str, Heard]]:
    list(stream("Warm up."))
    first_ms, cpu_s, sound_s, flux, sounds = [], 0.0, 0.0, [], []
    heard = {name: Heard() for name in listeners}
    for sentence in sentences:
        said = spoken(sentence)
        cpu, wall = time.process_time(), time.perf_counter()
        pieces = stream(said)
        parts = [next(pieces)]
        first_ms.append((time.perf_counter() - wall) * 1000)
        parts += pieces
        cpu_s += time.process_time() - cpu
        flux.append(seam_flux([part.samples for part in parts]))
        sound = concatenate(parts)
        sound_s += sound.seconds
        sounds.append(sound)
        for name, listener in listeners.items():
            heard[name].add(sentence, listener.transcribe(sound).text)
    seams = np.array([pair for pair in flux if pair is not None]).reshape(-1, 2)
    row = {
        **{f"wer_{name}": round(one.wer, 1) for name, one in heard.items()},
        "first_audio_ms_p50": round(float(np.percentile(first_ms, 50)), 1),
        "first_audio_ms_p95": round(float(np.percentile(first_ms, 95)), 1),
        "rtf_cpu": round(cpu_s / sound_s, 4),
        # over all sentences; and within one sentence, where a seam may fall on the loudest plosive
        "seam_flux": round(float(seams[:, 0].max() / seams[:, 1].max()), 3) if len(seams) else 0.0,
        "seam_flux_worst_sentence": round(float((seams[:, 0] / seams[:, 1]).max()), 3) if len(seams) else 0.0,
        "words": max([sum(one.words) for one in heard.values()], default=0),
        **({f"mos_{name}": value for name, value in dnsmos(concatenate(sounds[:12])).items()} if dnsmos else {}),
    }
    return row, heard


def compare(
    sentences: Sequence[str], voice: str, *, only: str = "", listeners: Sequence[str] = LISTENERS
) -> dict[str, dict[str, float]]:
    """A row per voice, printed as it is measured; the teacher's first, so that ours can be held against it."""
    ears = load_listeners(listeners)
    voices: dict[str, Callable[[str], Iterator[Waveform]]] = {}
    own = load_synthesiser(SpeechSettings(voice=voice))
    teacher = own.name.partition(":")[2] if own.name.startswith("lectern:") else "rms"
    if shutil.which("flite"):
        voices[f"flite {teacher} (teacher)"] = flite_stream(teacher)
    else:
        print("the teacher is not measured: the program flite is not installed")
    voices[own.name] = own.stream
    voices["espeak"] = load_synthesiser(SpeechSettings(voice="espeak")).stream
    dnsmos = load_dnsmos()
    if dnsmos is None:
        print("no MOS-like score: `pip install --no-deps speechmos onnxruntime` brings one")
    rows: dict[str, dict[str, float]] = {}
    of_teacher: dict[str, Heard] = {}
    print(f"{len(sentences)} sentences; WER in %")
    names = "".join(f"{name:>13}" for name in ears)
    print(f"{'':24}{names}{'first p50':>12}{'p95':>8}{'RTF':>9}{'seams':>8}{'MB':>7}{'DNSMOS':>8}")
    for name, stream in voices.items():
        if only and only not in name:
            continue
        # pocketsphinx is no judge of formants, and slow: a few sentences show that
        row, heard = measure_voice(stream, ears, sentences[:60] if name == "espeak" else sentences, dnsmos)
        rows[name] = row
        if name == own.name and name.startswith("lectern"):
            row["size_mb"] = round(voice_size() / 1e6, 1)
        print(
            f"{name:24}{''.join(f'{one.wer:13.1f}' for one in heard.values())}{row['first_audio_ms_p50']:9.1f} ms"
            f"{row['first_audio_ms_p95']:8.1f}{row['rtf_cpu']:9.4f}{row['seam_flux']:8.2f}{row.get('size_mb', 0):7.1f}"
            f"{row.get('mos_overall', 0):8.2f}",
            flush=True,
        )
        if "(teacher)" in name:
            of_teacher = heard
        elif name == own.name:
            for listener, theirs in of_teacher.items():
                above, low, high = heard[listener].above(theirs)
                row[f"above_teacher_{listener}"] = round(above, 2)
                print(f"    {listener}: {above:+.2f} points above its teacher [{low:+.2f}, {high:+.2f}]", flush=True)
    return rows


def voice_size() -> int:
    from omni.voice.neural_voice import SHIPPED

    return sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.voices", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="20 sentences")
    parser.add_argument("--patterned", action="store_true", help="sentences of 25 patterns, at most 200")
    parser.add_argument("--sentences", type=int, default=220, help="how many held-out sentences (default: 220)")
    parser.add_argument("--listeners", default=",".join(LISTENERS), help="recognisers (default: both)")
    parser.add_argument("--voice", default="auto", help="as speech.voice (default: auto)")
    parser.add_argument("--only", default="", help="only voices whose name holds this")
    options = parser.parse_args()
    stay_offline()
    import torch

    torch.set_num_threads(1)
    count = 20 if options.short else options.sentences
    sentences = conversation(min(count, 200)) if options.patterned else varied(count)
    rows = compare(sentences, options.voice, only=options.only, listeners=options.listeners.split(","))
    print(json.dumps({"benchmark": "voices", "short": options.short, "voices": rows}))
    return 0


if __name__ == "__main__":
    raise SystemExit(cli_main(main))
