"""Slow, endless and oversized requests, sent by hand over sockets to a server that has little patience."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from web.accounts import access
from web.accounts.middleware import AccountsMiddleware
from web.connections import MAX_HEADER_BYTES, PatientBodies, patient_protocol
from web.guard import Guard
from web.server import listen
from web.v1.bounded import BoundedRoute

PATIENCE_S = 0.4


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    app = FastAPI()
    app.router.route_class = BoundedRoute
    app.add_middleware(PatientBodies, timeout_s=PATIENCE_S)

    @app.get("/")
    def hello() -> str:
        return "hello"

    @app.post("/length")
    async def length(request: Request) -> int:
        return len(await request.body())

    @app.post("/refused")
    async def refused() -> Response:
        return Response("too large", 413, {"Connection": "close"})

    @app.post("/json")
    async def parsed(value: dict[str, Any]) -> int:
        return len(value)

    listener = listen("127.0.0.1", 0)
    config = uvicorn.Config(
        app, log_level="critical", http=patient_protocol(PATIENCE_S), h11_max_incomplete_event_size=MAX_HEADER_BYTES
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(10)


def send(port: int, *pieces: bytes) -> bytes:
    """What the server answers until it closes the connection, or 20 s."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for piece in pieces:
            connection.sendall(piece)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
        return answer


def send_too_much(port: int, *pieces: bytes) -> bytes:
    """`send`, again where the connection broke: a server that closes with bytes unread may take its answer along."""
    for _ in range(4):
        with contextlib.suppress(ConnectionError):
            return send(port, *pieces)
    return send(port, *pieces)


def test_headers_that_never_end_are_given_up(port: int) -> None:
    """From the first request of a connection, and from a later one."""
    assert send(port, b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ") == b""
    answer = send(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nX-Sl")
    assert answer.startswith(b"HTTP/1.1 200") and answer.count(b"HTTP/1.1") == 1
    assert send(port) == b""  # nor is nothing at all waited for


def test_bodies_that_stop_are_refused(port: int) -> None:
    answer = send(port, b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nonly this")
    assert answer.startswith(b"HTTP/1.1 408") and b"Send it again" in answer


def test_large_and_swift_bodies_pass(port: int) -> None:
    body = bytes(5_000_000)
    head = b"POST /length HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert send(port, head, body).endswith(b"5000000")


def test_headers_are_bounded(port: int) -> None:
    """Many or long, the server says so and goes on for others."""
    for header in (b"X: " + b"a" * 70_000, b"\r\n".join(b"X-%d: a" % n for n in range(8000))):
        answer = send_too_much(port, b"GET / HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n")
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))
    assert b"hello" in send(port, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"a":' * 50_000, b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", b'{"a": "\xff"}']
)
def test_json_that_is_too_deep_or_none_is_a_bad_request(port: int, body: bytes) -> None:
    head = b"POST /json HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
    status = int(send(port, head, b"Content-Length: %d\r\n\r\n" % len(body), body).split(b" ")[1])
    assert 400 <= status < 500


# ---- WebSockets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Origin": "http://127.0.0.1"}, True),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://127.0.0.1:81"}, False),
        ({"Host": "evil.example"}, False),  # a name of the attacker's that resolves to 127.0.0.1
    ],
)
def test_web_sockets_of_other_sites_are_refused(headers: dict[str, str], allowed: bool) -> None:
    """Browsers let every site open a WebSocket to every address; the guard does not."""
    app = FastAPI()
    app.add_middleware(AccountsMiddleware, accounts=None)
    app.add_middleware(Guard, local_only=True)

    @app.websocket("/ws")
    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(access.current().name)  # type: ignore[union-attr]
        await socket.close()

    client = TestClient(app)
    headers = {"Host": "127.0.0.1", **headers}
    if allowed:
        with client.websocket_connect("/ws", headers=headers) as socket:
            assert socket.receive_text() == "owner"
    else:
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/ws", headers=headers):
            pass


def test_answers_carry_the_headers_that_browsers_need() -> None:
    app = FastAPI()
    app.add_middleware(Guard, local_only=True)

    @app.get("/")
    def hello() -> str:
        return "hello"

    client = TestClient(app, base_url="http://127.0.0.1")
    headers = client.get("/", headers={"Origin": "http://evil.example"}).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["connect-src"] == "'self'" and policy["object-src"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "SAMEORIGIN"
    assert headers["referrer-policy"] == "same-origin" and "camera=()" in headers["permissions-policy"]
    assert not [name for name in headers if name.startswith("access-control-")]
    for path in (
        "/gradio_api/upload",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/proxy=http://x",
        "/gradio_api/queue/join",
    ):
        assert client.post(path).status_code == client.get(path).status_code == 404


def test_whoever_is_refused_in_the_middle_of_sending_learns_why(port: int) -> None:
    """The server reads on for a while: a closed connection would hide the reason from clients that send first."""
    body = bytes(3 * 2**20)
    for _ in range(5):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.putrequest("POST", "/refused")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        for start in range(0, len(body), 2**18):
            connection.send(body[start : start + 2**18])
            time.sleep(0.01)  # the answer would be out by now
        assert connection.getresponse().status == 413
        connection.close()
