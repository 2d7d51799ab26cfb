"""Live conversation through the real server and WebSocket, without a browser: latencies, barge-in, many at once.

    python -m benchmarks.live_latency [--short] [--clients 10] [--data QUESTIONS.txt --documents FOLDER] [--speed 1.0]
    python -m benchmarks.live_latency --url http://127.0.0.1:7860      # a server that runs already

A server of its own is started on a free port, with the example manual (or the documents given). Each client plays
spoken questions (flite; measuring only) in real time, as a microphone would, and plays the answers on a clock. Printed
are, in ms, p50 and p95 after the end of speech and after the decision that the turn has ended; then how soon speech
that interrupts an answer makes it fall silent. `--speed 0.2` plays everything five times slower, for machines that are
busy with other things; times are divided accordingly, which is a simulation and said so.
benchmarks/conversation.py measures the same in a browser, with what sound output costs there.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.live_client import LiveClient
from benchmarks.turn_taking import VOICES, said
from core.errors import UsageError, cli_main

QUESTIONS = (
    "How often should the machine be descaled",
    "What does the red light mean",
    "How much water does the tank hold",
    "How do I clean the steam wand",
    "What should I do if no coffee comes out",
    "How long is the warranty",
    "Which water filter do I need",
    "How fine should the beans be ground",
    "What is the pressure of the pump",
    "When must the brewing unit be cleaned",
)
STEPS = ("decided", "transcript", "first_hit", "first_text", "first_audio", "played")
ANSWER_S = 30.0  # to wait for an answer


@contextmanager
def server(home: Path, documents: Path | None) -> Iterator[str]:
    """A running server that is ready, with documents that are searchable by meaning."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    if documents is not None:
        subprocess.run([sys.executable, "-m", "ingest", str(documents), "--home", str(home)], check=True)
    process = subprocess.Popen(
        [sys.executable, "app.py", "serve", "--port", str(port), "--home", str(home)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait(lambda: _json(f"{url}/health")["ready"], process, 600)
        if documents is None:
            _json(f"{url}/api/workspaces/default/example", "POST")
        listed = f"{url}/api/workspaces/default/documents"
        _wait(
            lambda: all(d["status"] == "embedded" for d in _json(listed)["documents"] or [{"status": ""}]), process, 600
        )
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def _json(url: str, method: str = "GET") -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=30) as answer:
        return json.load(answer)


def _wait(ready: Any, process: subprocess.Popen[bytes], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if ready():
                return
        except OSError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise UsageError("the server did not become ready", remedy="Start it by hand to see why: python app.py")
        time.sleep(0.3)


async def converse(
    url: str, questions: Sequence[tuple[str, np.ndarray]], speed: float, *, interrupt: bool
) -> dict[str, Any]:
    """One client asks all questions, each after the answer before has begun; interrupts every second answer."""
    records: list[dict[str, Any]] = []
    silences: list[float] = []
    lost = busy = 0
    async with LiveClient(url, "default") as client:
        await client.silence(0.5, speed=speed)
        for index, (_, samples) in enumerate(questions):
            before = client.last_event
            await client.say(samples, speed=speed)
            listening = asyncio.create_task(client.silence(600, speed=speed))
            try:
                record = await client.wait_for("latency", after=before, timeout_s=ANSWER_S / speed)
                records.append(record.event)
                if interrupt and index % 2 == 0:
                    await asyncio.sleep(0.8)
                    await _stop(listening)
                    silences += await _interrupt(client, speed)
                else:
                    await client.wait_for("heard", after=before, timeout_s=60 / min(speed, 1.0))
            except TimeoutError:
                lost += 1
            finally:
                await _stop(listening)
        busy = max((event["position"] for event in client.all("busy")), default=0)
        errors = [event["code"] for event in client.all("error")]
        await client.send(type="bye")
    return {"records": records, "silences": silences, "lost": lost, "busy": busy, "errors": errors}


async def _interrupt(client: LiveClient, speed: float) -> list[float]:
    """Speak into the answer; ms from the first sample of speech to silence at the loudspeaker."""
    speech = max(client.speeches, default=0)
    if not speech or client.speeches[speech].silent_at is not None:
        return []
    word = said("Stop.", "rms")
    word = word[int(np.argmax(np.abs(word) > 0.05 * np.abs(word).max())) :]  # without the pause before it
    began = time.perf_counter()
    await client.say(word, speed=speed)
    await client.silence(1.2, speed=speed)
    silent = client.speeches[speech].silent_at
    return [(silent - began) * 1000] if silent is not None else []


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def quantiles(values: Sequence[float]) -> dict[str, float | None]:
    if not values:
        return {"n": 0, "p50": None, "p95": None}
    return {
        "n": len(values),
        "p50": round(float(np.quantile(values, 0.5)), 1),
        "p95": round(float(np.quantile(values, 0.95)), 1),
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.live_latency", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--short", action="store_true", help="four questions")
    parser.add_argument("--clients", type=int, default=1, help="conversations at once (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="questions, one a line (default: about the example manual)")
    parser.add_argument("--documents", type=Path, help="file or folder to ask about (default: the example manual)")
    parser.add_argument("--url", help="a running server whose default workspace holds the documents")
    parser.add_argument("--speed", type=float, default=1.0, help="1: real time (default)")
    arguments = parser.parse_args(argv)
    return cli_main(lambda: run(arguments))


def run(arguments: argparse.Namespace) -> int:
    if not shutil.which("flite"):
        raise UsageError("flite is not installed", remedy="apt-get install flite; it is used for measuring only")
    texts = arguments.data.read_text().splitlines() if arguments.data else list(QUESTIONS)
    texts = [text.strip() for text in texts if text.strip()][: 4 if arguments.short else None]
    spoken = [(text, said(text, VOICES[index % len(VOICES)])) for index, text in enumerate(texts)]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = arguments.url or stack.enter_context(server(folder / "home", arguments.documents))

        async def all_clients() -> list[dict[str, Any]]:
            alone = arguments.clients == 1
            talks = (converse(url, spoken, arguments.speed, interrupt=alone) for _ in range(arguments.clients))
            return await asyncio.gather(*talks)

        results = asyncio.run(all_clients())
    records = [record for result in results for record in result["records"]]
    scale = arguments.speed
    table: dict[str, dict[str, dict[str, float | None]]] = {}
    print(f"{'':12} {'after end of speech':>24} {'after the decision':>24}   (ms: p50, p95)")
    for step in STEPS:
        row = {
            since: quantiles([r[since][step] * scale for r in records if step in r[since]])
            for since in ("after_speech_end_ms", "after_decision_ms")
        }
        table[step] = row
        spoke, decided = row["after_speech_end_ms"], row["after_decision_ms"]
        cells = [spoke["p50"], spoke["p95"], decided["p50"], decided["p95"]]
        print(f"{step:12} " + " ".join(f"{'-' if cell is None else cell:>12}" for cell in cells))
    stopped = quantiles([ms * scale for result in results for ms in result["silences"]])
    kept = sum(record["speculation"] == "kept" for record in records)
    lost, busy = sum(result["lost"] for result in results), max(result["busy"] for result in results)
    errors = [code for result in results for code in result["errors"]]
    print(f"barge-in: speech to silence p50 {stopped['p50']} ms, p95 {stopped['p95']} ms ({stopped['n']})")
    print(f"{len(records)} turns answered, {lost} lost, {kept} from what was looked up while the user spoke")
    print(f"{arguments.clients} conversations at once, longest queue shown {busy}, errors {errors or 'none'}")
    if scale != 1.0:
        print(f"played at {scale} of real time, times divided accordingly: as on a machine {1 / scale:.0f}x as fast")
    print(
        json.dumps(
            {
                "benchmark": "live_latency", "clients": arguments.clients, "speed": scale, "steps": table,
                "barge_in_ms": stopped, "turns": len(records), "lost": lost, "kept": kept, "busy": busy,
                "errors": errors,
            }
        )
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
