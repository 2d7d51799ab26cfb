"""The documents' language model, built in a process of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.errors import NotFoundError
from core.settings import EmbedderSettings, Settings
from ingest.pipeline import ingest_paths
from ingest.worker_pool import WorkerDied
from ingest.workspace import Workspace
from omni import biased_models, language_bias, language_worker
from omni.biased_models import BiasedModels
from omni.language_bias import as_built, document_language, is_built
from omni.language_worker import build_apart


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setattr(language_bias, "APART_FROM", 1)
    monkeypatch.setattr(language_worker, "NICENESS", 0)  # a test waits for it, whatever else the machine does
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "pump.md").write_text("# Pump\n\nReplace the zirconium quillwort of the Hadravan pump every May.\n")
    settings = Settings(home=tmp_path / "home", embedder=EmbedderSettings(model="hashing:64"))
    with Workspace.open(settings.home) as opened:
        ingest_paths(opened, [folder], settings=settings)
        yield opened


def test_a_large_workspace_is_learnt_by_another_process(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def here(*_: object) -> None:
        raise AssertionError("built in this process")

    monkeypatch.setattr(language_bias, "_build", here)
    language = document_language(workspace)
    assert as_built(language) is None
    built = BiasedModels().of(language, wait=True)
    assert built is not None and built.terms["zirconium"] == 1 and "quillwort" in built.pronunciations
    assert is_built(language) and as_built(language) is language


def test_until_then_what_was_learnt_of_an_earlier_state_is_used(workspace: Workspace, tmp_path: Path) -> None:
    earlier = document_language(workspace)
    biased_models.build_here(earlier)
    more = tmp_path / "valve.md"
    more.write_text("# Valve\n\nThe valve is closed.\n")
    settings = Settings(home=tmp_path / "home", embedder=EmbedderSettings(model="hashing:64"))
    ingest_paths(workspace, [more], settings=settings)
    language = document_language(workspace)
    assert language.key != earlier.key and not is_built(language)
    known = as_built(language)
    assert known is not None and known.key == earlier.key and known.apart is None
    model = BiasedModels().of(known, wait=True)
    assert model is not None and "quillwort" in model.pronunciations


def make_sleeper() -> Callable[[object, object], None]:
    return lambda payload, report: time.sleep(600)


def test_what_is_being_built_ends_with_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_worker, "FACTORY", "tests.omni.test_language_worker:make_sleeper")
    monkeypatch.setattr(language_worker, "NICENESS", 0)
    ended: list[BaseException] = []

    def build() -> None:
        with pytest.raises(WorkerDied) as told:
            build_apart(tmp_path)
        ended.append(told.value)

    thread = threading.Thread(target=build, daemon=True)
    thread.start()
    while thread.is_alive() and not (language_worker._running and language_worker._running[0]._workers):
        time.sleep(0.01)
    language_worker.end_now()
    thread.join(60)
    assert ended and not language_worker._running


def test_a_workspace_that_has_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        build_apart(tmp_path / "workspaces" / "gone")
