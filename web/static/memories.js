// What is remembered from conversations: seen, searched, corrected, pinned, deleted; and switched off for the one on screen.

import { getJson, Problem, send, url } from "./client.js";
import { h, iconButton, notice } from "./dom.js";
import { day, panel } from "./sessions_dialog.js";

const A_PAGE = 60;
const FILTERS = { all: ["Everything", {}], fact: ["What you stated", { kind: "fact" }], pinned: ["Pinned", { pinned: true }] };
const speakerName = (speaker) => ({ user: "You", assistant: "Lectern" })[speaker] ?? speaker;

// `remembering()`: whether the conversation on screen is; `remember(on)`: switch it. `open(id)`: show a conversation.
export function memoriesDialog({ remembering, remember, open }) {
  let memories = [];
  let more = false;
  let filter = "all";
  let expanded = null; // {id, what: "edit" | "delete"}
  const toggle = h("input", { type: "checkbox", role: "switch", id: "lec-remember", onchange: () => attempt(() => remember(toggle.checked)) });
  const filters = h("div", { class: "lec-filters", role: "group", "aria-label": "Show" }, Object.entries(FILTERS).map(([key, [label]]) =>
    h("button", { type: "button", class: "lec-button", "data-filter": key, onclick: () => { filter = key; load(); } }, label)));
  const older = h("button", { type: "button", class: "lec-button", onclick: () => load(true) }, "Show older");
  const { dialog, search, said, list } = panel("What is remembered", {
    onSearch: () => load(), label: "Search in what is remembered", foot: [older],
    tools: [
      h("p", {}, "Questions, answers and what you state, word for word, on this computer only. What bears on a question is recalled for it."),
      h("label", { class: "lec-switch", for: "lec-remember" }, toggle, "Remember this conversation"), filters],
  });
  dialog.addEventListener("cancel", (event) => {
    if (!expanded) return;
    event.preventDefault();
    expand(null);
  });

  async function attempt(action) {
    try {
      said.replaceChildren();
      await action();
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      said.replaceChildren(notice(problem, { dismiss: () => said.replaceChildren() }));
      toggle.checked = remembering();
    }
  }

  async function load(further = false) {
    await attempt(async () => {
      const query = search.value.trim();
      const before = further ? memories.at(-1)?.memory_id : null;
      const found = (await getJson(url("/memories", { query: query || null, ...FILTERS[filter][1], before, limit: A_PAGE }))).memories;
      memories = further ? [...memories, ...found] : found;
      more = !query && found.length === A_PAGE;
      draw();
      if (!memories.length) said.replaceChildren(h("p", {}, query ? "Nothing was found." : "Nothing is remembered yet."));
    });
  }

  function expand(next) {
    const before = expanded;
    expanded = next;
    draw();
    const row = list.querySelector(`[data-memory="${(next ?? before)?.id}"]`);
    row?.querySelector(next ? "textarea, .lec-keep" : `[data-what=${before?.what}]`)?.focus();
  }

  function draw() {
    for (const button of filters.children) button.setAttribute("aria-pressed", String(button.dataset.filter === filter));
    older.hidden = !more;
    list.replaceChildren(...memories.map(row));
  }

  const address = (id) => url(`/memories/${id}`);

  async function change(id, values, focus) {
    await attempt(async () => {
      const answer = await send("PATCH", address(id), JSON.stringify(values), { headers: { "Content-Type": "application/json" } });
      const [changed] = (await answer.json()).memories;
      memories = memories.map((each) => (each.memory_id === id ? { ...each, ...changed } : each));
      expanded = null;
      draw();
      list.querySelector(`[data-memory="${id}"] [data-what=${focus}]`)?.focus();
    });
  }

  function row(memory) {
    const { memory_id: id, text, kind, speaker, said_at: said, superseded_at: superseded, edited_at: edited, pinned, session_id: session, session_title: title } = memory;
    const short = text.length > 60 ? `${text.slice(0, 60)}…` : text;
    const editing = expanded?.id === id && expanded.what === "edit";
    const about = [kind === "fact" ? "Stated" : speakerName(speaker), day(said)];
    if (superseded) about.push(`held until ${day(superseded)}`);
    if (edited) about.push(`edited ${day(edited)}`);
    return h("li", { class: "lec-memory", "data-memory": id, "data-superseded": superseded ? "yes" : null },
      h("div", { class: "lec-memory-row" },
        h("div", { class: "lec-memory-body" },
          editing ? editor(memory) : h("p", { class: "lec-memory-text", dir: "auto" }, text),
          h("p", { class: "lec-status" }, `${about.join(" · ")} · `,
            h("button", { type: "button", class: "lec-link", dir: "auto", onclick: () => { dialog.close(); open(session); } }, title || "its conversation"))),
        iconButton("pin", `Always recall: ${short}`, () => change(id, { pinned: !pinned }, "pin"), { "data-what": "pin", "aria-pressed": String(pinned), class: "lec-icon-button lec-small" }),
        iconButton("pencil", `Edit: ${short}`, () => (editing ? expand(null) : expand({ id, what: "edit" })), { "data-what": "edit", "aria-expanded": String(editing), class: "lec-icon-button lec-small" }),
        iconButton("trash", `Delete: ${short}`, () => expand({ id, what: "delete" }), { "data-what": "delete", class: "lec-icon-button lec-small" })),
      expanded?.id === id && expanded.what === "delete" ? h("div", { class: "lec-confirm", role: "alertdialog", "aria-label": "Delete this memory?" },
        h("span", {}, "Forget this for good? Its turn stays in the conversation."),
        h("div", { class: "lec-row" },
          h("button", { type: "button", class: "lec-button lec-keep", onclick: () => expand(null) }, "Keep"),
          h("button", { type: "button", class: "lec-button lec-button-danger", onclick: () => attempt(async () => {
            await send("DELETE", address(id));
            memories = memories.filter((each) => each.memory_id !== id);
            expanded = null;
            draw();
            search.focus();
          }) }, "Forget"))) : null);
  }

  function editor({ memory_id: id, text }) {
    const field = h("textarea", { class: "lec-input", rows: 3, maxlength: 8000, "aria-label": "What is to be remembered", dir: "auto" });
    field.value = text;
    return h("form", { class: "lec-editor", onsubmit: (event) => { event.preventDefault(); change(id, { text: field.value.trim() }, "edit"); } }, field,
      h("div", { class: "lec-row" }, h("button", { type: "button", class: "lec-button", onclick: () => expand(null) }, "Cancel"),
        h("button", { type: "submit", class: "lec-button lec-button-main" }, "Save")));
  }

  return {
    dialog,
    show() {
      [expanded, filter, memories, more] = [null, "all", [], false];
      search.value = "";
      toggle.checked = remembering();
      draw();
      dialog.showModal();
      load();
    },
  };
}
