"""Fetching the model: hashes are checked, whole files are kept, and without a hub it says so plainly."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import subprocess
import sys
import threading

import pytest

from core.errors import ModelError
from omni.download import HuggingFaceHub, RemoteFile, download, fetch_url, verify

CONTENT = {
    "config.json": b"{}",
    "model.safetensors": b"weights" * 99,
    "model.fp32.safetensors": b"big",
    "x.msgpack": b"-",
}


class FakeHub:
    """Serves CONTENT, with the hashes that the real hub states; counts; may deliver damaged files."""

    def __init__(self, damage=""):
        self.fetched, self.damage = [], damage

    def files(self, repository):
        def blob(data):
            return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

        return [
            RemoteFile(name, len(data), hashlib.sha256(data).hexdigest())
            if name.endswith("safetensors")
            else RemoteFile(name, len(data), None, blob(data))
            for name, data in CONTENT.items()
        ]

    def fetch(self, repository, file, folder):
        self.fetched.append(file.name)
        data = CONTENT[file.name]
        (folder / file.name).write_bytes(data[::-1] if file.name == self.damage else data)


def get(folder, hub, parts=("checkpoint",), vocoder=""):
    return download(folder, hub=hub, checkpoint="a/b", whisper="c/d", vocoder=vocoder, parts=parts)


def test_fetches_what_is_needed_once(tmp_path):
    hub = FakeHub()
    assert get(tmp_path, hub) == {"checkpoint": tmp_path / "checkpoint"}
    assert hub.fetched == ["config.json", "model.safetensors"]
    get(tmp_path, hub)
    assert len(hub.fetched) == 2
    (tmp_path / "checkpoint" / "model.safetensors").write_bytes(b"weights" * 98 + b"damaged")
    get(tmp_path, hub)
    assert hub.fetched[2:] == ["model.safetensors"]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_damaged_arrival_is_refused_and_removed(name, tmp_path):
    with pytest.raises(ModelError, match=name):
        get(tmp_path, FakeHub(damage=name))
    assert not (tmp_path / "checkpoint" / name).exists()


def test_verify_finds_later_damage(tmp_path):
    get(tmp_path, FakeHub())
    assert verify(tmp_path) == [tmp_path / "checkpoint"]
    (tmp_path / "checkpoint" / "config.json").write_text("[]")
    with pytest.raises(ModelError, match=r"config.json is damaged"):
        verify(tmp_path)
    (tmp_path / "checkpoint" / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config.json is missing"):
        verify(tmp_path)
    with pytest.raises(ModelError, match="omni download"):
        verify(tmp_path / "elsewhere")


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "config.json").write_text('{"resblock": "1"}')
    (folder / "g_00500000").write_bytes(b"pickle" * 1000)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    handler.log_message = lambda *args: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http_server.server_port}"
        http_server.shutdown()


def test_vocoder_comes_whole_and_its_hash_is_recorded(server, tmp_path):
    get(tmp_path / "to", FakeHub(), parts=("vocoder",), vocoder=server)
    assert (tmp_path / "to/vocoder/g_00500000").read_bytes() == b"pickle" * 1000
    manifest = json.loads((tmp_path / "to/vocoder/lectern-download.json").read_text())
    assert manifest["sha256"]["g_00500000"] == hashlib.sha256(b"pickle" * 1000).hexdigest()
    verify(tmp_path / "to")


def test_unreachable_address_leaves_nothing(server, tmp_path):
    with pytest.raises(ModelError, match=r"g_1 cannot be fetched"):
        fetch_url(f"{server}/g_1", tmp_path / "g_1")
    assert not list(tmp_path.glob("g_1*"))


def test_hub_that_cannot_be_reached(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"hub http://127.0.0.1:9"):
        HuggingFaceHub().files("a/b")


def test_command_says_plainly_that_there_is_no_hub(tmp_path):
    """One line, exit status 1, what to do; the licence is told first."""
    done = subprocess.run(
        [sys.executable, "-m", "omni", "download", "--to", str(tmp_path / "x")],
        capture_output=True, text=True, env=environment(), timeout=120,
    )  # fmt: skip
    assert done.returncode == 1 and done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert "research only" in lines[0] and len(lines) == 2
    assert lines[1].startswith("error: ICTNLP/Llama-3.1-8B-Omni cannot be fetched from the model hub")


def environment():
    import os

    return {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
