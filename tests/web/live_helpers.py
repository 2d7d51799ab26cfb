"""For tests of live conversation: a server that says what the test tells it to, and a network that can be cut."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

FLEETING = {"state", "partial", "looking", "duck", "hold", "resume", "busy", "latency"}
RATE = 16_000


class ScriptedServer:
    """Speaks docs/live.md as far as connections, resuming and sound go; what happens in between the test says.

    `messages` and `frames` are what the page has sent, over all connections; `hellos` one per connection.
    """

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.hellos: list[dict[str, Any]] = []
        self.samples = np.zeros(0, np.int16)  # as the sample count has it, gaps as zeros
        self.dropped = 0  # frames that are to be lost on their way
        self.events: list[dict[str, Any]] = []
        self.chunks: list[bytes] = []
        self.session = "s1"
        self._connection: ServerConnection | None = None
        self._changed = threading.Condition()
        self._server = serve(self._serve, "127.0.0.1", 0, ping_interval=None)
        self.address = self._server.socket.getsockname()
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _serve(self, connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed, OSError):
            hello = json.loads(connection.recv())
            with self._changed:
                self.hellos.append(hello)
                resumed = hello.get("session") == self.session
                if not resumed:
                    self.events, self.chunks = [], []
                    self.samples = np.zeros(0, np.int16)
                self._connection = connection
                welcome = {
                    "type": "welcome",
                    "protocol": 1,
                    "session": self.session,
                    "resumed": resumed,
                    "missed": False,
                }
                welcome |= {"next_sample": len(self.samples), "conversation": "", "mode": hello["mode"], "rate": 1.0}
                welcome |= {"ready": True, "recogniser": "none", "voice": "none", "sample_rate": RATE, "limits": {}}
                connection.send(json.dumps(welcome))
                if resumed:
                    for event in self.events:
                        if event["n"] > hello["last_event"] and event["type"] not in FLEETING:
                            connection.send(json.dumps(event))
                    have = hello.get("have") or {"speech": 0, "chunk": -1}
                    for chunk in self.chunks:
                        if struct.unpack_from("<II", chunk, 4) > (have["speech"], have["chunk"]):
                            connection.send(chunk)
                self._changed.notify_all()
            while True:
                self._received(connection, connection.recv())

    def _received(self, connection: ServerConnection, frame: str | bytes) -> None:
        with self._changed:
            if isinstance(frame, bytes):
                if self.dropped:
                    self.dropped -= 1
                else:
                    self.samples = np.append(self.samples, np.frombuffer(frame, np.int16))
            else:
                message = json.loads(frame)
                if message["type"] == "ping":
                    connection.send(json.dumps({"type": "pong", "id": message["id"]}))
                    return
                if message["type"] == "gap":
                    self.samples = np.append(self.samples, np.zeros(message["samples"], np.int16))
                self.messages.append({**message, "sample": len(self.samples)})
            self._changed.notify_all()

    def say(self, kind: str, **fields: Any) -> None:
        """Send an event, or keep it for when the page is back."""
        with self._changed:
            event = {"type": kind, "n": len(self.events) + 1, **fields}
            self.events.append(event)
            with contextlib.suppress(ConnectionClosed, OSError, AttributeError):
                self._connection.send(json.dumps(event))  # type: ignore[union-attr]

    def speak(
        self, speech: int, seconds: float, *, first: int = 0, last: bool = True, sentence: int = 0, rate: int = RATE
    ) -> None:
        """A tone of 440 Hz in chunks of 0.25 s, from chunk `first` on."""
        size = rate // 4
        count = round(seconds * 4)
        for chunk in range(first, first + count):
            at = np.arange(chunk * size, (chunk + 1) * size)
            pcm = (0.4 * 32767 * np.sin(2 * np.pi * 440 * at / rate)).astype("<i2").tobytes()
            flags = (chunk == first) + 2 * (last and chunk == first + count - 1)
            frame = struct.pack("<BBHIIII", 1, flags, rate, speech, chunk, sentence, chunk * size) + pcm
            with self._changed:
                self.chunks.append(frame)
                with contextlib.suppress(ConnectionClosed, OSError):
                    self._connection.send(frame)  # type: ignore[union-attr]

    def wait(self, what: Callable[[], Any], timeout: float = 60) -> Any:
        """The first true value of `what()`, asked whenever something has come in."""
        with self._changed:
            deadline = time.monotonic() + timeout
            while not (found := what()):
                assert self._changed.wait(deadline - time.monotonic()), (
                    f"nothing of the kind came: {self.messages[-5:]}"
                )
            return found

    def message(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The first message of a kind with these fields, waited for."""

        def find() -> dict[str, Any] | None:
            alike = (m for m in self.messages if m["type"] == kind and all(m.get(k) == v for k, v in fields.items()))
            return next(alike, None)

        return self.wait(find)

    def close(self) -> None:
        self._server.shutdown()


class Network:
    """A TCP proxy in front of the app. Live connections may go elsewhere; all can be cut and mended."""

    def __init__(self, app_url: str) -> None:
        parts = urlsplit(app_url)
        self._app = (parts.hostname, parts.port)
        self.live: tuple[str, int] | None = None  # where live connections go, None: to the app
        self._up = True
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            if not self._up:
                return
            head = client.recv(65536)
            is_live = b"/live " in head.split(b"\r\n", 1)[0]
            with socket.create_connection(self.live if is_live and self.live else self._app) as server:
                server.sendall(head)
                pair = (client, server)
                self._pairs.add(pair)
                try:
                    while self._up:
                        for one in select.select(pair, [], [], 0.2)[0]:
                            if not (data := one.recv(65536)):
                                return
                            pair[one is client].sendall(data)
                finally:
                    self._pairs.discard(pair)

    def cut(self) -> None:
        """Every connection breaks, no new one comes about."""
        self._up = False
        for pair in list(self._pairs):
            for one in pair:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._up = True

    def close(self) -> None:
        self.cut()
        self._listener.close()


# What the page asks of the microphone.
WANTED = """
window.wanted = [];
const getUserMedia = navigator.mediaDevices?.getUserMedia;
if (getUserMedia) navigator.mediaDevices.getUserMedia = function (constraints) {
  window.wanted.push(constraints);
  return getUserMedia.call(this, constraints);
};
"""
