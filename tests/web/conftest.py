"""A real server in a process of its own, a real Chromium in front of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_S = 60  # a busy machine; how long a start takes on a quiet one is for the benchmarks to tell


@dataclass
class Server:
    url: str
    home: Path
    outbound: Path  # what the server tried to reach outside this computer, a line each
    process: subprocess.Popen[str]


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start `app.py serve` on a free port, without a way out to any network; stopped at the end of the session."""
    servers: list[Server] = []

    def start(**environment: str) -> Server:
        folder = tmp_path_factory.mktemp("server")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        outbound = folder / "outbound.log"
        log = (folder / "server.log").open("w")
        process = subprocess.Popen(
            [sys.executable, "app.py", "serve", "--port", str(port), "--home", str(folder / "home")],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parent / "offline"),
                "LECTERN_TEST_OUTBOUND": str(outbound),
                "OMP_NUM_THREADS": "1",
                **environment,
            },
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
        server = Server(f"http://127.0.0.1:{port}", folder / "home", outbound, process)
        servers.append(server)
        deadline = time.monotonic() + START_S
        while True:
            try:
                with urllib.request.urlopen(server.url + "/health", timeout=5):
                    return server
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"the server did not start:\n{(folder / 'server.log').read_text()}")
                time.sleep(0.1)

    yield start
    for server in servers:
        server.process.send_signal(signal.SIGINT)
    for server in servers:
        try:
            server.process.wait(20)
        except subprocess.TimeoutExpired:
            server.process.kill()
            pytest.fail("the server did not stop when it was interrupted")


@pytest.fixture(scope="session")
def server(start_server: Callable[..., Server]) -> Server:
    """The server that browser tests share; a test that adds documents uses a workspace of its own."""
    return start_server()


@pytest.fixture(scope="session")
def launch_chromium() -> Iterator[Callable[..., Any]]:
    """Launch a Chromium with further arguments. Skips where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no browser tests")
    executable = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if executable is None:
        pytest.skip("no Chromium on this machine: the page is not tested (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browsers = []

        def launch(*arguments: str) -> Any:
            browser = playwright.chromium.launch(executable_path=executable, args=[*CHROMIUM_ARGUMENTS, *arguments])
            browsers.append(browser)
            return browser

        yield launch
        for browser in browsers:
            browser.close()


@pytest.fixture(scope="session")
def chromium(launch_chromium: Callable[..., Any]) -> Any:
    return launch_chromium()


# Counts what reaches the loudspeaker: every buffer that is started, with its length and loudness.
_LISTEN = """
window.heard = [];
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when, ...rest) {
  const samples = this.buffer.getChannelData(0);
  let power = 0;
  for (const sample of samples) power += sample * sample;
  window.heard.push({ seconds: this.buffer.duration, rms: Math.sqrt(power / samples.length), at: performance.now() });
  return start.call(this, when, ...rest);
};
"""


@pytest.fixture
def open_page(server: Server, chromium: Any, request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Open the page as a new visitor in a workspace of the test's own. Fails on errors in the page's scripts and on
    any request to another origin."""
    contexts: list[Any] = []
    faults: list[str] = []
    own = request.node.name.removeprefix("test_").partition("[")[0][:60].replace("_", "-")

    def open_one(
        *, workspace: str = own, width: int = 1280, height: int = 800, browser: Any = None, **context_options: Any
    ) -> Any:
        create = urllib.request.Request(f"{server.url}/api/workspaces/{workspace}", method="PUT")
        urllib.request.urlopen(create).close()
        context = (browser or chromium).new_context(viewport={"width": width, "height": height}, **context_options)
        contexts.append(context)
        context.add_init_script(_LISTEN)
        context.add_init_script(f"localStorage.setItem('lectern.workspace', {workspace!r})")
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: faults.append(f"script error: {error}"))
        page.on(
            "request",
            lambda asked: (
                faults.append(f"request to {asked.url}")
                if not asked.url.startswith((server.url, "data:", "blob:"))
                else None
            ),
        )
        page.goto(server.url)
        page.wait_for_selector(".lec-welcome-title")
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert faults == []


# ---- a server with a login (test_accounts.py, test_leaks.py) ------------------------------------------------------

PASSWORD = "correct horse battery"
VAULT_SECRET = "The code of the vault is heliotrope forty-one."


@pytest.fixture(scope="module")
def two_workspaces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the workspaces lease and vault, a document each, vectors by hashing."""
    from core.settings import load_settings
    from ingest.pipeline import ingest_file
    from web.wiring import build

    home = tmp_path_factory.mktemp("home")
    settings = load_settings(home, embedder={"model": "hashing:256"})
    assistant = build(settings)
    for name, text in {"lease": "The tenant may end the lease after eleven weeks.", "vault": VAULT_SECRET}.items():
        path = home / f"{name}.txt"
        path.write_text(text)
        assert ingest_file(assistant.workspace(name, create=True), path, settings=settings).status == "added"
    assistant.close()
    return home


@pytest.fixture(scope="module")
def application(two_workspaces: Path) -> Iterator[Any]:
    """The whole application with a login, running; built once for a file, since Gradio takes its time."""
    from fastapi.testclient import TestClient

    from core.settings import load_settings
    from web.accounts import passwords
    from web.accounts.accounts import Accounts
    from web.server import build_app
    from web.wiring import build

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "COST", 16)  # what is tried here does not depend on it
        assistant = build(load_settings(two_workspaces, embedder={"model": "hashing:256"}))
        patch.setattr(assistant, "_warm_up", assistant.ready.set)
        patch.setattr(assistant.inbox, "_settled", lambda workspace: None)
        application = build_app(assistant, local_only=False, accounts=Accounts(two_workspaces))
        with TestClient(application):
            yield application


@pytest.fixture
def accounts(application: Any) -> Any:
    """Of the application, made anew: anna: admin; mia: member of lease; rob: reader of lease; vic: member of vault."""
    from web.accounts.throttle import Rate

    accounts = application.state.accounts
    with accounts.database.writing() as connection:
        connection.execute("DELETE FROM users")
        connection.execute("DELETE FROM failures")
    accounts.rate = Rate()
    accounts.users.add("anna", PASSWORD, admin=True)
    accounts.users.add("mia", PASSWORD, grants={"lease": "member"})
    accounts.users.add("rob", PASSWORD, grants={"lease": "reader"})
    accounts.users.add("vic", PASSWORD, grants={"vault": "member"})
    return accounts


@pytest.fixture
def app(application: Any, accounts: Any) -> Any:
    """Nobody's client of the application."""
    from fastapi.testclient import TestClient

    return TestClient(application, base_url="http://127.0.0.1", follow_redirects=False)


@pytest.fixture
def log_in(application: Any, accounts: Any) -> Callable[..., Any]:
    """`log_in("mia")`: a browser in which she is logged in."""
    from fastapi.testclient import TestClient

    def log_in(name: str, password: str = PASSWORD) -> Any:
        origin = {"Origin": "http://127.0.0.1"}
        browser = TestClient(application, base_url="http://127.0.0.1", headers=origin, follow_redirects=False)
        response = browser.post("/login", data={"name": name, "password": password})
        assert response.status_code == 303, response.text
        return browser

    return log_in
