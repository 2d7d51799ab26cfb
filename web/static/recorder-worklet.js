// Runs on the audio thread: what the microphone hears, as 16-bit frames at 16 kHz.
//
// The context runs at the device's own rate: some browsers refuse a microphone in a context of another rate. Each frame
// goes out with the context's time (s) at its end; without input (a microphone that is being opened) nothing goes out.

import { Resampler } from "./resample.js";

registerProcessor("lectern-recorder", class extends AudioWorkletProcessor {
  constructor({ processorOptions: { rate, frame } }) {
    super();
    this.resampler = new Resampler(sampleRate, rate);
    this.size = frame;
    this.frame = new Int16Array(frame);
    this.filled = 0;
    this.peak = 0;
    this.open = true;
    this.port.onmessage = () => { this.open = false; };
  }

  process([input]) {
    const block = input[0];
    if (!block) return this.open;
    this.resampler.push(block, (sample) => {
      const clipped = Math.max(-1, Math.min(1, sample));
      this.peak = Math.max(this.peak, Math.abs(clipped));
      this.frame[this.filled] = Math.round(32767 * clipped);
      this.filled += 1;
      if (this.filled < this.size) return;
      const frame = this.frame;
      this.port.postMessage({ frame, peak: this.peak, time: currentTime + block.length / sampleRate }, [frame.buffer]);
      this.frame = new Int16Array(this.size);
      this.filled = 0;
      this.peak = 0;
    });
    return this.open;
  }
});
