"""Finding out who asks: a login's cookie, an API key, or a name with its password."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers

from core.errors import AccessError
from web.accounts.access import Principal
from web.accounts.accounts import Accounts

COOKIE = "lectern_login"
SAFE_COOKIE = "__Host-lectern_login"  # over https: browsers take it for this host and this scheme only
_LONGEST_KEY = 200


class Refused(AccessError):
    """Not let in, with the status that says why, and when to come back."""

    def __init__(self, status: int, message: str, *, remedy: str, wait_s: float = 0.0, who: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.status = status
        self.wait_s = wait_s
        self.who = who  # for the audit log


def cookie_name(scheme: str) -> str:
    return SAFE_COOKIE if scheme in ("https", "wss") else COOKIE


def login_cookie(headers: Headers, scheme: str) -> str:
    """The login's cookie that a request carries, else ""."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(cookie_name(scheme))
    except CookieError:
        return ""
    return found.value if found is not None else ""


def api_key(headers: Headers) -> str | None:
    """The key of `Authorization: Bearer KEY` or `X-API-Key: KEY`; None if a request shows none."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()[:_LONGEST_KEY]
    key = headers.get("x-api-key")
    return None if key is None else key.strip()[:_LONGEST_KEY]


def by_key(accounts: Accounts, text: str, address: str) -> Principal:
    """Who a key stands for. Raises Refused: no such key, revoked, expired, guessed at, used too often."""
    identity = text.split("_")[1][:12] if text.count("_") >= 2 else ""
    name, stamp = f"key {identity}", None
    if not accounts.keys.known(text):  # looking takes a while: not for those who guess
        wait, stamp = accounts.throttle.attempt(name, address)
        if wait:
            raise _later(wait, name)
    found = accounts.keys.check(text)
    if found is None:
        raise Refused(
            401, "this API key is not valid", remedy="Ask an admin for a new one: it may have expired", who=name
        )
    if stamp is not None:
        accounts.throttle.forgive(name, address, stamp)
    principal, key = found
    if wait := accounts.rate.wait_s(key.id, key.per_minute):
        raise Refused(
            429,
            f"this API key may be used {key.per_minute} times a minute",
            remedy="Wait as long as Retry-After says",
            wait_s=wait,
            who=principal.name,
        )
    return principal


def log_in(accounts: Accounts, name: str, password: str, address: str) -> str:
    """The cookie of a new login. Raises Refused, in the same words whether the name or the password is wrong."""
    wait, stamp = accounts.throttle.attempt(name, address)
    if wait:
        accounts.audit.add(name, "login", "refused: too many attempts", address=address)
        raise _later(wait, name)
    user = accounts.users.check(name, password)
    if user is None:
        accounts.audit.add(name, "login", "refused: wrong name or password", address=address)
        raise Refused(
            401, "the name or the password is not right", remedy="Try again, or ask an admin for a new one", who=name
        )
    accounts.throttle.forgive(name, address, stamp)
    cookie = accounts.logins.start(user)
    accounts.audit.add(user.name, "login", "ok", address=address)
    return cookie


def _later(wait: float, who: str) -> Refused:
    return Refused(
        429, "too many attempts have failed", remedy=f"Wait {round(wait + 0.5)} seconds, then try again",
        wait_s=wait, who=who,
    )  # fmt: skip
