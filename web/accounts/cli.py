"""`python app.py users ...`: users and API keys from the command line.

Passwords come from a prompt, from the first line of stdin when that is no terminal, or from LECTERN_PASSWORD; never
from the arguments, which every user of the machine can see.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
import time
from typing import TYPE_CHECKING

from core.errors import UsageError

if TYPE_CHECKING:
    from core.settings import Settings
    from web.accounts.access import Role
    from web.accounts.accounts import Accounts

PASSWORD = "LECTERN_PASSWORD"
_ROLES = ("reader", "member", "admin")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `users`."""
    commands = parser.add_subparsers(
        dest="users_command", required=True, metavar="{add,list,grant,remove,passwd,key,audit}"
    )

    def command(name: str, help: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help, description=help)
        made.add_argument("--home", help="folder of the workspaces (default: LECTERN_HOME or ~/.lectern)")
        return made

    add = command("add", "add a user; the first one turns the login on")
    grant = command("grant", "replace what a user may do")
    for each in (add, grant):
        each.add_argument("name")
        each.add_argument("--role", choices=_ROLES, default="member", help="reader: asks; member: changes documents; "
                          "admin: everything, on the whole server (default: %(default)s)")  # fmt: skip
        each.add_argument("--workspace", action="append", metavar="NAME[:ROLE]",
                          help="where the role holds; may be repeated (default: every workspace)")  # fmt: skip
    command("list", "users, with their roles").add_argument("--json", action="store_true", help="JSON on stdout")
    command("remove", "remove a user with all logins and keys").add_argument("name")
    command("passwd", "set a user's password; ends that user's logins").add_argument("name")
    audit = command("audit", "the audit log, newest first")
    audit.add_argument("--limit", type=int, default=50, help="lines (default: %(default)s)")
    audit.add_argument("--verify", action="store_true", help="check that no line was changed or taken out")
    audit.add_argument("--json", action="store_true", help="one JSON object a line")

    key = commands.add_parser("key", help="API keys").add_subparsers(
        dest="key_command", required=True, metavar="{add,list,revoke}"
    )
    for name, help in (
        ("add", "make a key and show it once"),
        ("list", "all keys"),
        ("revoke", "refuse a key from now on"),
    ):
        made = key.add_parser(name, help=help, description=help)
        made.add_argument("--home", help="folder of the workspaces (default: LECTERN_HOME or ~/.lectern)")
        if name == "add":
            made.add_argument("user", help="whose key: it never allows more than its user may do")
            made.add_argument("--role", choices=_ROLES, default="reader", help="(default: %(default)s)")
            made.add_argument("--workspace", action="append", metavar="NAME", help="default: all of the user's")
            made.add_argument(
                "--days", type=float, default=365.0, help="until it expires; 0: never (default: %(default)g)"
            )
            made.add_argument("--per-minute", type=int, default=120, help="calls a minute (default: %(default)s)")
            made.add_argument("--label", default="", help="what it is for")
        if name == "revoke":
            made.add_argument("id", help="as `key list` shows it")
        if name != "revoke":
            made.add_argument("--json", action="store_true", help="JSON on stdout")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Carry out what the arguments say. Raises LecternError."""
    from web.accounts.accounts import Accounts

    accounts = Accounts(settings.home, settings.server)
    try:
        if arguments.users_command == "key":
            return _keys(arguments, accounts)
        return _users(arguments, accounts)
    finally:
        accounts.close()


def _users(arguments: argparse.Namespace, accounts: Accounts) -> int:
    command = arguments.users_command
    if command == "audit":
        return _audit(arguments, accounts)
    if command == "list":
        users = accounts.users.all()
        if arguments.json:
            rows = [{"name": u.name, "admin": u.admin, "grants": dict(u.grants)} for u in users]
            print(json.dumps({"users": rows}))
            return 0
        for user in users:
            granted = ", ".join(f"{name}: {role}" for name, role in user.grants.items())
            print(f"{user.name:24} {'admin' if user.admin else granted or 'nothing yet'}")
        if not users:
            print("no users: whoever sits at this computer uses Lectern without a login")
        return 0
    name = arguments.name
    if command == "add":
        admin, grants = _wanted(arguments)
        if not admin and not accounts.users.any():
            raise UsageError("the first user must be an admin", remedy=f"python app.py users add {name} --role admin")
        accounts.users.add(name, _password(name), admin=admin, grants=grants)
    elif command == "grant":
        admin, grants = _wanted(arguments)
        accounts.users.change(name, admin=admin, grants=grants)
    elif command == "remove":
        accounts.remove_user(name)
    else:
        accounts.users.get(name)
        accounts.users.set_password(name, _password(name))
    _note(accounts, f"users.{command}", name)
    print(f"{name}: done")
    return 0


def _keys(arguments: argparse.Namespace, accounts: Accounts) -> int:
    if arguments.key_command == "add":
        text, key = accounts.keys.add(
            arguments.user,
            label=arguments.label,
            role=arguments.role,
            workspaces=arguments.workspace or ["*"],
            days=arguments.days or None,
            per_minute=arguments.per_minute,
        )
        _note(accounts, "keys.add", f"{key.id} of {key.user}")
        if arguments.json:
            print(json.dumps({"id": key.id, "key": text}))
        else:
            print(text)
            print("This is the only time that it is shown.", file=sys.stderr)
        return 0
    if arguments.key_command == "revoke":
        accounts.keys.revoke(arguments.id)
        _note(accounts, "keys.revoke", arguments.id)
        print(f"{arguments.id}: refused from now on")
        return 0
    now = time.time()
    for key in accounts.keys.all():
        if arguments.json:
            print(json.dumps({**key.__dict__, "state": key.state(now)}))
        else:
            used = _date(key.used_at) if key.used_at else "never used"
            where = ", ".join(key.workspaces)
            print(f"{key.id}  {key.state(now):8} {key.user:16} {key.role:7} {where:16} {used:17} {key.label}")
    return 0


def _audit(arguments: argparse.Namespace, accounts: Accounts) -> int:
    if arguments.verify:
        broken = accounts.audit.verify()
        if broken is not None:
            print(f"line {broken} does not follow from the one before it: the log was changed")
            return 1
        print("every line follows from the one before it")
        return 0
    for number, entry in accounts.audit.latest(arguments.limit):
        if arguments.json:
            print(json.dumps({"number": number, **entry.__dict__}))
        else:
            target = f" {entry.target}" if entry.target else ""
            print(
                f"{number:6} {_date(entry.at)} {entry.who:16} {entry.address:15} "
                f"{entry.action}{target}: {entry.outcome}"
            )
    return 0


def _wanted(arguments: argparse.Namespace) -> tuple[bool, dict[str, Role]]:
    """(admin, grants) as --role and --workspace say it."""
    if arguments.role == "admin":
        if arguments.workspace:
            raise UsageError("an admin is one everywhere", remedy="Leave --workspace out, or give --role member")
        return True, {}
    grants: dict[str, Role] = {}
    for scope in arguments.workspace or ["*"]:
        name, _, role = scope.rpartition(":")
        if name and role in ("reader", "member"):
            grants[name] = "member" if role == "member" else "reader"
        else:
            grants[scope] = arguments.role
    return False, grants


def _password(name: str) -> str:
    """Raises UsageError where none is given, or two that differ."""
    if PASSWORD in os.environ:
        return os.environ[PASSWORD]
    if not sys.stdin.isatty():
        line = sys.stdin.readline().rstrip("\r\n")
        if not line:
            raise UsageError("no password was given", remedy=f"Write it to stdin, or set {PASSWORD}")
        return line
    password = getpass.getpass(f"Password for {name}: ")
    if getpass.getpass("Once more: ") != password:
        raise UsageError("these were two different passwords", remedy="Try again")
    return password


def _note(accounts: Accounts, action: str, target: str) -> None:
    try:
        who = getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        who = "?"
    accounts.audit.add(f"{who} (command line)", action, "ok", target=target)


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
