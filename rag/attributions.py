"""Who holds an office, as signatures and lists say it: "Hale & Moss, Auditors", "Joan Petrie (chair)", "Chair: Petrie".

A reader of sentences takes "We have audited the statements of Acme plc" for the answer to "Which auditor signed?": the
one name in a sentence. That the name under it is the auditor's says its apposition.

>>> [attributes("auditor", t) for t in ("Hale & Moss LLP, Statutory Auditor, Leeds", "We are the auditor of Acme.")]
[True, False]
"""

from __future__ import annotations

import re
from collections.abc import Sequence

LONGEST = 140  # characters: a signature or an entry of a list, no sentence
_ASKED = re.compile(
    r"^\W*(?:(?:who|what) (?:is|was|are|were|acts? as|acted as|serves? as|served as|signed as)"
    r"(?: the| its| their| an?)? (?:name of the )?|(?:which|what) )"
    r"(?P<office>[a-z][a-z-]*(?: [a-z][a-z-]*){0,3}?)"
    r"(?= (?:of|at|for|in|under|according|who|that|is|was|has|had|signed|audited|present|on|when)\b|\W*$)",
    re.IGNORECASE,
)
_HOLDER = re.compile(  # nouns for those who do something
    r"(?:\w{2,}(?:or|er|ist|ian|ant|man|woman|person|ary|counsel)|chair|head|president|agent|dean|judge|chief)$", re.I
)
_NAME = r"(?:[A-Z][\w.'’-]*|&|of|de|van|von)(?: (?:[A-Z][\w.'’-]*|&|of|de|van|von)){0,6}"


def office_asked(question: str) -> str:
    """The office whose holder is asked for, "" if none: "senior auditor".

    >>> [office_asked(q) for q in ("Which auditor signed the report?", "Who was the company secretary?", "Who left?")]
    ['auditor', 'company secretary', '']
    """
    found = _ASKED.match(question)
    office = found["office"].lower() if found else ""
    return office if office and _HOLDER.match(office.split()[-1]) else ""


def attributes(office: str, text: str) -> bool:
    """Whether a text, short as a signature, sets a name beside the office."""
    text = " ".join(text.split())
    if len(text) > LONGEST:
        return False
    title = rf"(?:[\w'’-]+ ){{0,3}}{re.escape(office)}s?"
    return any(
        re.search(pattern, text)
        for pattern in (
            rf"(?:^|[.;,] ){_NAME}(?: [\w&]+)?, (?i:{title})(?=$|[,.;)])",
            rf"{_NAME} \((?i:{title})\)",
            rf"(?:^|[.;] )(?i:{title}): ?{_NAME}",
        )
    )


def unattributed(question: str, sentences: Sequence[str]) -> list[bool]:
    """For each sentence: does it set no name beside the office asked for, while another one does?"""
    office = office_asked(question)
    if not office:
        return [False] * len(sentences)
    told = [attributes(office, sentence) for sentence in sentences]
    return [any(told) and not this for this in told]
