// Runs on the audio thread: gathers 128-sample blocks into frames of 1024 (64 ms at 16 kHz) and posts them.

registerProcessor("lectern-recorder", class extends AudioWorkletProcessor {
  constructor() {
    super();
    this.frame = new Float32Array(1024);
    this.filled = 0;
  }

  process([input]) {
    const block = input[0];
    if (!block) return true;
    this.frame.set(block, this.filled);
    this.filled += block.length;
    if (this.filled === this.frame.length) {
      this.port.postMessage(this.frame.slice());
      this.filled = 0;
    }
    return true;
  }
});
