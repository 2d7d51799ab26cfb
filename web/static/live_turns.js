// The turns of a live conversation in the log: heard while they are being said, corrected, answered, marked when spoken.

import { Problem } from "./client.js";
import { h, icon, iconButton, notice } from "./dom.js";
import { mark, rangeOf, unmark } from "./live_marks.js";
import { emit } from "./state.js";

const COMMANDS = {
  stop: ["Stopped", "There was nothing to stop"],
  repeat: ["Saying it again", "There is nothing to repeat yet"],
  slower: ["Speaking more slowly", "I cannot speak any slower"],
  faster: ["Speaking faster", "I cannot speak any faster"],
  louder: ["Speaking louder", "I cannot speak any louder"],
  quieter: ["Speaking more quietly", "I cannot speak any more quietly"],
  go_on: ["Going on", "There is nothing to go on with"],
  open_page: ["Here is the page", "No page has been cited yet"],
  where: ["Here it is", "No page has been cited yet"],
};

export class Turns {
  // host: {log, draw(turn, partial), place(element), keep(turn), forget(turn), understood(turn), toEnd(), ask(text)};
  // correct(turn number, text): the user has corrected a transcript.
  constructor({ host, correct }) {
    this.host = host;
    this.correct = correct;
    this.session = "";
    this.turns = new Map(); // the session's number -> turn, which has the fields of the conversation's turns as well
    this.spoken = null; // {turn, text, citations}: the sentence at the loudspeaker
    this.lit = ""; // the passage that is shown for it
  }

  begin(session) {
    if (session !== this.session) this.turns.clear();
    this.session = session;
  }

  get(n) {
    return this.turns.get(n);
  }

  // The entry of a turn, made where it is missing.
  turn(n) {
    let turn = this.turns.get(n);
    if (turn) return turn;
    const asked = h("p", { class: "lec-asked", dir: "auto" });
    const heard = h("div", {});
    const aside = h("div", { class: "lec-turn-aside" });
    const body = h("div", { class: "lec-answer" });
    const element = h("article", { class: "lec-turn", "data-live": String(n) }, asked, heard, aside, body);
    turn = { live: n, number: null, question: "", understood: "", answer: null, interrupted: false, element, asked, heard, aside, body, text: "", citations: [], hypotheses: [], ended: false };
    this.turns.set(n, turn);
    this.host.place(element);
    return turn;
  }

  remove(n) {
    const turn = this.turns.get(n);
    if (!turn) return;
    turn.element.remove();
    this.turns.delete(n);
    this.host.forget(turn);
  }

  // ---- what the user says -------------------------------------------------------------------------------------
  hearing({ turn: n }) {
    const { asked, element } = this.turn(n);
    element.setAttribute("aria-busy", "true"); // read out once it is final
    asked.classList.add("lec-partial");
    asked.replaceChildren(h("span", { class: "lec-thinking", role: "img", "aria-label": "Hearing you" }, h("span", {}), h("span", {}), h("span", {})));
    this.host.toEnd();
  }

  partial({ turn: n, text, stable = 0 }) {
    const turn = this.turns.get(n);
    if (!text || !turn || turn.question) return;
    turn.asked.replaceChildren(text.slice(0, stable), h("span", { class: "lec-unsure" }, text.slice(stable)));
    this.host.toEnd();
  }

  looking({ turn: n, hits = [] }) {
    const { aside, answer, ended } = this.turn(n);
    if (answer || ended) return;
    const chip = (hit) => h("button", { type: "button", class: "lec-chip", title: hit.quote, onclick: () => emit("cite", { citation: hit, citations: [] }) },
      icon("page"), h("span", { class: "lec-chip-where" }, h("span", { class: "lec-chip-name", dir: "auto" }, hit.document),
        hit.sheets === false ? null : h("span", { class: "lec-chip-page" }, ` p. ${hit.page}`)));
    aside.replaceChildren(...(hits.length ? [h("p", { class: "lec-looking-title" }, "About to look at"),
      h("ul", { class: "lec-looking" }, hits.map((hit) => h("li", {}, chip(hit))))] : []));
    this.host.toEnd();
  }

  transcript({ turn: n, text, hypotheses = [], searched = [], typed, corrects, joins }) {
    for (const earlier of [corrects, joins]) if (earlier) this.remove(earlier);
    for (const other of this.turns.values()) if (other.live < n) this.stopped(other);
    const turn = this.turn(n);
    Object.assign(turn, { question: text, understood: text, text: "", citations: [], answer: null, interrupted: false });
    turn.hypotheses = hypotheses.filter((each) => each && each !== text);
    turn.element.removeAttribute("aria-busy");
    turn.asked.classList.remove("lec-partial");
    turn.asked.replaceChildren(text, typed ? "" : iconButton("pencil", "Correct what I heard", () => this.edit(turn), { class: "lec-icon-button lec-small lec-correct" }));
    turn.heard.replaceChildren(...searched.map((each) => this.reading(turn, each)));
    turn.body.replaceChildren(h("p", { class: "lec-thinking" }, "Looking through your documents", h("span", {}), h("span", {}), h("span", {})));
    this.host.toEnd();
  }

  // Words of the documents that were searched for where others were heard, and the other way to ask.
  reading(turn, { heard, term, instead }) {
    const [present, other] = instead ? [term, heard] : [heard, term];
    const at = turn.question.toLowerCase().indexOf(present.toLowerCase());
    const ask = () => this.correct(turn.live, turn.question.slice(0, at) + other + turn.question.slice(at + present.length));
    return h("div", { class: "lec-heard" },
      h("p", {}, "Heard ", h("q", { dir: "auto" }, heard), instead ? ", searched for " : ", also searched for ", h("q", { dir: "auto" }, term)),
      at < 0 ? null : h("button", { type: "button", class: "lec-link", onclick: ask }, instead ? `I said ${heard}` : `I said ${term}`));
  }

  not_a_turn({ turn: n }) {
    this.remove(n);
  }

  recognised({ turn: n, command, done }) {
    const line = h("p", { class: "lec-command", role: "status" }, COMMANDS[command]?.[done ? 0 : 1] ?? command);
    const turn = this.turns.get(n);
    if (turn) {
      turn.ended = true;
      turn.aside.replaceChildren();
      turn.body.replaceChildren(line);
      turn.asked.classList.remove("lec-partial");
      turn.asked.querySelector(".lec-correct")?.remove();
    } else if (!done) this.host.place(line);
    this.host.toEnd();
  }

  // In place of the transcript a field with it, and what else it may have been.
  edit(turn) {
    const field = h("textarea", { class: "lec-input lec-correct-field", rows: 2, maxlength: 4000, "aria-label": "What you said", onkeydown: (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(field.value); }
      if (event.key === "Escape") { event.preventDefault(); close(); }
    } });
    field.value = turn.question;
    const close = () => {
      form.replaceWith(turn.asked);
      turn.asked.querySelector(".lec-correct")?.focus();
    };
    const submit = (text) => {
      close();
      if (!text.trim() || text.trim() === turn.question.trim()) return;
      turn.asked.classList.add("lec-partial");
      this.correct(turn.live, text.trim());
    };
    const others = turn.hypotheses.slice(0, 4);
    const form = h("form", { class: "lec-correct-form", onsubmit: (event) => { event.preventDefault(); submit(field.value); } }, field,
      others.length ? h("p", { class: "lec-hint" }, "Or did you say") : null,
      others.length ? h("ul", {}, others.map((text) => h("li", {}, h("button", { type: "button", class: "lec-other", dir: "auto", onclick: () => submit(text) }, text)))) : null,
      h("div", { class: "lec-row" }, h("button", { type: "button", class: "lec-button", onclick: close }, "Cancel"),
        h("button", { type: "submit", class: "lec-button lec-button-main" }, "Ask again")));
    turn.asked.replaceWith(form);
    field.focus({ preventScroll: true });
    form.scrollIntoView({ block: "nearest" }); // its buttons, too
    field.setSelectionRange(field.value.length, field.value.length);
  }

  // ---- the answer ---------------------------------------------------------------------------------------------
  understood({ turn: n, question }) {
    const turn = this.turn(n);
    turn.understood = question;
    this.host.understood(turn);
  }

  text({ turn: n, text }) {
    const turn = this.turn(n);
    turn.text += text;
    this.draw(turn);
  }

  citation({ turn: n, citation }) {
    const turn = this.turn(n);
    turn.citations.push(citation);
    this.draw(turn);
    if (turn.citations.length === 1) this.light(citation, turn.citations);
  }

  answer({ turn: n, answer }) {
    const turn = this.turn(n);
    turn.answer = answer;
    turn.number = answer.number ?? null; // in the conversation as it is kept
    turn.aside.replaceChildren();
    this.draw(turn);
    this.host.keep(turn);
    if (!answer.refused && answer.citations.length && !turn.citations.length) this.light(answer.citations[0], answer.citations);
  }

  draw(turn) {
    this.host.draw(turn, turn.answer ? null : { answer: turn.text, citations: turn.citations, refused: false });
    if (this.spoken?.turn === turn.live) this.point(turn); // its text has just been replaced
    this.host.toEnd();
  }

  // Of an interrupted answer the conversation keeps what was heard.
  heard({ turn: n, text, complete }) {
    const turn = this.turns.get(n);
    if (!turn?.answer || complete) return;
    turn.answer = { ...turn.answer, answer: text, shown: text };
    turn.interrupted = true;
    this.draw(turn);
  }

  stopped(turn) {
    if (turn.ended || turn.answer) return;
    turn.ended = true;
    turn.aside.replaceChildren();
    turn.element.removeAttribute("aria-busy");
    turn.body.replaceChildren(h("p", { class: "lec-stopped" }, turn.text ? `${turn.text} …` : "", " Stopped."));
  }

  error({ turn: n, message, remedy }) {
    const turn = this.turns.get(n);
    if (!turn || turn.answer) return false;
    turn.ended = true;
    turn.element.removeAttribute("aria-busy");
    turn.aside.replaceChildren();
    turn.body.replaceChildren(notice(new Problem(message, remedy), {
      retry: turn.question ? () => { this.remove(n); this.host.ask(turn.question); } : null,
    }));
    return true;
  }

  // ---- while it is spoken -------------------------------------------------------------------------------------
  // The sentence {turn, text, citations} sounds now: it is marked, and its passage lights up.
  say(spoken) {
    this.spoken = spoken;
    const turn = this.turns.get(spoken.turn);
    if (!turn) return;
    this.point(turn);
    const all = turn.answer?.citations ?? turn.citations;
    const cited = all.find(({ n }) => n === spoken.citations?.[0]);
    document.body.classList.toggle("lec-speaking", Boolean(cited));
    if (cited) this.light(cited, all);
  }

  point(turn) {
    const range = rangeOf(turn.body, this.spoken.text);
    if (range) mark(range);
    else unmark();
  }

  silent() {
    this.spoken = null;
    unmark();
    document.body.classList.remove("lec-speaking");
  }

  light(citation, citations) {
    const key = JSON.stringify([citation.document, citation.page, citation.start]);
    if (key === this.lit) return;
    this.lit = key;
    emit("cite", { citation, citations, spoken: true });
  }

  open(citation, n) {
    this.lit = "";
    this.light(citation, this.turns.get(n)?.answer?.citations ?? []);
  }
}
