"""A question that names the year of an edition is asked of that edition, and without the year."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.settings import load_settings
from ingest.pipeline import ingest_paths
from ingest.types import Chunk
from ingest.workspace import Workspace
from rag.editions import edition_asked_for, together, without_year
from rag.engine import build_engine
from rag.types import Hit

LEASE = """# Lease

This lease is made on {signed} {year} between Mill Properties and Ida Voss.

The tenancy begins on 1 {begins} {year} and the rent is {rent} pounds a month. Keys are kept by {keeper}.
"""


def hit(document: str, score: float = 0.5, title: str = "") -> Hit:
    text = f"What {document} says."
    return Hit(Chunk(f"{document}:{score}", document, document, 1, 0, len(text), text, title or document), score)


@pytest.mark.parametrize(
    ("question", "read"),
    [
        ("When does the 2022 lease begin?", "When does the lease begin?"),
        ("Who is named in the lease of 2022?", "Who is named in the lease?"),
        ("What was the rent under the 2022 agreement?", "What was the rent under the agreement?"),
        ("Who kept the keys in 2022?", "Who kept the keys?"),
    ],
)
def test_the_year_of_an_edition_is_read_off_the_question(question: str, read: str) -> None:
    edition = edition_asked_for(question, [hit("lease_2019.pdf"), hit("lease_2022.pdf"), hit("map.pdf")])
    assert edition is not None and edition.question == read
    assert [kept.chunk.document for kept in edition.hits] == ["lease_2022.pdf", "map.pdf"]
    assert edition.documents == {"lease_2022.pdf"}


def test_editions_are_told_by_their_titles_too() -> None:
    hits = [hit("a.pdf", title="Statutes 2019 > Fees"), hit("b.pdf", title="Statutes 2022 > Fees")]
    edition = edition_asked_for("What are the fees in the 2019 statutes?", hits)
    assert edition is not None and edition.documents == {"a.pdf"}


@pytest.mark.parametrize(
    ("question", "documents"),
    [
        ("What changed between the 2019 and the 2022 lease?", ("lease_2019.pdf", "lease_2022.pdf")),
        ("When does the lease begin?", ("lease_2019.pdf", "lease_2022.pdf")),
        ("What happened in 2021?", ("lease_2019.pdf", "lease_2022.pdf")),
        ("When does the 2022 lease begin?", ("lease_2022.pdf", "map_2019.pdf")),
        ("What were total assets in 2022?", ("ACME_2022_10K.pdf", "ACME_2023_10K.pdf")),
        ("How many people worked there in 2022?", ("annual_report_2022.pdf", "annual_report_2023.pdf")),
    ],
)
def test_no_edition_where_none_is_meant_or_reports_tell_of_several_years(
    question: str, documents: tuple[str, ...]
) -> None:
    assert edition_asked_for(question, [hit(document) for document in documents]) is None


def test_only_the_year_goes() -> None:
    assert without_year("Is the 2022 rent of 2022 pounds due?", 2022) == "Is the rent of pounds due?"
    assert without_year("Is 12022 a number?", 2022) == "Is 12022 a number?"


def test_two_rankings_together_keep_each_chunk_once() -> None:
    first, second = [hit("a", 0.9), hit("b", 0.2)], [hit("b", 0.2), hit("c", 0.5)]
    assert [(item.chunk.document, item.score) for item in together(first, second, 2)] == [("a", 0.9), ("c", 0.5)]


@pytest.fixture(scope="module")
def leases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    folder: Path = tmp_path_factory.mktemp("leases")
    settings = load_settings(folder / "home")
    (folder / "lease_2019.md").write_text(
        LEASE.format(signed="3 March", year=2019, begins="April", rent=900, keeper="Hale")
    )
    (folder / "lease_2022.md").write_text(
        LEASE.format(signed="7 May", year=2022, begins="June", rent=990, keeper="Moss")
    )
    workspace = Workspace.open(settings.home, "leases")
    ingest_paths(workspace, sorted(folder.glob("*.md")), settings=settings)
    yield workspace
    workspace.close()


@pytest.mark.parametrize("year", ["2019", "2022"])
def test_an_answer_about_one_edition_cites_no_other(leases: Workspace, tmp_path: Path, year: str) -> None:
    engine = build_engine(leases, load_settings(tmp_path))
    for question in (f"How much is the rent in the {year} lease?", f"Who keeps the keys under the lease of {year}?"):
        answer = engine.answer(question)
        assert answer.question == question
        assert answer.citations and {citation.document for citation in answer.citations} == {f"lease_{year}.md"}
