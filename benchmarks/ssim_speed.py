"""Measures ways of computing SSIM: forward pass and gradient by the reconstruction.

    python -m benchmarks.ssim_speed
    KERAS_BACKEND=jax python -m benchmarks.ssim_speed

Rows: `ours` is `architectures.ssim.ssim` as it chooses for itself; `matmul`, `polyphase` and
`shifted` are its filters by force, `one channel` is the separable window as two ordinary
convolutions over planes (N, H, W, 1), `keras` is `keras.ops.image.ssim`, `tf.image` is
`tf.image.ssim`. `graph` is `tf.function`, `xla` is compiled by XLA, as `fit` does by default and
JAX always. `differs` is the largest distance from `ours`; over half a million pixels the float32
mean of `tf.image` is off by 1e-4 itself.

Median milliseconds on two cores of an AMD EPYC that had other work to do too, so that a cell is
good to a factor of 1.5 or so; TensorFlow 2.21 and JAX 0.11, Keras 3.15:

    batch        mode   ours  matmul  polyphase  shifted  one channel  keras  tf.image
    32x28x28x1   graph   2.0     2.9        8.4       38           31     55       136
    32x28x28x1   xla     1.7     1.8        6.5      7.9           84    327       347
    32x28x28x1   jax     0.9     0.9        4.8                          136
    8x256x256x3  graph   380     507        661     4557         4143   8048      5496
    8x256x256x3  xla     136     147        199     4480         2347   6264      7989
    8x256x256x3  jax     220     309        327
    1x512x768x3  graph   163     508        176     2403         2167   4440      2783
    1x512x768x3  xla     128     280         91     5881         2235   2130      3516

`ours` is `matmul` for the small batch and `polyphase` for the large ones.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from architectures.gaussian_window import FilterMethod, gaussian_filter, gaussian_weights
from architectures.ssim import FILTER_SIGMA, FILTER_SIZE, K1, K2, ssim

Tensor = Any
Similarity = Callable[[Tensor, Tensor], Tensor]

SIZES = ("32x28x28x1", "8x256x256x3", "1x512x768x3")
BACKEND = keras.backend.backend()


def ssim_by_filter(filter_signals: Callable[[Sequence[Tensor]], Sequence[Tensor]]) -> Similarity:
    """Returns SSIM with a filter of signals, each of them planes (N, H, W)."""

    def similarity(x: Tensor, x_hat: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        x, y = (
            ops.reshape(ops.transpose(image, (0, 3, 1, 2)), (batch * channels, height, width))
            for image in (x, x_hat)
        )
        mean_x, mean_y, second, product = filter_signals((x, y, x * x + y * y, x * y))
        cross, squares = 2 * mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
        luminance = (cross + K1**2) / (squares + K1**2)
        contrast = (2 * product - cross + K2**2) / (second - squares + K2**2)
        return ops.mean(ops.reshape(luminance * contrast, (batch, -1)), axis=1)

    return similarity


def one_channel(signals: Sequence[Tensor]) -> list[Tensor]:
    """Filters planes (N, H, W) by two convolutions with one channel."""
    weights = gaussian_weights(FILTER_SIZE, FILTER_SIGMA)

    def both_axes(planes: Tensor) -> Tensor:
        kernels = weights.reshape(1, -1, 1, 1), weights.reshape(-1, 1, 1, 1)
        rows = ops.conv(planes[..., None], kernels[0], data_format="channels_last")
        return ops.conv(rows, kernels[1], data_format="channels_last")[..., 0]

    return [both_axes(planes) for planes in signals]


def forced(method: FilterMethod) -> Similarity:
    """Returns SSIM with one of our filters for both axes."""
    weights = gaussian_weights(FILTER_SIZE, FILTER_SIGMA)
    return ssim_by_filter(lambda signals: gaussian_filter(signals, weights, method))


def candidates() -> dict[str, Similarity]:
    """Returns the ways to measure; TensorFlow's own only where it is the backend."""
    ways: dict[str, Similarity] = {
        "ours": ssim,
        "matmul": forced("matmul"),
        "polyphase": forced("polyphase"),
        "shifted": forced("shifted"),
        "one channel": ssim_by_filter(one_channel),
        "keras": ops.image.ssim,
    }
    if BACKEND == "tensorflow":
        import tensorflow as tf

        ways["tf.image"] = lambda x, x_hat: tf.image.ssim(x, x_hat, 1.0)
    return ways


def make_step(similarity: Similarity, mode: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Returns a function that computes SSIM and the gradient of its mean, and waits for both."""
    if BACKEND == "jax":
        import jax

        def loss(x_hat: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            values = similarity(x, x_hat)
            return ops.mean(values), values

        compiled = jax.jit(jax.grad(loss, has_aux=True))
        return lambda x, x_hat: np.asarray(jax.block_until_ready(compiled(x_hat, x))[1])
    import tensorflow as tf

    @tf.function(jit_compile=mode == "xla", autograph=False)
    def step(x: Tensor, x_hat: Tensor) -> tuple[Tensor, Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x_hat)
            values = similarity(x, x_hat)
            mean = tf.reduce_mean(values)
        return values, tape.gradient(mean, x_hat)

    def run(x: Tensor, x_hat: Tensor) -> np.ndarray:
        values, gradient = step(x, x_hat)
        gradient.numpy()
        return values.numpy()

    return run


def images(size: str) -> tuple[Tensor, Tensor]:
    """Returns noise and a noisier version of it, of a size written as BxHxWxC."""
    shape = tuple(int(side) for side in size.split("x"))
    rng = np.random.default_rng(0)
    x = rng.random(shape, dtype="float32")
    x_hat = np.clip(x + 0.1 * rng.standard_normal(shape), 0, 1).astype("float32")
    return ops.convert_to_tensor(x), ops.convert_to_tensor(x_hat)


def measure(similarity: Similarity, mode: str, size: str, seconds: float) -> tuple[Any, ...]:
    """Returns values, seconds of the first call, and milliseconds of later ones: median, least."""
    x, x_hat = images(size)
    step = make_step(similarity, mode)
    start = time.perf_counter()
    values = step(x, x_hat)
    first = time.perf_counter() - start
    times: list[float] = []
    while len(times) < 5 or (sum(times) < seconds and len(times) < 500):
        start = time.perf_counter()
        step(x, x_hat)
        times.append(time.perf_counter() - start)
    return values, first, 1e3 * statistics.median(times), 1e3 * min(times)


def main() -> None:
    """Prints a table of medians."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n", maxsplit=1)[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="batches to measure, as BxHxWxC")
    parser.add_argument("--ways", nargs="+", default=list(candidates()), help="rows to measure")
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each cell")
    arguments = parser.parse_args()
    ways = candidates()
    unknown = [way for way in arguments.ways if way not in ways]
    if unknown:
        parser.error(f"unknown way {', '.join(unknown)}; known: {', '.join(ways)}")
    modes = ("graph", "xla") if BACKEND == "tensorflow" else ("xla",)
    print(f"{BACKEND}, forward and gradient\n")
    times = f"{'median ms':>10}{'least':>9}{'first call s':>14}"
    print(f"{'batch':14}{'mode':7}{'way':13}{times}{'differs':>9}")
    for size in arguments.sizes:
        for mode in modes:
            ours, *_ = measure(ssim, mode, size, 0.0)
            for way in arguments.ways:
                values, first, median, least = measure(ways[way], mode, size, arguments.seconds)
                differs = float(np.abs(values - ours).max())
                print(
                    f"{size:14}{mode:7}{way:13}{median:10.2f}{least:9.2f}{first:14.2f}{differs:9.0e}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
