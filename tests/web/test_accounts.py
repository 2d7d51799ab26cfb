"""Users, roles, keys and logins, tried from outside: over HTTP against the whole application, and by command line."""

from __future__ import annotations

import io
import json
import logging
import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from app import main
from core.errors import UsageError
from core.settings import ServerSettings, load_settings
from web.accounts import passwords
from web.accounts.accounts import Accounts, open_accounts
from web.accounts.throttle import Throttle
from web.server import build_app
from web.wiring import build

LogIn = Callable[..., TestClient]
PASSWORD = "correct horse battery"  # of conftest.py
OPEN = ("/health", "/v1/health", "/login", "/favicon.ico", "/robots.txt")
ORIGIN = {"Origin": "http://127.0.0.1"}


def with_key(app: TestClient, key: str) -> TestClient:
    return TestClient(app.app, base_url="http://127.0.0.1", headers={"Authorization": f"Bearer {key}"})


# ---- without a login --------------------------------------------------------------------------------------------


def test_no_route_answers_without_a_login(app: TestClient) -> None:
    """Every route that the application has, whoever wrote it, is tried without a login with every method it knows."""
    tried = set()
    for pattern, methods in addresses(app.app.routes):
        path = "/".join("x" if "{" in part else part for part in pattern.split("/")) or "/"
        for method in methods:
            status = app.request(method, path, headers=ORIGIN).status_code
            tried.add(path)
            is_open = path in OPEN or path.startswith(("/ui", "/static/fonts"))
            assert is_open or status in (401, 404) or (status == 303 and method == "GET"), (method, path, status)
    assert {"/api/workspaces/x/ask", "/v1/chat/completions", "/v1/workspaces/x/documents", "/config", "/"} <= tried
    assert app.get("/", headers={"Accept": "text/html"}).headers["location"] == "/login?next=/"
    assert app.get("/api/workspaces").json()["error"]["remedy"]


def addresses(routes: Any, prefix: str = "") -> Iterator[tuple[str, set[str]]]:
    """(path, methods) of every route, those of included routers and mounted applications too."""
    for route in routes:
        if (included := getattr(route, "original_router", None)) is not None:
            yield from addresses(included.routes, prefix + (route.include_context.prefix or ""))
            continue
        yield prefix + route.path, getattr(route, "methods", None) or {"GET"}
        mounted = getattr(route, "app", None)
        while mounted is not None and not hasattr(mounted, "routes"):
            mounted = getattr(mounted, "app", None)
        if mounted is not None:
            yield from addresses(mounted.routes, prefix + route.path)


def test_a_server_for_oneself_asks_nobody(lectern_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On loopback without users there is no login and no file of accounts."""
    settings = load_settings(lectern_home)
    assert open_accounts(settings) is None
    assistant = build(settings)
    monkeypatch.setattr(assistant, "_warm_up", assistant.ready.set)
    with TestClient(build_app(assistant), base_url="http://127.0.0.1") as client:
        assert client.get("/api/accounts/me").json() == {"login": False}
        assert client.put("/api/workspaces/new").status_code == 201
    assert not (lectern_home / "accounts.sqlite").exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "lectern.example"])
@pytest.mark.parametrize("login", ["auto", "on", "off"])
def test_other_addresses_need_somebody_who_can_log_in(lectern_home: Path, host: str, login: str) -> None:
    """Refused before a socket is opened, with the command that cures it; allowed once there is a user."""
    settings = load_settings(lectern_home, server={"login": login})
    with pytest.raises(UsageError, match="users add NAME"):
        open_accounts(settings, host)
    accounts = Accounts(lectern_home)
    accounts.users.add("anna", PASSWORD, admin=True)
    accounts.close()
    if login == "off":
        with pytest.raises(UsageError):
            open_accounts(settings, host)
    else:
        opened = open_accounts(settings, host)
        assert opened is not None
        opened.close()


def test_first_admin_may_come_from_a_file_that_the_environment_names(
    lectern_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For containers: the password stands in a secret's file, not in the environment's listing."""
    (tmp_path / "secret").write_text(PASSWORD + "\n")
    monkeypatch.setenv("LECTERN_ADMIN_PASSWORD_FILE", str(tmp_path / "secret"))
    accounts = open_accounts(load_settings(lectern_home), "0.0.0.0")
    assert accounts is not None and accounts.users.check("admin", PASSWORD) is not None
    accounts.close()


# ---- logging in -------------------------------------------------------------------------------------------------


def test_cookie_is_out_of_reach_of_scripts_and_other_sites(app: TestClient, log_in: LogIn) -> None:
    """HttpOnly and SameSite always; over https also Secure and bound to the host by its name."""
    cookie = log_in("anna").cookies
    assert "lectern_login" in cookie
    header = app.post("/login", data={"name": "anna", "password": PASSWORD}, headers=ORIGIN).headers["set-cookie"]
    assert "HttpOnly" in header and "SameSite=lax" in header and "Secure" not in header
    secure = TestClient(app.app, base_url="https://docs.example", follow_redirects=False)
    answer = secure.post(
        "/login", data={"name": "anna", "password": PASSWORD}, headers={"Origin": "https://docs.example"}
    )
    assert answer.headers["set-cookie"].startswith("__Host-lectern_login=") and "Secure" in answer.headers["set-cookie"]
    assert "max-age" in answer.headers["strict-transport-security"]


def test_wrong_name_and_wrong_password_read_the_same(app: TestClient) -> None:
    answers = [
        app.post("/login", data={"name": name, "password": "wrong password"}, headers=ORIGIN)
        for name in ("anna", "nobody")
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    pages = [answer.text.replace("anna", "").replace("nobody", "") for answer in answers]
    assert pages[0] == pages[1] and "not right" in pages[0]


@pytest.mark.parametrize(
    "wanted", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:1", "/ok\r\nX: 1"]
)
def test_login_leads_to_no_other_site(app: TestClient, wanted: str) -> None:
    answer = app.post("/login", data={"name": "anna", "password": PASSWORD, "next": wanted}, headers=ORIGIN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_login_page_shows_names_as_text_only(app: TestClient) -> None:
    """The name that somebody tried comes back in the form; its policy would not run a script anyway."""
    page = app.post("/login", data={"name": '"><script>alert(1)</script>', "password": "x"}, headers=ORIGIN)
    assert "<script" not in page.text and "&lt;script&gt;" in page.text
    assert "unsafe" not in page.headers["content-security-policy"]


def test_guessing_is_slowed_down(app: TestClient, accounts: Accounts, log_in: LogIn) -> None:
    """After five failures even the right password has to wait; another name does not."""
    for _ in range(5):
        assert app.post("/login", data={"name": "mia", "password": "a guess at it"}, headers=ORIGIN).status_code == 401
    blocked = app.post("/login", data={"name": "mia", "password": PASSWORD}, headers=ORIGIN)
    assert blocked.status_code == 429 and int(blocked.headers["retry-after"]) >= 1
    assert log_in("rob").get("/api/workspaces").status_code == 200
    outcomes = [entry.outcome for _, entry in accounts.audit.latest() if entry.who == "mia"]
    assert outcomes[0] == "refused: too many attempts"


def test_waiting_doubles_and_ends(accounts: Accounts) -> None:
    """1, 2, 4 s ... up to a quarter of an hour; a right password forgives that name from that address only."""
    now = [1_000_000.0]
    throttle = Throttle(accounts.database, clock=lambda: now[0])
    waits = []
    for _ in range(17):
        wait, _ = throttle.attempt("mia", "203.0.113.5")
        waits.append(wait)
        now[0] += wait
        if wait:
            throttle.attempt("mia", "203.0.113.5")
    assert waits[:5] == [0.0] * 5 and waits[5:9] == [1.0, 2.0, 4.0, 8.0]
    assert throttle.attempt("mia", "203.0.113.6")[0] == 0.0
    now[0] -= 10 * 365 * 86_400  # the clock was set back by years
    assert throttle.attempt("mia", "203.0.113.5")[0] <= 15 * 60


def test_login_ends_with_logout_time_password_and_user(app: TestClient, accounts: Accounts, log_in: LogIn) -> None:
    browser = log_in("mia")
    assert browser.get("/api/accounts/me").json()["workspaces"] == {"lease": "member"}
    cookie = browser.cookies["lectern_login"]
    browser.post("/logout")
    browser.cookies.set("lectern_login", cookie)
    assert browser.get("/api/accounts/me").status_code == 401  # not only forgotten by the browser
    for end in (
        lambda: accounts.users.set_password("mia", "another horse battery"),
        lambda: setattr(accounts.logins, "_clock", lambda: time.time() + 13 * 3600),
    ):
        browser = log_in("mia")
        end()
        assert browser.get("/api/accounts/me").status_code == 401
        accounts.users.set_password("mia", PASSWORD)
        accounts.logins._clock = time.time
    browser = log_in("mia")
    accounts.users.remove("mia")
    assert browser.get("/api/accounts/me").status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},  # another port is another site
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {},  # a cookie in something that is no browser
    ],
)
def test_other_sites_cannot_use_a_login(app: TestClient, headers: dict[str, str], log_in: LogIn) -> None:
    """Cross-site request forgery, also against the login form itself."""
    cookie = log_in("anna").cookies["lectern_login"]
    by_browser = bool(headers)
    forged = TestClient(app.app, base_url="http://127.0.0.1", headers=headers, cookies={"lectern_login": cookie})
    assert forged.put("/api/workspaces/forged").status_code == 403
    assert forged.delete("/api/workspaces/lease/documents", params={"document": "lease.txt"}).status_code == 403
    if by_browser:
        assert forged.post("/login", data={"name": "anna", "password": PASSWORD}).status_code == 403


# ---- roles ------------------------------------------------------------------------------------------------------

_ASKS = [
    ("GET", "/api/workspaces/lease/documents", None),
    ("GET", "/api/workspaces/lease/page?document=lease.txt", None),
    ("POST", "/api/workspaces/lease/search", {"question": "How long?"}),
    ("POST", "/api/workspaces/lease/ask", {"question": "When may the tenant end the lease?"}),
    ("POST", "/api/workspaces/lease/sessions", {"title": ""}),
]
_CHANGES = [
    ("PUT", "/api/workspaces/lease/documents?name=new.txt", "some text"),
    ("POST", "/api/workspaces/lease/example", None),
    ("DELETE", "/api/workspaces/lease/documents?document=nothing.txt", None),
]
_RULES = [
    ("PUT", "/api/workspaces/other", None),
    ("GET", "/api/accounts/users", None),
    ("POST", "/api/accounts/keys", {"user": "anna"}),
    ("GET", "/api/accounts/audit", None),
    ("GET", "/api/not/yet/written", None),
]


@pytest.mark.parametrize(
    ("name", "ask", "change", "rule"),
    [("rob", True, False, False), ("mia", True, True, False), ("anna", True, True, True), ("vic", False, False, False)],
)
def test_roles_allow_what_they_say_and_no_more(
    app: TestClient, name: str, ask: bool, change: bool, rule: bool, log_in: LogIn
) -> None:
    """reader asks, member also changes documents, admin also rules; somebody from another workspace sees none of it."""
    browser = log_in(name)
    for routes, allowed in ((_ASKS, ask), (_CHANGES, change), (_RULES, rule)):
        for method, path, body in routes:
            sent = {"content": body} if isinstance(body, str) else {"json": body} if body is not None else {}
            status = browser.request(method, path, **sent).status_code
            refused = status == 403 or (status == 404 and (name == "vic" or path.endswith("/other")))
            assert refused is not allowed, (name, method, path, status)


def test_roles_may_be_changed_at_any_moment(app: TestClient, accounts: Accounts, log_in: LogIn) -> None:
    """A login that is open does not keep what was taken away; the last admin cannot be lost."""
    browser = log_in("mia")
    assert browser.get("/api/workspaces/lease/documents").status_code == 200
    accounts.users.change("mia", grants={})
    assert browser.get("/api/workspaces/lease/documents").status_code == 404
    assert browser.get("/api/workspaces").json() == {"workspaces": []}
    with pytest.raises(UsageError, match="only admin"):
        accounts.users.change("anna", admin=False)
    with pytest.raises(UsageError, match="only admin"):
        accounts.users.remove("anna")


def test_grants_end_with_their_workspace(app: TestClient, accounts: Accounts, log_in: LogIn) -> None:
    """A workspace that is made anew under an old name is nobody's."""
    admin = log_in("anna")
    admin.put("/api/workspaces/passing")
    accounts.users.change("mia", grants={"passing": "member"})
    assert admin.delete("/v1/workspaces/passing").status_code in (200, 204)
    assert accounts.users.get("mia").grants == {}


# ---- keys -------------------------------------------------------------------------------------------------------


def test_key_is_shown_once_and_kept_hashed(
    app: TestClient, accounts: Accounts, two_workspaces: Path, log_in: LogIn
) -> None:
    admin = log_in("anna")
    made = admin.post("/api/accounts/keys", json={"user": "mia", "label": "the script", "role": "member"})
    key = made.json()["key"]
    listed = admin.get("/api/accounts/keys")
    assert key not in listed.text and key.split("_")[2] not in listed.text
    client = with_key(app, key)
    assert client.get("/api/workspaces").json() == {"workspaces": ["lease"]}
    row = next(row for row in admin.get("/api/accounts/keys").json()["keys"] if row["id"] == made.json()["id"])
    assert row["used_at"] is not None and row["state"] == "active" and row["label"] == "the script"
    kept = b"".join(path.read_bytes() for path in two_workspaces.glob("accounts.sqlite*"))
    for secret in (key, key.split("_", 2)[2], PASSWORD, admin.cookies["lectern_login"]):
        assert secret.encode() not in kept


def test_key_is_limited_by_itself_and_by_its_user(app: TestClient, accounts: Accounts) -> None:
    """The lesser of both roles, the workspaces that both have; at every call, not when the key was made."""
    accounts.users.change("mia", grants={"lease": "member", "vault": "reader"})
    text, _ = accounts.keys.add("mia", role="admin", workspaces=["lease"])
    client = with_key(app, text)
    assert client.get("/api/workspaces").json() == {"workspaces": ["lease"]}
    assert client.get("/api/workspaces/vault/documents").status_code == 404
    assert client.get("/api/accounts/users").status_code == 403
    assert client.put("/api/workspaces/lease/documents?name=k.txt", content="text").status_code == 202
    accounts.users.change("mia", grants={"lease": "reader"})
    assert client.put("/api/workspaces/lease/documents?name=k.txt", content="text").status_code == 403
    accounts.users.change("mia", grants={})
    assert client.get("/api/workspaces/lease/documents").status_code == 404
    reader, _ = accounts.keys.add("anna", role="reader")
    assert with_key(app, reader).put("/api/workspaces/lease/documents?name=k.txt", content="text").status_code == 403
    assert with_key(app, reader).get("/api/accounts/users").status_code == 403


def test_keys_end(app: TestClient, accounts: Accounts) -> None:
    """Revoked, expired, or with their user: from the next call on, although they had been checked before."""
    keys = [accounts.keys.add("mia", days=1) for _ in range(3)]
    clients = [with_key(app, text) for text, _ in keys]
    assert [client.get("/api/workspaces").status_code for client in clients] == [200] * 3
    accounts.keys.revoke(keys[0][1].id)
    with accounts.database.writing() as connection:
        connection.execute("UPDATE keys SET expires_at = ? WHERE id = ?", (time.time() - 1, keys[1][1].id))
    assert [client.get("/api/workspaces").status_code for client in clients] == [401, 401, 200]
    accounts.users.remove("mia")
    assert clients[2].get("/api/workspaces").status_code == 401


def test_wrong_keys(app: TestClient, accounts: Accounts, log_in: LogIn) -> None:
    """A right id with a wrong secret, rubbish, and a wrong key beside a good cookie are refused; guessing is slowed."""
    text, key = accounts.keys.add("mia")
    cookie = log_in("mia").cookies["lectern_login"]
    for wrong in (text[:-1] + ("A" if text[-1] != "A" else "B"), "lek_", "x" * 5000, "lek_000000000000_" + "A" * 43):
        client = TestClient(app.app, base_url="http://127.0.0.1", cookies={"lectern_login": cookie})
        assert client.get("/api/workspaces", headers={"Authorization": f"Bearer {wrong}"}).status_code == 401
    guess = with_key(app, f"lek_{key.id}_{'A' * 43}")
    assert 429 in [guess.get("/api/workspaces").status_code for _ in range(7)]


def test_key_has_a_rate(app: TestClient, accounts: Accounts) -> None:
    text, _ = accounts.keys.add("mia", per_minute=3)
    client = with_key(app, text)
    answers = [client.get("/api/workspaces") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert 1 <= int(answers[3].headers["retry-after"]) <= 20


# ---- one's own --------------------------------------------------------------------------------------------------


def test_conversations_are_ones_own(app: TestClient, log_in: LogIn) -> None:
    """Two readers of one workspace: neither lists, reads, guesses, continues nor deletes what the other said."""
    mia, rob, lease = log_in("mia"), log_in("rob"), "/api/workspaces/lease"
    session = mia.post(f"{lease}/sessions", json={"title": "Mine alone"}).json()
    assert "Mine alone" in mia.get(f"{lease}/sessions").text
    assert "Mine alone" not in rob.get(f"{lease}/sessions").text
    identity = session["session_id"]
    assert rob.get(f"{lease}/sessions/{identity}").status_code == 404
    assert rob.get(f"{lease}/sessions/{identity}/turns").status_code == 404
    assert rob.delete(f"{lease}/sessions/{identity}").status_code == 404
    assert rob.post(f"{lease}/sessions/join", json={"code": "AAAA-BBBB-CCCC"}).status_code == 404
    assert rob.post(f"{lease}/ask", json={"question": "What?", "session": identity}).status_code == 404
    assert mia.get(f"{lease}/sessions/{identity}").status_code == 200


def ask(client: TestClient, session: str, question: str) -> dict[str, Any]:
    found = client.post("/v1/workspaces/lease/ask", json={"question": question, "session": session})
    assert found.status_code == 200, found.text
    return found.json()


def test_a_code_shares_one_conversation_and_no_other(app: TestClient, log_in: LogIn) -> None:
    """Both see each other's turns; the rest of what is said and remembered stays with whom it belongs to."""
    mia, rob, anna, lease = log_in("mia"), log_in("rob"), log_in("anna"), "/api/workspaces/lease"
    private = mia.post(f"{lease}/sessions", json={"title": "Private"}).json()["session_id"]
    ask(mia, private, "My budget is 48,000 euros.")
    shared = mia.post(f"{lease}/sessions", json={"title": "Shared"}).json()
    code, turns = shared["code"], f"{lease}/sessions/{shared['session_id']}/turns"
    assert rob.get(turns).status_code == 404  # knowing its id is not enough
    joined = rob.post(f"{lease}/sessions/join", json={"code": code.lower().replace("-", " ")}).json()
    assert joined["guest"] and joined["session_id"] == shared["session_id"]
    assert [each["title"] for each in rob.get(f"{lease}/sessions").json()["sessions"]] == ["Shared"]
    told = ask(rob, shared["session_id"], "What is my budget?")
    assert "48,000" not in json.dumps(told)  # what mia has told elsewhere
    ask(mia, shared["session_id"], "What does it say?")
    for client in (mia, rob):
        assert [turn["number"] for turn in client.get(turns).json()["turns"]] == [1, 2]
    assert "What is my budget?" in rob.get(turns.replace("/turns", "/export")).text
    assert rob.get(f"{lease}/memories").json()["memories"] == []
    assert "What is my budget?" not in mia.get(f"{lease}/memories").text
    assert anna.get(f"{lease}/sessions").json()["sessions"] == [] and anna.get(turns).status_code == 404


def test_a_guest_leaves_and_may_be_shut_out(app: TestClient, log_in: LogIn) -> None:
    mia, rob, lease = log_in("mia"), log_in("rob"), "/api/workspaces/lease"
    made = mia.post(f"{lease}/sessions", json={"title": "Shared"}).json()
    at = f"{lease}/sessions/{made['session_id']}"
    join = lambda code: rob.post(f"{lease}/sessions/join", json={"code": code}).status_code  # noqa: E731
    assert join(made["code"]) == 200
    for change in ({"title": "Mine"}, {"remember": False}, {"new_code": True}):
        assert rob.patch(at, json=change).status_code == 403
    assert rob.delete(at).status_code == 204 and rob.get(at).status_code == 404
    assert mia.get(at).json()["title"] == "Shared"  # he left it; it is not gone
    assert join(made["code"]) == 200
    renewed = mia.patch(at, json={"new_code": True}).json()["code"]
    assert renewed != made["code"]
    assert rob.get(at).status_code == 404 and rob.get(f"{lease}/sessions").json()["sessions"] == []
    assert join(made["code"]) == 404 and join(renewed) == 200
    assert mia.delete(at).status_code == 204 and rob.get(at).status_code == 404


# ---- the audit log ----------------------------------------------------------------------------------------------


def test_audit_says_who_did_what(
    app: TestClient, accounts: Accounts, caplog: pytest.LogCaptureFixture, log_in: LogIn
) -> None:
    """Changes and refusals, with name, address and outcome; no question, password, key or text is in it or in logs."""
    caplog.set_level(logging.DEBUG)
    mia, rob, admin = log_in("mia"), log_in("rob"), log_in("anna")
    mia.put("/api/workspaces/lease/documents?name=audited.txt", content="the text inside")
    rob.put("/api/workspaces/lease/documents?name=refused.txt", content="the text inside")
    rob.get("/api/workspaces/vault/documents")
    rob.post("/api/workspaces/lease/search", json={"question": "a private question"})
    key = admin.post("/api/accounts/keys", json={"user": "rob"}).json()["key"]
    entries = admin.get("/api/accounts/audit?limit=50&verify=true").json()
    found = {
        (entry["who"], entry["action"].split(" ")[0], entry["target"], entry["outcome"]) for entry in entries["entries"]
    }
    assert ("mia", "PUT", "audited.txt", "202") in found
    assert ("rob", "PUT", "refused.txt", "refused: 403") in found
    assert ("rob", "GET", "", "refused: 404") in found
    assert any(who == "anna" and action == "keys.add" for who, action, _, _ in found)
    assert entries["broken_at"] is None
    written = json.dumps(entries) + caplog.text
    for secret in ("the text inside", "a private question", PASSWORD, key, admin.cookies["lectern_login"]):
        assert secret not in written


def test_audit_is_append_only(accounts: Accounts) -> None:
    """SQL cannot change it; who changes the file by other means breaks the chain of digests."""
    for number in range(3):
        accounts.audit.add("mia", f"act {number}\n9999 forged line\x1b[2K", "ok")
    assert "\n" not in accounts.audit.latest(1)[0][1].action
    with pytest.raises(sqlite3.IntegrityError, match="append-only"), accounts.database.writing() as connection:
        connection.execute("DELETE FROM audit")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"), accounts.database.writing() as connection:
        connection.execute("UPDATE audit SET who = 'rob'")
    number = accounts.audit.latest(2)[1][0]
    with accounts.database.writing() as connection:
        connection.execute("DROP TRIGGER audit_stays")
        connection.execute("UPDATE audit SET who = 'rob' WHERE id = ?", (number,))
        connection.execute(
            "CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'append-only'); END"
        )
    assert accounts.audit.verify() == number


# ---- the command line -------------------------------------------------------------------------------------------


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """`users("list", given=stdin)` as `app.py users list`: (exit status, stdout, stderr)."""
    monkeypatch.setattr(passwords, "COST", 16)

    def run(*arguments: str, given: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(given))
        try:
            status = main(["users", *arguments, "--home", str(tmp_path)])
        except SystemExit as error:
            status = int(str(error.code))
        return (status, *capsys.readouterr())

    return run


def test_command_line(users: Callable[..., Any], tmp_path: Path) -> None:
    """Passwords come by stdin, never as an argument; the file is its owner's alone; secrets are printed once."""
    assert "first user must be an admin" in users("add", "bob", given=f"{PASSWORD}\n")[2]
    assert users("add", "anna", "--role", "admin", given=f"{PASSWORD}\n")[0] == 0
    assert users("add", "bob", PASSWORD)[0] == 2
    status, _, said = users("add", "bob", given="short\n")
    assert status == 2 and said.startswith("error: ") and "Traceback" not in said
    users("add", "bob", "--workspace", "lease:reader", "--workspace", "tax", given=f"{PASSWORD}\n")
    listed = json.loads(users("list", "--json")[1])["users"]
    assert listed[1] == {"name": "bob", "admin": False, "grants": {"lease": "reader", "tax": "member"}}
    key = json.loads(users("key", "add", "bob", "--json")[1])
    assert key["key"].startswith(f"lek_{key['id']}_")
    assert stat.S_IMODE((tmp_path / "accounts.sqlite").stat().st_mode) == 0o600
    audit = users("audit")[1]
    assert "keys.add" in audit and key["key"] not in audit and PASSWORD not in audit
    assert users("audit", "--verify")[0] == 0


# ---- what lasts (test_revocation.py has the rest) ------------------------------------------------------------------


def test_a_conversation_is_closed_when_its_role_is_taken_away(
    log_in: LogIn, accounts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real one: the page's cookie, docs/live.md's `hello`, and the close code that the page tells people about."""
    monkeypatch.setattr(accounts, "settings", ServerSettings(recheck_s=0.05))
    mia = log_in("mia")
    with mia.websocket_connect("ws://127.0.0.1/api/workspaces/lease/live") as socket:
        socket.send_json({"type": "hello", "protocol": 1, "mode": "hands_free"})
        assert socket.receive_json()["type"] == "welcome"
        accounts.users.change("mia", grants={})
        with pytest.raises(WebSocketDisconnect) as closed:
            for _ in range(1000):
                socket.receive_json()
    assert closed.value.code in (4403, 4404) and closed.value.reason


def test_a_removed_user_leaves_no_conversation_behind(app: TestClient, accounts: Accounts, log_in: LogIn) -> None:
    rob, mia, lease = log_in("rob"), log_in("mia"), "/api/workspaces/lease"
    rob.post(f"{lease}/sessions", json={"title": "Rob's own"})
    mia.post(f"{lease}/sessions", json={"title": "Mia's own"})
    kept, gone = (accounts.users.get(name).principal().person for name in ("mia", "rob"))
    people = accounts.home / "workspaces" / "lease" / "people"
    assert (people / gone).is_dir()
    accounts.remove_user("rob")
    assert not (people / gone).exists() and (people / kept).is_dir()
    assert rob.get(f"{lease}/sessions").status_code == 401
    assert "Mia's own" in mia.get(f"{lease}/sessions").text
