"""Conversations from the command line.

python -m memory sessions [--workspace W] [--json]          list them, the one used last first
python -m memory export SESSION [--format md|json]          a conversation on standard output, by its id or title
python -m memory delete SESSION                             without trace
python -m memory repair                                     make a damaged store again from what can still be read
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from core.errors import NotFoundError, cli_main
from core.runtime import set_up_logging, stay_offline
from core.settings import load_settings


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m memory", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="{sessions,export,delete,repair}")
    listing = commands.add_parser("sessions", help="list conversations")
    listing.add_argument("--json", action="store_true", help="one JSON object on stdout")
    export = commands.add_parser("export", help="a conversation on standard output")
    export.add_argument("--format", choices=("md", "json"), default="md", help="default: %(default)s")
    delete = commands.add_parser("delete", help="delete a conversation with everything remembered from it")
    for command in (export, delete):
        command.add_argument("session", help="its id, or its title if no other has the same")
    repair = commands.add_parser("repair", help="make a damaged store again from what can still be read")
    for command in (listing, export, delete, repair):
        command.add_argument("--workspace", default="default", help="default: %(default)s")
        command.add_argument(
            "--person",
            default="",
            metavar="FOLDER",
            help="with accounts: whose, a folder's name in people/",
        )
        command.add_argument("--home", help="folder of the workspaces (default: LECTERN_HOME or ~/.lectern)")
    arguments = parser.parse_args()
    set_up_logging(False)
    stay_offline()
    return cli_main(lambda: run(arguments))


def run(arguments: argparse.Namespace) -> int:
    from ingest.workspace import Workspace
    from memory.dialogue_store import DialogueStore
    from memory.export import export_json, export_markdown
    from memory.long_term import LongTermMemory
    from memory.repair import repair

    settings = load_settings(arguments.home)
    with Workspace.open(settings.home, arguments.workspace, create=False) as workspace:
        folder = workspace.path
    if arguments.person:
        folder = folder / "people" / arguments.person
        if Path(arguments.person).name != arguments.person or not folder.is_dir():
            raise NotFoundError(f"nobody's conversations are in {folder}", remedy="See the folders beside it")
    if arguments.command == "repair":
        repaired = repair(folder)
        print(f"{repaired.sessions} conversations, {repaired.turns} turns and {repaired.memories} memories were saved.")
        print(f"The damaged file is {repaired.kept}.", file=sys.stderr)
        return 0
    with DialogueStore(folder) as store:
        if arguments.command == "sessions":
            infos = store.sessions()
            if arguments.json:
                listed = [{key: value for key, value in asdict(info).items() if key != "code"} for info in infos]
                print(json.dumps({"sessions": listed}, ensure_ascii=False))
            for info in () if arguments.json else infos:
                print(
                    f"{info.session_id}  {info.updated_at[:16]}  {info.turns:>4}  {info.title or '(no question yet)'}"
                )
            return 0
        info = store.find(arguments.session)
        if arguments.command == "export":
            write = export_markdown if arguments.format == "md" else export_json
            sys.stdout.writelines(write(store, info.session_id))
            return 0
        store.delete(info.session_id)
        LongTermMemory(store, settings=settings.memory).erase()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
