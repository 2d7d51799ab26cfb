"""The server under load: many clients asking at once, uploads beside them, questions asked again.

    python -m benchmarks.service [--short] [--data SQUAD_TRAIN.json] [--home DIR] [--prepare]

Pages are PDFs made of SQuAD train's paragraphs, three a page; questions are those that belong to the paragraphs, each
asked once, so that no answer comes from the cache. Clients ask one question after the other (a closed loop). In one
run, over the same store, one server after the other:

    just started    the same as the next one, from the moment that the server says it is ready
    fair queue      the defaults: two answers at once, the others wait their turn
    beyond          more clients than may wait: who is told to come back, and whether it is said when (Retry-After)
    asked again     one client, one question, over and over: from the cache
    while ingesting the defaults, five clients, with and without a large PDF being read and embedded beside them
    no queue        the peer: as many at once as there are clients

Other servers are warmed up first. Times are by the clock
at the client; they depend on what else the machine does, the ratios of one run less. `--home` keeps the store for
another run (making the one of 10,000 pages takes minutes), `--prepare` makes it and nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import httpx
import psutil

from core.errors import UsageError, cli_main
from core.settings import ServerSettings

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "squad" / "train-v1.0.json"
PARAGRAPHS_A_PAGE, PAGES_A_FILE = 3, 250
ASK = "/api/workspaces/default/ask"


@dataclass(frozen=True)
class Load:
    """What clients saw."""

    answered: int
    busy: int  # told to come back later
    failed: int
    per_s: float
    p50_ms: float
    p95_ms: float
    cpu_ms: float  # processor time of the server, all its processes, per answer
    peak_mb: float  # resident memory of the server, all its processes
    without_retry_after: int = 0  # of `busy`: those that were not told when to come back


class Server:
    """`app.py serve` in a process of its own."""

    def __init__(self, home: Path, **environment: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed with the server)
        self.process = subprocess.Popen(
            [sys.executable, "app.py", "serve", "--port", str(port), "--home", str(home)],
            cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1", **environment}, stdout=self._log, stderr=self._log,
        )  # fmt: skip

    def __enter__(self) -> Server:
        for _ in range(600):
            try:
                if httpx.get(f"{self.url}/health", timeout=5).json()["ready"]:
                    return self
            except (httpx.HTTPError, KeyError):
                pass
            if self.process.poll() is not None:
                self._log.seek(0)
                raise RuntimeError(f"the server ended: {self._log.read()[-2000:]}")
            time.sleep(0.2)
        self.process.kill()
        raise RuntimeError("the server was not ready after two minutes")

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def cpu_s(self) -> float:
        """Processor time of the server and its children so far."""
        total = 0.0
        for pid in _family(self.process.pid):
            with contextlib.suppress(psutil.Error):
                times = psutil.Process(pid).cpu_times()
                total += times.user + times.system
        return total

    def memory_mb(self) -> float:
        """Proportional set size of the server and its children."""
        total = 0
        for pid in _family(self.process.pid):
            try:
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1])
            except OSError:
                continue
        return total / 1024


def _family(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _family(int(child))


async def ask(client: httpx.AsyncClient, url: str, question: str) -> tuple[str, float]:
    """("answered" | "busy" | "busy, no Retry-After" | "failed", s until the answer was complete)."""
    started = time.perf_counter()
    try:
        response = await client.post(url + ASK, json={"question": question})
        last = json.loads(response.text.splitlines()[-1]) if response.status_code == 200 else {}
    except (httpx.HTTPError, ValueError, IndexError):
        return "failed", time.perf_counter() - started
    outcome = "answered" if last.get("type") == "answer" else "failed"
    if response.status_code == 429:
        outcome = "busy" if response.headers.get("retry-after", "").isdigit() else "busy, no Retry-After"
    return outcome, time.perf_counter() - started


async def load(server: Server, questions: Iterator[str], *, clients: int, seconds: float) -> Load:
    """Let `clients` ask one question after the other for so long; whoever is told to come back waits a second."""
    outcomes: list[tuple[str, float]] = []
    peak = 0.0

    async def one(client: httpx.AsyncClient) -> None:
        async with client:
            while time.perf_counter() < end:
                outcomes.append(await ask(client, server.url, next(questions)))
                if outcomes[-1][0].startswith("busy"):
                    await asyncio.sleep(1)

    async def watch() -> None:
        nonlocal peak
        while time.perf_counter() < end:
            peak = max(peak, server.memory_mb())
            await asyncio.sleep(0.5)

    # made before the clock starts, and without certificates: reading those takes longer than an answer
    made = [httpx.AsyncClient(timeout=120, verify=False) for _ in range(clients)]
    started, used = time.perf_counter(), server.cpu_s()
    end = started + seconds
    await asyncio.gather(watch(), *(one(client) for client in made))
    took = time.perf_counter() - started
    times = sorted(s for outcome, s in outcomes if outcome == "answered")
    count = {kind: sum(outcome.startswith(kind) for outcome, _ in outcomes) for kind in ("answered", "busy", "failed")}
    untold = sum(outcome == "busy, no Retry-After" for outcome, _ in outcomes)
    return Load(
        **count,
        without_retry_after=untold,
        per_s=len(times) / took,
        cpu_ms=1000 * (server.cpu_s() - used) / max(1, len(times)),
        p50_ms=_share(times, 0.5),
        p95_ms=_share(times, 0.95),
        peak_mb=peak,
    )


def _share(times: list[float], share: float) -> float:
    return 1000 * times[min(len(times) - 1, int(share * len(times)))] if times else float("nan")


def asked_again(server: Server, question: str, times: int) -> dict[str, float]:
    """A question from the cache: ms at the client, and what the server says it took."""
    with httpx.Client(timeout=60) as client:
        took, told = [], []
        for n in range(times + 2):  # the first one is answered, the second may still open connections
            started = time.perf_counter()
            response = client.post(server.url + ASK, json={"question": question})
            last = json.loads(response.text.splitlines()[-1])["answer"]
            if n >= 2:
                assert last["cached"], "the answer did not come from the cache"
                took.append(1000 * (time.perf_counter() - started))
                told.append(last["timings_ms"]["total"])
    return {"client_p50_ms": median(took), "client_p95_ms": _share([t / 1000 for t in sorted(took)], 0.95),
            "server_p50_ms": median(told)}  # fmt: skip


def while_ingesting(server: Server, questions: Iterator[str], pdf: Path, *, seconds: float) -> tuple[Load, Load]:
    """Five clients, first alone, then beside a PDF that is read and embedded again and again."""
    alone = asyncio.run(load(server, questions, clients=5, seconds=seconds))
    documents = f"{server.url}/api/workspaces/default/documents"

    async def both() -> Load:
        uploading = True

        async def upload() -> None:
            async with httpx.AsyncClient(timeout=120) as client:
                number = 0
                while uploading:
                    name = f"beside-{number}.pdf"
                    content = pdf.read_bytes() + f"\n% copy {number}\n".encode()  # another file: nothing is known of it
                    await client.put(documents, params={"name": name}, content=content)
                    while uploading and not await _embedded(client, documents, name):
                        await asyncio.sleep(0.5)
                    number += 1

        task = asyncio.ensure_future(upload())
        await asyncio.sleep(1)
        result = await load(server, questions, clients=5, seconds=seconds)
        uploading = False
        await task
        return result

    return alone, asyncio.run(both())


async def _embedded(client: httpx.AsyncClient, documents: str, name: str) -> bool:
    rows = (await client.get(documents)).json()["documents"]
    return any(row["name"] == name and row["status"] in ("embedded", "failed") for row in rows)


def write_documents(data: Path, folder: Path, pages: int) -> list[str]:
    """PDFs of paragraphs under `folder`; the questions that belong to them, in a fixed mixed order."""
    import random

    from reportlab.lib.pagesizes import A4
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import PageBreak, Paragraph, SimpleDocTemplate
    from reportlab.platypus.flowables import Flowable

    style = getSampleStyleSheet()["BodyText"]
    articles = json.loads(data.read_text(encoding="utf-8"))["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    questions = [qa["question"].strip() for p in paragraphs[: pages * PARAGRAPHS_A_PAGE] for qa in p["qas"]]
    random.Random(0).shuffle(questions)
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, pages, PAGES_A_FILE):
        path = folder / f"articles-{first // PAGES_A_FILE:03d}.pdf"
        if path.exists():
            continue
        story: list[Flowable] = []
        for number in range(first * PARAGRAPHS_A_PAGE, min(first + PAGES_A_FILE, pages) * PARAGRAPHS_A_PAGE):
            text = paragraphs[number % len(paragraphs)]["context"]
            story.append(Paragraph(text[:1500].replace("&", "&amp;").replace("<", "&lt;"), style))
            if number % PARAGRAPHS_A_PAGE == PARAGRAPHS_A_PAGE - 1:
                story.append(PageBreak())
        unfinished = path.with_suffix(".part")
        SimpleDocTemplate(str(unfinished), pagesize=A4).build(story)
        unfinished.rename(path)
    return questions


def prepare(home: Path, data: Path, pages: int) -> list[str]:
    """The store, made or as it is; the questions to ask."""
    questions = write_documents(data, home / "made", pages)
    command = [sys.executable, "-m", "ingest", str(home / "made"), "--home", str(home)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return questions


def run(home: Path, data: Path, *, pages: int, clients: int, seconds: float) -> dict[str, object]:
    """Everything the table shows."""
    made = home / "made"
    told = prepare(home, data, pages)
    questions = iter(told)
    with Server(home) as server:
        first = asyncio.run(load(server, questions, clients=clients, seconds=seconds))
        settings = ServerSettings()
        queue = asyncio.run(load(server, questions, clients=clients, seconds=seconds))
        beyond = settings.queue + settings.answers_at_once + clients
        crowd = asyncio.run(load(server, questions, clients=beyond, seconds=min(10.0, seconds)))
        again = asked_again(server, next(questions), 50)
        alone, beside = while_ingesting(server, questions, made / "articles-000.pdf", seconds=seconds)
    for name in _beside(home):
        command = [sys.executable, "-m", "ingest", "--remove", name, "--home", str(home)]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    with Server(home, LECTERN_SERVER__ANSWERS_AT_ONCE=str(clients)) as server:
        asyncio.run(load(server, questions, clients=4, seconds=min(10.0, seconds)))
        free = asyncio.run(load(server, questions, clients=clients, seconds=seconds))
    return {
        "pages": pages, "clients": clients, "seconds": seconds, "load_average": os.getloadavg()[0],
        "just_started": asdict(first), "fair_queue": asdict(queue), "beyond": asdict(crowd), "no_queue": asdict(free),
        "again": again,
        "alone": asdict(alone), "beside_ingest": asdict(beside),
        "ratios": {"p50_no_queue": free.p50_ms / queue.p50_ms, "p95_no_queue": free.p95_ms / queue.p95_ms,
                   "per_s_just_started": first.per_s / queue.per_s,
                   "p95_while_ingesting": beside.p95_ms / alone.p95_ms},
    }  # fmt: skip


def _beside(home: Path) -> list[str]:
    command = [sys.executable, "-m", "ingest", "--list", "--json", "--home", str(home)]
    listed = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    return [row["name"] for row in listed["documents"] if row["name"].startswith("beside-")]


def show(found: dict[str, object]) -> None:
    rows = {
        "just started": "just_started",
        "fair queue": "fair_queue",
        "beyond": "beyond",
        "no queue": "no_queue",
        "5 clients": "alone",
        "+ ingest": "beside_ingest",
    }
    print(f"{found['pages']} pages, {found['clients']} clients, {found['seconds']} s each\n")
    print(
        f"{'':12}{'answered':>9}{'busy':>6}{'failed':>7}{'per s':>8}{'p50 ms':>9}{'p95 ms':>9}{'CPU ms':>8}"
        f"{'peak MiB':>10}"
    )
    for title, key in rows.items():
        row = found[key]
        assert isinstance(row, dict)
        print(
            f"{title:12}{row['answered']:>9}{row['busy']:>6}{row['failed']:>7}{row['per_s']:>8.1f}"
            f"{row['p50_ms']:>9.0f}{row['p95_ms']:>9.0f}{row['cpu_ms']:>8.0f}{row['peak_mb']:>10.0f}"
        )
    again, ratios = found["again"], found["ratios"]
    assert isinstance(again, dict) and isinstance(ratios, dict)
    print(
        f"\nasked again: {again['client_p50_ms']:.1f} ms at the client, {again['server_p50_ms']:.2f} ms in the engine"
    )
    crowd = found["beyond"]
    assert isinstance(crowd, dict)
    print(f"beyond the limit: {crowd['busy']} told to come back, {crowd['without_retry_after']} of them not told when")
    print(f"answers/s just started / later: {ratios['per_s_just_started']:.2f}")
    print(f"p95 while ingesting / alone: {ratios['p95_while_ingesting']:.2f}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, help="a SQuAD file to make documents and questions of")
    parser.add_argument("--home", type=Path, help="keep the store here")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--pages", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each measurement")
    parser.add_argument("--prepare", action="store_true", help="only make the store of --home")
    parser.add_argument("--short", action="store_true", help="300 pages, 20 clients, 10 s")
    options = parser.parse_args()
    if not options.data.is_file():
        raise UsageError(f"there is no {options.data}", remedy="Name a SQuAD file with --data")
    if options.short:
        options.pages, options.clients, options.seconds = 300, 20, 10.0
    with tempfile.TemporaryDirectory() as temporary:
        home = options.home or Path(temporary)
        if options.prepare:
            prepare(home, options.data, options.pages)
            return 0
        shape = {"pages": options.pages, "clients": options.clients, "seconds": options.seconds}
        found = run(home, options.data, **shape)
    show(found)
    print(json.dumps({"benchmark": "service", **found}))
    return 0


if __name__ == "__main__":
    raise SystemExit(cli_main(main))
