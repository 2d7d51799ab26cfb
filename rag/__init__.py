"""Question to cited answer: coarse search, fine location, extraction or generation."""
