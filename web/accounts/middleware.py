"""Enforcing who may do what, in front of every route and WebSocket of the server, Gradio's own included.

    app.add_middleware(AccountsMiddleware, accounts=accounts)      # accounts None: one user, no login

What a request needs follows from its path and method (policy.py). `request.state.principal` is set for routes whose
workspace stands in the body, and whatever runs for the request acts for that principal (access.py).
"""

from __future__ import annotations

import logging
import math
import sqlite3
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import TypeVar
from urllib.parse import parse_qs, quote

import anyio.to_thread
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import LecternError, NotFoundError
from web.accounts.access import NOBODY, OWNER, Principal, refusal, run_as
from web.accounts.accounts import Accounts
from web.accounts.entry import Refused, api_key, by_key, login_cookie
from web.accounts.policy import SAFE_METHODS, Need, need
from web.accounts.revocation import watched

log = logging.getLogger(__name__)

T = TypeVar("T")
_REFUSALS_A_MINUTE = 30  # of one address in the audit log: a flood must not fill the disk
_MCP_SESSIONS = 10_000
_OWN = ("/logout", "/api/accounts")  # whoever ends the own login there is told so, not cut off


class AccountsMiddleware:
    def __init__(self, app: ASGIApp, *, accounts: Accounts | None) -> None:
        self.app = app
        self.accounts = accounts
        self._threads: anyio.CapacityLimiter | None = None
        self._mcp: OrderedDict[str, tuple[str, str]] = OrderedDict()  # MCP session -> whose it is

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        if self.accounts is None:
            _act_for(OWNER, scope)
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        method = scope.get("method", "GET")
        query = scope.get("query_string", b"").decode("latin-1")
        needed = need(method, scope["path"], query, headers.get("x-lectern-workspace", ""))
        address = scope["client"][0] if scope.get("client") else ""
        principal = NOBODY
        try:
            principal = await self._in_thread(partial(self._identify, headers, scope, method, address))
            self._decide(principal, needed, headers)
        except Refused as error:
            if not needed.open:
                await self._refuse(error, error.status, scope, receive, send, principal, needed, address)
                return
        except LecternError as error:
            status = 404 if isinstance(error, NotFoundError) else 403
            await self._refuse(error, status, scope, receive, send, principal, needed, address)
            return
        _act_for(principal, scope)
        if needed.open or needed.action != "read" or scope["path"].startswith(_OWN):
            await self._pass(scope, receive, send, principal, needed, method, query, address)
            return

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await self._pass(scope, receive, send, principal, needed, method, query, address)

        async def check(used: bool) -> LecternError | None:
            return await self._in_thread(partial(self._ended, headers, scope, needed, used))

        ended = await watched(
            application, scope, receive, send,
            check=check, every_s=self.accounts.settings.recheck_s, answer=partial(_refusal_of, scope),
        )  # fmt: skip
        if ended is not None:
            status = getattr(ended, "status", 404 if isinstance(ended, NotFoundError) else 403)
            note = partial(self._note, principal, scope, needed, query, address, f"ended: {status}")
            await self._in_thread(note)

    # ---- who, and whether ---------------------------------------------------------------------------------------

    def _identify(self, headers: Headers, scope: Scope, method: str, address: str) -> Principal:
        """Whoever asks; NOBODY without a login. A key counts alone: a wrong one is not made good by a cookie."""
        assert self.accounts is not None
        key = api_key(headers)
        if key is not None:
            return by_key(self.accounts, key, address)
        cookie = login_cookie(headers, scope["scheme"])
        user = self.accounts.logins.user(cookie) if cookie else None
        if user is None:
            return NOBODY
        # guard.py has refused whatever says that it comes from elsewhere; a browser always says where it comes from
        # when it changes something or opens a WebSocket, so a cookie without that is not a browser's.
        told = "origin" in headers or (scope["type"] == "http" and "sec-fetch-site" in headers)
        if not told and (method not in SAFE_METHODS or scope["type"] == "websocket"):
            raise Refused(
                403,
                "a login's cookie is for the page alone",
                remedy="Programs use an API key: Authorization: Bearer KEY",
                who=user.name,
            )
        return user.principal()

    def _ended(self, headers: Headers, scope: Scope, needed: Need, used: bool) -> LecternError | None:
        """Why a connection that lasts may not go on; `used`: its client has sent something lately.

        The key's limit a minute and its throttle do not count here: nothing new is asked for.
        """
        assert self.accounts is not None
        try:
            key = api_key(headers)
            if key is not None:
                found = self.accounts.keys.check(key)
                if found is None:
                    return Refused(401, "this API key is not valid any more", remedy="Ask an admin for a new one")
                principal = found[0]
            else:
                cookie = login_cookie(headers, scope["scheme"])
                user = self.accounts.logins.user(cookie, use=used) if cookie else None
                if user is None:
                    return Refused(401, "your login has ended", remedy="Log in again")
                principal = user.principal()
        except (LecternError, sqlite3.Error):
            log.exception("whether a connection may go on could not be looked up")
            return None
        try:
            self._decide(principal, needed, headers)
        except LecternError as error:
            return error
        return None

    def _decide(self, principal: Principal, needed: Need, headers: Headers) -> None:
        """Raises LecternError unless `principal` may do what is needed."""
        if needed.open:
            return
        if principal is NOBODY:
            raise Refused(401, "you are not logged in", remedy="Open /login, or send an API key as a Bearer token")
        for workspace in needed.workspaces or (None,):
            if not principal.allows(workspace, needed.action):
                raise refusal(principal, workspace, needed.action)
        session = headers.get("mcp-session-id")
        if session is not None and self._mcp.get(session, _whose(principal)) != _whose(principal):
            raise NotFoundError("there is no such MCP session", remedy="Begin a new one")

    # ---- letting pass, and refusing -----------------------------------------------------------------------------

    async def _pass(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        principal: Principal,
        needed: Need,
        method: str,
        query: str,
        address: str,
    ) -> None:
        status = 0

        async def noticing(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                session = Headers(raw=message["headers"]).get("mcp-session-id")
                if session is not None:
                    self._mcp[session] = _whose(principal)
                    if len(self._mcp) > _MCP_SESSIONS:
                        self._mcp.popitem(last=False)
                if not needed.open:
                    MutableHeaders(scope=message).setdefault("Cache-Control", "private, no-store")
            await send(message)

        await self.app(scope, receive, noticing)
        assert self.accounts is not None
        changed = method not in SAFE_METHODS and needed.action != "read"
        if changed or (self.accounts.settings.audit == "all" and not needed.open):
            outcome = str(status) if scope["type"] == "http" else "connected"
            await self._in_thread(partial(self._note, principal, scope, needed, query, address, outcome))
        if method == "DELETE" and 200 <= status < 300 and _is_workspace(scope["path"]):
            await self._in_thread(partial(self.accounts.users.forget_workspace, needed.workspaces[0]))

    async def _refuse(
        self,
        error: LecternError,
        status: int,
        scope: Scope,
        receive: Receive,
        send: Send,
        principal: Principal,
        needed: Need,
        address: str,
    ) -> None:
        who = principal.name or getattr(error, "who", "")
        assert self.accounts is not None
        if who and not self.accounts.rate.wait_s(f"refusals {address}", _REFUSALS_A_MINUTE):
            query = scope.get("query_string", b"").decode("latin-1")
            note = partial(self._note, principal, scope, needed, query, address, f"refused: {status}", who)
            await self._in_thread(note)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": error.message[:120]})  # not accepted: 403
            return
        await refusal_answer(error, status, scope)(scope, receive, send)

    def _note(
        self, principal: Principal, scope: Scope, needed: Need, query: str, address: str, outcome: str, who: str = ""
    ) -> None:
        assert self.accounts is not None
        values = parse_qs(query)
        target = next((values[name][0] for name in ("document", "name") if name in values), "")
        try:
            self.accounts.audit.add(
                who or principal.name,
                f"{scope.get('method', 'WEBSOCKET')} {scope['path']}",
                outcome,
                key_id=principal.key_id,
                address=address,
                workspace=" ".join(needed.workspaces),
                target=target,
            )
        except LecternError as error:  # a full disk: the answer has been given already
            log.error("the audit log could not be written: %s", error)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        """Off the event loop, in threads of its own: answers that take long must not keep anybody from logging in."""
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(8)
        return await anyio.to_thread.run_sync(call, limiter=self._threads)


def refusal_answer(error: LecternError, status: int, scope: Scope) -> Response:
    """The answer to a request that may not pass; a browser that only wants the page is sent to log in."""
    headers = Headers(scope=scope)
    wants_page = scope["method"] == "GET" and "text/html" in headers.get("accept", "")
    if status == 401 and wants_page and not scope["path"].startswith(("/api/", "/v1/", "/mcp")):
        return RedirectResponse(f"/login?next={quote(scope['path'])}", 303, {"Cache-Control": "no-store"})
    kind = {401: "authentication_error", 403: "permission_error", 404: "not_found_error"}.get(
        status, "rate_limit_error"
    )
    message = error.message[:1].upper() + error.message[1:] + "."
    content = {"error": {"message": message, "remedy": f"{error.remedy}.", "type": kind, "code": kind}}
    answer = JSONResponse(content, status, {"Cache-Control": "no-store"})
    if status == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="Lectern"'
    if wait := getattr(error, "wait_s", 0.0):
        answer.headers["Retry-After"] = str(math.ceil(wait))
    return answer


def _refusal_of(scope: Scope, error: LecternError) -> Response:
    return refusal_answer(error, getattr(error, "status", 404 if isinstance(error, NotFoundError) else 403), scope)


def _act_for(principal: Principal, scope: Scope) -> None:
    scope.setdefault("state", {})["principal"] = principal
    run_as(principal)


def _whose(principal: Principal) -> tuple[str, str]:
    return principal.name, principal.key_id


def _is_workspace(path: str) -> bool:
    parts = path.strip("/").split("/")
    return len(parts) == 3 and parts[1] == "workspaces"
