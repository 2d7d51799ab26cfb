// Plays a spoken answer from pieces of PCM as they arrive, without gaps, and can fall silent at once.

export class Player {
  constructor({ onSentence = () => {}, onChange = () => {} } = {}) {
    this.onSentence = onSentence;
    this.onChange = onChange;
    this.context = null;
    this.sources = new Set();
    this.timers = new Set();
    this.endsAt = 0;
    this.complete = true;
  }

  get playing() {
    return this.sources.size > 0;
  }

  // Browsers start sound only from a click or key press: call this inside its handler.
  unlock() {
    this.context ??= new AudioContext();
    if (this.context.state === "suspended") this.context.resume();
  }

  begin() {
    this.stop();
    this.complete = false;
  }

  // pcm: base64 of 16-bit little-endian mono samples; sentence: what it says, only on a sentence's first piece.
  push({ pcm, sample_rate: rate, ...sentence }) {
    this.unlock();
    const bytes = Uint8Array.from(atob(pcm), (character) => character.charCodeAt(0));
    const samples = new Int16Array(bytes.buffer, 0, bytes.length >> 1);
    if (!samples.length) return;
    const buffer = this.context.createBuffer(1, samples.length, rate);
    const channel = buffer.getChannelData(0);
    for (let i = 0; i < samples.length; i += 1) channel[i] = samples[i] / 32768;

    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.context.destination);
    const startsAt = Math.max(this.context.currentTime + 0.03, this.endsAt);
    this.endsAt = startsAt + buffer.duration;
    source.onended = () => {
      this.sources.delete(source);
      this.onChange();
    };
    source.start(startsAt);
    this.sources.add(source);
    if (sentence.sentence !== undefined) {
      const timer = setTimeout(() => {
        this.timers.delete(timer);
        this.onSentence(sentence);
      }, 1000 * (startsAt - this.context.currentTime));
      this.timers.add(timer);
    }
    this.onChange();
  }

  finish() {
    this.complete = true;
    this.onChange();
  }

  stop() {
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
    for (const source of this.sources) {
      source.onended = null;
      source.stop();
    }
    this.sources.clear();
    this.endsAt = 0;
    this.complete = true;
    this.onChange();
  }
}
