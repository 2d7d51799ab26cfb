// Live conversation: microphone, connection, loudspeaker and the page, tied together. docs/live.md has the protocol.

import { Problem } from "./client.js";
import { h, icon } from "./dom.js";
import { Bar } from "./live_bar.js";
import { Connection } from "./live_connection.js";
import { LatencyPanel } from "./live_latency.js";
import { Speaker } from "./live_speaker.js";
import { Turns } from "./live_turns.js";
import { lacking, Microphone } from "./microphone.js";
import { preference, showRegion, state, tabMemory } from "./state.js";

const FRAME = 512; // samples, 32 ms
const PRE_ROLL = 6; // frames before the button was felt: people speak as they press
const REMEMBERED_S = 90; // of capture times

// host, of the conversation: {log, draw(turn, partial), place(element), keep(turn), forget(turn), understood(turn), toEnd(),
// quiet(), changed(), conversation() -> id, joined(id), pause(), resume()}. Returns {button, bar, latency, on, restore,
// ask, aloud, hush, renew, end}.
export function mountLive(host) {
  let on = null; // {context, microphone, speaker, connection, ...} of the conversation that is running
  let mode = preference.get("live.mode", "hands_free");
  let aloud = true;

  const bar = new Bar({ mode: setMode, pause, resume, stop: () => { hush(); command("stop"); }, talk, command });
  const latency = new LatencyPanel();
  const turns = new Turns({ host: { ...host, ask }, correct: (turn, text) => {
    measure.sent.push(performance.now());
    on?.connection?.say({ type: "correct", turn, text });
  } });
  const button = h("button", { type: "button", class: "lec-button lec-live-start", onclick: () => (on ? end() : start()) }, icon("wave"), h("span", {}, "Talk"));
  const measure = { // what the page alone can know, by turn and by speech
    sent: [], // when typed questions were sent, whose turns are not known yet
    turns: new Map(), // turn -> {speechEnd, decided, start}: ms
    speeches: new Map(), // speech -> {turn, silent}
    open: 0, // the turn in which the user speaks
  };

  // ---- starting and ending --------------------------------------------------------------------------------------
  async function start(resumed = null) {
    if (on) return;
    bar.tell(null);
    const missing = lacking(["AudioWorkletNode", "WebSocket"]);
    if (missing) {
      bar.tell(missing);
      return;
    }
    const mine = (on = { workspace: state.workspace, server: "connecting", line: "asking", paused: false, down: false, captures: [], recent: [], sentences: new Map(), busy: "" });
    host.quiet(); // an answer that is being read aloud
    mine.context = new AudioContext({ latencyHint: "interactive" });
    mine.context.resume();
    mine.context.addEventListener("statechange", draw);
    mine.speaker = new Speaker({ context: mine.context, report, on: { begun, sentence, held: silentNow, resumed: soundsAgain, cancelled, ended } });
    mine.microphone = new Microphone({ context: mine.context, size: FRAME, onFrame, onLost: lost });
    draw();
    try {
      await mine.speaker.open();
      await mine.microphone.open();
    } catch (problem) {
      if (on !== mine) return; // ended meanwhile, which breaks off what was being opened
      end();
      if (!(problem instanceof Problem)) console.error(problem);
      bar.tell(problem instanceof Problem ? problem : new Problem("The live conversation could not be started.", "Reload the page; typing works either way."), () => start());
      return;
    }
    if (on !== mine) {
      mine.microphone.close();
      return;
    }
    mine.connection = new Connection({ hello, onWelcome, onEvent, onStatus, onClosed, onSound: (sound) => mine.speaker.push(sound) });
    if (resumed) {
      mine.checkpoint = resumed.checkpoint;
      Object.assign(mine.connection, { session: resumed.session, lastEvent: resumed.checkpoint });
    }
    mine.conversation = resumed?.conversation ?? host.conversation();
    mine.connection.open();
    navigator.wakeLock?.request("screen").then((lock) => (on === mine ? (mine.lock = lock) : lock.release()), () => {});
    draw();
  }

  function hello(resuming) {
    return { mode: listens() ? mode : "push_to_talk", speak: aloud, ...(on.conversation ? { conversation: on.conversation } : {}),
      ...(resuming && on.speaker.have ? { have: on.speaker.have } : {}) };
  }

  function end() {
    const was = on;
    on = null;
    if (was) {
      was.connection?.end({ bye: true });
      was.speaker.close();
      was.microphone.close();
      was.context.close();
      was.lock?.release();
    }
    turns.silent();
    forget();
    tabMemory.set("live", "");
    host.resume();
    draw();
    host.changed();
  }

  function onClosed(problem) {
    end();
    if (problem) bar.tell(problem, () => start());
  }

  function onStatus(line) {
    if (!on) return;
    on.line = line;
    draw();
  }

  function onWelcome(welcome, { resumed, again }) {
    if (!resumed && (again || on.connection.session === "")) on.captures = [];
    if (again && !resumed) { // the server has forgotten: what was under way is over
      on.speaker.reset();
      turns.silent();
      forget();
      bar.tell(new Problem("The conversation had to be started anew.", "Ask again what was left open."));
    }
    on.conversation = welcome.conversation || on.conversation;
    on.limits = welcome.limits;
    turns.begin(welcome.session);
    if (on.conversation) host.joined(on.conversation);
    if (!resumed) remember(0);
    else on.checkpoint ??= on.connection.lastEvent;
    if (!welcome.ready) on.waking = true;
    host.changed();
  }

  function forget() {
    measure.sent = [];
    measure.turns.clear();
    measure.speeches.clear();
    measure.open = 0;
  }

  // So that a reload goes on here: nothing after `checkpoint` is on the page for good.
  function remember(checkpoint) {
    on.checkpoint = checkpoint;
    tabMemory.set("live", JSON.stringify({ workspace: on.workspace, session: on.connection.session, conversation: on.conversation, checkpoint, paused: on.paused }));
  }

  // ---- what is captured -------------------------------------------------------------------------------------------
  const listens = () => !on.paused && on.context.state === "running";

  function onFrame(frame, peak, at) {
    bar.level(listens() ? peak : 0);
    if (on.paused) return;
    if (mode === "push_to_talk" && !on.down) {
      on.recent.push({ frame, at });
      if (on.recent.length > PRE_ROLL) on.recent.shift();
      return;
    }
    capture(frame, at);
  }

  function capture(frame, at) {
    if (!on.connection) return;
    const sample = on.connection.frame(frame);
    on.captures.push({ sample, at: at - 1000 * (frame.length / 16000) });
    if (on.captures.length > (REMEMBERED_S * 16000) / FRAME) on.captures.shift();
  }

  // When a sample was captured, ms of performance.now(); undefined if that is not known (any more).
  function capturedAt(sample) {
    const frame = on.captures.findLast(({ sample: first }) => first <= sample);
    return frame && frame.at + (sample - frame.sample) / 16;
  }

  function talk(down) {
    if (!on?.connection || on.down === down || mode !== "push_to_talk" || (down && !listens())) return;
    on.down = down;
    bar.held(down);
    if (down) hush();
    on.connection.say({ type: "talk", down });
    if (down) for (const { frame, at } of on.recent.splice(0)) capture(frame, at);
    draw();
  }

  document.addEventListener("keydown", (event) => {
    if (!on || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && on.speaker.playing) { hush(); command("stop"); }
    if (event.code !== "Space" || mode !== "push_to_talk") return;
    const elsewhere = event.target.closest?.("input, textarea, select, summary, a, [contenteditable], button:not(.lec-talk), dialog");
    if (elsewhere) return;
    event.preventDefault(); // neither scroll nor click
    if (!event.repeat) talk(true);
  });
  document.addEventListener("keyup", (event) => {
    if (event.code !== "Space" || !on?.down) return;
    event.preventDefault();
    talk(false);
  });
  window.addEventListener("blur", () => { if (on?.down) talk(false); });

  function setMode(wanted) {
    if (on?.down) talk(false);
    mode = wanted;
    preference.set("live.mode", mode);
    if (on) {
      on.recent = [];
      if (!on.paused) on.connection?.say({ type: "mode", mode });
    }
    draw();
  }

  // Without a microphone nobody can fall silent: as far as the server is concerned, a button that is not held.
  function pause() {
    if (!on || on.paused) return;
    if (on.down) talk(false);
    on.paused = true;
    on.recent = [];
    if (mode === "hands_free") on.connection?.say({ type: "mode", mode: "push_to_talk" });
    on.microphone.close();
    if (on.connection) remember(on.checkpoint);
    draw();
  }

  async function resume() {
    if (!on) return;
    const mine = on;
    mine.context.resume();
    if (mine.paused) {
      try {
        await mine.microphone.open();
      } catch (problem) {
        if (!(problem instanceof Problem)) throw problem;
        bar.tell(problem, resume);
        return;
      }
      if (on !== mine) return;
      bar.tell(null);
      mine.paused = false;
      mine.connection?.say({ type: "mode", mode });
      if (mine.connection) remember(mine.checkpoint);
    }
    draw();
  }

  function lost() {
    pause();
    bar.tell(new Problem("The microphone is gone.", "Connect it again and press Go on, or type your question."), resume);
  }

  // ---- what is asked otherwise --------------------------------------------------------------------------------------
  function ask(text) {
    hush();
    measure.sent.push(performance.now());
    on.connection.say({ type: "ask", text });
  }

  function command(name) {
    on?.connection?.say({ type: "command", name });
  }

  // Silence at once, before the server has heard of it.
  function hush() {
    if (on?.speaker.playing) on.speaker.cancel(on.speaker.playing);
  }

  // ---- what the server says -------------------------------------------------------------------------------------------
  function onEvent(event) {
    on.waking = false;
    (events[event.type] ?? turns[event.type]?.bind(turns))?.(event);
  }

  const events = {
    state({ state: server, n }) {
      on.server = server;
      if (server !== "thinking") on.busy = "";
      if (server === "listening" && !on.speaker.playing) {
        remember(n);
        host.resume();
      } else host.pause(); // this turn comes through here, not from the store
      draw();
    },
    hearing(event) {
      measure.open = event.turn;
      measure.turns.set(event.turn, { start: capturedAt(event.start_sample) });
      turns.hearing(event);
    },
    end_of_turn(event) {
      const turn = measure.turns.get(event.turn) ?? {};
      Object.assign(turn, { speechEnd: capturedAt(event.speech_end_sample), decided: capturedAt(event.decided_sample) });
      measure.turns.set(event.turn, turn);
      measure.open = 0;
    },
    transcript(event) {
      if (event.typed || event.corrects) measure.turns.set(event.turn, { speechEnd: measure.sent[0], decided: measure.sent.shift() });
      turns.transcript(event);
      host.changed();
    },
    not_a_turn(event) {
      if (measure.open === event.turn) measure.open = 0;
      turns.not_a_turn(event);
    },
    speech({ speech, turn }) {
      measure.speeches.set(speech, { turn });
    },
    sentence(event) {
      on.sentences.set(`${event.speech}:${event.sentence}`, { ...event, turn: measure.speeches.get(event.speech)?.turn });
    },
    duck: () => on.speaker.duck(),
    hold: () => on.speaker.hold(),
    resume: () => on.speaker.resume(),
    cancel({ speech, reason }) {
      const known = measure.speeches.get(speech);
      on.speaker.cancel(speech);
      if (known) {
        const turn = turns.get(known.turn);
        if (turn) turns.stopped(turn);
        known.cause = reason;
        stopped(speech);
      }
    },
    open({ citation, turn }) {
      turns.open(citation, turn);
      showRegion("page");
    },
    busy({ position, waiting_for: what }) {
      on.busy = position > 0 ? `Busy: ${position} before you${what === "recognition" ? " to be understood" : ""}.` : "";
      draw();
    },
    latency({ type, n, ...record }) {
      latency.add(record, { stopped_here_ms: measure.turns.get(record.turn)?.stopped });
      latency.element.hidden = false;
    },
    error(event) {
      if (event.turn && turns.error(event)) return;
      bar.tell(new Problem(event.message, event.remedy));
    },
    conversation({ id }) {
      on.conversation = id;
      remember(on.checkpoint);
      host.joined(id);
    },
    rate() {},
    speech_end() {},
  };

  // ---- what sounds ------------------------------------------------------------------------------------------------------
  function report(speech, samples, playing) {
    on?.connection?.tell({ type: "played", speech, samples, playing });
  }

  function begun(speech, { at }) {
    const { turn } = measure.speeches.get(speech) ?? {};
    const { speechEnd, decided } = measure.turns.get(turn) ?? {};
    if (speechEnd !== undefined && decided !== undefined) {
      on.connection.tell({ type: "first_played", speech, turn, after_speech_end_ms: round(at - speechEnd), after_decision_ms: round(at - decided) });
    }
    draw();
  }

  function sentence(speech, { sentence: index }) {
    const known = on.sentences.get(`${speech}:${index}`);
    if (!known) return;
    turns.say(known);
    on.sentences.delete(`${speech}:${index - 3}`);
  }

  function silentNow(speech, { at }) {
    const known = measure.speeches.get(speech);
    if (known) known.silent = at;
  }

  function soundsAgain(speech) {
    const known = measure.speeches.get(speech);
    if (known) known.silent = null;
  }

  function cancelled(speech, { at }) {
    const known = measure.speeches.get(speech);
    if (known) known.silent ??= at;
    stopped(speech);
    turns.silent();
    draw();
  }

  // Once both are known, that somebody has interrupted and when it fell silent.
  function stopped(speech) {
    const known = measure.speeches.get(speech);
    if (!known?.silent || known.told || !["barge_in", "stop"].includes(known.cause) || on.speaker.playing === speech) return;
    const spoken = measure.turns.get(measure.open) ?? [...measure.turns.values()].at(-1);
    const ms = known.silent - spoken?.start;
    if (!(ms > 0 && ms < 10_000)) return;
    known.told = true;
    spoken.stopped = round(ms);
    on.connection.tell({ type: "stopped", speech, after_speech_start_ms: round(ms) });
  }

  function ended() {
    turns.silent();
    draw();
  }

  const round = (ms) => Math.round(10 * ms) / 10;

  // ---- the page -----------------------------------------------------------------------------------------------------------
  function draw() {
    button.setAttribute("aria-pressed", String(Boolean(on)));
    button.lastChild.textContent = on ? "End" : "Talk";
    button.title = on ? "End the live conversation" : "Talk with your documents, hands-free";
    if (!on) {
      bar.show("off");
      return;
    }
    bar.show(shown(), { mode, paused: on.paused, remark: on.line === "open" ? on.busy || (on.waking ? "Waking up, which takes a moment after a start." : "") : "" });
  }

  function shown() {
    if (!on.microphone.stream && !on.paused) return "asking";
    if (on.line === "reconnecting") return "reconnecting";
    if (on.line !== "open") return "connecting";
    if (on.context.state !== "running") return "blocked";
    if (on.paused && on.server !== "speaking" && on.server !== "thinking") return "paused";
    if (on.down) return "hearing";
    return on.server;
  }

  // After a reload the conversation goes on, as far as the browser lets it without a click.
  async function restore() {
    let left = null;
    try { left = JSON.parse(tabMemory.get("live") || "null"); } catch { /* nothing to go on with */ }
    if (left?.workspace !== state.workspace || !left.session) return;
    await start(left);
    if (left.paused) pause();
  }
  draw();

  return {
    button, bar: bar.element, latency: latency.element, restore, ask, hush, end,
    get on() { return Boolean(on?.connection); },
    aloud(value) {
      aloud = value;
      on?.connection?.say({ type: "speak", on: value });
      if (!value) hush();
    },
    // Another conversation, or a new one: the same microphone, a new session.
    renew() {
      if (!on) return;
      end();
      start();
    },
  };
}
