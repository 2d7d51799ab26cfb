"""Users and what they are granted."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass

from core.errors import NotFoundError, UsageError
from web.accounts.access import EVERY, Principal, Role
from web.accounts.database import Database
from web.accounts.passwords import check_password, hash_secret, matches, outdated

# ASCII alone: no two names that look alike; no space or control character that would blur a line of the audit log.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
# Something to compare with where there is no such user, so that the answer takes as long as for a wrong password.
_NO_ONE: list[str] = []


@dataclass(frozen=True)
class User:
    id: int
    name: str
    admin: bool
    grants: Mapping[str, Role]
    created_at: float

    def principal(self) -> Principal:
        return Principal(self.name, admin=self.admin, grants=self.grants, via="login", person=f"user-{self.id}")


class Users:
    def __init__(self, database: Database) -> None:
        self._database = database

    def any(self) -> bool:
        return self._database.row("SELECT 1 FROM users LIMIT 1") is not None

    def all(self) -> list[User]:
        return [self._user(row) for row in self._database.rows("SELECT * FROM users ORDER BY name")]

    def get(self, name: str) -> User:
        """Raises NotFoundError."""
        row = self._database.row("SELECT * FROM users WHERE name = ?", name)
        if row is None:
            raise NotFoundError(f"there is no user {name!r}", remedy="See who there is with `python app.py users list`")
        return self._user(row)

    def by_id(self, identity: int) -> User | None:
        row = self._database.row("SELECT * FROM users WHERE id = ?", identity)
        return None if row is None else self._user(row)

    def add(self, name: str, password: str, *, admin: bool = False, grants: Mapping[str, Role] | None = None) -> User:
        """Raises UsageError: a name that is taken or none, a password that is too easy to guess, a bad grant."""
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot be a user's name", remedy="Use letters of a-z, digits and . _ @ -, up to 64 of them"
            )
        check_password(password, name)
        hashed = hash_secret(password)
        try:
            with self._database.writing() as connection:
                added = connection.execute(
                    "INSERT INTO users (name, password, admin, created_at) VALUES (?, ?, ?, ?)",
                    (name, hashed, admin, time.time()),
                )
                _grant(connection, int(added.lastrowid or 0), grants or {})
        except sqlite3.IntegrityError as error:
            raise UsageError(f"there is a user {name!r} already", remedy="Choose another name") from error
        return self.get(name)

    def remove(self, name: str) -> None:
        """With all logins, keys and grants. Raises NotFoundError; UsageError for the last admin."""
        user = self.get(name)
        with self._database.writing() as connection:
            self._keep_an_admin(connection, user)
            connection.execute("DELETE FROM users WHERE id = ?", (user.id,))

    def change(self, name: str, *, admin: bool | None = None, grants: Mapping[str, Role] | None = None) -> User:
        """Replace what a user may do; None leaves it. Raises NotFoundError, UsageError."""
        user = self.get(name)
        with self._database.writing() as connection:
            if admin is not None:
                if not admin:
                    self._keep_an_admin(connection, user)
                connection.execute("UPDATE users SET admin = ? WHERE id = ?", (admin, user.id))
            if grants is not None:
                connection.execute("DELETE FROM grants WHERE user = ?", (user.id,))
                _grant(connection, user.id, grants)
        return self.get(name)

    def set_password(self, name: str, password: str) -> None:
        """Ends all of the user's logins; API keys stay. Raises NotFoundError, UsageError."""
        user = self.get(name)
        check_password(password, user.name)
        hashed = hash_secret(password)
        with self._database.writing() as connection:
            connection.execute("UPDATE users SET password = ? WHERE id = ?", (hashed, user.id))
            connection.execute("DELETE FROM logins WHERE user = ?", (user.id,))

    def check(self, name: str, password: str) -> User | None:
        """The user, if that is the password; takes equally long whoever it is."""
        row = self._database.row("SELECT id, password FROM users WHERE name = ?", name)
        if not _NO_ONE:
            _NO_ONE.append(hash_secret("nobody has this password"))
        right = matches(password, row["password"] if row is not None else _NO_ONE[0])
        if row is None or not right:
            return None
        if outdated(row["password"]):
            hashed = hash_secret(password)
            with self._database.writing() as connection:
                connection.execute("UPDATE users SET password = ? WHERE id = ?", (hashed, row["id"]))
        return self.by_id(row["id"])

    def forget_workspace(self, workspace: str) -> None:
        """Take back every grant in a workspace that is gone: a later one of its name is another."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM grants WHERE workspace = ?", (workspace,))

    def _user(self, row: sqlite3.Row) -> User:
        grants = self._database.rows("SELECT workspace, role FROM grants WHERE user = ? ORDER BY workspace", row["id"])
        granted = {each["workspace"]: each["role"] for each in grants}
        return User(row["id"], row["name"], bool(row["admin"]), granted, row["created_at"])

    @staticmethod
    def _keep_an_admin(connection: sqlite3.Connection, user: User) -> None:
        others = connection.execute("SELECT COUNT(*) FROM users WHERE admin AND id != ?", (user.id,)).fetchone()[0]
        everyone = connection.execute("SELECT COUNT(*) FROM users").fetchone()[0]
        if user.admin and not others and everyone > 1:
            raise UsageError(f"{user.name} is the only admin", remedy="Make somebody else an admin first")


def _grant(connection: sqlite3.Connection, user: int, grants: Mapping[str, Role]) -> None:
    for workspace, role in grants.items():
        check_scope(workspace)
        if role not in ("reader", "member"):
            raise UsageError(
                f"{role!r} is no role in a workspace",
                remedy="There are reader and member; admin is a role on the server",
            )
        connection.execute("INSERT OR REPLACE INTO grants VALUES (?, ?, ?)", (user, workspace, role))


def check_scope(workspace: str) -> None:
    """Raises UsageError for what can be no workspace's name, nor "*"."""
    from pathlib import Path

    from ingest.workspace import workspace_path

    if workspace != EVERY:
        workspace_path(Path(), workspace)
