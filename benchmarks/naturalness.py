"""A MOS-like score without listeners: DNSMOS (Reddy et al., ICASSP 2022) from the wheel `speechmos`, where installed.

    score = load_dnsmos()                # None without `pip install --no-deps speechmos` and onnxruntime
    score(waveform)                      # {"signal": 3.4, "background": 4.0, "overall": 3.1}, each 1..5

DNSMOS was trained on noisy and denoised telephone speech: it hears buzz and noise, not intonation. Compare voices with
it, and believe differences of a tenth or two to be nothing.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np

from omni.audio import resample
from omni.types import Waveform

_SECONDS = 9.01  # what the network reads at a time
# raw output -> MOS, the published fits of second degree
_FITS = {
    "signal": (-0.08397278, 1.22083953, 0.0052439),
    "background": (-0.13166888, 1.60915514, -0.39604546),
    "overall": (-0.06766283, 1.11546468, 0.04602535),
}


def load_dnsmos() -> Callable[[Waveform], dict[str, float]] | None:
    found = importlib.util.find_spec("speechmos")
    if found is None or found.origin is None or importlib.util.find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = Path(found.origin).parent / "dnsmos_models" / "sig_bak_ovr.onnx"
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def score(waveform: Waveform) -> dict[str, float]:
        samples = resample(waveform, 16_000).samples
        needed = int(_SECONDS * 16_000)
        samples = np.tile(samples, 1 + needed // len(samples))  # short sounds are repeated, as in the original
        windows = [samples[at : at + needed] for at in range(0, len(samples) - needed + 1, 32_000)]
        raw = np.mean([session.run(None, {"input_1": w[None].astype(np.float32)})[0][0] for w in windows], axis=0)
        return {
            name: round(float(np.polyval(fit, value)), 2) for (name, fit), value in zip(_FITS.items(), raw, strict=True)
        }

    return score
