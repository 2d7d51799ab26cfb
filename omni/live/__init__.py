"""Live conversation: whose turn it is, what was said, what to say and when to be silent. Knows no transport."""
