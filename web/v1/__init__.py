"""The stable, versioned API under /v1: REST, and the endpoints that OpenAI's clients speak."""
