"""`pip install .` gives a `lectern` command with all that the program reads; the service files are well-formed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("core", "ingest", "rag", "memory", "omni", "web", "models")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the wheel would put into site-packages."""
    folder = tmp_path_factory.mktemp("wheel")
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=ignore)
    for name in ("app.py", "lectern.py", "pyproject.toml", "README.md", "requirements.txt"):
        shutil.copy(ROOT / name, folder / "source")
    build = "import setuptools.build_meta as b, sys; b.build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", build, str(folder)], cwd=folder / "source", check=True, capture_output=True, timeout=120
    )
    [wheel] = folder.glob("lectern-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_every_file_of_the_packages(installed: Path) -> None:
    for name in PACKAGES:
        ours = {path.relative_to(ROOT) for path in (ROOT / name).rglob("*") if path.is_file()}
        wanted = {path for path in ours if "__pycache__" not in path.parts and not path.name.startswith(".")}
        missing = sorted(str(path) for path in wanted if not (installed / path).is_file())
        assert not missing, f"add to [tool.setuptools.package-data]: {missing}"
    assert (installed / "models" / "voice" / "lexicon.txt.gz").is_file()
    assert not list(installed.rglob("test_*.py"))


def test_the_command_runs_from_where_it_is_installed(installed: Path, tmp_path: Path) -> None:
    [entry] = installed.glob("*.dist-info/entry_points.txt")
    assert "lectern = app:main" in entry.read_text()
    (tmp_path / "lease.txt").write_text("The notice period is eleven weeks.")
    script = f"import sys; sys.path.insert(0, {str(installed)!r}); import app; sys.exit(app.main(sys.argv[1:]))"

    def lectern(*arguments: object) -> str:
        command = [sys.executable, "-P", "-c", script, *map(str, arguments), "--home", str(tmp_path / "home")]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "1 added" in lectern("ingest", tmp_path / "lease.txt", "--no-embed")
    assert "1 documents" in lectern("backup", "default", tmp_path / "b.zip")
    assert "restored" in lectern("restore", tmp_path / "b.zip", "--as", "two")
    assert "as it was stored" in lectern("check", "two")
    metadata = next(installed.glob("*.dist-info/METADATA")).read_text()
    assert re.search(r"^Requires-Dist: torch==", metadata, re.M) and "#" not in metadata.split("\n\n")[0]


def test_shell_lines_of_the_dockerfile_parse() -> None:
    text = (ROOT / "Dockerfile").read_text()
    runs = re.findall(r"^RUN (.+(?:\\\n.+)*)", text, re.M)
    assert len(runs) >= 4
    for run in runs:
        subprocess.run(["sh", "-n", "-c", run], check=True)
    assert re.search(r"^USER lectern$", text, re.M) and "HEALTHCHECK" in text
    copied = re.search(r"^COPY (requirements.*) \./$", text, re.M)
    assert copied and all((ROOT / name).is_file() for name in copied[1].split())


def test_compose_uses_the_chroma_of_the_requirements() -> None:
    yaml = pytest.importorskip("yaml")
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    version = services["chroma"]["image"].rpartition(":")[2]
    assert f"chromadb=={version}" in (ROOT / "requirements.txt").read_text()
    assert services["lectern"]["environment"]["LECTERN_MEMORY__CHROMA_URL"] == "http://chroma:8000"
    assert services["lectern"]["ports"][0].startswith("127.0.0.1:")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_the_unit_is_well_formed(tmp_path: Path) -> None:
    unit = tmp_path / "lectern.service"
    text = (ROOT / "deploy" / "lectern.service").read_text()
    text = text.replace("/opt/lectern/bin/lectern serve", f"{shutil.which('true')} serve")
    unit.write_text(re.sub(r"^(User|Group)=.*\n", "", text, flags=re.M))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "lectern.service" not in done.stderr, done.stderr


def test_commands_are_named_as_they_are_called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever installed `lectern` is not told to run a file that is not there."""
    from core.errors import UsageError, cli_main

    def fail() -> int:
        raise UsageError("nobody can log in", remedy="Run `python app.py users add anna`")

    for called, shown in (("/opt/lectern/bin/lectern", "`lectern users add anna`"), ("app.py", "`python app.py users")):
        monkeypatch.setattr(sys, "argv", [called])
        assert cli_main(fail) == 2
        assert shown in capsys.readouterr().err
