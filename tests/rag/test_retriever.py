"""The whole coarse search over real files with the real embedder: found, followed while it changes, never harmed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.errors import StoreError
from core.settings import EmbedderSettings, RetrievalSettings, Settings, load_settings
from ingest.embedders import Embedder, load_embedder
from ingest.pipeline import embed_pending, ingest_paths
from ingest.workspace import Workspace
from rag import index_cache
from rag.retriever import OVERLAPPING, SAME_PAGE, HybridRetriever, _best, _spread
from rag.types import Hit

TEXTS = {
    "lease.md": "# Lease of 14 Harbour Street\n\nThe monthly rent is 1,200 dollars and is due on the first day.\n\n"
    "# Animals\n\nPets are not allowed without the written consent of the landlord.\n",
    "observatory.txt": "The observatory on Mount Tarn was founded in 1897 by the astronomer Ida Voss. "
    "Its main telescope has a mirror of 2.4 metres.\n",
    "washing_machine_WM14.txt": "Cleaning. Unplug the machine, open the flap and turn the filter to the left.\n",
    "toaster_T2.txt": "Cleaning. Unplug the device, open the tray and empty the crumbs.\n",
    "长城.txt": "长城是中国古代的军事防御工程。明长城的总长度为八千八百五十公里。\n",
    "茶.txt": "茶起源于中国，是世界三大饮料之一。绿茶未经发酵。\n",
}
BALANCE = [
    "CONSOLIDATED BALANCE SHEETS", "(in millions)   2020   2019", "Cash and cash equivalents 120 99",
    "Accounts receivable, net 80 75", "Inventories 45 52", "Total current assets 245 226", "Total assets 900 870",
    "Accounts payable 61 58", "Total current liabilities 140 151", "Total liabilities and equity 900 870",
]  # fmt: skip
INCOME = [
    "CONSOLIDATED STATEMENTS OF INCOME", "(in millions)   2020   2019   2018", "Net sales 1,500 1,420 1,300",
    "Cost of sales 900 880 810", "Operating income 210 190 170", "Income before income taxes 200 181 160",
    "Net income 160 140 120", "Diluted earnings per share 3.20 2.80 2.40",
]  # fmt: skip


def write_filing(path: Path, company: str, year: int) -> None:
    """A filing in small: title page, contents, prose that speaks of everything, statements."""
    from reportlab.pdfgen.canvas import Canvas

    talk = f"{company} sells staplers. Our ratio of quick wins improved, says management of {company}."
    pages = [
        [f"FORM 10-K  {company.upper()}", f"For the fiscal year ended December 31, {year}"],
        ["Table of contents", "Consolidated balance sheets 5", "Consolidated statements of income 6"],
        [talk, f"{company} improved quickly between the years. Liquidity is discussed below."] * 4,
        [f"Risk factors of {company}: demand for staplers may decline.", talk] * 4,
        BALANCE,
        INCOME,
    ]
    canvas = Canvas(str(path), pagesize=(612, 792))
    for lines in pages:
        for place, line in enumerate(lines):
            canvas.drawString(60, 720 - 18 * place, line)
        canvas.showPage()
    canvas.save()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    for name, text in TEXTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    for company, year in (("Initech", 2019), ("Initech", 2020), ("Globex", 2020)):
        write_filing(folder / f"{company.upper()}_{year}_10K.pdf", company, year)
    return folder


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return load_settings(tmp_path_factory.mktemp("home"), ingest={"reading_workers": 1})


@pytest.fixture(scope="module")
def embedder(settings: Settings) -> Embedder:
    return load_embedder(settings.embedder)


@pytest.fixture(scope="module")
def retriever(folder: Path, settings: Settings, embedder: Embedder) -> HybridRetriever:
    """Over everything, embedded with the default model; for tests that only read."""
    workspace = Workspace.open(settings.home)
    ingest_paths(workspace, [folder], settings=settings, embed=False)
    embed_pending(workspace, embedder)
    return HybridRetriever(workspace, embedder)


def first(hits: Sequence[Hit]) -> tuple[str, int]:
    return hits[0].chunk.document, hits[0].chunk.page


@pytest.mark.parametrize(
    ("question", "document"),
    [
        ("Who founded the observatory?", "observatory.txt"),
        ("How big is the scope's reflector at the place for watching stars?", "observatory.txt"),  # meaning
        ("May I keep a dog?", "lease.md"),  # meaning
        ("How is the washing machine cleaned?", "washing_machine_WM14.txt"),  # the document's name
        ("How is the toaster cleaned?", "toaster_T2.txt"),
        ("明长城有多长？", "长城.txt"),
        ("绿茶经过发酵吗？", "茶.txt"),
    ],
)
def test_words_meaning_names_and_chinese(retriever: HybridRetriever, question: str, document: str) -> None:
    assert first(retriever.search(question))[0] == document


@pytest.mark.parametrize(
    ("question", "place"),
    [
        ("Has Initech's quick ratio improved between FY2020 and FY2019?", ("INITECH_2020_10K.pdf", 5)),
        ("What was the FY2019 net income of Initech? Use the income statement.", ("INITECH_2019_10K.pdf", 6)),
        (
            "We need to calculate a financial metric by using information only provided within the balance sheet. "
            "Please answer the following question: what are Globex's FY2020 total current liabilities?",
            ("GLOBEX_2020_10K.pdf", 5),
        ),
    ],
)
def test_the_statement_of_the_right_filing_comes_first(
    retriever: HybridRetriever, question: str, place: tuple[str, int]
) -> None:
    pages = [(hit.chunk.document, hit.chunk.page) for hit in retriever.search(question)]
    assert place in pages[:2]
    assert len(set(pages)) >= min(len(pages), 6)  # pages take turns


def test_scores_fall_and_hits_say_where_they_stand(retriever: HybridRetriever) -> None:
    hits = retriever.search("Has Initech's quick ratio improved between FY2020 and FY2019?", 8)
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True) and all(0.0 <= score <= 1.0 for score in scores)
    for hit in hits:
        page = retriever.workspace.page(hit.chunk.document, hit.chunk.page)
        assert page.text[hit.chunk.start : hit.chunk.end] == hit.chunk.text
    assert len({hit.chunk.chunk_id for hit in hits}) == len(hits)
    timings = retriever.timings_ms
    assert timings["total"] == pytest.approx(timings["embed"] + timings["coarse"]) and timings["embed"] > 0


def test_dense_and_lexical_scores_are_those_of_the_stores(retriever: HybridRetriever, embedder: Embedder) -> None:
    question = "Who founded the observatory?"
    ids, vectors = retriever.workspace.vectors()
    vector = embedder.embed_query(question)
    for hit in retriever.search(question, 5):
        assert hit.dense == pytest.approx(float(vectors[ids.index(hit.chunk.chunk_id)] @ vector), abs=1e-4)
    from ingest.tokens import query_terms

    by_words = retriever.workspace.lexical_search(query_terms(question), 5)
    assert by_words[0][0] == retriever.search(question)[0].chunk.chunk_id


def test_a_search_can_be_restricted_to_documents(retriever: HybridRetriever) -> None:
    hits = retriever.search("What was net income in FY2020?", 20, documents=["GLOBEX_2020_10K.pdf"])
    assert hits and {hit.chunk.document for hit in hits} == {"GLOBEX_2020_10K.pdf"}
    assert retriever.search("net income", documents=["unknown.pdf"]) == []


@pytest.mark.parametrize(
    "question", ["", "  \n", "?!", "zzzz qqqq", "a" * 5000, "the of and", '" OR *) NEAR', "\x00 é 🙂"]
)
def test_whatever_is_typed_is_answered_with_a_list(retriever: HybridRetriever, question: str) -> None:
    assert isinstance(retriever.search(question), list)


def test_an_empty_workspace_has_no_hits(settings: Settings, embedder: Embedder) -> None:
    with Workspace.open(settings.home, "empty") as workspace:
        assert HybridRetriever(workspace, embedder).search("anything") == []


def test_a_running_retriever_follows_what_is_added_embedded_and_removed(
    folder: Path, settings: Settings, embedder: Embedder
) -> None:
    quick = settings.model_copy(update={"embedder": EmbedderSettings(model="hashing:64")})
    hashing = load_embedder(quick.embedder)
    with Workspace.open(settings.home, "growing") as workspace:
        retriever = HybridRetriever(workspace, hashing)
        assert retriever.search("observatory") == []
        ingest_paths(workspace, [folder / "lease.md"], settings=quick, embed=False)
        (hit, *_) = retriever.search("monthly rent")  # by words alone: nothing is embedded yet
        assert hit.chunk.document == "lease.md" and hit.dense == 0.0
        embed_pending(workspace, hashing)
        assert retriever.search("monthly rent")[0].dense > 0.0
        ingest_paths(workspace, [folder / "observatory.txt"], settings=quick, embed=False)  # part of the vectors
        assert first(retriever.search("who founded the observatory"))[0] == "observatory.txt"
        assert first(retriever.search("monthly rent"))[0] == "lease.md"
        embed_pending(workspace, hashing)
        workspace.remove("lease.md")
        assert {hit.chunk.document for hit in retriever.search("monthly rent observatory")} == {"observatory.txt"}
        fresh = HybridRetriever(workspace, hashing).search("who founded the observatory")
        assert [hit.chunk.chunk_id for hit in retriever.search("who founded the observatory")] == [
            hit.chunk.chunk_id for hit in fresh
        ]


def test_a_cache_gives_the_same_hits_and_a_damaged_one_is_not_believed(
    retriever: HybridRetriever, embedder: Embedder
) -> None:
    question, workspace = "Has Initech's quick ratio improved between FY2020 and FY2019?", retriever.workspace
    expected = [(hit.chunk.chunk_id, round(hit.score, 5)) for hit in retriever.search(question)]
    cached = HybridRetriever(workspace, embedder)
    assert index_cache.load(workspace.derived, version=workspace.version, embedder=embedder.name) is not None
    assert [(hit.chunk.chunk_id, round(hit.score, 5)) for hit in cached.search(question)] == expected
    for name in (index_cache.TABLES, index_cache.TEXTS, index_cache.VECTORS, index_cache.MANIFEST):
        path = workspace.derived / name
        whole = path.read_bytes()
        for damaged in (whole[: len(whole) // 2], b"\x00" + whole[1:], b""):
            path.write_bytes(damaged)
            hits = HybridRetriever(workspace, embedder).search(question)
            assert [(hit.chunk.chunk_id, round(hit.score, 5)) for hit in hits] == expected, name


def test_the_compressed_index_finds_what_the_exact_one_finds(settings: Settings) -> None:
    quick = settings.model_copy(update={"embedder": EmbedderSettings(model="hashing:64")})
    hashing, rng = load_embedder(quick.embedder), np.random.default_rng(0)
    words = [f"{a}{b}" for a in ("ka", "lo", "mi", "tu", "re") for b in ("bar", "dol", "fen", "gis", "hum", "jop")]
    source = settings.home / "many"
    source.mkdir()
    for number in range(60):
        paragraphs = [" ".join(rng.choice(words, 150)) + "." for _ in range(20)]
        (source / f"{number}.md").write_text("\n\n".join(f"# Part {i}\n\n{p}" for i, p in enumerate(paragraphs)))
    with Workspace.open(settings.home, "many") as workspace:
        ingest_paths(workspace, [source], settings=quick, embed=False)
        embed_pending(workspace, hashing)
        assert workspace.chunk_count() > 1000
        exact = HybridRetriever(workspace, hashing)
        compressed = HybridRetriever(workspace, hashing, RetrievalSettings(flat_limit=1000))
        same = total = 0
        for _ in range(10):
            question = " ".join(rng.choice(words, 6))
            best = {hit.chunk.chunk_id for hit in exact.search(question, 5)}
            same += len(best & {hit.chunk.chunk_id for hit in compressed.search(question, 5)})
            total += len(best)
        vectors = compressed.current_index().vectors
        assert vectors is not None and vectors.index.compressed
        assert same / total >= 0.9


def test_another_embedder_than_the_workspaces_is_refused(retriever: HybridRetriever) -> None:
    foreign = load_embedder(EmbedderSettings(model="hashing:64"))
    with pytest.raises(StoreError, match="reembed"):
        HybridRetriever(retriever.workspace, foreign).search("anything")


def test_hits_of_a_further_retriever_become_candidates(retriever: HybridRetriever, embedder: Embedder) -> None:
    class Oracle:
        def search(self, question: str, top_k: int = 10) -> list[Hit]:
            return [Hit(retriever.workspace.document_chunks("toaster_T2.txt")[0], 1.0)]

    question = "Who founded the observatory?"
    helped = HybridRetriever(retriever.workspace, embedder, extra=[Oracle()])

    def rank(hits: Sequence[Hit]) -> int:
        names = [hit.chunk.document for hit in hits]
        return names.index("toaster_T2.txt") if "toaster_T2.txt" in names else len(names)

    assert rank(helped.search(question)) < rank(retriever.search(question))


def test_threads_get_the_answers_of_one(retriever: HybridRetriever) -> None:
    questions = [
        "Who founded the observatory?",
        "May I keep a dog?",
        "明长城有多长？",
        "Initech's FY2020 quick ratio?",
    ] * 3
    expected = [[hit.chunk.chunk_id for hit in retriever.search(question)] for question in questions]
    found: dict[int, list[str]] = {}

    def ask(number: int) -> None:
        found[number] = [hit.chunk.chunk_id for hit in retriever.search(questions[number])]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(questions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(len(questions))] == expected


@pytest.mark.parametrize("seed", range(8))
def test_pages_take_turns_as_if_every_chunk_were_weighed_anew_each_time(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = 40
    sheets, starts = np.sort(rng.integers(0, 9, count)), rng.integers(0, 60, count)
    spans = np.stack([starts, starts + rng.integers(5, 30, count)], axis=1)
    paged = rng.random(9) < 0.5
    words = SimpleNamespace(page_of=sheets, spans=spans)
    run: Any = SimpleNamespace(words=words, page_key=lambda row: int(sheets[row]) if paged[sheets[row]] else -1 - row)
    rows = rng.permutation(count).tolist()
    scores = np.sort(rng.choice([0.0, 0.5, 1.0, 2.5], count) + rng.integers(0, 3, count))[::-1].tolist()

    left: list[int] = list(range(count))
    expected: list[tuple[int, float]] = []
    while left and len(expected) < 25:

        def worth(i: int) -> float:
            same = sum(run.page_key(rows[i]) == run.page_key(row) for row, _ in expected)
            meets = any(
                sheets[row] == sheets[rows[i]]
                and spans[row][0] < spans[rows[i]][1]
                and spans[rows[i]][0] < spans[row][1]
                for row, _ in expected
            )
            return scores[i] - max(SAME_PAGE * same, OVERLAPPING * meets)

        best = max(left, key=lambda i: (worth(i), -i))
        left.remove(best)
        expected.append((rows[best], worth(best)))
    assert list(zip(*_spread(run, rows, scores, 25), strict=True)) == expected


@pytest.mark.parametrize("spread", [0.01, 1.0, 30.0])  # all near the largest, or hardly any
def test_the_best_are_the_largest_positive(spread: float) -> None:
    values = np.random.default_rng(0).exponential(size=900).astype(np.float32) ** spread
    values[::3] = 0.0
    for k in (1, 10, 599, 600, 800, 900):
        assert sorted(_best(values, k)) == sorted(np.argsort(-values)[: min(k, np.count_nonzero(values > 0))])
    assert len(_best(np.zeros(5), 3)) == len(_best(np.zeros(0), 3)) == len(_best(values, 0)) == 0
