"""The voices beside each other on held-out conversational sentences.

    python -m benchmarks.voices [--short] [--sentences 200] [--varied] [--voice auto | --voice lectern:slt]

For the product's voice, its teacher flite (where the program is installed) and espeak-ng, in one run on one thread:
word error rate (WER) of the plain recogniser, ms to the first sound, process CPU seconds per second of speech (RTF; not
to be had for flite, which is another process), the largest spectral flux where pieces meet against the largest
elsewhere (1.05 or less: no seam is to be heard), the size of the voice, and a MOS-like score (see
`benchmarks.naturalness`). No sentence is among those that the voice was trained on, nor made from the same patterns.
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
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.naturalness import load_dnsmos
from core.errors import cli_main
from core.runtime import stay_offline
from core.settings import SpeechSettings
from omni.asr import load_recogniser
from omni.audio import concatenate, load_audio
from omni.language_bias import words_of
from omni.spoken_form import spoken
from omni.tts import load_synthesiser
from omni.types import SpeechRecogniser, Waveform

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
# Each of its own kind: no two share a pattern.
_VARIED = (
    "Hello there, it is nice to meet you.",
    "I would rather not talk about that right now.",
    "Where did I put my glasses?",
    "Turn left at the church, then go straight on until you see the bridge.",
    "Honestly, nobody expected it to work.",
    "The older of the two brothers became a famous painter in Vienna.",
    "Could we start again from the top?",
    "Seven times eight is fifty six.",
    "Her flight from Denver was delayed by three hours because of the fog.",
    "That makes sense.",
    "What a beautiful garden you have!",
    "Keep the receipt, in case you change your mind.",
    "The treaty was signed in eighteen fifteen, after years of war.",
    "Whose coat is this?",
    "Add two cups of flour and a pinch of salt, and stir slowly.",
    "It was raining, so we stayed at home and played cards.",
    "Mister Collins, your table is ready.",
    "Most of the energy is lost as heat.",
    "Why would anyone want to live on the moon?",
    "Under no circumstances should the cover be removed while the motor is running.",
    "They got married last spring, didn't they?",
    "The museum is closed on Mondays and on public holidays.",
    "Once upon a time, there was a king who could not sleep.",
    "Quick, somebody call an ambulance!",
    "Neither the president nor his advisers knew about the plan.",
    "Half of the apples were green, and the other half were red.",
    "My phone number ends with two nine zero four.",
    "As soon as the light turns green, press the button on the right.",
    "Is there anything else I should know?",
    "He speaks French, German, and a little Russian.",
    "Scientists believe that the lake was formed by a glacier.",
    "Never mind.",
    "The train to Boston leaves from platform nine at a quarter past six.",
    "You were right and I was wrong.",
    "In my opinion, the second version is much easier to read.",
    "How far is it to the nearest hospital?",
    "The shares fell sharply after the company lowered its forecast.",
    "Don't forget to water the plants on Saturday.",
    "At night, the temperature drops below zero.",
    "The author thanks her editor, her parents, and above all her daughter.",
    "If I had known earlier, I would have told you.",
    "Does this bus stop at the library?",
    "Nearly one third of all adults have never learned to swim.",
    "Let's take a short break and come back in ten minutes.",
    "Whoever finds the key may keep the treasure.",
    "Please speak up, I can hardly hear you.",
    "The judge asked the jury to leave the room.",
    "It is cheaper to repair the roof than to replace it.",
    "So, what happened next?",
    "Thanks for your patience, and have a good evening.",
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
    """The first `count` sentences of which no two share a pattern."""
    return list(_VARIED[:count])


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
    recogniser: SpeechRecogniser,
    sentences: list[str],
    dnsmos: Callable[[Waveform], dict[str, float]] | None = None,
) -> dict[str, float]:
    import jiwer

    list(stream("Warm up."))
    first_ms, cpu_s, sound_s, flux, errors, words, sounds = [], 0.0, 0.0, [], 0, 0, []
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
        heard = recogniser.transcribe(sound).text
        result = jiwer.process_words(" ".join(words_of(sentence)), " ".join(words_of(heard)))
        errors += result.substitutions + result.deletions + result.insertions
        words += result.substitutions + result.deletions + result.hits
    seams = np.array([pair for pair in flux if pair is not None]).reshape(-1, 2)
    return {
        "wer": round(100 * errors / words, 1),
        "first_audio_ms_p50": round(float(np.percentile(first_ms, 50)), 1),
        "first_audio_ms_p95": round(float(np.percentile(first_ms, 95)), 1),
        "rtf_cpu": round(cpu_s / sound_s, 4),
        # over all sentences; and within one sentence, where a seam may fall on the loudest plosive
        "seam_flux": round(float(seams[:, 0].max() / seams[:, 1].max()), 3) if len(seams) else 0.0,
        "seam_flux_worst_sentence": round(float((seams[:, 0] / seams[:, 1]).max()), 3) if len(seams) else 0.0,
        "words": words,
        **({f"mos_{name}": value for name, value in dnsmos(concatenate(sounds[:12])).items()} if dnsmos else {}),
    }


def compare(sentences: list[str], voice: str, *, only: str = "") -> dict[str, dict[str, float]]:
    """A row per voice, printed as it is measured."""
    recogniser = load_recogniser(SpeechSettings())
    voices: dict[str, Callable[[str], Iterator[Waveform]]] = {}
    own = load_synthesiser(SpeechSettings(voice=voice))
    voices[own.name] = own.stream
    teacher = own.name.partition(":")[2] if own.name.startswith("lectern:") else "rms"
    if shutil.which("flite"):
        voices[f"flite {teacher} (teacher)"] = flite_stream(teacher)
    else:
        print("the teacher is not measured: the program flite is not installed")
    voices["espeak"] = load_synthesiser(SpeechSettings(voice="espeak")).stream
    dnsmos = load_dnsmos()
    if dnsmos is None:
        print("no MOS-like score: `pip install --no-deps speechmos onnxruntime` brings one")
    rows = {}
    print(f"{len(sentences)} sentences")
    print(f"{'':24}{'WER':>8}{'first p50':>12}{'p95':>8}{'RTF':>9}{'seams':>8}{'MB':>7}{'DNSMOS':>8}")
    for name, stream in voices.items():
        if only and only not in name:
            continue
        rows[name] = row = measure_voice(stream, recogniser, sentences, dnsmos)
        if name.startswith("lectern"):
            row["size_mb"] = round(voice_size() / 1e6, 1)
        print(
            f"{name:24}{row['wer']:6.1f} %{row['first_audio_ms_p50']:9.1f} ms{row['first_audio_ms_p95']:8.1f}"
            f"{row['rtf_cpu']:9.4f}{row['seam_flux']:8.2f}{row.get('size_mb', 0):7.1f}"
            f"{row.get('mos_overall', 0):8.2f}",
            flush=True,
        )
    return rows


def voice_size() -> int:
    from omni.voice.neural_voice import SHIPPED

    return sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.voices", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="20 sentences")
    parser.add_argument("--varied", action="store_true", help="50 sentences of which no two share a pattern")
    parser.add_argument("--sentences", type=int, default=200, help="how many held-out sentences (default: 200)")
    parser.add_argument("--voice", default="auto", help="as speech.voice (default: auto)")
    parser.add_argument("--only", default="", help="only voices whose name holds this")
    options = parser.parse_args()
    stay_offline()
    import torch

    torch.set_num_threads(1)
    count = 20 if options.short else options.sentences
    sentences = varied(count) if options.varied else conversation(count)
    rows = compare(sentences, options.voice, only=options.only)
    print(json.dumps({"benchmark": "voices", "short": options.short, "voices": rows}))
    return 0


if __name__ == "__main__":
    raise SystemExit(cli_main(main))
