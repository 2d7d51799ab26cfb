"""pocketsphinx's binary trigram file as numpy arrays, and back, so that the general model can be mixed with another.

    model = read_trie(path)                     # 72,547 words, 2.05 M bigrams, 1.67 M trigrams in 0.4 s
    write_trie(other_path, model)               # pocketsphinx.NGramModel.readfile(other_path) takes it

The file ("Trie Language Model", pocketsphinx's src/lm/ngram_model_trie.c): counts; three tables of 65,536 floats that
16-bit codes point into; one record (probability, back-off weight, first bigram) per word; bit-packed bigrams and
trigrams; the words. N-grams stand in *reversed* order: below a word its predecessors, below those theirs,
each sorted by word id. Numbers are logarithms to the base 1.0001; here they are natural logarithms.
"""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import ModelError

MAGIC = b"Trie Language Model"
_CODES = 1 << 16
NATS = math.log(1.0001)  # one unit of the file, in nats
UNIGRAM = np.dtype([("prob", "<f4"), ("backoff", "<f4"), ("next", "<u4")])


@dataclass(frozen=True)
class TrigramModel:
    """A back-off trigram model; logarithms are natural.

    bigrams[i] = (predecessor, word), sorted by (word, predecessor);
    trigrams[i] = (index of its bigram "b c" in `bigrams`, first word a), sorted.
    """

    words: list[str]
    unigram_logp: np.ndarray  # (V,) float32
    unigram_backoff: np.ndarray  # (V,) float32
    bigram_words: np.ndarray  # (B,) int64, the word that is predicted
    bigram_history: np.ndarray  # (B,) int64, its predecessor
    bigram_logp: np.ndarray  # (B,) float32
    bigram_backoff: np.ndarray  # (B,) float32, of the bigram as a history
    trigram_bigram: np.ndarray  # (T,) int64
    trigram_first: np.ndarray  # (T,) int64
    trigram_logp: np.ndarray  # (T,) float32


def read_trie(path: str | os.PathLike[str]) -> TrigramModel:
    """Raises ModelError for a file that is no trigram trie with 16-bit quantisation."""
    data = Path(path).read_bytes()
    order = data[len(MAGIC)] if data.startswith(MAGIC) else 0
    position = len(MAGIC) + 1
    if order != 3 or struct.unpack_from("<I", data, position + 12)[0] != 1:
        raise ModelError(
            f"{path} is no binary trigram model of pocketsphinx", remedy="Reinstall it: `pip install pocketsphinx`"
        )
    vocabulary, bigrams, trigrams = struct.unpack_from("<3I", data, position)
    position += 16
    tables = np.frombuffer(data, "<f4", 3 * _CODES, position).reshape(3, _CODES)
    position += tables.nbytes
    unigrams = np.frombuffer(data, UNIGRAM, vocabulary + 1, position)
    position += unigrams.nbytes
    word_bits, next_bits = vocabulary.bit_length(), trigrams.bit_length()
    middle_bits, longest_bits = word_bits + 32 + next_bits, word_bits + 16
    packed = np.frombuffer(data, np.uint8, -1, position)
    used = int(unigrams["next"][-1])  # a few of the announced records may stand unused at the end
    history, backoff_code, prob_code, following = _unpack(packed, used + 1, [word_bits, 16, 16, next_bits])
    position += packed_size(bigrams + 1, middle_bits)
    packed = np.frombuffer(data, np.uint8, -1, position)
    first, last_code = _unpack(packed, int(following[-1]), [word_bits, 16])
    position += packed_size(trigrams + 1, longest_bits)
    strings = data[position + 4 :].split(b"\0")[:vocabulary]
    return TrigramModel(
        [word.decode() for word in strings],
        unigrams["prob"][:-1] * np.float32(NATS),
        unigrams["backoff"][:-1] * np.float32(NATS),
        _owners(unigrams["next"]),
        history[:-1],
        tables[0][prob_code[:-1]] * np.float32(NATS),
        tables[1][backoff_code[:-1]] * np.float32(NATS),
        _owners(following),
        first,
        tables[2][last_code] * np.float32(NATS),
    )


def _owners(first_child: np.ndarray) -> np.ndarray:
    """Start offsets (n + 1,) of runs -> the owner of each element."""
    return np.repeat(np.arange(len(first_child) - 1), np.diff(first_child.astype(np.int64)).astype(np.int64))


def packed_size(records: int, bits: int) -> int:
    return (records * bits + 7) // 8 + 8  # eight spare bytes: the reader fetches whole words


def _unpack(packed: np.ndarray, records: int, widths: list[int]) -> list[np.ndarray]:
    """Fields of bit-packed little-endian records, each (records,) int64."""
    padded = np.concatenate([packed[: packed_size(records, sum(widths))], np.zeros(8, np.uint8)])
    words = np.ndarray((len(padded) - 7,), "<u8", padded, strides=(1,))  # the eight bytes from each byte on
    fields, offset = [], 0
    for width in widths:
        bits = np.arange(records, dtype=np.int64) * sum(widths) + offset
        field = (words[bits >> 3] >> (bits & 7).astype(np.uint64)) & np.uint64((1 << width) - 1)
        fields.append(field.astype(np.int64))
        offset += width
    return fields


def write_trie(path: str | os.PathLike[str], model: TrigramModel) -> None:
    """Write a model that pocketsphinx reads; probabilities and back-offs are rounded to 0.0005 nats."""
    vocabulary, bigrams, trigrams = len(model.words), len(model.bigram_logp), len(model.trigram_logp)
    unigrams = np.zeros(vocabulary + 1, UNIGRAM)
    unigrams["prob"][:-1] = model.unigram_logp / NATS
    unigrams["backoff"][:-1] = model.unigram_backoff / NATS
    unigrams["next"] = np.searchsorted(model.bigram_words, np.arange(vocabulary + 1))
    tables, codes = zip(
        *(_quantise(values) for values in (model.bigram_logp, model.bigram_backoff, model.trigram_logp)), strict=True
    )
    word_bits, next_bits = vocabulary.bit_length(), trigrams.bit_length()
    following = np.searchsorted(model.trigram_bigram, np.arange(bigrams + 1))
    bigram_fields = [(model.bigram_history, word_bits), (codes[1], 16), (codes[0], 16), (following, next_bits)]
    strings = b"".join(word.encode() + b"\0" for word in model.words)
    with open(path, "wb") as file:
        file.write(MAGIC + struct.pack("<B4I", 3, vocabulary, bigrams, trigrams, 1))
        for part in (*tables, unigrams):
            file.write(part.tobytes())
        file.write(_pack(bigram_fields, bigrams + 1))
        file.write(_pack([(model.trigram_first, word_bits), (codes[2], 16)], trigrams + 1))
        file.write(struct.pack("<I", len(strings)) + strings)


def _quantise(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Evenly spaced codes: (table in units of the file, (n,) int64 codes)."""
    low, high = (float(logs.min()), float(logs.max())) if len(logs) else (0.0, 0.0)
    table = np.linspace(low, high, _CODES)
    step = (high - low) / (_CODES - 1) or 1.0
    return (table / NATS).astype("<f4"), np.rint((logs - low) / step).astype(np.int64)


def _pack(fields: list[tuple[np.ndarray, int]], records: int) -> bytes:
    """The inverse of `_unpack`; records that a field does not reach are zero."""
    total = sum(width for _, width in fields)
    packed = np.zeros(packed_size(records, total), dtype=np.uint8)
    offset = 0
    for values, width in fields:
        bits = np.arange(len(values), dtype=np.int64) * total + offset
        shifted = values << (bits & 7)
        for byte in range((width + 14) // 8):
            # one field's records lie at least two bytes apart, so no byte is addressed twice in one step
            packed[(bits >> 3) + byte] |= ((shifted >> (8 * byte)) & 0xFF).astype(np.uint8)
        offset += width
    return packed.tobytes()
