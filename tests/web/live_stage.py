"""The stage of the live conversation's browser tests: a page with a microphone, and what its server says in a turn.

Nothing here waits for so many milliseconds: a busy machine has its own. What must not happen is watched for as long as
the loudspeaker's own clock says (`listen_on`).
"""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from live_helpers import RATE, WANTED, Network, ScriptedServer
from test_page import READABLE

from benchmarks._talking_page import TAP

FAKE_MICROPHONE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
LOUD = 0.02  # RMS of a block that sounds
QUESTION = "How long is the notice period of the mill house?"
NOTICE = (
    "The notice period of the mill house is eleven weeks, and the letter has to reach the landlord on a working day "
    "before noon, signed by every person who lives in the house, together with the book in which the meters were read "
    "every month, the list of the repairs that were paid by the landlord, and all seven keys of the doors and gates"
)
TEXT = "The notice period is eleven weeks [1]. It begins on a Monday [2]."
SPY = """
window.frames_sent = [];
let sockets = 0;
const Native = WebSocket;
window.WebSocket = class extends Native {
  constructor(...rest) { super(...rest); this.number = sockets; sockets += 1; }
  send(data) {
    if (typeof data !== "string") window.frames_sent.push([this.number, [...data].join()]);
    super.send(data);
  }
};
"""


@pytest.fixture(scope="module")
def network(server: Any) -> Iterator[Network]:
    network = Network(server.url)
    yield network
    network.close()


@pytest.fixture
def scripted(network: Network) -> Iterator[ScriptedServer]:
    scripted = ScriptedServer()
    network.live = scripted.address
    yield scripted
    network.live = None
    scripted.close()


@pytest.fixture(scope="module")
def talkative(launch_chromium: Callable[..., Any]) -> Any:
    """A browser whose microphone beeps."""
    return launch_chromium(*FAKE_MICROPHONE)


@pytest.fixture
def open_page(
    server: Any, network: Network, talkative: Any, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Any]]:
    """Open the page through the network that can be cut, in a workspace of the test's own. Fails on script errors."""
    contexts: list[Any] = []
    faults: list[str] = []
    own = request.node.name.removeprefix("test_").partition("[")[0][:60].replace("_", "-")

    def open_one(
        *scripts: str,
        browser: Any = None,
        document: Path | None = None,
        width: int = 1280,
        permissions: tuple[str, ...] = ("microphone",),
    ) -> Any:
        create = urllib.request.Request(f"{server.url}/api/workspaces/{own}", method="PUT")
        urllib.request.urlopen(create).close()
        context = (browser or talkative).new_context(
            viewport={"width": width, "height": 800}, permissions=list(permissions)
        )
        contexts.append(context)
        context.add_init_script(f"localStorage.setItem('lectern.workspace', {own!r})")
        for script in (TAP, WANTED, *scripts):
            context.add_init_script(script)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: faults.append(f"script error: {error}"))
        page.goto(network.url)
        page.wait_for_selector(".lec-welcome-title")
        if document is not None:
            page.set_input_files("#lec-file", str(document))
            page.wait_for_selector(f".lec-document:is({READABLE})")
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert faults == []


def talk(page: Any, scripted: ScriptedServer) -> None:
    page.click(".lec-live-start")
    scripted.wait(lambda: scripted.hellos)
    scripted.say("state", state="listening")
    page.wait_for_selector("[data-state=listening]")


def hear(scripted: ScriptedServer, turn: int, text: str, **fields: Any) -> None:
    """The events of a question up to its transcript."""
    scripted.say("hearing", turn=turn, start_sample=512)
    scripted.say(
        "end_of_turn",
        turn=turn,
        start_sample=512,
        speech_end_sample=1024,
        decided_sample=2048,
        waited_ms=64,
        reason="complete",
    )
    scripted.say(
        "transcript", turn=turn, text=text, **{"typed": False, "corrects": 0, "joins": 0, "hypotheses": [], **fields}
    )


def answer(scripted: ScriptedServer, turn: int, text: str = TEXT) -> None:
    cited = {
        "document": "lease.pdf",
        "page": 1,
        "quote": "?",
        "start": 0,
        "end": 1,
        "boxes": [],
        "verified": True,
        "sheets": True,
    }
    citations = [{**cited, "n": n} for n in (1, 2)]
    scripted.say("text", turn=turn, text=text)
    for citation in citations:
        scripted.say("citation", turn=turn, citation=citation)
    finished = {"question": "?", "answer": text, "refused": False, "citations": citations, "model": "extractive"}
    scripted.say("answer", turn=turn, answer=finished)


def speak(scripted: ScriptedServer, speech: int, turn: int, seconds: float = 1.0) -> None:
    """Two sentences of a tone each, which last `seconds`."""
    scripted.say("speech", speech=speech, turn=turn, sample_rate=RATE, of="answer")
    scripted.say("state", state="speaking")
    chunks = round(seconds * 4)
    for sentence, text in enumerate(re.findall(r"[^.]+\.", TEXT)):
        start = sentence * chunks * RATE // 4
        scripted.say(
            "sentence",
            speech=speech,
            turn=turn,
            sentence=sentence,
            chunk=sentence * chunks,
            start=start,
            text=text.strip(),
            citations=[sentence + 1],
        )
        scripted.speak(speech, seconds, first=sentence * chunks, last=sentence == 1, sentence=sentence)
    scripted.say("speech_end", speech=speech, chunks=2 * chunks, samples=2 * chunks * RATE // 4)


def go_on(page: Any) -> None:
    """After a reload: browsers may wait for a click before they let a page make sound."""
    page.wait_for_selector("[data-state]:not([data-state=asking]):not([data-state=connecting])")
    if page.get_attribute(".lec-live", "data-state") == "blocked":
        page.get_by_role("button", name="Go on", exact=True).click()


def loud_seconds(page: Any) -> float:
    """How long the loudspeaker has sounded so far."""
    return sum(loudness > LOUD for _, loudness, _ in page.evaluate("window.tapped")) / 100


def marked(page: Any) -> str:
    return page.evaluate("[...(CSS.highlights.get('lec-spoken') ?? [])].map(String).join('')")


def listen_on(page: Any, seconds: float) -> None:
    """Let so much time pass at the loudspeaker."""
    page.wait_for_function("window.tapped.length > 0")
    until = page.evaluate("window.tapped.at(-1)[0]") + seconds
    page.wait_for_function("until => window.tapped.at(-1)[0] >= until", arg=until)
