// The cited page: its image with the passage marked on it, or, for documents without sheets, the text around it.

import { getJson, Problem, url } from "./client.js";
import { h, icon, iconButton, notice } from "./dom.js";
import { emit, isNarrow, on, tabNews } from "./state.js";

export function mount(root) {
  let view = null; // {document, page, pages, citation, citations}
  let ticket = 0; // only the latest request may draw

  const name = h("h2", { class: "lec-page-name", dir: "auto" }, "Page");
  const number = h("span", { class: "lec-page-number", "aria-live": "polite" });
  const previous = iconButton("left", "Previous page", () => turn(-1));
  const next = iconButton("right", "Next page", () => turn(1));
  const zoom = iconButton("zoom", "Larger", () => {
    const large = stage.classList.toggle("lec-large");
    zoom.setAttribute("aria-pressed", String(large));
    reveal("auto");
  }, { "aria-pressed": "false" });
  const tools = h("div", { class: "lec-page-tools" }, previous, number, next, zoom);
  const passages = h("div", { class: "lec-passages", role: "group", "aria-label": "Cited passages" });
  const stage = h("div", { class: "lec-stage", tabindex: 0, role: "region", "aria-label": "Page" });
  root.replaceChildren(h("div", { class: "lec-region-head" }, name, tools), passages, stage);
  empty();

  function empty() {
    if (view) emit("cited", null);
    view = null;
    ticket += 1;
    name.textContent = "Page";
    tools.hidden = true;
    passages.replaceChildren();
    stage.replaceChildren(h("div", { class: "lec-page-empty" }, icon("page"),
      h("p", {}, "The page an answer comes from opens here, with the passage marked.")));
  }

  const turn = (step) => show({ ...view, page: view.page + step });

  // Draws `wanted.page` of `wanted.document`; marks wanted.citation when it stands on that page.
  async function show(wanted) {
    const mine = (ticket += 1);
    const { document: title, page, citation } = wanted;
    const marked = citation && citation.document === title && citation.page === page ? citation : null;
    stage.setAttribute("aria-busy", "true");
    let sheet;
    try {
      sheet = await getJson(url("/page", { document: title, page, start: marked?.start, end: marked?.end }));
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      if (mine === ticket) stage.replaceChildren(notice(problem, { retry: () => show(wanted) }));
      return;
    }
    if (mine !== ticket) return;
    view = { ...wanted, page: sheet.page, pages: sheet.pages };
    emit("cited", marked);
    if (isNarrow() && document.body.dataset.region !== "page") tabNews("page");
    name.textContent = title;
    name.title = title;
    tools.hidden = false;
    number.textContent = sheet.image ? `${sheet.page} / ${sheet.pages}` : "Text";
    number.setAttribute("aria-label", sheet.image ? `Page ${sheet.page} of ${sheet.pages}` : "Text");
    previous.disabled = sheet.page <= 1;
    next.disabled = sheet.page >= sheet.pages;
    previous.hidden = next.hidden = zoom.hidden = !sheet.image;
    drawPassages();
    await (sheet.image ? drawImage(sheet, marked, mine) : drawText(sheet, marked));
    if (mine !== ticket) return;
    stage.removeAttribute("aria-busy");
    reveal("smooth");
  }

  function drawPassages() {
    const { citations = [], citation, page } = view;
    passages.replaceChildren(...(citations.length > 1 ? citations : []).map((each) => h("button", {
      type: "button", class: "lec-passage", "aria-pressed": String(each === citation && each.page === page),
      "aria-label": `Passage ${each.n}: ${each.document}, page ${each.page}`,
      onclick: () => show({ document: each.document, page: each.page, citation: each, citations }),
    }, String(each.n))));
  }

  async function drawImage(sheet, marked, mine) {
    const image = h("img", { class: "lec-sheet-image", src: url("/page/image", { document: view.document, page: sheet.page, v: sheet.version }),
      alt: `Page ${sheet.page} of ${view.document}`, draggable: "false" });
    const paper = h("div", { class: "lec-sheet" }, image);
    paper.style.aspectRatio = `${sheet.width} / ${sheet.height}`;
    for (const [x0, y0, x1, y1] of marked?.boxes?.length ? marked.boxes : sheet.boxes ?? []) {
      // Points with the origin at the bottom left -> per cent of the sheet from the top left; a little air around.
      const [air, tall] = [1.6, 1.2];
      const mark = h("div", { class: "lec-mark" });
      mark.style.left = `${(100 * (x0 - air)) / sheet.width}%`;
      mark.style.top = `${(100 * (sheet.height - y1 - tall)) / sheet.height}%`;
      mark.style.width = `${(100 * (x1 - x0 + 2 * air)) / sheet.width}%`;
      mark.style.height = `${(100 * (y1 - y0 + 2 * tall)) / sheet.height}%`;
      paper.append(mark);
    }
    image.onerror = () => {
      if (mine !== ticket) return;
      paper.replaceWith(notice(new Problem("This page could not be drawn.", "Its text is searched all the same.")));
    };
    stage.replaceChildren(paper);
    try { await image.decode(); } catch { /* onerror tells */ }
  }

  // The server cuts the text: its offsets count characters, those of this language count UTF-16 units.
  function drawText({ text, more }, marked) {
    stage.replaceChildren(h("div", { class: "lec-text-sheet", dir: "auto" },
      more.before ? h("p", { class: "lec-ellipsis" }, "…") : null,
      h("div", { class: "lec-text" }, text.before, marked ? h("mark", { class: "lec-mark-text" }, text.marked) : null, text.after),
      more.after ? h("p", { class: "lec-ellipsis" }, "…") : null));
  }

  function reveal(behavior) {
    const mark = stage.querySelector(".lec-mark, .lec-mark-text");
    if (!mark) { stage.scrollTo({ top: 0, left: 0 }); return; }
    const [outer, inner] = [stage.getBoundingClientRect(), mark.getBoundingClientRect()];
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    stage.scrollTo({ top: stage.scrollTop + inner.top - outer.top - outer.height / 3,
      left: stage.scrollLeft + inner.left - outer.left - outer.width / 4, behavior: calm ? "auto" : behavior });
  }

  stage.addEventListener("keydown", (event) => {
    if (!view || event.target !== stage) return;
    if (event.key === "ArrowLeft" && !previous.disabled && !previous.hidden) turn(-1);
    if (event.key === "ArrowRight" && !next.disabled && !next.hidden) turn(1);
  });

  on("cite", ({ citation, citations }) => show({ document: citation.document, page: citation.page, citation, citations }));
  on("open", ({ document: title, page }) => show({ document: title, page, citation: null, citations: [] }));
  on("removed", (title) => { if (view?.document === title) empty(); });
  on("workspace", empty);
}
