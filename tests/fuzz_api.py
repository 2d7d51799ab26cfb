"""Schemathesis over the server: requests made from its own OpenAPI documents, valid and broken, against a real one.

    python tests/fuzz_api.py                     all parts, 20 examples an operation, about five minutes
    python tests/fuzz_api.py --part page --examples 200 --seed 7
    python tests/fuzz_api.py --part v1 --include-path-regex audio      what follows goes to schemathesis as it is

v1      the stable API without a login: fails on any 500, on a status or body that the document does not describe, on
        broken requests that are accepted, on methods that answer where the document has none
page    the page's own /api with users, keys and audit log, asked with an admin's key: fails on any 500
login   /login, /logout and all of that without a key: fails on any 500, and on an answer where there must be none
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parent
sys.path[:0] = [str(TESTS.parent), str(TESTS / "web")]

PARTS = ("v1", "page", "login")
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "negative_data_rejection,unsupported_method,allow_header_conformance,use_after_free"
)
OPEN = ("/health", "/api/health", "/login", "/logout")


@contextlib.contextmanager
def whole_server(folder: Path) -> Iterator[tuple[str, str, str]]:
    """The page with a login over a home with a document: (url, an admin's key, path of its OpenAPI document)."""
    import socket

    import uvicorn
    from v1_server import WORKSPACE, Ears, Tone, written_lease

    from core.settings import load_settings
    from ingest.pipeline import ingest_file
    from web.accounts import passwords
    from web.accounts.accounts import Accounts
    from web.server import build_app
    from web.wiring import build

    passwords.COST = 16  # what is tried here does not depend on it
    settings = load_settings(
        folder / "home", embedder={"model": "hashing:256"}, locator={"model": "sentence"}, ingest={"max_file_mb": 1}
    )
    assistant = build(settings)
    assistant._warm_up = assistant.ready.set  # type: ignore[method-assign]
    voice, ears = Tone(), Ears()
    assistant.synthesiser = lambda: voice  # type: ignore[method-assign]
    assistant.recogniser = lambda: ears  # type: ignore[method-assign]
    ingest_file(assistant.workspace(WORKSPACE, create=True), written_lease(folder), settings=settings)
    accounts = Accounts(settings.home)
    accounts.users.add("anna", "correct horse battery", admin=True)
    key, _ = accounts.keys.add("anna", role="admin", per_minute=10**6)
    application = build_app(assistant, accounts=accounts)
    described = folder / "openapi.json"
    document = application.openapi()
    for path, operations in document["paths"].items():  # a fuzzer has no address book: the workspace that is there
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "workspace" and parameter["in"] == "path" and "live" not in path:
                    parameter["schema"] = {"type": "string", "enum": [WORKSPACE, "nothing-here", "../x"]}
    described.write_text(json.dumps(document))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(application, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 120
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.05)
        assert server.started
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", key, str(described)
        server.should_exit = True
        thread.join(20)


# What counts as a refusal of broken data: its default lacks 413, which is what a field beyond all limits gets.
CONFIG = """[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, "5xx"]
"""


def schemathesis(folder: Path, *arguments: str) -> int:
    (folder / "schemathesis.toml").write_text(CONFIG)
    command = shutil.which("schemathesis", path=str(Path(sys.executable).parent)) or "schemathesis"
    shared = ("--continue-on-failure", "--request-timeout", "30", "--no-shrink")
    return subprocess.run([command, "run", *arguments, *shared], cwd=folder).returncode


def fuzz_v1(folder: Path, arguments: list[str]) -> int:
    from v1_server import running, written_lease

    with running(folder / "home", written_lease(folder)) as served:
        return schemathesis(
            folder, f"{served.v1}/openapi.json", "--checks", CHECKS,
            "--phases", "examples,coverage,fuzzing", *arguments,
        )  # fmt: skip


def fuzz_page(folder: Path, arguments: list[str], *, key: bool) -> int:
    with whole_server(folder) as (url, secret, document):
        checks = "not_a_server_error"
        further = ["--header", f"Authorization: Bearer {secret}"] if key else []
        failed = schemathesis(
            folder, document, "--url", url, "--checks", checks,
            "--phases", "examples,coverage,fuzzing", *further, *arguments,
        )  # fmt: skip
        return failed if key else failed or without_a_key(url, document)


def without_a_key(url: str, document: str) -> int:
    """Every operation of the document once more, plainly: 401 unless it is open."""
    import httpx

    answered = []
    with httpx.Client(base_url=url, timeout=30) as client:
        for path, operations in json.loads(Path(document).read_text())["paths"].items():
            for method in operations:
                status = client.request(method, path.replace("{", "").replace("}", "")).status_code
                if not path.startswith(OPEN) and status not in (401, 404):
                    answered.append(f"{method.upper()} {path}: {status}")
    print("\n".join(answered) or "without a key everything else is refused")
    return bool(answered)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("all", *PARTS), default="all", help="%(default)s")
    parser.add_argument("--examples", type=int, default=20, help="cases for each operation (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the cases (%(default)s)")
    options, further = parser.parse_known_args()
    arguments = ["-n", str(options.examples), "--seed", str(options.seed), *further]
    failed = 0
    for part in PARTS if options.part == "all" else (options.part,):
        print(f"== {part}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            if part == "v1":
                failed |= fuzz_v1(Path(folder), arguments)
            else:
                failed |= fuzz_page(Path(folder), arguments, key=part == "page")
    return failed


if __name__ == "__main__":
    sys.exit(main())
