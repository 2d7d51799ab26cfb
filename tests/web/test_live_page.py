"""Live conversation in a real browser, with a server that the test scripts."""

# ruff: noqa: F811 (fixtures are imported, and tests name them)

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from live_helpers import RATE, Network, ScriptedServer
from live_stage import (  # noqa: F401
    FAKE_MICROPHONE,
    QUESTION,
    SPY,
    answer,
    go_on,
    hear,
    listen_on,
    loud_seconds,
    marked,
    network,
    open_page,
    scripted,
    speak,
    talk,
    talkative,
)  # fmt: skip
from test_page import _CONTRAST, _WIDE

pytestmark = pytest.mark.browser


def test_a_turn_is_shown_as_it_happens_and_marked_while_it_is_spoken(
    open_page: Callable[..., Any], scripted: ScriptedServer
) -> None:
    page = open_page()
    talk(page, scripted)
    assert page.evaluate("window.wanted")[0]["audio"] == {
        "channelCount": 1, "echoCancellation": True, "noiseSuppression": True, "autoGainControl": True,
    }  # fmt: skip
    hello = scripted.hellos[0]
    assert (hello["type"], hello["mode"], hello["speak"]) == ("hello", "hands_free", True)
    scripted.wait(lambda: len(scripted.samples) >= 4 * 512)

    scripted.say("hearing", turn=1, start_sample=512)
    scripted.say("state", state="hearing")
    scripted.say("partial", turn=1, text="how long is the no", stable=15)
    hit = {
        "document": "lease.pdf",
        "page": 7,
        "quote": "three months",
        "start": 0,
        "end": 1,
        "boxes": [],
        "sheets": True,
    }
    scripted.say("looking", turn=1, question="how long", hits=[hit])
    page.wait_for_selector("[data-state=hearing]")
    page.wait_for_selector(".lec-looking")
    assert page.inner_text(".lec-asked") == "how long is the no"
    assert page.inner_text(".lec-unsure") == " no"
    assert page.inner_text(".lec-looking").split() == ["lease.pdf", "p.", "7"]
    assert page.get_attribute(".lec-turn", "aria-busy") == "true"  # screen readers wait for the final words

    scripted.say(
        "end_of_turn",
        turn=1,
        start_sample=512,
        speech_end_sample=1024,
        decided_sample=2048,
        waited_ms=64,
        reason="complete",
    )
    scripted.say("state", state="thinking")
    scripted.say("busy", turn=1, waiting_for="answer", position=3)
    page.wait_for_selector("text=Busy: 3 before you.")
    scripted.say("transcript", turn=1, text=QUESTION, typed=False, corrects=0, joins=0, hypotheses=[])
    scripted.say("busy", turn=1, waiting_for="answer", position=0)
    answer(scripted, 1)
    page.wait_for_selector(".lec-answer-foot")
    assert page.inner_text(".lec-asked") == QUESTION
    assert page.locator(".lec-looking").count() == 0

    speak(scripted, 1, 1)
    page.wait_for_selector("[data-state=speaking]")
    page.wait_for_function("document.body.classList.contains('lec-speaking')")
    assert marked(page) == "The notice period is eleven weeks 1."
    page.wait_for_function("[...CSS.highlights.get('lec-spoken') ?? []].join('').startsWith('It begins')")
    first = scripted.message("first_played", speech=1)
    assert first["turn"] == 1
    assert first["after_speech_end_ms"] > first["after_decision_ms"]  # 64 ms of sound lie between the two
    assert scripted.message("played", speech=1, playing=False)["samples"] == 2 * RATE
    assert loud_seconds(page) == pytest.approx(2, abs=0.2)  # every sample once
    assert marked(page) == ""

    scripted.say("state", state="listening")
    times = {
        "decided": 420.1,
        "transcript": 421.9,
        "first_hit": 425.0,
        "first_text": 440.2,
        "first_audio": 472.8,
        "played": 512.4,
    }
    scripted.say(
        "latency",
        turn=1,
        speech_s=1.0,
        typed=False,
        reason="complete",
        speculation="kept",
        after_speech_end_ms=times,
        queued_ms=0,
        stopped_ms=None,
    )
    page.wait_for_selector(".lec-latency")
    assert page.locator(".lec-latency").get_attribute("open") is None
    page.click(".lec-latency summary")
    assert page.inner_text(".lec-latency tbody tr").split() == [
        "1",
        "420",
        "ms",
        "422",
        "ms",
        "425",
        "ms",
        "440",
        "ms",
        "473",
        "ms",
        "512",
        "ms",
    ]
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as JSON").click()
    assert json.loads(Path(download.value.path()).read_text())[0]["after_speech_end_ms"] == times


def test_an_interruption_ducks_holds_resumes_and_cancels(
    open_page: Callable[..., Any], scripted: ScriptedServer
) -> None:
    """The tone is lowered, then silent with its place kept; after a "mhm" it goes on; cancelled, nothing more comes."""
    page = open_page()
    talk(page, scripted)
    hear(scripted, 1, QUESTION)
    answer(scripted, 1)
    speak(scripted, 1, 1, seconds=20)  # longer than the slowest machine needs for what follows
    page.wait_for_function("window.tapped.at(-1)?.[1] > 0.25")
    scripted.say("duck", speech=1)
    page.wait_for_function("window.tapped.at(-1)[1] < 0.06 && window.tapped.at(-1)[1] > 0.02")
    scripted.say("hold", speech=1)
    held = scripted.message("played", speech=1, playing=False)["samples"]
    page.wait_for_function("window.tapped.at(-1)[1] === 0")
    scripted.say("resume", speech=1)
    page.wait_for_function("window.tapped.at(-1)[1] > 0.25")
    again = scripted.wait(
        lambda: next((m for m in reversed(scripted.messages) if m["type"] == "played" and m["playing"]), None)
    )
    assert abs(again["samples"] - held) < RATE  # from where it was held, not from the start

    scripted.wait(lambda: len(scripted.samples) > 30 * 512)
    start = len(scripted.samples) - 512
    scripted.say("hearing", turn=2, start_sample=start)
    scripted.say("cancel", speech=1, reason="barge_in")
    scripted.say("heard", turn=1, text="The notice period is", complete=False)
    scripted.message("stopped", speech=1)
    page.wait_for_function("window.tapped.at(-1)[1] === 0")
    before = loud_seconds(page)
    assert before < 39  # of 40 s that had been sent
    scripted.speak(1, 1, first=160)  # crossed the flush on its way
    scripted.say("not_a_turn", turn=2, reason="noise", text="")
    page.wait_for_function("document.querySelectorAll('.lec-turn').length === 1")
    listen_on(page, 0.3)
    assert loud_seconds(page) == before
    assert "Interrupted" in page.inner_text(".lec-answer")
    assert page.locator(".lec-answer-text").all_inner_texts() == ["The notice period is"]

    speak(scripted, 2, 1, seconds=1)  # the next speech is not affected
    page.wait_for_function("window.tapped.at(-1)[1] > 0.25")
    page.get_by_role("button", name="Stop", exact=True).click()
    scripted.message("command", name="stop")
    page.wait_for_function("window.tapped.at(-1)[1] === 0")


def test_what_was_heard_can_be_corrected_typed_and_commanded(
    open_page: Callable[..., Any], scripted: ScriptedServer
) -> None:
    page = open_page()
    talk(page, scripted)
    hear(
        scripted,
        1,
        "How long is the no dice period",
        hypotheses=["How long is the no dice period", "How long is the notice period"],
    )
    answer(scripted, 1)
    assert page.locator(".lec-heard").count() == 0
    page.click("button[aria-label='Correct what I heard']")
    page.keyboard.press("Escape")
    assert page.inner_text(".lec-asked") == "How long is the no dice period"
    page.click("button[aria-label='Correct what I heard']")
    page.get_by_role("button", name="How long is the notice period").click()
    assert scripted.message("correct")["text"] == "How long is the notice period"
    assert scripted.message("correct")["turn"] == 1
    scripted.say(
        "transcript", turn=2, text="How long is the notice period", typed=True, corrects=1, joins=0, hypotheses=[]
    )
    answer(scripted, 2)
    page.wait_for_selector(".lec-turn[data-live='2'] .lec-answer-foot")
    assert page.locator(".lec-turn").count() == 1  # in place of what was misheard

    page.fill("#lec-question", "And who signs?")
    page.keyboard.press("Enter")
    assert scripted.message("ask")["text"] == "And who signs?"
    scripted.say("transcript", turn=3, text="And who signs?", typed=True, corrects=0, joins=0, hypotheses=[])
    speak(scripted, 1, 3, seconds=0.5)
    assert scripted.message("first_played", turn=3)["after_speech_end_ms"] > 0  # since it was sent

    page.click(".lec-live-commands summary")
    page.get_by_role("button", name="Slower").click()
    scripted.message("command", name="slower")
    scripted.say("recognised", turn=4, command="slower", done=True)
    page.click("button[aria-label='Speak answers']")
    assert scripted.message("speak")["on"] is False
    page.click(".lec-live-start")
    scripted.message("bye")
    assert page.locator(".lec-live").is_hidden()


@pytest.mark.parametrize(
    ("text", "instead", "shown", "asked"),
    [
        (
            "How is the quill on cleaned",
            False,
            "Heard quill on, also searched for Quillon",
            "How is the Quillon cleaned",
        ),
        ("How is the Quillon cleaned", True, "Heard quill on, searched for Quillon", "How is the quill on cleaned"),
    ],
)
def test_what_was_searched_for_in_place_of_what_was_heard_is_shown_and_taken_back(
    open_page: Callable[..., Any], scripted: ScriptedServer, text: str, instead: bool, shown: str, asked: str
) -> None:
    page = open_page(width=390)
    talk(page, scripted)
    hear(scripted, 1, text, searched=[{"heard": "quill on", "term": "Quillon", "instead": instead}])
    answer(scripted, 1)
    page.wait_for_selector(".lec-answer-foot")
    assert page.inner_text(".lec-heard p") == shown
    assert not page.evaluate(_WIDE)
    page.click(".lec-heard button")
    correction = scripted.message("correct")
    assert (correction["turn"], correction["text"]) == (1, asked)
    scripted.say("transcript", turn=2, text=asked, typed=True, corrects=1, joins=0, hypotheses=[])
    page.wait_for_selector(".lec-turn[data-live='2']")
    assert page.locator(".lec-heard").count() == 0


def test_push_to_talk_sends_only_while_the_button_or_space_is_held(
    open_page: Callable[..., Any], scripted: ScriptedServer
) -> None:
    page = open_page(width=390)
    talk(page, scripted)
    scripted.wait(lambda: len(scripted.samples) > 0)
    page.get_by_role("button", name="Hold to talk").first.click()
    scripted.message("mode", mode="push_to_talk")
    sent = len(scripted.samples)
    listen_on(page, 0.3)
    assert len(scripted.samples) == sent

    page.keyboard.down("Space")  # at once, whatever was clicked last
    scripted.message("talk", down=True)
    page.keyboard.up("Space")
    scripted.message("talk", down=False)
    scripted.messages.clear()
    sent = len(scripted.samples)

    page.hover(".lec-talk")
    page.mouse.down()
    scripted.message("talk", down=True)
    page.wait_for_selector("[data-state=hearing]")
    scripted.wait(lambda: len(scripted.samples) > sent + 10 * 512)
    page.mouse.up()
    up = scripted.message("talk", down=False)
    assert up["sample"] == len(scripted.samples)  # nothing after the button

    page.locator("h1").click()  # focus is nowhere in particular
    page.keyboard.down("Space")
    scripted.wait(lambda: len(scripted.samples) > up["sample"] + 512)
    page.keyboard.up("Space")
    scripted.wait(lambda: [m["down"] for m in scripted.messages if m["type"] == "talk"] == [True, False, True, False])
    page.focus("#lec-question")
    page.keyboard.type("two words")  # a space in a text is a space
    assert page.input_value("#lec-question") == "two words"
    assert sum(m["type"] == "talk" for m in scripted.messages) == 4
    assert not page.evaluate(_WIDE)
    contrasts = page.evaluate(_CONTRAST)
    assert {name: ratio for name, ratio in contrasts.items() if ratio < 4.5} == {}


def test_the_bar_is_for_thumbs_and_for_keys_alone(open_page: Callable[..., Any], scripted: ScriptedServer) -> None:
    """On a phone everything is large enough for a finger; who cannot hold a button presses it twice; focus stays."""
    page = open_page(width=390)
    talk(page, scripted)
    hear(scripted, 1, QUESTION, hypotheses=["How long is the no dice period?"])
    scripted.say("state", state="thinking")
    scripted.say("busy", turn=1, waiting_for="answer", position=4)
    status = page.locator(".lec-live [role=status]", has_text="Busy: 4 before you")
    status.wait_for()
    page.locator(".lec-live-commands summary").press("Enter")  # opens
    small = page.evaluate(
        """[...document.querySelectorAll("#conversation :is(button, summary)")].filter((each) => each.checkVisibility())
        .map((each) => [each.textContent || each.ariaLabel, each.getBoundingClientRect()])
        .filter(([, { width, height }]) => width < 44 || height < 44).map(([name]) => name)"""
    )
    assert small == [] and not page.evaluate(_WIDE)
    page.locator(".lec-live-stop").focus()
    scripted.say("state", state="listening")
    page.wait_for_selector("[data-state=listening]")
    assert page.evaluate("document.activeElement.className").endswith("lec-live-pause")
    page.locator("[data-mode=push_to_talk]").press("Enter")
    page.wait_for_selector(".lec-talk:focus[aria-pressed=false]")
    for down in (True, False):
        page.keyboard.press("Enter")
        scripted.message("talk", down=down)
        page.wait_for_selector(f".lec-talk[aria-pressed={str(down).lower()}]")
    page.locator(".lec-live-start").press("Enter")
    page.wait_for_selector(".lec-live", state="hidden")
    assert page.inner_text(".lec-live-start") == "Talk"


def test_a_broken_connection_loses_no_sound_in_either_direction(
    open_page: Callable[..., Any], scripted: ScriptedServer, network: Network
) -> None:
    page = open_page(SPY)
    talk(page, scripted)
    hear(scripted, 1, QUESTION)
    answer(scripted, 1)
    scripted.say("speech", speech=1, turn=1, sample_rate=RATE, of="answer")
    scripted.speak(1, 1, last=False)
    scripted.message("first_played")
    scripted.wait(lambda: len(scripted.samples) > 20 * 512)
    scripted.dropped = 8  # on their way when the line goes dead
    scripted.wait(lambda: scripted.dropped == 0)
    network.cut()
    page.wait_for_selector("[data-state=reconnecting]")
    scripted.speak(1, 1, first=4)  # said while nobody listens
    listen_on(page, 0.4)
    before = len(scripted.samples)
    network.mend()
    scripted.wait(lambda: len(scripted.hellos) == 2)
    hello = scripted.hellos[1]
    assert hello["session"] == "s1"
    assert hello["last_event"] == max(e["n"] for e in scripted.events)
    assert hello["have"] == {"speech": 1, "chunk": 3}
    scripted.wait(lambda: len(scripted.samples) > before + 40 * 512)
    assert scripted.message("played", speech=1, playing=False)["samples"] == 2 * RATE
    assert loud_seconds(page) == pytest.approx(2, abs=0.2)
    assert not [m for m in scripted.messages if m["type"] == "gap"]

    sent = page.evaluate("window.frames_sent")
    runs = [[frame for _, frame in run] for _, run in itertools.groupby(sent, key=lambda each: each[0])]
    kept = before // 512  # frames of the first connection that arrived
    lost = runs[0][kept:]
    assert len(lost) >= 8
    assert runs[-1][: len(lost)] == lost  # sent again, in order, before the new ones

    network.cut()
    page.wait_for_selector("[data-state=reconnecting]")
    page.fill("#lec-question", "And who signs?")
    page.keyboard.press("Enter")
    network.mend()
    scripted.message("ask", text="And who signs?")
    scripted.wait(lambda: len(scripted.samples) > before + 80 * 512)
    assert sum(m["type"] == "ask" for m in scripted.messages) == 1


def test_a_reload_goes_on_where_it_was(open_page: Callable[..., Any], scripted: ScriptedServer) -> None:
    page = open_page()
    talk(page, scripted)
    hear(scripted, 1, QUESTION)
    scripted.say("state", state="thinking")
    page.wait_for_selector("[data-state=thinking]")
    page.reload()
    scripted.wait(lambda: len(scripted.hellos) == 2)
    hello = scripted.hellos[1]
    assert (hello["session"], hello.get("have")) == ("s1", None)
    page.wait_for_selector(f".lec-asked:text-is('{QUESTION}')")  # what had happened is told again
    answer(scripted, 1)
    speak(scripted, 1, 1, seconds=0.5)
    page.wait_for_selector(".lec-answer-foot")
    go_on(page)
    scripted.message("played", speech=1, playing=False, samples=RATE)
    samples = len(scripted.samples)
    scripted.wait(lambda: len(scripted.samples) > samples)  # and it listens
    scripted.session = "s2"  # the server has been restarted
    page.reload()
    scripted.wait(lambda: len(scripted.hellos) == 3)
    go_on(page)
    scripted.say("state", state="listening")
    page.wait_for_selector("[data-state=listening]")


@pytest.mark.parametrize(
    ("script", "permissions", "line"),
    [
        pytest.param("", (), "not allowed", id="refused"),
        pytest.param(
            "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotFoundError'))",
            ("microphone",), "No microphone was found", id="none",
        ),
        pytest.param(
            "Object.defineProperty(window, 'isSecureContext', { value: false })",
            ("microphone",), "over HTTPS", id="no-https",
        ),
        pytest.param("delete window.AudioWorkletNode", ("microphone",), "too old", id="old-browser"),
    ],
)  # fmt: skip
def test_without_a_microphone_one_line_says_why_and_typing_goes_on(
    open_page: Callable[..., Any],
    launch_chromium: Callable[..., Any],
    script: str,
    permissions: tuple[str, ...],
    line: str,
) -> None:
    refusing = None if permissions else launch_chromium(FAKE_MICROPHONE[0], "--deny-permission-prompts")
    page = open_page(script, browser=refusing, permissions=permissions, width=390)
    page.click(".lec-live-start")
    page.wait_for_selector(".lec-live-notice .lec-notice")
    assert line in page.inner_text(".lec-live-notice")
    assert "typ" in page.inner_text(".lec-live-notice")  # type your question, typing works either way
    assert page.locator(".lec-live").is_hidden()
    assert not page.evaluate(_WIDE)
    page.fill("#lec-question", QUESTION)
    page.keyboard.press("Enter")
    page.wait_for_selector(".lec-answer-foot, .lec-answer .lec-notice")
