// What of a turn's times only the page can know: when its sound was captured, played, and fell silent.

const REMEMBERED = 3000; // frames, about 90 s
const SENSIBLE_MS = 10_000; // a silence that came later has another cause

const round = (ms) => Math.round(10 * ms) / 10;

export class Measure {
  // tell(message): to the server, if it can be reached just now.
  constructor(tell) {
    this.tell = tell;
    this.frames = []; // {sample, at}: position of a captured frame and when it began, ms of performance.now()
    this.forget();
  }

  // A new session counts its turns and speeches from 1 again.
  forget() {
    this.sent = []; // when typed questions were sent whose turns are not known yet
    this.turns = new Map(); // turn -> {start, speechEnd, decided, stopped}: ms
    this.speeches = new Map(); // speech -> {turn, began, silent, cause, told}
  }

  captured(sample, at) {
    this.frames.push({ sample, at });
    if (this.frames.length > REMEMBERED) this.frames.shift();
  }

  // Samples are counted from 0 again.
  recount() {
    this.frames = [];
  }

  // When a sample was captured; undefined if that is not known (any more).
  time(sample) {
    const frame = this.frames.findLast(({ sample: first }) => first <= sample);
    return frame && frame.at + (sample - frame.sample) / 16;
  }

  // ---- turns --------------------------------------------------------------------------------------------------
  sending() {
    this.sent.push(performance.now());
  }

  hearing({ turn, start_sample: start }) {
    this.turns.set(turn, { start: this.time(start) });
  }

  ended({ turn, speech_end_sample: speechEnd, decided_sample: decided }) {
    this.turns.set(turn, { ...this.turns.get(turn), speechEnd: this.time(speechEnd), decided: this.time(decided) });
  }

  written({ turn, typed, corrects }) {
    if (!typed && !corrects) return;
    const at = this.sent.shift();
    this.turns.set(turn, { speechEnd: at, decided: at });
  }

  // ---- speeches -----------------------------------------------------------------------------------------------
  speech({ speech, turn }) {
    this.speeches.set(speech, { turn });
  }

  turnOf(speech) {
    return this.speeches.get(speech)?.turn;
  }

  began(speech, at) {
    const known = this.speeches.get(speech);
    const { speechEnd, decided } = this.turns.get(known?.turn) ?? {};
    if (!known) return;
    known.began = at;
    if (speechEnd === undefined || decided === undefined) return;
    this.tell({ type: "first_played", speech, turn: known.turn, after_speech_end_ms: round(at - speechEnd), after_decision_ms: round(at - decided) });
  }

  silent(speech, at) {
    const known = this.speeches.get(speech);
    if (!known) return;
    known.silent ??= at;
    this.stopped(speech, known);
  }

  soundsAgain(speech) {
    const known = this.speeches.get(speech);
    if (known) known.silent = null;
  }

  cancelled(speech, cause) {
    const known = this.speeches.get(speech);
    if (!known) return;
    known.cause = cause;
    this.stopped(speech, known);
  }

  // Once both are known: that somebody spoke into it, and when it fell silent.
  stopped(speech, known) {
    if (known.told || !known.silent || (known.cause !== "barge_in" && known.cause !== "stop")) return;
    const interrupting = [...this.turns.values()].findLast(({ start }) => start < known.silent);
    const ms = known.silent - interrupting?.start;
    if (!(interrupting?.start > known.began && ms < SENSIBLE_MS)) return; // stopped by a button
    known.told = true;
    interrupting.stopped = round(ms);
    this.tell({ type: "stopped", speech, after_speech_start_ms: round(ms) });
  }
}
