// Microphone -> 16 kHz mono WAV. The browser's own recorder writes WebM, which not every decoder reads.

import { Problem } from "./client.js";

const SAMPLE_RATE = 16000;
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
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Problem("This browser gives the microphone only to pages on this computer or over HTTPS.",
        "Open Lectern at http://127.0.0.1 or put it behind HTTPS; typing works either way.");
    }
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({
        audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
      });
    } catch (error) {
      if (error.name === "NotFoundError") throw new Problem("No microphone was found.", "Connect one, or type your question.");
      throw new Problem("The microphone is not allowed for this page.", "Allow it beside the address, or type your question.");
    }
    this.context = new AudioContext({ sampleRate: SAMPLE_RATE });
    await this.context.audioWorklet.addModule("/ui/recorder-worklet.js");
    this.node = new AudioWorkletNode(this.context, "lectern-recorder", { numberOfOutputs: 0 });
    this.node.port.onmessage = ({ data }) => {
      this.frames.push(data);
      this.count += data.length;
      let power = 0;
      for (const sample of data) power += sample * sample;
      this.onLevel(Math.min(1, Math.sqrt(power / data.length) * 6), this.seconds);
    };
    this.context.createMediaStreamSource(this.stream).connect(this.node);
  }

  release() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.node?.disconnect();
    if (this.context && this.context.state !== "closed") this.context.close();
  }

  // Ends the recording; a Blob of audio/wav.
  stop() {
    this.release();
    const view = new DataView(new ArrayBuffer(44 + 2 * this.count));
    const text = (offset, value) => [...value].forEach((c, i) => view.setUint8(offset + i, c.charCodeAt(0)));
    text(0, "RIFF");
    view.setUint32(4, 36 + 2 * this.count, true);
    text(8, "WAVEfmt ");
    view.setUint32(16, 16, true);
    view.setUint16(20, 1, true); // PCM
    view.setUint16(22, 1, true); // mono
    view.setUint32(24, SAMPLE_RATE, true);
    view.setUint32(28, 2 * SAMPLE_RATE, true);
    view.setUint16(32, 2, true);
    view.setUint16(34, 16, true);
    text(36, "data");
    view.setUint32(40, 2 * this.count, true);
    let offset = 44;
    for (const frame of this.frames) {
      for (const sample of frame) {
        view.setInt16(offset, 32767 * Math.max(-1, Math.min(1, sample)), true);
        offset += 2;
      }
    }
    return new Blob([view], { type: "audio/wav" });
  }
}
