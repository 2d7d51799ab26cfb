// What happened to an answer: the passages that were looked at, how they scored, and where the time went.

import { h } from "./dom.js";

const STAGES = [["embed", "Understanding the question"], ["coarse", "Finding passages"], ["fine", "Reading them"], ["total", "All together"]];
const percent = (share) => `${Math.round(100 * share)} %`;
const time = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

// `found`: passages as the server tells them, best first; `show(citation, list)` opens one of them on its page.
export function howFound({ found = [], citations = [], confidence, cached, timings_ms: timings = {} }, show) {
  if (!found.length) return null;
  const cited = (passage) => citations.filter((c) => c.document === passage.document && c.page === passage.page && passage.start < c.end && c.start < passage.end);
  const rows = found.map((passage, i) => {
    const used = cited(passage).map((c) => c.n);
    return h("li", { class: used.length ? "lec-how-used" : "" },
      h("button", { type: "button", class: "lec-how-open", onclick: () => show(passage, found) },
        h("span", { class: "lec-how-where" },
          h("span", { class: "lec-chip-name", dir: "auto" }, passage.document),
          passage.sheets === false ? null : h("span", { class: "lec-chip-page" }, ` p. ${passage.page}`)),
        h("span", { class: "lec-how-quote", dir: "auto" }, passage.quote)),
      h("span", { class: "lec-how-scores" },
        `passage ${percent(passage.score)}`, passage.answers === null ? "" : ` · answers ${percent(passage.answers)}`,
        used.length ? ` · cited as ${used.join(", ")}` : ""));
  });
  const spent = STAGES.filter(([key]) => timings[key] > 0).map(([key, name]) => h("li", {}, h("span", {}, name), h("span", { class: "lec-how-ms" }, time(timings[key]))));
  const support = confidence === undefined ? null
    : h("p", { class: "lec-how-support" }, `How well the passages support an answer: ${percent(confidence)}.`);
  return h("details", { class: "lec-how" },
    h("summary", {}, "How this was found"),
    cached ? h("p", { class: "lec-how-support" }, "Answered from the cache: the same question was asked of the same documents before.") : null,
    support,
    h("ol", { class: "lec-how-list" }, rows),
    spent.length ? h("ul", { class: "lec-how-times" }, spent) : null);
}
