"""What is left after the worst: SIGKILL at random moments, bits flipped, files cut short, backups under load.

    python -m benchmarks.reliability [--short] [--moments 200] [--flips 40] [--only kills|damage|backup]

kills    A process (benchmarks/_reliability_worker.py) adds, replaces, removes, embeds, asks and keeps talks over
         one home until SIGKILL hits it at a random moment. Then every acknowledged document and turn must be there and
         be found, every acknowledged removal must be gone, and a full check must find nothing damaged.
damage   One bit flipped, or the tail cut off, in every file of a workspace in turn. Answers must then be those of the
         sound workspace, or a clear error; which of the two, and who noticed, is counted.
backup   A copy is made while the worker writes, and restored; what the copy holds must be one state.

Small documents and a hashing embedder: what is tried is the storing and reading, not the models.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks._reliability_worker import DOCUMENTS, marker, settings_of, text_of, wrong_answers
from core.errors import LecternError, cli_main
from ingest.backup import backup_workspace, restore_workspace
from ingest.embedders import load_embedder
from ingest.embedding import embed_pending
from ingest.integrity import check_workspace
from ingest.pipeline import ingest_file
from ingest.workspace import Workspace

UNNOTICED = "same answers, unnoticed"
ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Truth:
    """What the killed processes have acknowledged."""

    documents: dict[int, int] = field(default_factory=dict)  # number -> version
    turns: set[str] = field(default_factory=set)
    open: dict[str, object] = field(default_factory=dict)  # the operation that the kill interrupted

    def hear(self, line: dict[str, object]) -> None:
        if "begin" in line:
            self.open = line
            return
        op, number = line.get("op"), line.get("number")
        if op == "add":
            self.documents[int(str(number))] = int(str(line["version"]))
        elif op == "remove":
            self.documents.pop(int(str(number)), None)
        elif op == "say":
            self.turns.add(str(line["question"]))
        self.open = {}


# ------------------------------------------------------------------------------------------------------------- kills
def kill_moments(home: Path, count: int, *, longest_s: float = 2.5, seed: int = 0) -> Counter[str]:
    """Kill `count` times; how often in which operation, and under "wrong" what must not be, printed as it is found."""
    chance, truth, found = random.Random(seed), Truth(), Counter[str]()
    for moment in range(count):
        lines, in_setup = _run_and_kill(home, chance.randrange(1 << 30), truth, chance.uniform(0, longest_s))
        interrupted = str(truth.open.get("op", "between" if not in_setup else "starting"))
        found[interrupted] += 1
        found["acknowledged"] += sum("done" in line and line.get("op") != "open" for line in lines)
        problems = [str(line["problem"]) for line in lines if "wrong" in line]
        problems += _after_the_kill(home, truth)
        for problem in problems:
            found["wrong"] += 1
            print(f"moment {moment}, killed in {interrupted}: {problem}", flush=True)
    return found


def _run_and_kill(home: Path, seed: int, truth: Truth, after_s: float) -> tuple[list[dict[str, object]], bool]:
    state = json.dumps(truth.documents)
    worker = subprocess.Popen(
        [sys.executable, "-m", "benchmarks._reliability_worker", str(home), str(seed), state],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    lines: list[dict[str, object]] = []
    first = worker.stdout.readline()  # from here on it touches the home
    if first:
        lines.append(json.loads(first))
        time.sleep(after_s)
    worker.send_signal(signal.SIGKILL)
    # what had been written before the kill was acknowledged, whether or not anybody had read it yet
    rest = worker.stdout.read().splitlines(keepends=True)
    status = worker.wait()
    lines += [json.loads(line) for line in rest if line.endswith("\n")]
    if status != -signal.SIGKILL:
        lines.append({"wrong": True, "problem": f"the worker ended by itself with status {status}"})
    for line in lines:
        truth.hear(line)
    return lines, len(lines) < 2


def _after_the_kill(home: Path, truth: Truth) -> Iterator[str]:
    from memory.dialogue_store import DialogueStore
    from rag.retriever import HybridRetriever

    settings = settings_of(home)
    with Workspace.open(home, "default") as workspace, DialogueStore(workspace.path) as dialogue:
        _settle(workspace, truth)
        turns = {turn.question for s in dialogue.sessions(limit=100_000) for turn in dialogue.turns(s.session_id)}
        if lost := truth.turns - turns:
            yield f"{len(lost)} acknowledged turns are lost"
        names = {info.name for info in workspace.documents()}
        expected = {f"document{number}.md" for number in truth.documents}
        if names != expected:
            yield f"documents are {sorted(names)}, acknowledged were {sorted(expected)}"
        retriever = HybridRetriever(workspace, load_embedder(settings.embedder), settings.retrieval)
        if problem := wrong_answers(retriever, truth.documents, list(range(DOCUMENTS))):
            yield problem
    yield from (str(damage) for damage in check_workspace(home, "default"))


def _settle(workspace: Workspace, truth: Truth) -> None:
    """An operation that was never acknowledged may have happened or not; wholly, which the checks then prove."""
    if truth.open.get("op") not in ("add", "remove"):
        return
    number = int(str(truth.open["number"]))
    known = {info.name: info for info in workspace.documents()}
    info = known.get(f"document{number}.md")
    if truth.open["op"] == "remove" and info is None:
        truth.documents.pop(number, None)
    elif truth.open["op"] == "add" and info is not None:
        version = int(str(truth.open["version"]))
        if marker(number, version) in workspace.page(info.name, 1).text:
            truth.documents[number] = version
    truth.open = {}


# ------------------------------------------------------------------------------------------------------------ damage
def damage_files(home: Path, flips: int, *, seed: int = 0) -> dict[str, Counter[str]]:
    """Per file: `flips` single bits and a few truncations, each in a fresh copy; what came of them."""
    chance = random.Random(seed)
    sound = home / "sound"
    make_sound(sound)
    expected = _answers(sound)
    outcomes: dict[str, Counter[str]] = {}
    folder = sound / "workspaces" / "default"
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock" and p.stat().st_size):
        label = "files/*" if path.parent.name == "files" else path.relative_to(folder).as_posix()
        kinds = [("flip", chance.randrange(path.stat().st_size * 8)) for _ in range(flips)]
        kinds += [("cut", int(path.stat().st_size * share)) for share in (0.0, 0.5, 0.99)]
        if label == "files/*" and "files/*" in outcomes:
            continue
        for kind, where in kinds:
            copy = home / "broken"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(sound, copy)
            _spoil(copy / path.relative_to(sound), kind, where)
            outcome = _outcome(copy, expected)
            if (
                outcome == UNNOTICED
                and path.suffix == ".sqlite"
                and _rows(path) == _rows(copy / path.relative_to(sound))
            ):
                outcome = "unused bytes"
            outcomes.setdefault(label, Counter())[outcome] += 1
            if outcome == "WRONG":
                print(f"{label}, {kind} at {where}: another answer, and nobody noticed", flush=True)
    return outcomes


def make_sound(home: Path, count: int = DOCUMENTS) -> None:
    """A workspace with every kind of derived file in it: version 1 of `count` documents."""
    settings = settings_of(home)
    (home / "in").mkdir(parents=True)
    with Workspace.open(home, "default") as workspace:
        for number in range(count):
            path = home / "in" / f"document{number}.md"
            path.write_text(text_of(number, 1), encoding="utf-8")
            ingest_file(workspace, path, settings=settings, name=path.name)
        embed_pending(workspace, load_embedder(settings.embedder))
    _answers(home)


def _answers(home: Path) -> list[list[tuple[str, str, float]]]:
    """Hits of a few questions, with their texts and scores."""
    from rag.retriever import HybridRetriever

    settings = settings_of(home)
    with Workspace.open(home, "default", create=False) as workspace:
        embed_pending(workspace, load_embedder(settings.embedder))  # as the page does when it opens a workspace
        retriever = HybridRetriever(workspace, load_embedder(settings.embedder), settings.retrieval)
        questions = [f"{marker(number, 1)} {number}" for number in range(DOCUMENTS)] + ["tenant repair deposit notice"]
        return [
            [
                (hit.chunk.document, workspace.chunk(hit.chunk.chunk_id).text, round(hit.score, 4))
                for hit in retriever.search(question, top_k=5)
            ]
            for question in questions
        ]


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())


def _outcome(home: Path, expected: list[list[tuple[str, str, float]]]) -> str:
    listener = _Listener()
    logging.getLogger().addHandler(listener)
    try:
        same = _answers(home) == expected
    except LecternError as error:
        return "clear error" if error.remedy else "error without remedy"
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        return "TRACEBACK"
    finally:
        logging.getLogger().removeHandler(listener)
    if same and listener.heard:
        return "built anew, announced"
    if same:
        try:
            return "same answers; found by check" if check_workspace(home, "default") else UNNOTICED
        except LecternError:
            return "same answers; found by check"
    return "announced, other answers" if listener.heard else "WRONG"


def _rows(path: Path) -> list[list[tuple[object, ...]]]:
    """Everything that an SQLite file says, the shadow tables of its word index included."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 ORDER BY 1")
        return [connection.execute(f"SELECT * FROM '{name}'").fetchall() for (name,) in tables.fetchall()]


def _spoil(path: Path, kind: str, where: int) -> None:
    data = bytearray(path.read_bytes())
    if kind == "flip":
        data[where // 8] ^= 1 << (where % 8)
    else:
        del data[where:]
    path.write_bytes(data)


# ------------------------------------------------------------------------------------------------------------ backup
def backups_under_load(home: Path, count: int, *, seed: int = 0) -> dict[str, float]:
    """Copies made while the worker writes; each is restored and must pass the full check."""
    truth, wrong, seconds = Truth(), 0, []
    worker = subprocess.Popen(
        [sys.executable, "-m", "benchmarks._reliability_worker", str(home), str(seed), "{}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        try:
            for line in worker.stdout:
                truth.hear(json.loads(line))
                if len(truth.documents) >= 3 and "done" in json.loads(line):
                    break
            for number in range(count):
                before = set(truth.turns)
                out = Path(folder) / f"{number}.zip"
                report = backup_workspace(home, "default", out)
                seconds.append(report.seconds)
                restored = Path(folder) / f"home{number}"
                restore_workspace(out, restored)
                damages = check_workspace(restored, "default")
                wrong += len(damages) + _missing_turns(restored, before)
                for damage in damages:
                    print(f"backup {number}: {damage}", flush=True)
        finally:
            worker.kill()
            worker.communicate()
    return {"backups": count, "wrong": wrong, "seconds_p50": sorted(seconds)[len(seconds) // 2]}


def _missing_turns(home: Path, turns: set[str]) -> int:
    from memory.dialogue_store import DialogueStore

    with DialogueStore(home / "workspaces" / "default") as dialogue:
        there = {turn.question for s in dialogue.sessions(limit=100_000) for turn in dialogue.turns(s.session_id)}
    return len(turns - there)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reliability", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--short", action="store_true", help="10 moments, 4 flips a file, 2 backups")
    parser.add_argument("--moments", type=int, default=200, help="SIGKILLs (default: 200)")
    parser.add_argument("--flips", type=int, default=40, help="bits flipped per file (default: 40)")
    parser.add_argument("--backups", type=int, default=20, help="backups under load (default: 20)")
    parser.add_argument("--only", choices=("kills", "damage", "backup"), help="one part")
    options = parser.parse_args()
    moments, flips, backups = (10, 4, 2) if options.short else (options.moments, options.flips, options.backups)
    results: dict[str, object] = {"benchmark": "reliability", "short": options.short}
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="reliability-") as scratch:
        if options.only in (None, "kills"):
            kills = kill_moments(Path(scratch) / "kills", moments)
            wrong += kills["wrong"]
            print(f"{moments} kills: " + ", ".join(f"{name} {count}" for name, count in kills.most_common()))
            results["kills"] = dict(kills)
        if options.only in (None, "damage"):
            outcomes = damage_files(Path(scratch) / "damage", flips)
            for label, counts in outcomes.items():
                print(f"{label:28}" + ", ".join(f"{name} {count}" for name, count in counts.most_common()))
                wrong += counts["WRONG"] + counts["TRACEBACK"]
            results["damage"] = {label: dict(counts) for label, counts in outcomes.items()}
        if options.only in (None, "backup"):
            results["backup"] = found = backups_under_load(Path(scratch) / "backup", backups)
            wrong += int(found["wrong"])
            print(f"{backups} backups under load: {found['wrong']:.0f} wrong, {found['seconds_p50']:.2f} s each")
    print(json.dumps({**results, "wrong": wrong}))
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(cli_main(main))
