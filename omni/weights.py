"""Reading weights from files other people made: sharded or single, safetensors or torch, whole or broken.

    weights = open_weights(folder_or_file)
    load_into(module, weights, rename=lambda name: "model." + name, dtype=torch.bfloat16, device=device)

Everything that can be wrong with such files (a missing shard, a truncated file, a tensor absent or of another shape)
becomes one ModelError that names the file and the tensor. Torch pickles are read with `weights_only=True`: no code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import ModelError

_REDO = "Download the file again; `python -m omni download` verifies what it fetches"


class Weights:
    """Named tensors spread over one or several files, read one at a time."""

    def __init__(self, origin: Path, file_of: Mapping[str, Path]) -> None:
        self.origin = origin  # what the user pointed at
        self.metadata: dict[str, Any] = {}  # what the file says beside its tensors
        self._file_of = dict(file_of)
        self._open: dict[Path, Any] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._file_of

    @property
    def names(self) -> Iterable[str]:
        return self._file_of.keys()

    def file_of(self, name: str) -> Path:
        """Where a tensor stands; the origin for one that is nowhere."""
        return self._file_of.get(name, self.origin)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.get(name).shape)

    def get(self, name: str) -> Tensor:
        """The tensor, on the CPU, as stored. Raises ModelError."""
        if name not in self._file_of:
            raise ModelError(f"tensor {name} is missing from {self.origin}", remedy=_REDO)
        file = self._file_of[name]
        if file not in self._open:
            self._open[file] = _open_file(file, tensor=name)
        tensors = self._open[file]
        try:
            return tensors.get_tensor(name) if hasattr(tensors, "get_tensor") else tensors[name]
        except Exception as error:  # safetensors and dicts each have their own
            raise ModelError(f"tensor {name} cannot be read from {file}: {_first_line(error)}", remedy=_REDO) from error


def open_weights(path: Path, *, inside: str = "") -> Weights:
    """Weights of a checkpoint folder or a single file (.safetensors, or a torch pickle by any other name).

    `inside`: key of the sub-dictionary that holds the tensors in a torch pickle ("generator", "model_state_dict");
    the other entries become `metadata`.
    """
    if path.is_dir():
        for index, single in (
            ("model.safetensors.index.json", "model.safetensors"),
            ("pytorch_model.bin.index.json", "pytorch_model.bin"),
        ):
            if (path / index).exists():
                return _sharded(path / index)
            if (path / single).exists():
                return open_weights(path / single)
        raise ModelError(
            f"{path} holds no weights (no model.safetensors or pytorch_model.bin, whole or sharded)",
            remedy="Point to the folder that holds them, or run `python -m omni download`",
        )
    if not path.exists():
        raise ModelError(f"{path} does not exist", remedy="Check the path, or run `python -m omni download`")
    content = _open_file(path)
    if hasattr(content, "get_tensor"):
        weights = Weights(path, dict.fromkeys(content.keys(), path))
        weights.metadata = dict(content.metadata() or {})
        weights._open[path] = content
        return weights
    metadata = {}
    if inside and inside in content:
        metadata = {key: value for key, value in content.items() if key != inside}
        content = content[inside]
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ModelError(f"{path} holds no tensors", remedy="Check that it is the weights file of this model")
    weights = Weights(path, dict.fromkeys(tensors, path))
    weights.metadata = metadata
    weights._open[path] = tensors
    return weights


def _sharded(index: Path) -> Weights:
    try:
        weight_map = json.loads(index.read_text())["weight_map"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{index} is no index of shards: {_first_line(error)}", remedy=_REDO) from error
    file_of = {name: index.parent / shard for name, shard in weight_map.items()}
    for name, file in file_of.items():
        if not file.exists():
            raise ModelError(f"shard {file.name} of {index.parent} is missing; tensor {name} is in it", remedy=_REDO)
    return Weights(index.parent, file_of)


def _open_file(file: Path, tensor: str = "") -> Any:
    """A safetensors handle or a dictionary of tensors."""
    wanted = f" (wanted: tensor {tensor})" if tensor else ""
    try:
        if file.suffix == ".safetensors":
            from safetensors import safe_open

            return safe_open(file, framework="pt")
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=_is_zip(file))
    except Exception as error:
        raise ModelError(f"{file} cannot be read{wanted}: {_first_line(error)}", remedy=_REDO) from error
    if not isinstance(content, dict):
        raise ModelError(f"{file} holds a {type(content).__name__}, not named tensors{wanted}", remedy=_REDO)
    return content


def _is_zip(file: Path) -> bool:
    """Only torch's zip format can be memory-mapped; fairseq's older pickles cannot."""
    with file.open("rb") as handle:
        return handle.read(2) == b"PK"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def load_into(
    module: nn.Module,
    weights: Weights,
    *,
    rename: Callable[[str], str] = str,
    dtype: torch.dtype,
    device: torch.device,
    optional: Callable[[str], bool] = lambda name: False,
) -> None:
    """Fill every parameter of `module` with the tensor `rename(its name)`; floats become `dtype`.

    Replaces the parameters, so `module` may have been built on the meta device. Raises ModelError where a tensor is
    missing (unless `optional(name)`) or has another shape than the configuration asks for.
    """
    for name, parameter in list(module.named_parameters()):
        source = rename(name)
        if source not in weights and optional(name):
            continue
        tensor = weights.get(source)
        if tensor.shape != parameter.shape:
            raise ModelError(
                f"tensor {source} in {weights.file_of(source)} has shape {tuple(tensor.shape)}, "
                f"but the configuration asks for {tuple(parameter.shape)}",
                remedy="Use the config.json and the weights of the same model",
            )
        owner_name, _, leaf = name.rpartition(".")
        owner = module.get_submodule(owner_name)
        # A copy, never a view: a memory-mapped file must not be held open or written through.
        value = torch.empty(tensor.shape, dtype=dtype, device=device).copy_(tensor)
        owner.register_parameter(leaf, nn.Parameter(value, requires_grad=parameter.requires_grad))
