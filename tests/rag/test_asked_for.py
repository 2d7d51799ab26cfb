"""What a question names exactly must stand in the evidence; what documents write otherwise is asked in their words."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.settings import load_settings
from ingest.pipeline import ingest_paths
from ingest.workspace import Workspace
from rag.answer import AnswerEngine
from rag.asked_for import asked_for
from rag.engine import build_engine
from rag.extractive import NOTHING_FOUND

FILES = {
    "halberd_2019_10K.txt": """HALBERD ENERGY INC.

12 Quay Road, Portland, Maine 04101
(Address of principal executive offices)

Halberd Energy operates forty wind farms and has branches in Omaha and in Reno. Halberd Energy employed 2,340 people at
the end of fiscal 2019, after 2,105 people a year earlier. Laura Penn, Chief Financial Officer, signed this report.
""",
    "kiln.md": """# Kiln manual

## 4. Programs

Program 3 is a slow bisque firing and Program 7 a fast stoneware glaze.

## 5. Error codes

| Code | Meaning | What to do |
|---|---|---|
| E-1 | Thermocouple is broken | Replace the thermocouple |
| E-4 | Temperature rises too slowly | Check the supply voltage |
""",
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnswerEngine]:
    settings = load_settings(tmp_path_factory.mktemp("home"))
    folder = tmp_path_factory.mktemp("files")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    with Workspace.open(settings.home) as workspace:
        ingest_paths(workspace, [folder], settings=settings)
        yield build_engine(workspace, settings)


@pytest.mark.parametrize(
    ("question", "missing"),
    [
        ("How many people did Halberd Energy employ in 2007?", "2007"),
        ("Who is the chief executive officer of Halberd Energy?", "chief executive officer"),
        ("What is program 5 of the kiln?", "program 5"),
    ],
)
def test_what_no_passage_mentions_is_refused_and_named(engine: AnswerEngine, question: str, missing: str) -> None:
    answer = engine.answer(question)
    assert answer.refused and answer.text.startswith(NOTHING_FOUND)
    assert missing in answer.text.split("[1]")[0]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("How many people did Halberd Energy employ in 2019?", "2,340"),
        ("Who is the chief financial officer of Halberd Energy?", "Laura Penn"),
        ("Where is Halberd Energy headquartered?", "12 Quay Road"),
        ("What is program 7 of the kiln?", "stoneware"),
        ("What does error code E-4 mean?", "rises too slowly"),
    ],
)
def test_what_is_there_is_answered(engine: AnswerEngine, question: str, expected: str) -> None:
    answer = engine.answer(question)
    assert not answer.refused and expected in answer.text


def test_a_heading_or_the_names_of_columns_are_not_quoted(engine: AnswerEngine) -> None:
    quotes = [citation.quote for citation in engine.answer("What does error code E-4 mean?").citations]
    assert quotes and not any(quote.startswith(("#", "| Code")) or "E-1" in quote for quote in quotes)


@pytest.mark.parametrize(
    ("question", "evidence", "missing"),
    [
        ("What was revenue in 2012?", "Revenue in fiscal 2021 was 5.", "2012"),
        ("What was revenue in 2012?", "Revenue in FY12 was 5.", ""),
        ("What was revenue in 2012?", "From 2010 to 2014 revenue doubled.", ""),
        ("Who ruled in the 1920s?", "In 1923 a council took over.", ""),
        ("Who ruled in the 1920s?", "In 1933 a council took over.", "the 1920s"),
        ("How did sales move between 2011 and 2012?", "Sales rose in 2012.", ""),
        ("What cost $2,012 or 2012 dollars in all?", "All in all 2012 dollars.", ""),
        ("Who is the CEO?", "Ann Lee, Chief Executive Officer", ""),
        ("Who is the CEO?", "Ann Lee, Chief Commercial Officer", "a chief executive officer"),
        ("Does the CEO sign?", "The director signs.", ""),  # not who it is
        ("What does Article 9 say?", "Article 8 binds the parties.", "article 9"),
        ("What does Article 9 say?", "Nothing here has a number.", ""),  # then it may be meant all the same
        ("What does the kiln cost?", "It draws 3,600 watts and weighs 45 kg, 5 per cent less.", "a price"),
        ("What does the kiln cost?", "It is delivered for 900 euros.", ""),
        ("What is the price of a visit?", "Entry is free on Fridays.", ""),
        ("How does the kiln cut the cost of firing?", "It is well insulated.", ""),
        ("Who came in the top 5?", "She came in the top 3.", ""),
    ],
)
def test_what_is_unmentioned(question: str, evidence: str, missing: str) -> None:
    assert asked_for(question).unmentioned([evidence], []) == missing


@pytest.mark.parametrize(
    ("question", "otherwise"),
    [
        ("Where is Pfizer headquartered?", "What is the address of the principal executive offices of Pfizer?"),
        ("Where are Netflix's headquarters?", "What is the address of the principal executive offices of Netflix?"),
        ("Where is the head office of Acme?", "What is the address of the principal executive offices of Acme?"),
        ("Who is the CEO of Boeing?", "Who is the chief executive officer of Boeing?"),
        ("Who is the chief executive officer of Boeing?", ""),
        ("Where does the Nile begin?", ""),
        ("Where is the kiln placed?", ""),
    ],
)
def test_the_words_of_documents(question: str, otherwise: str) -> None:
    assert asked_for(question).otherwise == otherwise
