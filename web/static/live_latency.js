// Where the time of each turn went: a folded table, and the same as a file.

import { h, plural } from "./dom.js";
import { tabMemory } from "./state.js";

const KEPT = 500; // turns
const COLUMNS = [ // of `after_speech_end_ms`, in the order in which they happen
  ["decided", "Turn over", "when it was decided that you had finished"],
  ["transcript", "Transcript", "when the final transcript was there"],
  ["first_hit", "First hit", "when the first passage had been found"],
  ["first_text", "First text", "when the first words of the answer were there"],
  ["first_audio", "Sound sent", "when the first sound left the server"],
  ["played", "Sound heard", "when it came out of the loudspeaker, measured in this browser"],
];

export const milliseconds = (ms) => (ms === undefined || ms === null ? "–" : ms < 995 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`);

export class LatencyPanel {
  constructor() {
    this.records = [];
    try { this.records = JSON.parse(tabMemory.get("latency") ?? "[]"); } catch { /* an empty table */ }
    this.last = h("span", { class: "lec-latency-last" });
    this.rows = h("tbody", {});
    this.about = h("p", { class: "lec-hint" });
    this.element = h("details", { class: "lec-latency", hidden: true },
      h("summary", {}, "Latency", this.last),
      h("div", { class: "lec-latency-table", tabindex: 0, role: "region", "aria-label": "Latency of each turn" },
        h("table", {}, h("caption", {}, "Time since you stopped speaking (typed: since sending)"),
          h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Turn"), COLUMNS.map(([, label, title]) => h("th", { scope: "col", title }, label)))), this.rows)),
      h("div", { class: "lec-latency-foot" }, this.about,
        h("button", { type: "button", class: "lec-button lec-quiet", onclick: () => this.download() }, "Download as JSON")));
    this.draw();
  }

  // `record`: the server's `latency`.
  add(record) {
    this.records.push({ at: new Date().toISOString(), ...record });
    this.records = this.records.slice(-KEPT);
    tabMemory.set("latency", JSON.stringify(this.records));
    this.draw();
  }

  draw() {
    const shown = this.records.slice(-20).reverse();
    this.element.hidden = !shown.length;
    this.last.textContent = shown.length ? milliseconds(shown[0].after_speech_end_ms?.played ?? shown[0].after_speech_end_ms?.first_text) : "";
    this.rows.replaceChildren(...shown.map((record) => h("tr", {},
      h("th", { scope: "row", title: tells(record) }, String(record.turn)),
      COLUMNS.map(([key]) => h("td", {}, milliseconds(record.after_speech_end_ms?.[key]))))));
    const played = this.records.map((record) => record.after_speech_end_ms?.played).filter((ms) => ms !== undefined && ms !== null).sort((a, b) => a - b);
    this.about.textContent = played.length ? `Median of ${plural(played.length, "spoken answer")}: ${milliseconds(played[Math.floor((played.length - 1) / 2)])}.` : "Nothing spoken yet.";
  }

  download() {
    const file = URL.createObjectURL(new Blob([JSON.stringify(this.records, null, 1)], { type: "application/json" }));
    h("a", { href: file, download: "lectern-latency.json" }).click();
    setTimeout(() => URL.revokeObjectURL(file), 10_000);
  }
}

function tells({ reason, speculation, queued_ms: queued, stopped_ms: stopped, typed }) {
  return [typed ? "typed" : `turn over: ${reason}`, speculation && speculation !== "none" ? `what was looked up meanwhile: ${speculation}` : "",
    queued ? `waited for others: ${milliseconds(queued)}` : "", stopped ? `interrupted: silent after ${milliseconds(stopped)}` : ""].filter(Boolean).join("; ");
}
