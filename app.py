"""Lectern: ask your documents, aloud or in writing; every answer quotes its page.

python app.py                                       the page, on http://127.0.0.1:7860
python app.py serve --host 0.0.0.0 --port 8000
python app.py ask "How long is the notice period?" --workspace lease
python app.py ask --audio question.wav --speak answer.wav --json
python app.py users add anna --role admin           a login, for others to use this server, too
python app.py mcp --workspace lease                 tools for an agent, over stdin and stdout
python app.py backup lease lease.zip                a workspace as one file; restore, check --repair

ingest, search, transcribe and speak are `python -m ingest`, `python -m rag search` and `python -m omni ...`.
Installed with pip, the command is called `lectern` instead of `python app.py`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from core.errors import as_called, cli_main
from core.runtime import bound_arenas, bound_kernels, set_up_logging, stay_offline
from core.settings import load_settings
from ingest import keeping

# Commands that have a command line of their own: module, what comes before their arguments, help
_ELSEWHERE = {
    "ingest": ("ingest.__main__", [], "add documents to a workspace, list and remove them"),
    "search": ("rag.__main__", ["search"], "passages for a question"),
    "transcribe": ("omni.__main__", ["transcribe"], "a recording as text"),
    "speak": ("omni.__main__", ["speak"], "a text as sound"),
}


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in _ELSEWHERE:
        module, before, _ = _ELSEWHERE[argv[0]]
        command = importlib.import_module(module).main
        return cli_main(lambda: command([*before, *argv[1:]]))
    parser = argparse.ArgumentParser(
        prog=as_called("python app.py"),
        description=as_called(__doc__ or ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--verbose", action="store_true", help="log what happens inside")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    serve = commands.add_parser("serve", help="the page and its API (the default)")
    serve.add_argument("--host", help="address to listen on (default: 127.0.0.1, this computer only)")
    serve.add_argument("--port", type=int, help="port to listen on (default: 7860)")
    serve.add_argument("--home", help="folder of the workspaces (default: LECTERN_HOME or ~/.lectern)")

    ask = commands.add_parser("ask", help="one question, by text or recording, through the whole path")
    ask.add_argument("question", nargs="?", help="the question in writing")
    ask.add_argument("--audio", type=Path, metavar="IN.wav", help="the question as a recording")
    ask.add_argument("--speak", type=Path, metavar="OUT.wav", help="write the spoken answer here")
    ask.add_argument(
        "--session", metavar="NAME", help="continue this conversation (its title or id), or begin one of that name"
    )
    ask.add_argument("--json", action="store_true", help="one JSON object on stdout")
    ask.add_argument("--workspace", default="default", help="documents to ask (default: %(default)s)")
    ask.add_argument("--home", help="folder of the workspaces (default: LECTERN_HOME or ~/.lectern)")

    from web import mcp

    mcp.add_arguments(commands.add_parser("mcp", help="the Model Context Protocol on stdin and stdout, for agents"))
    from web.accounts import cli as users_cli

    keeping.add_commands(commands)
    for name, (_, _, text) in _ELSEWHERE.items():
        commands.add_parser(name, help=text, add_help=False)

    users_cli.add_arguments(commands.add_parser("users", help="users, API keys and the audit log"))

    arguments = parser.parse_args(argv)
    if arguments.command == "ask" and (arguments.question is None) == (arguments.audio is None):
        ask.error("give either a question or --audio IN.wav")
    set_up_logging(arguments.verbose)
    stay_offline()
    bound_kernels()
    bound_arenas()
    return cli_main(lambda: run(arguments))


def run(arguments: argparse.Namespace) -> int:
    settings = load_settings(getattr(arguments, "home", None))
    if arguments.command == "ask":
        from web.one_shot import ask_once

        return ask_once(
            settings,
            arguments.question,
            audio=arguments.audio,
            speak=arguments.speak,
            as_json=arguments.json,
            workspace=arguments.workspace,
            session=arguments.session or "",
        )
    if arguments.command in keeping.COMMANDS:
        return keeping.run(arguments, settings)
    if arguments.command == "mcp":
        from web.mcp import serve_stdio

        return serve_stdio(settings, arguments.workspace)
    if arguments.command == "users":
        from web.accounts.cli import run as run_users

        return run_users(arguments, settings)
    from web.server import serve

    host = getattr(arguments, "host", None) or settings.server.host
    port = getattr(arguments, "port", None)
    serve(settings, host, settings.server.port if port is None else port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
