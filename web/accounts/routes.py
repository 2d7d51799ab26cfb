"""Logging in and out, and what an admin sees and changes. Errors are `{"error": {"message", "remedy"}}` as everywhere.

GET    /login, /accounts                           the pages; POST /login {name, password, next}, POST /logout
GET    /api/accounts/me                            {"login": false}, or who is logged in, with role and workspaces
PUT    /api/accounts/me/password                   {"old", "new"}; ends all of one's logins
GET    /api/accounts/users                         POST {"name", "password", "admin", "grants": {WORKSPACE: ROLE}}
PATCH  /api/accounts/users/{name}                  {"admin", "grants", "password"}, each optional; DELETE
GET    /api/accounts/keys                          POST {"user", "label", "role", "workspaces", "days", "per_minute"}
DELETE /api/accounts/keys/{id}                     revokes it
GET    /api/accounts/audit?before=&limit=          newest first; `whole`: no line has been taken out

All but /login, /logout and /me are for admins; web/accounts/policy.py says so, not these functions.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from core.errors import NotFoundError, UsageError
from web.accounts.access import Principal, Role
from web.accounts.accounts import Accounts
from web.accounts.entry import Refused, cookie_name, log_in, login_cookie
from web.accounts.keys import PER_MINUTE, Key
from web.accounts.login_page import ACCOUNTS_PAGE, PAGE_POLICY, login_page
from web.accounts.middleware import refusal_answer
from web.accounts.users import User
from web.v1.bounded import BoundedRoute

router = APIRouter(route_class=BoundedRoute, max_body_size=2**20)

_FORM_BYTES = 16 * 1024


def the_accounts(request: Request) -> Accounts:
    """Raises NotFoundError on a server without login."""
    accounts = request.app.state.accounts
    if accounts is None:
        raise NotFoundError(
            "this server has no login", remedy="Make one with `python app.py users add NAME --role admin`"
        )
    return accounts


def the_principal(request: Request) -> Principal:
    return request.state.principal


Held = Annotated[Accounts, Depends(the_accounts)]
Who = Annotated[Principal, Depends(the_principal)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewUser(Body):
    name: str = Field(min_length=1, max_length=64)
    password: str = Field(max_length=2000, repr=False)
    admin: bool = False
    grants: dict[str, Role] = Field({}, max_length=1000)


class UserChange(Body):
    password: str | None = Field(None, max_length=2000, repr=False)
    admin: bool | None = None
    grants: dict[str, Role] | None = Field(None, max_length=1000)


class PasswordChange(Body):
    old: str = Field(max_length=2000, repr=False)
    new: str = Field(max_length=2000, repr=False)


class NewKey(Body):
    user: str = Field(max_length=64)
    label: str = Field("", max_length=100)
    role: Role = "reader"
    workspaces: list[str] = Field(["*"], min_length=1, max_length=1000)
    days: float | None = Field(365.0, gt=0, le=36_500)
    per_minute: int = Field(PER_MINUTE, ge=1, le=100_000)


# ---- in and out -----------------------------------------------------------------------------------------------


@router.get("/login", include_in_schema=False)
def show_login(request: Request, next: str = "/") -> Response:
    if request.app.state.accounts is None:
        return RedirectResponse("/", 303)
    return login_page(next=safe_next(next))


@router.post("/login", include_in_schema=False)
async def do_login(request: Request, accounts: Held) -> Response:
    """A form, so that it works without scripts; it answers with the page that was wanted."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _FORM_BYTES:
            raise UsageError("this is no login form", remedy="Use the page /login")
    form = {key: values[0] for key, values in parse_qs(body.decode("utf-8", "replace")).items()}
    name, wanted = form.get("name", "").strip()[:64], safe_next(form.get("next", "/"))
    address = request.client.host if request.client else ""
    try:
        cookie = await run_in_threadpool(log_in, accounts, name, form.get("password", ""), address)
    except Refused as error:
        answer: Response = login_page(next=wanted, name=name, error=error)
        if error.wait_s:
            answer.headers["Retry-After"] = str(round(error.wait_s + 0.5))
        return answer
    answer = RedirectResponse(wanted, 303, {"Cache-Control": "no-store"})
    scheme = request.scope["scheme"]
    answer.set_cookie(cookie_name(scheme), cookie, httponly=True, secure=scheme == "https", samesite="lax", path="/")
    return answer


@router.post("/logout", include_in_schema=False)
def do_logout(request: Request, accounts: Held, principal: Who) -> Response:
    accounts.logins.end(login_cookie(request.headers, request.scope["scheme"]))
    accounts.audit.add(principal.name, "logout", "ok", address=request.client.host if request.client else "")
    answer = RedirectResponse("/login", 303, {"Cache-Control": "no-store", "Clear-Site-Data": '"cache", "storage"'})
    answer.delete_cookie(cookie_name(request.scope["scheme"]), path="/")
    return answer


@router.get("/accounts", include_in_schema=False)
def show_accounts(accounts: Held, principal: Who) -> HTMLResponse:
    return HTMLResponse(ACCOUNTS_PAGE, headers={"Content-Security-Policy": PAGE_POLICY})


@router.get("/api/accounts/me")
def me(request: Request, principal: Who) -> dict[str, Any]:
    if request.app.state.accounts is None:
        return {"login": False}
    return {
        "login": True,
        "name": principal.name,
        "role": principal.role,
        "admin": principal.admin,
        "workspaces": dict(principal.grants),
    }


@router.put("/api/accounts/me/password", status_code=204)
def change_my_password(change: PasswordChange, request: Request, accounts: Held, principal: Who) -> Response:
    address = request.client.host if request.client else ""
    if principal.via != "login":
        error = Refused(403, "a key cannot change a password", remedy="Log in on the page", who=principal.name)
        return refusal_answer(error, error.status, request.scope)
    try:
        accounts.logins.end(log_in(accounts, principal.name, change.old, address))  # counts as an attempt to guess
    except Refused as error:
        return refusal_answer(error, 403 if error.status == 401 else error.status, request.scope)
    accounts.users.set_password(principal.name, change.new)
    accounts.audit.add(principal.name, "users.password", "ok", target=principal.name, address=address)
    return Response(status_code=204)


def safe_next(wanted: str) -> str:
    """Where to go after a login: a path of this server, never another address."""
    if not wanted.startswith("/") or wanted[1:2] in ("/", "\\") or not wanted.isprintable() or "\\" in wanted:
        return "/"
    return wanted[:500]


# ---- users ----------------------------------------------------------------------------------------------------


@router.get("/api/accounts/users")
def users(accounts: Held) -> dict[str, Any]:
    return {"users": [user_json(user) for user in accounts.users.all()]}


@router.post("/api/accounts/users", status_code=201)
def add_user(new: NewUser, accounts: Held, principal: Who, request: Request) -> dict[str, Any]:
    user = accounts.users.add(new.name, new.password, admin=new.admin, grants=new.grants)
    _note(accounts, principal, request, "users.add", f"{user.name} {_shown(user)}")
    return user_json(user)


@router.patch("/api/accounts/users/{name}")
def change_user(name: str, change: UserChange, accounts: Held, principal: Who, request: Request) -> dict[str, Any]:
    user = accounts.users.change(name, admin=change.admin, grants=change.grants)
    if change.admin is not None or change.grants is not None:
        _note(accounts, principal, request, "users.grant", f"{user.name} {_shown(user)}")
    if change.password is not None:
        accounts.users.set_password(name, change.password)
        _note(accounts, principal, request, "users.password", user.name)
    return user_json(user)


@router.delete("/api/accounts/users/{name}", status_code=204)
def remove_user(name: str, accounts: Held, principal: Who, request: Request) -> Response:
    accounts.remove_user(name)
    _note(accounts, principal, request, "users.remove", name)
    return Response(status_code=204)


def user_json(user: User) -> dict[str, Any]:
    return {"name": user.name, "admin": user.admin, "grants": dict(user.grants), "created_at": user.created_at}


def _shown(user: User) -> str:
    return "admin" if user.admin else ", ".join(f"{name}:{role}" for name, role in user.grants.items())


# ---- keys -----------------------------------------------------------------------------------------------------


@router.get("/api/accounts/keys")
def keys(accounts: Held) -> dict[str, Any]:
    return {"keys": [key_json(key) for key in accounts.keys.all()]}


@router.post("/api/accounts/keys", status_code=201)
def add_key(new: NewKey, accounts: Held, principal: Who, request: Request) -> JSONResponse:
    """`key` is shown this once; the server keeps only its hash."""
    text, key = accounts.keys.add(
        new.user,
        label=new.label,
        role=new.role,
        workspaces=new.workspaces,
        days=new.days,
        per_minute=new.per_minute,
    )
    _note(accounts, principal, request, "keys.add", f"{key.id} of {key.user}")
    return JSONResponse({**key_json(key), "key": text}, 201, {"Cache-Control": "no-store"})


@router.delete("/api/accounts/keys/{identity}", status_code=204)
def revoke_key(identity: str, accounts: Held, principal: Who, request: Request) -> Response:
    accounts.keys.revoke(identity)
    _note(accounts, principal, request, "keys.revoke", identity)
    return Response(status_code=204)


def key_json(key: Key) -> dict[str, Any]:
    return {**asdict(key), "workspaces": list(key.workspaces), "state": key.state(time.time())}


# ---- audit ----------------------------------------------------------------------------------------------------


@router.get("/api/accounts/audit")
def audit(
    accounts: Held,
    before: Annotated[int | None, Query(ge=1)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    verify: bool = False,
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "entries": [
            {"number": number, **asdict(entry)} for number, entry in accounts.audit.latest(limit, before=before)
        ]
    }
    return found | {"broken_at": accounts.audit.verify()} if verify else found


def _note(accounts: Accounts, principal: Principal, request: Request, action: str, target: str) -> None:
    address = request.client.host if request.client else ""
    accounts.audit.add(principal.name, action, "ok", key_id=principal.key_id, address=address, target=target)
