"""Whose turn it is: turns cut short, turns missed, and how long one waits for the end of a turn to be noticed.

    python -m benchmarks.turn_taking [--short] [--data ../shared/data] [--recogniser R]

Recordings are joined with two seconds of silence between them, each one a turn, and heard frame by frame:
1. people (`speech/`: readers, non-native speakers, questions; whoever pauses in a sentence may be cut),
2. questions about documents, spoken by flite's voices (measuring only; skipped where the program is missing),
3. hesitations: such questions with 0.7 s of silence after a function word ("how long is the ... notice period"),
4. and 5. the same two with questions that nobody looked at while the rules were written.

A turn is cut if its end is announced before it has been said to the end, and missed if no end is announced in the
silence after it. Waits run from the last frame of speech to the announcement. Every rule hears the same; those that
look at the words get them when they would have come: with the CPU time that the recogniser took as the delay.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import UsageError, cli_main
from core.runtime import stay_offline
from core.settings import SpeechSettings
from omni.asr import load_recogniser
from omni.audio import load_audio
from omni.live.completeness import Finish
from omni.live.hearing import open_session
from omni.live.turn_ends import ending
from omni.live.turn_taking import TurnTaker, TurnTaking, Words, words_in
from omni.types import SpeechRecogniser
from omni.vad import FRAME, FRAME_S, SAMPLE_RATE, SpeechProbability

GAP_S, LEAD_S = 2.0, 0.5
HESITATION_S = 0.7
VOICES = ("rms", "slt", "awb")
QUESTIONS = (
    "What is the notice period in this lease",
    "How often should the water filter be replaced",
    "Who is responsible for repairs of the roof",
    "When does the warranty of the pump expire",
    "How much did the company spend on research last year",
    "Which documents must be signed before the first of June",
    "Does the policy cover damage caused by heavy rain",
    "What were the main reasons for the fall in revenue",
    "Where can I find the list of approved suppliers",
    "Why was the meeting in October moved to a later date",
    "Can the tenant end the agreement without giving a reason",
    "How many people worked for the company in twenty nineteen",
    "What should I do if the red light starts to blink",
    "Is there a limit on the number of guests who may stay",
    "Tell me about the changes in the second chapter",
    "What happens to the deposit at the end of the contract",
    "How long does it take to charge the battery",
    "Which of the two methods is cheaper in the long run",
    "Who wrote the report about the accident",
    "Are there any risks that the auditors have pointed out",
)
HELD_OUT = (
    "What is the highest temperature at which the pump may be used",
    "How do I return a product that was damaged in transit",
    "Who has to sign the letter before it is sent",
    "When will the results of the survey be published",
    "Does the contract say anything about the price of electricity",
    "In which city does the board of directors meet",
    "How many patients took part in the second study",
    "Why did the cost of raw materials increase",
    "Could you tell me the name of the project manager",
    "What was the total value of the shares that were sold",
    "Are visitors allowed to park in front of the building",
    "Where is the water valve for the upper floor",
)
_BREAK_AFTER = ("the", "of", "a", "in", "to", "for", "by", "is")


@dataclass(frozen=True)
class Turn:
    """What is said in one turn, and where in the joined sound."""

    name: str
    start: int  # frames
    end: int


@dataclass(frozen=True)
class Tape:
    """Joined recordings, and what every rule is to be told about them."""

    group: str
    turns: list[Turn]
    probabilities: list[float]
    samples: np.ndarray  # (n,) float32


@dataclass(frozen=True)
class Result:
    turns: int
    cut: int
    missed: int
    waits_ms: list[float]
    announced: int

    def row(self) -> dict[str, float]:
        waits = sorted(self.waits_ms) or [float("nan")]
        return {
            "turns": self.turns,
            "cut": self.cut,
            "missed": self.missed,
            "wait_p50_ms": round(waits[len(waits) // 2]),
            "wait_p90_ms": round(waits[int(len(waits) * 0.9)]),
        }


def join(group: str, recordings: Sequence[tuple[str, np.ndarray]]) -> Tape:
    """One tape of all recordings; a turn's ends are those of the VAD's speech in it."""
    pieces, spans, at = [np.zeros(round(LEAD_S * SAMPLE_RATE), np.float32)], [], round(LEAD_S * SAMPLE_RATE)
    gap = np.zeros(round(GAP_S * SAMPLE_RATE), np.float32)
    for name, samples in recordings:
        pieces += [samples, gap]
        spans.append((name, at, at + len(samples)))
        at += len(samples) + len(gap)
    whole = np.concatenate(pieces)
    whole = whole[: len(whole) // FRAME * FRAME]
    model = SpeechProbability()
    probabilities = [model(frame) for frame in whole.reshape(-1, FRAME)]
    turns = []
    for name, start, end in spans:
        inside = [
            i for i in range(start // FRAME, min(end // FRAME + 3, len(probabilities))) if probabilities[i] >= 0.5
        ]
        if len(inside) >= 3:
            last = inside[-1]
            while last + 1 < len(probabilities) and probabilities[last + 1] >= 0.35:
                last += 1
            turns.append(Turn(name, inside[0], last + 1))
    return Tape(group, turns, probabilities, whole)


def listen(tape: Tape, settings: TurnTaking, hear: Callable[[Tape, int, int], tuple[Words, float]] | None) -> Result:
    """The rule `settings` over a tape. `hear(tape, start, now)`: words of these frames and the seconds they took."""
    taker = TurnTaker(settings)
    words, due = Words(), (0, Words())
    began = 0
    ends: list[tuple[int, int]] = []  # (end of speech, announced)
    for now, probability in enumerate(tape.probabilities):
        if due[0] and now >= due[0]:
            words, due = due[1], (0, Words())
        for signal in taker.step(probability, words):
            if signal.kind == "begin":
                began, words, due = signal.frame, Words(), (0, Words())
            elif signal.kind == "resume":
                words, due = Words(), (0, Words())
            elif signal.kind == "pause" and hear is not None:
                understood, seconds = hear(tape, began, signal.now)
                due = (signal.now + max(1, round(seconds / FRAME_S)), understood)
            elif signal.kind == "end":
                ends.append((signal.frame, signal.now))
    cut = missed = 0
    waits = []
    for index, turn in enumerate(tape.turns):
        following = tape.turns[index + 1].start if index + 1 < len(tape.turns) else len(tape.probabilities)
        cut += any(turn.start < now <= turn.end - 1 for _, now in ends)
        after = [now for _, now in ends if turn.end - 1 < now <= following]
        if after:
            waits.append((after[0] - turn.end) * FRAME_S * 1000)
        else:
            missed += 1
    return Result(len(tape.turns), cut, missed, waits, len(ends))


class Listener:
    """The recogniser's words at the pauses of a tape, each decoded once."""

    def __init__(self, recogniser: SpeechRecogniser) -> None:
        self._recogniser = recogniser
        self._known: dict[tuple[str, int, int], tuple[Words, float]] = {}
        self.cpu_s = 0.0

    def __call__(self, tape: Tape, start: int, now: int) -> tuple[Words, float]:
        key = (tape.group, start, now)
        if key not in self._known:
            session = open_session(self._recogniser, ())
            began = time.process_time()
            before = max(0, start - 6)
            session.accept(tape.samples[before * FRAME : now * FRAME])
            accepted = time.process_time()
            transcript = session.pause()
            took = time.process_time() - accepted  # the sound itself was decoded while it was spoken
            session.close()
            self.cpu_s += time.process_time() - began
            self._known[key] = words_in(transcript, now), took
        return self._known[key]


def people(data: Path, limit: int | None) -> list[tuple[str, np.ndarray]]:
    with open(data / "speech" / "transcripts.tsv", newline="") as file:
        names = [row["file"] for row in csv.DictReader(file, delimiter="\t")]
    names = [name for name in names if (data / "speech" / name).exists()]
    chosen = names[:: max(1, len(names) // limit)] if limit else names
    return [(name, load_audio(data / "speech" / name, sample_rate=SAMPLE_RATE).samples) for name in chosen]


def said(text: str, voice: str) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
        return load_audio(path, sample_rate=SAMPLE_RATE).samples


def hesitated(question: str, voice: str) -> np.ndarray | None:
    """The question with a silence after its middle function word; None if it has none."""
    words = question.split()
    places = [i + 1 for i in range(2, len(words) - 2) if words[i].lower() in _BREAK_AFTER]
    if not places:
        return None
    place = places[len(places) // 2]
    silence = np.zeros(round(HESITATION_S * SAMPLE_RATE), np.float32)
    return np.concatenate([said(" ".join(words[:place]), voice), silence, said(" ".join(words[place:]), voice)])


def judged(text: str) -> Finish:
    """How finished the words sound, if they are heard rightly and without doubt."""
    end = ending([(text, 1.0)])
    return end.finish if end is not None else Finish.UNKNOWN


def completeness() -> dict[str, float]:
    """How the rules judge the questions above, whole and broken off, as text: the ceiling of a perfect recogniser."""
    whole = [judged(question) for question in QUESTIONS]
    broken = [
        judged(" ".join(words[:place]))
        for words in (question.split() for question in QUESTIONS)
        for place in range(2, len(words))
    ]
    return {
        "whole_complete": round(sum(f is Finish.COMPLETE for f in whole) / len(whole), 2),
        "whole_open": round(sum(f is Finish.OPEN for f in whole) / len(whole), 2),
        "broken_complete": round(sum(f is Finish.COMPLETE for f in broken) / len(broken), 2),
        "broken_open": round(sum(f is Finish.OPEN for f in broken) / len(broken), 2),
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.turn_taking", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--short", action="store_true", help="a quarter of the recordings")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="default: %(default)s")
    parser.add_argument(
        "--recogniser", default=SpeechSettings().recogniser, help="as in speech.recogniser (default: %(default)s)"
    )
    arguments = parser.parse_args(argv)
    stay_offline()
    return cli_main(lambda: run(arguments))


def run(arguments: argparse.Namespace) -> int:
    if not (arguments.data / "speech" / "transcripts.tsv").exists():
        raise UsageError(f"no recordings under {arguments.data}", remedy="Give their folder with --data")
    tapes = [join("people", people(arguments.data, 20 if arguments.short else None))]
    if shutil.which("flite"):
        for suffix, questions in (("", QUESTIONS), (" held out", HELD_OUT)):
            chosen = questions[:5] if arguments.short else questions
            spoken = [(question, said(question, voice)) for voice in VOICES for question in chosen]
            broken = [(q, s) for voice in VOICES for q in chosen if (s := hesitated(q, voice)) is not None]
            tapes += [join(f"questions{suffix}", spoken), join(f"hesitations{suffix}", broken)]
    else:
        print("flite is not installed: only recordings of people are measured")
    listener = Listener(load_recogniser(SpeechSettings(recogniser=arguments.recogniser)))
    rules: dict[str, tuple[TurnTaking, bool]] = {
        "fixed 300 ms": (fixed(300), False),
        "fixed 500 ms": (fixed(500), False),
        "fixed 700 ms": (fixed(700), False),
        "fixed 1000 ms": (fixed(1000), False),
        "by the words": (TurnTaking(), True),
    }
    results: dict[str, dict[str, dict[str, float]]] = {}
    print(f"{'turns':20} {'rule':14} {'turns':>6} {'cut':>5} {'missed':>7} {'wait p50':>9} {'p90 (ms)':>9}")
    for tape in tapes:
        for name, (settings, reads) in rules.items():
            row = listen(tape, settings, listener if reads else None).row()
            results.setdefault(tape.group, {})[name] = row
            print(
                f"{tape.group:20} {name:14} {row['turns']:6} {row['cut']:5} {row['missed']:7} "
                f"{row['wait_p50_ms']:9} {row['wait_p90_ms']:9}"
            )
    as_text = completeness()
    print(f"\nQuestions as text: whole ones judged complete {as_text['whole_complete']:.0%}, unfinished", end=" ")
    print(f"{as_text['whole_open']:.0%}; broken off anywhere: complete {as_text['broken_complete']:.0%},", end=" ")
    print(f"unfinished {as_text['broken_open']:.0%}")
    print(
        f"recogniser: {listener.cpu_s:.0f} CPU-s for {sum(len(t.samples) for t in tapes) / SAMPLE_RATE:.0f} s of sound"
    )
    machine = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    print(json.dumps({"benchmark": "turn_taking", **machine, "results": results, "text": as_text}))
    return 0


def fixed(silence_ms: int) -> TurnTaking:
    """The rule that looks at silence alone."""
    return TurnTaking(complete_ms=silence_ms, silence_ms=silence_ms, unfinished_ms=silence_ms)


if __name__ == "__main__":
    raise SystemExit(main())
