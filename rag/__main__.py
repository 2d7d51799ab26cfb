"""Search a workspace and ask it questions: `python -m rag --help`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import NotFoundError, UsageError, cli_main
from core.runtime import bound_kernels, set_up_logging, stay_offline
from core.settings import Settings, load_settings

if TYPE_CHECKING:
    from ingest.workspace import Workspace
    from rag.answer import AnswerEngine
    from rag.types import Answer, Hit

_EXAMPLES = """examples:
  python -m rag search "When does the lease end?"            passages, the exact place marked
  python -m rag ask "When does the lease end?" --workspace lease
  python -m rag ask --queries questions.txt --json           one question per line in, one JSON object per line out

exit status: 0 done (a refusal is an answer too); 1 an error; 2 wrong usage
"""


def parser() -> argparse.ArgumentParser:
    """The command line. Defaults and units stand in the help."""
    parser = argparse.ArgumentParser(
        prog="python -m rag",
        description="Search a workspace, or ask it for an answer with citations.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="search | ask")
    for name, text in (("search", "passages for a question"), ("ask", "an answer with citations")):
        command = commands.add_parser(name, help=text, description=text.capitalize() + ".")
        command.add_argument("question", nargs="*", metavar="QUESTION", help="the question")
        command.add_argument("--queries", metavar="FILE", help="questions, one per line (- for standard input)")
        command.add_argument("--workspace", default="default", metavar="NAME", help="workspace (default: default)")
        command.add_argument(
            "--home", metavar="DIR", help="where workspaces live (default: LECTERN_HOME or ~/.lectern)"
        )
        command.add_argument("--json", action="store_true", help="one JSON object per question on stdout, nothing else")
        command.add_argument("-v", "--verbose", action="store_true", help="log what is going on, on stderr")
        if name == "search":
            command.add_argument("-k", type=int, default=10, metavar="N", help="hits per question (default: 10)")
            command.add_argument(
                "--deep",
                metavar="DOCUMENT",
                help="read this document whole instead of searching: for what search misses",
            )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    set_up_logging(options.verbose)
    stay_offline()
    bound_kernels()
    if options.command == "search" and options.k < 1:
        raise UsageError(f"-k {options.k}: at least one hit is needed", remedy="Leave it out for 10")
    questions = _questions(options)
    settings = load_settings(options.home)
    with _workspace(settings, options.workspace) as workspace:
        from rag.engine import build_engine

        engine = build_engine(workspace, settings)
        for question in questions:
            if options.command == "ask":
                record, text = _ask(engine, question)
            elif options.deep:
                record, text = _read_deep(engine, question, options.deep, options.k)
            else:
                record, text = _search(engine, question, options.k)
            print(json.dumps(record, ensure_ascii=False) if options.json else text, flush=True)
    return 0


def _questions(options: argparse.Namespace) -> Iterator[str]:
    """The question of the command line, or those of --queries, in order. Blank lines are passed over."""
    if bool(options.question) == bool(options.queries):
        raise UsageError("give either a QUESTION or --queries FILE", remedy="See `python -m rag --help`")
    if options.question:
        question = " ".join(options.question).strip()
        if not question:
            raise UsageError("the question is empty", remedy="Put it in quotation marks")
        return iter([question])
    try:
        text = sys.stdin.read() if options.queries == "-" else Path(options.queries).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--queries {options.queries}: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}",
            remedy="Give a text file with one question per line",
        ) from error
    return (line.strip() for line in text.split("\n") if line.strip())


def _workspace(settings: Settings, name: str) -> Workspace:
    from ingest.workspace import Workspace

    workspace = Workspace.open(settings.home, name, create=False)
    if not workspace.chunk_count():
        workspace.close()
        raise NotFoundError(
            f"workspace {name!r} holds no readable document yet",
            remedy=f"Add some with `python -m ingest PATH --workspace {name}`",
        )
    return workspace


def _search(engine: AnswerEngine, question: str, top_k: int) -> tuple[dict[str, Any], str]:
    from rag.output import search_to_json

    hits, timings = engine.search(question, top_k)
    return search_to_json(question, hits, timings), _hits_as_text(question, hits)


def _read_deep(engine: AnswerEngine, question: str, document: str, top_k: int) -> tuple[dict[str, Any], str]:
    """Ctrl-C ends it early: what has been read by then is shown."""
    from rag.locator import TrainedLocator
    from rag.output import search_to_json

    locator = engine.locator
    if not isinstance(locator, TrainedLocator):
        raise UsageError(
            f"--deep reads with the trained locator, and {locator.name!r} is in use",
            remedy='Restore models/locator and set locator.model = "auto", or leave --deep out',
        )
    cancel, started = threading.Event(), time.perf_counter()

    def show(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\rreading {document}: {done} of {total} windows", end="", file=sys.stderr, flush=True)

    before = signal.signal(signal.SIGINT, lambda *_: cancel.set())
    try:
        hits = locator.locate_document(question, document, on_progress=show, cancel=cancel)[:top_k]
    finally:
        signal.signal(signal.SIGINT, before)
        if sys.stderr.isatty():
            print(file=sys.stderr)
    milliseconds = 1e3 * (time.perf_counter() - started)
    hits = [engine.boxed(hit) for hit in hits]
    return search_to_json(question, hits, {"fine": milliseconds, "total": milliseconds}), _hits_as_text(question, hits)


def _ask(engine: AnswerEngine, question: str) -> tuple[dict[str, Any], str]:
    from rag.output import answer_to_json

    answer = engine.answer(question)
    return answer_to_json(answer), _answer_as_text(answer)


def _hits_as_text(question: str, hits: Sequence[Hit]) -> str:
    lines = [question]
    for rank, hit in enumerate(hits, start=1):
        lines.append(f"{rank:3}. {hit.chunk.document}, page {hit.chunk.page}   {hit.score:.2f}")
        text = hit.spans[0].text if hit.spans else hit.chunk.text
        lines.append(textwrap.indent(textwrap.shorten(text, 300, placeholder=" ..."), "     "))
    return "\n".join([*lines, "" if hits else "     nothing found\n"])


def _answer_as_text(answer: Answer) -> str:
    lines = [answer.text]
    for citation in answer.citations:
        mark = "" if citation.verified else "   (not verified)"
        quote = textwrap.shorten(citation.quote, 160, placeholder=" ...")
        lines.append(f'  [{citation.n}] {citation.document}, page {citation.page}: "{quote}"{mark}')
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    raise SystemExit(cli_main(main))
