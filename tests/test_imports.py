"""Arrows between packages point one way, and importing the light packages stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ORDER = ["core", "ingest", "rag", "memory", "omni", "web"]  # left to right: a package imports only what stands left


def imported_packages(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", ORDER)
def test_a_package_imports_only_what_stands_left_of_it(package: str) -> None:
    forbidden = {*ORDER[ORDER.index(package) + 1 :], "app", "benchmarks", "tests"}
    files = list((ROOT / package).rglob("*.py"))
    assert files
    offences = {str(f.relative_to(ROOT)): bad for f in files if (bad := imported_packages(f) & forbidden)}
    assert not offences


@pytest.mark.parametrize("package", ["core", "ingest", "rag", "memory", "omni", "web", "ingest.workspace", "rag.types"])
def test_importing_is_quick_and_silent(package: str) -> None:
    """torch, faiss, transformers and gradio take seconds to import: they are loaded where they are used."""
    heavy = ("torch", "faiss", "transformers", "gradio", "chromadb", "langchain_core")
    code = f"import sys, {package}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert not done.stderr
