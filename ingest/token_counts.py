"""How many tokens a text has, without cutting it up each time: words come again and again.

A chunker asks for every sentence of a book. WordPiece cuts word by word (Wu et al., 2016; BERT's pre-tokeniser splits
at white space and around punctuation), so in plain ASCII text a sentence has as many tokens as its words together, and
each word needs to be cut only once. Texts in other scripts, and tokenisers that look across words, go to the tokeniser
whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_WORD = re.compile(r"[A-Za-z0-9]+|[^\sA-Za-z0-9]")
_DROPPED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # BERT's normaliser deletes them: what is around joins up
_LONGEST_KEPT = 24  # characters; longer "words" are hashes and keys, which do not come again


def token_counter(tokenizer: Tokenizer) -> Callable[[str], int]:
    """`len(tokenizer.encode(text, add_special_tokens=False).ids)` as a function of the text."""

    def whole(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    if not _cuts_word_by_word(tokenizer):
        return whole
    special = re.compile("|".join(re.escape(token) for token in _added(tokenizer)) or r"(?!)")
    known = lru_cache(maxsize=1 << 16)(whole)

    def by_words(text: str) -> int:
        if not text.isascii() or _DROPPED.search(text) or special.search(text):
            return whole(text)
        return sum([known(word) if len(word) <= _LONGEST_KEPT else whole(word) for word in _WORD.findall(text)])

    return by_words


def _cuts_word_by_word(tokenizer: Tokenizer) -> bool:
    told = json.loads(tokenizer.to_str())
    kinds = [(told.get(part) or {}).get("type") for part in ("model", "pre_tokenizer", "normalizer")]
    return kinds == ["WordPiece", "BertPreTokenizer", "BertNormalizer"]


def _added(tokenizer: Tokenizer) -> list[str]:
    """ "[SEP]" and the like, which are one token wherever they stand."""
    return [token.content for token in tokenizer.get_added_tokens_decoder().values()]
