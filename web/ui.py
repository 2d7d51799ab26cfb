"""The page: Gradio Blocks with four components of our own, a bar and three regions.

Each region is a `gr.HTML`, Gradio's way to write a component of one's own: its root from here, its behaviour from a
module in web/static/. The regions talk to web/api.py rather than through Gradio's event queue, for three reasons:
speech (`gr.Audio` streaming takes seconds to its first sound and cannot be flushed), uploads that report progress per
file, and a page that keeps its conversation when the connection breaks. Nothing untrusted goes through a template.
"""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from web.examples import Example

_MOUNT = """
const options = JSON.parse(props.options || "{}");
import("/ui/%s.js").then(({ mount }) => mount(element.querySelector(".lec-root"), options)).catch((error) => {
  console.error(error);
  element.querySelector(".lec-root").textContent = "This part of the page could not start: reload it.";
});
"""


def region(module: str, label: str, **options: Any) -> gr.HTML:
    """One region of the page: an empty root that the module web/static/<module>.js fills.

    A plain `gr.HTML`, not a subclass: for subclasses Gradio writes a .pyi file beside their source at import.
    """
    return gr.HTML(
        html_template=f'<section class="lec-root" aria-label="{label}"></section>',
        js_on_load=_MOUNT % module,
        apply_default_css=False,
        elem_id="page" if module == "page_view" else module,
        min_width=0,
        options=json.dumps(options),
    )


def build_page(
    *, example: Example, suffixes: list[str], max_file_mb: int, speech_model: bool = False, licence: str = ""
) -> gr.Blocks:
    """The Blocks of the page. `suffixes`: what the file chooser offers; `max_file_mb`: the upload limit in MiB.

    `speech_model`: recordings are answered as they are, not written down first; `licence`: terms that are shown.
    """
    with (
        gr.Blocks(title="Lectern", analytics_enabled=False, fill_width=True, fill_height=True) as page,
        gr.Column(elem_id="lectern"),
    ):
        region("header", "Lectern")
        with gr.Row(elem_id="desk"):
            region("documents", "Documents", suffixes=suffixes, maxFileMb=max_file_mb)
            region(
                "conversation",
                "Conversation",
                example={"document": example.document, "title": example.title, "questions": list(example.questions)},
                speechModel=speech_model,
                licence=licence,
            )
            region("page_view", "Cited page")
    return page
