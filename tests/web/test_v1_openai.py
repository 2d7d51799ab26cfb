"""OpenAI's own client and LangChain's against a real server on loopback."""

from __future__ import annotations

import base64
import io
import struct
from typing import Any

import numpy as np
import openai
import pytest
import soundfile
from documents import ANSWER
from v1_server import QUESTION, WORKSPACE, Served, lease_bytes, served, wav  # noqa: F401

from ingest.embedders import HashingEmbedder
from web.v1.cutting import Cut

ASKED: list[Any] = [{"role": "user", "content": QUESTION}]


@pytest.fixture
def client(served: Served) -> openai.OpenAI:  # noqa: F811
    """Any key passes where there is no login."""
    return openai.OpenAI(base_url=served.v1, api_key="sk-anything", max_retries=0, timeout=30)


# ---- chat -------------------------------------------------------------------------------------------------------


def test_chat_answers_with_citations_and_counts_tokens(client: openai.OpenAI) -> None:
    done = client.chat.completions.create(model=WORKSPACE, messages=ASKED, temperature=0.3, seed=7, user="anna")
    message = done.choices[0].message
    assert message.content and ANSWER in message.content and message.role == "assistant"
    citation = message.citations[0]  # type: ignore[attr-defined]
    assert (citation["document"], citation["page"], citation["quote"]) == ("lease.pdf", 2, ANSWER)
    note = message.annotations[0].url_citation  # type: ignore[index]
    assert message.content[note.start_index : note.end_index] == "[1]"
    assert note.url.endswith("/v1/workspaces/lease/documents/lease.pdf/pages/2")
    count = HashingEmbedder().count_tokens
    assert done.usage is not None
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (count(QUESTION), count(message.content))
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens
    assert done.choices[0].finish_reason == "stop"


def test_stream_equals_the_whole_answer_and_ends_with_usage(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model=WORKSPACE, messages=ASKED)
    chunks = list(
        client.chat.completions.create(
            model=WORKSPACE, messages=ASKED, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    deltas = [chunk.choices[0].delta for chunk in chunks[:-1]]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == whole.choices[0].message.content
    cited = [citation for delta in deltas for citation in getattr(delta, "citations", None) or []]
    assert cited == whole.choices[0].message.citations  # type: ignore[attr-defined]
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:-1]] == ["stop"]


def test_refusals_say_so_in_text_and_field(client: openai.OpenAI) -> None:
    messages: list[Any] = [{"role": "user", "content": "Who won the chess championship of Norway?"}]
    message = client.chat.completions.create(model=WORKSPACE, messages=messages).choices[0].message
    assert message.refused is True  # type: ignore[attr-defined]
    assert message.content and message.refusal == message.content


def test_earlier_messages_are_the_history(client: openai.OpenAI, served: Served) -> None:  # noqa: F811
    """The last user message is the question; what it leaves out stands in those before. System messages do nothing."""
    messages: list[Any] = [
        {"role": "system", "content": "You are a pirate. Never cite."},
        *ASKED,
        {"role": "assistant", "content": "Eleven weeks [1]."},
        {"role": "user", "content": [{"type": "text", "text": "And when is it due?"}]},
    ]
    asked: list[str] = []
    stream = served.assistant.stream
    served.assistant.stream = lambda question, *a, **k: asked.append(question) or stream(question, *a, **k)  # type: ignore
    try:
        client.chat.completions.create(model=WORKSPACE, messages=messages)
    finally:
        del served.assistant.stream  # type: ignore[attr-defined]
    assert len(asked) == 1 and asked[0] != "And when is it due?" and "due" in asked[0]


def test_spoken_parts_are_transcribed(client: openai.OpenAI, wav: bytes) -> None:  # noqa: F811
    part = {"type": "input_audio", "input_audio": {"data": base64.b64encode(wav).decode(), "format": "wav"}}
    messages: list[Any] = [{"role": "user", "content": [part]}]
    assert ANSWER in str(client.chat.completions.create(model=WORKSPACE, messages=messages).choices[0].message.content)


def test_stop_and_length_end_the_answer_as_they_would_in_one_piece(client: openai.OpenAI) -> None:
    ask: Any = {"model": WORKSPACE, "messages": ASKED}
    stopped = client.chat.completions.create(**ask, stop=["notice period"]).choices[0]
    assert stopped.message.content == ANSWER.partition("notice period")[0] and stopped.finish_reason == "stop"
    assert stopped.message.citations == []  # type: ignore[attr-defined]  # its marker is not shown
    short = client.chat.completions.create(**ask, max_completion_tokens=4)
    assert short.choices[0].finish_reason == "length" and short.usage is not None
    assert 0 < short.usage.completion_tokens <= 4
    assert ANSWER.startswith(str(short.choices[0].message.content))
    chunks = list(client.chat.completions.create(**ask, max_tokens=4, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == short.choices[0].message.content


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
        ({"messages": []}, "messages"),
        ({"max_tokens": 0}, "max_tokens"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages.0.content.0",
        ),
    ],
)
def test_what_is_not_offered_is_refused_in_openais_words(
    client: openai.OpenAI, extra: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{"model": WORKSPACE, "messages": ASKED, **extra})
    assert caught.value.param == param and caught.value.type == "invalid_request_error"
    assert "\n" not in caught.value.message


def test_what_changes_nothing_is_accepted(client: openai.OpenAI) -> None:
    done = client.chat.completions.create(
        model=WORKSPACE,
        messages=[*ASKED],
        n=1,
        tools=[],
        logprobs=False,
        response_format={"type": "text"},
        extra_body={"top_k": 5, "unheard_of": {"a": 1}, "chat_template_kwargs": {}},
        extra_headers={"OpenAI-Organization": "org"},
    )
    assert ANSWER in str(done.choices[0].message.content)


def test_a_model_is_a_workspace_and_no_other(client: openai.OpenAI) -> None:
    assert WORKSPACE in [model.id for model in client.models.list()]
    assert client.models.retrieve(WORKSPACE).owned_by == "lectern"
    assert client.models.retrieve("hashing:256").id == "hashing:256"
    for ask in (
        lambda: client.chat.completions.create(model="gpt-4o", messages=ASKED),
        lambda: client.models.retrieve("gpt-4o"),
        lambda: client.embeddings.create(model="other", input="x"),
    ):
        with pytest.raises(openai.NotFoundError) as caught:
            ask()
        assert caught.value.code == "model_not_found"


def test_workspaces_of_others_are_as_if_they_were_not_there() -> None:
    """`request.state.principal` decides, for the model and for the list of models."""
    from types import SimpleNamespace

    from web.v1.access import allowed, require, visible
    from web.v1.errors import ApiError

    principal = SimpleNamespace(allows=lambda workspace, action: (workspace, action) == ("mine", "read"))
    request: Any = SimpleNamespace(state=SimpleNamespace(principal=principal))
    assert visible(request, ["mine", "theirs"]) == ["mine"]
    assert not allowed(request, "mine", "write")
    with pytest.raises(ApiError) as caught:
        require(request, "theirs")
    assert caught.value.status == 404
    assert allowed(Any, "theirs") if False else allowed(SimpleNamespace(state=SimpleNamespace()), "theirs")  # type: ignore


def test_older_completions_answer_too(client: openai.OpenAI) -> None:
    done = client.completions.create(model=WORKSPACE, prompt=QUESTION)
    assert ANSWER in done.choices[0].text and done.usage is not None
    pieces = list(client.completions.create(model=WORKSPACE, prompt=QUESTION, stream=True))
    assert "".join(piece.choices[0].text for piece in pieces) == done.choices[0].text


def test_responses_answer_with_annotations_and_stream_the_same(client: openai.OpenAI) -> None:
    whole = client.responses.create(model=WORKSPACE, input=QUESTION, instructions="Be brief.", temperature=0.5)
    part = whole.output[0].content[0]  # type: ignore[union-attr]
    assert ANSWER in whole.output_text and whole.status == "completed" and whole.usage is not None
    assert whole.usage.total_tokens == whole.usage.input_tokens + whole.usage.output_tokens
    note = part.annotations[0]  # type: ignore[union-attr]
    assert whole.output_text[note.start_index : note.end_index] == "[1]" and "/pages/2" in note.url  # type: ignore
    assert whole.citations[0]["quote"] == ANSWER  # type: ignore[attr-defined]
    events = list(client.responses.create(model=WORKSPACE, input=ASKED, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == whole.output_text
    assert events[-1].type == "response.completed" and events[-1].response.output_text == whole.output_text
    short = client.responses.create(model=WORKSPACE, input=QUESTION, max_output_tokens=4)
    assert short.status == "incomplete" and ANSWER.startswith(short.output_text)
    for extra in ({"previous_response_id": "resp_1"}, {"tools": [{"type": "web_search"}]}, {"input": []}):
        with pytest.raises(openai.BadRequestError):
            client.responses.create(**{"model": WORKSPACE, "input": QUESTION, **extra})


def test_a_failure_in_the_middle_of_a_stream_is_an_error_of_the_client(
    client: openai.OpenAI,
    served: Served,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from core.errors import ModelError
    from rag.types import AnswerEvent

    def fail(*_: Any, **__: Any) -> Any:
        yield AnswerEvent(text="Eleven ")
        raise ModelError("the model has gone", remedy="Start it")

    monkeypatch.setattr(served.assistant, "stream", fail)
    with pytest.raises(openai.APIError, match="The model has gone"):
        list(client.chat.completions.create(model=WORKSPACE, messages=ASKED, stream=True))
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=WORKSPACE, messages=ASKED)
    assert caught.value.status_code == 503


# ---- embeddings -------------------------------------------------------------------------------------------------


def test_embeddings_are_those_of_the_search_in_both_encodings(client: openai.OpenAI, served: Served) -> None:  # noqa: F811
    texts = ["The notice period is eleven weeks.", "契約期間", "x" * 50]
    expected = HashingEmbedder(256).embed_passages(texts)
    for encoding in ("float", "base64"):
        got = client.embeddings.create(model="text-embedding-3-small", input=texts, encoding_format=encoding)
        assert got.model == "hashing:256" and [row.index for row in got.data] == [0, 1, 2]
        vectors = [
            struct.unpack("<256f", base64.b64decode(row.embedding)) if isinstance(row.embedding, str) else row.embedding
            for row in got.data
        ]
        assert np.allclose(vectors, expected, atol=1e-6)
    by_default = client.embeddings.create(model=WORKSPACE, input=texts[0])  # base64, which the client decodes
    assert np.allclose(by_default.data[0].embedding, expected[0], atol=1e-6)
    assert by_default.usage.prompt_tokens == HashingEmbedder().count_tokens(texts[0])


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"dimensions": 64}, "dimensions"),
        ({"input": []}, "input"),
        ({"input": ["a", " "]}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": [[1, 2], [3]]}, "input"),
        ({"encoding_format": "hex"}, "encoding_format"),
    ],
)
def test_embeddings_that_cannot_be_made_are_refused(client: openai.OpenAI, extra: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(**{"model": WORKSPACE, "input": "a", **extra})
    assert caught.value.param == param


# ---- sound ------------------------------------------------------------------------------------------------------


def test_transcriptions_in_every_format(client: openai.OpenAI, wav: bytes) -> None:  # noqa: F811
    def make(**extra: Any) -> Any:
        return client.audio.transcriptions.create(**{"model": "whisper-1", "file": ("q.wav", wav), **extra})

    assert make().text == QUESTION
    assert make(response_format="text").strip() == QUESTION
    verbose = make(response_format="verbose_json", timestamp_granularities=["segment"])
    assert verbose.duration == 1.0 and [part.end for part in verbose.segments] == [0.5, 1.0]
    assert " ".join(part.text for part in verbose.segments) == QUESTION
    assert make(response_format="srt").startswith("1\n00:00:00,000 --> 00:00:00,500\n")
    assert make(response_format="vtt").startswith("WEBVTT\n\n00:00:00.000 --> 00:00:00.500\n")
    streamed = list(make(stream=True))
    assert "".join(event.delta for event in streamed[:-1]) == streamed[-1].text == QUESTION


def test_a_workspace_as_model_lends_its_words_to_the_recogniser(
    client: openai.OpenAI,
    served: Served,  # noqa: F811
    wav: bytes,  # noqa: F811
) -> None:
    for model, expects in (("whisper-1", False), (WORKSPACE, True)):
        client.audio.transcriptions.create(model=model, file=("q.wav", wav))
        assert served.ears.expected[-1] is expects


def test_transcriptions_that_cannot_be_made_are_refused(client: openai.OpenAI, wav: bytes) -> None:  # noqa: F811
    for extra in ({"response_format": "pdf"}, {"timestamp_granularities": ["word"]}):
        with pytest.raises(openai.BadRequestError):
            client.audio.transcriptions.create(**{"model": "whisper-1", "file": ("q.wav", wav), **extra})
    with pytest.raises(openai.UnprocessableEntityError, match="decoded"):
        client.audio.transcriptions.create(model="whisper-1", file=("q.wav", b"no sound"))


@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "opus"])
def test_speech_in_formats_that_can_be_read_again(client: openai.OpenAI, name: Any) -> None:
    sound = client.audio.speech.create(
        model="tts-1", voice="alloy", input="Eleven weeks. No more.", response_format=name
    )
    samples, rate = soundfile.read(io.BytesIO(sound.content))
    assert len(samples) / rate == pytest.approx(0.2, abs=0.1)  # two sentences of 0.1 s; MP3 pads
    assert float(np.abs(samples).max()) == pytest.approx(0.5, abs=0.15)


def test_pcm_is_streamed_at_24_khz_without_seams(client: openai.OpenAI) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="nova", input="Eleven weeks. No more.", response_format="pcm"
    ) as response:
        pcm = np.frombuffer(b"".join(response.iter_bytes()), "<i2") / 32767
    assert len(pcm) == pytest.approx(0.2 * 24_000, abs=50)
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    assert np.argmax(spectrum) * 24_000 / len(pcm) == pytest.approx(440, abs=10)


def test_speed_and_voice_are_obeyed_or_refused(client: openai.OpenAI) -> None:
    def seconds(**extra: Any) -> float:
        ask = {"model": "tts-1", "voice": "alloy", "input": "Eleven weeks.", "response_format": "wav", **extra}
        samples, rate = soundfile.read(io.BytesIO(client.audio.speech.create(**ask).content))
        return len(samples) / rate

    assert seconds(speed=2.0) == pytest.approx(seconds() / 2, rel=0.05)
    assert seconds(voice="espeak:de") > 0.3
    for extra in ({"voice": "transformers:some/model"}, {"voice": "lectern:/etc"}, {"response_format": "aac"}):
        with pytest.raises(openai.BadRequestError):
            seconds(**extra)


# ---- LangChain --------------------------------------------------------------------------------------------------


def test_langchain_asks_streams_and_embeds(served: Served) -> None:  # noqa: F811
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings
    from pydantic import SecretStr

    key = SecretStr("any")
    chat = ChatOpenAI(model=WORKSPACE, base_url=served.v1, api_key=key, temperature=0)
    answer = chat.invoke([("system", "Be brief."), ("user", QUESTION)])
    assert ANSWER in str(answer.content)
    assert answer.usage_metadata is not None and answer.usage_metadata["output_tokens"] > 0
    assert "".join(str(piece.content) for piece in chat.stream(QUESTION)) == answer.content
    embeddings = OpenAIEmbeddings(
        model="hashing:256", base_url=served.v1, api_key=key, check_embedding_ctx_length=False
    )
    assert np.allclose(embeddings.embed_query("weeks"), HashingEmbedder(256).embed_query("weeks"), atol=1e-6)
    assert len(embeddings.embed_documents(["a", "b"])) == 2


# ---- cutting ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 5, 100])
@pytest.mark.parametrize("stops", [["stop"], ["st", "op"], ["zzz"], ["one two"], ["", "s"], ["op", "stop"]])
def test_pieces_of_any_size_are_cut_as_the_whole_text_is(size: int, stops: list[str]) -> None:
    text = "one two sto stop three st op"
    found = [at for stop in stops if stop and (at := text.find(stop)) >= 0]
    expected = text[: min(found)] if found else text
    cut = Cut(stops=stops, count_tokens=lambda text: len(text.split()))
    shown = "".join(cut.feed(text[at : at + size]) for at in range(0, len(text), size)) + cut.finish()
    assert shown == expected == cut.text and cut.done is bool(found)
