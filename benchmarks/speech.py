"""How well speech is understood, and how soon and how clearly it is spoken.

    python -m benchmarks.speech [--short] [--data ../shared/data] [--recogniser R] [--voice V]

1. Recognition: word error rate (WER) and CPU seconds per second of sound (RTF) on recordings of people, by group,
   without and with the language of documents that they do *not* talk about (general speech must survive the bias).
2. Questions about documents: the same, on questions about three texts spoken by flite's voices, without and with the
   language of the text. Needs the program `flite` (for measuring only); says so and goes on where there is none.
3. Synthesis: ms to the first sound, RTF, and the WER of the recogniser on the voice. (The recogniser is no fair judge
   of a formant voice such as espeak's: read that figure as a comparison between voices only.)
4. The voice beside its teacher flite and espeak-ng on 200 held-out conversational sentences (`benchmarks.voices`).

Process CPU time is the measure, as wall time depends on what else runs; wall time is given beside it.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.voices import compare, conversation
from core.errors import UsageError, cli_main
from core.runtime import stay_offline
from core.settings import SpeechSettings
from omni.asr import load_recogniser
from omni.audio import concatenate, load_audio
from omni.language_bias import DocumentLanguage, words_of
from omni.spoken_form import spoken
from omni.tts import load_synthesiser
from omni.types import SpeechRecogniser, SpeechSynthesiser, Waveform

SENTENCES = (
    "Rent is due on the first day of each month.",
    "Net sales were $34,229 million in FY2022, down 3.2% from the year before.",
    "The tenant may end this agreement with thirty days of written notice.",
    "Section 4.2 says that the landlord pays for repairs of the roof.",
    "The meeting was held in London on June 30, 2022.",
    "Most of the growth came from new customers in Europe.",
    "The pump must be cleaned every 400 hours.",
    "I found nothing about this in your documents.",
)
FLITE_VOICES = ("rms", "slt", "awb", "kal16")


@dataclass
class Spoken:
    reference: str
    sound: Waveform


@dataclass
class Score:
    """Sums over the recordings of one group."""

    errors: int = 0
    words: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    sound_s: float = 0.0

    def row(self) -> dict[str, float]:
        return {
            "wer": round(100 * self.errors / max(self.words, 1), 1),
            "rtf_cpu": round(self.cpu_s / max(self.sound_s, 1e-9), 3),
            "rtf_wall": round(self.wall_s / max(self.sound_s, 1e-9), 3),
            "words": self.words,
        }


def measure(recogniser: SpeechRecogniser, items: Sequence[Spoken], vocabulary: Sequence[str] = ()) -> Score:
    import jiwer

    score = Score()
    recogniser.transcribe(items[0].sound, vocabulary=vocabulary)  # builds and loads: not what is measured
    for item in items:
        cpu, wall = time.process_time(), time.perf_counter()
        transcript = recogniser.transcribe(item.sound, vocabulary=vocabulary)
        score.cpu_s += time.process_time() - cpu
        score.wall_s += time.perf_counter() - wall
        score.sound_s += item.sound.seconds
        # both sides in the same words: "in 2019" and "in twenty nineteen" are one
        result = jiwer.process_words(item.reference, " ".join(words_of(transcript.text)))
        score.errors += result.substitutions + result.deletions + result.insertions
        score.words += result.substitutions + result.deletions + result.hits
    return score


def recordings(folder: Path, short: bool) -> dict[str, list[Spoken]]:
    """Group -> recordings of people."""
    groups: dict[str, list[Spoken]] = {}
    with open(folder / "transcripts.tsv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            group = groups.setdefault(row["group"], [])
            if not short or len(group) < 4:
                group.append(Spoken(" ".join(words_of(row["transcript"])), load_audio(folder / row["file"])))
    return groups


def text_language(path: Path, folder: Path) -> DocumentLanguage:
    return DocumentLanguage(path.stem, folder, lambda: re.split(r"\n\s*\n", path.read_text(encoding="utf-8")))


def spoken_questions(path: Path, folder: Path, short: bool) -> dict[str, list[Spoken]]:
    """Text -> questions about it, each spoken by the next of flite's voices."""
    questions: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if len(record["question"]) <= 110:
            questions.setdefault(record["corpus"], []).append(record["question"])
    result: dict[str, list[Spoken]] = {}
    for corpus, all_of_them in questions.items():
        count = 4 if short else 16
        chosen = [all_of_them[i] for i in np.linspace(0, len(all_of_them) - 1, count).astype(int)]
        for index, question in enumerate(chosen):
            wav = folder / f"{corpus}-{index}.wav"
            voice = FLITE_VOICES[index % len(FLITE_VOICES)]
            subprocess.run(["flite", "-voice", voice, "-t", spoken(question), "-o", str(wav)], check=True)
            result.setdefault(corpus, []).append(Spoken(" ".join(words_of(question)), load_audio(wav)))
    return result


def synthesis(voice: SpeechSynthesiser, recogniser: SpeechRecogniser, short: bool) -> dict[str, float]:
    list(voice.stream("Warm up."))
    first_ms, cpu_s, items = [], 0.0, []
    for sentence in SENTENCES[:3] if short else SENTENCES:
        words = spoken(sentence)
        cpu, wall = time.process_time(), time.perf_counter()
        stream = voice.stream(words)
        pieces = [next(stream)]
        first_ms.append((time.perf_counter() - wall) * 1000)
        pieces += stream
        cpu_s += time.process_time() - cpu
        items.append(Spoken(" ".join(words_of(sentence)), concatenate(pieces)))
    sound_s = sum(item.sound.seconds for item in items)
    return {
        "first_audio_ms_p50": round(float(np.median(first_ms)), 1),
        "first_audio_ms_max": round(max(first_ms), 1),
        "rtf_cpu": round(cpu_s / sound_s, 4),
        "wer_of_voice": measure(recogniser, items).row()["wer"],
    }


def run(data: Path, short: bool, settings: SpeechSettings) -> dict[str, object]:
    if not (data / "speech" / "transcripts.tsv").is_file():
        raise UsageError(f"{data} has no speech/transcripts.tsv", remedy="Give the folder with --data PATH")
    recogniser = load_recogniser(settings)
    results: dict[str, object] = {"recogniser": recogniser.name, "voice": settings.voice}
    table: dict[str, dict[str, float]] = {}

    def note(name: str, score: Score) -> None:
        table[name] = row = score.row()
        print(f"{name:44}{row['wer']:7.1f} %{row['rtf_cpu']:9.3f}{row['rtf_wall']:9.3f}{row['words']:8.0f}", flush=True)

    print(f"{'':44}{'WER':>9}{'RTF cpu':>9}{'wall':>9}{'words':>8}")
    with tempfile.TemporaryDirectory() as temporary:
        texts = sorted((data / "passages").glob("*.md"))
        for group, items in sorted(recordings(data / "speech", short).items()):
            note(group, measure(recogniser, items))
            if texts and group in {"native", "omni"}:
                other = text_language(texts[0], Path(temporary) / "other")
                note(f"{group}, expecting {texts[0].stem}", measure(recogniser, items, other))
        if shutil.which("flite") and texts:
            for corpus, items in spoken_questions(
                data / "passages" / "questions.jsonl", Path(temporary), short
            ).items():
                note(f"questions on {corpus}", measure(recogniser, items))
                language = text_language(data / "passages" / f"{corpus}.md", Path(temporary) / "own")
                note(f"questions on {corpus}, expecting its words", measure(recogniser, items, language))
        else:
            print("questions about documents: not measured, the program flite is not installed")
    results["recognition"] = table
    results["synthesis"] = row = synthesis(load_synthesiser(settings), recogniser, short)
    print(f"\nvoice {settings.voice}: " + ", ".join(f"{key} {value}" for key, value in row.items()))
    results["voices"] = compare(conversation(20 if short else 200), settings.voice)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speech", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="four recordings a group, four questions a text")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder (default: ../shared/data)")
    parser.add_argument("--recogniser", default="pocketsphinx", help="as speech.recogniser (default: pocketsphinx)")
    parser.add_argument("--voice", default="auto", help="as speech.voice (default: auto)")
    options = parser.parse_args()
    stay_offline()
    settings = SpeechSettings(recogniser=options.recogniser, voice=options.voice)
    results = run(options.data, options.short, settings)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps({"benchmark": "speech", "commit": commit, "machine": machine, "short": options.short, **results}))
    return 0


if __name__ == "__main__":
    raise SystemExit(cli_main(main))
