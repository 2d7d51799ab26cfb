// What the regions of the page share: the chosen workspace, and the events that pass between them.
// Events (detail): "workspace" (name) · "documents" (list) · "cite" ({citation, citations, reveal}) · "open" ({document, page})
// · "ask" (question) · "removed" (document name)

const bus = new EventTarget();

const remembered = (store, key, fallback) => {
  try { return store.getItem(key) ?? fallback; } catch { return fallback; } // private windows may refuse storage
};
const remember = (store, key, value) => {
  try { store.setItem(key, value); } catch { /* the page works without a memory */ }
};

export const state = {
  workspace: remembered(localStorage, "lectern.workspace", "default"),
  documents: [],
};

export const on = (name, listener) => bus.addEventListener(name, (event) => listener(event.detail));
export const emit = (name, detail) => bus.dispatchEvent(new CustomEvent(name, { detail }));

export function chooseWorkspace(name) {
  state.workspace = name;
  state.documents = [];
  remember(localStorage, "lectern.workspace", name);
  emit("workspace", name);
}

export const preference = {
  get: (key, fallback) => remembered(localStorage, `lectern.${key}`, fallback),
  set: (key, value) => remember(localStorage, `lectern.${key}`, value),
};

export const tabMemory = {
  get: (key) => remembered(sessionStorage, `lectern.${key}`, null),
  set: (key, value) => remember(sessionStorage, `lectern.${key}`, value),
};

// On a narrow screen one region shows at a time.
export function showRegion(name) {
  document.body.dataset.region = name;
  for (const tab of document.querySelectorAll(".lec-tabs [role=tab]")) {
    tab.setAttribute("aria-selected", String(tab.dataset.region === name));
    if (tab.dataset.region === name) delete tab.dataset.news;
  }
}
// A dot on a tab: something new waits behind it.
export function tabNews(name) {
  for (const tab of document.querySelectorAll(`.lec-tabs [data-region=${name}]`)) tab.dataset.news = "yes";
}
export const isNarrow = () => matchMedia("(max-width: 940px)").matches;
