"""What may stand for {document} and {session} in an address, where a plain pattern would take too much.

A document's name may hold slashes, for files that were added from folders of one name; it ends before /events and
/pages/...: a document that is really called so is reached by its id.
"""

from __future__ import annotations

import re

from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Mount
from starlette.types import ASGIApp


class _Document(Convertor[str]):
    regex = r"(?!(?:[^?]*/)?(?:events|pages/[^/]+(?:/(?:boxes|image))?)$)(?s:.+)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _Session(_Document):
    regex = r"(?!join$)[^/]+"


register_url_convertor("document", _Document())
register_url_convertor("session", _Session())


class WholePath(Mount):
    """A mounted application that also gets addresses with line breaks in them, for it to say what is wrong."""

    def __init__(self, path: str, app: ASGIApp, name: str) -> None:
        super().__init__(path, app=app, name=name)
        self.path_regex = re.compile(self.path_regex.pattern, re.DOTALL)
