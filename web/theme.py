"""The page's look as Gradio sees it: fonts from its own package, colours of paper and ink. The rest is lectern.css."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from gradio.themes.utils import fonts

STATIC = Path(__file__).parent / "static"
SANS = "Source Sans Pro"  # of the fonts in the gradio package one that is whole; most hold a subset without a-z


class LecternTheme(gr.themes.Base):
    """Gradio's base theme, with nothing to fetch: both families lie in the gradio package."""

    def __init__(self) -> None:
        super().__init__(
            primary_hue=gr.themes.colors.teal,
            neutral_hue=gr.themes.colors.stone,
            font=[fonts.LocalFont(SANS, weights=(400, 700)), "system-ui", "sans-serif"],
            font_mono=["ui-monospace", "monospace"],
        )
        super().set(
            body_background_fill="#f6f4ef",
            body_background_fill_dark="#16181a",
            body_text_color="#24272b",
            body_text_color_dark="#e9e6df",
        )


def head() -> str:
    """Extra lines of the document's head.

    The style sheet is linked, not handed to Gradio as `css`: that would put `.gradio-container` before every rule, also
    before those about the body.
    """
    return '<link rel="stylesheet" href="/ui/lectern.css"><meta name="color-scheme" content="light dark">'
