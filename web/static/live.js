// Live conversation: microphone, connection, loudspeaker and the page, tied together. docs/live.md has the protocol.

import { Problem } from "./client.js";
import { h, icon } from "./dom.js";
import { Bar } from "./live_bar.js";
import { Connection } from "./live_connection.js";
import { listenToKeys } from "./live_keys.js";
import { LatencyPanel } from "./live_latency.js";
import { Measure } from "./live_measure.js";
import { Speaker } from "./live_speaker.js";
import { Turns } from "./live_turns.js";
import { lacking, Microphone } from "./microphone.js";
import { preference, showRegion, state, tabMemory } from "./state.js";

const FRAME = 512; // samples, 32 ms
const PRE_ROLL = 6; // frames before the button was felt: people speak as they press

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
    measure.sending();
    on?.connection?.say({ type: "correct", turn, text });
  } });
  const button = h("button", { type: "button", class: "lec-button lec-live-start", onclick: () => (on ? end() : start()) }, icon("wave"), h("span", {}, "Talk"));
  const measure = new Measure((message) => on?.connection?.tell(message));

  // ---- starting and ending --------------------------------------------------------------------------------------
  async function start(resumed = null) {
    if (on) return;
    bar.tell(null);
    const missing = lacking(["AudioWorkletNode", "WebSocket"]);
    if (missing) {
      bar.tell(missing);
      return;
    }
    const mine = (on = { workspace: state.workspace, server: "connecting", line: "asking", paused: false, down: false, recent: [], sentences: new Map(), busy: "" });
    host.quiet(); // an answer that is being read aloud
    mine.context = new AudioContext({ latencyHint: "interactive" });
    mine.context.resume();
    mine.context.addEventListener("statechange", () => { if (on === mine) { tellMode(); draw(); } });
    if (navigator.audioSession) navigator.audioSession.type = "play-and-record"; // iPhones: not through the earpiece
    mine.speaker = new Speaker({ context: mine.context, report, on: {
      begun, sentence, held, cancelled, ended, resumed: (speech) => measure.soundsAgain(speech),
    } });
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

  // Without a running microphone nobody can fall silent: as far as the server is concerned, a button that is not held.
  const effectiveMode = () => (listens() ? mode : "push_to_talk");

  function tellMode() {
    if (on.mode === effectiveMode() || !on.connection) return;
    on.mode = effectiveMode();
    on.connection.say({ type: "mode", mode: on.mode });
  }

  function hello(resuming) {
    on.mode = effectiveMode();
    return { mode: on.mode, speak: aloud, ...(on.conversation ? { conversation: on.conversation } : {}),
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
    if (bar.element.contains(document.activeElement)) button.focus({ preventScroll: true }); // the bar goes
    turns.silent();
    measure.recount();
    measure.forget();
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
    if (!resumed && again) measure.recount();
    if (again && !resumed) { // the server has forgotten: what was under way is over
      on.speaker.reset();
      turns.silent();
      measure.forget();
      bar.tell(new Problem("The conversation had to be started anew.", "Ask again what was left open."));
    }
    on.conversation = welcome.conversation || on.conversation;
    on.limits = welcome.limits;
    turns.begin(welcome.session);
    on.speaker.volume(welcome.volume ?? 1);
    if (on.conversation) host.joined(on.conversation);
    if (!resumed) remember(0);
    else on.checkpoint ??= on.connection.lastEvent;
    if (!welcome.ready) on.waking = true;
    host.changed();
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
    measure.captured(sample, at - 1000 * (frame.length / 16000));
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

  listenToKeys({
    pushes: () => Boolean(on) && mode === "push_to_talk",
    down: () => Boolean(on?.down),
    talk,
    playing: () => on?.speaker.playing,
    stop: () => { hush(); command("stop"); },
  });

  function setMode(wanted) {
    if (on?.down) talk(false);
    mode = wanted;
    preference.set("live.mode", mode);
    if (on) {
      on.recent = [];
      tellMode();
    }
    draw();
    if (on && mode === "push_to_talk") bar.talkButton.focus({ preventScroll: true }); // so that the space bar is for talking
  }

  function pause() {
    if (!on || on.paused) return;
    if (on.down) talk(false);
    on.paused = true;
    on.recent = [];
    tellMode();
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
      tellMode();
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
    measure.sending();
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
      measure.hearing(event);
      turns.hearing(event);
    },
    end_of_turn: (event) => measure.ended(event),
    transcript(event) {
      measure.written(event);
      turns.transcript(event);
      host.changed();
    },
    speech: (event) => measure.speech(event),
    sentence(event) {
      on.sentences.set(`${event.speech}:${event.sentence}`, { ...event, turn: measure.turnOf(event.speech) });
    },
    duck: () => on.speaker.duck(),
    hold: () => on.speaker.hold(),
    resume: () => on.speaker.resume(),
    cancel({ speech, reason }) {
      on.speaker.cancel(speech);
      measure.cancelled(speech, reason);
      const turn = turns.get(measure.turnOf(speech));
      if (turn) turns.stopped(turn);
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
      latency.add(record);
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
    volume({ gain }) {
      on.speaker.volume(gain);
    },
    speech_end() {},
  };

  // ---- what sounds ------------------------------------------------------------------------------------------------------
  function report(speech, samples, playing) {
    on?.connection?.tell({ type: "played", speech, samples, playing });
  }

  function begun(speech, { at }) {
    measure.began(speech, at);
    draw();
  }

  function sentence(speech, { sentence: index }) {
    const known = on.sentences.get(`${speech}:${index}`);
    if (!known) return;
    turns.say(known);
    on.sentences.delete(`${speech}:${index - 3}`);
  }

  function held(speech, { at }) {
    measure.silent(speech, at);
  }

  function cancelled(speech, { at }) {
    measure.silent(speech, at);
    turns.silent();
    draw();
  }

  function ended() {
    turns.silent();
    draw();
  }

  // ---- the page -----------------------------------------------------------------------------------------------------------
  function draw() {
    button.classList.toggle("lec-live-end", Boolean(on)); // its name says what it does: no pressed state beside it
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
