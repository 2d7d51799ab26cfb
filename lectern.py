"""A client of a Lectern server: this one file and Python's own library, nothing else.

    from lectern import Client

    lectern = Client("http://127.0.0.1:7860", workspace="lease")
    lectern.upload("lease.pdf")
    lectern.wait("lease.pdf")
    answer = lectern.ask("How long is the notice period?")
    print(answer.text, [f"{c.document}, page {c.page}: {c.quote}" for c in answer.citations])

    for event in lectern.stream("And the rent?", history=[("user", "..."), ("assistant", "...")]):
        print(event.text, end="")                  # pieces; event.answer is set on the last one

    talk = lectern.new_session("Lease")            # a conversation that the server remembers
    talk.ask("How long is the notice period?")
    talk.ask("And for the landlord?")

    lectern.transcribe("question.wav").text
    lectern.speak("Eleven weeks.", "answer.wav")

Failures raise LecternError, which says what happened and what to do. A server that is busy (429) is asked again after
the time that it names. A client may be shared by threads.
"""

from __future__ import annotations

import dataclasses
import http.client
import json
import mimetypes
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, ClassVar, Self

__all__ = [
    "Answer",
    "Citation",
    "Client",
    "Document",
    "Event",
    "Hit",
    "LecternError",
    "Page",
    "Session",
    "Span",
    "Transcript",
    "Turn",
]

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in points, origin bottom left of the sheet
Source = str | os.PathLike[str] | bytes | IO[bytes]

_LONGEST_WAIT_S = 60.0  # before a busy server is asked again


class LecternError(Exception):
    """What the server refused, or why it could not be reached."""

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        status: int = 0,
        code: str = "",
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy
        self.status = status  # of HTTP; 0 where there was no answer
        self.code = code  # stable word: not_found, conflict, too_large, unavailable, ...
        self.param = param  # field of the request at fault
        self.retry_after_s = retry_after_s


# ---- what comes back --------------------------------------------------------------------------------------------


class _Record:
    """Built from JSON; fields that a newer server adds are passed over."""

    _nested: ClassVar[dict[str, Callable[[Any], Any]]] = {}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        known = {each.name for each in dataclasses.fields(cls)}  # type: ignore[arg-type]  # subclasses are dataclasses
        values = {key: value for key, value in data.items() if key in known}
        return cls(**{key: cls._nested[key](value) if key in cls._nested else value for key, value in values.items()})


def _boxes(found: Sequence[Sequence[float]]) -> tuple[Box, ...]:
    return tuple((box[0], box[1], box[2], box[3]) for box in found)


@dataclass(frozen=True)
class Document(_Record):
    """A document, or an upload on its way to become one."""

    name: str
    status: str  # waiting | reading | searchable (by words) | embedded (by meaning, too) | failed
    document_id: str | None = None
    title: str = ""
    media_type: str = ""
    pages: int = 0
    pages_read: int = 0
    chunks: int = 0
    embedded: int = 0
    size: int = 0  # bytes
    reason: str = ""  # of a failure
    remedy: str = ""
    aliases: Sequence[str] = ()
    problems: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Span(_Record):
    """The exact words that may answer."""

    page: int
    start: int  # characters in the page's text
    end: int
    text: str
    score: float  # 0..1
    boxes: tuple[Box, ...] = ()
    _nested: ClassVar = {"boxes": _boxes}


@dataclass(frozen=True)
class Hit(_Record):
    """A passage that was found."""

    document: str
    page: int
    text: str
    start: int
    end: int
    score: float  # 0..1
    context: str = ""
    chunk_id: str = ""
    spans: tuple[Span, ...] = ()
    _nested: ClassVar = {"spans": lambda found: tuple(map(Span.of, found))}


@dataclass(frozen=True)
class Citation(_Record):
    """Where the claim marked [n] stands."""

    n: int
    document: str
    page: int
    quote: str
    start: int
    end: int
    boxes: tuple[Box, ...] = ()
    verified: bool = True
    score: float = 0.0
    _nested: ClassVar = {"boxes": _boxes}


def _citations(found: Sequence[Mapping[str, Any]]) -> tuple[Citation, ...]:
    return tuple(map(Citation.of, found))


@dataclass(frozen=True)
class Answer(_Record):
    """A finished answer; the markers [n] of `text` resolve to `citations`."""

    question: str
    text: str
    refused: bool
    citations: tuple[Citation, ...] = ()
    nearest: tuple[Citation, ...] = ()  # with a refusal: the nearest passages
    model: str = ""
    notice: str = ""
    understood: str = ""  # the question in full, where earlier messages complete it
    session: str = ""
    turn: int | None = None
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    _nested: ClassVar = {"citations": _citations, "nearest": _citations}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        return super().of({**data, "text": data["answer"]})


@dataclass(frozen=True)
class Event:
    """One step of a streamed answer."""

    text: str = ""
    citation: Citation | None = None
    answer: Answer | None = None  # set once, on the finished answer
    heard: str = ""  # what was understood of a recording
    pcm: bytes = b""  # with `speak`: 16-bit little-endian mono
    sample_rate: int = 0  # Hz, with `pcm`


@dataclass(frozen=True)
class Page(_Record):
    document: str
    page: int
    pages: int
    text: str
    length: int  # characters of the whole page; `text` holds at most 100,000 of them, from `start`
    start: int = 0
    end: int = 0
    label: str = ""
    width: float = 0.0  # points; 0 where there is no sheet
    height: float = 0.0


@dataclass(frozen=True)
class Transcript(_Record):
    text: str
    seconds: float
    confidence: float = 0.0
    segments: Sequence[Mapping[str, Any]] = ()  # {"start_s", "end_s", "text"}


@dataclass(frozen=True)
class Turn(_Record):
    number: int
    asked_at: str
    question: str
    understood: str
    answer: Answer
    interrupted: bool = False
    _nested: ClassVar = {"answer": Answer.of}


# ---- the client -------------------------------------------------------------------------------------------------


class Client:
    """A server and one of its workspaces; `in_workspace` gives the same server with another."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:7860",
        *,
        workspace: str = "default",
        key: str | None = None,
        timeout_s: float = 120.0,
        retries: int = 2,
    ) -> None:
        """`key`: an API key, where the server has a login; default LECTERN_API_KEY. `retries`: of a busy server."""
        self.url = url.rstrip("/").removesuffix("/v1")
        self.workspace = workspace
        self.timeout_s = timeout_s
        self.retries = retries
        self._key = key if key is not None else os.environ.get("LECTERN_API_KEY", "")
        host = urllib.parse.urlsplit(self.url).hostname or ""
        local = host in ("localhost", "::1") or host.startswith("127.")
        direct = [urllib.request.ProxyHandler({})] if local else []  # a proxy cannot reach this computer
        self._opener = urllib.request.build_opener(_Http(), _Https(), *direct)

    def in_workspace(self, workspace: str) -> Client:
        return Client(self.url, workspace=workspace, key=self._key, timeout_s=self.timeout_s, retries=self.retries)

    def ready(self) -> bool:
        """Whether the first question need not wait for a model. Raises LecternError if the server is not there."""
        return bool(self._json("GET", "/v1/health")["ready"])

    # -- workspaces and documents --

    def workspaces(self) -> list[str]:
        return list(self._json("GET", "/v1/workspaces")["workspaces"])

    def create_workspace(self, name: str = "") -> Client:
        """Create a workspace, if it is not there, and return a client of it; default: this client's own."""
        name = name or self.workspace
        self._json("PUT", f"/v1/workspaces/{_quoted(name)}")
        return self.in_workspace(name)

    def delete_workspace(self, name: str) -> None:
        """With its documents, sessions and memories."""
        self._json("DELETE", f"/v1/workspaces/{_quoted(name)}")

    def documents(self) -> list[Document]:
        return [Document.of(row) for row in self._json("GET", self._path("documents"))["documents"]]

    def document(self, name: str) -> Document:
        return Document.of(self._json("GET", self._path("documents", name)))

    def upload(self, source: Source, name: str = "") -> Document:
        """Send a file; it is read in the background (see `wait`). `name`: needed for bytes and nameless files."""
        with _opened(source) as (file, size, own_name):
            name = name or own_name
            if not name:
                raise LecternError("A document needs a name.", remedy="Give upload(..., name='lease.pdf').")
            sent = self._json("PUT", self._path("documents", name), data=file, kind=_kind(name), size=size)
        return Document.of(sent)

    def wait(
        self,
        name: str,
        *,
        until: str = "embedded",
        timeout_s: float = 3600.0,
        progress: Callable[[Document], object] | None = None,
    ) -> Document:
        """Wait until a document is "embedded", or "searchable". Raises LecternError if it cannot be read.

        `progress` is called with every change of its state.
        """
        deadline = time.monotonic() + timeout_s
        path = self._path("documents", name, "events") + f"?until={until}"
        document = self.document(name)
        while True:
            for _, data in self._events("GET", path):
                document = Document.of(data)
                if progress is not None:
                    progress(document)
                if time.monotonic() > deadline:
                    break
            if document.status == "failed":
                raise LecternError(f"{name}: {document.reason}", remedy=document.remedy, code="unprocessable")
            if document.status in ("embedded", until):
                return document
            if time.monotonic() > deadline:
                raise LecternError(f"{name} is still {document.status}.", remedy="Wait longer: timeout_s.")
            time.sleep(0.2)  # the server closed the stream: it restarts

    def remove(self, name: str) -> None:
        self._json("DELETE", self._path("documents", name))

    def page(self, document: str, number: int, *, start: int = 0, end: int | None = None) -> Page:
        """Text of page `number`, from 1; `start` and `end`: of these characters only."""
        where = {"start": start} | ({"end": end} if end is not None else {})
        return Page.of(self._json("GET", self._page(document, number) + "?" + urllib.parse.urlencode(where)))

    def boxes(self, document: str, number: int, start: int, end: int) -> tuple[Box, ...]:
        """Where characters [start, end) of a page stand: a box for each line."""
        query = urllib.parse.urlencode({"start": start, "end": end})
        return _boxes(self._json("GET", f"{self._page(document, number)}/boxes?{query}")["boxes"])

    def page_image(self, document: str, number: int) -> bytes:
        """The sheet as JPEG, 2 pixels a point."""
        with self._send("GET", self._page(document, number) + "/image") as response:
            return response.read()

    # -- questions --

    def search(self, question: str, top_k: int = 10) -> list[Hit]:
        found = self._json("POST", self._path("search"), {"question": question, "top_k": top_k})
        return [Hit.of(hit) for hit in found["hits"]]

    def ask(self, question: str, *, history: Sequence[tuple[str, str]] = (), session: str = "") -> Answer:
        """`history`: earlier (role, text), roles "user" and "assistant"; or `session`, which remembers them."""
        return Answer.of(self._json("POST", self._path("ask"), _question(question, history, session)))

    def stream(
        self,
        question: str = "",
        *,
        history: Sequence[tuple[str, str]] = (),
        session: str = "",
        recording: Source | None = None,
        speak: bool = False,
    ) -> Iterator[Event]:
        """The answer as it is written; with `speak` as sound, too. `recording`: a sound file, in place of `question`.

        Leaving the loop ends the work on the server.
        """
        import base64

        body = {**_question(question, history, session), "stream": True, "speak": speak}
        if recording is not None:
            with _opened(recording) as (file, _, _name):
                body["recording"] = base64.b64encode(file.read()).decode("ascii")
        for name, data in self._events("POST", self._path("ask"), body):
            if name == "text":
                yield Event(text=data["text"])
            elif name == "citation":
                yield Event(citation=Citation.of(data))
            elif name == "heard":
                yield Event(heard=data["text"])
            elif name == "audio":
                yield Event(pcm=base64.b64decode(data["pcm"]), sample_rate=data["sample_rate"])
            elif name == "answer":
                yield Event(answer=Answer.of(data))

    # -- sessions --

    def new_session(self, title: str = "") -> Session:
        return Session(self, self._json("POST", self._path("sessions"), {"title": title}))

    def session(self, session_id: str) -> Session:
        return Session(self, self._json("GET", self._path("sessions", session_id)))

    def join_session(self, code: str) -> Session:
        """Take up a session that was begun elsewhere."""
        return Session(self, self._json("POST", self._path("sessions", "join"), {"code": code}))

    def sessions(self, query: str = "") -> list[Session]:
        """The one used last first; `query`: where these words were said."""
        found = self._json("GET", self._path("sessions") + "?" + urllib.parse.urlencode({"query": query}))
        return [Session(self, info) for info in found["sessions"]]

    def memories(self, query: str = "") -> list[dict[str, Any]]:
        """What is remembered from all sessions, latest first."""
        return list(
            self._json("GET", self._path("memories") + "?" + urllib.parse.urlencode({"query": query}))["memories"]
        )

    def forget(self, memory_id: int) -> None:
        self._json("DELETE", self._path("memories", str(memory_id)))

    # -- sound --

    def transcribe(self, recording: Source) -> Transcript:
        """What was said; the words of the workspace's documents are expected."""
        with _opened(recording) as (file, size, _):
            data = self._json("POST", self._path("transcribe"), data=file, kind="application/octet-stream", size=size)
        return Transcript.of(data)

    def speak(
        self,
        text: str,
        path: str | os.PathLike[str] | None = None,
        *,
        citations: Sequence[Citation] = (),
        rate: float = 1.0,
    ) -> bytes:
        """A WAV file, also written to `path`. With the citations of an answer, [1] is spoken as its page."""
        with self._send("POST", self._path("speak"), _spoken(text, citations, rate, "wav")) as response:
            sound = response.read()
        if path is not None:
            Path(path).write_bytes(sound)
        return sound

    def speak_stream(
        self, text: str, *, citations: Sequence[Citation] = (), rate: float = 1.0
    ) -> Iterator[tuple[int, bytes]]:
        """(Hz, piece of 16-bit little-endian mono PCM) while it is being spoken."""
        with self._send("POST", self._path("speak"), _spoken(text, citations, rate, "pcm")) as response:
            hertz = int(response.headers["Sample-Rate"])
            odd = b""
            while piece := response.read1(1 << 16):
                piece = odd + piece
                odd = piece[len(piece) & ~1 :]
                yield hertz, piece[: len(piece) & ~1]

    # -- HTTP --

    def _path(self, *parts: str) -> str:
        return f"/v1/workspaces/{_quoted(self.workspace)}/" + "/".join(map(_quoted, parts))

    def _page(self, document: str, number: int) -> str:
        return f"{self._path('documents', document)}/pages/{number}"

    def _json(self, method: str, path: str, body: Any = None, **sent: Any) -> Any:
        with self._send(method, path, body, **sent) as response:
            content = response.read()
        return json.loads(content) if content else None

    def _events(self, method: str, path: str, body: Any = None) -> Iterator[tuple[str, Any]]:
        """(name, data) of server-sent events; an event `error` is raised."""
        with self._send(method, path, body, accept="text/event-stream") as response:
            name = ""
            for line in response:
                key, _, value = line.decode("utf-8").rstrip("\r\n").partition(": ")
                if key == "event":
                    name = value
                elif key == "data":
                    data = json.loads(value)
                    if name == "error":
                        raise _error(data["error"], 0)
                    yield name, data
                elif not key:
                    name = ""

    def _send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        data: IO[bytes] | None = None,
        kind: str = "application/json",
        size: int | None = None,
        accept: str = "application/json",
    ) -> Any:
        """The response, to be used in a `with`. Raises LecternError."""
        headers = {"Accept": accept, "User-Agent": "lectern-client/1"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        content: Any = data
        if body is not None:
            content = json.dumps(body).encode()
        if content is not None:
            headers["Content-Type"] = kind
        if size is not None:
            headers["Content-Length"] = str(size)
        for attempt in range(self.retries + 1):
            request = urllib.request.Request(self.url + path, data=content, headers=headers, method=method)
            try:
                return self._opener.open(request, timeout=self.timeout_s)
            except urllib.error.HTTPError as refused:
                error = _refused(refused)
                again = error.status == 429 and attempt < self.retries and (data is None or data.seekable())
                if not again:
                    raise error from None
                if data is not None:
                    data.seek(0)
                time.sleep(min(error.retry_after_s or 1.0, _LONGEST_WAIT_S))
            except TimeoutError:
                raise LecternError(
                    f"{self.url} has not answered for {self.timeout_s:g} s.",
                    remedy="Wait longer: timeout_s.",
                    code="timeout",
                ) from None
            except OSError as error:  # URLError among them
                reason = getattr(error, "reason", error)
                raise LecternError(
                    f"{self.url} cannot be reached: {reason}.",
                    remedy="Start the server (python app.py), or correct the address.",
                    code="unreachable",
                ) from error
        raise AssertionError("unreachable")


class Session:
    """A conversation that the server keeps."""

    def __init__(self, client: Client, info: Mapping[str, Any]) -> None:
        self._client = client
        self.session_id: str = info["session_id"]
        self.title: str = info["title"]
        self.code: str = info.get("code") or ""  # takes it up elsewhere; "" in lists

    def ask(self, question: str) -> Answer:
        """A question in the light of those before it; it is kept."""
        return self._client.ask(question, session=self.session_id)

    def stream(self, question: str = "", *, recording: Source | None = None, speak: bool = False) -> Iterator[Event]:
        return self._client.stream(question, session=self.session_id, recording=recording, speak=speak)

    def turns(self, *, after: int = 0) -> list[Turn]:
        """In order; `after` a number: those that came later."""
        turns: list[Turn] = []
        while True:  # a response has so many at most
            found = self._client._json("GET", f"{self._path}/turns?after={after}")
            turns += [Turn.of(turn) for turn in found["turns"]]
            if not found["turns"] or turns[-1].number >= found["session"]["turns"]:
                return turns
            after = turns[-1].number

    def rename(self, title: str) -> None:
        self._client._json("PATCH", self._path, {"title": title})
        self.title = title

    def export(self) -> str:
        """The whole conversation as Markdown."""
        with self._client._send("GET", f"{self._path}/export") as response:
            return response.read().decode()

    def delete(self) -> None:
        """Without trace, its memories included."""
        self._client._json("DELETE", self._path)

    @property
    def _path(self) -> str:
        return self._client._path("sessions", self.session_id)


# ---- requests ---------------------------------------------------------------------------------------------------


def _question(question: str, history: Sequence[tuple[str, str]], session: str) -> dict[str, Any]:
    messages = [{"role": role, "content": text} for role, text in history]
    return {"question": question, "history": messages, "session": session}


def _spoken(text: str, citations: Sequence[Citation], rate: float, kind: str) -> dict[str, Any]:
    places = [{"n": each.n, "document": each.document, "page": each.page} for each in citations]
    return {"text": text, "citations": places, "rate": rate, "format": kind}


def _quoted(part: str) -> str:
    return urllib.parse.quote(part, safe="")


def _kind(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


class _opened:
    """(file, its size in bytes or None, its name) of a path, bytes or an open file; closes what it opened."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._own: IO[bytes] | None = None

    def __enter__(self) -> tuple[IO[bytes], int | None, str]:
        import io

        source = self._source
        if isinstance(source, bytes):
            return io.BytesIO(source), len(source), ""
        if isinstance(source, str | os.PathLike):
            path = Path(source)
            try:
                self._own = path.open("rb")
            except OSError as error:
                raise LecternError(f"{path} cannot be read: {error.strerror}.", remedy="Check the path.") from error
            return self._own, path.stat().st_size, path.name
        size = None
        if source.seekable():
            here = source.tell()
            size = source.seek(0, os.SEEK_END) - here
            source.seek(here)
        return source, size, os.path.basename(str(getattr(source, "name", "")))

    def __exit__(self, *_: object) -> None:
        if self._own is not None:
            self._own.close()


class _ReadsRefusals:
    """An HTTP connection that reads the answer when the server stops taking the body: the refusal says why."""

    _cut = False

    def send(self, data: Any) -> None:
        if self._cut:
            return
        try:
            super().send(data)  # type: ignore[misc]
        except (BrokenPipeError, ConnectionResetError, ConnectionAbortedError):
            self._cut = True


class _Connection(_ReadsRefusals, http.client.HTTPConnection):
    pass


class _SecureConnection(_ReadsRefusals, http.client.HTTPSConnection):
    pass


class _Http(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, request)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, request, context=self._context)  # type: ignore[attr-defined]


def _refused(response: urllib.error.HTTPError) -> LecternError:
    with response:
        content = response.read()
    try:
        detail = json.loads(content)["error"]
        error = _error(detail, response.code)
    except (ValueError, KeyError, TypeError):
        error = LecternError(f"The server answered {response.code} {response.reason}.", status=response.code)
    wait = response.headers.get("Retry-After", "")
    error.retry_after_s = float(wait) if wait.isdigit() else None
    return error


def _error(detail: Mapping[str, Any], status: int) -> LecternError:
    return LecternError(
        str(detail["message"]),
        remedy=str(detail.get("remedy") or ""),
        status=status,
        code=str(detail.get("code") or ""),
        param=detail.get("param"),
    )
