// The loudspeaker of a live conversation: what it plays, and exactly how far it has got.

export class Speaker {
  // on: {begun, sentence, held, resumed, cancelled, ended}(speech, {samples, sentence, at}); at: when it sounds, ms of
  // performance.now().
  // report(speech, samples, playing): how much of a speech has sounded, in its own samples.
  constructor({ context, on, report }) {
    Object.assign(this, { context, on, report });
    this.have = null; // {speech, chunk}: the last chunk received
    this.cancelled = 0; // every speech up to this number
    this.playing = 0; // the speech that sounds or is held, 0: none
    this.held = false;
    this.rate = 16000;
    this.last = null; // {samples, time} of the playing speech
    this.timer = 0;
    this.gain = 1; // "louder"
  }

  async open() {
    await this.context.audioWorklet.addModule("/ui/live_speaker-worklet.js");
    this.node = new AudioWorkletNode(this.context, "lectern-speaker", { numberOfInputs: 0, outputChannelCount: [1] });
    this.node.port.onmessage = ({ data }) => this.heard(data);
    this.loudness = this.context.createGain();
    this.loudness.gain.value = this.gain;
    this.node.connect(this.loudness);
    this.loudness.connect(this.context.destination);
  }

  close() {
    clearInterval(this.timer);
    this.node?.port.postMessage({ do: "close" });
    this.node?.disconnect();
    this.loudness?.disconnect();
    this.node = null;
  }

  // A binary frame of the server (docs/live.md): a header of 20 bytes, then 16-bit samples.
  push(buffer) {
    const view = new DataView(buffer);
    if (buffer.byteLength < 20 || view.getUint8(0) !== 1) return;
    const speech = view.getUint32(4, true);
    const chunk = view.getUint32(8, true);
    const known = this.have && (speech < this.have.speech || (speech === this.have.speech && chunk <= this.have.chunk));
    if (known || speech <= this.cancelled) return;
    // A browser that waits for a click plays nothing: the server must not believe that it is being heard.
    if (speech !== this.have?.speech && this.context.state !== "running") this.report(speech, view.getUint32(16, true), false);
    this.have = { speech, chunk };
    const samples = new Float32Array((buffer.byteLength - 20) >> 1);
    for (let i = 0; i < samples.length; i += 1) samples[i] = view.getInt16(20 + 2 * i, true) / 32768;
    this.node?.port.postMessage({
      do: "chunk", speech, chunk, samples, sentence: view.getUint32(12, true), start: view.getUint32(16, true),
      rate: view.getUint16(2, true), last: Boolean(view.getUint8(1) & 2),
    }, [samples.buffer]);
    this.rate = view.getUint16(2, true);
  }

  duck() { this.node?.port.postMessage({ do: "duck" }); }
  hold() { this.node?.port.postMessage({ do: "hold" }); }
  resume() { this.node?.port.postMessage({ do: "resume" }); }

  // 1: as it was sent. Softly: a step of the gain clicks.
  volume(gain) {
    this.gain = gain;
    this.loudness?.gain.setTargetAtTime(gain, this.context.currentTime, 0.03);
  }

  // Silence, now, in one message; nothing of this speech or an earlier one will sound again.
  cancel(speech) {
    this.cancelled = Math.max(this.cancelled, speech);
    this.node?.port.postMessage({ do: "flush", speech: this.cancelled });
  }

  // A new session counts its speeches from 1 again.
  reset() {
    this.cancel(Math.max(this.cancelled, this.have?.speech ?? 0));
    this.close();
    Object.assign(this, { have: null, cancelled: 0, playing: 0, held: false, last: null });
    return this.open();
  }

  heard({ told, speech, samples, sentence, time }) {
    const at = this.soundsAt(time);
    if (told === "flushed") {
      if (this.playing && this.playing <= this.cancelled) this.ends(samples, at, "cancelled");
      return;
    }
    if (speech <= this.cancelled) return;
    this.last = { samples, time };
    if (told === "begun") this.begins(speech);
    if (told === "held") this.held = true;
    if (told === "resumed") this.held = false;
    if (told === "held" || told === "resumed") this.tell();
    if (told === "ended") this.ends(samples, at, "ended");
    else this.on[told]?.(speech, { samples, sentence, at });
  }

  begins(speech) {
    this.playing = speech;
    this.held = false;
    this.tell();
    clearInterval(this.timer);
    this.timer = setInterval(() => { if (!this.held) this.tell(); }, 250);
  }

  ends(samples, at, how) {
    const speech = this.playing;
    clearInterval(this.timer);
    this.playing = 0;
    this.held = false;
    if (how === "ended") this.report(speech, samples, false);
    else this.report(speech, Math.min(samples, this.sounded()), false);
    this.on[how]?.(speech, { samples, at });
  }

  tell() {
    this.report(this.playing, this.sounded(), !this.held);
  }

  // How much of the playing speech has left the loudspeaker: what was rendered less what is still on its way.
  sounded() {
    if (!this.last) return 0;
    const { contextTime } = this.stamp();
    const ahead = Math.max(0, this.last.time - contextTime);
    return Math.max(0, Math.floor(this.last.samples - ahead * this.rate));
  }

  soundsAt(time) {
    const { contextTime, performanceTime } = this.stamp();
    return performanceTime + 1000 * (time - contextTime);
  }

  // Which moment of the context is at the loudspeaker now. Not every browser tells, or tells sense.
  stamp() {
    const { currentTime } = this.context;
    const now = performance.now();
    const { contextTime = 0, performanceTime = 0 } = this.context.getOutputTimestamp?.() ?? {};
    const ahead = currentTime - (contextTime + (now - performanceTime) / 1000);
    if (performanceTime > 0 && ahead > -0.1 && ahead < 1) return { contextTime, performanceTime };
    return { contextTime: currentTime - (this.context.outputLatency || 0), performanceTime: now };
  }
}
