"""What outlives one question."""
