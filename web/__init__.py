"""Two doors to the same assistant: the REST API and the Gradio page."""
