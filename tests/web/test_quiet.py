"""Work that can wait gives way to questions."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from core.settings import EmbedderSettings, LocatorSettings, Settings
from ingest.pipeline import ingest_paths
from ingest.workspace import Workspace
from web.wiring import Assistant, build


@pytest.fixture
def assistant(tmp_path: Path) -> Assistant:
    settings = Settings(
        home=tmp_path, embedder=EmbedderSettings(model="hashing:64"), locator=LocatorSettings(model="sentence")
    )
    return build(settings)


def test_learning_waits_until_no_question_runs(assistant: Assistant) -> None:
    looks: list[int] = []

    def busy() -> bool:
        looks.append(len(looks))
        return len(looks) < 5

    assistant.busy = busy
    assistant.wait_for_quiet(0.5, 600)
    assert len(looks) == 6  # four times busy, then quiet for two looks of a quarter of a second


def test_it_waits_no_longer_than_allowed_nor_beyond_the_end(assistant: Assistant) -> None:
    assistant.busy = lambda: True
    assistant.wait_for_quiet(1.0, 0.5)
    assistant.closing.set()
    assistant.wait_for_quiet(600, 600)
    assistant.give_way()


def test_an_answer_that_came_and_went_between_two_looks_counts(assistant: Assistant) -> None:
    looks: list[int] = []

    def answered_meanwhile() -> bool:
        looks.append(0)
        assistant._answered += len(looks) < 4
        return False

    assistant.busy = answered_meanwhile
    assistant.wait_for_quiet(0.5, 600)
    assert len(looks) >= 5


def test_the_index_is_there_before_the_server_says_it_is_ready(
    assistant: Assistant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lease.md").write_text("# Lease\n\nThe notice period is three months.\n")
    with Workspace.open(tmp_path) as workspace:
        ingest_paths(workspace, [tmp_path / "lease.md"], settings=assistant.settings)
    seen: list[bool] = []
    monkeypatch.setattr(assistant, "_say_once", lambda: None)
    monkeypatch.setattr(assistant, "_listen_once", lambda: None)
    monkeypatch.setattr("web.wiring.require", lambda *_, **__: None)

    class Ready(threading.Event):
        def set(self) -> None:
            index = assistant.engine("default").retriever._keeper._index  # type: ignore[attr-defined]
            seen.append(index is not None and len(index.words) > 0)
            super().set()

    assistant.ready = Ready()
    assistant._warm_up()
    assistant.close()
    assert seen and seen[0]
