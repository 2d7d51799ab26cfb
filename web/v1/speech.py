"""Recordings to text, with the words of the documents expected; text to sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from core.errors import AudioError
from omni.types import Transcript, Waveform
from rag.types import Answer, AnswerEvent, Citation
from web.api import MAX_RECORDING_BYTES, Lectern
from web.v1.bounded import BoundedRoute
from web.v1.errors import ApiError, documented
from web.v1.schemas import Speak, TranscriptOut, WorkspaceName
from web.v1.streams import raw
from web.wiring import Assistant

router = APIRouter(prefix="/workspaces/{workspace}", tags=["speech"], route_class=BoundedRoute)

_SOUND = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "schema": {"type": "object", "required": ["file"], "properties": {"file": {"type": "string", "format": "binary"}}}
}


@router.post(
    "/transcribe",
    response_model=TranscriptOut,
    responses=documented(404, 413, 415, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"audio/wav": _SOUND, "application/octet-stream": _SOUND, "multipart/form-data": _FORM},
        }
    },
    max_body_size=MAX_RECORDING_BYTES + 2**20,
)
async def transcribe(workspace: WorkspaceName, request: Request, assistant: Lectern) -> TranscriptOut:
    """What was said in a recording: the file as the body, or as the field `file` of a form.

    WAV, FLAC, OGG, MP3, M4A and WebM are read. The words of the workspace's documents are expected.
    """
    await run_in_threadpool(assistant.workspace, workspace)
    recording = await recording_of(request)

    def hear() -> Transcript:
        from omni.audio import load_audio

        transcript = assistant.transcribe(load_audio(recording), workspace)
        if not transcript.text.strip():
            raise AudioError("nothing was understood", remedy="Speak closer to the microphone, or type your question")
        return transcript

    transcript = await run_in_threadpool(hear)
    return TranscriptOut(
        text=transcript.text.strip(),
        seconds=round(transcript.seconds, 2),
        confidence=round(transcript.confidence, 4),
        segments=[
            {"start_s": round(part.start_s, 2), "end_s": round(part.end_s, 2), "text": part.text}
            for part in transcript.segments
        ],
    )


@router.post(
    "/speak",
    response_class=Response,
    responses={
        200: {"content": {"audio/wav": _SOUND, "audio/pcm": _SOUND}, "description": "Sound"},
        **documented(404, 413, 415, 503),
    },
    max_body_size=2**20,
)
async def speak(workspace: WorkspaceName, spoken: Speak, request: Request, assistant: Lectern) -> Response:
    """Speak a text: WAV, or a stream of PCM that begins before the text has been spoken to its end.

    Numbers, dates and abbreviations are said as words; `Sample-Rate` of the answer says Hz.
    """
    await run_in_threadpool(assistant.workspace, workspace)
    citations = [cited(citation) for citation in spoken.citations]
    voice = await run_in_threadpool(assistant.synthesiser)
    waveforms = said(assistant, spoken.text, citations=citations, rate=spoken.rate)
    rate = voice.sample_rate
    if spoken.format == "pcm":
        pieces = (pcm16(waveform) for waveform in waveforms)
        media_type = f"audio/pcm;rate={rate};encoding=signed-int;bits=16;channels=1"
        return await raw(pieces, media_type, **{"Sample-Rate": str(rate)})

    def whole() -> bytes:
        from omni.audio import concatenate, wav_bytes

        made = list(waveforms)
        return wav_bytes(concatenate(made) if made else silence(rate))

    sound = await run_in_threadpool(whole)
    return Response(sound, media_type="audio/wav", headers={"Cache-Control": "no-store", "Sample-Rate": str(rate)})


def said(
    assistant: Assistant, text: str, *, citations: Sequence[Citation] = (), rate: float = 1.0, voice: Any = None
) -> Iterator[Waveform]:
    """The sound of a written text, sentence by sentence; `voice`: a SpeechSynthesiser other than the configured one."""
    from omni.cascade import speak_answer

    answer = Answer("", text, False, tuple(citations), (), "")
    synthesiser = voice if voice is not None else assistant.synthesiser()
    for event in speak_answer(iter([AnswerEvent(answer=answer)]), synthesiser, rate=rate):
        if event.waveform is not None:
            yield event.waveform


def cited(citation: dict[str, Any]) -> Citation:
    """What speech needs of a citation. Raises ApiError."""
    try:
        number, page = int(citation["n"]), int(citation["page"])
        document = str(citation["document"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ApiError(
            "a citation needs n, document and page",
            remedy="Pass the citations of an answer as they are",
            status=422,
            param="citations",
        ) from error
    return Citation(n=number, document=document, page=page, quote="", start=0, end=0)


def pcm16(waveform: Waveform) -> bytes:
    """16-bit little-endian mono PCM."""
    from omni.audio import to_pcm16

    return to_pcm16(waveform).astype("<i2").tobytes()


def silence(sample_rate: int) -> Waveform:
    """What a text without words sounds like: 0.1 s."""
    import numpy as np

    return Waveform(np.zeros(sample_rate // 10, np.float32), sample_rate)


async def recording_of(request: Request) -> bytes:
    """The sound file that a request brings, as its body or in a form. Raises ApiError, AudioError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        form = await request.form(max_files=1)
        sent = form.get("file")
        if not isinstance(sent, UploadFile):
            raise ApiError("the form has no file", remedy="Send the recording as the field file", param="file")
        recording = await sent.read()
    elif kind == "application/json":
        raise ApiError(
            f"{kind} is no recording",
            remedy="Send the sound file as the body (curl --data-binary @q.wav)",
            status=415,
        )
    else:
        recording = await request.body()
    if len(recording) > MAX_RECORDING_BYTES:
        raise ApiError("the recording is too long", remedy="Send it in parts of half an hour", status=413)
    if not recording:
        raise AudioError("the recording is empty (0 bytes)", remedy="Record again, or copy the file again")
    return recording
