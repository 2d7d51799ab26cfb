"""Train the phone recogniser on Moonshine's encoder: models/recognition/phones.safetensors.

    python -m omni.train.phones ../shared/data/squad/train-v1.0.json --work /tmp/phones \\
        --without models/recognition/development_articles.txt

1. Sentences are spoken (omni/train/phone_data.py: flite, espeak-ng and our own voices) and encoded once, into parts of
   300 utterances in the working folder; whoever stops there and starts again loses the part at hand.
2. Convolutions from the encoder's states to phones are trained with CTC (Graves et al., ICML 2006): 15 minutes a core.
3. Phone error rates: utterances of articles unheard of, by voice. `--leave-out awb` trains without a voice.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.errors import UsageError, cli_main
from omni.arpabet import to_arpabet
from omni.close_terms import PHONES, phone_numbers
from omni.moonshine_model import load_moonshine
from omni.phone_recogniser import BLANK, HIDDEN, STATES, WEIGHTS, WIDTH
from omni.train.phone_data import VOICES, Example, examples, numbers, sentences
from omni.train.sayings import confusions
from omni.voice.lexicon import Lexicon
from omni.voice.neural_voice import LEXICON, SHIPPED

PART = 300  # utterances encoded in one go
HELD_VOICES = ("rms", "slt", "awb", "kal16")
HELD = 200  # utterances to measure with
FRAMES = 6_000  # of a batch, about
LEARNING_RATE, DROPOUT, DECAY, WARM_UP = 2e-3, 0.15, 0.02, 100


class PhoneHead(nn.Module):
    """(batch, frames, STATES) -> (batch, frames, len(PHONES) + 1) logits; omni/phone_recogniser.py in torch."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: np.ndarray, scale: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("scale", torch.tensor(scale))
        self.first = nn.Conv1d(STATES, HIDDEN, WIDTH, padding=WIDTH // 2)
        self.second = nn.Conv1d(HIDDEN, HIDDEN, WIDTH, padding=WIDTH // 2)
        self.out = nn.Linear(HIDDEN, len(PHONES) + 1)

    def forward(self, states: Tensor) -> Tensor:
        x = ((states - self.mean) * self.scale).transpose(1, 2)
        x = F.gelu(self.first(F.dropout(x, DROPOUT, self.training)), approximate="tanh")
        x = x + F.gelu(self.second(F.dropout(x, DROPOUT, self.training)), approximate="tanh")
        return self.out(F.dropout(x, DROPOUT, self.training).transpose(1, 2))


def spoken_parts(texts: Sequence[str], folder: Path, seed: int, voices: Sequence[str] = ()) -> Iterator[Example]:
    """Examples out of a folder, made where they are missing."""
    model = load_moonshine()
    folder.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, len(texts), PART)):
        path = folder / f"{number:03d}.npz"
        if not path.exists():
            found = list(
                examples(texts[start : start + PART], model, seed=seed + number, voices=voices, changed=not voices)
            )
            partial = path.with_suffix(".part.npz")
            np.savez(
                partial,
                voices=[example.voice for example in found],
                states=np.concatenate([example.states for example in found]),
                phones=np.concatenate([example.phones for example in found]),
                frames=[len(example.states) for example in found],
                lengths=[len(example.phones) for example in found],
            )
            partial.rename(path)
            print(f"{path}: {len(found)} utterances", flush=True)
        with np.load(path) as part:
            states = np.split(part["states"], np.cumsum(part["frames"])[:-1])
            phones = np.split(part["phones"], np.cumsum(part["lengths"])[:-1])
            yield from map(Example, part["voices"].tolist(), states, phones)


def train(data: Sequence[Example], epochs: int, seed: int = 0) -> PhoneHead:
    torch.manual_seed(seed)
    rng = random.Random(seed)
    some = np.concatenate([example.states[::7] for example in data[:2000]]).astype(np.float32)
    head = PhoneHead(some.mean(0), 1 / (some.std(0) + 1e-3))
    optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=DECAY)
    batches = _batches(data)
    steps = epochs * len(batches)
    for step in range(steps):
        if step % len(batches) == 0:
            rng.shuffle(batches)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, (step + 1) / WARM_UP) * (1 - step / steps) + 1e-6
        states, frames, phones, lengths = _tensors(batches[step % len(batches)])
        logp = F.log_softmax(head(states), -1).transpose(0, 1)
        loss = F.ctc_loss(logp, phones, frames, lengths, blank=BLANK, zero_infinity=True)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step} of {steps}: {loss.item():.3f} nats a phone", flush=True)
    return head.eval()


@torch.inference_mode()
def phone_error_rate(head: PhoneHead, data: Sequence[Example]) -> float:
    wrong = said = 0
    for example in data:
        best = head(torch.from_numpy(example.states.astype(np.float32))[None])[0].argmax(-1).tolist()
        heard = [phone for at, phone in enumerate(best) if phone != BLANK and (at == 0 or phone != best[at - 1])]
        wrong += edits(heard, example.phones.tolist())
        said += len(example.phones)
    return wrong / max(1, said)


def edits(a: Sequence[int], b: Sequence[int]) -> int:
    """Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        above, row = row, [i]
        for j, y in enumerate(b, start=1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y)))
    return row[-1]


def save(head: PhoneHead, path: Path, notes: dict[str, str]) -> None:
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.half().contiguous() for name, tensor in head.state_dict().items()}
    save_file({**tensors, "sayings": torch.from_numpy(dictionary_confusions()).half()}, path, notes)


def dictionary_confusions(words: int = 4000) -> np.ndarray:
    """(39, 40): how the dictionary says what espeak-ng reads off the letters (omni/train/sayings.py)."""
    lexicon = Lexicon.load(SHIPPED / LEXICON)
    chosen = [word for word in lexicon.words if word.isalpha() and 5 <= len(word) <= 10]
    random.Random(0).shuffle(chosen)
    read = {word: phone_numbers(to_arpabet(word)) for word in chosen[:words]}
    return confusions(read, read.__getitem__, lambda word: numbers(lexicon(word)))


def _batches(data: Sequence[Example]) -> list[list[Example]]:
    """Examples of about one length together."""
    batches: list[list[Example]] = [[]]
    for example in sorted(data, key=lambda example: len(example.states)):
        if (len(batches[-1]) + 1) * len(example.states) > FRAMES:
            batches.append([])
        batches[-1].append(example)
    return [batch for batch in batches if batch]


def _tensors(batch: Sequence[Example]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    states = torch.zeros(len(batch), max(len(example.states) for example in batch), STATES)
    for row, example in enumerate(batch):
        states[row, : len(example.states)] = torch.from_numpy(example.states.astype(np.float32))
    frames = torch.tensor([len(example.states) for example in batch])
    phones = torch.from_numpy(np.concatenate([example.phones for example in batch]).astype(np.int64))
    return states, frames, phones, torch.tensor([len(example.phones) for example in batch])


def run(options: argparse.Namespace) -> None:
    if not options.squad.is_file():
        raise UsageError(f"there is no {options.squad}", remedy="Download SQuAD 1.1's training file and name it")
    without = frozenset(options.without.read_text(encoding="utf-8").split()) if options.without else frozenset()
    learned, held = sentences(options.squad, without)
    data = list(spoken_parts(learned[: options.utterances], options.work / "learned", seed=1000))
    test = list(spoken_parts(held[:HELD], options.work / "held", seed=1, voices=HELD_VOICES))
    left_out = set(filter(None, options.leave_out.split(",")))
    kept = [example for example in data if not left_out & {example.voice, example.voice.partition(":")[2]}]
    hours = sum(len(example.states) for example in kept) / 41.7 / 3600
    print(f"{len(kept)} utterances, {hours:.1f} h")
    torch.set_num_threads(options.threads)
    head = train(kept, options.epochs)
    rates = {v: phone_error_rate(head, [e for e in test if e.voice == v]) for v in HELD_VOICES}
    rates["seen, altered"] = phone_error_rate(head, kept[:200])
    print("phone error rates: " + ", ".join(f"{voice} {100 * rate:.1f} %" for voice, rate in rates.items()))
    save(head, options.out, {"left_out": options.leave_out, "hours": f"{hours:.1f}", "voices": " ".join(VOICES)})
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m omni.train.phones", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("squad", type=Path, help="train-v1.0.json of SQuAD")
    parser.add_argument("--work", type=Path, required=True, help="folder for what was spoken (about 90 MB an hour)")
    parser.add_argument("--without", type=Path, help="file with titles of articles to leave out, one a line")
    parser.add_argument("--leave-out", default="", help="voices not to learn from, separated by commas")
    parser.add_argument("--utterances", type=int, default=2100, help="about 4 s each (default: 2100)")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    run(parser.parse_args())
    return 0


if __name__ == "__main__":
    raise SystemExit(cli_main(main))
