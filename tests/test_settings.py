"""Settings come from arguments, environment, the home's TOML file and defaults, in this order."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import UsageError
from core.settings import load_settings


def test_the_environment_beats_the_file_and_arguments_beat_both(
    lectern_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lectern_home.mkdir()
    (lectern_home / "lectern.toml").write_text('device = "cpu"\n[ingest]\nchunk_tokens = 150\n[server]\nport = 8000\n')
    assert load_settings().ingest.chunk_tokens == 150
    assert load_settings().ingest.overlap_tokens == 60  # a partial table keeps the other defaults
    monkeypatch.setenv("LECTERN_INGEST__CHUNK_TOKENS", "120")
    assert load_settings().ingest.chunk_tokens == 120
    assert load_settings().server.port == 8000
    assert load_settings(device="auto").device == "auto"


def test_the_home_given_as_argument_decides_which_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "lectern.toml").write_text("threads = 2\n")
    settings = load_settings(tmp_path)
    assert settings.threads == 2
    assert settings.home == tmp_path


@pytest.mark.parametrize("text", ["chunk_size = 3\n", "[ingest]\nchunk_tokens = 1\n", "[ingest\n"])
def test_a_wrong_setting_is_named_with_its_remedy(lectern_home: Path, text: str) -> None:
    lectern_home.mkdir()
    (lectern_home / "lectern.toml").write_text(text)
    with pytest.raises(UsageError, match=r"lectern\.toml"):
        load_settings()
