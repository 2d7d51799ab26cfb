"""Broken requests to every operation that the OpenAPI document names: told apart, told how, never a 500.

The quick and always equal part of tests/fuzz_api.py, which makes thousands of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from v1_server import WORKSPACE, Served, served  # noqa: F401  (a fixture)

BODIES = (
    b"", b"null", b"[]", b'"text"', b"1e999", b"{", b"\xff\xfe", b'{"question": null}', b'{"question": "\\ud800"}',
    b'{"question": {"$ref": "#"}}', b'{"unknown": 1}', b'{"input": [[["x"]]]}',
    b'{"messages": [{"role": 1}], "model": 0}', b'{"text": "\\u0000"}', b"[" * 500 + b"]" * 500,
    b'{"model": "lease", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}',
    b'{"question": "x", "history": [{"role": "system", "content": "x"}]}',
)  # fmt: skip
TYPES = (
    "application/json",
    "text/plain",
    "multipart/form-data",
    "multipart/form-data; boundary=x",
    "image/png",
    "\u00ff",
)
PLACES = {"workspace": WORKSPACE, "document": "lease.pdf", "page": "1"}
WRONG = {
    "workspace": "..%2f..",
    "document": "%00",
    "page": "-1",
    "session": "'",
    "memory": "1e9",
    "model": "%F0%9F%92%A9",
}


def operations(server: Served) -> Iterator[tuple[str, str, dict[str, Any]]]:
    document = server.http().get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            yield method.upper(), path, told


def addresses(path: str, told: dict[str, Any]) -> Iterator[str]:
    names = [each["name"] for each in told.get("parameters", ()) if each["in"] == "path"]
    for values in (PLACES, WRONG):
        filled = path
        for name in names:
            filled = filled.replace("{" + name + "}", values.get(name, "nothing"))
        yield filled


def test_broken_requests_are_told_what_is_wrong(served: Served) -> None:  # noqa: F811
    wrong: list[str] = []
    with served.http() as http:
        for method, path, told in operations(served):
            if method in ("GET", "DELETE") or path.endswith("/documents/{document}"):
                continue  # without a body, or with any bytes for one
            for address in addresses(path, told):
                for number, body in enumerate(BODIES):
                    headers = {b"content-type": TYPES[number % 2 and number % len(TYPES)].encode("latin-1")}
                    answer = http.request(method, address, content=body, headers=headers)
                    wrong += told_badly(answer, f"{method} {address} {body[:40]!r} {headers}", told)
    assert not wrong, "\n".join(wrong)


def test_broken_queries_and_places_are_told_what_is_wrong(served: Served) -> None:  # noqa: F811
    wrong: list[str] = []
    with served.http() as http:
        for method, path, told in operations(served):
            if method != "GET" or "events" in path:
                continue
            queries = [each["name"] for each in told.get("parameters", ()) if each["in"] == "query"]
            for address in addresses(path, told):
                for value in ("", "-1", "1e9", "null", "\x00", "9" * 400, "\U0001f4a9", "../../etc/passwd"):
                    answer = http.get(address, params={name: value for name in queries})
                    wrong += told_badly(answer, f"{address} {value[:20]!r}", told)
    assert not wrong, "\n".join(wrong)


def test_an_empty_upload_is_refused(served: Served) -> None:  # noqa: F811
    with served.http() as http:
        before = http.get(f"/workspaces/{WORKSPACE}/documents").json()
        answer = http.put(f"/workspaces/{WORKSPACE}/documents/empty.md", content=b"")
        assert answer.status_code == 400 and "is empty" in answer.json()["error"]["message"]
        answer = http.post(f"/workspaces/{WORKSPACE}/documents", files={"file": ("empty.md", b"")})
        assert answer.status_code in (400, 422)
        assert http.get(f"/workspaces/{WORKSPACE}/documents").json() == before


@pytest.mark.parametrize(
    "line",
    ["Content-Length: 9\r\nTransfer-Encoding: chunked", "Content-Length: -1", "Content-Length: 5\r\nContent-Length: 6"],
)
def test_two_lengths_of_one_body_are_no_way_in(served: Served, line: str) -> None:  # noqa: F811
    """Whatever a proxy in front would make of it: no second request is read out of the body of the first."""
    import socket

    host, port = served.url.removeprefix("http://").split(":")
    smuggled = f"0\r\n\r\nGET /v1/workspaces HTTP/1.1\r\nHost: {host}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        head = f"POST /v1/workspaces/{WORKSPACE}/ask HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n"
        head += f"{line}\r\n\r\n"
        connection.sendall((head + smuggled).encode())
        got = b""
        while piece := connection.recv(65536):
            got += piece
    assert got.count(b"HTTP/1.1 ") == 1 and got.split()[1].startswith(b"4"), got[:300]


def told_badly(answer: httpx.Response, request: str, told: dict[str, Any]) -> list[str]:
    """What is wrong with an answer: a fault of ours, one that the document lacks, an error without words."""
    if answer.status_code >= 500:
        return [f"{request}: {answer.status_code}"]
    if str(answer.status_code) not in told["responses"] and answer.status_code not in (404, 405):
        return [f"{request}: {answer.status_code} is not described"]
    if answer.status_code >= 400:
        try:
            error = answer.json()["error"]
        except (json.JSONDecodeError, KeyError, TypeError):
            return [f"{request}: {answer.status_code} {answer.text[:80]!r}"]
        return [] if error["message"] else [f"{request}: no message"]
    return []
