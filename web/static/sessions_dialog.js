// The list of conversations: open, search, rename, share, export, delete; and taking one up by its code.

import { getJson, Problem, send, url } from "./client.js";
import { h, icon, iconButton, notice, plural } from "./dom.js";
import { changeSession, sessionUrl, shareLink } from "./sessions.js";

const SEARCH_MS = 250; // after the last key

export const day = (iso) => new Intl.DateTimeFormat("en", { dateStyle: "medium" }).format(new Date(iso));
const when = (iso) => {
  const date = new Date(iso);
  const today = new Date().toDateString() === date.toDateString();
  return today ? new Intl.DateTimeFormat("en", { timeStyle: "short" }).format(date) : day(iso);
};

// A dialog that fills most of the screen: its head, a search field, whatever else, and a list that scrolls.
export function panel(title, { onSearch, label, tools = [], foot = [] }) {
  let timer = null;
  const search = h("input", {
    type: "search", class: "lec-input", placeholder: label, "aria-label": label, autocomplete: "off",
    oninput: () => { clearTimeout(timer); timer = setTimeout(() => onSearch(), SEARCH_MS); },
  });
  const said = h("div", { class: "lec-panel-said", "aria-live": "polite" });
  const list = h("ul", { class: "lec-panel-list", "aria-label": title });
  const dialog = h("dialog", { class: "lec-dialog lec-panel", "aria-label": title },
    h("div", { class: "lec-panel-head" }, h("h2", {}, title), iconButton("close", "Close", () => dialog.close())),
    ...tools, search, said, list, ...foot);
  dialog.addEventListener("click", ({ target, clientX: x, clientY: y }) => { // beside it
    const { left, right, top, bottom } = dialog.getBoundingClientRect();
    if (target === dialog && (x < left || x > right || y < top || y > bottom)) dialog.close();
  });
  return { dialog, search, said, list };
}

// `open(id)`: show a conversation. `join(code)`: take one up. `current()`: the id of the one on screen.
// `changed(id, info)`: renamed; info null: deleted.
export function sessionsDialog({ open, join, current, changed }) {
  let sessions = [];
  let expanded = null; // {id, what}: the row that shows more of itself
  const code = h("input", { id: "lec-code", class: "lec-input", placeholder: "XXXX-XXXX-XXXX", autocomplete: "off", maxlength: 40, required: true, spellcheck: "false" });
  const joining = h("form", { class: "lec-join" }, h("label", { for: "lec-code" }, "Continue one from another device"), code,
    h("button", { type: "submit", class: "lec-button" }, "Continue"));
  const { dialog, search, said, list } = panel("Conversations", { onSearch: load, label: "Search in all conversations", foot: [joining] });

  dialog.addEventListener("cancel", (event) => {
    if (!expanded) return;
    event.preventDefault(); // Escape first closes what a row shows
    expand(null);
  });
  joining.addEventListener("submit", async (event) => {
    event.preventDefault();
    await attempt(async () => {
      await join(code.value.trim());
      code.value = "";
      dialog.close();
    });
  });

  async function attempt(action) {
    try {
      said.replaceChildren();
      await action();
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      said.replaceChildren(notice(problem, { dismiss: () => said.replaceChildren() }));
    }
  }

  async function load() {
    await attempt(async () => {
      const query = search.value.trim();
      ({ sessions } = await getJson(url("/sessions", { query: query || null })));
      draw();
      if (!sessions.length) said.replaceChildren(h("p", {}, query ? "Nothing was found." : "There are no conversations yet."));
    });
  }

  function expand(next, focus = "") {
    const before = expanded;
    expanded = next;
    draw();
    const row = list.querySelector(`[data-session="${(next ?? before)?.id}"]`);
    row?.querySelector(next ? focus : `[data-what=${before?.what}]`)?.focus();
  }

  function draw() {
    list.replaceChildren(...sessions.map(row));
  }

  function row(session) {
    const { session_id: id, title, turns, updated_at: updated, found, guest } = session;
    const name = title || "New conversation";
    const more = expanded?.id === id ? expanded.what : "";
    const tool = (what, glyph, label, focus) => iconButton(glyph, `${label}: ${name}`, () => (more === what ? expand(null) : expand({ id, what }, focus)),
      { "data-what": what, "aria-expanded": String(more === what), class: "lec-icon-button lec-small" });
    return h("li", { class: "lec-session", "data-session": id, "aria-current": current() === id ? "true" : null },
      h("div", { class: "lec-document-row" },
        h("button", { type: "button", class: "lec-open", onclick: () => { dialog.close(); open(id); } },
          h("span", {}, h("span", { class: "lec-name", dir: "auto" }, name),
            h("span", { class: "lec-status" }, `${plural(turns, "turn")} · ${when(updated)}${guest ? " · shared with you" : ""}${current() === id ? " · open" : ""}`),
            found ? h("span", { class: "lec-found", dir: "auto" }, `${found.question} — ${found.answer}`) : null)),
        guest ? null : tool("rename", "pencil", "Rename", "input"), tool("share", "share", "Continue on another device", "input"),
        tool("export", "download", "Export", "a"), guest ? tool("delete", "close", "Leave", ".lec-keep") : tool("delete", "trash", "Delete", ".lec-keep")),
      more ? details[more](session, name) : null);
  }

  const details = {
    rename({ session_id: id }, name) {
      const title = h("input", { class: "lec-input", value: name, maxlength: 200, required: true, "aria-label": "New name" });
      return h("form", { class: "lec-confirm", onsubmit: async (event) => {
        event.preventDefault();
        await attempt(async () => {
          const info = await changeSession(id, { title: title.value.trim() });
          sessions = sessions.map((each) => (each.session_id === id ? { ...each, title: info.title } : each));
          changed(id, info);
          expand(null);
        });
      } }, title, h("div", { class: "lec-row" },
        h("button", { type: "button", class: "lec-button", onclick: () => expand(null) }, "Cancel"),
        h("button", { type: "submit", class: "lec-button lec-button-main" }, "Save")));
    },
    share({ session_id: id, guest }) {
      const link = h("input", { class: "lec-input", readonly: true, "aria-label": "Link", onfocus: () => link.select() });
      const number = h("code", {});
      const copy = h("button", { type: "button", class: "lec-button", onclick: async () => {
        link.select();
        try {
          await navigator.clipboard.writeText(link.value);
          copy.replaceChildren(icon("check"), "Copied");
        } catch { copy.replaceChildren("Press Ctrl+C"); } // no clipboard without https: the link is selected
      } }, "Copy link");
      const show = (info) => {
        link.value = shareLink(info.code);
        number.textContent = info.code;
        link.select();
      };
      const renew = h("button", { type: "button", class: "lec-button", onclick: () => attempt(async () => {
        show(await changeSession(id, { new_code: true }));
        renew.replaceChildren(icon("check"), "The old one is void");
      }) }, "New code");
      attempt(async () => show(await getJson(sessionUrl(id))));
      return h("div", { class: "lec-confirm" },
        h("p", {}, "Open the link on the other device, or enter the code there: both then see each other's turns. Whoever has it can read and continue this conversation, and nothing else of yours."),
        h("p", { class: "lec-share-code" }, "Code ", number), h("div", { class: "lec-share" }, link, copy),
        guest ? null : h("div", { class: "lec-row" }, renew));
    },
    export({ session_id: id }) {
      return h("div", { class: "lec-confirm" }, h("div", { class: "lec-row" },
        h("a", { class: "lec-button", href: sessionUrl(id, "/export", { format: "md" }), download: "" }, "Markdown"),
        h("a", { class: "lec-button", href: sessionUrl(id, "/export", { format: "json" }), download: "" }, "JSON")));
    },
    delete({ session_id: id, guest }, name) {
      const [verb, question] = guest
        ? ["Leave", "Leave it? It stays with whoever shared it."]
        : ["Delete", "Delete it for good, on all devices, with everything remembered from it?"];
      return h("div", { class: "lec-confirm", role: "alertdialog", "aria-label": `${verb} ${name}?` },
        h("span", {}, question),
        h("div", { class: "lec-row" },
          h("button", { type: "button", class: "lec-button lec-keep", onclick: () => expand(null) }, "Keep"),
          h("button", { type: "button", class: "lec-button lec-button-danger", onclick: () => attempt(async () => {
            await send("DELETE", sessionUrl(id));
            sessions = sessions.filter((each) => each.session_id !== id);
            expanded = null;
            draw();
            search.focus();
            changed(id, null);
          }) }, verb)));
    },
  };

  return {
    dialog,
    show() {
      expanded = null;
      search.value = "";
      said.replaceChildren();
      dialog.showModal();
      load();
    },
  };
}
