"""Train the voice that ships, step by step; every step resumes where it was stopped:

    python -m omni.train.voice data      --out runs/voice            # needs the teacher: apt-get install flite
    python -m omni.train.voice units     --out runs/voice            # half-phones, clustered
    python -m omni.train.voice decoder   --out runs/voice --minutes 15
    python -m omni.train.voice vocoder   --out runs/voice --minutes 20   # durations and parameters
    python -m omni.train.voice g2p       --out runs/voice            # dictionary, and words outside it
    python -m omni.train.voice export    --out runs/voice --to models/voice

`--device cuda` trains on a GPU, `torchrun --nproc-per-node N -m omni.train.voice ...` in N processes. Learning rates
rise over the first 3 % and fall linearly to zero at the end of `--minutes` (or `--until HH:MM`); a second call goes on
from the last weights with a new schedule.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist

from core.errors import UsageError, cli_main
from core.runtime import resolve_device, seed_everything
from omni.causal_layers import LayerConfig
from omni.ctc_decoder import CTCDecoder, CTCDecoderConfig
from omni.train.flite_teacher import FliteTeacher
from omni.train.voice_card import write_samples
from omni.train.voice_data import load_lessons, make_lessons
from omni.train.voice_letters import score, train_letters
from omni.train.voice_lexicon import build_lexicon
from omni.train.voice_units import F0, Example, assign, features, fit_units, half_phone_names, phones_of, piece_frames
from omni.voice.letter_rules import LetterRules
from omni.voice.letters_to_sound import LettersToSound
from omni.voice.lexicon import Lexicon
from omni.voice.neural_voice import CONFIG, LETTERS, LEXICON, RULES, WEIGHTS, sizes_of
from omni.voice.phones import STATE_DIM, states
from omni.voice.source_filter import N_MCEP
from omni.voice.unit_vocoder import UnitVocoder, UnitVocoderConfig, positions

N_UNITS = 480
PIECES = 2  # of a half-phone: a state and half of the middle one
HELD_OUT = 100  # utterances that no step learns from
_OF_UNITS = ("output_proj.", "embed.", "mean", "scale")  # parameters of one speaker's units and features

Batch = dict[str, Tensor]


# ------------------------------------------------------------------------------------------------------------ units
def step_units(options: argparse.Namespace) -> None:
    _, lessons, params = load_lessons(options.out, options.speaker)
    rows, names = [], []
    for lesson, track in zip(lessons[HELD_OUT:], params[HELD_OUT:], strict=True):
        rows.append(features(track, piece_frames(lesson, len(track)).reshape(-1, 2).sum(1)))
        names.append(half_phone_names(phones_of(lesson)))
    centroids, owners = fit_units(np.concatenate(rows), np.concatenate(names), total=options.units)
    np.savez(options.out / f"units-{options.speaker}.npz", centroids=centroids, owners=owners)
    print(f"{len(owners)} units from {sum(map(len, names))} half-phones of {len(lessons)} utterances")


def load_examples(folder: Path, speaker: str, limit: int | None = None) -> tuple[list[Example], np.ndarray]:
    """Utterances with their units; the half-phone of every unit."""
    table = np.load(folder / f"units-{speaker}.npz")
    _, lessons, params = load_lessons(folder, speaker)
    examples = []
    for lesson, track in zip(lessons[:limit], params[:limit], strict=True):
        phones, pieces = phones_of(lesson), piece_frames(lesson, len(track))
        rows = features(track, pieces.reshape(-1, 2).sum(1))
        units = assign(rows, half_phone_names(phones), table["centroids"], table["owners"])
        # A decoder cannot tell the frames of its very first state apart, as they see nothing but themselves; so the
        # first pause is one unit, which both of its frames say and CTC merges.
        units[0] = units[1]
        examples.append(Example(phones, pieces, track, units))
    return examples, table["owners"]


# ---------------------------------------------------------------------------------------------------------- decoder
def new_decoder(n_units: int) -> CTCDecoder:
    layers = LayerConfig(dim=192, n_layers=3, n_heads=4, ffn_dim=512, max_positions=8192)
    return CTCDecoder(CTCDecoderConfig(STATE_DIM, layers, n_units=n_units, upsample=2, final_norm=True, lookahead=6))


def step_decoder(options: argparse.Namespace) -> None:
    examples, owners = load_examples(options.out, options.speaker)
    model = new_decoder(len(owners))
    inputs = [states(example.phones) for example in examples]

    def batch_of(indices: Sequence[int]) -> Batch:
        return {
            "states": padded([inputs[i] for i in indices]),
            "units": padded([examples[i].units for i in indices], fill=-100),
        }

    def loss_of(batch: Batch) -> Tensor:
        # Two frames per phone and two known units: CTC has one path, so its loss is this cross-entropy.
        logits = model(batch["states"])
        return nn.functional.cross_entropy(logits.flatten(0, 1).float(), batch["units"].flatten(), ignore_index=-100)

    def report() -> str:
        wrong = half = count = 0
        owner = torch.from_numpy(owners)
        with torch.no_grad():
            for i in range(HELD_OUT):
                found = (
                    model(torch.from_numpy(inputs[i])[None].to(options.device))[0, :, : len(owners)].argmax(-1).cpu()
                )
                truth = torch.from_numpy(examples[i].units)
                wrong += int((found != truth).sum())
                half += int((owner[found] != owner[truth]).sum())
                count += len(truth)
        return f"held-out unit error {100 * wrong / count:.2f} %, half-phone error {100 * half / count:.3f} %"

    lengths = [len(x) for x in inputs]
    train(model, "decoder", options, lengths, batch_of, loss_of, report, size=1200, rate=2.5e-3)


# ---------------------------------------------------------------------------------------------------------- vocoder
def targets(params: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lesson parameters (T, 31) -> network targets (T, 32) [mcep, log F0, voiced, strengths] and voiced (T,)."""
    params = params.astype(np.float32)
    voiced = params[:, F0] > 0
    log_f0 = np.log(np.maximum(params[:, F0], 1.0))
    where = np.flatnonzero(voiced)
    if len(where):
        log_f0 = np.interp(np.arange(len(params)), where, log_f0[where])
    strengths = np.clip(params[:, F0 + 1 :], 0.0, 1.0)
    return np.concatenate(
        [params[:, :N_MCEP], log_f0[:, None], voiced[:, None], strengths], axis=1, dtype=np.float32
    ), voiced


def merged_pieces(pieces: np.ndarray) -> np.ndarray:
    """(4 N,) -> (4 N - 2,): the two halves of the first pause are one unit."""
    return np.concatenate([pieces[:4].reshape(2, 2).sum(1), pieces[4:]])


def new_vocoder(n_units: int) -> UnitVocoder:
    return UnitVocoder(UnitVocoderConfig(n_units, pieces=PIECES))


def step_vocoder(options: argparse.Namespace) -> None:
    examples, owners = load_examples(options.out, options.speaker)
    model = new_vocoder(len(owners))
    sample = np.concatenate([targets(example.params)[0] for example in examples[HELD_OUT : HELD_OUT + 200]])
    model.mean[: N_MCEP + 1] = torch.from_numpy(sample[:, : N_MCEP + 1].mean(0))
    model.scale[: N_MCEP + 1] = torch.from_numpy(sample[:, : N_MCEP + 1].std(0))
    model.scale[N_MCEP + 1 :] = 3.0
    # Spectral distance is Euclidean in the cepstra: small high coefficients count less, though not as little.
    weight = model.scale[:N_MCEP].sqrt()
    silence = float(model.mean[0] - 1.5 * model.scale[0])  # below it, nobody hears a wrong timbre
    spoken = predicted_units(options, examples) or [example.units for example in examples]

    def batch_of(indices: Sequence[int]) -> Batch:
        # The decoder's own choices, now and then the true flavours: what the vocoder will be given
        chosen = [examples[i].units if random.random() < 0.15 else spoken[i] for i in indices]
        chosen = [units[1:] for units in chosen]  # the first pause, merged
        tracks = [targets(examples[i].params) for i in indices]
        frames = [merged_pieces(examples[i].pieces) for i in indices]
        return {
            "units": padded(chosen),
            "frames": padded(frames),
            "owner": padded([np.repeat(np.arange(len(f)), f) for f in frames]),
            "positions": padded([positions(f) for f in frames]),
            "targets": padded([t for t, _ in tracks]),
            "unit_keep": padded([np.ones((len(u), 1), np.float32) for u in chosen]),
            "frame_keep": padded([np.ones((len(t), 1), np.float32) for t, _ in tracks]),
        }

    def losses(batch: Batch) -> dict[str, Tensor]:
        unit_states = model.unit_states(batch["units"], batch["unit_keep"])
        wanted = batch["frames"].float().clamp(min=0.5).log()
        keep, unit_keep = batch["frame_keep"][..., 0], batch["unit_keep"][..., 0].repeat_interleave(PIECES, dim=1)
        duration = ((model.log_frames(unit_states).float() - wanted).abs() * unit_keep).sum() / unit_keep.sum()
        shared = model.spread_inputs(unit_states)
        shared = shared.gather(1, batch["owner"][..., None].expand(-1, -1, shared.shape[-1]))
        found = model.params(model.frame_inputs(shared, batch["positions"]), batch["frame_keep"]).float()
        truth = batch["targets"]
        voiced = truth[..., N_MCEP + 1] * keep
        heard = keep * torch.where(truth[..., 0] > silence, 1.0, 0.3)
        mcep = ((found - truth)[..., :N_MCEP].abs() / weight).mean(-1)
        pitch = ((found - truth)[..., N_MCEP] / model.scale[N_MCEP]).abs()
        logits = nn.functional.binary_cross_entropy_with_logits(
            found[..., N_MCEP + 1 :], truth[..., N_MCEP + 1 :], reduction="none"
        )
        return {
            "mcep": (mcep * heard).sum() / heard.sum(),
            "pitch": (pitch * voiced).sum() / voiced.sum(),
            "voiced": (logits[..., 0] * keep).sum() / keep.sum(),
            "strengths": (logits[..., 1:].mean(-1) * keep).sum() / keep.sum(),
            "duration": duration,
        }

    def loss_of(batch: Batch) -> Tensor:
        parts = losses(batch)
        return parts["mcep"] + 0.3 * parts["pitch"] + 0.3 * parts["voiced"] + parts["strengths"] + parts["duration"]

    def report() -> str:
        with torch.no_grad():
            batch = {key: value.to(options.device) for key, value in batch_of(range(40)).items()}
            return "held-out " + ", ".join(f"{key} {float(value):.4f}" for key, value in losses(batch).items())

    train(model, "vocoder", options, [len(e.params) for e in examples], batch_of, loss_of, report, size=4000, rate=2e-3)


def predicted_units(options: argparse.Namespace, examples: Sequence[Example]) -> list[np.ndarray] | None:
    """What the trained decoder says for each utterance, from a cache beside its weights."""
    weights, cache = checkpoint(options, "decoder"), options.out / f"predicted-{options.speaker}.npz"
    if not weights.is_file():
        print("no decoder yet: the vocoder learns from the true flavours of its units")
        return None
    found: list[np.ndarray] = []
    if cache.exists() and cache.stat().st_mtime >= weights.stat().st_mtime:
        with np.load(cache) as stored:
            found = np.split(stored["units"], np.cumsum(stored["lengths"])[:-1])
        if [len(u) for u in found] != [len(e.units) for e in examples[: len(found)]]:
            found = []  # of other lessons
    if len(found) < len(examples):
        table = np.load(options.out / f"units-{options.speaker}.npz")
        model = new_decoder(len(table["owners"])).to(options.device).eval()
        model.load_state_dict(torch.load(weights, weights_only=True)["model"])
        with torch.inference_mode():
            for e in examples[len(found) :]:
                logits = model(torch.from_numpy(states(e.phones))[None].to(options.device))[0, :, : model.n_units]
                found.append(logits.argmax(-1).cpu().numpy())
        np.savez(cache, units=np.concatenate(found), lengths=[len(f) for f in found])
    return found[: len(examples)]


# --------------------------------------------------------------------------------------------------------- training
def train(
    model: nn.Module,
    name: str,
    options: argparse.Namespace,
    lengths: Sequence[int],
    batch_of: Callable[[Sequence[int]], Batch],
    loss_of: Callable[[Batch], Tensor],
    report: Callable[[], str],
    *,
    size: int,
    rate: float,
) -> None:
    """AdamW in bfloat16 on batches of `size` padded positions until the time is up."""
    path, device = checkpoint(options, name), options.device
    model.to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    clock = time.process_time if str(device) == "cpu" and not options.until else time.time
    started, spent = clock(), 0.0
    end = deadline(options) if options.until else started + 60 * options.minutes
    if path.is_file():
        stored = torch.load(path, weights_only=True, map_location=device)
        model.load_state_dict(stored["model"])
        optimiser.load_state_dict(stored["optimiser"])
        spent = 0.0 if stored["finished"] else stored["spent"]
        print(f"{name}: goes on from {path}")
    elif options.like:
        shared = torch.load(options.out / f"{name}-{options.like}.pt", weights_only=True, map_location=device)["model"]
        own = model.state_dict()
        own.update({key: alike(value, own[key]) for key, value in shared.items() if not key.startswith(_OF_UNITS)})
        model.load_state_dict(own)
        print(f"{name}: starts from {options.like}'s, but for what belongs to its units")
    rank, world = join_group()
    batches = endless_batches(lengths, size // world, seed=int(time.time()) + rank)
    average, step, saved = 0.0, 0, clock()
    budget = max(1.0, end - started + spent)
    while not all_agree(clock() >= end):
        done = (clock() - started + spent) / budget
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, done / 0.03) * max(0.0, 1.0 - done) + 1e-6
        batch = {key: value.to(device) for key, value in batch_of(next(batches)).items()}
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            loss = loss_of(batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        share_gradients(model)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        average += (float(loss.detach()) - average) / min(step + 1, 50)
        step += 1
        if step % 100 == 0:
            print(
                f"{name} {100 * done:.0f} %: step {step}, loss {average:.4f}, {time.process_time():.0f} CPU-s",
                flush=True,
            )
        if rank == 0 and clock() - saved > 120:
            save(path, model, optimiser, spent + clock() - started, finished=False)
            print(report(), flush=True)
            saved = clock()
    if rank:
        return
    save(path, model, optimiser, spent + clock() - started, finished=True)
    print(f"{name}: {step} steps, {time.process_time():.0f} CPU-s; {report()}", flush=True)


def alike(given: Tensor, wanted: Tensor) -> Tensor:
    """Weights of one piece per unit, repeated for a network with several."""
    return given.repeat(len(wanted) // len(given), *[1] * (given.dim() - 1))


def join_group() -> tuple[int, int]:
    """(rank, processes): several under torchrun, else one. A batch is divided among them, gradients are averaged."""
    if not dist.is_torchelastic_launched() and "WORLD_SIZE" not in os.environ:
        return 0, 1
    if not dist.is_initialized():
        dist.init_process_group("gloo")
    return dist.get_rank(), dist.get_world_size()


def share_gradients(model: nn.Module) -> None:
    if not dist.is_initialized():
        return
    used = [p for p in model.parameters() if p.requires_grad]
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in used])
    dist.all_reduce(flat)
    for p, gradient in zip(used, (flat / dist.get_world_size()).split([p.numel() for p in used]), strict=True):
        p.grad = gradient.view_as(p)


def all_agree(stop: bool) -> bool:
    """Whether any process wants to stop."""
    if not dist.is_initialized():
        return stop
    flag = torch.tensor([float(stop)])
    dist.all_reduce(flag)
    return bool(flag)


def endless_batches(lengths: Sequence[int], size: int, *, seed: int) -> Iterator[list[int]]:
    """Batches of like length with at most `size` padded positions, in random order, without the held-out utterances."""
    chance = random.Random(seed)
    while True:
        order = sorted(range(HELD_OUT, len(lengths)), key=lambda i: lengths[i] * chance.uniform(0.9, 1.1))
        batches: list[list[int]] = [[]]
        for index in order:
            if batches[-1] and (len(batches[-1]) + 1) * lengths[index] > size:
                batches.append([])
            batches[-1].append(index)
        chance.shuffle(batches)
        yield from batches


def padded(rows: Sequence[np.ndarray], *, fill: float = 0) -> Tensor:
    out = np.full((len(rows), max(map(len, rows)), *rows[0].shape[1:]), fill, rows[0].dtype)
    for row, target in zip(rows, out, strict=True):
        target[: len(row)] = row
    return torch.from_numpy(out)


def save(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, spent: float, *, finished: bool) -> None:
    temporary = path.with_suffix(".tmp")
    state: dict[str, Any] = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
    torch.save({**state, "spent": spent, "finished": finished}, temporary)
    temporary.replace(path)


def checkpoint(options: argparse.Namespace, name: str) -> Path:
    return options.out / f"{name}-{options.speaker}.pt"


def deadline(options: argparse.Namespace) -> float:
    now = datetime.datetime.now()
    hour, minute = map(int, options.until.split(":"))
    end = now.replace(hour=hour, minute=minute, second=0)
    return (end if end > now else end + datetime.timedelta(days=1)).timestamp()


# ------------------------------------------------------------------------------------------- dictionary and export
def step_g2p(options: argparse.Namespace) -> None:
    """Dictionary, and two models of words outside it, which never see every 40th word: n-grams of letters and phones
    for the voice, and quick rules for a recogniser that has thousands of words to say."""
    entries = build_lexicon()
    Lexicon(entries).save(options.out / LEXICON)
    held = {word for index, word in enumerate(sorted(entries)) if index % 40 == 0 and word.isalpha()}
    tried = [(word, entries[word]) for word in sorted(held)]
    known = {word: phones for word, phones in entries.items() if word not in held}
    train_letters(known).save(options.out / LETTERS)
    LetterRules.learn(known).save(options.out / RULES)
    results = {}
    for name, guess in (
        ("n-grams", LettersToSound.load(options.out / LETTERS)),
        ("rules", LetterRules.load(options.out / RULES)),
    ):
        results[name] = found = score(guess, tried)
        print(f"{name}: {len(held)} held-out words of {len(entries)}: {found}", flush=True)
    (options.out / "g2p.json").write_text(json.dumps({name: asdict(found) for name, found in results.items()}))


def step_export(options: argparse.Namespace) -> None:
    """What `NeuralVoice.load` reads: the speaker's folder, and beside it what all speakers share; then samples."""
    from safetensors.torch import save_file

    owners = np.load(options.out / f"units-{options.speaker}.npz")["owners"]
    decoder, vocoder = new_decoder(len(owners)), new_vocoder(len(owners))
    weights: dict[str, Tensor] = {}
    for name, model in (("decoder", decoder), ("vocoder", vocoder)):
        model.load_state_dict(torch.load(checkpoint(options, name), weights_only=True, map_location="cpu")["model"])
        weights |= {f"{name}.{key}": value.half().contiguous() for key, value in model.state_dict().items()}
    filters = FliteTeacher(options.speaker, sound=False).vocoder_constants["filters"]
    weights["excitation_filters"] = torch.from_numpy(filters).float()
    folder = options.to / options.speaker
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / WEIGHTS)
    config = {"speaker": options.speaker, **sizes_of(decoder, vocoder), "half_phone_of_unit": owners.tolist()}
    (folder / CONFIG).write_text(json.dumps(config))
    for name in (LEXICON, LETTERS, RULES):
        shutil.copy(options.out / name, options.to / name)
    write_samples(folder, options.speaker)
    total = sum(path.stat().st_size for path in options.to.rglob("*") if path.is_file())
    print(f"{options.to}: {total / 1e6:.1f} MB")


def step_data(options: argparse.Namespace) -> None:
    if not options.squad.is_file():
        raise UsageError(f"{options.squad} is not there", remedy="Give SQuAD's train file with --squad PATH")
    make_lessons(options.out, options.squad, sentences=options.sentences, speaker=options.speaker)


STEPS = {
    "data": step_data,
    "units": step_units,
    "decoder": step_decoder,
    "vocoder": step_vocoder,
    "g2p": step_g2p,
    "export": step_export,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m omni.train.voice", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--out", type=Path, default=Path("runs/voice"), help="folder of this run (default: runs/voice)")
    parser.add_argument("--to", type=Path, default=Path("models/voice"), help="for the step export: the model folder")
    parser.add_argument("--squad", type=Path, default=Path("../shared/data/squad/train-v1.0.json"))
    parser.add_argument("--speaker", default="rms", help="flite's clustergen voice: rms or slt (default: rms)")
    parser.add_argument("--like", default="", metavar="SPEAKER", help="start a new speaker's networks from this one's")
    parser.add_argument("--sentences", type=int, default=6000, help="for the step data (default: 6000, about 10 h)")
    parser.add_argument("--units", type=int, default=N_UNITS, help=f"size of the unit vocabulary (default: {N_UNITS})")
    parser.add_argument("--minutes", type=float, default=15.0, help="of training, CPU time on a CPU (default: 15)")
    parser.add_argument("--until", default="", help="train until HH:MM instead")
    parser.add_argument("--device", default="cpu", help="auto, cpu or cuda (default: cpu)")
    options = parser.parse_args()
    options.device = resolve_device(options.device)
    seed_everything(0)
    torch.set_num_threads(1 if options.device == "cpu" else torch.get_num_threads())
    STEPS[options.step](options)
    return 0


if __name__ == "__main__":
    raise SystemExit(cli_main(main))
