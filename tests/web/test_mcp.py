"""The tools for agents, called by the protocol's own client: over HTTP from a running server, and over stdio."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from documents import ANSWER, write_lease
from mcp import Client, StdioServerParameters
from v1_server import QUESTION, WORKSPACE, Served, served  # noqa: F401

from core.settings import load_settings
from ingest.pipeline import ingest_file
from ingest.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]


def talk(server: Any, work: Callable[[Client], Coroutine[Any, Any, Any]], **options: Any) -> Any:
    async def run() -> Any:
        async with Client(server, read_timeout_seconds=60, **options) as client:
            return await work(client)

    with ThreadPoolExecutor(1) as fresh:  # where the browser tests ran before, this thread has a loop already
        return fresh.submit(lambda: asyncio.run(run())).result()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_agent_finds_asks_and_reads_over_http(served: Served, mode: Any) -> None:  # noqa: F811
    """With the newest protocol and with the handshake of older clients."""

    async def work(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"search", "ask", "list_documents", "read_page"}
        assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools.values())
        assert all(tool.output_schema and "instruction" in f"{client.instructions}" for tool in tools.values())

        async def call(name: str, **arguments: Any) -> Any:
            result = await client.call_tool(name, {"workspace": WORKSPACE, **arguments})
            assert not result.is_error, result.content
            assert json.loads(result.content[0].text) == result.structured_content  # for clients that read text only
            return result.structured_content

        listed = await call("list_documents")
        assert [row["name"] for row in listed["documents"]] == ["lease.pdf"] and WORKSPACE in listed["workspaces"]
        passage = (await call("search", question=QUESTION, top_k=1))["passages"][0]
        assert passage["page"] == 2 and ANSWER in passage["text"] and passage["answers"]
        answer = await call("ask", question=QUESTION)
        assert answer["citations"][0]["quote"] == ANSWER and not answer["refused"]
        page = await call("read_page", document="lease.pdf", page=2)
        assert ANSWER in page["text"] and page["pages"] == 3
        rest = await call("read_page", document="lease.pdf", page=2, start=page["text"].index(ANSWER))
        assert rest["text"].startswith(ANSWER)
        assert (await call("ask", question="Who won the chess championship of Norway?"))["refused"]

    talk(f"{served.url}/mcp", work, mode=mode)


def test_errors_tell_the_agent_what_to_do(served: Served) -> None:  # noqa: F811
    async def work(client: Client) -> None:
        for name, arguments, expected in (
            ("read_page", {"document": "absent.pdf", "workspace": WORKSPACE}, "there is no document 'absent.pdf'"),
            ("read_page", {"document": "lease.pdf", "page": 9, "workspace": WORKSPACE}, "It has 3 pages"),
            ("search", {"question": "x", "workspace": "nowhere"}, "there is no workspace"),
            ("search", {"question": ""}, "question"),
        ):
            result = await client.call_tool(name, arguments)
            assert result.is_error and expected in result.content[0].text  # type: ignore[union-attr]
            assert "Traceback" not in str(result.content)

    talk(f"{served.url}/mcp", work)


def test_tools_act_for_whoever_sent_the_request(served: Served) -> None:  # noqa: F811
    """The principal of the request reaches the thread in which the tool runs, in either protocol."""
    from web.accounts import access
    from web.accounts.access import Principal

    seen: list[str] = []
    original = access.require

    def noting(workspace: str, action: Any) -> None:
        seen.append(getattr(access.current(), "name", "nobody"))
        original(workspace, action)

    from web import wiring

    wiring.access.require = noting  # type: ignore[attr-defined]
    try:
        for mode in ("auto", "legacy"):
            seen.clear()

            async def work(client: Client) -> Any:
                return await client.call_tool("list_documents", {"workspace": WORKSPACE})

            assert not talk(f"{served.url}/mcp", work, mode=mode).is_error
            assert seen and set(seen) == {access.OWNER.name}  # what the middleware put there without a login
    finally:
        wiring.access.require = original  # type: ignore[attr-defined]
    assert Principal("x").role_in(WORKSPACE) is None


@pytest.fixture
def home(tmp_path: Path) -> Path:
    settings = load_settings(tmp_path / "home", embedder={"model": "hashing:256"})
    write_lease(tmp_path / "lease.pdf")
    with Workspace.open(settings.home, WORKSPACE) as workspace:
        ingest_file(workspace, tmp_path / "lease.pdf", settings=settings)
    return settings.home


ENVIRONMENT = {"LECTERN_EMBEDDER__MODEL": "hashing:256", "LECTERN_LOCATOR__MODEL": "sentence", "OMP_NUM_THREADS": "1"}


def test_an_agent_starts_it_over_stdio(home: Path) -> None:
    async def work(client: Client) -> Any:
        return (await client.call_tool("ask", {"question": QUESTION})).structured_content

    started = StdioServerParameters(
        command=sys.executable,
        args=["app.py", "mcp", "--workspace", WORKSPACE, "--home", str(home)],
        env={**os.environ, **ENVIRONMENT},
        cwd=ROOT,
    )
    assert talk(started, work)["citations"][0]["page"] == 2


def test_stdout_carries_the_protocol_alone_and_errors_are_one_line(home: Path) -> None:
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}},
    }
    command = [sys.executable, "-m", "web.mcp", "--home", str(home), "--workspace"]
    options: Any = {"cwd": ROOT, "env": {**os.environ, **ENVIRONMENT}, "capture_output": True, "text": True}
    done = subprocess.run([*command, WORKSPACE], input=json.dumps(hello) + "\n", timeout=60, **options)
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [1] and done.returncode == 0
    missing = subprocess.run([*command, "nowhere"], input="", timeout=60, **options)
    assert missing.stdout == "" and missing.returncode == 1
    assert missing.stderr.count("\n") == 1 and "nowhere" in missing.stderr
