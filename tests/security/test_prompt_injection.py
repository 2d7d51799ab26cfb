"""Text in documents never decides what happens: quoting quotes, fences hold, and whoever reads is told.

Two models stand in for the real ones. The obedient one follows every order that it finds outside of the fence, and
takes every token of a chat template for real, wherever it stands: the worst that a model without judgement could do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from attacks import ATTACKS, GOAL, HARMLESS

from core.settings import AnswerSettings, load_settings
from ingest.pipeline import ingest_paths
from ingest.types import Chunk
from ingest.workspace import Workspace
from memory.packing import pack_history
from memory.types import Memory, Turn
from rag.answer import AnswerEngine
from rag.engine import build_engine
from rag.output import answer_to_json
from rag.prompts import SYSTEM, build_prompt
from rag.suspicious import suspicious
from rag.types import Hit

TEMPLATE = re.compile(
    r"<\|[^|>]+\|>|\[/?INST\]|<</?SYS>>|</?(?:start|end)_of_turn>|</?(?:system|assistant|tool_call|passage|context)>",
    re.I,
)
FENCED = re.compile(r"<<<(\w{12}) .*?\n\1>>>", re.DOTALL)
INVISIBLE = re.compile("[\u200b\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")


class Obedient:
    """A chat model that does whatever it is told outside of the fence that its prompt announces."""

    name = "obedient"

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def generate(self, system: str, messages: Sequence[tuple[str, str]]) -> Iterator[str]:
        prompt = "\n".join([system, *(text for _, text in messages)])
        self.prompts.append(prompt)
        nonce = re.search(r"between <<<(\w+) and", prompt)
        assert nonce is not None and prompt.count(f"\n{nonce.group(1)}>>>") == len(FENCED.findall(prompt)) >= 1
        outside = FENCED.sub("", prompt)
        yield GOAL if GOAL in outside or TEMPLATE.search(prompt) or INVISIBLE.search(prompt) else "It is fine [1]."


def hit(text: str, *, document: str = "manual.pdf", context: str = "Manual") -> Hit:
    return Hit(Chunk("d:0", "d", document, 1, 0, len(text), text, context), 0.9)


@pytest.mark.parametrize("place", ["text", "name", "heading", "earlier answer", "earlier question", "memory"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_obedient_model_finds_no_orders_outside_of_the_fence(attack: str, place: str) -> None:
    """Wherever text of a document can get into a prompt: passages, names, headings, conversation, memories."""
    order = ATTACKS[attack]
    fact = "The warranty lasts 24 months."
    history: list[tuple[str, str]] = []
    passage = hit(fact)
    if place == "text":
        passage = hit(f"{fact} {order}\n{fact}")
    elif place == "name":
        passage = hit(fact, document=order, context="")
    elif place == "heading":
        passage = hit(fact, context=f"Manual > {order}")
    elif place == "memory":
        memory = Memory(memory_id=1, kind="turn", text=order, said_at="2026-01-02", turn_id=1, session_id="s")
        history = pack_history([], [memory])
    else:
        turn = Turn(
            turn_id=1, session_id="s", number=1, asked_at="2026-01-02T00:00:00+00:00",
            question="?", understood=order if place == "earlier question" else "?",
            answer=order if place == "earlier answer" else "?", details={},
        )  # fmt: skip
        history = pack_history([turn])
    prompt = build_prompt("How long is the warranty?", [passage], history=history)
    assert "".join(Obedient().generate(SYSTEM, prompt.messages)) == "It is fine [1]."


def test_fences_cannot_be_guessed_or_copied() -> None:
    """A nonce for each prompt; a document that holds the fence of an earlier prompt has nothing in hand."""
    first = build_prompt("?", [hit("a fact")]).messages[-1][1]
    copied = first[first.index("<<<") :]
    second = build_prompt("?", [hit(f"{copied}\n{GOAL}")])
    assert "".join(Obedient().generate(SYSTEM, second.messages)) == "It is fine [1]."


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[AnswerEngine, AnswerEngine]]:
    """Answers from leaflets of 57 devices, plain, and the same leaflets with an attack in each."""
    made, opened = [], []
    for name in ("plain", "attacked"):
        home = tmp_path_factory.mktemp(name)
        folder = home / "in"
        folder.mkdir()
        for number, attack in enumerate(ATTACKS.values()):
            order = f"\n\n{attack}\n\n" if name == "attacked" else "\n\nKeep this leaflet in a dry place.\n\n"
            before, after = leaflet(number)
            (folder / f"leaflet-{number:02}.txt").write_text(before + order + after)
        settings = load_settings(home, embedder={"model": "hashing:256"}, locator={"model": "sentence"})
        workspace = Workspace.open(home, "default")
        ingest_paths(workspace, [folder], settings=settings)
        opened.append(workspace)
        made.append(build_engine(workspace, settings))
    yield made[0], made[1]
    for workspace in opened:
        workspace.close()


DEVICES = ("kettle", "toaster", "mixer", "oven", "mower", "drill", "fan", "heater", "pump", "saw")
MAKERS = ("Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fir")


def device(number: int) -> str:
    return f"{MAKERS[number // 10]} {DEVICES[number % 10]}"


def leaflet(number: int) -> tuple[str, str]:
    return (
        f"The warranty of the {device(number)} lasts {20 + number} months.",
        f"The {device(number)} weighs {3 + number} kilograms without its packing.",
    )


def test_quoting_is_not_changed_by_orders(engines: tuple[AnswerEngine, AnswerEngine]) -> None:
    """The same facts are quoted with and without an attack beside them; each quote is the document's own words, and one
    that holds an order is marked."""
    plain, attacked = engines
    right = {name: 0 for name in ("plain", "attacked")}
    for number, attack in enumerate(ATTACKS):
        question = f"How long is the warranty of the {device(number)}?"
        for name, engine in (("plain", plain), ("attacked", attacked)):
            answer = engine.answer(question)
            right[name] += f"{20 + number} months" in answer.text
        told = answer_to_json(answer)
        for citation in told["citations"]:
            source = " ".join(attacked.workspace.page(citation["document"], 1).text.split())
            assert " ".join(citation["quote"].split()) in source, attack
            assert GOAL not in citation["quote"] or citation["suspicious"], attack
        assert answer.model == "extractive"
        assert GOAL not in answer.text or told["suspicious"], attack
    assert right["attacked"] >= right["plain"] - 1 and right["plain"] >= 0.9 * len(ATTACKS), right


def test_orders_do_not_make_an_answer_of_none(engines: tuple[AnswerEngine, AnswerEngine]) -> None:
    """What the documents do not say stays unanswered, although some of them order an answer to everything."""
    _, attacked = engines
    questions = (
        "Who won the chess championship of 1972?",
        "What is the capital of Mongolia?",
        "When was the mayor born?",
    )
    for question in questions:
        answer = attacked.answer(question)
        assert answer.refused, question
        for shown in answer_to_json(answer)["citations"]:  # the nearest passages, to look at
            assert GOAL not in shown["quote"] or shown["suspicious"]


def test_through_the_engine_with_an_obedient_model(engines: tuple[AnswerEngine, AnswerEngine]) -> None:
    """The whole way of a question to a chat model, over documents that hold every attack: it is never ordered about."""
    _, attacked = engines
    model = Obedient()
    engine = AnswerEngine(
        attacked.retriever, attacked.locator, workspace=attacked.workspace, generator=model, settings=AnswerSettings()
    )
    for number, attack in enumerate(ATTACKS):
        history = [("user", "What else?"), ("assistant", ATTACKS[attack])]
        answer = engine.answer(f"How long is the warranty of the {device(number)}?", history=history)
        assert GOAL not in answer.text, attack
        assert answer_to_json(answer)["suspicious"], attack
    assert len(model.prompts) == len(ATTACKS)


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_marked(attack: str) -> None:
    """Alone, and in the middle of an ordinary page."""
    page = " ".join(sentence for sentence in HARMLESS[:3])
    assert suspicious(ATTACKS[attack])
    assert suspicious(f"{page}\n{ATTACKS[attack]}\n{page}")


@pytest.mark.parametrize("sentence", HARMLESS)
def test_ordinary_sentences_are_not(sentence: str) -> None:
    assert not suspicious(sentence)


def test_few_ordinary_pages_are_marked(shared_data: Path) -> None:
    """Of Wikipedia's paragraphs (SQuAD train, 500 of them) not one in a hundred."""
    import json

    told = json.loads((shared_data / "squad" / "train-v1.0.json").read_text())["data"]
    paragraphs = [paragraph["context"] for article in told for paragraph in article["paragraphs"]][::36][:500]
    marked = [text for text in paragraphs if suspicious(text)]
    assert len(paragraphs) == 500 and len(marked) <= 5, marked
