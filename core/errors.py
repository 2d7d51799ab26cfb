"""One error family. A message says what happened and to which file or page; `remedy` says what to do next.

Only the edges (CLIs, web) translate these: `cli_main` prints one line, web/api.py picks an HTTP status.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path


class LecternError(Exception):
    """Base of everything that a user can cause or cure."""

    exit_status = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}. {self.remedy}" if self.remedy else self.message


class UsageError(LecternError):
    """Wrong arguments or settings."""

    exit_status = 2


class DocumentError(LecternError):
    """A file that cannot be read as a document: encrypted, corrupt, empty, scanned, too large."""


class NotFoundError(LecternError):
    """A workspace, document, page or session that does not exist."""


class AccessError(LecternError):
    """Something that this user, or this API key, may not do."""


class StoreError(LecternError):
    """A workspace on disk that is damaged, locked or made with other settings."""


class ModelError(LecternError):
    """Weights, recognisers, voices or language models that cannot be loaded or reached."""


class AudioError(LecternError):
    """A recording that cannot be decoded or holds no speech."""


class MissingDependencyError(LecternError):
    """An optional package that is needed here and is not installed."""


def as_called(text: str) -> str:
    """`text` with commands as the user calls them: installed with pip, `python app.py` is `lectern`."""
    return text.replace("python app.py", "lectern") if Path(sys.argv[0]).stem == "lectern" else text


def cli_main(command: Callable[[], int | None]) -> int:
    """Run a command-line `command`; turn a LecternError into one line on stderr and its exit status.

    Ctrl-C exits with 130; a closed stdout (`| head`) exits quietly with 0.
    """
    try:
        return command() or 0
    except LecternError as error:
        print("error: " + as_called(" ".join(str(error).split())), file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("interrupted: run the same command again to continue", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stdout = None  # the interpreter would flush it into the closed pipe
        return 0
