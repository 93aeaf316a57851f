"""What a peer's process does: it reads requests, a line of JSON each, and answers in the same way.

Imported by compressai_peer.py and tfc_peer.py, which run in environments of their own: all that is
imported of Codecsmith is a module that needs nothing but Python. And by own_peer.py, which makes
training steps with a model of ours. Answers are lines that begin with `ANSWER`; what else is on
standard output libraries have printed.

    {"do": "about"}                       -> {"versions": {...}, "architectures": {name: channels}}
    {"do": "code", "architecture": ..., "image": FILE.npy, "threads": n, "repeats": n}
                                          -> {"encode_s": [...], "decode_s": [...],
                                              "encode_peak_bytes": n, "decode_peak_bytes": n,
                                              "parameters": n}
    {"do": "train", "architecture": ..., "batch": n, "side": pixels, "threads": n,
     "warm": n, "steps": n}               -> {"step_s": [...], "resident_bytes": n,
                                              "parameters": n}

An error is answered as {"error": ...}. Times leave out what warms up: the first call, and `warm`
training steps. The image is uint8 (H, W, 3). `resident_bytes` is the most that the process held
during the timed steps, all in all; it is null where the system does not tell, as the peaks are.
Weights are random: transforms take the same time whatever they are, entropy coding takes less than
with trained ones, and sizes and pixels mean nothing.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))
from evaluation.peak_memory import with_highest, with_peak

ANSWER = "@answer "


class Trained(Protocol):
    """An architecture with random weights."""

    parameters: int

    def train_step(self, batch: np.ndarray) -> None:
        """One step on float32 (B, S, S, 3) in [0, 1]: forward, backward, optimizer."""


class Model(Trained, Protocol):
    """One that codes too."""

    def encode(self, image: np.ndarray) -> Any:
        """uint8 (H, W, 3) to strings."""

    def decode(self, coded: Any) -> np.ndarray:
        """Strings to uint8 (H, W, 3)."""


def serve(
    packages: Sequence[str],
    architectures: Mapping[str, str],
    make: Callable[[str], Trained],
    use_threads: Callable[[int], None],
) -> None:
    """Answers until standard input ends.

    Args:
        packages: whose versions are told.
        architectures: that `make` knows, and their numbers of channels.
        make: gives a model.
        use_threads: sets how many cores the library works with.
    """
    models: dict[str, Any] = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "about":
                versions = {name: version(name) for name in packages}
                answer = {"versions": versions, "architectures": dict(architectures)}
            else:
                use_threads(request["threads"])
                name = request["architecture"]
                if name not in models:
                    models[name] = make(name)
                answer = (_code if request["do"] == "code" else _train)(models[name], request)
        # Whatever it is, the other side has to know.
        except Exception as error:  # noqa: BLE001
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(f"\n{ANSWER}{json.dumps(answer)}", flush=True)


def _code(model: Model, request: dict[str, Any]) -> dict[str, Any]:
    image = np.load(request["image"])
    coded, encode_peak = with_peak(lambda: model.encode(image))
    pixels, decode_peak = with_peak(lambda: model.decode(coded))
    if pixels.shape != image.shape or pixels.dtype != np.uint8:
        raise ValueError(f"{pixels.dtype} {pixels.shape} of {image.shape}")
    encode_s, decode_s = [], []
    for _ in range(request["repeats"]):
        began = time.perf_counter()
        coded = model.encode(image)
        between = time.perf_counter()
        model.decode(coded)
        encode_s.append(between - began)
        decode_s.append(time.perf_counter() - between)
    return {
        "encode_s": encode_s,
        "decode_s": decode_s,
        "encode_peak_bytes": encode_peak,
        "decode_peak_bytes": decode_peak,
        "parameters": model.parameters,
    }


def _train(model: Trained, request: dict[str, Any]) -> dict[str, Any]:
    side = request["side"]
    batch = np.random.default_rng(0).random((request["batch"], side, side, 3), np.float32)
    for _ in range(request["warm"]):
        model.train_step(batch)

    def timed() -> list[float]:
        seconds = []
        for _ in range(request["steps"]):
            began = time.perf_counter()
            model.train_step(batch)
            seconds.append(time.perf_counter() - began)
        return seconds

    seconds, resident = with_highest(timed)
    return {"step_s": seconds, "resident_bytes": resident, "parameters": model.parameters}
