"""Add documents to a workspace, list and remove them: `python -m ingest --help`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from core.errors import UsageError, cli_main
from core.runtime import set_up_logging, stay_offline
from core.settings import Settings, load_settings
from ingest.pipeline import FileReport, ingest_paths, reembed
from ingest.progress import Progress
from ingest.types import DocumentInfo
from ingest.workspace import Workspace

_EXAMPLES = """examples:
  python -m ingest contracts/ notes.md          add a folder and a file to the workspace "default"
  python -m ingest contracts/ --workspace lease  ... to another one; running it again reads what has changed
  python -m ingest --list --workspace lease      what is in it
  python -m ingest --remove contracts/old.pdf    remove a document and every trace of it

exit status: 0 all files are in; 1 a file failed (the others are in), or an error; 2 wrong usage
"""


def parser() -> argparse.ArgumentParser:
    """The command line. Defaults and units stand in the help."""
    parser = argparse.ArgumentParser(
        prog="python -m ingest",
        description="Read PDF, Markdown, text, HTML and DOCX files and pictures of pages into a workspace: searchable "
        "by words first, by meaning once embedded. Interrupt it at will and run it again: what is done is kept, what "
        "has not changed is skipped.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files, or folders to walk (hidden names are skipped)")
    parser.add_argument("--workspace", default="default", metavar="NAME", help="workspace (default: default)")
    parser.add_argument("--home", metavar="DIR", help="where workspaces live (default: LECTERN_HOME or ~/.lectern)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout, nothing else")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--list", action="store_true", help="list the documents: status, pages, chunks")
    action.add_argument("--remove", metavar="NAME", help="remove one document, by its name or id")
    action.add_argument("--reembed", action="store_true", help="drop all vectors and embed again (another embedder)")
    parser.add_argument("--no-embed", action="store_true", help="make searchable by words only; embed in a later run")
    parser.add_argument("--retry", action="store_true", help="read again files that failed before and have not changed")
    parser.add_argument("--ocr", choices=("auto", "off"), help="auto: read scanned pages by text recognition (default)")
    parser.add_argument("-v", "--verbose", action="store_true", help="log what is going on, on stderr")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    set_up_logging(options.verbose)
    stay_offline()
    if options.paths and (options.list or options.remove or options.reembed):
        raise UsageError("PATH goes with none of --list, --remove, --reembed", remedy="Run two commands")
    settings = load_settings(options.home)
    if options.ocr is not None:
        settings = settings.model_copy(update={"ingest": settings.ingest.model_copy(update={"ocr": options.ocr})})
    if options.list:
        return _list(settings, options)
    if options.remove is not None:
        return _remove(settings, options)
    if not options.paths and not options.reembed:
        raise UsageError("nothing to do: no PATH was given", remedy="See `python -m ingest --help`")
    return _reembed(settings, options) if options.reembed else _ingest(settings, options)


def _ingest(settings: Settings, options: argparse.Namespace) -> int:
    with Workspace.open(settings.home, options.workspace) as workspace, _Bars(options.workspace) as bars:
        reports = ingest_paths(
            workspace, options.paths, settings=settings, embed=not options.no_embed, retry=options.retry, progress=bars
        )
        pending = workspace.pending_count()
    failed = sum(report.status == "failed" for report in reports)
    if options.json:
        files = [dataclasses.asdict(report) for report in reports]
        counts = Counter(report.status for report in reports)
        _print_json({"workspace": options.workspace, "files": files, "counts": counts, "not_embedded": pending})
    else:
        print(_report_table(reports))
        if pending:
            print(f"{pending} chunks wait for their vectors: run the command again without --no-embed")
    return 1 if failed else 0


def _list(settings: Settings, options: argparse.Namespace) -> int:
    with Workspace.open(settings.home, options.workspace, create=False) as workspace:
        documents, embedder = workspace.documents(), workspace.embedder_name
    if options.json:
        listed = [dataclasses.asdict(info) for info in documents]
        _print_json({"workspace": options.workspace, "embedder": embedder, "documents": listed})
    else:
        print(_document_table(documents))
    return 0


def _remove(settings: Settings, options: argparse.Namespace) -> int:
    with Workspace.open(settings.home, options.workspace, create=False) as workspace:
        workspace.remove(options.remove)
    if options.json:
        _print_json({"workspace": options.workspace, "removed": options.remove})
    else:
        print(f"removed {options.remove}")
    return 0


def _reembed(settings: Settings, options: argparse.Namespace) -> int:
    with (
        Workspace.open(settings.home, options.workspace, create=False) as workspace,
        _Bars(options.workspace) as bars,
    ):
        count = reembed(workspace, settings, progress=bars)
        embedder = workspace.embedder_name
    if options.json:
        _print_json({"workspace": options.workspace, "embedder": embedder, "embedded": count})
    else:
        print(f"embedded {count} chunks with {embedder}")
    return 0


class _Bars:
    """Progress on stderr: pages while reading, passages while embedding. Silent when stderr is no terminal."""

    def __init__(self, workspace: str) -> None:
        self._workspace = workspace
        self._bar: Any = None
        self._stage = ""
        self._pages: dict[str, int] = {}

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, progress: Progress) -> None:
        if progress.stage == "waiting":
            print(f"another ingest of workspace {self._workspace} is running: waiting for it", file=sys.stderr)
            return
        if not sys.stderr.isatty():
            return
        stage = "embedding" if progress.stage == "embedding" else "reading"
        if stage != self._stage:
            self._start(stage)
        if progress.stage == "embedding":
            self._bar.total = progress.total
            self._bar.n = progress.done
        elif progress.stage == "reading":
            self._bar.n += progress.done - self._pages.get(progress.name, 0)
            self._pages[progress.name] = progress.done
        else:
            self._bar.set_postfix_str(f"{progress.done}/{progress.total} files, {progress.name[-40:]}", refresh=False)
        self._bar.refresh()

    def _start(self, stage: str) -> None:
        from tqdm import tqdm

        if self._bar is not None:
            self._bar.close()
        unit = "page" if stage == "reading" else "passage"
        self._bar = tqdm(desc=stage, unit=unit, file=sys.stderr, dynamic_ncols=True)
        self._stage = stage


def _report_table(reports: Sequence[FileReport]) -> str:
    rows = [("file", "status", "pages", "chunks", "embedded", "s")]
    for report in reports:
        numbers = (str(report.pages), str(report.chunks), str(report.embedded), f"{report.seconds:.1f}")
        rows.append((report.name, report.status, *numbers))
    lines = _columns(rows)
    for number, report in enumerate(reports, start=1):
        notes = [f"{report.reason}. {report.remedy}".rstrip(". ") + "."] if report.reason else []
        notes += [f"page {problem.page}: {problem.reason}" for problem in report.problems]
        lines[number] = "\n".join([lines[number], *(f"    {note}" for note in notes)])
    counts = Counter(report.status for report in reports)
    lines.append(", ".join(f"{count} {status}" for status, count in counts.items()) or "no files to read there")
    return "\n".join(lines)


def _document_table(documents: Sequence[DocumentInfo]) -> str:
    if not documents:
        return "the workspace is empty"
    rows = [("document", "status", "pages", "chunks", "embedded", "title")]
    for info in documents:
        rows.append((info.name, info.status, str(info.pages), str(info.chunks), str(info.embedded), info.title[:60]))
    lines = _columns(rows)
    for number, info in enumerate(documents, start=1):
        notes = [f"also as {alias}" for alias in info.aliases]
        notes += [f"{info.reason}. {info.remedy}".rstrip(". ") + "."] if info.reason else []
        lines[number] = "\n".join([lines[number], *(f"    {note}" for note in notes)])
    return "\n".join(lines)


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as lines with aligned columns; numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if cell.replace(".", "").isdigit() else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False))


if __name__ == "__main__":
    sys.exit(cli_main(main))
