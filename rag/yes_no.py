"""Whether a yes-or-no question finds no answer: "Are drones insured?" of a policy that mentions no drones.

Such questions name what they ask about, and a passage about the like always comes near: the question's words and its
meaning speak for it (rag/support.py). The trained reader gives two opinions, how likely its best sentence answers and
how likely nothing does. It learned neither from questions of this kind, so one of them alone is not believed
(rag/unanswered.py); both together are, where they agree.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from rag.types import Hit

LEAST = -4.0  # sum of the two opinions' log-odds: each of them gives the answer one chance in eight
_YES_NO = re.compile(
    r"^\W*(?:(?:and|but|so|or|then|according to [^,?]+|under [^,?]+|in [^,?]+),? )?"
    r"(?:is|are|was|were|am|do|does|did|has|have|had|can|could|may|might|must|should|shall|will|would)(?:n[’']t)?\s+"
    r"(?!.*\bor\b.*\?)\w",
    re.IGNORECASE,
)


def is_yes_no(question: str) -> bool:
    """Whether yes or no would answer.

    >>> [is_yes_no(q) for q in ("Are drones insured?", "Under the lease, may I keep a cat?", "Is it A or B?")]
    [True, True, False]
    """
    return bool(_YES_NO.match(question))


def neither_likely(question: str, hits: Sequence[Hit]) -> bool:
    """Whether the reader thinks of a yes-or-no question that its best sentence does not answer, and nothing does.

    `hits`: located, the best first.
    """
    nothing = hits[0].no_answer if hits else None
    if nothing is None or not is_yes_no(question):
        return False
    best = max((span.score for hit in hits for span in hit.spans), default=0.0)
    return _log_odds(best) + _log_odds(1 - nothing) < LEAST


def _log_odds(p: float) -> float:
    return math.log(max(p, 1e-4) / max(1 - p, 1e-4))
