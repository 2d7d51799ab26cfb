"""The voices that ship against what is asked of them, on held-out sentences beside their teacher flite and espeak-ng.

    python -m benchmarks.speech [--short] [--speakers rms,slt]

| what | to reach |
|---|---|
| word error rate (WER) on 220 varied held-out sentences, pocketsphinx and Moonshine | the teacher's + 2.5 points |
| half-phone error of the decoder, on the teacher's phones of 60 of them | 1.5 % |
| first audio after the first words of text, p50 / p95 | 60 / 120 ms, one thread |
| real-time factor (process CPU) | 0.05 |
| largest spectral flux at seams / elsewhere | 1.05 |
| size of all that ships | 20 MB |

How each figure is taken stands in `benchmarks.voices`; recognition of people's speech is `benchmarks.recognition`.
The program `flite` and its libraries are needed for the teacher: for measuring only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess

import numpy as np

from benchmarks.voices import LISTENERS, compare, varied
from core.errors import MissingDependencyError, cli_main
from core.runtime import stay_offline
from omni.spoken_form import spoken

WER_POINTS = 2.5  # above the teacher's
LIMITS = {
    "half_phone_error": 1.5,  # %
    "first_audio_ms_p50": 60.0,
    "first_audio_ms_p95": 120.0,
    "rtf_cpu": 0.05,
    "seam_flux": 1.05,
    "size_mb": 20.0,
}


def half_phone_error(speaker: str, sentences: list[str]) -> float:
    """% of the decoder's units that are no flavour of the half-phone they should be. Raises MissingDependencyError."""
    from omni.train.flite_teacher import FliteTeacher
    from omni.train.voice_units import half_phone_names, phones_of
    from omni.voice.neural_voice import CONFIG, SHIPPED, NeuralVoice

    teacher, voice = FliteTeacher(speaker, sound=False), NeuralVoice.load(SHIPPED / speaker)
    owners = np.array(json.loads((SHIPPED / speaker / CONFIG).read_text(encoding="utf-8"))["half_phone_of_unit"])
    wrong = count = 0
    for sentence in sentences:
        rows = [(p.name, p.stress, p.word, p.starts_syllable, p.punctuation) for p in teacher.speak(sentence).phones]
        phones = phones_of(rows)
        truth = half_phone_names(phones)[1:]  # the first pause is one unit
        found = owners[[unit for units in voice.units(phones) for unit in units]]
        same = min(len(truth), len(found))
        wrong += int((truth[:same] != found[:same]).sum()) + abs(len(truth) - len(found))
        count += len(truth)
    return 100 * wrong / count


def judged(rows: dict[str, dict[str, float]]) -> dict[str, tuple[float, float]]:
    """What -> (reached, at most)."""
    ours = next(row for name, row in rows.items() if name.startswith("lectern"))
    theirs = next((row for name, row in rows.items() if "(teacher)" in name), None)
    found = {}
    if theirs is not None:
        for listener in (f"wer_{name}" for name in LISTENERS):
            if listener in ours:
                found[listener] = (ours[listener], round(theirs[listener] + WER_POINTS, 1))
    return found | {name: (ours[name], limit) for name, limit in LIMITS.items() if name in ours}


def run(speakers: list[str], sentences: list[str]) -> dict[str, object]:
    results: dict[str, object] = {}
    for speaker in speakers:
        rows = compare(sentences, f"lectern:{speaker}")
        try:
            rows[f"lectern:{speaker}"]["half_phone_error"] = round(
                half_phone_error(speaker, [spoken(sentence) for sentence in sentences[:60]]), 2
            )
        except MissingDependencyError as error:
            print(f"half-phones are not measured: {error}")
        print(f"\n{speaker}: reached / at most")
        for what, (reached, limit) in judged(rows).items():
            print(f"  {what:20}{reached:10g} / {limit:<8g}{'' if reached <= limit else 'NOT REACHED'}")
        results[speaker] = rows
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speech", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="20 sentences")
    parser.add_argument("--speakers", default="rms,slt", help="of those that ship (default: rms,slt)")
    options = parser.parse_args()
    stay_offline()
    import torch

    torch.set_num_threads(1)
    results = run(options.speakers.split(","), varied(20 if options.short else 220))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps({"benchmark": "speech", "commit": commit, "machine": machine, "short": options.short, **results}))
    return 0


if __name__ == "__main__":
    raise SystemExit(cli_main(main))
