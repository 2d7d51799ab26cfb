"""The commands that keep a workspace safe: back it up, restore it, check and repair it (sub-commands of `app.py`)."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from core.settings import Settings

COMMANDS = ("backup", "restore", "check")


def add_commands(commands: Any) -> None:
    """Add them to `argparse`'s sub-commands."""
    backup = commands.add_parser(
        "backup",
        help="copy a workspace into one file, also while it is used",
        description="Copy a workspace - documents, originals, conversations - into one verified ZIP file, also while "
        "the page or an ingest is using it. Logins and keys are not part of a workspace.",
    )
    backup.add_argument("workspace", metavar="WORKSPACE")
    backup.add_argument("out", type=Path, metavar="OUT.zip")
    backup.add_argument("--overwrite", action="store_true", help="replace OUT.zip if it exists")

    restore = commands.add_parser(
        "restore",
        help="make a workspace of a backup",
        description="Verify a backup and make a workspace of it; it appears whole or not at all.",
    )
    restore.add_argument("backup", type=Path, metavar="IN.zip")
    restore.add_argument("--as", dest="name", metavar="WORKSPACE", help="another name than it had")
    restore.add_argument("--replace", action="store_true", help="take the place of a workspace of that name")
    restore.add_argument("--verify", action="store_true", help="only compare the file with its checksums")

    check = commands.add_parser(
        "check",
        help="is everything in a workspace what was stored?",
        description="Compare every page, passage, vector, stored copy and derived file of a workspace with its "
        "checksum. --repair reads damaged documents again from their stored copies.",
    )
    check.add_argument("workspace", metavar="WORKSPACE")
    check.add_argument("--repair", action="store_true", help="put right what can be; nobody may use the workspace")

    for command in (backup, restore, check):
        command.add_argument("--home", help="folder of the workspaces (default: LECTERN_HOME or ~/.lectern)")
        command.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Exit status 1 if `check` found damage that is still there. Raises LecternError."""
    if arguments.command == "check":
        return _check(arguments, settings)
    from ingest import backup

    if arguments.command == "backup":
        report = backup.backup_workspace(
            settings.home, arguments.workspace, arguments.out, overwrite=arguments.overwrite
        )
        _show(arguments, dataclasses.asdict(report), str(report))
    elif arguments.verify:
        manifest = backup.verify_backup(arguments.backup)
        count = len(manifest.pop("files"))
        _show(arguments, {**manifest, "files": count}, f"{arguments.backup}: {count} files, all as they were backed up")
    else:
        report = backup.restore_workspace(
            arguments.backup, settings.home, name=arguments.name, replace=arguments.replace
        )
        _show(arguments, dataclasses.asdict(report), f"restored {report}")
    return 0


def _check(arguments: argparse.Namespace, settings: Settings) -> int:
    from ingest.integrity import check_workspace, repair_workspace

    done = repair_workspace(settings.home, arguments.workspace, settings) if arguments.repair else []
    found = check_workspace(settings.home, arguments.workspace)
    damages = [{**dataclasses.asdict(damage), "text": str(damage)} for damage in found]
    lines = [*done, *(f"damaged: {damage['text']}" for damage in damages)]
    if found and not arguments.repair and any(damage.curable for damage in found):
        lines.append(f"`python app.py check {arguments.workspace} --repair` puts right what can be")
    if not found:
        lines.append(f"workspace {arguments.workspace}: everything is as it was stored")
    _show(arguments, {"workspace": arguments.workspace, "repaired": done, "damaged": damages}, "\n".join(lines))
    return 1 if found else 0


def _show(arguments: argparse.Namespace, value: dict[str, Any], text: str) -> None:
    print(json.dumps(value, ensure_ascii=False) if arguments.json else text)
