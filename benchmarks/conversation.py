"""Talking with one's documents: how long until the first sound, how soon it falls silent, and is every turn answered?

    python -m benchmarks.conversation [--short] [--data ../shared/data] [--home DIR] [--gap S]
    python -m benchmarks.conversation --other                  # questions that nobody looked at while improving
    python -m benchmarks.conversation --minutes 30             # 60 turns: memory at the start and at the end
    python -m benchmarks.conversation --clients 10             # ten conversations at once: a queue, no errors

A real server (default models), a real page in headless Chromium, a WAV file as its microphone: 20 questions about three
annual reports (PDF), spoken by flite's voices, which nothing was trained to recognise; afterwards interruptions.

 decided -> sound   from the decision that the turn is over to the first sample at the loudspeaker, measured by the page
 speech -> sound    from the end of the words in the microphone to the first sound of the loudspeaker, both tapped on
                    one audio clock; beside it what the page and the server themselves report
 barge-in           from the first sound of the interruption to silence of the loudspeaker, tapped
 right page         a page with the answer is among the first 5 pages that the answer itself found, as its events
                    tell, spoken and typed; beside it by searching for the transcript alone, and how many answers
                    cite such a page
 lost               questions that were spoken and got no answer

Latencies are wall clock and depend on what else the machine does: its load, and the CPU time of the server and of the
browser for each turn, stand beside them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._talking_clients import talk
from benchmarks._talking_page import Heard, Script, converse, first_pages, judge, percentile, voices
from core.errors import UsageError, cli_main
from core.runtime import stay_offline

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
WORKSPACE = "reports"
DOCUMENTS = ("COSTCO_2021_10K.pdf", "NIKE_2021_10K.pdf", "NETFLIX_2015_10K.pdf")
QUESTIONS = (  # and words that stand on a page with the answer
    ("How many employees does Costco have worldwide?", "288,000 employees"),
    ("How many footwear factories supply Nike?", "191 footwear factories"),
    ("How many streaming members does Netflix have?", "75 million streaming members"),
    ("What is the average size of a Costco warehouse?", "approximately 146,000 square feet"),
    ("When was Nike incorporated?", "incorporated in 1967"),
    ("When did Netflix complete its initial public offering?", "initial public offering in May 2002"),
    ("How many gas stations did Costco operate?", "636 gas stations"),
    ("Which countries manufacture most of the Nike footwear?", "Vietnam, Indonesia and China manufactured"),
    ("In how many countries can people watch Netflix?", "190 countries"),
    ("What is the member renewal rate of Costco in the United States and Canada?", "91%"),
    ("How many people work for Nike?", "73,300 employees"),
    ("How many full time employees does Netflix have?", "3,500 were full-time"),
    ("What is the annual fee for a Costco membership?", "annual fee for these memberships is $60"),
    ("How many apparel factories supply Nike?", "344 apparel factories"),
    ("Where are the offices of Netflix?", "Los Gatos, California"),
    ("What is the return policy of Costco for electronic items?", "90-day return policy"),
    ("How many distribution centers does Nike have outside of the United States?", "70 distribution centers"),
    ("How does the domestic DVD segment of Netflix derive its revenues?", "DVD-by-mail"),
    ("How many employees of Costco are represented by unions?", "17,000 employees are represented"),
    ("How much of the Nike sales came from outside the United States?", "61% of total revenues"),
)
OTHER_DOCUMENTS = (
    "AMAZON_2019_10K.pdf",
    "FOOTLOCKER_2022_8K_dated_2022-08-19.pdf",
    "MGMRESORTS_2023Q2_10Q.pdf",
)
OTHER_QUESTIONS = (
    ("How many people did Amazon employ at the end of 2019?", "798,000 full-time and part-time employees"),
    ("What base salary will Dillon receive?", "$1,300,000"),
    ("When did MGM complete the sale of The Mirage?", "December 19, 2022"),
    ("When did Amazon acquire Whole Foods Market?", "August 28, 2017"),
    ("To how much will the base salary of Johnson be reduced?", "fifty percent (50%)"),
    ("When did MGM acquire The Cosmopolitan?", "On May 17, 2022"),
    ("In which state was Amazon reincorporated?", "reincorporated in 1996 in the state of Delaware"),
    ("When will Johnson step down as chief executive officer?", "effective September 1, 2022"),
    ("By how much was the annual cash rent reduced for Gold Strike Tunica?", "$40 million reduction"),
    ("Who is the chief financial officer of Amazon?", "Senior Vice President and Chief Financial Officer"),
    ("How many days before must a party give notice of non-renewal?", "180 days"),
    ("What was the fair value of the acquired equity interests of LeoVegas?", "equaled $556 million"),
)
INTERRUPTIONS = (
    "Wait, how many employees does Nike have?",
    "Hold on, what about the stores of Costco?",
    "Sorry, who founded Netflix?",
)
QUIET_S = 40.0
TARGETS = {"decided_p50_ms": 350, "decided_p95_ms": 700, "sound_p50_ms": 900, "barge_in_p50_ms": 250}


class Server:
    """`app.py serve` over a folder of workspaces."""

    def __init__(self, home: Path, log: Path) -> None:
        import psutil

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log = log.open("w")
        self.process = subprocess.Popen(
            [sys.executable, "app.py", "--verbose", "serve", "--port", str(port), "--home", str(home)],
            cwd=ROOT,
            env={**os.environ, "LECTERN_ANSWER__CACHE": "false"},  # with --home, an earlier run has asked the same
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._usage = psutil.Process(self.process.pid)

    def ask(self, path: str, body: Any = None, method: str | None = None) -> Any:
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=300) as response:
            return json.loads(response.read() or b"null")

    def wait(self, ready: Callable[[], bool], timeout_s: float, what: str) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                if ready():
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise UsageError(f"the server did not come to {what}", remedy=f"See {self._log.name}")
            time.sleep(0.5)

    def cpu_s(self) -> float:
        used = self._usage.cpu_times()
        return float(used.user + used.system)

    def memory_mb(self) -> float:
        return float(self._usage.memory_info().rss / 2**20)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()


@contextmanager
def serving(home: Path, documents: Sequence[Path]) -> Iterator[Server]:
    """A server whose documents are read and whose models are loaded."""
    server = Server(home, home / "server.log")
    try:
        server.wait(lambda: server.ask("/health")["status"] == "ok", 120, "its start")
        server.ask(f"/api/workspaces/{WORKSPACE}", method="PUT")
        listed = f"/api/workspaces/{WORKSPACE}/documents"
        there = {row["name"] for row in server.ask(listed)["documents"]}
        for path in documents:
            if path.name not in there:
                server.ask(f"{listed}?name={path.name}", path.read_bytes(), "PUT")
        server.wait(
            lambda: all(row["status"] == "embedded" for row in server.ask(listed)["documents"]),
            1800,
            "the end of reading",
        )
        server.wait(lambda: server.ask("/health")["ready"], 300, "its models")
        server.ask(f"/api/workspaces/{WORKSPACE}/search", {"question": QUESTIONS[0][0]})
        time.sleep(20)  # the words of the documents are learnt behind the documents
        yield server
    finally:
        server.stop()


def pages_with(data: Path, documents: Sequence[str], words: Sequence[str]) -> dict[str, set[tuple[str, int]]]:
    """words -> pages (document, from 1) on which they stand, white space aside."""
    import pypdfium2

    found: dict[str, set[tuple[str, int]]] = {each: set() for each in words}
    for name in documents:
        document = pypdfium2.PdfDocument(data / "financebench" / "pdfs" / name)
        for number in range(len(document)):
            text = re.sub(r"\s+", "", document[number].get_textpage().get_text_bounded())
            for each in words:
                if re.sub(r"\s+", "", each) in text:
                    found[each].add((name, number + 1))
    missing = [each for each, pages in found.items() if not pages]
    assert not missing, missing
    return found


def top_pages(server: Server, question: str) -> list[tuple[str, int]]:
    """The first 5 pages found by a search."""
    return first_pages(server.ask(f"/api/workspaces/{WORKSPACE}/search", {"question": question, "top_k": 20})["hits"])


def measure(server: Server, script: Script) -> tuple[list[Heard], dict[str, Any]]:
    """Speak a script to the page; what became of it, and what it cost."""
    load, cpu, memory = os.getloadavg()[0], server.cpu_s(), server.memory_mb()
    recording = converse(server.url, WORKSPACE, script)
    heard = judge(recording, script)
    turns = max(1, len(heard))
    cost = {
        "seconds": round(recording.seconds),
        "load_before": round(load, 1),
        "load_after": round(os.getloadavg()[0], 1),
        "server_cpu_s_per_turn": round((server.cpu_s() - cpu) / turns, 2),
        "browser_cpu_s_per_turn": round(recording.cpu_s / turns, 2),
        "memory_start_mb": round(memory),
        "memory_end_mb": round(server.memory_mb()),
        "connections_lost": len(recording.events("closed", "closed"))
        + sum(who == "closed" for _, who, _ in recording.messages),
        "errors": sorted({e["code"] for _, e in recording.events("error")}),
    }
    return heard, cost


def run_questions(server: Server, arguments: argparse.Namespace) -> dict[str, Any]:
    documents, asked = chosen(arguments)
    asked = asked[:6] if arguments.short else asked
    name, speech = voices()
    script = Script(speech)
    for question, _ in asked:
        script.say(question, pause_s=arguments.gap)
    print(f"{len(asked)} questions, voices: {name}, {script.length / 16_000:.0f} s of sound", flush=True)
    heard, cost = measure(server, script)
    right = pages_with(arguments.data, documents, [words for _, words in asked])
    counts = dict.fromkeys(("found_spoken", "found_typed", "cited_spoken", "cited_typed", "search_spoken"), 0)
    print(
        f"{'question as it was understood':64} {'decided':>8} {'sound':>8} {'page says':>9} {'waited':>7}  page, cited"
    )
    for (question, words), each in zip(asked, heard, strict=False):
        gold = right[words]
        typed = server.ask(f"/v1/workspaces/{WORKSPACE}/ask", {"question": question})
        outcome = {
            "found_spoken": bool(gold & set(each.found)),
            "found_typed": bool(gold & set(top_pages(server, question))),
            "cited_spoken": bool(gold & set(each.pages)),
            "cited_typed": bool(gold & {(c["document"], c["page"]) for c in typed["citations"]}),
            "search_spoken": bool(each.transcript) and bool(gold & set(top_pages(server, each.transcript))),
        }
        for key, value in outcome.items():
            counts[key] += value
        numbers = (each.decided, each.sound, each.sound_page, each.waited)
        shown = [f"{value:.0f}" if value is not None else "-" for value in numbers]
        told = ["yes" if outcome[key] else "no" for key in ("found_spoken", "cited_spoken")]
        print(
            f"{(each.transcript or 'LOST: ' + question)[:64]:64} {shown[0]:>8} {shown[1]:>8} {shown[2]:>9}"
            f" {shown[3]:>7}  {', '.join(told)}"
        )
    found, typed_found = counts["found_spoken"], counts["found_typed"]
    return {
        "set": "other" if arguments.other else "usual",
        "questions": len(asked),
        "voices": name,
        "lost": sum(not each.answered for each in heard),
        "decided_p50_ms": percentile([each.decided for each in heard], 50),
        "decided_p95_ms": percentile([each.decided for each in heard], 95),
        "sound_p50_ms": percentile([each.sound for each in heard], 50),
        "sound_p95_ms": percentile([each.sound for each in heard], 95),
        "sound_as_reported_p50_ms": percentile([each.sound_page for each in heard], 50),
        "waited_p50_ms": percentile([each.waited for each in heard], 50),
        "steps_after_decision_p50_ms": steps(heard, 50),
        "steps_after_decision_p95_ms": steps(heard, 95),
        "speculation_kept": sum(each.latency.get("speculation") == "kept" for each in heard),
        **counts,
        "found_spoken_per_typed": round(found / typed_found, 3) if typed_found else None,
        "wer": word_error_rate([(q, each.transcript) for (q, _), each in zip(asked, heard, strict=False)]),
        **cost,
    }


def chosen(arguments: argparse.Namespace) -> tuple[Sequence[str], Sequence[tuple[str, str]]]:
    """Documents and questions."""
    return (OTHER_DOCUMENTS, OTHER_QUESTIONS) if arguments.other else (DOCUMENTS, QUESTIONS)


def steps(heard: Sequence[Heard], share: float) -> dict[str, float | None]:
    names = ("transcript", "first_hit", "first_text", "first_audio", "played")
    return {
        name: percentile([each.latency.get("after_decision_ms", {}).get(name) for each in heard], share)
        for name in names
    }


def word_error_rate(pairs: Sequence[tuple[str, str]]) -> float:
    import jiwer

    from omni.language_bias import words_of

    said, understood = ([" ".join(words_of(text)) for text in side] for side in zip(*pairs, strict=True))
    return round(100 * jiwer.wer(list(said), list(understood)), 1)


def run_interruptions(server: Server, count: int, first_sound_ms: float | None) -> dict[str, Any]:
    """Questions whose answers are interrupted 1 s after their first sound should have come."""
    _, speech = voices()
    script = Script(speech)
    pause_s = 1.0 + (first_sound_ms or 1500.0) / 1000
    for number in range(count):
        script.say(QUESTIONS[(3 * number + 1) % len(QUESTIONS)][0], pause_s=pause_s)
        script.say(INTERRUPTIONS[number % len(INTERRUPTIONS)], pause_s=10.0, interrupts=True)
    heard, cost = measure(server, script)
    silent = [each.silent for each in heard if each.utterance.interrupts]
    return {
        "interruptions": count,
        "while_it_spoke": sum(value is not None for value in silent),
        "barge_in_p50_ms": percentile(silent, 50),
        "barge_in_max_ms": percentile(silent, 100),
        **cost,
    }


def run_long(server: Server, minutes: float) -> dict[str, Any]:
    """Two turns a minute; memory after the first six turns and at the end, each time when nobody has spoken for a
    while: an answer's scratch is given back every half minute."""
    _, speech = voices()
    rows: list[Heard] = []
    turns = round(2 * minutes)
    warm, most = None, 0.0
    began, cpu = time.monotonic(), server.cpu_s()
    for start in range(0, turns, 6):  # a page at a time: what is tapped of a page grows, too
        script = Script(speech)
        for number in range(start, min(start + 6, turns)):
            question = QUESTIONS[number % len(QUESTIONS)][0]
            script.say(question, pause_s=1.0)
            script.pieces.append(np.zeros(max(0, 30 * 16_000 * (number - start + 1) - script.length), np.float32))
            script.length = sum(map(len, script.pieces))
        heard, _ = measure(server, script)
        rows += heard
        most = max(most, server.memory_mb())
        if not warm or len(rows) >= turns:
            time.sleep(QUIET_S)
        warm = warm or server.memory_mb()
        print(f"{len(rows)} turns, {sum(not e.answered for e in rows)} lost, {server.memory_mb():.0f} MB", flush=True)
    third = max(1, len(rows) // 3)
    return {
        "minutes": round((time.monotonic() - began) / 60, 1),
        "turns": len(rows),
        "lost": sum(not each.answered for each in rows),
        "memory_start_mb": round(warm or 0),
        "memory_end_mb": round(server.memory_mb()),
        "memory_most_mb": round(most),
        "memory_change": round(server.memory_mb() / (warm or 1) - 1, 4),
        "decided_p50_first_third_ms": percentile([each.decided for each in rows[:third]], 50),
        "decided_p50_last_third_ms": percentile([each.decided for each in rows[-third:]], 50),
        "decided_p95_ms": percentile([each.decided for each in rows], 95),
        "sound_p50_first_third_ms": percentile([each.sound for each in rows[:third]], 50),
        "sound_p50_last_third_ms": percentile([each.sound for each in rows[-third:]], 50),
        "server_cpu_s_per_turn": round((server.cpu_s() - cpu) / max(1, len(rows)), 2),
    }


def run_clients(server: Server, clients: int, questions: int) -> dict[str, Any]:
    """Many conversations at once over the protocol, each begun a little later than the one before."""
    _, speech = voices()
    scripts = []
    for client in range(clients):
        script = Script(speech)
        for number in range(questions):
            script.say(QUESTIONS[(client + 7 * number) % len(QUESTIONS)][0], pause_s=12.0)
        scripts.append(script)

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(
            *(talk(server.url, WORKSPACE, script, delay_s=0.4 * i, listen_s=90) for i, script in enumerate(scripts))
        )

    load, cpu, began = os.getloadavg()[0], server.cpu_s(), time.monotonic()
    outcomes = asyncio.run(all_of_them())
    sounds = [1000 * value for outcome in outcomes for value in outcome.first_sound_s]
    return {
        "clients": clients,
        "asked": sum(outcome.asked for outcome in outcomes),
        "answered": sum(outcome.answered for outcome in outcomes),
        "told_busy": sum(bool(outcome.busy) for outcome in outcomes),
        "longest_queue": max((position for outcome in outcomes for position in outcome.busy), default=0),
        "errors": sorted({error for outcome in outcomes for error in outcome.errors}),
        "closed_by_server": [outcome.closed for outcome in outcomes if outcome.closed is not None],
        "first_sound_p50_ms": percentile(sounds, 50),
        "first_sound_p95_ms": percentile(sounds, 95),
        "queued_p50_ms": percentile([value for outcome in outcomes for value in outcome.queued_ms], 50),
        "load_before": round(load, 1),
        "load_after": round(os.getloadavg()[0], 1),
        "server_cpu_share": round((server.cpu_s() - cpu) / (time.monotonic() - began), 2),
    }


def report(results: dict[str, Any]) -> None:
    for name, values in results.items():
        if not isinstance(values, dict) or name in ("commit",):
            continue
        print(f"\n{name}")
        for key, value in values.items():
            target = TARGETS.get(key)
            print(f"  {key:32} {value!s:>12}{f'   (to reach: {target})' if target else ''}")


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="6 questions, 2 interruptions")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with financebench/pdfs (default: %(default)s)")
    parser.add_argument("--home", type=Path, help="keep the workspaces here for the next run (default: a new folder)")
    parser.add_argument("--gap", type=float, default=12.0, help="silence after each question, s (default: %(default)s)")
    parser.add_argument("--other", action="store_true", help="the other questions, over other documents")
    parser.add_argument("--minutes", type=float, help="one long conversation instead, two turns a minute")
    parser.add_argument("--clients", type=int, help="so many conversations at once instead")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    stay_offline()
    documents = [arguments.data / "financebench" / "pdfs" / name for name in chosen(arguments)[0]]
    if missing := [path.name for path in documents if not path.is_file()]:
        raise UsageError(
            f"{missing[0]} is not in {documents[0].parent}", remedy="Name the folder of the data with --data"
        )
    results: dict[str, Any] = {"benchmark": "conversation", "machine": platform.machine(), "cores": os.cpu_count()}
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    results["commit"] = commit.stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        home = arguments.home or Path(folder)
        home.mkdir(parents=True, exist_ok=True)
        with serving(home, documents) as server:
            if arguments.minutes:
                results["long"] = run_long(server, arguments.minutes)
            elif arguments.clients:
                results["at_once"] = run_clients(server, arguments.clients, 2 if arguments.short else 3)
            else:
                questions = run_questions(server, arguments)
                results["questions"] = questions
                results["interruptions"] = run_interruptions(
                    server, 2 if arguments.short else 6, questions["sound_p50_ms"]
                )
    report(results)
    print(json.dumps(results))
    return 0


if __name__ == "__main__":
    raise SystemExit(cli_main(main))
