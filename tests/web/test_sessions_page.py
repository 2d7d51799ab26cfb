"""Conversations and memories on the page, in a real browser: follow-ups, reload, two devices, the two lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import PASSWORD

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


# ---- with a login -------------------------------------------------------------------------------------------------


def test_what_was_asked_before_a_conversation_was_left_does_not_close_it_again(page: Any) -> None:
    ask(page, FIRST)
    held: list[Any] = []
    page.route("**/turns?after=*", lambda route: held.append(route))  # what others add
    with page.expect_request("**/turns?after=*"):
        pass
    page.get_by_role("button", name="New conversation").click()
    page.wait_for_selector(".lec-welcome-title")
    conversations(page)
    page.get_by_role("button", name=FIRST).first.click()
    page.wait_for_selector(".lec-turn")
    with page.expect_response("**/turns?after=*"):
        held[0].fulfill(status=404, json={"error": {"message": "Gone.", "remedy": "Start another."}})
    page.wait_for_function("() => new Promise((done) => setTimeout(() => done(true), 50))")
    assert page.locator(".lec-turn").count() == 1 and "no longer" not in page.inner_text("body")


@pytest.fixture(scope="module")
def logged_in(
    start_server: Callable[..., Any], chromium: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Any]]:
    """`logged_in("mia")`: a new member's page over a lease, silent; nobody has what an earlier run of a test left."""
    from core.settings import load_settings
    from ingest.pipeline import ingest_file
    from ingest.workspace import Workspace
    from web.accounts.accounts import Accounts

    options = {"embedder": {"model": "hashing:256"}, "locator": {"model": "sentence"}}
    variables = {f"LECTERN_{name}__MODEL".upper(): value["model"] for name, value in options.items()}
    server = start_server(LECTERN_SERVER__LOGIN="on", LECTERN_ADMIN_PASSWORD=PASSWORD, **variables)
    path = tmp_path_factory.mktemp("documents") / "lease.md"
    path.write_text(LEASE, encoding="utf-8")
    with Workspace.open(server.home, "lease") as workspace:
        ingest_file(workspace, path, settings=load_settings(server.home, **options))
    contexts: list[Any] = []

    def log_in(name: str, width: int = 1280) -> Any:
        name = f"{name}-{len(contexts)}"
        accounts = Accounts(server.home)
        accounts.users.add(name, PASSWORD, grants={"lease": "member"})
        accounts.close()
        context = chromium.new_context(viewport={"width": width, "height": 800})
        contexts.append(context)
        context.add_init_script("localStorage.setItem('lectern.workspace', 'lease')")
        context.add_init_script("localStorage.setItem('lectern.speak', 'off')")
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.goto(server.url)
        page.fill("input[name=name]", name)
        page.fill("input[name=password]", PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_selector(".lec-welcome-title")
        return page

    yield log_in
    for context in contexts:
        context.close()


def code_of(page: Any, *, new: bool = False) -> str:
    """The code of the one conversation, from its row; the list stays open."""
    conversations(page)
    page.get_by_role("button", name="Continue on another device").first.click()
    field = ".lec-share .lec-input"
    page.wait_for_function(f"document.querySelector('{field}').value.includes('#session=')")
    if new:
        page.get_by_role("button", name="New code").click()
        page.get_by_text("The old one is void").wait_for()
    return page.locator(field).input_value().partition("#session=")[2]


def close_list(page: Any) -> None:
    page.locator("dialog[open]").get_by_role("button", name="Close").click()


def join(page: Any, code: str) -> None:
    page.fill("#lec-code", code)
    page.keyboard.press("Enter")


def test_a_guest_sees_what_is_shared_leaves_it_and_is_shut_out_by_a_new_code(logged_in: Callable[..., Any]) -> None:
    mia, rob = logged_in("mia"), logged_in("rob", width=390)
    told = ask(mia, FIRST).locator(".lec-answer-text").inner_text()
    code = code_of(mia)
    close_list(mia)
    rob.get_by_role("button", name="Conversations").click()
    join(rob, code)
    rob.wait_for_selector(".lec-turn")
    rob.locator(".lec-answer-text").get_by_text(told, exact=True).wait_for()
    ask(rob, FOLLOW_UP)
    mia.wait_for_function("document.querySelectorAll('.lec-turn').length === 2")
    mia.locator(".lec-turn").last.get_by_text(READ).wait_for()

    conversations(rob)
    row = rob.locator(".lec-session")
    assert "shared with you" in row.inner_text()
    buttons = row.get_by_role("button").evaluate_all("all => all.map((b) => b.getAttribute('aria-label') ?? '')")
    assert not [label for label in buttons if label.startswith(("Rename", "Delete"))]
    rob.get_by_role("button", name="Continue on another device").click()
    assert rob.get_by_role("button", name="New code").count() == 0  # that is for its owner
    rob.get_by_role("button", name="Leave").click()
    rob.get_by_role("button", name="Leave", exact=True).click()
    rob.wait_for_selector(".lec-session", state="detached")
    close_list(rob)
    rob.wait_for_selector(".lec-turn", state="detached")
    assert mia.locator(".lec-turn").count() == 2  # it is still hers

    rob.get_by_role("button", name="Conversations").click()
    join(rob, code)
    rob.wait_for_selector(".lec-turn")
    renewed = code_of(mia, new=True)
    assert renewed != code
    rob.get_by_text("This conversation is shared with you no longer.").wait_for()
    rob.wait_for_selector(".lec-turn", state="detached")
    rob.get_by_role("button", name="Conversations").click()
    join(rob, code)
    rob.get_by_text("There is no conversation with this code").wait_for()
    join(rob, renewed)
    rob.wait_for_selector(".lec-turn")
    assert rob.evaluate("document.documentElement.scrollWidth <= innerWidth")
