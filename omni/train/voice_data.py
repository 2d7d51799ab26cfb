"""The teacher's lessons on disk: phones, durations and 5 ms vocoder parameters of many sentences, in shards.

python -m omni.train.voice data --out runs/voice --sentences 5000
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UsageError
from omni.train.flite_teacher import FliteTeacher, Lesson
from omni.train.voice_texts import training_texts

_SHARD = 250  # sentences


def make_lessons(out: Path, squad: Path, *, sentences: int, speaker: str, seed: int = 0) -> None:
    """Writes lessons-SPEAKER-NNN.npz until there are about `sentences`; shards that are there are kept."""
    out.mkdir(parents=True, exist_ok=True)
    teacher = FliteTeacher(speaker, sound=False)
    shards = lesson_files(out, speaker)
    known: set[str] = set()  # a text that came twice might be held out and learned from
    for path in shards:
        with np.load(path) as shard:
            known.update(json.loads(str(shard["texts"])))
    texts = [text for text in training_texts(squad, sentences, seed=seed) if text not in known]
    texts = texts[: max(0, sentences - len(known))]
    started, seconds = time.monotonic(), 0.0
    for number, first in enumerate(range(0, len(texts), _SHARD), start=len(shards)):
        path = out / f"lessons-{speaker}-{number:03d}.npz"
        batch = texts[first : first + _SHARD]
        lessons = [teacher.speak(text) for text in batch]
        save_lessons(path, batch, lessons)
        seconds += sum(len(lesson.f0) for lesson in lessons) * 0.005
        print(f"{path.name}: {seconds / 3600:.2f} h of speech in {time.monotonic() - started:.0f} s", flush=True)


def lesson_files(folder: Path, speaker: str) -> list[Path]:
    return sorted(p for p in folder.glob(f"lessons-{speaker}-[0-9]*.npz") if not p.name.endswith(".tmp.npz"))


def save_lessons(path: Path, texts: Sequence[str], lessons: Sequence[Lesson]) -> None:
    phones = [
        [
            [p.name, p.stress, p.word, int(p.starts_syllable), p.punctuation, p.end_frame, p.state_ends]
            for p in le.phones
        ]
        for le in lessons
    ]
    params = [np.concatenate([le.mcep, le.f0[:, None], le.strengths], axis=1) for le in lessons]
    temporary = path.with_suffix(".tmp.npz")
    np.savez(
        temporary,
        texts=np.array(json.dumps(list(texts))),
        phones=np.array(json.dumps(phones)),
        lengths=np.array([len(p) for p in params]),
        params=np.concatenate(params).astype(np.float16),  # (frames, 25 + 1 + 5); F0 in Hz: 0.06 Hz steps
    )
    temporary.rename(path)


def load_lessons(folder: Path, speaker: str) -> tuple[list[str], list[list[list[Any]]], list[np.ndarray]]:
    """Texts, phones [name, stress, word, starts_syllable, punctuation, end_frame, state_ends], and (frames, 31)
    parameters. Raises UsageError for lessons made before there were state_ends."""
    texts: list[str] = []
    phones: list[list[list[Any]]] = []
    params: list[np.ndarray] = []
    for path in lesson_files(folder, speaker):
        with np.load(path) as shard:
            texts += json.loads(str(shard["texts"]))
            phones += json.loads(str(shard["phones"]))
            if len(phones[-1][0]) < 7:
                raise UsageError(
                    f"{path} does not tell the states of its phones",
                    remedy=f"Delete {path.parent}/lessons-* and run data",
                )
            params += np.split(shard["params"], np.cumsum(shard["lengths"])[:-1])
    # The teacher's smoothing overflows in one utterance of two thousand.
    sound = [index for index, track in enumerate(params) if np.isfinite(track).all()]
    return [texts[i] for i in sound], [phones[i] for i in sound], [params[i] for i in sound]
