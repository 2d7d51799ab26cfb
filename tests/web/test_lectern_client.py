"""lectern.py, the client in one file, against a real server."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import soundfile
from documents import ANSWER
from v1_server import QUESTION, WORKSPACE, Served, lease_bytes, served, wav  # noqa: F401

from lectern import Client, Document, LecternError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def lectern(served: Served) -> Client:  # noqa: F811
    return Client(served.url, workspace=WORKSPACE)


def test_upload_wait_search_read_remove(lectern: Client, tmp_path: Path, lease_bytes: bytes) -> None:  # noqa: F811
    mine = lectern.create_workspace("of a client")
    assert "of a client" in lectern.workspaces() and mine.ready()
    (tmp_path / "my lease? 100%.pdf").write_bytes(lease_bytes)
    assert mine.upload(tmp_path / "my lease? 100%.pdf").name == "my lease? 100%.pdf"
    seen: list[Document] = []
    document = mine.wait("my lease? 100%.pdf", progress=seen.append)
    assert (document.status, document.pages) == ("embedded", 3) and seen[-1] == document
    hit = mine.search(QUESTION, top_k=1)[0]
    page = mine.page(hit.document, hit.page)
    assert page.text[hit.start : hit.end] == hit.text and ANSWER in page.text
    span = hit.spans[0]
    assert mine.boxes(hit.document, hit.page, span.start, span.end) == span.boxes
    assert mine.page_image(hit.document, hit.page)[:3] == b"\xff\xd8\xff"
    mine.remove(hit.document)
    assert mine.documents() == [] and lectern.document("lease.pdf").pages == 3
    assert mine.upload(b"Rex is a dog.", "dogs/rex.txt").name == "rex.txt"
    with (tmp_path / "cat.txt").open("w+b") as file:
        file.write(b"....Tom is a cat.")
        file.seek(4)
        assert mine.upload(file).name == "cat.txt"
    mine.wait("cat.txt", until="searchable")
    assert mine.page("cat.txt", 1).text == "Tom is a cat."
    mine.delete_workspace("of a client")
    assert "of a client" not in lectern.workspaces()


def test_ask_and_stream_agree(lectern: Client) -> None:
    answer = lectern.ask(QUESTION)
    assert ANSWER in answer.text and answer.citations[0].quote == ANSWER and not answer.refused
    events = list(lectern.stream(QUESTION))
    assert "".join(event.text for event in events) == answer.text
    assert [event.citation for event in events if event.citation] == list(answer.citations)
    assert events[-1].answer is not None and events[-1].answer.citations == answer.citations
    follow_up = lectern.ask("And in winter?", history=[("user", QUESTION), ("assistant", answer.text)])
    assert "mill house" in follow_up.understood


def test_sessions_remember(lectern: Client) -> None:
    talk = lectern.new_session("Lease")
    assert talk.ask(QUESTION).turn == 1
    assert [turn.answer.citations[0].page for turn in lectern.join_session(talk.code).turns()] == [2]
    assert talk.session_id in [each.session_id for each in lectern.sessions()]
    assert QUESTION in talk.export() and lectern.memories()
    list(talk.stream("And in winter?"))
    assert [turn.number for turn in talk.turns(after=1)] == [2]
    talk.rename("Other")
    assert lectern.session(talk.session_id).title == "Other"
    talk.delete()
    with pytest.raises(LecternError) as caught:
        talk.turns()
    assert caught.value.status == 404 and caught.value.code == "not_found"


def test_sound_goes_both_ways(lectern: Client, wav: bytes, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "q.wav").write_bytes(wav)
    assert lectern.transcribe(tmp_path / "q.wav").text == QUESTION == lectern.transcribe(wav).text
    sound = lectern.speak("Eleven weeks. No more.", tmp_path / "a.wav")
    samples, rate = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert len(samples) / rate == pytest.approx(0.2) and sound == (tmp_path / "a.wav").read_bytes()
    pieces = list(lectern.speak_stream("Eleven weeks. No more."))
    assert {hertz for hertz, _ in pieces} == {rate} and b"".join(pcm for _, pcm in pieces) == samples.tobytes()
    events = list(lectern.stream(recording=wav, speak=True))
    assert events[0].heard == QUESTION and any(event.pcm for event in events)


def test_a_refusal_in_the_middle_of_an_upload_is_read() -> None:
    """A server that reads the headers, says why not and hangs up."""
    refusal = json.dumps({"error": {"message": "too large", "remedy": "split it", "code": "too_large"}}).encode()
    head = f"HTTP/1.1 413 Content Too Large\r\nContent-Length: {len(refusal)}\r\nConnection: close\r\n\r\n".encode()

    def refuse(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            seen = b""
            while b"\r\n\r\n" not in seen:
                seen += connection.recv(4096)
            connection.sendall(head + refusal)
            connection.shutdown(socket.SHUT_WR)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refuse, args=(listener,), daemon=True)
        thread.start()
        with pytest.raises(LecternError) as caught:
            Client(f"http://127.0.0.1:{listener.getsockname()[1]}").upload(b"x" * 2**23, "big.txt")
        thread.join(10)
    assert (caught.value.status, caught.value.code, caught.value.remedy) == (413, "too_large", "split it")


def test_errors_carry_status_code_and_remedy(lectern: Client, served: Served) -> None:  # noqa: F811
    cases = [
        (lambda: lectern.document("absent.pdf"), 404, "not_found"),
        (lambda: lectern.in_workspace("nowhere").ask("x?"), 404, "not_found"),
        (lambda: lectern.upload(b"x" * (2**20 + 1), "big.txt"), 413, "too_large"),
        (lambda: lectern.transcribe(b"no sound"), 422, "unprocessable"),
        (lambda: lectern.search(""), 422, "invalid_request"),
        (lambda: lectern.upload(b"x"), 0, ""),
        (lambda: Client("http://127.0.0.1:9").ask("x?"), 0, "unreachable"),
    ]
    for call, status, code in cases:
        with pytest.raises(LecternError) as caught:
            call()
        assert (caught.value.status, caught.value.code) == (status, code)
        assert caught.value.message and caught.value.remedy and caught.value.remedy in str(caught.value)
    lectern.create_workspace("failing").upload(b"%PDF-1.4 no", "broken.pdf")
    with pytest.raises(LecternError) as caught:
        lectern.in_workspace("failing").wait("broken.pdf")
    assert caught.value.code == "unprocessable"


def test_a_busy_server_is_asked_again_and_keys_are_sent(wav: bytes) -> None:  # noqa: F811
    """429 with Retry-After: once more, the body from its beginning."""
    bodies: list[bytes] = []
    keys: list[str | None] = []

    class Busy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            keys.append(self.headers["Authorization"])
            busy = len(bodies) == 1
            content = (
                b'{"error": {"message": "Busy.", "remedy": "Wait."}}' if busy else b'{"text": "heard", "seconds": 1}'
            )
            self.send_response(429 if busy else 200)
            if busy:
                self.send_header("Retry-After", "0")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = Client(f"http://127.0.0.1:{server.server_port}/v1/", key="lec-1")
        assert client.transcribe(io.BytesIO(wav)).text == "heard"
        bodies.clear()
        with pytest.raises(LecternError) as caught:
            Client(client.url, retries=0).transcribe(wav)
        assert caught.value.status == 429 and caught.value.remedy == "Wait."
        server.shutdown()
    assert bodies == [wav] and keys[:2] == ["Bearer lec-1"] * 2


def test_it_needs_nothing_but_python(tmp_path: Path) -> None:
    """Copied alone into an empty folder, without any installed package."""
    (tmp_path / "lectern.py").write_bytes((ROOT / "lectern.py").read_bytes())
    code = "import lectern; lectern.Client('http://127.0.0.1:9')"
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, '.'); {code}"], cwd=tmp_path, check=True
    )
