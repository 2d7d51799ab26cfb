"""Who asks, and what that allows: roles per workspace, and the principal of a request.

    principal = request.state.principal          # set for every request and WebSocket by middleware.py
    principal.allows("lease", "write")           # a route whose workspace stands in the body asks this
    principal.visible(names)                     # of a list of workspaces those that it may know of
    require("lease", "write")                    # the same question to whoever the running request belongs to

A second line of defence: `web.wiring.Assistant` asks `require` whenever it opens a workspace, so that a route that
forgets to ask still hands out nothing. Threads of our own (reading, embedding) run for nobody and may do everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from core.errors import AccessError, NotFoundError

Role = Literal["reader", "member", "admin"]
Action = Literal["read", "write", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
EVERY = "*"  # every workspace, those still to come included; no workspace can be called so
_RANK = {role: rank for rank, role in enumerate(ROLES, start=1)}
_NEEDED: dict[Action, Role] = {"read": "reader", "write": "member", "admin": "admin"}


def lesser(a: Role, b: Role) -> Role:
    return min(a, b, key=_RANK.__getitem__)


def _highest(roles: Iterable[Role]) -> Role | None:
    ranked = sorted(roles, key=lambda role: _RANK[role])
    return ranked[-1] if ranked else None


@dataclass(frozen=True)
class Principal:
    """Whoever a request belongs to.

    reader: search, ask, read pages, conversations of one's own; member: also add and remove documents;
    admin (of the whole server, never of one workspace): also workspaces, users, keys, audit log, operation.
    """

    name: str
    admin: bool = False
    grants: Mapping[str, Role] = field(default_factory=lambda: MappingProxyType({}))  # workspace or "*" -> role
    via: Literal["owner", "login", "key", "nobody"] = "login"
    key_id: str = ""  # of the API key, where it is one
    person: str = ""  # whose conversations are kept: a folder's name, never used for a second user; "": the owner's

    def role_in(self, workspace: str) -> Role | None:
        """The role in a workspace; None: for this principal there is no such workspace."""
        if self.admin:
            return "admin"
        roles = [self.grants[name] for name in (workspace, EVERY) if name in self.grants]
        return _highest(roles)

    def allows(self, workspace: str | None, action: Action) -> bool:
        """Whether `action` is allowed in `workspace`; None: on the server as a whole, which only admins may change."""
        if workspace is None:
            return self.admin if action == "admin" else self.via != "nobody"
        if action == "admin":
            return self.admin
        role = self.role_in(workspace)
        return role is not None and _RANK[role] >= _RANK[_NEEDED[action]]

    def visible(self, workspaces: Iterable[str]) -> list[str]:
        """Those that this principal may know of, in order."""
        return [name for name in workspaces if self.role_in(name) is not None]

    @property
    def role(self) -> Role | None:
        """The highest role anywhere."""
        if self.admin:
            return "admin"
        return _highest(self.grants.values())


OWNER = Principal("owner", admin=True, via="owner")  # of a machine without login
NOBODY = Principal("", via="nobody")

_current: ContextVar[Principal | None] = ContextVar("lectern_principal", default=None)


def current() -> Principal | None:
    """Whoever the running request belongs to; None outside of requests."""
    return _current.get()


def run_as(principal: Principal) -> None:
    """From here on, in this task and what it starts, act for `principal`."""
    _current.set(principal)


def require(workspace: str, action: Action) -> None:
    """Raises NotFoundError where the principal may not know of the workspace, AccessError where its role is too low."""
    principal = _current.get()
    if principal is None or principal.allows(workspace, action):
        return
    raise refusal(principal, workspace, action)


def refusal(principal: Principal, workspace: str | None, action: Action) -> NotFoundError | AccessError:
    """Why `principal` may not; a workspace that it may not know of is refused as one that is not there."""
    if workspace is not None and principal.role_in(workspace) is None:
        return NotFoundError(
            f"there is no workspace {workspace!r} for you", remedy="Choose one of yours, or ask an admin for access"
        )
    what = {"read": "read this", "write": "change documents here", "admin": "do this"}[action]
    return AccessError(
        f"only {'an' if action == 'admin' else 'a'} {_NEEDED[action]} may {what}", remedy="Ask an admin for that role"
    )


def visible_now(workspaces: Iterable[str]) -> list[str]:
    """Those that whoever the running request belongs to may know of."""
    principal = _current.get()
    return list(workspaces) if principal is None else principal.visible(workspaces)
