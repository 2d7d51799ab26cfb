// Question and answer: typed or spoken questions in, streamed answers with their citations out, read aloud on wish.

import { base64, getJson, lines, postJson, Problem, send, url } from "./client.js";
import { h, icon, iconButton, notice, plural } from "./dom.js";
import { Player } from "./player.js";
import { MAX_SECONDS, Recorder } from "./recorder.js";
import { emit, isNarrow, on, preference, showRegion, state, tabMemory } from "./state.js";

const HISTORY_TURNS = 6; // finished turns sent along with a question

const duration = (ms) => (ms ? (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`) : "");

export function mount(root, { example, speechModel = false, licence = "" }) {
  let turns = []; // finished: {question, answer}; kept in this tab only
  let running = null; // {abort, answered}: the answer in progress; answered: only its speech is still coming
  let recorder = null;
  let speaking = null; // the turn's element that is being read aloud
  let aloud = preference.get("speak", "on") === "on";

  const player = new Player({
    onSentence: ({ citations = [] }) => {
      const cited = speaking?.answer?.citations.find(({ n }) => n === citations[0]);
      if (cited) emit("cite", { citation: cited, citations: speaking.answer.citations, spoken: true });
    },
    onChange: drawSound,
  });

  // ---- the region ---------------------------------------------------------------------------------------------
  const log = h("div", { class: "lec-log", role: "log", "aria-label": "Conversation", tabindex: 0 });
  const welcome = h("div", { class: "lec-welcome" });
  const clear = h("button", { type: "button", class: "lec-button lec-quiet", onclick: startAfresh }, "New conversation");
  const input = h("textarea", {
    class: "lec-input lec-question", id: "lec-question", rows: 1, placeholder: "Ask your documents", "aria-label": "Your question",
    maxlength: 4000, enterkeyhint: "send", oninput: () => { fit(); drawButtons(); },
    onkeydown: (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(); }
    },
  });
  const hint = h("p", { class: "lec-hint", "aria-live": "polite" });
  const level = h("span", { class: "lec-level" }, h("span", {}));
  const clock = h("span", { class: "lec-clock" }, "0:00");
  const listening = h("div", { class: "lec-listening", hidden: true }, h("span", { class: "lec-dot" }), h("span", {}, "Listening"), clock, level,
    h("button", { type: "button", class: "lec-button", onclick: cancelRecording }, "Cancel"),
    h("button", { type: "button", class: "lec-button lec-button-main", onclick: finishRecording }, "Done"));
  const mic = iconButton("mic", "Ask by voice", startRecording);
  const sound = iconButton("sound", "Speak answers", () => {
    aloud = !aloud;
    preference.set("speak", aloud ? "on" : "off");
    if (!aloud) player.stop();
    drawButtons();
  });
  const silence = h("button", { type: "button", class: "lec-button lec-silence", hidden: true, onclick: () => player.stop() }, icon("stop"), "Stop speaking");
  const submitButton = iconButton("send", "Send", () => (busy() ? running.abort() : submit()), { class: "lec-icon-button lec-send" });
  const composer = h("div", { class: "lec-composer" }, input, listening, h("div", { class: "lec-composer-tools" }, mic, sound, silence, hint, submitButton));
  root.replaceChildren(
    h("div", { class: "lec-region-head" }, h("h2", {}, "Conversation"), clear), log, h("div", { class: "lec-foot" }, composer,
      licence ? h("p", { class: "lec-licence" }, licence) : null));

  function busy() {
    return running !== null && !running.answered;
  }

  function drawButtons() {
    submitButton.replaceChildren(icon(busy() ? "stop" : "send"));
    submitButton.setAttribute("aria-label", busy() ? "Stop" : "Send");
    submitButton.title = busy() ? "Stop" : "Send";
    submitButton.disabled = !busy() && !input.value.trim();
    sound.replaceChildren(icon(aloud ? "sound" : "mute"));
    sound.setAttribute("aria-pressed", String(aloud));
    sound.title = aloud ? "Answers are spoken" : "Answers are silent";
    clear.hidden = !turns.length && !running;
  }

  function drawSound() {
    silence.hidden = !player.playing;
    if (!player.playing && player.complete) speaking = null;
  }

  function fit() {
    input.style.height = "auto";
    input.style.height = `${Math.min(input.scrollHeight, 160)}px`;
  }

  function toEnd() {
    log.scrollTo({ top: log.scrollHeight });
  }

  // ---- first visit --------------------------------------------------------------------------------------------
  function drawWelcome() {
    const ready = state.documents.filter(({ status }) => status !== "failed");
    const hasExample = ready.some(({ name }) => name === example.document);
    const offer = !ready.length || hasExample;
    welcome.replaceChildren(...[
      h("p", { class: "lec-welcome-title" }, "Ask your documents."),
      h("p", { class: "lec-welcome-text" }, ready.length
        ? `${plural(ready.length, "document")} at hand. Every answer quotes your own pages and shows you where.`
        : "Add a document, then ask by typing or aloud. Every answer quotes your own pages and shows you where."),
      offer ? h("div", { class: "lec-example" },
        h("p", {}, hasExample ? "Questions about the example" : `Or try the example: ${example.title}`),
        h("ul", {}, example.questions.map((question) => h("li", {}, h("button", {
          type: "button", class: "lec-example-question", onclick: () => askExample(question),
        }, question))))) : null].filter(Boolean)); // replaceChildren writes "null" for null
    if (!turns.length && !running) log.replaceChildren(welcome);
  }

  async function askExample(question) {
    player.unlock();
    const progress = h("p", { class: "lec-adding", role: "status" }, "Adding the example…");
    if (!state.documents.some(({ name, status }) => name === example.document && status !== "failed" && status !== "reading" && status !== "waiting")) {
      welcome.append(progress);
      try {
        await send("POST", url("/example"));
        await readable(example.document);
      } catch (problem) {
        if (!(problem instanceof Problem)) throw problem;
        progress.replaceWith(notice(problem));
        return;
      }
    }
    progress.remove();
    ask(question);
  }

  // Resolves once `name` can be searched: best by meaning too, by words alone if that takes long.
  async function readable(name) {
    const [patience, limit] = [8000, 60000].map((wait) => performance.now() + wait);
    while (performance.now() < limit) {
      const { documents } = await getJson(url("/documents"));
      const status = documents.find((each) => each.name === name)?.status;
      emit("refresh");
      if (status === "embedded" || (status === "searchable" && performance.now() > patience)) return;
      if (status === "failed") break;
      await new Promise((resolve) => { setTimeout(resolve, 250); });
    }
    throw new Problem(`${name} could not be read.`, "Add a document of your own instead.");
  }

  // ---- asking -------------------------------------------------------------------------------------------------
  function submit() {
    const question = input.value.trim();
    if (!question || busy()) return;
    input.value = "";
    hint.textContent = "";
    fit();
    ask(question);
  }

  // `recording`: the question as base64 of a sound file, in place of words.
  async function ask(question, recording = "") {
    if (busy()) return;
    running?.abort(); // the last answer's speech gives way
    if (aloud) player.unlock();
    player.begin();
    welcome.remove();
    if (!isNarrow()) input.focus({ preventScroll: true });
    const turn = { question, answer: null };
    const body = h("div", { class: "lec-answer", "aria-busy": "true" }, h("p", { class: "lec-thinking" }, "Looking through your documents", h("span", {}), h("span", {}), h("span", {})));
    const asked = h("p", { class: "lec-asked", dir: "auto" }, question || "Your recording");
    const element = h("article", { class: "lec-turn" }, asked, body);
    log.append(element);
    toEnd();
    const controller = new AbortController();
    const mine = (running = { answered: false, abort: () => controller.abort() });
    const conversation = turns; // another one may be on screen when this ends
    drawButtons();
    speaking = turn;

    let text = "";
    const citations = [];
    let opened = false;
    const open = (citation, all) => {
      if (opened) return;
      opened = true;
      emit("cite", { citation, citations: all, first: true });
    };
    try {
      const history = turns.slice(-HISTORY_TURNS).flatMap((past) => [["user", past.question], ["assistant", past.answer.answer]]);
      const response = await postJson(url("/ask"), { ...(recording ? { recording } : { question }), history, speak: aloud }, { signal: controller.signal });
      for await (const event of lines(response)) {
        if (event.type === "waking") body.querySelector(".lec-thinking")?.firstChild.replaceWith("Waking up, which takes a moment after a start");
        if (event.type === "heard") asked.textContent = turn.question = event.text;
        if (event.type === "text") text += event.text;
        if (event.type === "citation") citations.push(event.citation);
        if (event.type === "audio" && aloud && running === mine && speaking === turn) player.push(event); // null: told to be quiet
        if (event.type === "silent") hint.textContent = `${event.error.message} ${event.error.remedy}`;
        if (event.type === "error") throw new Problem(event.error.message, event.error.remedy);
        if (event.type === "answer") turn.answer = event.answer;
        if (event.type === "text" || event.type === "citation") {
          drawAnswer(body, turn, { answer: text, citations, refused: false, partial: true });
          if (citations.length) open(citations[0], citations);
        }
        if (event.type === "answer") {
          mine.answered = true;
          conversation.push(turn);
          if (conversation === turns) save();
          body.removeAttribute("aria-busy");
          drawAnswer(body, turn, turn.answer);
          drawButtons();
          if (!turn.answer.refused && turn.answer.citations.length) open(turn.answer.citations[0], turn.answer.citations);
        }
        if (event.type !== "audio") toEnd();
      }
      if (!turn.answer) throw new Problem("The answer broke off.", "Ask again.");
    } catch (problem) {
      if (running === mine) player.stop();
      if (turn.answer) { /* only its speech is missing */ } else if (problem.name === "AbortError") {
        body.replaceChildren(h("p", { class: "lec-stopped" }, text ? `${text} …` : "", " Stopped."));
      } else if (problem instanceof Problem) {
        body.replaceChildren(notice(problem, { retry: () => { element.remove(); ask(question, recording); } }));
      } else throw problem;
    } finally {
      body.removeAttribute("aria-busy");
      if (running === mine) {
        running = null;
        player.finish();
        drawButtons();
      }
    }
  }

  // Reads a finished answer aloud.
  async function readAloud(turn) {
    player.unlock();
    player.begin();
    speaking = turn;
    try {
      const response = await postJson(url("/speak"), { answer: turn.answer.answer, citations: turn.answer.citations });
      for await (const event of lines(response)) {
        if (speaking !== turn) return; // stopped meanwhile
        if (event.type === "audio") player.push(event);
        if (event.type === "error") throw new Problem(event.error.message, event.error.remedy);
      }
      player.finish();
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      player.stop();
      hint.textContent = `${problem.message} ${problem.remedy}`;
    }
  }

  // ---- an answer ----------------------------------------------------------------------------------------------
  function drawAnswer(body, turn, { answer, shown = answer, citations, refused, nothing, nearest = [], notice: remark, model, timings_ms: timings, partial }) {
    body.classList.toggle("lec-refused", Boolean(refused));
    const show = (citation, list) => {
      emit("cite", { citation, citations: list });
      showRegion("page");
    };
    const paragraphs = shown.split(/\n{2,}/).filter((part) => part.trim()).map((part) => h("p", { class: "lec-answer-text", dir: "auto" }, marked(part, citations, show)));
    const parts = [];
    if (refused) parts.push(h("p", { class: "lec-refused-title" }, icon("search"), nothing ? shown : "Not found in these documents"));
    if (!nothing) parts.push(...paragraphs);
    if (remark) parts.push(notice({ message: remark }));
    const sources = refused ? nearest : citations;
    if (sources.length) {
      parts.push(h("div", { class: "lec-sources" },
        h("p", { class: "lec-sources-title" }, refused ? "The nearest passages" : sources.length > 1 ? "Sources" : "Source"),
        h("ul", {}, sources.map((citation) => h("li", {}, chip(citation, refused, () => show(citation, sources)))))));
    }
    if (!partial) {
      parts.push(h("div", { class: "lec-answer-foot" },
        iconButton("sound", "Read this answer aloud", () => readAloud(turn), { class: "lec-icon-button lec-small" }),
        h("span", {}, [refused ? "" : modelName(model), duration(timings?.total)].filter(Boolean).join(" · "))));
    }
    body.replaceChildren(...parts);
    drawCurrent();
  }

  const modelName = (model) => (model === "extractive" ? "Quoted from your documents" : model.startsWith("omni:") ? "Speech language model" : model);

  // Text with every [n] that has a citation made a button.
  function marked(text, citations, show) {
    return text.split(/(\[\d+\])/).map((part) => {
      const n = /^\[(\d+)\]$/.exec(part)?.[1];
      const citation = n && citations.find((each) => each.n === Number(n));
      if (!citation) return part;
      return h("button", {
        type: "button", class: `lec-cite${citation.verified ? "" : " lec-unverified"}`, "data-n": n, "data-citation": keyOf(citation), onclick: () => show(citation, citations),
        "aria-label": `Source ${n}: ${citation.document}, page ${citation.page}${citation.verified ? "" : ", not verified"}`,
      }, n);
    });
  }

  function chip(citation, refused, onclick) {
    const { n, document: name, page, quote, verified, sheets } = citation;
    return h("button", { type: "button", class: `lec-chip${verified ? "" : " lec-unverified"}`, onclick, title: quote, "data-n": n, "data-citation": keyOf(citation) },
      refused ? null : h("span", { class: "lec-chip-n" }, String(n)),
      h("span", { class: "lec-chip-body" },
        h("span", { class: "lec-chip-where" }, h("span", { class: "lec-chip-name", dir: "auto" }, name), sheets === false ? null : h("span", { class: "lec-chip-page" }, ` p. ${page}`)),
        verified ? null : h("span", { class: "lec-chip-warn" }, "unverified: not found word for word in the source"),
        refused ? h("span", { class: "lec-chip-quote", dir: "auto" }, quote) : null));
  }

  // The passage that the page region shows: its marker and chip stand out, also in answers drawn anew.
  let current = "";
  const keyOf = ({ n, document: name, page, start }) => JSON.stringify([n, name, page, start]);
  function drawCurrent() {
    for (const button of log.querySelectorAll("[data-citation]")) {
      if (button.dataset.citation === current) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }
  on("cited", (citation) => {
    current = citation ? keyOf(citation) : "";
    drawCurrent();
  });

  // ---- voice --------------------------------------------------------------------------------------------------
  async function startRecording() {
    if (recorder || busy()) return;
    player.stop();
    hint.textContent = "";
    recorder = new Recorder({
      onLevel: (loud, seconds) => {
        level.firstChild.style.width = `${Math.round(100 * loud)}%`;
        clock.textContent = `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
        if (seconds >= MAX_SECONDS) finishRecording();
      },
    });
    try {
      await recorder.start();
      composer.classList.add("lec-recording");
      listening.hidden = false;
      listening.querySelector(".lec-button-main").focus();
    } catch (problem) {
      recorder.release();
      recorder = null;
      if (!(problem instanceof Problem)) throw problem;
      hint.textContent = `${problem.message} ${problem.remedy}`;
    }
  }

  function closeRecording() {
    const ended = recorder;
    recorder = null;
    composer.classList.remove("lec-recording");
    listening.hidden = true;
    return ended;
  }

  function cancelRecording() {
    closeRecording()?.release();
    input.focus();
  }

  async function finishRecording() {
    const wav = closeRecording()?.stop();
    if (!wav) return;
    if (speechModel) { // it hears the question itself; what it heard is shown with the answer
      if (aloud) player.unlock();
      try { await ask("", await base64(wav)); } catch (problem) {
        if (!(problem instanceof Problem)) throw problem;
        hint.textContent = `${problem.message} ${problem.remedy}`;
      }
      return;
    }
    hint.textContent = "Writing down what you said…";
    mic.disabled = true;
    try {
      const heard = await (await send("POST", url("/transcribe"), wav)).json();
      input.value = input.value.trim() ? `${input.value.trim()} ${heard.text}` : heard.text;
      hint.textContent = "This is what I heard. Correct it if need be, then send.";
      fit();
      drawButtons();
      input.focus();
      input.setSelectionRange(input.value.length, input.value.length);
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      hint.textContent = `${problem.message} ${problem.remedy}`;
    } finally {
      mic.disabled = false;
    }
  }
  composer.addEventListener("keydown", (event) => { if (event.key === "Escape" && recorder) cancelRecording(); });

  // ---- memory of this tab -------------------------------------------------------------------------------------
  function place() {
    return `turns.${state.workspace}`;
  }

  function save() {
    tabMemory.set(place(), JSON.stringify(turns.slice(-40)));
    [...log.querySelectorAll(".lec-turn")].at(-1).dataset.turn = String(turns.length - 1);
  }

  function restore() {
    try { turns = JSON.parse(tabMemory.get(place()) ?? "[]"); } catch { turns = []; }
    log.replaceChildren(...turns.map((turn, index) => {
      const body = h("div", { class: "lec-answer" });
      drawAnswer(body, turn, turn.answer);
      return h("article", { class: "lec-turn", "data-turn": index }, h("p", { class: "lec-asked", dir: "auto" }, turn.question), body);
    }));
    toEnd();
  }

  function startAfresh() {
    running?.abort();
    player.stop();
    turns = [];
    tabMemory.set(place(), "[]");
    log.replaceChildren();
    drawWelcome();
    drawButtons();
    input.focus();
  }

  restore();
  drawButtons();
  drawWelcome();
  on("documents", drawWelcome);
  on("workspace", () => {
    running?.abort();
    player.stop();
    restore();
    drawWelcome();
    drawButtons();
  });
}
