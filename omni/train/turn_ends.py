"""Fit models/turn_taking/turn_ends.json: whether somebody who has fallen silent has finished.

    python -m omni.train.turn_ends [--data ../shared/data/squad/train-v1.0.json] [--squad 250] [--spoken 250]

Questions and sentences of SQuAD's training articles (Rajpurkar et al., 2016; CC BY-SA 4.0) and questions as people put
them in conversation (omni/train/spoken_questions.py), said by flite's voices: whole, and broken off after a function
word, in a number, in a name, at a comma, before an "um", anywhere. What is broken off is spoken alone, or cut out of
the whole, or cut out and drawn out. Each is heard by the default recogniser up to the moment at which a conversation
asks it. Needs flite and scikit-learn; 4 minutes of CPU.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import UsageError, cli_main
from core.settings import SpeechSettings
from omni.asr import load_recogniser
from omni.audio import load_audio
from omni.live.completeness import bare
from omni.live.hearing import open_session
from omni.live.turn_ends import PATH, Readings, features
from omni.live.turn_taking import TurnTaker, TurnTaking, words_in
from omni.train.question_ends import GOES_ON
from omni.train.spoken_questions import NUMBERS, spoken_question
from omni.types import SpeechRecogniser
from omni.vad import FRAME, SAMPLE_RATE, SpeechProbability

VOICES = ("rms", "slt", "awb") * 4 + ("kal16",)
BEFORE_FRAMES = 6  # that a conversation keeps before the first frame of speech
DRAWN_OUT_S = 0.2  # of the end, at most
NOISE = 0.003  # at most, of full scale
LONGEST_S = 20.0


@dataclass(frozen=True)
class Pause:
    """What was understood up to a pause."""

    text: str  # that was to be said
    whole: bool
    readings: Readings
    closed: float | None


def run_flite(*arguments: str) -> str:
    return subprocess.run(["flite", *arguments], check=True, capture_output=True, text=True).stdout


def said(text: str, voice: str) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        run_flite("-voice", voice, "-t", text, "-o", str(path))
        return load_audio(path, sample_rate=SAMPLE_RATE).samples


def cut_out(text: str, count: int, voice: str, drawn_out: float = 1.0) -> np.ndarray | None:
    """The first `count` words as they sound in the whole; None if flite says them otherwise there."""
    beginning = " ".join(text.split()[:count])
    phones = [phone for phone in run_flite("-voice", voice, "-ps", "-t", beginning, "none").split() if phone != "pau"]
    places = [place.split(":") for place in run_flite("-voice", voice, "-psdur", "-t", text, "none").split()]
    spoken = [(phone, float(end)) for phone, end in places if phone != "pau"][: len(phones)]
    if len(spoken) < len(phones) or sum(a != b for (a, _), b in zip(spoken, phones, strict=True)) > 2:
        return None
    samples = said(text, voice)[: int(spoken[-1][1] * SAMPLE_RATE)].copy()
    if drawn_out != 1.0:
        tail = min(len(samples), int(DRAWN_OUT_S * SAMPLE_RATE))
        samples = np.concatenate([samples[:-tail], stretched(samples[-tail:], drawn_out)])
    fade = min(len(samples), SAMPLE_RATE // 50)
    samples[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return samples


def stretched(samples: np.ndarray, factor: float, window: int = 400) -> np.ndarray:
    """Longer without a change of pitch: overlap and add where the waves fit (WSOLA, Verhelst & Roelands, 1993)."""
    if len(samples) < 3 * window:
        return samples
    hop, shape = window // 2, np.hanning(window)
    out = np.zeros(int(len(samples) * factor) + window)
    weight = np.zeros_like(out)
    previous, at = 0, 0
    for step in range(int((len(samples) * factor - window) / hop) + 1):
        best, at = 0, step * hop
        if step:
            target = samples[previous + hop : previous + hop + window]
            wanted = int(at / factor)
            starts = range(max(0, wanted - 160), min(len(samples) - window, wanted + 160), 8)
            if len(target) < window or not starts:
                break
            best = max(starts, key=lambda start: float(np.dot(samples[start : start + window], target)))
        out[at : at + window] += samples[best : best + window] * shape
        weight[at : at + window] += shape
        previous = best
    return (out[:at] / np.maximum(weight[:at], 1e-3)).astype(np.float32)


def up_to_its_pause(samples: np.ndarray) -> np.ndarray | None:
    """What a recogniser has heard when a conversation asks it how this ended; None: no speech in it."""
    padded = np.concatenate([np.zeros(SAMPLE_RATE // 2, np.float32), samples, np.zeros(12_000, np.float32)])
    padded = padded[: len(padded) // FRAME * FRAME]
    probability, taker = SpeechProbability(), TurnTaker(TurnTaking(silence_ms=1000))
    signals = [signal for frame in padded.reshape(-1, FRAME) for signal in taker.step(probability(frame))]
    begun = [signal.frame for signal in signals if signal.kind == "begin"]
    paused = [signal.now for signal in signals if signal.kind == "pause"]
    return padded[max(0, begun[0] - BEFORE_FRAMES) * FRAME : paused[-1] * FRAME] if begun and paused else None


def breaks(words: list[str], rng: random.Random) -> Iterator[tuple[str, int]]:
    """Kinds of breaks and after how many words."""
    spots = range(2, len(words))
    kinds: dict[str, list[int]] = {
        "function": [i for i in spots if re.sub(r"\W", "", words[i - 1].lower()) in GOES_ON],
        "number": [i for i in spots if words[i - 1] in NUMBERS and words[i] in NUMBERS],
        "name": [i for i in spots if words[i - 1][:1].isupper() and words[i][:1].isupper()],
        "comma": [i for i in spots if words[i - 1].endswith(",")],
        "any": list(spots) if rng.random() < 0.5 else [],
        "um": list(spots) if rng.random() < 0.4 else [],
    }
    for kind in ("function", *kinds):
        if kinds[kind]:
            yield kind, rng.choice(kinds[kind])


def sounds(text: str, asks: bool, rng: random.Random) -> Iterator[tuple[bool, np.ndarray]]:
    """A question or sentence in one voice, whole (True) and broken off."""
    words, voice = text.split(), rng.choice(VOICES)
    mark = rng.choice(["", "?" if asks else "."])
    yield True, said(text + mark, voice)
    for kind, count in breaks(words, rng):
        beginning = " ".join(words[:count])
        if kind == "um":
            yield False, said(f"{beginning} {rng.choice(['um', 'uh'])}", voice)
            continue
        how = "cut out" if kind == "comma" else rng.choice(["alone", "cut out", "cut out", "drawn out"])
        if how == "alone":
            yield False, said(beginning, voice)
            continue
        broken = cut_out(text, count, voice, rng.uniform(1.5, 2.5) if how == "drawn out" else 1.0)
        if broken is not None:
            yield False, broken


def heard(texts: list[tuple[str, bool]], recogniser: SpeechRecogniser, rng: random.Random) -> Iterator[Pause]:
    noise = np.random.default_rng(0)
    for text, asks in texts:
        for whole, samples in sounds(text, asks, rng):
            heard_so_far = up_to_its_pause(samples)
            if heard_so_far is None or len(heard_so_far) > LONGEST_S * SAMPLE_RATE:
                continue
            level = rng.uniform(0, NOISE)
            noisy = heard_so_far + level * noise.standard_normal(len(heard_so_far)).astype(np.float32)
            session = open_session(recogniser, ())
            session.accept(np.clip(noisy, -1, 1))
            words = words_in(session.finish(), 0)
            if bare(words.text):
                yield Pause(text, whole, words.readings or ((words.text, 1.0),), words.closed)


def squad_texts(path: Path) -> tuple[list[str], list[str]]:
    """Questions and sentences as they may be said."""
    paragraphs = [p for article in json.loads(path.read_text())["data"] for p in article["paragraphs"]]
    questions = [qa["question"].strip() for paragraph in paragraphs for qa in paragraph["qas"]]
    sentences = [s for paragraph in paragraphs for s in re.split(r"(?<=[a-z])\. ", paragraph["context"])]
    return (
        [q for q in questions if 5 <= len(q.split()) <= 16 and q.isascii()],
        [
            s
            for s in sentences
            if 7 <= len(s.split()) <= 25 and s.isascii() and s[0].isupper() and not re.search(r"[(;:\"\[]", s)
        ],
    )


def texts_from(data: Path, squad: int, spoken: int) -> list[tuple[str, bool]]:
    """Texts and whether they ask: seven of ten of SQuAD's are questions."""
    rng = random.Random(2)
    questions, sentences = squad_texts(data)
    chosen = [
        (rng.choice(questions if asks else sentences).rstrip("?. "), asks)
        for asks in (rng.random() < 0.7 for _ in range(squad))
    ]
    return chosen + [(spoken_question(rng), True) for _ in range(spoken)]


def fit(pauses: list[Pause], *, say: Callable[[str], None] = print) -> dict[str, float]:
    """Weights of the features; how well they do is measured on texts left out, a fifth at a time."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    rows = [features(pause.readings, pause.closed) for pause in pauses]
    names = list(rows[0])
    matrix = np.array([[row[name] for name in names] for row in rows])
    whole = np.array([pause.whole for pause in pauses])
    texts = sorted({pause.text for pause in pauses})
    random.Random(0).shuffle(texts)
    fold = {text: i % 5 for i, text in enumerate(texts)}
    folds = np.array([fold[pause.text] for pause in pauses])

    def fitted(rows: np.ndarray) -> LogisticRegression:
        return LogisticRegression(max_iter=2000, class_weight="balanced").fit(matrix[rows], whole[rows])

    scores = np.zeros(len(pauses))
    for k in range(5):
        scores[folds == k] = fitted(folds != k).decision_function(matrix[folds == k])
    say(f"{len(pauses)} pauses, {whole.sum()} of them ends; area under the ROC {roc_auc_score(whole, scores):.3f}")
    model = fitted(folds >= 0)
    weights = dict(zip(names, model.coef_[0].tolist(), strict=True))
    return {name: round(value, 2) for name, value in {"bias": float(model.intercept_[0]), **weights}.items()}


def run(arguments: argparse.Namespace) -> int:
    if not arguments.data.is_file():
        raise UsageError(f"{arguments.data} is missing", remedy="Name SQuAD's training questions with --data")
    texts = texts_from(arguments.data, arguments.squad, arguments.spoken)
    pauses = [
        pause
        for pause in heard(texts, load_recogniser(SpeechSettings()), random.Random(3))
        if all(math.isfinite(weight) for _, weight in pause.readings)
    ]
    PATH.write_text(json.dumps(fit(pauses), indent=1) + "\n")
    return 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/squad/train-v1.0.json"))
    parser.add_argument("--squad", type=int, default=250, help="texts of SQuAD (default: %(default)s)")
    parser.add_argument("--spoken", type=int, default=250, help="questions as in conversation (default: %(default)s)")
    arguments = parser.parse_args(argv)
    return cli_main(lambda: run(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
