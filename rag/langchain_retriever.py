"""A workspace as a LangChain retriever: drops into any chain, synchronous or asynchronous.

from rag.langchain_retriever import LecternRetriever
documents = LecternRetriever(retriever=HybridRetriever(workspace, embedder)).invoke("When does the lease end?")
documents[0].metadata["page"]
"""

from __future__ import annotations

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from rag.types import Hit, Locator, Retriever


class LecternRetriever(BaseRetriever):
    """Hits as LangChain documents, best first. Asynchronous calls run the search in a thread."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    retriever: Retriever
    locator: Locator | None = None  # marks the spans inside each hit
    top_k: int = Field(10, ge=1, description="documents returned")

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        hits = self.retriever.search(query, self.top_k)
        if self.locator is not None and hits:
            hits = self.locator.locate(query, hits)
        return [to_document(hit) for hit in hits]


def to_document(hit: Hit) -> Document:
    """The chunk's text with where it stands: `source` and `document` (file name), `page` (1-based), `start` and `end`
    (characters in the page's text), `chunk_id`, `context`, `score` (0..1), `spans` [{page, start, end, text, score}].
    """
    chunk = hit.chunk
    metadata = {
        "source": chunk.document,
        "document": chunk.document,
        "page": chunk.page,
        "start": chunk.start,
        "end": chunk.end,
        "chunk_id": chunk.chunk_id,
        "context": chunk.context,
        "score": hit.score,
    }
    if hit.spans:
        metadata["spans"] = [
            {"page": span.page, "start": span.start, "end": span.end, "text": span.text, "score": span.score}
            for span in hit.spans
        ]
    return Document(page_content=chunk.text, metadata=metadata, id=chunk.chunk_id)
