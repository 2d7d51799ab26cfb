"""Files to documents, chunks and vectors on disk."""
