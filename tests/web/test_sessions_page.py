"""Conversations and memories on the page, in a real browser: follow-ups, reload, two devices, the two lists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

LEASE = """# Lease of the mill

The tenant is Alder Holdings. The landlord is Bramble Estates.

The lease ends on 30 June 2031.

The rent in 2021 was 52,000 pounds.

The rent in 2020 was 48,500 pounds.
"""
FIRST, FOLLOW_UP, READ = "What was the rent in 2021?", "And the year before?", "What was the rent in 2020?"


def ask(page: Any, question: str) -> Any:
    answers = page.locator(".lec-answer-foot").count()
    page.fill("#lec-question", question)
    page.keyboard.press("Enter")
    page.wait_for_function("n => document.querySelectorAll('.lec-answer-foot').length === n", arg=answers + 1)
    return page.locator(".lec-turn").last


@pytest.fixture
def page(open_page: Callable[..., Any], tmp_path: Path) -> Any:
    """The page, silent, over a lease."""
    (tmp_path / "lease.md").write_text(LEASE, encoding="utf-8")
    page = open_page()
    page.click("button[aria-label='Speak answers']")
    page.set_input_files("#lec-file", str(tmp_path / "lease.md"))
    page.wait_for_selector("[data-name='lease.md']:is([data-status=searchable], [data-status=embedded])")
    return page


def conversations(page: Any) -> None:
    page.get_by_role("button", name="Conversations").click()
    page.wait_for_selector(".lec-session")


def test_a_follow_up_says_how_it_was_read_and_can_be_put_right(page: Any) -> None:
    ask(page, FIRST)
    turn = ask(page, FOLLOW_UP)
    assert READ in turn.locator(".lec-understood").inner_text() and "48,500" in turn.inner_text()
    turn.get_by_role("button", name="Correct").click()
    page.keyboard.type("Who is the landlord?")  # the field has the focus, its text is selected
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('.lec-answer-foot').length === 3")
    again = page.locator(".lec-turn").last
    assert FOLLOW_UP in again.inner_text() and "Bramble Estates" in again.inner_text()
    shown = page.locator(".lec-turn").all_inner_texts()
    page.reload()
    page.wait_for_function("document.querySelectorAll('.lec-turn').length === 3")
    assert [text.split("·")[0] for text in page.locator(".lec-turn").all_inner_texts()] == [
        text.split("·")[0] for text in shown
    ]
    assert page.locator("#conversation h2").first.inner_text() == FIRST


def test_another_device_takes_the_conversation_up_by_its_link(page: Any, open_page: Callable[..., Any]) -> None:
    told = ask(page, FIRST).locator(".lec-answer-text").inner_text()
    conversations(page)
    page.get_by_role("button", name="Continue on another device").click()
    page.wait_for_function("document.querySelector('.lec-share .lec-input').value.includes('#session=')")
    link = page.locator(".lec-share .lec-input").input_value()
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    phone = open_page(workspace="elsewhere", width=390, height=800)  # it looks at another workspace
    phone.goto(link)
    phone.wait_for_selector(".lec-turn")
    assert phone.inner_text(".lec-answer-text") == told and "session=" not in phone.url
    ask(phone, FOLLOW_UP)
    page.wait_for_function("document.querySelectorAll('.lec-turn').length === 2")
    assert READ in page.locator(".lec-turn").last.inner_text()
    ask(page, "Who is the landlord?")
    phone.wait_for_function("document.querySelectorAll('.lec-turn').length === 3")
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_conversations_are_renamed_found_and_deleted(page: Any) -> None:
    ask(page, FIRST)
    page.get_by_role("button", name="New conversation").click()
    page.wait_for_selector(".lec-welcome-title")
    ask(page, "Who is the landlord?")
    conversations(page)
    assert page.locator(".lec-session .lec-name").all_inner_texts() == ["Who is the landlord?", FIRST]
    page.get_by_role("button", name=f"Rename: {FIRST}").click()
    page.keyboard.press("Control+a")
    page.keyboard.type("Pacht <b>契約</b>")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('.lec-session .lec-name')[1].textContent === 'Pacht <b>契約</b>'")
    page.get_by_label("Search in all conversations").fill("52,000")
    page.wait_for_selector(".lec-found")
    assert page.locator(".lec-session").count() == 1
    page.get_by_role("button", name="Delete: Pacht").click()
    assert page.evaluate("document.activeElement.textContent") == "Keep"
    page.get_by_role("button", name="Delete", exact=True).click()
    page.wait_for_selector(".lec-session", state="detached")
    page.get_by_label("Search in all conversations").fill("")
    page.wait_for_selector(".lec-session")
    assert page.locator(".lec-session").count() == 1
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
        page.get_by_role("link", name="Markdown").click()
    assert "Bramble Estates" in Path(download.value.path()).read_text(encoding="utf-8")


def test_what_is_remembered_is_seen_corrected_and_forgotten(page: Any) -> None:
    ask(page, "My lawyer is Ingrid Vasquez.")
    ask(page, "My lawyer is Tom Okafor.")
    page.get_by_role("button", name="What is remembered").click()
    page.wait_for_selector(".lec-memory")
    assert page.locator(".lec-memory").count() == 2
    assert "held until" in page.locator(".lec-memory[data-superseded]").inner_text()
    page.get_by_role("button", name="Edit: My lawyer is Tom Okafor").click()
    page.keyboard.press("End")
    page.keyboard.type(" of Leeds")
    page.get_by_role("button", name="Save").click()
    page.wait_for_function("document.querySelector('.lec-memory').textContent.includes('of Leeds')")
    pin = page.get_by_role("button", name="Always recall: My lawyer is Tom Okafor of Leeds")
    pin.click()
    page.wait_for_selector("[data-what=pin][aria-pressed=true]")
    page.get_by_role("button", name="Delete: My lawyer is Ingrid").click()
    page.get_by_role("button", name="Forget").click()
    page.wait_for_function("document.querySelectorAll('.lec-memory').length === 1")
    page.get_by_role("switch", name="Remember this conversation").click()
    page.wait_for_selector(".lec-forgetful")
    page.keyboard.press("Escape")
    assert "of Leeds" in ask_again(page, "Who is my lawyer?")


def ask_again(page: Any, question: str) -> str:
    """In a conversation of its own: memory is switched off in the one on screen."""
    page.get_by_role("button", name="New conversation").click()
    page.wait_for_selector(".lec-welcome-title")
    return ask(page, question).inner_text()
