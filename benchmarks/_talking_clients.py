"""Conversations without a page, many at once: the protocol of docs/live.md, sound in real time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks._talking_page import RATE, Script

FRAME = 512


@dataclass
class Outcome:
    """What one client has seen. Times in s on the event loop's clock."""

    asked: int = 0
    answered: int = 0
    busy: list[int] = field(default_factory=list)  # positions in the queue that it was told
    errors: list[str] = field(default_factory=list)
    closed: int | None = None  # the code, if the server closed the connection
    first_sound_s: list[float] = field(default_factory=list)  # end of speech -> first sound received
    queued_ms: list[float] = field(default_factory=list)


async def talk(url: str, workspace: str, script: Script, *, delay_s: float, listen_s: float) -> Outcome:
    """One conversation: the script from its start to its end, `listen_s` for what is still to come."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed

    outcome = Outcome(asked=len(script.utterances))
    await asyncio.sleep(delay_s)
    pcm = (np.clip(script.samples(), -1, 1) * 32767).astype("<i2")
    loop = asyncio.get_running_loop()
    address = f"{url.replace('http', 'ws', 1)}/api/workspaces/{workspace}/live"
    try:
        async with connect(address, ping_interval=None, max_size=None, open_timeout=60) as socket:
            await socket.send(json.dumps({"type": "hello", "protocol": 1}))
            welcome = json.loads(await socket.recv())
            if welcome["type"] != "welcome":
                outcome.errors.append(str(welcome))
                return outcome
            began = loop.time()
            receiver = asyncio.create_task(_receive(socket, script, began, outcome))
            for number in range(len(pcm) // FRAME):
                ahead = began + (number + 1) * FRAME / RATE - loop.time()
                if ahead > 0:
                    await asyncio.sleep(ahead)
                await socket.send(pcm[number * FRAME : (number + 1) * FRAME].tobytes())
            silence = bytes(2 * FRAME)
            until = loop.time() + listen_s
            while loop.time() < until and outcome.answered < outcome.asked:
                await socket.send(silence)
                await asyncio.sleep(FRAME / RATE)
            await socket.send(json.dumps({"type": "bye"}))
            receiver.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await receiver
    except ConnectionClosed as closed:
        outcome.closed = closed.rcvd.code if closed.rcvd is not None else 1006
    except OSError as error:
        outcome.errors.append(str(error))
    return outcome


async def _receive(socket: Any, script: Script, began: float, outcome: Outcome) -> None:
    loop = asyncio.get_running_loop()
    ends = [began + utterance.end_s for utterance in script.utterances]
    spoken: dict[int, int] = {}  # speech -> turn
    turns: set[int] = set()
    async for frame in socket:
        if isinstance(frame, bytes):
            speech = struct.unpack_from("<I", frame, 4)[0]
            if speech in spoken and spoken[speech] not in turns:
                turns.add(spoken[speech])
                outcome.first_sound_s.append(
                    loop.time() - max((end for end in ends if end < loop.time()), default=began)
                )
            continue
        event = json.loads(frame)
        if event["type"] == "speech":
            spoken[event["speech"]] = event["turn"]
        elif event["type"] == "answer":
            outcome.answered += 1
        elif event["type"] == "busy" and event["position"] > 0:
            outcome.busy.append(event["position"])
        elif event["type"] == "error":
            outcome.errors.append(f"{event['code']}: {event['message']}")
        elif event["type"] == "latency":
            outcome.queued_ms.append(event["queued_ms"])
