// Change of sampling rate by windowed-sinc interpolation. Imported by the audio threads, which load modules as well.

const REACH = 16; // zero crossings of the kernel on either side
const FINE = 256; // table entries between two of them

// Right half of a sinc under a Kaiser window (beta 8: side lobes 80 dB down), read with linear interpolation.
const KERNEL = (() => {
  const bessel = (x) => {
    let [sum, term] = [1, 1];
    for (let k = 1; k < 30; k += 1) {
      term *= (x / (2 * k)) ** 2;
      sum += term;
    }
    return sum;
  };
  const table = new Float32Array(REACH * FINE + 2);
  for (let i = 0; i < REACH * FINE; i += 1) {
    const x = i / FINE;
    const window = bessel(8 * Math.sqrt(1 - (x / REACH) ** 2)) / bessel(8);
    table[i] = window * (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
  }
  return table;
})();

// The widest span of samples that `sampleAt` reads on either side of a position.
export const reach = (scale) => Math.ceil(REACH / scale) + 1;

// The value at a fractional `position` of `signal`. `scale`: cut-off as a part of the signal's Nyquist frequency, 0..1:
// 1 to go up, the ratio of the rates (a little less, to keep clear of the edge) to go down.
export function sampleAt(signal, position, scale) {
  const first = Math.max(0, Math.ceil(position - REACH / scale));
  const last = Math.min(signal.length - 1, Math.floor(position + REACH / scale));
  let sum = 0;
  for (let i = first; i <= last; i += 1) {
    const x = Math.abs(i - position) * scale * FINE;
    const entry = x | 0;
    sum += signal[i] * (KERNEL[entry] + (x - entry) * (KERNEL[entry + 1] - KERNEL[entry]));
  }
  return sum * scale;
}

// A stream at rate `from` as a stream at rate `to`: blocks in, samples out one by one, REACH samples late.
export class Resampler {
  constructor(from, to) {
    this.step = from / to;
    this.scale = Math.min(1, (0.96 * to) / from);
    this.margin = reach(this.scale);
    this.kept = new Float32Array(this.margin); // silence before the start
    this.position = this.margin; // of the next sample out, in `kept`
  }

  push(block, emit) {
    if (this.step === 1) {
      for (const sample of block) emit(sample);
      return;
    }
    const signal = new Float32Array(this.kept.length + block.length);
    signal.set(this.kept);
    signal.set(block, this.kept.length);
    while (this.position + this.margin < signal.length) {
      emit(sampleAt(signal, this.position, this.scale));
      this.position += this.step;
    }
    const spent = Math.max(0, Math.floor(this.position) - this.margin);
    this.kept = signal.slice(spent);
    this.position -= spent;
  }
}
