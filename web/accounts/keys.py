"""API keys: shown once, kept hashed, limited to a role, to workspaces, in time and in calls a minute.

`lek_<id>_<secret>`: the id finds the line, the secret is 256 random bits. A key never allows more than its user may do
at that moment. scrypt takes a tenth of a second, so a key that has been checked is remembered in this process, under a
digest that another process could not compute; whether it was revoked is read from the database every time.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from core.errors import NotFoundError, UsageError
from web.accounts.access import EVERY, ROLES, Principal, Role, lesser
from web.accounts.database import Database
from web.accounts.passwords import hash_secret, matches
from web.accounts.users import User, Users, check_scope

PREFIX = "lek"
PER_MINUTE = 120
_FORM = re.compile(rf"{PREFIX}_([0-9a-f]{{12}})_([A-Za-z0-9_-]{{43}})")
_USED_EVERY_S = 60.0  # how exactly "last used" is kept


@dataclass(frozen=True)
class Key:
    """An API key as an admin sees it: without its secret."""

    id: str
    user: str
    label: str
    role: Role
    workspaces: tuple[str, ...]  # ("*",): all of its user's
    per_minute: int
    created_at: float  # this and the following: seconds since 1970, UTC
    expires_at: float | None
    revoked_at: float | None
    used_at: float | None

    def state(self, now: float) -> str:
        """active | expired | revoked"""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


class Keys:
    def __init__(self, database: Database, users: Users) -> None:
        self._database = database
        self._users = users
        self._pepper = secrets.token_bytes(32)
        self._checked: dict[bytes, str] = {}  # digest of a key that was right -> its id
        self._lock = threading.Lock()

    def add(
        self,
        user: str,
        *,
        label: str = "",
        role: Role = "reader",
        workspaces: Sequence[str] = (EVERY,),
        days: float | None = 365.0,
        per_minute: int = PER_MINUTE,
    ) -> tuple[str, Key]:
        """A new key, in full for the only time, and its description. Raises NotFoundError, UsageError."""
        owner = self._users.get(user)
        if role not in ROLES or not workspaces or per_minute < 1 or (days is not None and days <= 0):
            raise UsageError(
                "this key cannot be made", remedy=f"Give a role of {', '.join(ROLES)}, workspaces, and limits above 0"
            )
        for workspace in workspaces:
            check_scope(workspace)
        identity, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        now = time.time()
        with self._database.writing() as connection:
            connection.execute(
                "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
                (
                    identity,
                    owner.id,
                    label[:100],
                    hash_secret(secret),
                    role,
                    json.dumps(list(workspaces)),
                    per_minute,
                    now,
                    None if days is None else now + days * 86_400,
                ),
            )
        return f"{PREFIX}_{identity}_{secret}", self.get(identity)

    def all(self) -> list[Key]:
        return self._find("1")

    def get(self, identity: str) -> Key:
        """Raises NotFoundError."""
        found = self._find("keys.id = ?", identity)
        if not found:
            raise NotFoundError(f"there is no key {identity!r}", remedy="See them with `python app.py users key list`")
        return found[0]

    def revoke(self, identity: str) -> None:
        """From its next request on it is refused. Raises NotFoundError."""
        self.get(identity)
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE keys SET revoked_at = COALESCE(revoked_at, ?) WHERE id = ?", (time.time(), identity)
            )

    def known(self, text: str) -> bool:
        """Whether `check` will be quick: no hashing is needed to answer for this key."""
        form = _FORM.fullmatch(text)
        return form is None or self._digest(text) in self._checked or not self._find("keys.id = ?", form.group(1))

    def check(self, text: str) -> tuple[Principal, Key] | None:
        """What a key allows, if it is one and neither expired nor revoked."""
        form = _FORM.fullmatch(text)
        if form is None:
            return None
        identity, secret = form.groups()
        row = self._database.row("SELECT secret, user FROM keys WHERE id = ?", identity)
        if row is None:
            return None
        digest = self._digest(text)
        if self._checked.get(digest) != identity:
            if not matches(secret, row["secret"]):
                return None
            with self._lock:
                if len(self._checked) >= 10_000:
                    self._checked.clear()
                self._checked[digest] = identity
        key, owner = self.get(identity), self._users.by_id(row["user"])
        now = time.time()
        if owner is None or key.state(now) != "active":
            return None
        if key.used_at is None or abs(now - key.used_at) >= _USED_EVERY_S:
            with self._database.writing() as connection:
                connection.execute("UPDATE keys SET used_at = ? WHERE id = ?", (now, identity))
        return _principal(key, owner), key

    def _digest(self, text: str) -> bytes:
        return hmac.digest(self._pepper, text.encode(), hashlib.sha256)

    def _find(self, where: str, *values: object) -> list[Key]:
        rows = self._database.rows(
            "SELECT keys.*, users.name AS owner FROM keys JOIN users ON users.id = keys.user "
            "WHERE " + where + " ORDER BY keys.created_at DESC",
            *values,
        )
        return [
            Key(
                id=row["id"],
                user=row["owner"],
                label=row["label"],
                role=row["role"],
                workspaces=tuple(json.loads(row["workspaces"])),
                per_minute=row["per_minute"],
                created_at=row["created_at"],
                expires_at=row["expires_at"],
                revoked_at=row["revoked_at"],
                used_at=row["used_at"],
            )
            for row in rows
        ]


def _principal(key: Key, owner: User) -> Principal:
    """What both the key and its user allow."""
    admin = owner.admin and key.role == "admin" and key.workspaces == (EVERY,)
    grants: dict[str, Role] = {}
    if owner.admin:
        grants = {workspace: lesser(key.role, "member") for workspace in key.workspaces}
    else:
        own = owner.principal()
        names = owner.grants if EVERY in key.workspaces else key.workspaces
        for workspace in names:
            role = own.role_in(workspace)
            if role is not None:
                grants[workspace] = lesser(lesser(key.role, role), "member")
    return replace(owner.principal(), admin=admin, grants=MappingProxyType(grants), via="key", key_id=key.id)
