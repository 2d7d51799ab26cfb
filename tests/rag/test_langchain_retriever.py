"""The adapter inside a real LangChain chain, with a chat model that only repeats what it was given."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from langchain_core.documents import Document
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from core.settings import EmbedderSettings, load_settings
from ingest.embedders import load_embedder
from ingest.pipeline import embed_pending, ingest_paths
from ingest.workspace import Workspace
from rag.langchain_retriever import LecternRetriever
from rag.retriever import HybridRetriever


@pytest.fixture
def retriever(tmp_path: Path, lectern_home: Path) -> LecternRetriever:
    (tmp_path / "tarn.txt").write_text("The observatory on Mount Tarn was founded in 1897 by Ida Voss.\n")
    (tmp_path / "tea.txt").write_text("Green tea is not fermented.\n")
    settings = load_settings(lectern_home, embedder=EmbedderSettings(model="hashing:64"), ingest={"reading_workers": 1})
    workspace = Workspace.open(settings.home)
    ingest_paths(workspace, [tmp_path / "tarn.txt", tmp_path / "tea.txt"], settings=settings, embed=False)
    embedder = load_embedder(settings.embedder)
    embed_pending(workspace, embedder)
    return LecternRetriever(retriever=HybridRetriever(workspace, embedder), top_k=2)


def test_documents_say_where_they_stand(retriever: LecternRetriever) -> None:
    found = retriever.invoke("Who founded the observatory?")
    best = found[0]
    assert isinstance(best, Document) and "Ida Voss" in best.page_content
    assert best.metadata["document"] == best.metadata["source"] == "tarn.txt" and best.metadata["page"] == 1
    text = retriever.retriever.workspace.page("tarn.txt", 1).text  # type: ignore[attr-defined]
    assert text[best.metadata["start"] : best.metadata["end"]] == best.page_content
    assert 0.0 <= best.metadata["score"] <= 1.0 and best.id == best.metadata["chunk_id"]


def test_asynchronous_and_batched_calls_find_the_same(retriever: LecternRetriever) -> None:
    questions = ["Who founded the observatory?", "Is green tea fermented?"]
    expected = [[d.id for d in retriever.invoke(question)] for question in questions]

    async def ask() -> list[list[Document]]:
        return list(await asyncio.gather(*(retriever.ainvoke(question) for question in questions)))

    with ThreadPoolExecutor(1) as fresh:  # this thread may hold the event loop of an earlier browser test
        found = fresh.submit(asyncio.run, ask()).result()
    assert [[d.id for d in documents] for documents in found] == expected
    assert [[d.id for d in documents] for documents in retriever.batch(questions)] == expected


def test_it_drops_into_a_chain(retriever: LecternRetriever) -> None:
    seen: list[str] = []
    model = GenericFakeChatModel(messages=iter([AIMessage("Ida Voss [tarn.txt, page 1]")]))

    def remember(prompt):
        seen.append(prompt.to_string())
        return prompt

    chain = (
        {
            "context": retriever | (lambda documents: "\n".join(d.page_content for d in documents)),
            "question": RunnablePassthrough(),
        }
        | ChatPromptTemplate.from_template("Context: {context}\nQuestion: {question}")
        | RunnableLambda(remember)
        | model
        | StrOutputParser()
    )
    assert chain.invoke("Who founded the observatory?") == "Ida Voss [tarn.txt, page 1]"
    assert "founded in 1897 by Ida Voss" in seen[0]
