// The conversation that this tab has open: which one it is, its turns as the server keeps them, and what other devices add.

import { getJson, postJson, Problem, send, url } from "./client.js";
import { chooseWorkspace, state, tabMemory } from "./state.js";

const POLL_MS = 3000;
const LOADED = 40; // turns that are loaded at once

export const sessionUrl = (id, path = "", query = {}) => url(`/sessions/${encodeURIComponent(id)}${path}`, query);
export const changeSession = async (id, change) =>
  (await send("PATCH", sessionUrl(id), JSON.stringify(change), { headers: { "Content-Type": "application/json" } })).json();

// `onTurns(turns)`: new or changed ones, in order. `onInfo(info)`: title and the like, null without a conversation.
// `onGone(guest)`: it has been deleted somewhere, or somebody else's (guest) is shared no longer. `known()`: the number up to which this tab has all turns.
export class Session {
  constructor({ onTurns, onInfo, onGone, known }) {
    Object.assign(this, { onTurns, onInfo, onGone, known });
    this.id = "";
    this.taken = 0; // how often a conversation was opened or left: what was asked of the server before does not count after
    this.info = null;
    this.timer = null;
    this.paused = false; // while a question of our own is being answered
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.poll(); });
  }

  get place() {
    return `session.${state.workspace}`;
  }

  // Takes up what this tab had open in the workspace before. Resolves with its latest turns.
  async restore() {
    return this.open(tabMemory.get(this.place) ?? "");
  }

  async open(id) {
    this.id = id;
    const taken = ++this.taken;
    this.setInfo(null);
    tabMemory.set(this.place, id);
    clearTimeout(this.timer);
    if (!id) return [];
    try {
      const { session, turns } = await getJson(sessionUrl(id, "/turns", { last: LOADED }));
      if (this.taken !== taken) return [];
      this.setInfo(session);
      this.schedule();
      return turns;
    } catch (problem) {
      if (!(problem instanceof Problem) || this.taken !== taken) throw problem;
      if (problem.status !== 404) { this.schedule(); throw problem; }
      this.leave();
      return [];
    }
  }

  async earlier(number) {
    return (await getJson(sessionUrl(this.id, "/turns", { before: number, last: LOADED }))).turns;
  }

  // The id of the open conversation; a new one is made for a first question.
  async ensure() {
    if (!this.id) {
      const workspace = state.workspace;
      const info = await (await postJson(url("/sessions"), {})).json();
      if (state.workspace !== workspace) throw new Problem("The workspace was changed meanwhile.", "Ask again.");
      this.id = info.session_id;
      this.taken += 1;
      tabMemory.set(this.place, this.id);
      this.setInfo(info);
      this.schedule();
    }
    return this.id;
  }

  // A live conversation has begun this one.
  adopt(id) {
    if (this.id === id) return;
    this.id = id;
    this.taken += 1;
    tabMemory.set(this.place, id);
    this.schedule(0);
  }

  leave() {
    this.id = "";
    this.taken += 1;
    clearTimeout(this.timer);
    tabMemory.set(this.place, "");
    this.setInfo(null);
  }

  setInfo(info) {
    this.info = info;
    this.onInfo(info);
  }

  pause() {
    this.paused = true;
  }

  resume(wait = POLL_MS) {
    this.paused = false;
    if (this.id) this.schedule(wait);
  }

  schedule(wait = POLL_MS) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.poll(), wait);
  }

  // What another device has added since, and whether the last turn is still as it was (an answer may be cut short).
  async poll() {
    const { id, taken } = this;
    clearTimeout(this.timer);
    if (!id) return;
    if (!document.hidden && !this.paused) {
      try {
        const { session, turns } = await getJson(sessionUrl(id, "/turns", { after: Math.max(0, this.known() - 1) }));
        if (this.taken !== taken) return;
        if (!this.paused) {
          this.setInfo(session);
          if (turns.length) this.onTurns(turns);
        }
      } catch (problem) {
        if (this.taken !== taken) return;
        if (problem.status === 404) {
          const guest = this.info?.guest ?? false;
          this.leave();
          this.onGone(guest);
          return;
        }
        if (!(problem instanceof Problem)) throw problem;
        this.schedule(5 * POLL_MS); // the documents region tells that the server does not answer
        return;
      }
    }
    if (this.taken === taken) this.schedule();
  }

  // Takes up the conversation of a code, in whichever workspace it lies. Raises Problem.
  async join(code) {
    const { workspaces } = await getJson("/api/workspaces");
    for (const workspace of [state.workspace, ...workspaces.filter((name) => name !== state.workspace)]) {
      try {
        const address = `/api/workspaces/${encodeURIComponent(workspace)}/sessions/join`;
        const info = await (await postJson(address, { code })).json();
        if (workspace !== state.workspace) {
          tabMemory.set(`session.${workspace}`, info.session_id);
          chooseWorkspace(workspace); // which opens what this tab remembers of it
          return null;
        }
        return info.session_id;
      } catch (problem) {
        if (problem.status !== 404) throw problem;
      }
    }
    throw new Problem("There is no conversation with this code.", "Compare it with the other device; it may have been deleted.");
  }
}

export const shareLink = (code) => `${location.origin}${location.pathname}#session=${code}`;

// The code in the address, once: it is taken out, so that a reload or a copied address does not join again.
export function codeInAddress() {
  const code = new URLSearchParams(location.hash.slice(1)).get("session");
  if (code) history.replaceState(null, "", location.pathname + location.search);
  return code;
}
