"""Pronunciations of unknown words from their letters: rules of growing context, learned from the dictionary.

    rules = LetterRules.learn(entries)         # entries: word -> phones
    rules("lectern")                           # ("l", "eh1", "k", "t", "er", "n")

Letters and phones are aligned by expectation maximisation (each letter stands for none to two phones, or three at once
for an initialism); then, context by context from narrow to wide, a rule is kept where it says something else than the
narrower ones (Default & Refine, Davel and Barnard 2008). Speaking a word looks up the widest context that has a rule.
"""

from __future__ import annotations

import gzip
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from omni.voice.lexicon import Pronunciation

# letters to the left and right of the one spoken, narrow to wide
_CONTEXTS = ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 3), (3, 4), (4, 4))
_TRUSTED = 4  # letters around: a context that wide is believed from one word on
_MAX_PHONES = 2
_EDGE = "#" * 4


class LetterRules:
    def __init__(self, rules: dict[str, str]) -> None:
        """Rules: "left|letter|right" -> phones joined by spaces ("" is silent)."""
        self._rules = rules

    def __len__(self) -> int:
        return len(self._rules)

    def __call__(self, word: str) -> Pronunciation:
        """Phones of a word of a to z."""
        phones: list[str] = []
        framed = _EDGE + word + _EDGE
        for at in range(4, 4 + len(word)):
            for left, right in reversed(_CONTEXTS):
                said = self._rules.get(_key(framed, at, left, right))
                if said is not None:
                    phones += said.split()
                    break
        return _one_stress(phones)

    @classmethod
    def learn(cls, entries: Mapping[str, Pronunciation], *, rounds: int = 4, sample: int = 12_000) -> LetterRules:
        words = [word for word in entries if word.isalpha()]
        scores = _fit_alignment({word: entries[word] for word in words[:: max(1, len(words) // sample)]}, rounds)
        aligned = [(word, _align(word, entries[word], scores)) for word in words]
        rules: dict[str, str] = {}
        # what the rules so far say for each letter of each word
        said = [[""] * len(word) for word in words]
        for level, (left, right) in enumerate(_CONTEXTS):
            counts: dict[str, Counter[str]] = defaultdict(Counter)
            default: dict[str, str] = {}
            for (word, parts), guess in zip(aligned, said, strict=True):
                if parts is None:
                    continue
                framed = _EDGE + word + _EDGE
                for index, part in enumerate(parts):
                    key = _key(framed, index + 4, left, right)
                    counts[key][part] += 1
                    default[key] = guess[index]
            new = {}
            for key, seen in counts.items():
                best, count = seen.most_common(1)[0]
                # one word alone makes a rule only where the context is wide; what narrower ones say is not repeated
                enough = 1 if left + right >= _TRUSTED else 2
                if level == 0 or (best != default[key] and count > seen[default[key]] and count >= enough):
                    new[key] = best
            for (word, _), guess in zip(aligned, said, strict=True):
                framed = _EDGE + word + _EDGE
                for index in range(len(word)):
                    better = new.get(_key(framed, index + 4, left, right))
                    if better is not None:
                        guess[index] = better
            rules.update(new)
        return cls(rules)

    def save(self, path: Path) -> None:
        lines = "".join(f"{key} {said}\n" for key, said in sorted(self._rules.items()))
        path.write_bytes(gzip.compress(lines.encode("ascii"), mtime=0))

    @classmethod
    def load(cls, path: Path) -> LetterRules:
        rules = {}
        with gzip.open(path, "rt", encoding="ascii") as file:
            for line in file:
                key, _, said = line.rstrip("\n").partition(" ")
                rules[key] = said
        return cls(rules)


def _key(framed: str, at: int, left: int, right: int) -> str:
    return f"{framed[at - left : at]}|{framed[at]}|{framed[at + 1 : at + 1 + right]}"


def _one_stress(phones: list[str]) -> Pronunciation:
    """Letters choose their stress alone: the first stress stays, and where there is none the first vowel gets it."""
    seen, out = False, []
    for phone in phones:
        if phone.endswith("1"):
            phone, seen = (phone[:-1], seen) if seen else (phone, True)
        out.append(phone)
    if not seen:
        for index, phone in enumerate(out):
            if phone[0] in "aeiou" and phone != "ax":
                out[index] += "1"
                break
    return tuple(out)


def _fit_alignment(entries: Mapping[str, Pronunciation], rounds: int) -> dict[tuple[str, str], float]:
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
    unseen = -12.0
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
                score = best[i] + scores.get((letter, chunks[i][k]), unseen - 2 * abs(k - 1))
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


def word_accuracy(rules: LetterRules, entries: Iterable[tuple[str, Pronunciation]]) -> tuple[float, float]:
    """Share of words and (roughly) of phones said as the dictionary says them, stress aside."""
    right = words = phone_right = phone_count = 0
    for word, phones in entries:
        found, truth = ([p.rstrip("1") for p in part] for part in (rules(word), phones))
        right += found == truth
        words += 1
        phone_right += sum((Counter(found) & Counter(truth)).values())
        phone_count += len(truth)
    return right / max(words, 1), phone_right / max(phone_count, 1)
