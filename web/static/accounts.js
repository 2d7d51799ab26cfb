// Users, API keys and the audit log, for admins. Names are untrusted: dom.js makes text nodes of them.

import { getJson, postJson, Problem, send } from "./client.js";
import { h, notice } from "./dom.js";

const ROLES = ["reader", "member", "admin"];
const BASE = "/api/accounts";
const root = document.getElementById("accounts");

const when = (seconds) => (seconds ? new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }) : "");
const field = (label, input, kind) => h("label", kind ? { class: kind } : {}, label, input);
const text = (name, extra = {}) => h("input", { class: "lec-input", name, autocomplete: "off", ...extra });
const choice = (name, values) => h("select", { class: "lec-input", name }, values.map((value) => h("option", { value }, value)));
const button = (label, onclick) => h("button", { type: "button", class: "lec-button", onclick }, label);
const cell = (content, kind) => h("td", kind ? { class: kind } : {}, content);
const table = (heads, rows) => h("div", { class: "lec-table" }, h("table", {}, h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
  h("tbody", {}, rows.map((row) => h("tr", {}, row)))));

// "lease, tax:reader" with a role for those that name none -> {lease: "member", tax: "reader"}
function grantsOf(written, role) {
  const grants = {};
  for (const part of written.split(",").map((each) => each.trim()).filter(Boolean)) {
    const [, name, own] = /^(.*?)(?::\s*(reader|member))?$/.exec(part);
    grants[name.trim()] = own ?? role;
  }
  return Object.keys(grants).length ? grants : { "*": role };
}

// Runs `act`; a Problem goes into `said`.
async function attempt(said, act) {
  said.replaceChildren();
  try {
    await act();
    return true;
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    said.replaceChildren(notice(problem, { dismiss: () => said.replaceChildren() }));
    return false;
  }
}

function users() {
  const list = h("div", {});
  const said = h("div", { class: "lec-said", "aria-live": "polite" });
  const form = h("form", {},
    field("Name", text("name", { required: true, maxlength: 64 })),
    field("Password", text("password", { type: "password", required: true, minlength: 10, autocomplete: "new-password" })),
    field("Role", choice("role", ROLES)),
    field("Workspaces", text("workspaces", { placeholder: "all of them" })),
    h("button", { type: "submit", class: "lec-button lec-button-main" }, "Add user"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { name, password, role, workspaces } = Object.fromEntries(new FormData(form));
    const admin = role === "admin";
    const done = await attempt(said, () => postJson(`${BASE}/users`, { name, password, admin, grants: admin ? {} : grantsOf(workspaces, role) }));
    if (done) { form.reset(); await fill(); }
  });
  async function remove(name) {
    if (!confirm(`Remove ${name}, with all logins and keys?`)) return;
    await attempt(said, () => send("DELETE", `${BASE}/users/${encodeURIComponent(name)}`));
    await fill();
  }
  async function fill() {
    await attempt(said, async () => {
      const found = (await getJson(`${BASE}/users`)).users;
      list.replaceChildren(table(["Name", "May", "Since", ""], found.map(({ name, admin, grants, created_at: at }) => [
        cell(name), cell(admin ? "everything" : Object.entries(grants).map(([where, role]) => `${where === "*" ? "every workspace" : where}: ${role}`).join(", ") || "nothing yet"),
        cell(when(at), "lec-when"), cell(button("Remove", () => remove(name)), "lec-do")])));
    });
  }
  fill();
  return h("section", {}, h("h2", {}, "Users"), list, form, said);
}

function keys() {
  const list = h("div", {});
  const said = h("div", { class: "lec-said", "aria-live": "polite" });
  const shown = h("div", { "aria-live": "polite" });
  const form = h("form", {},
    field("For user", text("user", { required: true, maxlength: 64 })),
    field("What it is for", text("label", { maxlength: 100 })),
    field("Role", choice("role", ROLES)),
    field("Workspaces", text("workspaces", { placeholder: "all of the user's" })),
    field("Days", text("days", { type: "number", min: 1, value: 365 }), "lec-short"),
    field("Calls a minute", text("rate", { type: "number", min: 1, value: 120 }), "lec-short"),
    h("button", { type: "submit", class: "lec-button lec-button-main" }, "Make key"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { user, label, role, workspaces, days, rate } = Object.fromEntries(new FormData(form));
    const named = workspaces.split(",").map((each) => each.trim()).filter(Boolean);
    await attempt(said, async () => {
      const response = await postJson(`${BASE}/keys`, { user, label, role, workspaces: named.length ? named : ["*"], days: Number(days), per_minute: Number(rate) });
      const { key } = await response.json();
      shown.replaceChildren(h("div", { class: "lec-key" }, h("p", {}, "Copy this key now: it is not shown again."), h("code", {}, key)));
      form.reset();
    });
    await fill();
  });
  async function revoke(id) {
    await attempt(said, () => send("DELETE", `${BASE}/keys/${encodeURIComponent(id)}`));
    await fill();
  }
  async function fill() {
    await attempt(said, async () => {
      const found = (await getJson(`${BASE}/keys`)).keys;
      list.replaceChildren(found.length ? table(["Key", "User", "May", "Until", "Last used", ""], found.map((key) => {
        const off = key.state === "active" ? "" : "lec-off";
        return [cell([h("span", { class: off }, key.label || key.id)]), cell(key.user), cell(`${key.role}, ${key.workspaces.join(", ").replace(/^\*$/, "all workspaces")}`),
          cell(key.state === "active" ? when(key.expires_at) || "for ever" : key.state, "lec-when"), cell(when(key.used_at) || "never", "lec-when"),
          cell(key.state === "active" ? button("Revoke", () => revoke(key.id)) : "", "lec-do")];
      })) : h("p", {}, "No keys yet. Programs send one as a Bearer token."));
    });
  }
  fill();
  return h("section", {}, h("h2", {}, "API keys"), list, form, shown, said);
}

function audit() {
  const list = h("div", {});
  const said = h("div", { class: "lec-said", "aria-live": "polite" });
  const older = button("Older", () => fill(last));
  let last = null;
  const rows = [];
  async function fill(before) {
    await attempt(said, async () => {
      const { entries, broken_at: broken } = await getJson(`${BASE}/audit?limit=50&verify=true${before ? `&before=${before}` : ""}`);
      last = entries.at(-1)?.number ?? last;
      rows.push(...entries.map(({ at, who, address, action, target, outcome }) => [cell(when(at), "lec-when"), cell(who), cell(address),
        cell(target ? `${action} · ${target}` : action), cell(outcome, outcome.startsWith("refused") ? "lec-bad" : "")]));
      list.replaceChildren(table(["When", "Who", "From", "What", "Outcome"], rows));
      older.hidden = entries.length < 50;
      if (broken) said.replaceChildren(notice({ message: `Line ${broken} does not follow from the one before it.`, remedy: "Somebody has changed the log outside of Lectern." }));
    });
  }
  fill(null);
  return h("section", {}, h("h2", {}, "Audit log"), list, older, said);
}

const me = await getJson(`${BASE}/me`).catch(() => ({}));
root.replaceChildren(
  h("div", { class: "lec-accounts-head" }, h("h1", {}, "Users and keys"), h("a", { href: "/" }, "Back to the documents")),
  ...(me.admin ? [users(), keys(), audit()] : [notice({ message: "Only admins see users and keys.", remedy: "Ask one of them." })]));
