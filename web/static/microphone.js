// The microphone as 16 kHz frames of 16-bit samples, and a clear line when there is none to be had.

import { Problem } from "./client.js";

export const SAMPLE_RATE = 16000;

// What this browser lacks for live sound; null if nothing. `needs`: names of globals.
export function lacking(needs = ["AudioWorkletNode"]) {
  if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) {
    return new Problem("This browser gives the microphone only to pages on this computer or over HTTPS.",
      "Open Lectern at http://127.0.0.1 or put it behind HTTPS; typing works either way.");
  }
  if (needs.some((name) => !(name in window))) {
    return new Problem("This browser is too old to talk with.", "Use a current Chrome, Edge, Firefox or Safari; typing works either way.");
  }
  return null;
}

function refusal({ name }) {
  if (name === "NotFoundError" || name === "OverconstrainedError") return new Problem("No microphone was found.", "Connect one, or type your question.");
  if (name === "NotReadableError" || name === "AbortError") {
    return new Problem("The microphone is in use by another program.", "Close that program, then try again, or type your question.");
  }
  return new Problem("The microphone is not allowed for this page.", "Allow it beside the address, or type your question.");
}

export class Microphone {
  // onFrame(frame, peak, at): `size` samples; their largest value 0..1; `at`: when the frame ended, ms of
  // performance.now(). onLost(): the device was unplugged or taken away.
  constructor({ context, size, onFrame, onLost = () => {} }) {
    Object.assign(this, { context, size, onFrame, onLost });
    this.stream = null;
    this.clock = new Clock();
  }

  // Raises a Problem that a person can act upon.
  async open() {
    const problem = lacking();
    if (problem) throw problem;
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({
        audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
      });
    } catch (error) {
      throw refusal(error);
    }
    this.stream = stream;
    stream.getAudioTracks()[0].addEventListener("ended", () => { if (this.stream === stream) this.onLost(); });
    await this.context.audioWorklet.addModule("/ui/recorder-worklet.js");
    if (this.stream !== stream) return; // closed meanwhile
    this.node = new AudioWorkletNode(this.context, "lectern-recorder", {
      numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit", processorOptions: { rate: SAMPLE_RATE, frame: this.size },
    });
    this.node.port.onmessage = ({ data: { frame, peak, time } }) => {
      if (this.stream === stream) this.onFrame(frame, peak, this.clock.at(time));
    };
    this.source = this.context.createMediaStreamSource(stream);
    this.source.connect(this.node);
  }

  close() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    this.source?.disconnect();
    this.node?.port.postMessage("close");
    this.node = null;
  }
}

// Times of an audio clock (s) as performance.now() (ms). A message from the audio thread tells "not later than now"; the
// one that waited least, of the last few seconds, is nearest the truth. Both clocks drift apart slowly.
export class Clock {
  constructor() {
    this.seen = [];
  }

  at(time) {
    const now = performance.now();
    this.seen.push({ now, ahead: now - 1000 * time });
    while (this.seen[0].now < now - 4000) this.seen.shift();
    let ahead = Infinity;
    for (const each of this.seen) ahead = Math.min(ahead, each.ahead);
    return 1000 * time + ahead;
  }
}
