"""One token at a time through the language model and the speech decoder: the plain way and the way for a GPU.

A stepper holds the caches of one conversation and the state that predicts the next token:

    stepper.prefill(prompt)            # reads the prompt, reusing the cached prefix that it shares with the last one
    alignment = stepper.speak()        # this state's frames: raw unit or blank ids (1, frames)
    token = sampler(stepper.logits)
    stepper.think(token)               # feeds the token back: new state, new logits
    stepper.remember(int(token))       # once the host has read it, so that a later prompt can reuse it

`EagerStepper` works anywhere. `StaticStepper` runs both halves in fixed buffers, on CUDA as graphs: one launch instead
of some thousand, which is what a step of an 8B model otherwise waits for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from core.errors import ModelError
from omni.ctc_decoder import CTCDecoder
from omni.kv_cache import KVCache
from omni.llama import LlamaBackbone
from omni.pipeline import OmniPipeline, Prompt

_SILENCE = torch.zeros(1, 0, dtype=torch.long)


class Stepper(Protocol):
    hidden: Tensor  # (1, 1, dim): the normed state that predicts the next token
    logits: Tensor  # (1, vocab)
    reused: int  # positions of the last prompt that were found in the cache

    def prefill(self, prompt: Prompt) -> None: ...
    def speak(self) -> Tensor: ...
    def flush(self) -> Tensor: ...
    def think(self, token: Tensor) -> None: ...
    def remember(self, token: int) -> None: ...


def shared_prefix(left: tuple[int, ...], right: tuple[int, ...]) -> int:
    """Length of the common beginning."""
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return index
    return min(len(left), len(right))


class _PrefixCache:
    """The language model's cache together with the keys of what is in it."""

    def __init__(self, cache: KVCache) -> None:
        self.cache = cache
        self.keys: tuple[int, ...] = ()

    def begin(self, prompt: Prompt) -> int:
        """Crop to what `prompt` shares, always leaving its last position to compute; return how much that is."""
        reused = min(shared_prefix(self.keys, prompt.keys), len(prompt) - 1, self.cache.length)
        self.cache.crop(reused)
        self.keys = prompt.keys
        return reused


class EagerStepper:
    """Any device, any stages; caches grow as needed."""

    def __init__(self, pipeline: OmniPipeline, *, speak: bool = True) -> None:
        self.pipeline = pipeline
        self._prefix = _PrefixCache(KVCache(512))
        self._speaks = speak and pipeline.speech_decoder is not None
        self.reused = 0

    @torch.inference_mode()
    def prefill(self, prompt: Prompt) -> None:
        self.reused = self._prefix.begin(prompt)
        llm = self.pipeline.llm
        self.hidden = llm(prompt.embeds[:, self.reused :], cache=self._prefix.cache)[:, -1:]
        self.logits = llm.logits(self.hidden)[:, 0]
        if self._speaks:
            assert self.pipeline.speech_decoder is not None
            self._stream = self.pipeline.speech_decoder.streaming(1)

    @torch.inference_mode()
    def think(self, token: Tensor) -> None:
        llm = self.pipeline.llm
        self.hidden = llm(llm.embed(token[None]), cache=self._prefix.cache)
        self.logits = llm.logits(self.hidden)[:, 0]

    def remember(self, token: int) -> None:
        self._prefix.keys += (token,)

    @torch.inference_mode()
    def speak(self) -> Tensor:
        return self._stream.align(self.hidden) if self._speaks else _SILENCE

    @torch.inference_mode()
    def flush(self) -> Tensor:
        """The frames that a decoder with lookahead still holds back at the end."""
        return self._stream.align(None, last=True) if self._speaks else _SILENCE


class GraphedCall:
    """A function over fixed buffers, replayed as a CUDA graph where `capture` is on, called where it is off.

    `reset` puts counters that the function advances back to their start; it runs before every rehearsal. Graphs of one
    `pool` share their scratch memory, which is safe as long as they run one after the other and return nothing.
    """

    def __init__(
        self, function: Callable[[], None], *, capture: bool, reset: Callable[[], None], pool: Any = None
    ) -> None:
        self._function = function
        self._graph: torch.cuda.CUDAGraph | None = None
        if capture:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):  # rehearsals: lazy initialisation must not be captured
                for _ in range(3):
                    reset()
                    function()
                reset()
            torch.cuda.current_stream().wait_stream(stream)
            self._graph = torch.cuda.CUDAGraph()
            # thread_local: another thread (the vocoder, an embedder) may use the GPU meanwhile.
            with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
                function()

    def __call__(self) -> None:
        if self._graph is not None:
            self._graph.replay()
        else:
            self._function()


class StaticStepper:
    """Fixed buffers for up to `capacity` positions (prompt and reply) and `max_new_tokens` spoken tokens.

    Attention reads only the first `window` positions of a buffer, the smallest power of two that holds what is there,
    with one graph per window. Needs our Llama and CTC decoder (no lookahead); ModelError for other stages. Not for
    two conversations at once.
    """

    def __init__(
        self,
        pipeline: OmniPipeline,
        *,
        capacity: int,
        max_new_tokens: int,
        speak: bool = True,
        graphs: bool | None = None,
        smallest_window: int = 512,
    ) -> None:
        llm, decoder = pipeline.llm, pipeline.speech_decoder
        if not isinstance(llm, LlamaBackbone) or not isinstance(decoder, CTCDecoder) or decoder.config.lookahead:
            raise ModelError(
                "static decoding needs LlamaBackbone and a CTCDecoder without lookahead", remedy="Turn it off"
            )
        self.pipeline, self.llm, self.decoder = pipeline, llm, decoder
        capacity, frames = _aligned(capacity), _aligned(max_new_tokens * decoder.upsample)
        self.capacity, self.max_new_tokens = capacity, max_new_tokens
        device, self._speaks = llm.device, speak
        self._capture = device.type == "cuda" if graphs is None else graphs
        self._prefix = _PrefixCache(KVCache(capacity, static=True))
        self._frames = KVCache(frames, static=True)
        self.reused, self._spoken = 0, 0
        with torch.inference_mode():
            self._token = torch.zeros(1, 1, dtype=torch.long, device=device)
            self._position = torch.zeros(1, dtype=torch.long, device=device)
            self._frame_positions = torch.arange(decoder.upsample, device=device)
            self.hidden = torch.zeros(1, 1, llm.dim, dtype=llm.dtype, device=device)
            self.logits = torch.zeros(1, llm.vocab_size, dtype=llm.dtype, device=device)
            self._alignment = torch.zeros(1, decoder.upsample, dtype=torch.long, device=device)
            pool = torch.cuda.graph_pool_handle() if self._capture else None
            self._think = {
                w: GraphedCall(partial(self._think_body, w), capture=self._capture, reset=self._rewind, pool=pool)
                for w in _windows(smallest_window, capacity)
            }
            self._speak = {
                w: GraphedCall(partial(self._speak_body, w), capture=self._capture, reset=self._rewind, pool=pool)
                for w in _windows(smallest_window, self._frames.capacity)
                if speak
            }

    def _rewind(self) -> None:
        self._position.zero_()
        self._frame_positions.copy_(torch.arange(self.decoder.upsample))

    def _think_body(self, window: int) -> None:
        cache = self._prefix.cache
        self.hidden.copy_(self.llm.static_forward(self.llm.embed(self._token), self._position, cache, window))
        self.logits.copy_(self.llm.logits(self.hidden)[:, 0])
        self._position += 1

    def _speak_body(self, window: int) -> None:
        decoder = self.decoder
        states = decoder.layers.static_run(
            decoder.embed(self.hidden), self._frame_positions, self._frames, window, repeat=decoder.upsample
        )
        self._alignment.copy_(decoder.output_proj(decoder.norm(states)).argmax(-1))
        self._frame_positions += decoder.upsample

    @torch.inference_mode()
    def prefill(self, prompt: Prompt) -> None:
        if len(prompt) + self.max_new_tokens > self.capacity:
            raise ModelError(
                f"a prompt of {len(prompt)} positions and {self.max_new_tokens} new tokens exceed the {self.capacity} "
                "positions reserved",
                remedy="Raise omni.static_positions, or shorten the context",
            )
        self.reused = self._prefix.begin(prompt)
        hidden = self.llm(prompt.embeds[:, self.reused :], cache=self._prefix.cache)[:, -1:]
        self.hidden.copy_(hidden)
        self.logits.copy_(self.llm.logits(hidden)[:, 0])
        self._rewind()
        self._position.fill_(len(prompt))
        self._spoken = 0

    @torch.inference_mode()
    def think(self, token: Tensor) -> None:
        cache = self._prefix.cache
        self._token.copy_(token[None])
        self._think[_window(self._think, cache.length + 1)]()
        cache.advance(1)

    def remember(self, token: int) -> None:
        self._prefix.keys += (token,)

    def flush(self) -> Tensor:
        return _SILENCE

    @torch.inference_mode()
    def speak(self) -> Tensor:
        if not self._speaks:
            return _SILENCE
        self._spoken += 1
        self._speak[_window(self._speak, self._spoken * self.decoder.upsample)]()
        return self._alignment


def _aligned(positions: int) -> int:
    """Rounded up: fused attention wants masks whose rows are aligned."""
    return -(-positions // 64) * 64


def _windows(smallest: int, capacity: int) -> list[int]:
    sizes = []
    while smallest < capacity:
        sizes.append(smallest)
        smallest *= 2
    return [*sizes, capacity]


def _window(graphs: dict[int, GraphedCall], needed: int) -> int:
    return min(size for size in graphs if size >= needed)
