"""The page in a real browser: what a visitor does, sees and hears."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from documents import ANSWER, PAGE_HEIGHT, PAGE_WIDTH, write_lease

pytestmark = pytest.mark.browser

QUESTION = "How long is the notice period of the mill house?"
READABLE = "[data-status=searchable], [data-status=embedded]"


def add(page: Any, *paths: Path) -> None:
    page.set_input_files("#lec-file", [str(path) for path in paths])


def wait_readable(page: Any, name: str) -> None:
    page.wait_for_selector(f'.lec-document[data-name="{name}"]:is({READABLE})')


def ask(page: Any, question: str) -> Any:
    """Type, send, wait for the finished answer; its element."""
    answers = page.locator(".lec-answer-foot").count()
    page.fill("#lec-question", question)
    page.keyboard.press("Enter")
    page.wait_for_function("n => document.querySelectorAll('.lec-answer-foot').length === n", arg=answers + 1)
    return page.locator(".lec-answer").last


@pytest.fixture
def lease(tmp_path: Path) -> Path:
    write_lease(tmp_path / "mill-lease.pdf")
    return tmp_path / "mill-lease.pdf"


MEASURED = """() => {
    const box = (element) => element.getBoundingClientRect().toJSON();
    const sheet = document.querySelector('.lec-sheet');
    const marks = [...document.querySelectorAll('.lec-mark')];
    return sheet && box(sheet).width && marks.length ? {sheet: box(sheet), marks: marks.map(box)} : null;
}"""  # the sheet and the marks on it, once they are there


def test_upload_ask_highlight_sound(open_page: Callable[..., Any], tmp_path: Path) -> None:
    """A PDF goes in; the answer quotes it, the cited line is marked where it stands on the sheet, and is spoken."""
    expected = write_lease(tmp_path / "mill-lease.pdf")
    page = open_page()
    add(page, tmp_path / "mill-lease.pdf")
    wait_readable(page, "mill-lease.pdf")

    answer = ask(page, QUESTION)
    assert "eleven weeks" in answer.inner_text()
    assert answer.locator(".lec-cite").first.get_attribute("aria-label") == "Source 1: mill-lease.pdf, page 2"
    page.wait_for_selector(".lec-mark")
    assert page.inner_text(".lec-page-number") == "2 / 3"

    page.wait_for_function("document.querySelector('.lec-sheet-image')?.naturalWidth > 400")
    measured = page.wait_for_function(MEASURED).json_value()  # at one moment: a sheet is drawn anew when it is embedded
    sheet, marks = measured["sheet"], measured["marks"]
    scale = sheet["width"] / PAGE_WIDTH
    assert sheet["height"] == pytest.approx(PAGE_HEIGHT * scale, rel=0.01)
    on_paper = [
        (
            (mark["x"] - sheet["x"]) / scale,
            PAGE_HEIGHT - (mark["y"] - sheet["y"] + mark["height"]) / scale,
            (mark["x"] - sheet["x"] + mark["width"]) / scale,
            PAGE_HEIGHT - (mark["y"] - sheet["y"]) / scale,
        )
        for mark in marks
    ]
    assert len(on_paper) == 1  # the sentence is one line
    assert on_paper[0] == pytest.approx(expected, abs=5)

    page.wait_for_function("window.heard.length > 0")
    page.wait_for_selector(".lec-silence", state="hidden")
    heard = page.evaluate("window.heard")
    assert sum(piece["seconds"] for piece in heard) > 2  # seconds that a sentence of 16 words takes at least
    assert max(piece["rms"] for piece in heard) > 0.01


def test_stop_speaking_silences_at_once(open_page: Callable[..., Any], lease: Path) -> None:
    page = open_page()
    add(page, lease)
    wait_readable(page, lease.name)
    ask(page, QUESTION)
    page.click(".lec-silence")
    assert page.locator(".lec-silence").is_hidden()
    page.click("button[aria-label='Speak answers']")
    page.evaluate("window.heard = []")
    ask(page, "When is the rent due?")
    page.wait_for_timeout(500)
    assert page.evaluate("window.heard.length") == 0


def test_how_an_answer_was_found_is_told_and_opens_its_passages(open_page: Callable[..., Any], lease: Path) -> None:
    page = open_page()
    add(page, lease)
    wait_readable(page, lease.name)
    answer = ask(page, QUESTION)
    answer.get_by_text("How this was found").click()
    passages = answer.locator(".lec-how-list li")
    assert passages.count() >= 1 and passages.locator(".lec-how-open").count() == passages.count()
    assert "cited as 1" in answer.locator(".lec-how-used").first.inner_text()
    assert (
        "ms" in answer.locator(".lec-how-times").inner_text() or " s" in answer.locator(".lec-how-times").inner_text()
    )
    passages.last.locator(".lec-how-open").click()  # one that was not read has no boxes of its own
    page.wait_for_selector(".lec-mark")
    assert page.inner_text(".lec-page-name") == lease.name


def test_first_visit_example_answers_with_one_click(open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.get_by_role("button", name="How often should I descale").click()
    page.wait_for_selector(".lec-answer-foot")
    assert "six weeks" in page.inner_text(".lec-answer")
    page.wait_for_selector(".lec-mark")
    assert page.inner_text(".lec-page-name") == "coffee-machine-manual.pdf"


def test_refusal_looks_different_and_offers_passages(open_page: Callable[..., Any], lease: Path) -> None:
    page = open_page()
    add(page, lease)
    wait_readable(page, lease.name)
    answer = ask(page, "Who composed the opera Rigoletto?")
    assert "lec-refused" in answer.get_attribute("class")
    answer.locator(".lec-chip").first.click()
    page.wait_for_selector(".lec-mark")
    assert page.inner_text(".lec-page-name") == "mill-lease.pdf"


def test_pages_turn_and_citations_are_reached_by_keyboard(open_page: Callable[..., Any], lease: Path) -> None:
    page = open_page()
    add(page, lease)
    wait_readable(page, lease.name)
    answer = ask(page, QUESTION)
    page.wait_for_selector(".lec-stage:not([aria-busy]) .lec-mark")  # drawn whole, scrolled into view
    page.click("button[aria-label='Next page']")
    page.wait_for_function("document.querySelector('.lec-page-number').textContent === '3 / 3'")
    assert page.locator(".lec-mark").count() == 0
    assert page.locator("button[aria-label='Next page']").is_disabled()
    answer.locator(".lec-cite").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".lec-mark")
    assert page.inner_text(".lec-page-number") == "2 / 3"
    assert answer.locator(".lec-cite").first.get_attribute("aria-current") == "true"


def test_text_documents_show_the_passage_in_its_text(open_page: Callable[..., Any], tmp_path: Path) -> None:
    """Offsets hold also behind characters that JavaScript counts as two."""
    path = tmp_path / "garden 🌿.md"
    path.write_text(
        "# The garden 🌿🌿🌿\n\nThe hedge is cut in autumn. 🍎🍎\n\n"
        "The well in the garden is nineteen metres deep and was dug in 1884.\n\nThe gate is green.\n"
    )
    page = open_page()
    add(page, path)
    wait_readable(page, path.name)
    assert "nineteen metres" in ask(page, "How deep is the well in the garden?").inner_text()
    page.wait_for_selector(".lec-mark-text")
    assert page.inner_text(".lec-mark-text").startswith("The well in the garden is nineteen metres deep")


def test_names_and_texts_of_documents_are_never_markup(open_page: Callable[..., Any], tmp_path: Path) -> None:
    """Markup in a file's name, in its text and in a question stays text wherever it is shown."""
    attack = "<img src=x onerror=window.attacked=1>"
    path = tmp_path / f"{attack}.md"
    path.write_text(f"The password of the harbour gate is {attack}<script>window.attacked=1</script> and is secret.\n")
    page = open_page()
    add(page, path)
    page.wait_for_selector(f".lec-document:is({READABLE})")
    answer = ask(page, f"What is the password of the harbour gate? {attack}")
    assert attack in answer.inner_text()
    answer.locator(".lec-chip").first.click()
    page.wait_for_selector(".lec-text-sheet")
    page.locator(".lec-remove").first.click()
    page.wait_for_selector(".lec-confirm")
    page.wait_for_timeout(200)
    assert attack in page.inner_text(".lec-asked")
    assert page.evaluate("window.attacked") is None
    assert page.locator(".lec-root img[src=x], .lec-root script").count() == 0


def test_failed_file_tells_reason_and_remedy(open_page: Callable[..., Any], tmp_path: Path, lease: Path) -> None:
    """One bad file among several is reported in its place; the others go on."""
    broken = tmp_path / "broken.pdf"
    broken.write_bytes(b"%PDF-1.7\nthis is not a PDF at all")
    empty = tmp_path / "empty.txt"
    empty.write_bytes(b"")
    page = open_page()
    add(page, broken, lease, empty)
    wait_readable(page, lease.name)
    for name in ("broken.pdf", "empty.txt"):
        row = page.wait_for_selector(f'.lec-document[data-name="{name}"][data-status=failed]')
        assert len(row.query_selector(".lec-status").inner_text()) > 10
        assert len(row.query_selector(".lec-remedy").inner_text()) > 10
        assert "Traceback" not in row.inner_text()


def test_delete_asks_first_and_removes_every_trace(open_page: Callable[..., Any], lease: Path) -> None:
    page = open_page()
    add(page, lease)
    wait_readable(page, lease.name)
    ask(page, QUESTION)
    page.wait_for_selector(".lec-mark")
    row = page.locator(".lec-document")
    row.hover()
    page.click(f"button[aria-label='Remove {lease.name}']")
    page.get_by_role("button", name="Keep").click()
    assert row.count() == 1
    row.hover()
    page.click(f"button[aria-label='Remove {lease.name}']")
    page.get_by_role("button", name="Remove", exact=True).click()
    page.wait_for_selector(".lec-document", state="detached")
    assert page.locator(".lec-sheet").count() == 0
    assert "eleven weeks" not in ask(page, QUESTION).inner_text()


def test_two_visitors_do_not_see_each_others_conversation(open_page: Callable[..., Any], lease: Path) -> None:
    first, second = open_page(), open_page()
    add(first, lease)
    wait_readable(first, lease.name)
    ask(first, QUESTION)
    second.reload()
    wait_readable(second, lease.name)  # the workspace is shared, what was asked in it is not
    assert second.locator(".lec-turn").count() == 0
    first.reload()
    first.wait_for_selector(".lec-turn .lec-cite")  # a visitor's own conversation outlives a reload
    assert ANSWER.rstrip(".") in first.inner_text(".lec-answer")


def test_new_workspace_by_name(open_page: Callable[..., Any], lease: Path) -> None:
    page = open_page()
    add(page, lease)
    wait_readable(page, lease.name)
    page.select_option(".lec-select", label="New workspace…")
    page.fill("#lec-new-workspace", "../elsewhere")
    page.keyboard.press("Enter")
    page.wait_for_selector(".lec-dialog .lec-notice")
    page.fill("#lec-new-workspace", "another place")
    page.keyboard.press("Enter")
    page.wait_for_selector(".lec-dialog", state="hidden")
    page.wait_for_selector(".lec-document", state="detached")
    page.select_option(".lec-select", "new-workspace-by-name")
    wait_readable(page, lease.name)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_screen_has_no_sideways_scroll(open_page: Callable[..., Any], tmp_path: Path, scheme: str) -> None:
    """At 390 pixels every region fits, with a long name and an answer in it, and text keeps its contrast."""
    path = tmp_path / ("A_very_long_name_without_any_space_" * 3 + ".pdf")
    write_lease(path)
    page = open_page(workspace=f"narrow-{scheme}", width=390, height=844, color_scheme=scheme)
    page.get_by_role("tab", name="Documents").click()
    add(page, path)
    wait_readable(page, path.name)
    page.screenshot()
    wide = _WIDE
    assert not page.evaluate(wide)
    page.get_by_role("tab", name="Ask").click()
    ask(page, QUESTION)
    assert not page.evaluate(wide)
    contrasts = page.evaluate(_CONTRAST)
    assert contrasts
    assert {name: ratio for name, ratio in contrasts.items() if ratio < 4.5} == {}
    page.locator(".lec-chip").first.click()
    page.wait_for_selector(".lec-mark")
    assert page.locator(".lec-mark").first.is_visible()
    assert not page.evaluate(wide)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 150) == (scheme == "dark")


# Whether anything that is not cut off by its own box reaches beyond the screen.
_WIDE = """
document.scrollingElement.scrollWidth > innerWidth || [...document.querySelectorAll(".lec-root *")].some((element) =>
  element.checkVisibility() && !element.closest(".lec-name, .lec-chip-name, .lec-page-name, .lec-file") &&
  element.getBoundingClientRect().right > innerWidth + 1)
"""

# WCAG contrast of every visible text against the nearest background that is painted.
_CONTRAST = """
(() => {
  const rgb = (value) => value.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const found = {};
  for (const element of document.querySelectorAll(".lec-root *")) {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!text || !element.checkVisibility() || element.closest("button:disabled")) continue;
    let behind = element;
    const paint = () => rgb(getComputedStyle(behind).backgroundColor);
    while (behind.parentElement && paint()[3] === 0) behind = behind.parentElement;
    const back = paint();
    const [a, b] = [light(rgb(getComputedStyle(element).color)), light(back)].sort((x, y) => y - x);
    found[element.className || element.tagName] = (a + 0.05) / (b + 0.05);
  }
  return found;
})()
"""


def test_a_server_that_does_not_answer_is_told_calmly(open_page: Callable[..., Any], lease: Path) -> None:
    """A broken connection leaves the question on the page, with a way to ask it again."""
    page = open_page()
    add(page, lease)
    wait_readable(page, lease.name)
    page.route("**/ask", lambda route: route.abort())
    page.fill("#lec-question", QUESTION)
    page.keyboard.press("Enter")
    page.wait_for_selector(".lec-answer .lec-notice")
    assert "does not answer" in page.inner_text(".lec-answer")
    page.unroute("**/ask")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(".lec-answer-foot")
    assert "eleven weeks" in page.inner_text(".lec-answer")


def test_spoken_question_is_written_down_corrected_and_sent(
    open_page: Callable[..., Any], launch_chromium: Callable[..., Any], shared_data: Path, lease: Path
) -> None:
    """A recording stands in for the microphone; what was understood lands in the input and can be changed."""
    speech = shared_data / "speech" / "omni_helpful_base_1.wav"
    if not speech.is_file():
        pytest.skip(f"needs {speech.name} of the measuring data")
    browser = launch_chromium(
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={speech}%noloop",
    )
    page = open_page(browser=browser, permissions=["microphone"])
    add(page, lease)
    wait_readable(page, lease.name)
    page.click("button[aria-label='Ask by voice']")
    page.wait_for_selector(".lec-listening", state="visible")
    page.wait_for_timeout(3200)  # the recording lasts 2.2 s
    page.get_by_role("button", name="Done").click()
    page.wait_for_function("document.querySelector('#lec-question').value !== ''", timeout=60_000)
    heard = page.input_value("#lec-question").lower()
    assert len({"how", "did", "states", "get", "their", "names"} & set(re.findall(r"[a-z]+", heard))) >= 2, heard
    assert page.locator(".lec-turn").count() == 0  # nothing is sent before the visitor has seen it
    assert "eleven weeks" in ask(page, QUESTION).inner_text()
    assert page.inner_text(".lec-asked") == QUESTION


def test_nothing_leaves_this_computer(open_page: Callable[..., Any], server: Any) -> None:
    """The browser asks only this server (checked by `open_page`), which forbids it anything else; the server, a model
    in use and a voice heard, has tried to reach nobody."""
    page = open_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text) if "Content Security" in message.text else None)
    page.get_by_role("button", name="How often should I descale").click()
    page.wait_for_function("window.heard.length > 0")
    assert page.evaluate("fetch('https://example.org/').then(() => 'sent', () => 'refused')") == "refused"
    assert refused and all("example.org" in line for line in refused)  # the policy holds; nothing else ran into it
    assert not server.outbound.exists(), server.outbound.read_text()


def test_real_document_of_a_hundred_pages(open_page: Callable[..., Any], shared_data: Path) -> None:
    """A company's annual report becomes searchable while the page stays alive, and shows its cited sheet."""
    report = shared_data / "financebench" / "pdfs" / "COSTCO_2021_10K.pdf"
    if not report.is_file():
        pytest.skip(f"needs {report.name} of the measuring data")
    page = open_page()
    add(page, report)
    wait_readable(page, report.name)
    answer = ask(page, "How many warehouses did Costco operate in 2021?")
    assert re.search(r"\b8\d\d\b", answer.inner_text())
    page.wait_for_selector(".lec-mark, .lec-chip")


def test_other_sites_and_foreign_names_are_refused(server: Any) -> None:
    """A web site in the same browser can neither post here nor reach the server under a name of its own."""
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}):
        request = urllib.request.Request(f"{server.url}/api/workspaces/stolen", method="PUT", headers=headers)
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(request)
        assert refusal.value.code == 403
    assert not (server.home / "workspaces" / "stolen").exists()


def test_unverified_citations_are_marked(open_page: Callable[..., Any], lease: Path) -> None:
    """A claim that was not found word for word in its source says so, on the marker and on the chip."""
    page = open_page()
    add(page, lease)
    wait_readable(page, lease.name)
    cited = {"n": 1, "document": lease.name, "page": 2, "quote": "?", "start": 0, "end": 1, "boxes": []}
    cited["verified"] = False
    answer = {
        "question": "?",
        "answer": "It is twelve weeks [1].",
        "refused": False,
        "citations": [cited],
        "model": "m",
    }
    body = json.dumps({"type": "answer", "answer": answer})
    page.route("**/ask", lambda route: route.fulfill(body=body, content_type="application/x-ndjson"))
    shown = ask(page, QUESTION)
    assert "unverified" in shown.locator(".lec-chip").inner_text()
    assert "not verified" in shown.locator(".lec-cite").get_attribute("aria-label")
    border = shown.locator(".lec-cite").evaluate("element => getComputedStyle(element).borderStyle")
    assert border == "dashed"
