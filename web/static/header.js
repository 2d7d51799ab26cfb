// The bar on top: which workspace, light or dark; on narrow screens the tabs between the regions.

import { mountAccount } from "./account.js";
import { getJson, Problem, send } from "./client.js";
import { h, icon, iconButton, notice } from "./dom.js";
import { chooseWorkspace, on, preference, showRegion, state } from "./state.js";

const NEW = "_new"; // names of workspaces begin with a letter or digit

export function mount(root) {
  const select = h("select", { class: "lec-select", "aria-label": "Workspace", onchange: () => choose(select.value) });
  const dialog = newWorkspaceDialog(fill);
  const theme = iconButton("sun", "Light or dark", () => {
    const dark = !document.body.classList.contains("dark");
    document.body.classList.toggle("dark", dark);
    preference.set("theme", dark ? "dark" : "light");
  });
  const chosen = preference.get("theme", null);
  if (chosen) document.body.classList.toggle("dark", chosen === "dark");

  const tab = (region, label) => h("button", {
    type: "button", role: "tab", "data-region": region, "aria-selected": "false", onclick: () => showRegion(region),
  }, label);
  root.replaceChildren(
    h("div", { class: "lec-bar" },
      h("div", { class: "lec-brand" }, icon("book"), h("h1", {}, "Lectern")),
      h("div", { class: "lec-bar-tools" },
        h("label", { class: "lec-workspace" }, h("span", {}, "Workspace"), select), theme)),
    h("div", { class: "lec-tabs", role: "tablist", "aria-label": "Regions of the page" },
      tab("documents", "Documents"), tab("conversation", "Ask"), tab("page", "Page")),
    dialog);
  showRegion("conversation");
  mountAccount(root.querySelector(".lec-bar-tools"));

  function choose(value) {
    if (value === NEW) {
      select.value = state.workspace;
      dialog.showModal();
    } else chooseWorkspace(value);
  }

  async function fill() {
    let names = [state.workspace];
    try { names = (await getJson("/api/workspaces")).workspaces; } catch { /* the documents region reports it */ }
    if (!names.includes(state.workspace)) {
      if (names.includes("default")) chooseWorkspace("default");
      else if (names.length) chooseWorkspace(names[0]); // who logs in may know of others only
      else names = [state.workspace, ...names];
    }
    select.replaceChildren(
      ...names.map((name) => h("option", { value: name }, name)), h("option", { value: NEW }, "New workspace…"));
    select.value = state.workspace;
  }
  on("workspace", () => { select.value = state.workspace; });
  fill();
}

function newWorkspaceDialog(onCreated) {
  const name = h("input", { id: "lec-new-workspace", name: "name", class: "lec-input", required: true, autocomplete: "off", maxlength: 64 });
  const said = h("div", { "aria-live": "polite" });
  const form = h("form", { method: "dialog" },
    h("h2", {}, "New workspace"),
    h("p", {}, "Documents of one workspace are searched together, apart from all others."),
    h("label", { for: "lec-new-workspace" }, "Name"), name, said,
    h("div", { class: "lec-row" },
      h("button", { type: "button", class: "lec-button", onclick: () => dialog.close() }, "Cancel"),
      h("button", { type: "submit", class: "lec-button lec-button-main" }, "Create")));
  const dialog = h("dialog", { class: "lec-dialog" }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const wanted = name.value.trim();
      await send("PUT", `/api/workspaces/${encodeURIComponent(wanted)}`);
      chooseWorkspace(wanted);
      await onCreated();
      name.value = "";
      said.replaceChildren();
      dialog.close();
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      said.replaceChildren(notice(problem));
    }
  });
  return dialog;
}
