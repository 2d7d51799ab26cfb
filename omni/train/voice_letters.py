"""Training of the network that pronounces unknown words (omni/voice/letters_to_sound.py), on the voice's dictionary.

Letters and phones are aligned by expectation maximisation: each letter stands for none to two phones, the likeliest
split of every word is counted, and the counts make the next round's probabilities.
"""

from __future__ import annotations

import difflib
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from omni.voice.letters_to_sound import LetterConfig, LetterNetwork, LettersToSound, letter_ids
from omni.voice.lexicon import Pronunciation

_MAX_PHONES = 2  # per letter
_SEEN = 3  # rarer chunks are mistakes of the dictionary or of the alignment
_UNSEEN = -12.0  # log probability


def train_letters(
    entries: Mapping[str, Pronunciation],
    *,
    minutes: float,
    device: str = "cpu",
    report: Callable[[LettersToSound], str] = lambda _: "",
    batch: int = 768,
    rate: float = 4e-3,
    seed: int = 0,
    **sizes: int,
) -> LettersToSound:
    """A network trained for `minutes` (of CPU time on a CPU) on words -> phones; `sizes` as in LetterConfig."""
    clock = time.process_time if device == "cpu" else time.monotonic
    aligned = align_all(entries)
    counts = Counter(chunk for _, parts in aligned for chunk in parts)
    chunks = [chunk for chunk, count in counts.most_common() if count >= min(_SEEN, len(aligned) // 100)]
    ids = {chunk: index for index, chunk in enumerate(chunks)}
    words = [
        (letter_ids(word), torch.tensor([ids[p] for p in parts])) for word, parts in aligned if ids.keys() >= set(parts)
    ]
    torch.manual_seed(seed)
    network = LetterNetwork(LetterConfig(n_chunks=len(chunks), **sizes)).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.02)
    started, step, average, spoken_at = clock(), 0, 0.0, clock()
    batches = _batches(words, batch, random.Random(seed))
    while (done := (clock() - started) / (60 * minutes)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, done / 0.03) * (1.0 - done) + 1e-6
        letters, parts, keep = (tensor.to(device) for tensor in next(batches))
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            logits = network(letters, parts.clamp(min=0), keep)
        loss = nn.functional.cross_entropy(
            logits.flatten(0, 1).float(), parts.flatten(), ignore_index=-100, label_smoothing=0.05
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        average += (float(loss.detach()) - average) / min(step + 1, 50)
        step += 1
        if clock() - spoken_at > 60:
            spoken_at = clock()
            epochs = step * batch / len(words)
            text = report(LettersToSound(network, chunks))
            network.train()
            print(f"letters {100 * done:.0f} %: {epochs:.1f} epochs, loss {average:.3f}; {text}", flush=True)
    return LettersToSound(network.cpu(), chunks)


def _batches(words: list[tuple[Tensor, Tensor]], size: int, chance: random.Random):  # type: ignore[no-untyped-def]
    """Endless batches of words of like length: letters, chunks (-100 at padding), keep (B, T, 1)."""
    while True:
        order = sorted(range(len(words)), key=lambda i: len(words[i][0]) + chance.random())
        groups = [order[at : at + size] for at in range(0, len(order), size)]
        chance.shuffle(groups)
        for group in groups:
            letters, parts = zip(*(words[i] for i in group), strict=True)
            padded = nn.utils.rnn.pad_sequence(letters, batch_first=True)
            wanted = nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=-100)
            yield padded, wanted, (wanted >= 0)[..., None].float()


@dataclass(frozen=True)
class LetterScore:
    """Shares over words that were not trained on."""

    words: float  # said phone by phone as the dictionary says them, stress aside
    with_stress: float
    phone_errors: float  # edits (roughly: by matching blocks) per phone of the dictionary

    def __str__(self) -> str:
        return f"words {self.words:.3f}, with stress {self.with_stress:.3f}, phone errors {self.phone_errors:.3f}"


def score(guess: Callable[[str], Pronunciation], entries: Iterable[tuple[str, Pronunciation]]) -> LetterScore:
    right = stressed = words = errors = phones = 0
    for word, truth in entries:
        said = guess(word)
        plain, plain_truth = ([p.rstrip("1") for p in part] for part in (said, truth))
        right += plain == plain_truth
        stressed += said == truth
        words += 1
        phones += len(truth)
        for _, a, b, c, d in difflib.SequenceMatcher(None, plain, plain_truth, autojunk=False).get_opcodes():
            errors += 0 if plain[a:b] == plain_truth[c:d] else max(b - a, d - c)
    return LetterScore(right / max(words, 1), stressed / max(words, 1), errors / max(phones, 1))


# -------------------------------------------------------------------------------------------------------- alignment
def align_all(
    entries: Mapping[str, Pronunciation], *, rounds: int = 4, sample: int = 12_000
) -> list[tuple[str, list[str]]]:
    """Words of a to z with the phones of each letter; those with more phones than letters can hold are left out."""
    words = [word for word in entries if word.isalpha()]
    scores = _fit({word: entries[word] for word in words[:: max(1, len(words) // sample)]}, rounds)
    aligned = ((word, _align(word, entries[word], scores)) for word in words)
    return [(word, parts) for word, parts in aligned if parts is not None]


def _fit(entries: Mapping[str, Pronunciation], rounds: int) -> dict[tuple[str, str], float]:
    """Log probabilities of (letter, phones), by Viterbi training from a flat start."""
    scores: dict[tuple[str, str], float] = {}
    for _ in range(rounds):
        counts: Counter[tuple[str, str]] = Counter()
        for word, phones in entries.items():
            parts = _align(word, phones, scores)
            if parts is not None:
                counts.update(zip(word, parts, strict=True))
        totals: Counter[str] = Counter()
        for (letter, _), count in counts.items():
            totals[letter] += count
        scores = {pair: math.log(count / totals[pair[0]]) for pair, count in counts.items()}
    return scores


def _align(word: str, phones: Pronunciation, scores: Mapping[tuple[str, str], float]) -> list[str] | None:
    """The likeliest split of the phones over the letters, or None if there are more than the letters can hold."""
    n_letters, n_phones = len(word), len(phones)
    if n_phones > _MAX_PHONES * n_letters:
        return None
    chunks = [[" ".join(phones[i : i + k]) for k in range(_MAX_PHONES + 1)] for i in range(n_phones + 1)]
    best = [-math.inf] * (n_phones + 1)
    best[0] = 0.0
    back: list[list[int]] = []
    for index, letter in enumerate(word):
        new, choice = [-math.inf] * (n_phones + 1), [0] * (n_phones + 1)
        left = n_letters - index - 1
        # stay near the diagonal, which is also what a flat start needs
        for i in range(n_phones + 1):
            if best[i] == -math.inf:
                continue
            for k in range(min(_MAX_PHONES, n_phones - i) + 1):
                if n_phones - i - k > _MAX_PHONES * left:
                    continue
                score = best[i] + scores.get((letter, chunks[i][k]), _UNSEEN - 2 * abs(k - 1))
                if not scores:
                    score = best[i] - abs((i + k) / max(n_phones, 1) - (index + 1) / n_letters) - 0.1 * abs(k - 1)
                if score > new[i + k]:
                    new[i + k], choice[i + k] = score, k
        best = new
        back.append(choice)
    if best[n_phones] == -math.inf:
        return None
    parts, at = [], n_phones
    for choice in reversed(back):
        k = choice[at]
        parts.append(chunks[at - k][k])
        at -= k
    return parts[::-1]
