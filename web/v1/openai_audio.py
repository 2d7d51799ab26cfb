"""/v1/audio/transcriptions and /v1/audio/speech.

`model` of a transcription may be a workspace, whose words are then expected; any other name means the configured
recogniser. `model` and OpenAI's voices mean the configured voice; `espeak` and `espeak:LANGUAGE` speak as eSpeak does.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from core.errors import UsageError
from omni.types import SpeechSynthesiser, Transcript
from web.api import MAX_RECORDING_BYTES, Lectern
from web.v1.access import visible
from web.v1.bounded import BoundedRoute
from web.v1.errors import ApiError, documented
from web.v1.openai_schemas import Lenient
from web.v1.schemas import MAX_SPOKEN
from web.v1.sound_formats import MEDIA_TYPES, check_format, encode, pcm_stream
from web.v1.speech import said, silence
from web.v1.streams import raw, server_sent, sse
from web.wiring import Assistant

router = APIRouter(prefix="/audio", tags=["openai"], route_class=BoundedRoute)

TRANSCRIPT_FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
RATES = (0.5, 2.0)  # what the voice can do; OpenAI's 0.25 to 4 is taken to the nearer end
_CONFIGURED = {  # names that mean "the voice there is"
    *("", "default", "auto", "lectern"),
    *("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse"),
}
_FORM = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "model": {"type": "string", "description": "a workspace, whose words are then expected; or any name"},
        "response_format": {"type": "string", "enum": list(TRANSCRIPT_FORMATS), "default": "json"},
        "stream": {"type": "boolean", "default": False},
        "language": {"type": "string"},
        "prompt": {"type": "string"},
        "temperature": {"type": "number"},
    },
}


class Say(Lenient):
    input: str = Field(min_length=1, max_length=MAX_SPOKEN, examples=["The notice period is eleven weeks."])
    model: str = Field("", examples=["tts-1"])
    voice: str | dict[str, Any] = Field("", examples=["alloy"])
    response_format: str | None = Field(None, description="mp3 (as with OpenAI), wav, flac, opus or pcm (24 kHz)")
    speed: float | None = Field(None, ge=0.25, le=4.0)
    stream_format: str | None = Field(None, description="audio, or sse: events speech.audio.delta and .done")


@router.post(
    "/transcriptions",
    responses=documented(413, 415, 503),
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}},
    max_body_size=MAX_RECORDING_BYTES + 2**20,
)
async def transcriptions(request: Request, assistant: Lectern) -> Response:
    """What was said in a recording; an empty text where nobody speaks."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise ApiError(
            "a transcription is asked for with a form",
            remedy="Send multipart/form-data with the fields file and model (curl -F file=@q.wav -F model=default)",
            status=415,
        )
    form = await request.form(max_files=1, max_fields=50)
    sent = form.get("file")
    if not isinstance(sent, UploadFile):
        raise ApiError("the form has no file", remedy="Send the recording as the field file", param="file")
    wanted = str(form.get("response_format") or "json")
    if wanted not in TRANSCRIPT_FORMATS:
        raise ApiError(
            f"the format {wanted!r} is not written here",
            remedy=f"Ask for one of {', '.join(TRANSCRIPT_FORMATS)}",
            param="response_format",
        )
    if "word" in form.getlist("timestamp_granularities[]") + form.getlist("timestamp_granularities"):
        raise ApiError(
            "times are known of segments, not of words",
            remedy="Ask for the granularity segment",
            param="timestamp_granularities",
        )
    recording = await sent.read()
    model = str(form.get("model") or "")
    workspace = model if model in visible(request, assistant.workspaces()) else ""
    transcript = await run_in_threadpool(transcribe, assistant, recording, workspace, sent.filename or "")
    if str(form.get("stream") or "").lower() in ("true", "1"):
        return await server_sent(request.url.path, _deltas(transcript), sse, last=sse("[DONE]"))
    return written(transcript, wanted)


@router.post(
    "/speech",
    response_class=Response,
    responses={
        200: {"content": {kind.partition(";")[0]: {} for kind in MEDIA_TYPES.values()}, "description": "Sound"},
        **documented(413, 415, 503),
    },
    max_body_size=2**20,
)
async def speech(wanted: Say, request: Request, assistant: Lectern) -> Response:
    """Speak a text. `pcm` is streamed while it is being spoken, the others come as a whole file."""
    name = wanted.response_format or "mp3"
    check_format(name)
    if not wanted.input.strip():
        raise ApiError("input is empty", remedy="Send a text", param="input")
    if wanted.stream_format not in (None, "audio", "sse"):
        raise ApiError(
            f"there is no stream format {wanted.stream_format!r}", remedy="audio or sse", param="stream_format"
        )
    voice = await run_in_threadpool(the_voice, assistant, wanted.voice)
    rate = min(max(wanted.speed or 1.0, RATES[0]), RATES[1])
    waveforms = said(assistant, wanted.input, rate=rate, voice=voice)

    def whole() -> bytes:
        from omni.audio import concatenate

        made = list(waveforms)
        return encode(concatenate(made) if made else silence(voice.sample_rate), name)

    if wanted.stream_format == "sse":
        pieces = pcm_stream(waveforms, voice.sample_rate) if name == "pcm" else iter([await run_in_threadpool(whole)])
        return await server_sent(request.url.path, _sound_events(pieces), sse)
    if name == "pcm":
        return await raw(pcm_stream(waveforms, voice.sample_rate), MEDIA_TYPES[name])
    return Response(await run_in_threadpool(whole), media_type=MEDIA_TYPES[name])


def transcribe(assistant: Assistant, recording: bytes, workspace: str, name: str) -> Transcript:
    """`workspace` "": no words are expected in particular. Raises AudioError, ModelError."""
    from omni.audio import load_audio

    waveform = load_audio(recording, name=name)
    if workspace:
        return assistant.transcribe(waveform, workspace)
    return assistant.recogniser().transcribe(waveform)


def the_voice(assistant: Assistant, asked: str | dict[str, Any]) -> SpeechSynthesiser:
    """The voice of that name. Paths and model ids are for the settings, not for callers. Raises ApiError."""
    from core.settings import SpeechSettings
    from omni.tts import load_synthesiser

    name = str(asked.get("id", "")) if isinstance(asked, dict) else asked
    if name.lower() in _CONFIGURED or name in (assistant.settings.speech.voice, "voice:auto"):
        return assistant.synthesiser()
    if name == "espeak" or name.startswith("espeak:"):
        try:
            return load_synthesiser(SpeechSettings(voice=name))
        except UsageError as error:
            raise ApiError(error.message, remedy=error.remedy, param="voice") from error
    raise ApiError(
        f"there is no voice {name!r}",
        remedy="Use default, one of OpenAI's names (which mean the same), espeak or espeak:LANGUAGE",
        param="voice",
    )


# ---- transcripts as files ---------------------------------------------------------------------------------------


def written(transcript: Transcript, wanted: str) -> Response:
    """A transcript in one of TRANSCRIPT_FORMATS."""
    text = transcript.text.strip()
    usage = {"type": "duration", "seconds": math.ceil(transcript.seconds)}
    if wanted == "text":
        return PlainTextResponse(text + "\n")
    if wanted == "srt":
        blocks = [
            f"{number}\n{_clock(part.start_s, ',')} --> {_clock(part.end_s, ',')}\n{part.text.strip()}\n"
            for number, part in enumerate(transcript.segments, start=1)
        ]
        return PlainTextResponse("\n".join(blocks), media_type="application/x-subrip; charset=utf-8")
    if wanted == "vtt":
        blocks = [
            f"{_clock(part.start_s, '.')} --> {_clock(part.end_s, '.')}\n{part.text.strip()}\n"
            for part in transcript.segments
        ]
        return PlainTextResponse("WEBVTT\n\n" + "\n".join(blocks), media_type="text/vtt; charset=utf-8")
    if wanted == "json":
        return JSONResponse({"text": text, "usage": usage})
    confidence = transcript.confidence
    segments = [
        {
            "id": number,
            "seek": 0,
            "start": round(part.start_s, 3),
            "end": round(part.end_s, 3),
            "text": part.text,
            "tokens": [],
            "temperature": 0.0,
            "avg_logprob": round(math.log(confidence), 4) if confidence > 0 else 0.0,  # of the whole recording
            "compression_ratio": _compression(part.text),
            "no_speech_prob": 0.0,  # what a voice detector has not let through is no segment
        }
        for number, part in enumerate(transcript.segments)
    ]
    duration = round(transcript.seconds, 3)
    about = {"task": "transcribe", "language": "english", "duration": duration}
    return JSONResponse({**about, "text": text, "segments": segments, "usage": usage})


def _deltas(transcript: Transcript) -> Iterator[dict[str, Any]]:
    for number, part in enumerate(transcript.segments):
        yield {"type": "transcript.text.delta", "delta": part.text if number == 0 else " " + part.text}
    yield {"type": "transcript.text.done", "text": transcript.text.strip()}


def _sound_events(pieces: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    for piece in pieces:
        if piece:
            yield {"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode("ascii")}
    yield {"type": "speech.audio.done"}


def _clock(seconds: float, point: str) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"


def _compression(text: str) -> float:
    data = text.encode()
    return round(len(data) / len(zlib.compress(data)), 4) if data else 0.0
