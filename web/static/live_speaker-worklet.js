// Runs on the audio thread: plays the speeches of a live conversation, chunk after chunk without a gap.
//
// In:  {do: "chunk", speech, chunk, sentence, start, rate, last, samples: Float32Array}
//      {do: "duck"} · {do: "hold"} · {do: "resume"} · {do: "flush", speech}   (flush: every speech up to that number)
// Out: {told: "begun" | "sentence" | "at" | "held" | "resumed" | "flushed" | "ended", speech, samples, time, …}
//      samples: the position in the speech; time: of the audio context (s), when that sample is rendered.

import { reach, sampleAt } from "./resample.js";

const DUCKED = 0.15;
const RAMP_S = 0.012; // from silence to full or back, without a click
const REWIND_S = 0.12; // after a hold
const KEEP_S = 2; // of what has been played, for the rewind
const REPORT_S = 0.1;

registerProcessor("lectern-speaker", class extends AudioWorkletProcessor {
  constructor() {
    super();
    this.speeches = []; // {speech, rate, chunks, position, sentence, last, begun}, the first is playing
    this.flushed = 0;
    this.gain = 0;
    this.target = 1;
    this.stopping = ""; // "hold", "flush": silence has been asked for and is reached within RAMP_S
    this.holding = false;
    this.reportAt = 0;
    this.open = true;
    this.port.onmessage = ({ data }) => this[data.do](data);
  }

  close() {
    this.open = false;
  }

  chunk({ speech: id, chunk, sentence, start, rate, last, samples }) {
    if (id <= this.flushed) return;
    let speech = this.speeches.find((each) => each.speech === id);
    if (!speech) {
      speech = { speech: id, rate, chunks: [], position: start, sentence: -1, last: false, begun: false };
      this.speeches.push(speech);
    }
    if (samples.length) speech.chunks.push({ chunk, sentence, start, samples, end: start + samples.length });
    speech.last ||= last;
  }

  duck() {
    this.target = DUCKED;
  }

  hold() {
    this.target = 0;
    this.stopping = "hold";
  }

  resume() {
    const speech = this.speeches[0];
    if (this.holding && speech) {
      speech.position = Math.max(speech.chunks[0]?.start ?? 0, speech.position - REWIND_S * speech.rate);
      this.tell("resumed", speech);
    }
    this.holding = false;
    this.stopping = "";
    this.target = 1;
  }

  flush({ speech }) {
    this.flushed = Math.max(this.flushed, speech);
    const playing = this.speeches[0];
    const sounds = playing && playing.speech <= this.flushed && this.gain > 0 && !this.holding;
    this.speeches = this.speeches.filter((each, index) => each.speech > this.flushed || (sounds && index === 0));
    if (sounds) {
      this.target = 0;
      this.stopping = "flush";
    } else {
      this.afterFlush(playing);
    }
  }

  afterFlush(speech) {
    this.speeches = this.speeches.filter((each) => each.speech > this.flushed);
    this.holding = false;
    this.stopping = "";
    this.gain = 0;
    this.target = 1;
    this.port.postMessage({ told: "flushed", speech: speech?.speech ?? 0, samples: Math.floor(speech?.position ?? 0), time: currentTime });
  }

  tell(told, { speech, position, sentence }, offset = 0) {
    this.port.postMessage({ told, speech, sentence, samples: Math.floor(position), time: currentTime + offset / sampleRate });
    if (told !== "sentence") this.reportAt = currentTime + REPORT_S;
  }

  // Samples of a speech from `from` on; silence where there are none.
  span(speech, from, length) {
    const signal = new Float32Array(length);
    for (const { start, end, samples } of speech.chunks) {
      const first = Math.max(from, start);
      const last = Math.min(from + length, end);
      if (first < last) signal.set(samples.subarray(first - start, last - start), first - from);
    }
    return signal;
  }

  process(_inputs, [[left, ...others]]) {
    const speech = this.speeches[0];
    if (speech && !this.holding) this.play(speech, left);
    for (const other of others) other.set(left);
    return this.open;
  }

  play(speech, out) {
    const step = speech.rate / sampleRate;
    const around = step === 1 ? 0 : reach(1);
    const available = speech.chunks.at(-1)?.end ?? speech.position;
    const until = speech.last ? available : available - around;
    const base = Math.floor(speech.position) - around;
    const signal = this.span(speech, base, Math.ceil(out.length * step) + 2 * around + 2);
    const rise = 1 / (RAMP_S * sampleRate);
    const beginning = speech.position < until && !speech.begun;
    if (beginning) {
      speech.begun = true;
      this.tell("begun", speech);
    }
    let i = 0;
    while (i < out.length && speech.position < until) {
      this.gain = this.gain < this.target ? Math.min(this.target, this.gain + rise) : Math.max(this.target, this.gain - rise);
      const at = speech.position - base;
      out[i] = this.gain * (step === 1 ? signal[Math.floor(at)] : sampleAt(signal, at, 1));
      speech.position += step;
      i += 1;
      if (this.gain === 0 && this.stopping) break;
    }
    if (this.stopping && (this.gain === 0 || i < out.length)) {
      this.quiet(speech, i);
      return;
    }
    if (i < out.length) { // all of it, or the network is slower than the voice: come back softly
      this.gain = 0;
      if (speech.last) {
        this.speeches.shift();
        this.tell("ended", speech, i);
        return;
      }
    }
    const here = speech.chunks.find(({ end }) => end > speech.position);
    if (here && here.sentence !== speech.sentence) {
      speech.sentence = here.sentence;
      this.tell("sentence", speech, i);
    }
    while (speech.chunks.length > 1 && speech.chunks[0].end < speech.position - KEEP_S * speech.rate) speech.chunks.shift();
    if (currentTime >= this.reportAt && i > 0) this.tell("at", speech, i);
  }

  quiet(speech, offset) {
    if (this.stopping === "hold") {
      this.holding = true;
      this.stopping = "";
      this.gain = 0;
      this.tell("held", speech, offset);
    } else {
      this.afterFlush(speech);
    }
  }
});
