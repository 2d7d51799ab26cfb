"""The object graph of one process: settings, workspaces, one embedder, engines, ears and voice. Built here only.

>>> assistant = build(load_settings())
>>> answer = assistant.engine("default").answer("How long is the notice period?")

Everything heavy is made at its first use, or by `start()` in the background, so that the page is up before the models.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

from core.errors import AccessError, LecternError, NotFoundError
from core.runtime import release_memory, require
from core.settings import Settings
from ingest.workspace import Workspace, list_workspaces
from web.accounts import access
from web.inbox import Inbox

if TYPE_CHECKING:
    from ingest.embedders import Embedder
    from memory.session import Conversation, Dialogue, OpenTurn
    from omni.cascade import SpeechEvent
    from omni.engine import OmniEngine
    from omni.types import SpeechRecogniser, SpeechSynthesiser, Transcript, Waveform
    from rag.answer import AnswerEngine
    from rag.types import Answer, AnswerEvent
    from rag.wordings import Wording

log = logging.getLogger(__name__)
TIDY_S = 30.0
QUIET_S, LONGEST_S = 3.0, 600.0  # work for later begins when nobody has asked for so long, or has waited so long
GIVE_WAY_S = 1.0
SHORTLY_S = 20.0  # the longest that voice and recogniser wait for that: somebody may speak to them any time
T = TypeVar("T")


class Assistant:
    """One assistant for all visitors of a process. Conversations live on disk, beside their workspace's documents."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.login = False  # whether every request belongs to a user (web/accounts/), who sees some workspaces only
        self._made: dict[tuple[str, str], object] = {}
        self._locks: dict[tuple[str, str], threading.Lock] = {}
        self._lock = threading.Lock()
        self.ready = threading.Event()  # the default workspace can be asked without waiting for a model
        self.closing = threading.Event()
        self.busy: Callable[[], bool] = lambda: False  # whether questions run or wait; the server knows
        self._answered = 0  # about: counted without a lock
        self.answer_listeners: list[Callable[[Answer], None]] = []  # told every finished answer
        self._seen = 0  # of them, when last looked whether it is quiet
        self._told: set[str] = set()  # warnings of the background
        self._to_learn: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.inbox = Inbox(
            settings.home,
            settings,
            open_workspace=self.workspace,
            embedder=self.embedder,
            settled=self._to_learn.put,
            give_way=self.give_way,
        )

    # ---- parts ------------------------------------------------------------------------------------------------

    def workspaces(self) -> list[str]:
        """Names of the workspaces on disk that whoever asks may know of, `default` first."""
        names = access.visible_now({"default", *list_workspaces(self.settings.home)})
        return sorted(names, key=lambda name: (name != "default", name.casefold()))

    def workspace(self, name: str, *, create: bool = False) -> Workspace:
        """The open workspace; `default` is made when asked for. Raises NotFoundError, UsageError, StoreError.

        Whoever asks must be allowed to read it; NotFoundError also where they may not.
        """
        access.require(name, "admin" if create else "read")

        def make() -> Workspace:
            try:
                opened = Workspace.open(self.settings.home, name, create=create or name == "default")
            except NotFoundError as error:
                if not self.login:
                    raise
                # The error lists the workspaces that there are, which is not for every user to know.
                raise NotFoundError(f"there is no workspace {name!r}", remedy="Choose another") from error
            self.inbox.embed(name)
            return opened

        return self._once("workspace", name, make)

    def engine(self, workspace: str) -> AnswerEngine:
        """The answer engine over a workspace; with `engine = "omni"` the speech language model writes its answers."""
        from rag.answer_cache import AnswerCache, fingerprint
        from rag.engine import TRAINED_LOCATOR, build_engine

        access.require(workspace, "read")

        def make() -> AnswerEngine:
            opened = self.workspace(workspace)
            answers = build_engine(opened, self.settings)
            if self.uses_omni:
                answers.generator = self.omni()
            elif self.settings.answer.cache:
                state = fingerprint(self.settings, TRAINED_LOCATOR)
                answers.cache = AnswerCache(lambda: opened.derived, lambda: opened.version, state)
            answers.on_answer = self._tell_answer
            return answers

        return self._once("engine", workspace, make)

    def _tell_answer(self, answer: Answer) -> None:
        self._answered += 1
        for listener in self.answer_listeners:
            listener(answer)

    def _tidy(self) -> None:
        """Every half minute with answers, give back what they left: the heaps of threads only grow otherwise."""
        told = 0
        while not self.closing.wait(TIDY_S):
            if self._answered != told:
                told = self._answered
                release_memory()

    def dialogue(self, workspace: str) -> Dialogue:
        """All conversations over a workspace. Loads no model before the first question. Raises as `workspace` does.

        Where there is a login, those of whoever asks: each user's conversations and memories have their own folder.
        """
        access.require(workspace, "read")
        principal = access.current()
        if self.login and principal is None:  # a thread that was started without its request's context
            raise AccessError("nobody is known to whom this conversation belongs", remedy="Please report this")
        return self._dialogue_of(workspace, principal.person if principal is not None else "")

    def _dialogue_of(self, workspace: str, person: str) -> Dialogue:
        from memory.session import Dialogue

        def make() -> Dialogue:
            folder = self.workspace(workspace).path
            if person:
                folder = folder / "people" / person
                folder.mkdir(parents=True, exist_ok=True)
            return Dialogue(folder, partial(self.engine, workspace), self.settings.memory)

        return self._once("dialogue", f"{workspace}/{person}" if person else workspace, make)

    def talk(self, workspace: str, session_id: str = "") -> Conversation:
        """A conversation over a workspace, by its id; a new one without. memory/session.py says what it can.

        Raises NotFoundError: there is no such workspace or conversation.
        """
        dialogue = self.dialogue(workspace)
        if not session_id:
            return dialogue.start()
        try:
            return dialogue.resume(session_id)
        except NotFoundError:
            if not self.login or (guest := self._guest(workspace, session_id)) is None:
                raise
            return guest

    def join(self, workspace: str, code: str) -> Conversation:
        """The conversation with this code, one's own or somebody else's. Raises NotFoundError."""
        from memory.sharing import Guest, take_up

        dialogue = self.dialogue(workspace)
        try:
            return dialogue.join(code)
        except NotFoundError:
            if not self.login:
                raise
        home = self.workspace(workspace).path
        folders = {
            path.name: path for path in sorted((home / "people").glob("*")) if path != dialogue.store.path.parent
        }
        session, taken_up = take_up(dialogue.store, code, folders)
        return Guest(self._dialogue_of(workspace, taken_up.owner), session, taken_up, dialogue.store)

    def joined(self, workspace: str) -> list[Conversation]:
        """Other people's conversations that whoever asks has taken up and that are still shared."""
        from memory.sharing import joined

        if not self.login:
            return []
        found = (self._guest(workspace, session) for session in joined(self.dialogue(workspace).store))
        return [guest for guest in found if guest is not None]

    def _guest(self, workspace: str, session_id: str) -> Conversation | None:
        from memory.sharing import Guest, joined

        own = self.dialogue(workspace).store
        taken_up = joined(own).get(session_id)
        if taken_up is None:
            return None
        try:
            return Guest(self._dialogue_of(workspace, taken_up.owner), session_id, taken_up, own)
        except NotFoundError:
            return None

    def release(self, workspace: str) -> None:
        """Let go of a workspace whose folder is about to be replaced or deleted: its talks, engine and database."""
        for kind in ("dialogue", "engine", "workspace"):
            with self._lock:  # a name holds no "/": what follows one is a person
                names = [key for key in self._made if key[0] == kind and key[1].partition("/")[0] == workspace]
                parts = [self._made.pop(key) for key in names]
            for part in parts if kind != "engine" else ():
                part.close()  # type: ignore[attr-defined]

    def delete_workspace(self, name: str) -> None:
        """Delete a workspace with everything in it, uploads that wait for it included.

        Raises NotFoundError, StoreError (a document is being read there).
        """
        from ingest.workspace import delete_workspace

        access.require(name, "admin")
        self.workspace(name)
        self.inbox.forget_workspace(name)
        self.release(name)
        delete_workspace(self.settings.home, name)

    def embedder(self) -> Embedder:
        """The process's one embedder."""
        from ingest.embedders import load_embedder

        settings = self.settings
        make = partial(load_embedder, settings.embedder, device=settings.device, threads=settings.threads)
        return self._once("embedder", "", make)

    @property
    def uses_omni(self) -> bool:
        """Whether one speech language model takes the place of recogniser, generator and voice."""
        return self.settings.engine == "omni"

    @property
    def licence(self) -> str:
        """Terms of weights that not everyone may use, to be shown wherever they answer; else ""."""
        if not self.uses_omni:
            return ""
        from omni.download import LICENCE

        return LICENCE

    def omni(self) -> OmniEngine:
        """The speech language model of the settings. Raises ModelError if it is not there."""
        from omni.engine import load_engine

        return self._once("omni", "", lambda: load_engine(self.settings))

    def recogniser(self) -> SpeechRecogniser:
        """The configured one; the speech language model where its Whisper is whole."""
        from omni.asr import load_recogniser

        if self.uses_omni and self.omni().transcriber is not None:
            return self.omni()
        return self._once("recogniser", "", lambda: load_recogniser(self.settings.speech, device=self.settings.device))

    def synthesiser(self) -> SpeechSynthesiser:
        from omni.tts import load_synthesiser

        if self.uses_omni:
            return cast("SpeechSynthesiser", self.omni())  # mypy: its rate cannot be set, as it is its vocoder's
        return self._once("synthesiser", "", lambda: load_synthesiser(self.settings.speech))

    def _once(self, kind: str, name: str, make: Callable[[], T]) -> T:
        """What `make` returns, made once per (kind, name) even when several threads ask; a failure is not kept."""
        key = (kind, name)
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._made:
                self._made[key] = make()
            return self._made[key]  # type: ignore[return-value]

    # ---- what it does -----------------------------------------------------------------------------------------

    def stream(
        self,
        question: str,
        workspace: str,
        *,
        history: Sequence[tuple[str, str]] = (),
        wordings: Sequence[Wording] = (),
    ) -> Iterator[AnswerEvent]:
        """Answer a question from a workspace, piece by piece. `wordings`: other readings of it, searched as well."""
        from rag.wordings import with_wordings

        return with_wordings(self.engine(workspace), wordings).stream(question, history=history)

    def converse(
        self,
        question: Waveform | str,
        workspace: str,
        *,
        history: Sequence[tuple[str, str]] = (),
        turn: OpenTurn | None = None,
        speak: bool = True,
        cancel: threading.Event | None = None,
    ) -> Iterator[SpeechEvent]:
        """Answer through the speech language model, text and sound together; a recording conditions it as sound.

        Only with `engine = "omni"`. Setting `cancel`, or closing the iterator, stops it before its next token. `turn`
        of a conversation: it searches as the question is understood there, and the caller stores the answer in it.
        """
        from omni.cascade import Silence, hear_and_answer, speak_answer
        from omni.engine import answer_aloud

        omni, answers, rate = self.omni(), self.engine(workspace), self.settings.speech.rate
        if not self.workspace(workspace).chunk_count() or (isinstance(question, str) and not question.strip()):
            # Nothing to answer from, or nothing asked: said as ever, rather than left to what the model believes.
            voice = self.synthesiser() if speak else Silence()
            if isinstance(question, str):
                return speak_answer(answers.stream(question), voice, rate=rate, cancel=cancel)
            return hear_and_answer(question, self.recogniser(), answers, voice, rate=rate, cancel=cancel)
        needs_ears = not isinstance(question, str) and omni.transcriber is None
        return answer_aloud(
            omni,
            question,
            answers if turn is None else turn,
            history=history if turn is None else turn.history(),
            recogniser=self.recogniser() if needs_ears else None,
            vocabulary=self.vocabulary(workspace) if needs_ears else (),
            rate=rate,
            speak=speak,
            cancel=cancel,
        )

    def transcribe(self, waveform: Waveform, workspace: str) -> Transcript:
        """What was said; the words of the workspace's documents are expected. Raises AudioError, ModelError.

        Where there are so many that learning them takes minutes, those that have been learnt so far.
        """
        from omni.language_bias import DocumentLanguage, as_built, is_built

        vocabulary = self.vocabulary(workspace)
        if isinstance(vocabulary, DocumentLanguage) and vocabulary.apart is not None and not is_built(vocabulary):
            self._to_learn.put(workspace)
            vocabulary = as_built(vocabulary) or ()
        return self.recogniser().transcribe(waveform, vocabulary=vocabulary)

    def vocabulary(self, workspace: str) -> Sequence[str]:
        """The words that a recogniser should expect in a workspace."""
        from omni.language_bias import document_language

        opened = self.workspace(workspace)
        return document_language(opened) if opened.chunk_count() else ()

    def _learn_words(self, workspace: str) -> None:
        """Let the recogniser build its model of a workspace's words before somebody waits for it."""
        prepare = getattr(self.recogniser(), "prepare", None)
        if prepare is not None and self.workspace(workspace).chunk_count():
            prepare(self.vocabulary(workspace))

    # ---- life -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start reading and embedding in the background, and load the models there, so that nobody waits for them."""
        self.inbox.start()
        threading.Thread(target=self._prepare, name="lectern-prepare", daemon=True).start()
        threading.Thread(target=self._tidy, name="lectern-tidy", daemon=True).start()

    def _prepare(self) -> None:
        """First the models; then, whenever a workspace has settled, the words that are to be heard there."""
        self._warm_up()
        while (workspace := self._to_learn.get()) is not None and not self.closing.is_set():
            self.wait_for_quiet(QUIET_S, LONGEST_S)
            self._try(partial(self._learn_words, workspace), f"learning the words of workspace {workspace}")

    def _warm_up(self) -> None:
        shortly = partial(self.wait_for_quiet, 1.0, SHORTLY_S)
        steps: list[Callable[[], object]] = [
            lambda: self.embedder().embed_query("warm up"),  # the first call takes longer than any later one
            # Reads the index of the documents, or builds it, and the locator.
            lambda: self.engine("default").search("What do the documents say about it?"),
            *([lambda: self.omni().warm_up()] if self.uses_omni else []),
            self.ready.set,
            shortly,
            self._say_once,
            shortly,
            self._listen_once,
            # What is remembered needs it: half a second in which nothing else runs, right behind the first answer.
            partial(require, "chromadb", needed_for="remembering what was said"),
        ]
        for step in steps:
            if self.closing.is_set():
                return
            self._try(step, "warming up")
        self.ready.set()

    def give_way(self) -> None:
        """Wait while questions run, a second at most: work in this process goes on slowly, and they hardly notice."""
        end = time.monotonic() + GIVE_WAY_S
        while self.busy() and time.monotonic() < end and not self.closing.wait(0.05):
            pass

    def wait_for_quiet(self, quiet_s: float, longest_s: float) -> None:
        """Return once no question has run or waited for `quiet_s`, or after `longest_s`, or when all ends."""
        waited = quiet = 0.0
        while quiet < quiet_s and waited < longest_s and not self.closing.wait(0.25):
            waited += 0.25
            answered, self._seen = self._seen != self._answered, self._answered
            quiet = 0.0 if answered or self.busy() else quiet + 0.25

    def _listen_once(self) -> None:
        """A second of silence through the recogniser: what it loads at first use would keep the first speaker."""
        import numpy as np

        from omni.live.hearing import open_session

        session = open_session(self.recogniser(), ())
        session.accept(np.zeros(20_000, np.float32))
        session.finish()

    def _say_once(self) -> None:
        """A word through the voice, for the same reason."""
        for _ in self.synthesiser().stream("Hello."):
            pass

    def _try(self, step: Callable[[], object], doing: str) -> None:
        """Prepare something; a failure is told in the log, and again to the visitor by what needs the part."""
        try:
            step()
        except LecternError as error:
            if str(error) not in self._told:  # several parts may miss the same model
                log.warning("%s", error)
            self._told.add(str(error))
        except Exception:
            log.exception("%s", doing)

    def close(self) -> None:
        """Let the workers finish what they have in hand, then close the workspaces."""
        self.closing.set()
        self._to_learn.put(None)
        self.inbox.close()
        with self._lock:
            for closing in ("dialogue", "workspace"):
                for (kind, _), part in self._made.items():
                    if kind == closing:
                        part.close()  # type: ignore[attr-defined]
            self._made.clear()


def build(settings: Settings) -> Assistant:
    """The assistant that `settings` describe. Loads nothing yet."""
    return Assistant(settings)
