"""The one lexical tokeniser: the same terms for what is indexed and for what is asked.

>>> index_terms("Form 10-K: net sales of $34,229 in 2022")
['form', '10-k', 'net', 'sale', 'of', '34229', 'in', '2022']
>>> query_terms("What were the net sales in FY2022?")
['net', 'sale', 'fy2022', '2022']

Words are lower-cased, stripped of accents and stemmed (Snowball English); numbers stay whole without thousands
separators; Chinese, Japanese and Korean runs become overlapping bigrams. Terms hold no whitespace and no double quote,
so a store may join them by spaces. Stemming of other European languages is *not* covered: such words are matched as
written, up to accents.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from functools import lru_cache
from importlib.metadata import version

# Change the first number whenever the terms of any text change: stored indexes are then rebuilt.
TOKENIZER_VERSION = f"1/pystemmer-{version('PyStemmer')}"

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_LETTER = rf"(?:(?![{_CJK}])[^\W\d_])"
_ALNUM = rf"(?:(?![{_CJK}])[^\W_])"
_TERM = re.compile(
    rf"(?P<cjk>[{_CJK}]+)"
    rf"|(?P<acronym>{_LETTER}(?:\.{_LETTER})+(?![^\W_]))"  # u.s, e.g
    rf"|(?P<number>\d+(?:[.,]\d+)*(?!{_ALNUM})(?!-{_LETTER}))"  # 3.5, 34,229; not the 10 of 10-k
    rf"|(?P<word>{_ALNUM}+(?:['&]{_LETTER}+)*(?:-{_ALNUM}+(?:['&]{_LETTER}+)*)*)"  # company's, r&d, long-term, 10-k
)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_POSSESSIVE = re.compile(r"(?<=[^\W_])'s(?![^\W_])")
_DIGIT = re.compile(r"\d")
_YEAR_INSIDE = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "‐": "-", "‑": "-", "\u00ad": None})

STOP_WORDS = frozenset(
    [
        "a",
        "about",
        "above",
        "after",
        "again",
        "against",
        "all",
        "also",
        "am",
        "an",
        "and",
        "any",
        "are",
        "aren't",
        "as",
        "at",
        "be",
        "because",
        "been",
        "before",
        "being",
        "below",
        "between",
        "both",
        "but",
        "by",
        "can",
        "can't",
        "cannot",
        "could",
        "couldn't",
        "did",
        "didn't",
        "do",
        "does",
        "doesn't",
        "doing",
        "don't",
        "down",
        "during",
        "each",
        "either",
        "few",
        "for",
        "from",
        "further",
        "had",
        "hadn't",
        "has",
        "hasn't",
        "have",
        "haven't",
        "having",
        "he",
        "her",
        "here",
        "hers",
        "herself",
        "him",
        "himself",
        "his",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "isn't",
        "it",
        "its",
        "itself",
        "just",
        "let",
        "may",
        "me",
        "might",
        "more",
        "most",
        "must",
        "my",
        "myself",
        "no",
        "nor",
        "not",
        "of",
        "off",
        "on",
        "once",
        "only",
        "or",
        "other",
        "our",
        "ours",
        "ourselves",
        "out",
        "over",
        "own",
        "please",
        "same",
        "shall",
        "shan't",
        "she",
        "should",
        "shouldn't",
        "so",
        "some",
        "such",
        "tell",
        "than",
        "that",
        "the",
        "their",
        "theirs",
        "them",
        "themselves",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "through",
        "to",
        "too",
        "under",
        "until",
        "up",
        "upon",
        "us",
        "very",
        "was",
        "wasn't",
        "we",
        "were",
        "weren't",
        "what",
        "when",
        "where",
        "whether",
        "which",
        "while",
        "who",
        "whom",
        "whose",
        "why",
        "will",
        "with",
        "won't",
        "would",
        "wouldn't",
        "you",
        "your",
        "yours",
        "yourself",
        "yourselves",
    ]
)
# Question words of Chinese: as bigrams they would be rare and therefore weigh most, though they carry no subject.
_CJK_QUESTION = re.compile(
    "为什么|为什麼|什么|什麼|哪些|哪个|哪個|哪里|哪裡|哪一|多少|怎么|怎麼|如何|是否|请问|請問|[吗嗎呢的是了]"
)

_local = threading.local()


def index_terms(text: str) -> list[str]:
    """All terms of a text in reading order, stop words included (their lengths count in BM25)."""
    return [term for _, term in _terms(_normalise(text))]


def query_terms(question: str) -> list[str]:
    """The terms to search a question by: no stop words (unless nothing else is left), each once, in order."""
    text = _normalise(question)
    pairs = _terms(_CJK_QUESTION.sub(" ", text))
    kept = [term for surface, term in pairs if surface not in STOP_WORDS]
    return list(dict.fromkeys(kept or [term for _, term in _terms(text)]))


def _normalise(text: str) -> str:
    text = _POSSESSIVE.sub("", text.lower().translate(_APOSTROPHES))
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKD", text)
    # U+3099/309A voice a kana: part of the letter, not an accent. NFC puts Hangul and kana together again.
    text = "".join(c for c in text if not unicodedata.combining(c) or c in "\u3099\u309a")
    return unicodedata.normalize("NFC", text).lower()


def _terms(text: str) -> list[tuple[str, str]]:
    """(surface, term) pairs of a normalised text."""
    pairs: list[tuple[str, str]] = []
    for match in _TERM.finditer(text):
        kind, token = match.lastgroup, match.group()
        if kind == "word":
            pairs.extend(_word_terms(token))
        elif kind == "number":
            number = _THOUSANDS.sub("", token)
            pairs.append((number, number))
        elif kind == "acronym" or len(token) == 1:
            pairs.append((token, token))
        else:
            pairs.extend((token[i : i + 2],) * 2 for i in range(len(token) - 1))
    return pairs


@lru_cache(maxsize=65536)
def _word_terms(word: str) -> tuple[tuple[str, str], ...]:
    if "-" not in word:
        if not _DIGIT.search(word):
            return ((word, _stem(word)),)
        year = _YEAR_INSIDE.search(word)  # a question about FY2022 must meet "fiscal 2022"
        return ((word, word), (year.group(), year.group())) if year else ((word, word),)
    parts = word.split("-")
    if not _DIGIT.search(word) or all(part.isdigit() for part in parts):  # long-term, 2019-2021
        return tuple(pair for part in parts for pair in _word_terms(part))
    # 10-k, covid-19: whole, and what can stand alone
    return ((word, word), *(pair for part in parts if len(part) > 2 for pair in _word_terms(part)))


def _stem(word: str) -> str:
    stemmer = getattr(_local, "stemmer", None)
    if stemmer is None:  # one per thread: Stemmer objects are not thread-safe
        import Stemmer

        stemmer = _local.stemmer = Stemmer.Stemmer("english")
    return stemmer.stemWord(word)
