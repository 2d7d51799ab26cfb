"""The accounts of one home, and whether this server needs a login at all.

>>> accounts = open_accounts(settings)                      # None: one user, no login
>>> accounts.users.add("anna", password, grants={"lease": "member"})
"""

from __future__ import annotations

import ipaddress
import os
import shutil
from pathlib import Path

from core.errors import UsageError
from core.settings import ServerSettings, Settings
from web.accounts.audit import Audit
from web.accounts.database import FILE, Database
from web.accounts.keys import Keys
from web.accounts.logins import Logins
from web.accounts.throttle import Rate, Throttle
from web.accounts.users import Users

ADD_A_USER = "Make a login with `python app.py users add NAME --role admin`, then start again"
FIRST_PASSWORD = "LECTERN_ADMIN_PASSWORD"  # for containers: read when there is no user yet
FIRST_ADMIN = "admin"


class Accounts:
    def __init__(self, home: Path, settings: ServerSettings | None = None) -> None:
        """Raises StoreError."""
        self.home = home
        self.settings = settings or ServerSettings()
        self.database = Database(home)
        self.users = Users(self.database)
        self.keys = Keys(self.database, self.users)
        self.logins = Logins(self.database, self.users, hours=self.settings.login_hours, days=self.settings.login_days)
        self.throttle = Throttle(self.database)
        self.rate = Rate()
        self.audit = Audit(self.database)

    def remove_user(self, name: str) -> None:
        """A user with all logins, keys and grants, and with the conversations and memories in every workspace.

        Raises NotFoundError; UsageError for the last admin.
        """
        person = self.users.get(name).principal().person
        self.users.remove(name)
        for folder in self.home.glob(f"workspaces/*/people/{person}"):
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        self.database.close()


def open_accounts(settings: Settings, host: str | None = None) -> Accounts | None:
    """The accounts that a server on `host` must ask; None where it needs no login: on loopback, without users.

    Raises UsageError for an address that others can reach, or `login = "on"`, without a user who could log in.
    """
    server = settings.server
    host = host or server.host
    local = is_local_address(host)
    if server.login == "off":
        if not local:
            raise UsageError(
                f"listening on {host} without a login would show every document to whoever can reach that address",
                remedy=f'{ADD_A_USER}, with server.login = "auto"; or listen on 127.0.0.1',
            )
        return None
    first = _first_password()
    if not first and not (settings.home / FILE).is_file() and local and server.login == "auto":
        return None  # a home without accounts stays without
    accounts = Accounts(settings.home, server)
    if first and not accounts.users.any():
        accounts.users.add(FIRST_ADMIN, first, admin=True)
        accounts.audit.add("server", "users.add", "ok", target=FIRST_ADMIN)
    if accounts.users.any():
        return accounts
    accounts.close()
    if local and server.login == "auto":
        return None
    where = "server.login is on" if local else f"others can reach {host}"
    raise UsageError(
        f"{where}, and nobody can log in yet", remedy=f"{ADD_A_USER}; or listen on 127.0.0.1 without login"
    )


def is_local_address(host: str) -> bool:
    """Whether only this computer can reach a server that listens on `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _first_password() -> str:
    """The first admin's password from the environment, or from the file that the environment names."""
    if path := os.environ.get(f"{FIRST_PASSWORD}_FILE"):
        try:
            return Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"the file that {FIRST_PASSWORD}_FILE names cannot be read: {error}", remedy="Correct its path"
            ) from error
    return os.environ.get(FIRST_PASSWORD, "")
