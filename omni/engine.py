"""The speech language model as the assistant uses it: asked aloud, it looks into the documents and answers aloud.

    engine = load_engine(settings)                             # engine = "omni" in lectern.toml
    for event in answer_aloud(engine, waveform, answers):      # answers: a workspace's rag.answer.AnswerEngine
        ...                                     # the cascade's SpeechEvents: transcript, text, waveform, answer, ...

The same object is a `TextGenerator` for rag, a `SpeechSynthesiser` and (with a whole Whisper) a `SpeechRecogniser`, so
it can also stand in for one part of the cascade. One reply at a time: a second caller waits for the first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import torch

from core.errors import ModelError
from core.runtime import resolve_device, resolve_dtype
from core.settings import OmniSettings, Settings
from ingest.types import Box
from omni.audio import resample
from omni.cascade import SpeechEvent, require_speech
from omni.download import LICENCE
from omni.generate import GenerationOptions, decode
from omni.llama import MemoryReader
from omni.pipeline import HeardSpeech, OmniPipeline, Prompt
from omni.prompt import INSTRUCTION, SPEECH, Context, fit_context, format_prompt, plain
from omni.sampling import SamplingOptions
from omni.steppers import EagerStepper, StaticStepper, Stepper
from omni.streaming import ReplyOptions, TextStream, reply
from omni.teacher_forcing import speak_text
from omni.types import SpeechRecogniser, Transcript, Waveform
from omni.whisper_text import WhisperText
from rag.citations import CitationWriter, is_refusal
from rag.types import Answer, Citation, Hit


class OmniEngine:
    """A pipeline with its settings, its caches and its lock."""

    def __init__(
        self, pipeline: OmniPipeline, settings: OmniSettings | None = None, *, transcriber: WhisperText | None = None
    ) -> None:
        self.pipeline = pipeline
        self.settings = settings or OmniSettings()
        self.transcriber = transcriber
        self.name = f"omni:{pipeline.name}"
        self.licence = pipeline.licence
        self._lock = threading.Lock()
        self._stepper: Stepper | None = None
        self._stepper_of: OmniPipeline | None = None

    @property
    def sample_rate(self) -> int:
        return self.pipeline.vocoder.sample_rate if self.pipeline.vocoder is not None else 16_000

    def replace(self, **stages: object) -> None:
        """Exchange stages while running (sizes are checked); the next reply uses them."""
        replaced = self.pipeline.replace(**stages)
        with self._lock:
            self.pipeline = replaced

    def attach_memory(self, memory: MemoryReader | None, *, layer: int) -> None:
        """Let an external memory enrich the language model's states after `layer`; None detaches it."""
        with self._lock:
            self.pipeline.llm.attach_memory(memory, layer=layer)  # type: ignore[attr-defined]
            self._stepper = None  # what it has cached or captured knows nothing of the memory

    def warm_up(self) -> None:
        """Run every stage once, so that the first question does not wait for kernels and graphs."""
        silence = Waveform(torch.zeros(16_000).numpy(), 16_000)
        for event in self.converse(silence, max_new_tokens=4):
            del event

    # ---- the whole path

    def converse(
        self,
        question: Waveform | str,
        *,
        search: Callable[[str], Sequence[Hit]] | None = None,
        history: Sequence[tuple[str, str]] = (),
        recogniser: SpeechRecogniser | None = None,
        vocabulary: Sequence[str] = (),
        boxes: Callable[[str, int, int, int], Sequence[Box]] | None = None,
        rate: float = 1.0,
        speak: bool = True,
        cancel: threading.Event | None = None,
        max_new_tokens: int | None = None,
    ) -> Iterator[SpeechEvent]:
        """Answer a spoken or written question, text and sound together.

        Events: transcript (if spoken and something can transcribe), then text, citation and waveform as they ripen,
        answer, done. `search`: question -> hits, best first; without it, or without a transcript, the model answers
        from what it knows. `recogniser`: hears the question for retrieval where the pipeline has no Whisper decoder.
        `history`: (role, text) turns; the oldest are dropped when the prompt gets too long. Raises ModelError,
        AudioError.
        """
        started = time.perf_counter()
        timings: dict[str, float] = {}

        def mark(name: str) -> None:
            timings.setdefault(name, (time.perf_counter() - started) * 1000)

        cancel = cancel or threading.Event()
        speech, words = None, question if isinstance(question, str) else ""
        if isinstance(question, Waveform):
            question = self._at_our_rate(question)
            speech = self.pipeline.hear(question, real_length=self.settings.real_length)
            transcript = self._transcript(speech, question, recogniser, vocabulary)
            mark("transcribe")
            if transcript is not None:
                words = transcript.text
                yield SpeechEvent(transcript=transcript)
        hits = list(search(words))[: self.settings.passages] if search is not None and words.strip() else []
        mark("search")
        context = self._context(hits)
        writer = CitationWriter(context.passages, boxes=boxes)
        text, citations = "", []
        options = self._options(rate=rate, speak=speak, max_new_tokens=max_new_tokens)

        def written(pieces: Iterator[tuple[str, Citation | None]]) -> Iterator[SpeechEvent]:
            nonlocal text
            for piece, citation in pieces:
                text += piece
                if citation is not None:
                    citations.append(citation)
                    yield SpeechEvent(citation=citation)
                if piece:
                    mark("first_text")
                    yield SpeechEvent(text=piece)

        with self._lock:
            prompt = self._prompt(speech, words, context, history, options.generation.max_new_tokens)
            mark("prompt")
            events = reply(self.pipeline, prompt, options=options, stepper=self._get_stepper(), stop=cancel)
            with closing(events):  # type: ignore[type-var]
                for event in events:
                    if event.text:
                        yield from written(writer.feed(event.text))
                    if event.waveform is not None:
                        mark("first_audio")
                        yield SpeechEvent(waveform=event.waveform)
        yield from written(writer.finish())
        mark("total")
        refused = is_refusal(text) and not any(citation.verified for citation in citations)
        answer = Answer(words, text, refused, tuple(citations), tuple(hits), self.name, timings_ms=timings)
        yield SpeechEvent(answer=answer)
        yield SpeechEvent(done=True, timings_ms=timings)

    # ---- rag's TextGenerator

    def generate(self, system: str, messages: Sequence[tuple[str, str]]) -> Iterator[str]:
        """Stream a written reply to (role, text) messages; nothing is spoken."""
        turns = [(role, plain(text)) for role, text in messages]
        with self._lock:
            prompt = self.pipeline.prompt(format_prompt(turns, system=plain(system)))
            options = self._options(speak=False).generation
            self._check_length(len(prompt), options.max_new_tokens)
            words = TextStream(self.pipeline.tokenizer)
            with closing(decode(self.pipeline, prompt, options=options, stepper=self._get_stepper())) as steps:  # type: ignore[type-var]
                for step in steps:
                    if piece := words.push(step.token):
                        yield piece
            if rest := words.finish():
                yield rest

    # ---- SpeechSynthesiser and SpeechRecogniser

    def stream(self, text: str, *, rate: float = 1.0) -> Iterator[Waveform]:
        """Speak a given text in the model's voice (teacher forcing)."""
        if not text.strip():
            return
        with self._lock:
            yield from speak_text(self.pipeline, text, chunk_mode=self.settings.chunk_mode, rate=rate)

    def transcribe(self, waveform: Waveform, *, vocabulary: Sequence[str] = ()) -> Transcript:
        """Whisper's transcript. Raises ModelError where only Whisper's encoder is there."""
        if self.transcriber is None:
            raise ModelError(
                "this speech model has no Whisper decoder, so it cannot write a transcript",
                remedy="Set omni.whisper to a whole Whisper folder, or keep speech.recogniser",
            )
        return self.transcriber.transcribe(self.pipeline.hear(self._at_our_rate(waveform)))

    # ---- parts

    def _transcript(
        self,
        speech: HeardSpeech,
        waveform: Waveform,
        recogniser: SpeechRecogniser | None,
        vocabulary: Sequence[str],
    ) -> Transcript | None:
        if self.transcriber is not None:
            return self.transcriber.transcribe(speech)  # the states are there: no second pass
        if recogniser is None:
            return None
        transcript = recogniser.transcribe(waveform, vocabulary=vocabulary)
        require_speech(transcript, "the recording")
        return transcript

    def _at_our_rate(self, waveform: Waveform) -> Waveform:
        rate = self.pipeline.front_end.sample_rate
        return waveform if waveform.sample_rate == rate else resample(waveform, rate)

    def _context(self, hits: Sequence[Hit]) -> Context:
        if not hits or not self.settings.context_tokens:
            return Context()
        tokenizer = self.pipeline.tokenizer
        return fit_context(
            hits, budget_tokens=self.settings.context_tokens, count_tokens=lambda text: len(tokenizer(text).input_ids)
        )

    def _prompt(
        self,
        speech: HeardSpeech | None,
        words: str,
        context: Context,
        history: Sequence[tuple[str, str]],
        max_new_tokens: int,
    ) -> Prompt:
        """The prompt, with as many of the latest turns as there is room for."""
        asked = f"{SPEECH}\n{INSTRUCTION}" if speech is not None else plain(words)
        turns = [(role, plain(text)) for role, text in history if role in ("user", "assistant") and text.strip()]
        speeches = [speech] if speech is not None else []
        while True:
            prompt = self.pipeline.prompt(format_prompt([*turns, ("user", asked)], context=context.text), speeches)
            if len(prompt) + max_new_tokens <= self._room or not turns:
                self._check_length(len(prompt), max_new_tokens)
                return prompt
            turns = turns[1:]

    @property
    def _room(self) -> int:
        """Positions that prompt and reply may take together."""
        return min(self.pipeline.max_positions, self.settings.static_positions if self._static else 1 << 30)

    def _check_length(self, prompt: int, max_new_tokens: int) -> None:
        if prompt + max_new_tokens > self._room:
            raise ModelError(
                f"the question and its context take {prompt} positions; with {max_new_tokens} for the reply that is "
                f"more than {self._room}",
                remedy="Lower omni.context_tokens or raise omni.static_positions",
            )

    @property
    def _static(self) -> bool:
        choice = self.settings.static_decoding
        return choice == "on" or (choice == "auto" and self.pipeline.llm.device.type == "cuda")

    def _get_stepper(self) -> Stepper:
        """The stepper of the present pipeline, with the prefix of the last prompt in its cache."""
        if self._stepper is None or self._stepper_of is not self.pipeline:
            if self._static and self.pipeline.speech_decoder is not None:
                self._stepper = StaticStepper(
                    self.pipeline,
                    capacity=self.settings.static_positions,
                    max_new_tokens=self.settings.max_new_tokens,
                )
            else:
                self._stepper = EagerStepper(self.pipeline)
            self._stepper_of = self.pipeline
        return self._stepper

    def _options(self, *, rate: float = 1.0, speak: bool = True, max_new_tokens: int | None = None) -> ReplyOptions:
        s = self.settings
        sampling = SamplingOptions(s.temperature, s.top_k, s.top_p, s.repetition_penalty)
        limit = min(max_new_tokens or s.max_new_tokens, s.max_new_tokens)
        speak = speak and self.pipeline.speech_decoder is not None
        generation = GenerationOptions(max_new_tokens=limit, sampling=sampling, speak=speak)
        return ReplyOptions(generation, omega=s.omega, chunk_mode=s.chunk_mode, rate=rate)


class DocumentSearch(Protocol):
    """What `answer_aloud` needs of an answer engine: rag.answer.AnswerEngine is one."""

    @property
    def workspace(self) -> Any: ...
    def search(self, question: str, top_k: int = 10) -> tuple[list[Hit], dict[str, float]]: ...


def answer_aloud(
    engine: OmniEngine,
    question: Waveform | str,
    answers: DocumentSearch,
    *,
    history: Sequence[tuple[str, str]] = (),
    recogniser: SpeechRecogniser | None = None,
    vocabulary: Sequence[str] = (),
    rate: float = 1.0,
    speak: bool = True,
    cancel: threading.Event | None = None,
) -> Iterator[SpeechEvent]:
    """Answer from one workspace's documents: `converse` over the search of its answer engine, boxes included."""
    return engine.converse(
        question,
        search=lambda words: answers.search(words, engine.settings.passages)[0],
        boxes=answers.workspace.boxes,
        history=history,
        recogniser=recogniser,
        vocabulary=vocabulary,
        rate=rate,
        speak=speak,
        cancel=cancel,
    )


def model_folder(settings: Settings) -> Path:
    """Where `python -m omni download` puts the three parts and `load_engine` looks for them."""
    return settings.home / "models" / "llama-omni"


def load_engine(settings: Settings) -> OmniEngine:
    """The engine that `settings.omni` describes. Raises ModelError naming the file that is missing or wrong."""
    from omni.checkpoint import load_pipeline
    from omni.whisper_encoder import open_whisper
    from omni.whisper_text import load_transcriber

    omni, home = settings.omni, model_folder(settings)
    checkpoint = Path(omni.checkpoint).expanduser() if omni.checkpoint else home / "checkpoint"
    if not (checkpoint / "config.json").exists():
        raise ModelError(
            f"no speech language model in {checkpoint}",
            remedy='Run `python -m omni download`, set omni.checkpoint, or set engine = "cascade"',
        )
    device = resolve_device(settings.device)
    dtype = resolve_dtype({"auto": "bfloat16" if device.type == "cuda" else "float32"}.get(omni.dtype, omni.dtype))
    whisper = Path(omni.whisper).expanduser() if omni.whisper else home / "whisper"
    vocoder = Path(omni.vocoder).expanduser() if omni.vocoder else home / "vocoder"
    has_whisper = whisper.exists() or bool(omni.whisper)
    pipeline = load_pipeline(
        checkpoint,
        whisper=whisper if has_whisper else None,
        vocoder=vocoder,
        tokenizer=Path(omni.tokenizer).expanduser() if omni.tokenizer else None,
        device=device,
        dtype=dtype,
        adapter=omni.adapter,
    )
    transcriber = None
    if has_whisper:
        source = open_whisper(whisper)
        if source.folder is not None and source.rename("decoder.embed_tokens.weight") in source.weights:
            transcriber = load_transcriber(source, dtype=dtype, device=device)
    pipeline = pipeline.replace(licence=LICENCE)
    return OmniEngine(pipeline, omni, transcriber=transcriber)
