// Microphone -> 16 kHz mono WAV. The browser's own recorder writes WebM, which not every decoder reads.

import { lacking, Microphone, SAMPLE_RATE } from "./microphone.js";

export const MAX_SECONDS = 120;

export class Recorder {
  constructor({ onLevel = () => {} } = {}) {
    this.onLevel = onLevel;
    this.frames = [];
    this.count = 0;
  }

  get seconds() {
    return this.count / SAMPLE_RATE;
  }

  async start() {
    const problem = lacking();
    if (problem) throw problem;
    this.context = new AudioContext();
    this.microphone = new Microphone({ context: this.context, size: 1024, onFrame: (frame) => {
      this.frames.push(frame);
      this.count += frame.length;
      let power = 0;
      for (const sample of frame) power += (sample / 32768) ** 2;
      this.onLevel(Math.min(1, Math.sqrt(power / frame.length) * 6), this.seconds);
    } });
    await this.microphone.open();
  }

  release() {
    this.microphone?.close();
    if (this.context && this.context.state !== "closed") this.context.close();
  }

  // Ends the recording; a Blob of audio/wav.
  stop() {
    this.release();
    const header = new DataView(new ArrayBuffer(44));
    const text = (offset, value) => [...value].forEach((c, i) => header.setUint8(offset + i, c.charCodeAt(0)));
    text(0, "RIFF");
    header.setUint32(4, 36 + 2 * this.count, true);
    text(8, "WAVEfmt ");
    header.setUint32(16, 16, true);
    header.setUint16(20, 1, true); // PCM
    header.setUint16(22, 1, true); // mono
    header.setUint32(24, SAMPLE_RATE, true);
    header.setUint32(28, 2 * SAMPLE_RATE, true);
    header.setUint16(32, 2, true);
    header.setUint16(34, 16, true);
    text(36, "data");
    header.setUint32(40, 2 * this.count, true);
    return new Blob([header, ...this.frames], { type: "audio/wav" }); // typed arrays are little-endian wherever browsers run
  }
}
