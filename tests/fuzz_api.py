"""Schemathesis over the API: requests made from its own OpenAPI document, valid and broken, against a real server.

    python tests/fuzz_api.py                     20 examples an operation, about two minutes
    python tests/fuzz_api.py --examples 200 --seed 7
    python tests/fuzz_api.py --include-path-regex audio          what follows goes to schemathesis as it is

Fails on any 500, on a status or body that the document does not describe, on broken requests that are accepted and on
methods that answer where the document has none. Not covered: what needs a login (tests/web), the page's own /api.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parent
sys.path[:0] = [str(TESTS.parent), str(TESTS / "web")]

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "negative_data_rejection,unsupported_method,allow_header_conformance,use_after_free"
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=20, help="cases for each operation (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the cases (%(default)s)")
    arguments, further = parser.parse_known_args()
    from v1_server import running, written_lease

    command = shutil.which("schemathesis", path=str(Path(sys.executable).parent)) or "schemathesis"
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "home", written_lease(Path(folder))) as served:
        done = subprocess.run(
            [
                *(command, "run", f"{served.v1}/openapi.json", "--checks", CHECKS, "--continue-on-failure"),
                *("--phases", "examples,coverage,fuzzing", "--request-timeout", "30", "--no-shrink"),
                *("-n", str(arguments.examples), "--seed", str(arguments.seed), *further),
            ],
            cwd=folder,
        )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
