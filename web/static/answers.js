// A finished or growing answer as elements: its text with markers, its sources, how it came about.

import { h, icon, iconButton, notice } from "./dom.js";
import { howFound } from "./how_found.js";
import { emit, showRegion } from "./state.js";

export const keyOf = ({ n, document: name, page, start }) => JSON.stringify([n, name, page, start]);

const duration = (ms) => (ms ? (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`) : "");
const MODELS = { extractive: "Quoted from your documents", memory: "From what you said" };
const modelName = (model) => MODELS[model] ?? (model.startsWith("omni:") ? "Speech language model" : model);

const SUSPICIOUS = "from a passage that gives orders to its reader: not obeyed";

// `readAloud`: called by the loudspeaker below a whole answer.
export function drawAnswer(body, { answer, shown = answer, citations, refused, nothing, nearest = [], notice: remark, suspicious = false, model, timings_ms: timings, found, confidence, cached },
  { partial = false, interrupted = false, readAloud = null } = {}) {
  body.classList.toggle("lec-refused", Boolean(refused));
  const show = (citation, list) => {
    emit("cite", { citation, citations: list });
    showRegion("page");
  };
  const paragraphs = shown.split(/\n{2,}/).filter((part) => part.trim()).map((part) => h("p", { class: "lec-answer-text", dir: "auto" }, marked(part, citations, show)));
  const parts = [];
  if (refused) parts.push(h("p", { class: "lec-refused-title" }, icon("search"), nothing ? shown : "Not found in these documents"));
  if (!nothing) parts.push(...paragraphs);
  if (interrupted) parts.push(h("p", { class: "lec-stopped" }, "Interrupted here."));
  if (remark) parts.push(notice({ message: remark }));
  if (suspicious && !citations.some((each) => each.suspicious)) {
    parts.push(notice({ message: "A passage behind this answer gives orders to whoever reads it.", remedy: "Check the answer against its sources." }));
  }
  const sources = refused ? nearest : citations;
  if (sources.length) {
    parts.push(h("div", { class: "lec-sources" },
      h("p", { class: "lec-sources-title" }, refused ? "The nearest passages" : sources.length > 1 ? "Sources" : "Source"),
      h("ul", {}, sources.map((citation) => h("li", {}, chip(citation, refused, () => show(citation, sources)))))));
  }
  if (!partial && answer) {
    parts.push(h("div", { class: "lec-answer-foot" },
      readAloud ? iconButton("sound", "Read this answer aloud", readAloud, { class: "lec-icon-button lec-small" }) : null,
      h("span", {}, [refused || !model ? "" : modelName(model), duration(timings?.total)].filter(Boolean).join(" · "))));
    const how = howFound({ found, citations, confidence, cached, timings_ms: timings }, show);
    if (how) parts.push(how);
  }
  body.replaceChildren(...parts);
}

// Text with every [n] that has a citation made a button.
function marked(text, citations, show) {
  return text.split(/(\[\d+\])/).map((part) => {
    const n = /^\[(\d+)\]$/.exec(part)?.[1];
    const citation = n && citations.find((each) => each.n === Number(n));
    if (!citation) return part;
    return h("button", {
      type: "button", class: `lec-cite${citation.verified ? "" : " lec-unverified"}`, "data-n": n, "data-citation": keyOf(citation), onclick: () => show(citation, citations),
      "aria-label": `Source ${n}: ${citation.document}, page ${citation.page}${citation.verified ? "" : ", not verified"}`,
    }, n);
  });
}

function chip(citation, refused, onclick) {
  const { n, document: name, page, quote, verified, sheets, suspicious } = citation;
  return h("button", { type: "button", class: `lec-chip${verified ? "" : " lec-unverified"}`, onclick, title: quote, "data-n": n, "data-citation": keyOf(citation) },
    refused ? null : h("span", { class: "lec-chip-n" }, String(n)),
    h("span", { class: "lec-chip-body" },
      h("span", { class: "lec-chip-where" }, h("span", { class: "lec-chip-name", dir: "auto" }, name), sheets === false ? null : h("span", { class: "lec-chip-page" }, ` p. ${page}`)),
      verified ? null : h("span", { class: "lec-chip-warn" }, "unverified: not found word for word in the source"),
      suspicious ? h("span", { class: "lec-chip-warn" }, SUSPICIOUS) : null,
      refused ? h("span", { class: "lec-chip-quote", dir: "auto" }, quote) : null));
}
