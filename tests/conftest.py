"""Shared by all tests: no user data is touched, nothing phones home, one compute thread."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"  # a test that needed a hub would fail everywhere, not only here
os.environ.setdefault("LECTERN_INGEST__NICENESS", "0")  # tests wait for what is read, whatever else the machine does

from core.runtime import bound_kernels, stay_offline

stay_offline()
bound_kernels()

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def lectern_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of this test's own; commands started by the test inherit it."""
    home = tmp_path / "lectern-home"
    monkeypatch.setenv("LECTERN_HOME", str(home))
    return home


@pytest.fixture
def shared_data() -> Path:
    """The folder of measuring data beside the checkout; tests that need it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the measuring data in {SHARED_DATA.name}/ beside the checkout, which is not here")
    return SHARED_DATA
