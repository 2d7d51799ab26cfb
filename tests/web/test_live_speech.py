"""Live conversation in a real browser with the real server and real speech.

What a recogniser makes of a sentence is not for these tests to tell: beside other work the browser's microphone has
gaps. They tell what happens in which order, and use the keyboard where the words matter.
"""

# ruff: noqa: F811 (fixtures are imported, and tests name them)

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_helpers import RATE, Network
from live_stage import (  # noqa: F401
    FAKE_MICROPHONE,
    NOTICE,
    QUESTION,
    SPY,
    go_on,
    network,
    open_page,
    talkative,
)  # fmt: skip

pytestmark = pytest.mark.browser
ANSWERED = ".lec-answer-foot, .lec-answer .lec-notice"


class FakeVoice:
    """What the microphone hears: a file that Chromium reads anew whenever the microphone is opened."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "microphone.wav"
        self.say("", seconds=1)

    def say(self, text: str, *, seconds: float = 0.3) -> None:
        """`seconds` of silence, the text in the product's voice, silence again."""
        from omni.tts import load_synthesiser

        sound = [np.zeros(int(seconds * RATE), np.float32)]
        if text:
            sound += [piece.samples for piece in load_synthesiser().stream(text)]
        sound.append(np.zeros(RATE, np.float32))
        samples = (0.8 * 32767 * np.concatenate(sound)).astype("<i2")
        with wave.open(str(self.path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(samples.tobytes())


def ask_aloud(page: Any, voice: FakeVoice, text: str) -> None:
    """Speak into the microphone that is running, by closing and opening it."""
    voice.say(text)
    page.click(".lec-live-pause")
    page.click(".lec-live-pause.lec-button-main")


def type_in(page: Any, text: str) -> None:
    page.fill("#lec-question", text)
    page.keyboard.press("Enter")


def test_ask_interrupt_correct_reload_and_lose_the_network(
    open_page: Callable[..., Any], launch_chromium: Callable[..., Any], network: Network, tmp_path: Path
) -> None:
    """One spoken conversation with everything that can come in between; no turn is lost."""
    document = tmp_path / "lease.md"
    document.write_text(
        f"# Lease\n\n{NOTICE}.\n\nThe rent of the garden is forty euros a month.\n\nThe roof is made of slate.\n"
    )
    voice = FakeVoice(tmp_path)
    browser = launch_chromium(*FAKE_MICROPHONE, f"--use-file-for-fake-audio-capture={voice.path}%noloop")
    page = open_page(SPY, browser=browser, document=document)

    def turns() -> int:
        return page.locator(".lec-turn").count()

    def wait_turns(count: int) -> None:
        page.wait_for_function("n => document.querySelectorAll('.lec-turn').length >= n", arg=count)

    voice.say(QUESTION, seconds=0.5)
    page.click(".lec-live-start")
    page.wait_for_selector(ANSWERED)  # it was heard, as whatever
    page.wait_for_selector("[data-state=speaking]")
    assert page.inner_text(".lec-asked").strip()

    type_in(page, QUESTION)  # this answer is known, and long
    page.wait_for_selector(f".lec-turn:last-of-type .lec-asked:text-is('{QUESTION}')")
    page.wait_for_selector(".lec-turn:last-of-type .lec-answer-foot")
    assert "eleven weeks" in page.locator(".lec-answer").last.inner_text()
    page.wait_for_function("(CSS.highlights.get('lec-spoken')?.size ?? 0) > 0")  # it is being said
    interrupted = page.locator(".lec-turn").last
    number = interrupted.get_attribute("data-live")
    before = turns()
    ask_aloud(page, voice, "Please tell me what is the rent of the garden?")  # into the middle of a long sentence
    wait_turns(before + 1)
    page.wait_for_selector(f".lec-turn[data-live='{number}'] :text('Interrupted')")
    heard = page.locator(f".lec-turn[data-live='{number}'] .lec-answer-text").all_inner_texts()
    assert "seven keys" not in " ".join(heard)  # of its answer, what was heard: on a busy machine nothing yet
    page.wait_for_selector(f".lec-turn:last-of-type :is({ANSWERED})")

    page.locator("button[aria-label='Correct what I heard']").last.click()
    page.fill(".lec-correct-field", f"Tell me: {QUESTION}")
    page.keyboard.press("Enter")
    page.wait_for_selector(f".lec-turn:last-of-type .lec-asked:text-is('Tell me: {QUESTION}')")
    page.wait_for_selector(".lec-turn:last-of-type .lec-answer-foot")
    page.wait_for_selector("[data-state=speaking]")
    assert "eleven weeks" in page.locator(".lec-answer").last.inner_text()

    asked = page.locator(".lec-asked").all_inner_texts()
    page.reload()  # in the middle of that answer
    go_on(page)
    page.wait_for_selector(f".lec-asked:text-is('Tell me: {QUESTION}')")
    again = page.locator(".lec-asked").all_inner_texts()
    assert again.count(asked[-1]) == asked.count(asked[-1])  # not once more for being told again

    ask_aloud(page, voice, "Stop.")
    page.wait_for_selector("[data-state=listening]")
    before, answered = turns(), page.locator(ANSWERED).count()
    ask_aloud(page, voice, "Please tell me what the roof is made of?")
    wait_turns(before + 1)
    network.cut()
    page.wait_for_selector("[data-state=reconnecting]")
    page.wait_for_timeout(5000)
    network.mend()
    page.wait_for_function(
        "([n, answered]) => document.querySelectorAll(answered).length > n", arg=[answered, ANSWERED]
    )
    assert page.locator(".lec-asked").last.inner_text().strip()
