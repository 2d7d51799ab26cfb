"""Who may use which workspace, where the address does not say it: OpenAI's endpoints name it in the body.

Under /v1/workspaces/{workspace}/... the address tells, and the middleware outside decides. Here the endpoint asks:
`request.state.principal` (web/accounts/access.py) answers, and without one (one user, this computer) all is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from fastapi import Request

from web.v1.errors import ApiError

Action = Literal["read", "write", "admin"]  # search and ask | documents and sessions | workspaces and users


def allowed(request: Request, workspace: str, action: Action = "read") -> bool:
    """Whether whoever sent `request` may do this in `workspace`."""
    principal = getattr(request.state, "principal", None)
    return principal is None or bool(principal.allows(workspace, action))


def visible(request: Request, workspaces: Iterable[str]) -> list[str]:
    """Those of `workspaces` that whoever sent `request` may read."""
    return [name for name in workspaces if allowed(request, name)]


def require(request: Request, workspace: str, action: Action = "read", *, param: str | None = "model") -> None:
    """Raises ApiError 404, as for a workspace that does not exist: its name is not given away either."""
    if not allowed(request, workspace, action):
        raise ApiError(
            f"there is no workspace {workspace!r} for you",
            remedy="Choose one of yours, or ask an admin for access",
            status=404,
            code="model_not_found" if param == "model" else "not_found",
            param=param,
        )
