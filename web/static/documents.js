// The documents of the workspace: adding files with their progress, the state of each, removing them.

import { getJson, Problem, send, upload, url } from "./client.js";
import { h, icon, iconButton, notice, plural, typed } from "./dom.js";
import { emit, on, showRegion, state } from "./state.js";

const BUSY_MS = 700; // between two looks at the server while files are worked on
const IDLE_MS = 15000;

export function mount(root, { suffixes, maxFileMb }) {
  const sending = new Map(); // name -> {progress 0..1} or {problem}: uploads of this page
  const confirming = new Set(); // names whose removal was asked for
  let timer = 0;
  let shown = "";

  const input = h("input", {
    type: "file", multiple: true, class: "lec-file", id: "lec-file", accept: suffixes.join(","),
    onchange: () => { addAll(input.files); input.value = ""; },
  });
  const drop = h("label", { class: "lec-drop", for: "lec-file" }, icon("upload"),
    h("span", {}, h("strong", {}, "Add documents"), h("small", {}, "Drop files here, or choose them. PDF, Word, Markdown, text, HTML, pictures of pages.")));
  const said = h("div", { class: "lec-said", "aria-live": "polite" });
  const list = h("ul", { class: "lec-documents", "aria-label": "Documents" });
  const count = h("span", { class: "lec-count" });
  root.replaceChildren(h("div", { class: "lec-region-head" }, h("h2", {}, "Documents"), count), input, drop, said, list);

  const region = root.closest("#documents") ?? root;
  region.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("lec-over"); });
  region.addEventListener("dragleave", (event) => { if (!region.contains(event.relatedTarget)) drop.classList.remove("lec-over"); });
  region.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("lec-over");
    addAll(event.dataTransfer.files);
  });

  // One after the other: the server reads one file at a time anyway, and the first becomes searchable sooner.
  async function addAll(files) {
    const chosen = [...files];
    for (const file of chosen) sending.set(file.name, { progress: 0 });
    render();
    for (const file of chosen) {
      if (file.size > maxFileMb * 2 ** 20) {
        sending.set(file.name, { problem: new Problem(`larger than the limit of ${maxFileMb} MiB`, "Split it, or raise ingest.max_file_mb.") });
        render();
        continue;
      }
      try {
        await upload(file, (progress) => { sending.set(file.name, { progress }); render(); });
        sending.delete(file.name);
      } catch (problem) {
        sending.set(file.name, { problem });
      }
      await refresh();
    }
  }

  async function refresh() {
    clearTimeout(timer);
    const workspace = state.workspace;
    let busy = false;
    try {
      const { documents } = await getJson(url("/documents"));
      if (workspace !== state.workspace) return;
      busy = documents.some(({ status }) => status === "reading" || status === "searchable" || status === "waiting");
      state.documents = documents;
      emit("documents", documents);
      if (said.dataset.lost) { delete said.dataset.lost; said.replaceChildren(); }
      render();
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      said.dataset.lost = "yes";
      said.replaceChildren(notice(problem, { retry: refresh }));
    }
    timer = setTimeout(refresh, document.hidden ? 4 * IDLE_MS : busy ? BUSY_MS : IDLE_MS);
  }

  async function remove(name) {
    confirming.delete(name);
    try {
      await send("DELETE", url("/documents", { document: name }));
      emit("removed", name);
    } catch (problem) {
      said.replaceChildren(notice(problem, { dismiss: () => said.replaceChildren() }));
    }
    await refresh();
  }

  function render() {
    const rows = [
      ...[...sending].map(([name, upload]) => ({ name, status: upload.problem ? "failed" : "uploading", ...upload, local: true,
        reason: upload.problem?.message, remedy: upload.problem?.remedy })),
      ...state.documents.filter(({ name }) => !sending.has(name)),
    ];
    const picture = JSON.stringify([rows, [...confirming]]);
    if (picture === shown) return; // a redrawn list would lose the keyboard's place in it
    shown = picture;
    const focused = list.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    list.replaceChildren(...rows.map(row));
    if (focused) list.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
    const ready = state.documents.filter(({ status }) => status !== "failed").length;
    count.textContent = ready ? String(ready) : "";
  }

  function row(entry) {
    const { name, status } = entry;
    const readable = status === "searchable" || status === "embedded";
    const { words, progress } = describe(entry);
    const label = h("span", { class: "lec-name", title: name, dir: "auto" }, name);
    const bar = progress === null ? null
      : h("span", { class: "lec-progress", role: "progressbar", "aria-label": `${name}: ${words}`, "aria-valuemin": 0, "aria-valuemax": 100,
        "aria-valuenow": Math.round(100 * progress) });
    if (bar) {
      const fill = h("span", {});
      fill.style.width = `${Math.round(100 * progress)}%`;
      bar.append(fill);
    }
    const about = [label, h("span", { class: "lec-status" }, words)];
    return h("li", { class: "lec-document", "data-status": status, "data-name": name },
      h("div", { class: "lec-document-row" },
        readable
          ? h("button", { type: "button", class: "lec-open", "data-key": `open ${name}`, "aria-label": `Open ${name}`,
            onclick: () => { emit("open", { document: name, page: 1 }); showRegion("page"); } }, icon("page"), h("span", {}, about))
          : h("div", { class: "lec-open" }, icon(status === "failed" ? "warn" : "page"), h("span", {}, about)),
        status === "uploading" ? null : iconButton("trash", `Remove ${name}`, () => {
          if (entry.local) { sending.delete(name); render(); return; }
          confirming.add(name);
          render();
          list.querySelector(`[data-key="${CSS.escape(`keep ${name}`)}"]`)?.focus();
        }, { "data-key": `remove ${name}`, class: "lec-icon-button lec-remove" })),
      bar,
      entry.aliases?.length ? h("p", { class: "lec-remedy" }, `The same file as ${entry.aliases.join(", ")}`) : null,
      entry.remedy ? h("p", { class: "lec-remedy" }, typed(entry.remedy)) : null,
      entry.problems?.length ? h("details", { class: "lec-problems" },
        h("summary", {}, `${plural(entry.problems.length, "page")} could not be read`),
        h("ul", {}, entry.problems.map(({ page, reason }) => h("li", {}, `Page ${page}: ${reason}`)))) : null,
      confirming.has(name) ? h("div", { class: "lec-confirm", role: "alertdialog", "aria-label": `Remove ${name}?` },
        h("span", {}, "Remove it with everything read from it?"),
        h("div", { class: "lec-row" },
          h("button", { type: "button", class: "lec-button", "data-key": `keep ${name}`, onclick: () => { confirming.delete(name); render(); } }, "Keep"),
          h("button", { type: "button", class: "lec-button lec-button-danger", onclick: () => remove(name) }, "Remove"))) : null);
  }

  on("workspace", () => { sending.clear(); confirming.clear(); said.replaceChildren(); render(); refresh(); });
  on("refresh", refresh);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  refresh();
}

// What a person wants to know of a document's state, and how far along it is (0..1, null: nothing to show).
function describe({ status, pages, sheets, chunks, embedded, reason, progress, read }) {
  const size = sheets === false ? "text" : plural(pages ?? 0, "page");
  if (status === "uploading") return { words: `Uploading, ${Math.round(100 * progress)} %`, progress };
  if (status === "waiting") return { words: "Waiting", progress: 0 };
  if (status === "reading") {
    const [done, total] = read ?? [0, 0];
    return { words: total ? `Reading, ${done} of ${total} pages` : "Reading", progress: total ? done / total : 0 };
  }
  if (status === "searchable") {
    const part = chunks ? embedded / chunks : 0;
    return { words: `${size} · searchable, embedding ${Math.floor(100 * part)} %`, progress: part };
  }
  if (status === "failed") return { words: reason || "Could not be read", progress: null };
  return { words: `${size} · ready`, progress: null };
}
