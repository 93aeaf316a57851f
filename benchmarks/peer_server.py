"""What a peer's process does: it reads requests, a line of JSON each, and answers in the same way.

Imported by compressai_peer.py and tfc_peer.py, which run in environments of their own, so nothing
of Codecsmith is imported here.

    {"do": "about"}                       -> {"versions": {...}, "architectures": [...]}
    {"do": "code", "architecture": ..., "image": FILE.npy, "threads": n, "repeats": n}
                                          -> {"encode_s": [...], "decode_s": [...],
                                              "encode_peak_bytes": n, "decode_peak_bytes": n,
                                              "parameters": n}
    {"do": "train", "architecture": ..., "batch": n, "side": pixels, "threads": n, "steps": n}
                                          -> {"step_s": [...], "peak_bytes": n, "parameters": n}

An error is answered as {"error": ...}. Times leave out the first call, which warms up; the image is
uint8 (H, W, 3). Weights are random: speed does not depend on them, sizes and pixels mean nothing.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class Model(Protocol):
    """An architecture with random weights."""

    parameters: int

    def encode(self, image: np.ndarray) -> Any:
        """uint8 (H, W, 3) to strings."""

    def decode(self, coded: Any) -> np.ndarray:
        """Strings to uint8 (H, W, 3)."""

    def train_step(self, batch: np.ndarray) -> None:
        """One step on float32 (B, S, S, 3) in [0, 1]: forward, backward, optimizer."""


def serve(
    packages: Sequence[str],
    architectures: Sequence[str],
    make: Callable[[str], Model],
    use_threads: Callable[[int], None],
) -> None:
    """Answers until standard input ends.

    Args:
        packages: whose versions are told.
        architectures: that `make` knows.
        make: gives a model.
        use_threads: sets how many cores the library works with.
    """
    # Libraries print; the answers must not be among it.
    answers, sys.stdout = sys.stdout, sys.stderr
    models: dict[str, Model] = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "about":
                versions = {name: version(name) for name in packages}
                answer = {"versions": versions, "architectures": list(architectures)}
            else:
                use_threads(request["threads"])
                name = request["architecture"]
                if name not in models:
                    models[name] = make(name)
                answer = (_code if request["do"] == "code" else _train)(models[name], request)
        # Whatever it is, the other side has to know.
        except Exception as error:  # noqa: BLE001
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def _code(model: Model, request: dict[str, Any]) -> dict[str, Any]:
    image = np.load(request["image"])
    coded, encode_peak = _with_peak(lambda: model.encode(image))
    pixels, decode_peak = _with_peak(lambda: model.decode(coded))
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


def _train(model: Model, request: dict[str, Any]) -> dict[str, Any]:
    side = request["side"]
    batch = np.random.default_rng(0).random((request["batch"], side, side, 3), np.float32)
    _, peak = _with_peak(lambda: model.train_step(batch))
    model.train_step(batch)
    seconds = []
    for _ in range(request["steps"]):
        began = time.perf_counter()
        model.train_step(batch)
        seconds.append(time.perf_counter() - began)
    return {"step_s": seconds, "peak_bytes": peak, "parameters": model.parameters}


def _with_peak(work: Callable[[], Any]) -> tuple[Any, int | None]:
    """What something returned, and how far the process grew meanwhile; None where none tells."""
    try:
        _CLEAR.write_text("5", encoding="ascii")
        before = _kibibytes("VmRSS")
        result = work()
        return result, max(0, _kibibytes("VmHWM") - before) << 10
    except (OSError, StopIteration):
        return work(), None


def _kibibytes(name: str) -> int:
    lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
