"""How well spoken questions are understood with and without the words of the documents, and if they find their page.

    python -m benchmarks.recognition [--short] [--data ../shared/data] [--questions 40] [--voices rms,slt,awb]
    python -m benchmarks.recognition --only financebench --files BOEING_2018_10K,AMD_2015_10K
    python -m benchmarks.recognition --only people --recognisers moonshine
    python -m benchmarks.recognition --only passages --texts state_of_the_union,finance --recognisers moonshine \\
        --words-only --streamed                              # questions that no weight was fitted on

Recognisers stand side by side; the first is the one whose transcripts are searched with.

1. Questions about documents, each text or set of filings a workspace of its own, spoken by flite's voices in turn (the
   program `flite` is needed, for measuring only): word error rate (WER, benchmarks/_word_errors.py) without and with
   the bias, and the share of questions whose passage (texts) or page (filings) is among the first five hits: typed,
   from the transcript alone, and with all hypotheses and close-sounding terms searched.
2. People: WER without, and with the language of a text that they do *not* talk about.
3. What learning a workspace's words costs, per 100 pages (of 2,500 characters in texts), and streaming: CPU after the
   last sample (ms) and what was understood, beside the whole recording at once.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from benchmarks._word_errors import errors
from core.errors import UsageError, cli_main
from core.runtime import bound_kernels, stay_offline
from core.settings import Settings, SpeechSettings, load_settings
from ingest.embedders import load_embedder
from ingest.pipeline import ingest_paths
from ingest.workspace import Workspace
from omni.asr import load_recogniser, recogniser_name
from omni.audio import load_audio
from omni.close_terms import wordings
from omni.language_bias import DocumentLanguage, document_language
from omni.spoken_form import spoken
from omni.types import RecognitionSession, Transcript, Waveform
from rag.retriever import HybridRetriever
from rag.types import Hit
from rag.wordings import search_wordings

VOICES = ("rms", "slt", "awb")
TOP = 5
PAGE_CHARACTERS = 2500
LONGEST = 160  # characters of a question that is spoken


@dataclass(frozen=True)
class Asked:
    """A question and where its answer stands."""

    text: str
    right: Callable[[Hit], bool]


@dataclass
class Collection:
    """One workspace and what is asked of it."""

    name: str
    paths: list[Path]
    asked: list[Asked]


class Comparable(Protocol):
    """A recogniser that tells what it hears with and without the words of documents."""

    name: str

    def compare(self, waveform: Waveform, vocabulary: Sequence[str]) -> tuple[Transcript, Transcript]: ...
    def stream(self, vocabulary: Sequence[str] = ()) -> RecognitionSession: ...
    def prepare(self, vocabulary: Sequence[str]) -> None: ...


@dataclass
class Tally:
    """Sums over the questions of one voice, or the recordings of one group."""

    errors: Counter[str] = field(default_factory=Counter)  # "moonshine without", "moonshine with", ...
    found: Counter[str] = field(default_factory=Counter)  # "typed", "heard", "readings"
    cpu_ms: Counter[str] = field(default_factory=Counter)  # of both ways of a recogniser
    words: int = 0
    questions: int = 0
    sound_s: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.errors + other.errors,
            self.found + other.found,
            self.cpu_ms + other.cpu_ms,
            self.words + other.words,
            self.questions + other.questions,
            self.sound_s + other.sound_s,
        )

    def hear(self, reference: str, sound: Waveform, texts: Mapping[str, str]) -> None:
        """Count the errors of each way of hearing."""
        for way, text in texts.items():
            wrong, words = errors(reference, text)
            self.errors[way] += wrong
        self.words += words
        self.questions += 1
        self.sound_s += sound.seconds

    def row(self, recognisers: Sequence[str]) -> dict[str, float]:
        row: dict[str, float] = {}
        for name in recognisers:
            without, biased = self.errors[f"{name} without"], self.errors[f"{name} with"]
            row[f"wer_{name}_without"] = round(100 * without / max(self.words, 1), 1)
            row[f"wer_{name}_with"] = round(100 * biased / max(self.words, 1), 1)
            row[f"ratio_{name}"] = round(biased / max(without, 1), 3)
            row[f"rtf_cpu_{name}"] = round(self.cpu_ms[name] / 2000 / max(self.sound_s, 1e-9), 3)
        if "streamed" in self.errors:
            row["wer_streamed"] = round(100 * self.errors["streamed"] / max(self.words, 1), 1)
        first, last = recognisers[0], recognisers[-1]
        row["ratio_to_last_without"] = round(self.errors[f"{first} with"] / max(self.errors[f"{last} without"], 1), 3)
        if self.found:
            row |= {
                f"top{TOP}_{way}": round(self.found[way] / max(self.questions, 1), 3)
                for way in ("typed", "heard", "readings")
            }
            row["spoken_typed"] = round(self.found["readings"] / max(self.found["typed"], 1), 3)
        return row | {"questions": self.questions, "words": self.words}


def passage_texts(folder: Path, texts: Sequence[str], count: int) -> list[Collection]:
    """Long texts with the spans that answer a question."""
    collections = []
    records = [json.loads(line) for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    for text in texts:
        chosen = _evenly([r for r in records if r["corpus"] == text and len(r["question"]) <= LONGEST], count)

        def right(record: dict) -> Callable[[Hit], bool]:
            spans = [(reference["start_index"], reference["end_index"]) for reference in record["references"]]
            return lambda hit: any(hit.chunk.start < end and start < hit.chunk.end for start, end in spans)

        asked = [Asked(record["question"], right(record)) for record in chosen]
        collections.append(Collection(text, [folder / f"{text}.md"], asked))
    return collections


def filings(folder: Path, files: Sequence[str], count: int, smallest: int = 0) -> list[Collection]:
    """Filings in one store with the pages that hold the evidence; only those named, if any, or the smallest ones."""
    records = [json.loads(line) for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    records = [r for r in records if not files or r["doc_name"] in files]
    if smallest:
        size = {r["doc_name"]: (folder / "pdfs" / f"{r['doc_name']}.pdf").stat().st_size for r in records}
        kept = sorted(size, key=size.__getitem__)[:smallest]
        records = [r for r in records if r["doc_name"] in kept]

    def right(record: dict) -> Callable[[Hit], bool]:
        pages = {(f"{record['doc_name']}.pdf", e["evidence_page_num"] + 1) for e in record["evidence"]}
        return lambda hit: (hit.chunk.document, hit.chunk.page) in pages

    # people ask in one breath: what follows the first question mark tells how to answer
    asked = [Asked(_first_sentence(r["question"]), right(r)) for r in _evenly(records, count)]
    names = sorted({record["doc_name"] for record in records})
    return [Collection("financebench", [folder / "pdfs" / f"{name}.pdf" for name in names], asked)]


def _first_sentence(question: str) -> str:
    return question[: question.index("?") + 1] if "?" in question else question


def _evenly(records: list[dict], count: int) -> list[dict]:
    if len(records) <= count:
        return records
    return [records[i] for i in np.linspace(0, len(records) - 1, count).astype(int)]


def say(text: str, voice: str, path: Path) -> Waveform:
    """flite speaks."""
    subprocess.run(["flite", "-voice", voice, "-t", spoken(text), "-o", str(path)], check=True)
    return load_audio(path, sample_rate=16_000)


def hear(
    recognisers: Sequence[Comparable], sound: Waveform, language: DocumentLanguage, tally: Tally
) -> tuple[dict[str, str], Transcript]:
    """What each recogniser understands without and with the documents' words; the first one's biased transcript."""
    texts: dict[str, str] = {}
    transcripts: list[Transcript] = []
    for recogniser in recognisers:
        cpu = time.process_time()
        biased, general = recogniser.compare(sound, language)
        tally.cpu_ms[recogniser.name] += round(1000 * (time.process_time() - cpu))
        texts |= {f"{recogniser.name} without": general.text, f"{recogniser.name} with": biased.text}
        transcripts.append(biased)
    return texts, transcripts[0]


def stream(recogniser: Comparable, sound: Waveform, language: DocumentLanguage) -> tuple[str, float]:
    """A question heard in blocks of 32 ms: its transcript, and the CPU time after the last of them, ms."""
    session = recogniser.stream(language)
    for start in range(0, len(sound.samples), 512):
        session.accept(sound.samples[start : start + 512])
    cpu = time.process_time()
    text = session.finish().text
    return text, (time.process_time() - cpu) * 1000


def questions(
    collection: Collection,
    recognisers: Sequence[Comparable],
    settings: Settings,
    voices: Sequence[str],
    folder: Path,
    *,
    streamed: bool,
    embed: bool,
) -> tuple[dict[str, Tally], dict[str, float]]:
    """Voice -> tally, and what learning the words cost."""
    workspace = Workspace.open(settings.home, collection.name)
    ingest_paths(workspace, collection.paths, settings=settings, embed=embed)
    embedder = load_embedder(settings.embedder, device=settings.device, threads=1) if embed else None
    retriever = HybridRetriever(workspace, embedder, settings.retrieval)
    language = document_language(workspace)
    cpu = time.process_time()
    recognisers[0].prepare(language)
    cpu = time.process_time() - cpu
    pages = sum(info.pages for info in workspace.documents())
    if pages <= len(collection.paths):  # texts have no sheets
        pages = math.ceil(sum(path.stat().st_size for path in collection.paths) / PAGE_CHARACTERS)
    cost = {"pages": pages, "learn_cpu_s": round(cpu, 2), "learn_cpu_s_per_100_pages": round(100 * cpu / pages, 2)}
    tallies = {voice: Tally() for voice in voices}
    waits: list[float] = []
    for index, asked in enumerate(collection.asked):
        voice = voices[index % len(voices)]
        sound = say(asked.text, voice, folder / "question.wav")
        tally = tallies[voice]
        texts, transcript = hear(recognisers, sound, language, tally)
        if streamed:
            texts["streamed"], wait = stream(recognisers[0], sound, language)
            waits.append(wait)
        tally.hear(asked.text, sound, texts)
        for way, hits in (
            ("typed", retriever.search(asked.text, TOP)),
            ("heard", retriever.search(transcript.text, TOP)),
            ("readings", search_wordings(retriever, wordings(transcript), TOP)),
        ):
            tally.found[way] += any(asked.right(hit) for hit in hits)
    if waits:
        cost["after_last_sample_cpu_ms_p50"] = round(float(np.median(waits)), 1)
        cost["after_last_sample_cpu_ms_p95"] = round(float(np.quantile(waits, 0.95)), 1)
    workspace.close()
    return tallies, cost


def people(folder: Path, recognisers: Sequence[Comparable], other: DocumentLanguage, limit: int) -> dict[str, Tally]:
    """Group -> WER without and with the language of another text."""
    groups: dict[str, Tally] = {}
    with open(folder / "transcripts.tsv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            tally = groups.setdefault(row["group"], Tally())
            if tally.questions >= limit:
                continue
            sound = load_audio(folder / row["file"], sample_rate=16_000)
            tally.hear(row["transcript"], sound, hear(recognisers, sound, other, tally)[0])
    return groups


def text_language(path: Path, folder: Path) -> DocumentLanguage:
    return DocumentLanguage(path.stem, folder, lambda: path.read_text(encoding="utf-8").split("\n\n"))


def run(data: Path, options: argparse.Namespace, home: Path) -> dict[str, object]:
    collections: list[Collection] = []
    count = 6 if options.short else options.questions
    if options.only in ("", "passages") and (data / "passages" / "questions.jsonl").is_file():
        collections += passage_texts(data / "passages", options.texts.split(","), count)
    if options.only in ("", "financebench") and (data / "financebench" / "questions.jsonl").is_file():
        collections += filings(
            data / "financebench", [f for f in options.files.split(",") if f], count, 2 * options.short
        )
    if not collections and options.only != "people":
        raise UsageError(f"{data} has neither passages nor financebench", remedy="Give the folder with --data PATH")
    settings = load_settings(home)
    recognisers = [
        cast("Comparable", load_recogniser(SpeechSettings(recogniser=name))) for name in options.recognisers.split(",")
    ]
    names = [recogniser.name for recogniser in recognisers]
    results: dict[str, object] = {"recognisers": names}
    print(f"{'':30}" + "".join(f"{f'{name}: WER without':>24}{'with':>7}{'ratio':>7}" for name in names), end="")
    print(f"{'streamed':>10}{'top5 typed':>12}{'heard':>7}{'readings':>10}{'spoken/typed':>14}{'n':>5}{'RTF':>7}")

    def note(name: str, tally: Tally) -> None:
        row = tally.row(names)
        results[name] = row
        line = f"{name:30}"
        for engine in names:
            line += f"{row[f'wer_{engine}_without']:24.1f}{row[f'wer_{engine}_with']:7.1f}{row[f'ratio_{engine}']:7.2f}"
        line += f"{row['wer_streamed']:10.1f}" if "wer_streamed" in row else f"{'':10}"
        if tally.found:
            line += f"{row['top5_typed']:12.2f}{row['top5_heard']:7.2f}{row['top5_readings']:10.2f}"
            line += f"{row['spoken_typed']:14.2f}"
        else:
            line += f"{'':43}"
        print(line + f"{row['questions']:5.0f}{row[f'rtf_cpu_{names[0]}']:7.3f}", flush=True)

    voices = options.voices.split(",")
    total = Tally()
    if collections and not shutil.which("flite"):
        print("questions about documents: not measured, the program flite is not installed")
        collections = []
    for collection in collections:
        tallies, cost = questions(
            collection, recognisers, settings, voices, home, streamed=options.streamed, embed=not options.words_only
        )
        for voice, tally in tallies.items():
            note(f"{collection.name}, {voice}", tally)
            total += tally
        note(f"{collection.name}, all voices", sum(tallies.values(), Tally()))
        results[f"{collection.name}, learning"] = cost
        print(f"  learned: {cost}", flush=True)
    if collections:
        note("all questions", total)
    if options.only in ("", "people") and (data / "speech" / "transcripts.tsv").is_file():
        other = text_language(data / "passages" / "state_of_the_union.md", home / "other")
        groups = people(data / "speech", recognisers, other, 4 if options.short else 10**6)
        for group, tally in sorted(groups.items()):
            note(f"people: {group}", tally)
        note("people, all", sum(groups.values(), Tally()))
    return results


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recognition", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "--short", action="store_true", help="six questions a text, two filings, four recordings a group"
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder (default: ../shared/data)")
    parser.add_argument("--questions", type=int, default=40, help="per text (default: 40)")
    parser.add_argument(
        "--recognisers",
        default=",".join(dict.fromkeys([recogniser_name(SpeechSettings()), "pocketsphinx"])),
        help="of speech.recogniser (default: %(default)s)",
    )
    parser.add_argument("--voices", default=",".join(VOICES), help="of flite, in turn (default: rms,slt,awb)")
    parser.add_argument("--texts", default="state_of_the_union,wikitexts", help="of passages/ (default: the two short)")
    parser.add_argument("--files", default="", help="filings of financebench/, without .pdf (default: all 24)")
    parser.add_argument("--only", default="", choices=("", "passages", "financebench", "people"))
    parser.add_argument("--words-only", action="store_true", help="search without vectors: much less to prepare")
    parser.add_argument("--streamed", action="store_true", help="hear each question as a stream, too: doubles the time")
    options = parser.parse_args()
    stay_offline()
    bound_kernels()
    with tempfile.TemporaryDirectory() as temporary:
        results = run(options.data, options, Path(temporary))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps({"benchmark": "recognition", "commit": commit, "machine": machine, **results}))
    return 0


if __name__ == "__main__":
    raise SystemExit(cli_main(main))
