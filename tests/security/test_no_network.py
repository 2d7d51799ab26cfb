"""Nothing leaves this computer by default: reading, asking, drawing and speaking, with every way out cut off."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from reportlab.pdfgen.canvas import Canvas

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = {
    "remote.html": "<html><head><link rel=stylesheet href=http://evil.example/s.css><base href=http://evil.example/></head>"
    "<body><p>The mill grinds forty sacks a day.</p><img src=http://evil.example/p.png><iframe src=http://evil.example>"
    "</iframe><script src=http://evil.example/s.js></script></body></html>",
    "remote.md": "# Mill\n\n![p](http://evil.example/p.png) The miller is paid on Fridays. [x](http://evil.example)\n",
}
SCRIPT = """
import json, sys
from pathlib import Path
from core.runtime import stay_offline
stay_offline()
from core.settings import load_settings
from ingest.pipeline import ingest_paths
from web import speech
from web.page_view import page_image
from web.wiring import build
home, documents = map(Path, sys.argv[1:])
assistant = build(load_settings(home))
workspace = assistant.workspace("default")
reports = ingest_paths(workspace, [documents], settings=assistant.settings)
assistant.ready.set()
events = list(speech.answer_events(assistant, "How many sacks does the mill grind a day?", "default", speak=True))
answer = next(event["answer"] for event in events if event["type"] == "answer")
print(json.dumps({
    "statuses": sorted(report.status for report in reports), "answer": answer["answer"],
    "sounds": sum(event["type"] == "audio" for event in events), "image": len(page_image(workspace, "remote.pdf", 1)),
}))
assistant.close()
"""


def test_nothing_leaves_this_computer(tmp_path: Path) -> None:
    """In a network namespace of its own where the kernel allows one; an audit hook writes down every attempt anyway."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name, text in DOCUMENTS.items():
        (folder / name).write_text(text)
    canvas = Canvas(str(folder / "remote.pdf"))
    canvas.drawString(72, 700, "The mill stands by the river and has two wheels.")
    canvas.linkURL("http://evil.example/", (72, 690, 200, 710))
    canvas.save()
    outbound = tmp_path / "outbound.log"
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "home"), str(folder)]
    isolate = ["unshare", "--user", "--map-root-user", "--net"]
    if shutil.which("unshare") and subprocess.run([*isolate, "true"], capture_output=True).returncode == 0:
        command = [*isolate, *command]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True,
        env={
            **os.environ,
            "PYTHONPATH": f"{ROOT / 'tests' / 'web' / 'offline'}{os.pathsep}{ROOT}",
            "LECTERN_TEST_OUTBOUND": str(outbound),
            "OMP_NUM_THREADS": "1",
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["statuses"] == ["added"] * 3 and "forty sacks" in told["answer"]
    assert told["sounds"] >= 1 and told["image"] > 1000
    assert not outbound.exists(), outbound.read_text()
