"""What a request needs, by its path and method alone, so that no route has to remember to ask.

Paths that nobody thought of need the most: an unknown route of the API belongs to admins, an unknown change inside a
workspace to its members. The path is the one that the router sees: decoded once, dots and slashes as they came.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qs

from web.accounts.access import Action

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
_APIS = ("api", "v1")

# What must work before anybody has logged in; none of it shows a document, a name or a setting.
_OPEN = frozenset(("/health", "/api/health", "/v1/health", "/healthz", "/login", "/favicon.ico", "/robots.txt"))
_OPEN_BELOW = ("/ui/", "/static/fonts/")  # the product's own scripts, styles and fonts

# Without a workspace in the path, and for every user: their workspace stands in the body (the route asks), or there
# is none, or the answer holds only what the user may know of.
_EVERYBODY = frozenset(
    (
        "/mcp",
        "/logout",
        "/openapi.json",
        "/docs",
        "/api/accounts/me",
        "/api/accounts/me/password",
        "/v1/openapi.json",
        "/v1/docs",
        "/v1/models",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/embeddings",
        "/v1/audio/transcriptions",
        "/v1/audio/speech",
        "/v1/transcribe",
        "/v1/speak",
        "/v1/search",
        "/v1/ask",
    )
)
_EVERYBODY_BELOW = ("/mcp/", "/v1/models/")
_ADMIN_BELOW = ("/metrics", "/monitoring", "/dev/")

# What a reader sends that changes no document: questions, sound, and conversations of one's own.
_READING = (
    "search", "ask", "chat", "embeddings", "speak", "speech", "transcribe", "transcriptions", "live",
    "sessions", "session", "conversations", "memories", "join", "suggest", "compare", "heard", "feedback",
)  # fmt: skip
_OPERATING = frozenset(("backup", "backups", "restore", "rebuild", "members", "settings"))


@dataclass(frozen=True)
class Need:
    """The `action` that must be allowed in every one of `workspaces`; without any: on the server as a whole."""

    action: Action
    workspaces: tuple[str, ...] = ()
    open: bool = False  # for everybody, also before a login


def need(method: str, path: str, query: str = "", header: str = "") -> Need:
    """What a request needs. `query`: the query string; `header`: its X-Lectern-Workspace. WebSockets count as GET."""
    if path in _OPEN or path.startswith(_OPEN_BELOW):
        return Need("read", open=True)
    named = tuple(dict.fromkeys(filter(None, [header, *parse_qs(query).get("workspace", [])])))
    safe = method in SAFE_METHODS
    parts = path.split("/")[1:]
    if parts[0] not in _APIS:
        action: Action = "admin" if path.startswith(_ADMIN_BELOW) else "read"
        return Need(action, named)
    if len(parts) >= 2 and parts[1] == "workspaces":
        if len(parts) == 2 or not parts[2]:
            return Need("read" if safe else "admin", named)
        return Need(_inside(parts[3:], safe), (parts[2], *named))
    if path in _EVERYBODY or path.startswith(_EVERYBODY_BELOW):
        return Need("read", named)
    if named and not path.startswith("/api/accounts"):
        return Need(_inside(parts[1:], safe), named)
    return Need("admin", named)


def _inside(rest: Iterable[str], safe: bool) -> Action:
    """The action of what stands after the workspace in a path."""
    words = [word for word in rest if word]
    if _OPERATING.intersection(words[:1]):
        return "admin"
    if safe:
        return "read"
    if not words:
        return "admin"  # to make or delete the workspace itself
    return "read" if words[0] in _READING else "write"
