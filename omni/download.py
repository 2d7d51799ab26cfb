"""Fetching the real model: the checkpoint and Whisper from the hub, the vocoder from its publisher.

    python -m omni download                     # about 19 GB into <home>/models/llama-omni
    python -m omni download --verify            # no network: check again what is there

Files that are already there and whole are not fetched again; an interrupted download continues. Every file is checked
against the hash that the hub publishes for it (sha256 of large files, git's blob hash of small ones). The vocoder's
publisher states none: its size is checked and its sha256 recorded, so that later damage is found.
Nothing is ever fetched without this command.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import os
import shutil
import sys
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from core.errors import LecternError, ModelError
from core.settings import load_settings

LICENCE = (
    "LLaMA-Omni's weights are for research only: no commercial use (its authors' terms, and Meta's Llama 3.1 licence "
    "applies as well)."
)
CHECKPOINT = "ICTNLP/Llama-3.1-8B-Omni"
WHISPER = "openai/whisper-large-v3"
VOCODER = (
    "https://dl.fbaipublicfiles.com/fairseq/speech_to_speech/vocoder/code_hifigan/"
    "mhubert_vp_en_es_fr_it3_400k_layer11_km1000_lj"
)
VOCODER_FILES = ("config.json", "g_00500000")
# Whisper's repository also holds other frameworks' copies and a float32 one.
WANTED = ("*.safetensors", "*.json", "*.txt", "LICENSE*", "README.md")
UNWANTED = ("*fp32*", "flax_*", "tf_*", "*.msgpack", "*.h5")
MANIFEST = "lectern-download.json"


@dataclass(frozen=True)
class RemoteFile:
    """A file as its publisher states it."""

    name: str
    size: int | None  # bytes
    sha256: str | None = None
    git_sha1: str | None = None  # of small files: git's blob hash


class Hub(Protocol):
    """What is needed of a model hub; tests bring one of their own."""

    def files(self, repository: str) -> list[RemoteFile]: ...
    def fetch(self, repository: str, file: RemoteFile, folder: Path) -> None: ...


class HuggingFaceHub:
    """The hub, at HF_ENDPOINT or huggingface.co. Its own progress bars go to stderr."""

    def __init__(self) -> None:
        self.endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")

    def files(self, repository: str) -> list[RemoteFile]:
        from huggingface_hub import HfApi

        try:
            info = HfApi(endpoint=self.endpoint).model_info(repository, files_metadata=True, timeout=20)
        except Exception as error:  # httpx, the hub's own and the offline switch: all mean the same here
            raise self._unreachable(repository, error) from error
        return [
            RemoteFile(s.rfilename, s.size, s.lfs.sha256 if s.lfs else None, None if s.lfs else s.blob_id)
            for s in info.siblings or ()
        ]

    def fetch(self, repository: str, file: RemoteFile, folder: Path) -> None:
        from huggingface_hub import hf_hub_download

        try:
            hf_hub_download(repository, file.name, local_dir=folder, endpoint=self.endpoint)
        except Exception as error:
            raise self._unreachable(f"{repository}/{file.name}", error) from error

    def _unreachable(self, what: str, error: Exception) -> ModelError:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        return ModelError(
            f"{what} cannot be fetched from the model hub {self.endpoint}: {reason}",
            remedy="Connect to the internet (and unset HF_HUB_OFFLINE), set HF_ENDPOINT to a mirror, or copy the files "
            "from a machine that can reach it: docs/omni.md lists them",
        )


def download(
    folder: Path, *, hub: Hub, checkpoint: str, whisper: str, vocoder: str, parts: Sequence[str]
) -> dict[str, Path]:
    """Fetch the named parts below `folder`; returns where each lies. Raises ModelError."""
    done: dict[str, Path] = {}
    for part, repository in (("checkpoint", checkpoint), ("whisper", whisper)):
        if part in parts:
            done[part] = _from_hub(hub, repository, folder / part)
    if "vocoder" in parts:
        done["vocoder"] = _vocoder(vocoder, folder / "vocoder")
    return done


def _from_hub(hub: Hub, repository: str, folder: Path) -> Path:
    files = [f for f in hub.files(repository) if _matches(f.name, WANTED) and not _matches(f.name, UNWANTED)]
    if not any(f.name.endswith(".safetensors") for f in files):
        raise ModelError(f"{repository} publishes no safetensors", remedy="Give another --checkpoint or --whisper")
    folder.mkdir(parents=True, exist_ok=True)
    missing = [f for f in files if not _is_whole(folder / f.name, f)]
    _require_space(folder, sum(f.size or 0 for f in missing))
    for number, file in enumerate(missing, start=1):
        _say(f"{repository} {number}/{len(missing)}: {file.name} ({_size(file.size)})")
        hub.fetch(repository, file, folder)
        if not _is_whole(folder / file.name, file):
            (folder / file.name).unlink(missing_ok=True)
            raise ModelError(
                f"{folder / file.name} arrived damaged: its hash is not the published one", remedy="Run it again"
            )
    _write_manifest(folder, {f.name: f.sha256 or _sha256(folder / f.name) for f in files}, source=repository)
    _say(f"{folder}: {len(files)} files, hashes verified")
    return folder


def _vocoder(base_url: str, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    known = _read_manifest(folder).get("sha256", {})
    for name in VOCODER_FILES:
        target = folder / name
        if not (target.exists() and known.get(name) == _sha256(target)):
            fetch_url(f"{base_url}/{name}", target)
    _write_manifest(folder, {name: _sha256(folder / name) for name in VOCODER_FILES}, source=base_url)
    _say(f"{folder}: {len(VOCODER_FILES)} files; their publisher states no hashes, so theirs were recorded")
    return folder


def fetch_url(url: str, target: Path) -> None:
    """Fetch one file with a progress line; `target` appears only when it is whole. Raises ModelError."""
    part = target.with_name(target.name + ".part")
    try:
        with urllib.request.urlopen(url, timeout=20) as response, part.open("wb") as out:
            expected = int(response.headers.get("Content-Length") or 0)
            received = 0
            while block := response.read(1 << 20):
                out.write(block)
                received += len(block)
                _say(f"{target.name}: {_size(received)} of {_size(expected or None)}", replace=True)
    except (OSError, ValueError) as error:
        part.unlink(missing_ok=True)
        raise ModelError(
            f"{url} cannot be fetched: {error}",
            remedy=f"Connect to the internet, or copy the file to {target} from a machine that can reach it",
        ) from error
    if expected and received != expected:
        part.unlink(missing_ok=True)
        raise ModelError(f"{url} broke off after {_size(received)} of {_size(expected)}", remedy="Run it again")
    part.replace(target)


def verify(folder: Path) -> list[Path]:
    """Check everything below `folder` against its manifests, without network; returns the parts. Raises ModelError."""
    manifests = sorted(folder.glob(f"*/{MANIFEST}"))
    if not manifests:
        raise ModelError(f"nothing has been downloaded into {folder}", remedy="Run `python -m omni download`")
    for manifest in manifests:
        for name, expected in _read_manifest(manifest.parent)["sha256"].items():
            file = manifest.parent / name
            if not file.exists():
                raise ModelError(f"{file} is missing", remedy="Run `python -m omni download` again")
            if _sha256(file) != expected:
                raise ModelError(f"{file} is damaged: its hash has changed", remedy="Delete it and download again")
        _say(f"{manifest.parent}: whole")
    return [manifest.parent for manifest in manifests]


# ---- files


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def _is_whole(path: Path, file: RemoteFile) -> bool:
    """Exists and has the published hash (or, where there is none, the published size)."""
    if not path.exists() or (file.size is not None and path.stat().st_size != file.size):
        return False
    if file.sha256 is not None:
        return _sha256(path) == file.sha256
    if file.git_sha1 is not None:
        content = path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == file.git_sha1
    return True


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ModelError(
            f"{folder} has {_size(free)} free, {_size(needed)} are needed", remedy="Make room, or choose another --to"
        )


def _write_manifest(folder: Path, sha256: dict[str, str], *, source: str) -> None:
    (folder / MANIFEST).write_text(json.dumps({"source": source, "sha256": sha256}, indent=1))


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return {}


def _size(count: int | None) -> str:
    if count is None:
        return "unknown size"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count} bytes"


def _say(line: str, *, replace: bool = False) -> None:
    """A line on stderr; progress replaces itself on a terminal and is left out of logs."""
    if not replace:
        print(line, file=sys.stderr, flush=True)
    elif sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


# ---- command line


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """`python -m omni download`, for omni/__main__.py."""
    parser = commands.add_parser(
        "download",
        parents=[common],
        help="fetch the speech language model (LLaMA-Omni, 19 GB) from the hub",
        description="Fetch LLaMA-Omni's checkpoint, Whisper large-v3 and the unit vocoder, and verify their hashes. "
        + LICENCE,
    )
    parser.add_argument("--to", type=Path, metavar="DIR", help="where to (default: <home>/models/llama-omni)")
    parser.add_argument("--checkpoint", default=CHECKPOINT, metavar="ID", help="default: %(default)s")
    parser.add_argument("--whisper", default=WHISPER, metavar="ID", help="default: %(default)s")
    parser.add_argument("--vocoder", default=VOCODER, metavar="URL", help="folder with config.json and g_00500000")
    parser.add_argument(
        "--part",
        action="append",
        choices=["checkpoint", "whisper", "vocoder"],
        help="only this part; may be given more than once (default: all three)",
    )
    parser.add_argument("--verify", action="store_true", help="check what is there, without network")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    settings = load_settings(arguments.home)
    folder = arguments.to or settings.home / "models" / "llama-omni"
    if arguments.verify:
        parts = verify(folder)
        if arguments.json:
            print(json.dumps({"folder": str(folder), "verified": [part.name for part in parts]}))
        return 0
    _say(LICENCE)
    try:
        done = download(
            folder,
            hub=HuggingFaceHub(),
            checkpoint=arguments.checkpoint,
            whisper=arguments.whisper,
            vocoder=arguments.vocoder.rstrip("/"),
            parts=arguments.part or ("checkpoint", "whisper", "vocoder"),
        )
    except LecternError:
        raise
    except OSError as error:
        raise ModelError(f"{folder} cannot be written: {error}", remedy="Choose another --to") from error
    if arguments.json:
        print(json.dumps({"folder": str(folder), "parts": {part: str(path) for part, path in done.items()}}))
    else:
        print(f'Ready in {folder}. Start it with engine = "omni" in {settings.home / "lectern.toml"}')
    return 0
