"""Conversations that somebody else has begun, taken up by their code where every user's lie in a folder of their own.

    taken_up = take_up(own_store, code, {"user-1": Path("people/user-1"), ...})    # remembered in one's own store
    joined(own_store)                     # {session id: Joined("user-1", code)}
    Guest(dialogue_of_the_owner, session_id, joined, own_store)                    # a Conversation

A guest sees the turns and adds some; nothing of them goes into anybody's long-term memory, and nothing that is
remembered elsewhere comes into them. Only the owner renames and deletes. Access lasts as long as the code: a new code
(`DialogueStore.renew_code`) ends it for everybody who came by the old one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import AccessError, NotFoundError, StoreError
from memory.conversation import Conversation
from memory.dialogue_database import DATABASE
from memory.dialogue_store import DialogueStore, normal_code
from memory.types import SessionInfo

if TYPE_CHECKING:
    from memory.session import Dialogue

log = logging.getLogger(__name__)

_KEY = "joined"  # of the store's small entries


@dataclass(frozen=True)
class Joined:
    """Somebody else's conversation that one has taken up."""

    owner: str  # as in the mapping that `take_up` was given
    code: str  # by which it was


def joined(store: DialogueStore) -> dict[str, Joined]:
    """By session id, the one taken up last first."""
    kept = json.loads(store.meta(_KEY) or "{}")
    return {session: Joined(owner, code) for session, (owner, code) in reversed(kept.items())}


def take_up(store: DialogueStore, code: str, folders: Mapping[str, Path]) -> tuple[str, Joined]:
    """Look for the conversation with this code among other people's, and remember it. Raises NotFoundError."""
    code = normal_code(code)
    for owner, folder in folders.items():
        if not (folder / DATABASE).is_file():
            continue
        try:
            with DialogueStore(folder) as other:
                session = other.session_by_code(code).session_id
        except NotFoundError:
            continue
        except StoreError as error:  # one damaged store must not keep everybody from joining the others
            log.warning("%s", error)
            continue
        kept = json.loads(store.meta(_KEY) or "{}")
        kept.pop(session, None)
        store.set_meta(_KEY, json.dumps({**kept, session: (owner, code)}))
        return session, Joined(owner, code)
    raise NotFoundError(
        "there is no conversation with this code", remedy="Ask for it again; it may have been renewed or deleted"
    )


def leave(store: DialogueStore, session_id: str) -> None:
    """Forget that one has taken it up."""
    kept = json.loads(store.meta(_KEY) or "{}")
    kept.pop(session_id, None)
    store.set_meta(_KEY, json.dumps(kept))


class Guest(Conversation):
    """Somebody else's conversation, as a guest has it."""

    def __init__(self, dialogue: Dialogue, session_id: str, taken_up: Joined, own: DialogueStore) -> None:
        """`dialogue`: the owner's. Raises NotFoundError: deleted, or shared no longer."""
        self._taken_up, self._own = taken_up, own
        info = dialogue.store.session(session_id)
        super().__init__(dialogue, info)
        self._check(info)

    @property
    def info(self) -> SessionInfo:
        """As it is now. Raises NotFoundError once it has been deleted or is shared no longer."""
        info = super().info
        self._check(info)
        return replace(info, remember=False, guest=True)

    def _check(self, info: SessionInfo) -> None:
        if info.code != self._taken_up.code:
            raise NotFoundError(
                f"there is no conversation {info.session_id!r}", remedy="It is shared no longer: ask for its new code"
            )

    def rename(self, title: str) -> None:
        raise AccessError("only who began this conversation may rename it", remedy="Ask them, or begin your own")

    def remember(self, on: bool) -> None:
        raise AccessError("nothing of a shared conversation is remembered for a guest", remedy="Begin your own")

    def renew_code(self) -> None:
        raise AccessError("only who began this conversation may give it a new code", remedy="Ask them")

    def delete(self) -> None:
        """Leave it; it stays with its owner."""
        leave(self._own, self.session_id)
