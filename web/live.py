"""The WebSocket of live conversation: frames in, events and sound out (docs/live.md); all else is omni/live."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import Any

import numpy as np
from fastapi import APIRouter, FastAPI, WebSocket, WebSocketDisconnect
from starlette.websockets import WebSocketState

from core.errors import AccessError, LecternError, NotFoundError, UsageError
from omni.asr import recogniser_name
from omni.live.outbox import Reader
from omni.vad import SAMPLE_RATE
from web.live_messages import MAX_FRAME, MAX_TEXT, PROTOCOL, Bye, Hello, Ping, UnknownMessage, error_event, parse
from web.live_sessions import LiveSession, LiveSessions, TooManyConversations, as_event
from web.schemas import error_json

log = logging.getLogger(__name__)
router = APIRouter()

HELLO_S = 10.0  # to say hello in
BAD_FRAMES = 20  # then the client is broken
MAX_BACKLOG = 2000  # frames and messages that the conversation has not looked at: a minute; then the client has to wait
BACKLOG_S = 0.02
STALL_S = 20.0  # a client that takes nothing for so long does not read
CLOSE_S = 2.0  # to say goodbye in, to clients that may not read

BYE, GOING_AWAY, BROKEN, TOO_SLOW, INTERNAL = 1000, 1001, 1008, 1013, 4500
NO_HELLO, FORBIDDEN, NO_WORKSPACE, TAKEN_OVER, TOO_MANY = 4400, 4403, 4404, 4409, 4429


def live_sessions(app: FastAPI) -> LiveSessions:
    """The server's live conversations, made with the first one."""
    if getattr(app.state, "live", None) is None:
        app.state.live = LiveSessions(app.state.assistant)
    return app.state.live


@router.websocket("/api/workspaces/{workspace}/live")
async def live(socket: WebSocket, workspace: str) -> None:
    """One connection. The guard and the accounts' middleware have let it pass."""
    sessions = live_sessions(socket.app)
    await socket.accept()
    try:
        hello = await asyncio.wait_for(_hello(socket), HELLO_S)
        principal = getattr(socket.state, "principal", None)
        owner = f"{principal.name}/{principal.person}" if principal is not None else ""
        session = sessions.resume(hello.session, workspace, owner) if hello.session else None
        resumed = session is not None
        if session is None:
            session = await sessions.open(workspace, owner, hello.conversation)
    except WebSocketDisconnect:
        return
    except (UsageError, TimeoutError, TooManyConversations, NotFoundError, AccessError) as error:
        await _refuse(socket, error)
        return
    except Exception:
        log.exception("opening a live conversation")
        await _close(socket, INTERNAL)
        return
    connection = _Connection(socket, sessions, session)
    await connection.serve(hello, resumed=resumed)


async def _hello(socket: WebSocket) -> Hello:
    frame = await socket.receive()
    if frame["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(frame.get("code", 1006))
    message = parse(frame["text"]) if frame.get("text") is not None else None
    if not isinstance(message, Hello):
        raise UsageError("the first message is not `hello`", remedy="See docs/live.md")
    if message.sample_rate != SAMPLE_RATE:
        raise UsageError(
            f"sound of {message.sample_rate} Hz is not understood", remedy=f"Send 16-bit samples at {SAMPLE_RATE} Hz"
        )
    if message.protocol != PROTOCOL:
        raise UsageError(f"this server speaks protocol {PROTOCOL} only", remedy="Reload the page")
    return message


async def _refuse(socket: WebSocket, error: Exception) -> None:
    code = NO_HELLO
    if isinstance(error, TooManyConversations):
        code = TOO_MANY
    elif isinstance(error, NotFoundError):
        code = NO_WORKSPACE
    elif isinstance(error, AccessError):
        code = FORBIDDEN
    told = error if isinstance(error, LecternError) else UsageError("no `hello` came", remedy="See docs/live.md")
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        await socket.send_text(as_event("error", turn=0, code="refused", **error_json(told), fatal=True))
    await _close(socket, code)


async def _close(socket: WebSocket, code: int) -> None:
    if socket.application_state is WebSocketState.CONNECTED:
        with contextlib.suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await socket.close(code)


async def _end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait for them, whatever comes of them. Not by `gather`: it hides who has cancelled ourselves."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at, so that nobody complains that it was not


class _Connection:
    """One socket of one session: a loop that receives, a task that sends."""

    def __init__(self, socket: WebSocket, sessions: LiveSessions, session: LiveSession) -> None:
        self.socket, self.sessions, self.session = socket, sessions, session
        self._bad = 0
        self._ready = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def serve(self, hello: Hello, *, resumed: bool) -> None:
        """Until the client leaves, or must. The session outlives it for a while, whatever happens here."""
        code: int | None = INTERNAL
        try:
            code = await self._serve(hello, resumed=resumed)
        except WebSocketDisconnect:
            code = None
        except Exception:
            log.exception("a live connection")
        finally:
            if code == BYE:
                self.sessions.end(self.session)
            else:
                self.sessions.leave(self.session)
        if code is not None:
            await _close(self.socket, code)

    async def _serve(self, hello: Hello, *, resumed: bool) -> int | None:
        """The code to close with; None if the connection is closed."""
        session = self.session
        conversation = session.conversation
        done: asyncio.Future[None] = self._loop.create_future()

        def settle() -> None:
            """In the conversation's thread: the place where the two clocks meet."""
            if not resumed:
                conversation.replies.speaks = hello.speak
            conversation.set_mode(hello.mode)
            self._loop.call_soon_threadsafe(done.cancel)

        session.mailbox.post(settle)
        await asyncio.wait([done])
        have = (hello.have.speech, hello.have.chunk) if hello.have is not None else None
        welcome = await asyncio.to_thread(self._welcome, resumed)
        reader, missed = session.outbox.attach(
            last_event=hello.last_event if resumed else 0, have=have, wake=self._wake
        )
        sender = asyncio.create_task(self._send(reader, {**welcome, "missed": missed}))
        receiver = asyncio.create_task(self._receive(reader))
        try:
            await asyncio.wait({receiver, sender}, return_when=asyncio.FIRST_COMPLETED)
            return (receiver if receiver.done() else sender).result()
        finally:
            session.outbox.detach(reader)
            await _end(sender, receiver)

    def _welcome(self, resumed: bool) -> dict[str, Any]:
        assistant, conversation = self.sessions.assistant, self.session.conversation
        settings = assistant.settings
        voice, sample_rate = settings.speech.voice, 16_000
        if assistant.ready.is_set():
            with contextlib.suppress(LecternError):
                made = assistant.synthesiser()
                voice, sample_rate = made.name, made.sample_rate
        return {
            "protocol": PROTOCOL,
            "session": self.session.id,
            "resumed": resumed,
            "next_sample": conversation.received,
            "conversation": self.session.answerer.conversation,
            "mode": conversation.mode,
            "rate": conversation.replies.rate,
            "volume": conversation.replies.volume,
            "speak": conversation.replies.speaks,
            "ready": assistant.ready.is_set(),
            "recogniser": recogniser_name(settings.speech),
            "voice": voice,
            "sample_rate": sample_rate,
            "limits": {
                "frame_bytes": MAX_FRAME,
                "text_bytes": MAX_TEXT,
                "turn_s": conversation.settings.turn_taking.limit_s,
                "grace_s": settings.live.grace_s,
                "lead_s": settings.live.lead_s,
                "behind_s": conversation.settings.behind_s,
            },
        }

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server stops
            self._loop.call_soon_threadsafe(self._ready.set)

    async def _send(self, reader: Reader, welcome: dict[str, Any]) -> int | None:
        """Everything that the outbox holds, in order, until the client reads too slowly or another has taken over."""
        frames: list[str | bytes] = [as_event("welcome", **welcome)]
        try:
            while not reader.replaced:
                for frame in frames:
                    if reader.overflowed:
                        return TOO_SLOW
                    async with asyncio.timeout(STALL_S):
                        if isinstance(frame, str):
                            await self.socket.send_text(frame)
                        else:
                            await self.socket.send_bytes(frame)
                frames = reader.take()
                if not frames:
                    await self._ready.wait()
                    self._ready.clear()
        except TimeoutError:
            return TOO_SLOW
        except RuntimeError:  # closed meanwhile
            return None
        return TAKEN_OVER

    async def _receive(self, reader: Reader) -> int | None:
        """Messages and sound until the client leaves; the code to close with, None if it is closed."""
        session = self.session
        conversation, mailbox = session.conversation, session.mailbox
        while self._bad < BAD_FRAMES:
            while mailbox.waiting >= MAX_BACKLOG and not reader.replaced:  # nothing is read meanwhile, nothing lost
                await asyncio.sleep(BACKLOG_S)
            frame = await self.socket.receive()
            if frame["type"] == "websocket.disconnect" or reader.replaced:
                return None
            data = frame.get("bytes")
            if data is not None:
                if not data or len(data) % 2 or len(data) > MAX_FRAME:
                    self._complain("bad_frame", UsageError(
                        f"a sound frame of {len(data)} bytes", remedy=f"Send 2 to {MAX_FRAME} bytes, an even number"
                    ))  # fmt: skip
                else:
                    samples = np.frombuffer(data, "<i2").astype(np.float32) / 32768
                    mailbox.post(partial(conversation.hear, samples))
                continue
            try:
                message = parse(frame.get("text") or "")
            except UnknownMessage as error:
                self._complain("unknown_message", error)
                continue
            except UsageError as error:
                self._complain("bad_message", error)
                continue
            if isinstance(message, Bye):
                return BYE
            if isinstance(message, Ping):
                # Through the outbox: it comes behind everything that was sent before it.
                with session.outbox.lock:
                    reader.put(as_event("pong", id=message.id))
            elif isinstance(message, Hello):
                self._complain("bad_message", UsageError("`hello` comes once", remedy="Connect again to resume"))
            else:
                mailbox.post(partial(conversation.control, message.model_dump()))
        return BROKEN

    def _complain(self, code: str, error: LecternError) -> None:
        self._bad += code != "unknown_message"
        self.session.outbox.event("error", keep=False, **error_event(code, error))
