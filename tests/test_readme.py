"""The README's tree names every module, and every module it names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ["core", "ingest", "rag", "memory", "omni", "web", "benchmarks"]


def modules_in_the_tree() -> set[str]:
    tree = (ROOT / "README.md").read_text(encoding="utf-8").split("## Files", 1)[1].split("\n## ", 1)[0]
    found, folder = set(), ""
    for line in tree.splitlines():
        if entry := re.match(r"    (\S+/)\s", line):
            folder = entry.group(1)
        elif module := re.match(r"      (\w+\.py)\s+\S", line):
            found.add(folder + module.group(1))
    return found


def modules_on_disk() -> set[str]:
    files = {str(f.relative_to(ROOT)) for package in PACKAGES for f in (ROOT / package).rglob("*.py")}
    return {name for name in files if not name.endswith("__init__.py")}


def test_the_tree_in_the_readme_is_true() -> None:
    assert modules_in_the_tree() == modules_on_disk()


def test_every_benchmark_named_in_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"python -m (benchmarks\.\w+)", text))
    assert named
    assert {name for name in named if not (ROOT / (name.replace(".", "/") + ".py")).is_file()} == set()
