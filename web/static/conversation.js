// Question and answer: typed or spoken questions in, streamed answers with their citations out, read aloud on wish.

import { drawAnswer as answerInto, keyOf } from "./answers.js";
import { base64, getJson, lines, postJson, Problem, send, url } from "./client.js";
import { h, icon, iconButton, notice, plural } from "./dom.js";
import { mountLive } from "./live.js";
import { Player } from "./player.js";
import { MAX_SECONDS, Recorder } from "./recorder.js";
import { memoriesDialog } from "./memories.js";
import { changeSession, codeInAddress, Session } from "./sessions.js";
import { sessionsDialog } from "./sessions_dialog.js";
import { emit, isNarrow, on, preference, state } from "./state.js";

export function mount(root, { example, speechModel = false, licence = "" }) {
  const turns = new Map(); // number -> {number, question, understood, answer, interrupted, element}, as the server has them
  let loading = false; // turns are on their way
  let shows = 0; // how often another conversation was shown
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
  const title = h("h2", { dir: "auto" }, "Conversation");
  const clear = h("button", { type: "button", class: "lec-button lec-quiet", "aria-label": "New conversation", onclick: startAfresh }, icon("plus"), "New");
  const earlier = h("button", { type: "button", class: "lec-button lec-earlier", hidden: true, onclick: showEarlier }, "Show earlier turns");
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
    live.aloud(aloud);
    drawButtons();
  });
  const silence = h("button", { type: "button", class: "lec-button lec-silence", hidden: true, onclick: () => player.stop() }, icon("stop"), "Stop speaking");
  const submitButton = iconButton("send", "Send", () => (busy() ? running.abort() : submit()), { class: "lec-icon-button lec-send" });
  // A live conversation writes its turns here, too; the rest of it is in live.js.
  const live = mountLive({
    log, toEnd,
    place: (element) => { welcome.remove(); log.append(element); toEnd(); },
    draw: (turn, partial) => drawAnswer(turn.body, turn, { partial }),
    understood: drawUnderstood,
    keep: (turn) => {
      if (!turn.number) return;
      const shown = turns.get(turn.number);
      if (shown && shown !== turn) shown.element.remove();
      turns.set(turn.number, turn);
      turn.element.dataset.number = turn.number;
    },
    forget: (turn) => { if (turns.get(turn.number) === turn) turns.delete(turn.number); },
    quiet: () => { running?.abort(); player.stop(); },
    changed: drawButtons,
    conversation: () => session.id,
    joined: (id) => session.adopt(id),
    pause: () => session.pause(),
    resume: () => session.resume(),
  });
  const composer = h("div", { class: "lec-composer" }, input, listening, h("div", { class: "lec-composer-tools" }, mic, live.button, sound, silence, hint, submitButton));
  const session = new Session({ known, onTurns: addTurns, onInfo: drawInfo, onGone: (guest) => {
    hint.textContent = guest ? "This conversation is shared with you no longer." : "This conversation was deleted.";
    showTurns([]);
  } });
  const allSessions = sessionsDialog({
    current: () => session.id, open: openSession, join: joinSession,
    changed: (id, info) => { if (id !== session.id) return; if (info) session.setInfo(info); else startAfresh({ keepFocus: true }); },
  });
  const memories = memoriesDialog({
    remembering: () => session.info?.remember ?? true, open: openSession,
    remember: async (on) => session.setInfo(await changeSession(await session.ensure(), { remember: on })),
  });
  root.replaceChildren(
    h("div", { class: "lec-region-head" }, title, h("div", { class: "lec-head-tools" },
      iconButton("list", "Conversations", () => allSessions.show()), iconButton("memory", "What is remembered", () => memories.show()), clear)),
    allSessions.dialog, memories.dialog, log, h("div", { class: "lec-foot" }, live.bar, composer, live.latency,
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
    clear.hidden = !session.id && !running;
    mic.hidden = live.on;
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
    if (!turns.size && !loading && !log.querySelector(".lec-turn")) log.replaceChildren(welcome);
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

  // `recording`: the question as base64 of a sound file, in place of words. `understood`: how the visitor wants it read.
  async function ask(question, { recording = "", understood = "" } = {}) {
    if (busy()) return;
    if (live.on && !recording) {
      live.ask(understood || question);
      return;
    }
    running?.abort(); // the last answer's speech gives way
    if (aloud) player.unlock();
    player.begin();
    welcome.remove();
    if (!isNarrow()) input.focus({ preventScroll: true });
    const turn = { number: null, question, understood: question, answer: null };
    const body = h("div", { class: "lec-answer", "aria-busy": "true" }, h("p", { class: "lec-thinking" }, "Looking through your documents", h("span", {}), h("span", {}), h("span", {})));
    const asked = h("p", { class: "lec-asked", dir: "auto" }, question || "Your recording");
    const element = turn.element = h("article", { class: "lec-turn" }, asked, body);
    log.append(element);
    toEnd();
    const controller = new AbortController();
    const mine = (running = { answered: false, abort: () => controller.abort() });
    session.pause();
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
      const id = await session.ensure();
      const response = await postJson(url("/ask"), { ...(recording ? { recording } : { question }), session: id, understood, speak: aloud }, { signal: controller.signal });
      for await (const event of lines(response)) {
        if (event.type === "waking") body.querySelector(".lec-thinking")?.firstChild.replaceWith("Waking up, which takes a moment after a start");
        if (event.type === "heard") asked.textContent = turn.question = event.text;
        if (event.type === "understood") {
          turn.understood = event.query;
          drawUnderstood(turn);
        }
        if (event.type === "text") text += event.text;
        if (event.type === "citation") citations.push(event.citation);
        if (event.type === "audio" && aloud && running === mine && speaking === turn) player.push(event); // null: told to be quiet
        if (event.type === "silent") hint.textContent = `${event.error.message} ${event.error.remedy}`;
        if (event.type === "error") throw new Problem(event.error.message, event.error.remedy);
        if (event.type === "answer") turn.answer = event.answer;
        if (event.type === "text" || event.type === "citation") {
          drawAnswer(body, turn, { partial: { answer: text, citations, refused: false } });
          if (citations.length) open(citations[0], citations);
        }
        if (event.type === "answer") {
          mine.answered = true;
          turn.number = event.turn;
          if (session.id === id && turn.number) turns.set(turn.number, turn);
          if (!turn.number) hint.textContent = "This turn could not be saved: it is gone with the next reload.";
          element.dataset.number = turn.number ?? "";
          session.resume(session.info?.title ? undefined : 0); // a first question becomes the title
          body.removeAttribute("aria-busy");
          drawAnswer(body, turn);
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
        body.replaceChildren(notice(problem, { retry: () => { element.remove(); ask(question, { recording, understood }); } }));
      } else throw problem;
    } finally {
      body.removeAttribute("aria-busy");
      if (running === mine) {
        running = null;
        player.finish();
        drawButtons();
        session.resume(turn.answer ? undefined : 500); // a stopped answer is kept as far as it came: soon it is there
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
  function drawAnswer(body, turn, { partial = null } = {}) {
    answerInto(body, partial ?? turn.answer, { partial: Boolean(partial), interrupted: turn.interrupted, readAloud: () => readAloud(turn) });
    drawCurrent();
  }

  // "Understood as ..." under a follow-up, with a way to put it right and ask again.
  function drawUnderstood(turn) {
    turn.element.querySelector(".lec-understood")?.remove();
    if (turn.understood.trim() === turn.question.trim()) return;
    const line = h("div", { class: "lec-understood" });
    const show = () => line.replaceChildren(h("p", {}, "Understood as: ", h("q", { dir: "auto" }, turn.understood)),
      h("button", { type: "button", class: "lec-link", "aria-label": `Correct how “${turn.question}” was understood`, onclick: correct }, "Correct"));
    const correct = () => {
      const field = h("input", { class: "lec-input", "aria-label": "What you meant", value: turn.understood, maxlength: 4000, dir: "auto" });
      const cancel = () => { show(); line.querySelector("button").focus(); };
      line.replaceChildren(h("form", {
        onkeydown: (event) => { if (event.key === "Escape") cancel(); },
        onsubmit: (event) => {
          event.preventDefault();
          if (!field.value.trim() || busy()) return;
          show();
          ask(turn.question, { understood: field.value.trim() });
        },
      }, field, h("button", { type: "submit", class: "lec-button lec-button-main" }, "Ask again"), h("button", { type: "button", class: "lec-button", onclick: cancel }, "Cancel")));
      field.focus();
      field.select();
    };
    show();
    turn.element.querySelector(".lec-asked").after(line);
  }

  // The passage that the page region shows: its marker and chip stand out, also in answers drawn anew.
  let current = "";
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
      try { await ask("", { recording: await base64(wav) }); } catch (problem) {
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

  // ---- the conversation, as the server keeps it ---------------------------------------------------------------
  // The number up to which nothing is missing here.
  function known() {
    const numbers = [...turns.keys()].sort((a, b) => a - b);
    let last = numbers[0] ?? 0;
    while (turns.has(last + 1)) last += 1;
    return last;
  }

  function addTurns(fresh) {
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
    let grown = false;
    for (const turn of fresh) {
      const shown = turns.get(turn.number);
      if (shown && shown.answer?.answer === turn.answer.answer) continue;
      // An answer that was stopped here comes back as far as it was written: it takes the place of what stands there.
      const stopped = [...log.querySelectorAll(".lec-turn:not([data-number])")].find((each) => each.querySelector(".lec-asked").textContent === turn.question);
      (shown?.element ?? stopped)?.remove();
      const body = h("div", { class: "lec-answer" });
      turn.element = h("article", { class: "lec-turn", "data-number": turn.number }, h("p", { class: "lec-asked", dir: "auto" }, turn.question), body);
      drawAnswer(body, turn);
      drawUnderstood(turn);
      turns.set(turn.number, turn);
      const next = [...log.querySelectorAll(".lec-turn")].find((each) => Number(each.dataset.number || Infinity) > turn.number);
      if (next) next.before(turn.element);
      else log.append(turn.element);
      grown = true;
    }
    welcome.remove();
    if (grown && atEnd) toEnd();
  }

  function showTurns(found) {
    turns.clear();
    log.replaceChildren(earlier);
    if (found.length) addTurns(found);
    else drawWelcome();
    earlier.hidden = !found.length || found[0].number === 1;
    drawButtons();
    toEnd();
  }

  async function showEarlier() {
    const height = log.scrollHeight;
    const found = await session.earlier(Math.min(...turns.keys())).catch((problem) => { hint.textContent = problem.message; return null; });
    if (!found) return;
    addTurns(found);
    earlier.hidden = !found.length || found[0].number === 1;
    log.scrollTop += log.scrollHeight - height; // what was read stays where it was
  }

  function drawInfo(info) {
    title.textContent = info?.title || "Conversation";
    title.title = info?.title ?? "";
    title.classList.toggle("lec-forgetful", info?.remember === false);
    drawButtons();
  }

  async function show(found) {
    const mine = ++shows;
    live.renew();
    running?.abort();
    running = null;
    session.resume();
    player.stop();
    hint.textContent = "";
    loading = true;
    turns.clear();
    log.replaceChildren();
    try {
      const latest = await found;
      if (mine !== shows) return; // another was opened meanwhile
      loading = false;
      showTurns(latest);
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      if (mine !== shows) return;
      loading = false;
      showTurns([]);
      hint.textContent = `${problem.message} ${problem.remedy}`;
    }
  }

  function openSession(id) {
    return show(session.open(id));
  }

  async function joinSession(code) {
    const id = await session.join(code);
    if (id) await openSession(id);
  }

  function startAfresh({ keepFocus = false } = {}) {
    session.leave();
    show(Promise.resolve([]));
    if (!keepFocus) input.focus();
  }

  async function begin() {
    const code = codeInAddress();
    if (!code) return show(session.restore());
    try {
      await joinSession(code);
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      await show(session.restore());
      hint.textContent = `${problem.message} ${problem.remedy}`;
    }
  }

  drawButtons();
  live.aloud(aloud);
  begin().then(live.restore);
  on("documents", drawWelcome);
  on("workspace", () => show(session.restore()));
  addEventListener("hashchange", begin); // a link opened in a tab that is open already
}
