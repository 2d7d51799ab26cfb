"""Looking things up while somebody is still speaking: on what seems to stay of a partial transcript.

A guess costs a search and a reading; it is made when the words have stopped changing or the speaker pauses, one at a
time, and on words alone only while nobody else waits. If the turn ends in the words that were looked up, or in others
that ask the same (`asks`), and its readings do not differ much (`certain`), its answer is there; else it is dropped.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from core.errors import LecternError
from ingest.tokens import index_terms
from omni.close_terms import wordings
from omni.live.completeness import Finish, finished, words_of
from omni.live.work import Priority, Work
from omni.types import Transcript
from rag.types import Hit

log = logging.getLogger(__name__)

_SMALL = frozenset(
    str.split(
        """a an the of in on at to for from with by and or is are was were be been do does did has have had can could
        will would should what who whom whose which where when why how much many long it its this that there my your
        our their me i you we he she they tell about please"""
    )
)
LEAST_CONTENT = 2  # words that are worth a search
CERTAIN = 0.7  # probability of the readings that ask the same, from which the others are not worth another search
# What a recogniser takes now for one thing, now for another, and what is found does not depend on. Not "who" or "not".
_UNHEARD = frozenset(str.split("a an the of is are was were be been do does did has have had please"))


def asks(text: str) -> tuple[str, ...]:
    """What a question asks, however it is written: the terms that it is searched by, and its question words."""
    words = words_of(text)
    kept = [word for word in words[:-1] if word not in _UNHEARD] + words[-1:]  # "what is in plan a"
    return tuple(index_terms(" ".join(kept)))


def certain(transcript: Transcript) -> bool:
    """Most of what may have been said asks the same as the likeliest reading."""
    best = asks(transcript.text)
    return sum(wording.weight for wording in wordings(transcript) if asks(wording.text) == best) >= CERTAIN


class Speculation:
    """Of one turn. `consider` and `verdict` from the conversation's thread."""

    def __init__(
        self,
        look: Callable[[Transcript], Sequence[Hit]],
        work: Work,
        post: Callable[[Callable[[], None]], None],
        found: Callable[[str, Sequence[Hit]], None],
    ) -> None:
        """`found(question, hits)` is called through `post` for each guess."""
        self._look, self._work, self._post, self._found = look, work, post, found
        self._looked: set[tuple[str, ...]] = set()  # what was asked in guesses made
        self._whole: set[tuple[str, ...]] = set()  # and up to a pause, in all readings
        self._lock = threading.Lock()
        self._guessing = False
        self._last_content: tuple[str, ...] = ()
        self.closed = False

    def consider(self, transcript: Transcript, *, sure: bool) -> None:
        """Look it up if it is worth it. `sure`: the speaker has paused, this may be the whole question."""
        text = transcript.text
        content = tuple(word for word in words_of(text) if word not in _SMALL)
        if self.closed or len(content) < (1 if sure else LEAST_CONTENT):
            return
        asked = asks(text)
        with self._lock:
            if sure:
                known = asked in self._whole or (asked in self._looked and certain(transcript))
                self._whole.add(asked)
                if known:
                    return
            else:
                if self._guessing or content == self._last_content or asked in self._looked or self._work.busy:
                    return
                if finished(text) is Finish.OPEN:  # a search that would certainly be in vain
                    return
                self._guessing = True
                self._last_content = content
            self._looked.add(asked)
        self._work.submit(partial(self._job, transcript, sure), priority=Priority.PAUSE if sure else Priority.GUESS)

    def verdict(self, transcript: Transcript) -> Literal["kept", "dropped", "none"]:
        """Whether the question of the finished turn is one that was looked up, or is being."""
        self.closed = True
        asked = asks(transcript.text)
        with self._lock:
            if asked in self._whole or (asked in self._looked and certain(transcript)):
                return "kept"
            return "dropped" if self._looked else "none"

    def _job(self, transcript: Transcript, sure: bool) -> None:
        hits: Sequence[Hit] = []
        try:
            if sure or not self.closed:
                hits = self._look(transcript)
        except LecternError as error:  # the answer itself will say it
            log.info("looking up in advance: %s", error)
        except Exception:
            log.exception("looking up in advance")
        finally:
            with self._lock:
                self._guessing = self._guessing and sure
        self._post(partial(self._found, transcript.text, hits))
