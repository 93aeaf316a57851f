"""Measures the symbol coder: speed and size, for what a hyperprior gives it.

    python -m benchmarks.coder_speed
    python -m benchmarks.coder_speed --symbols 3000000 --repeats 5

One row for each distribution of scales. `CPU` counts the seconds of this one thread, `wall` those
of the clock, which on a shared machine are more. Reading includes the check that the stream is the
one that an encoder writes. `over` is what real bytes exceed the ideal code length by.

Figures: docs/benchmarks.md.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from codec import SymbolCoder, gaussian_tables

SCALES = np.exp(np.linspace(np.log(0.11), np.log(256.0), 64))  # of Balle 2018, section 6
MIXES = {"low rate": (4.0, 8.0), "medium rate": (18.0, 12.0), "high rate": (32.0, 12.0)}
"""Mean and standard deviation of the scale index."""


def latents(
    count: int, mean: float, deviation: float
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Symbols and their scale indices, (count,) each, as a hyperprior has them."""
    rng = np.random.default_rng(0)
    index = np.clip(rng.normal(mean, deviation, count), 0, len(SCALES) - 1).astype(np.int32)
    symbols = np.rint(rng.normal(size=count) * SCALES[index]).astype(np.int32)
    return symbols, index


def medians(call: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds of a call: of this thread, and of the clock."""
    call()
    cpu, wall = [], []
    for _ in range(repeats):
        start = time.thread_time(), time.perf_counter()
        call()
        cpu.append(time.thread_time() - start[0])
        wall.append(time.perf_counter() - start[1])
    return statistics.median(cpu), statistics.median(wall)


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description="Speed and size of the symbol coder.")
    parser.add_argument("--symbols", type=int, default=300_000)
    parser.add_argument("--repeats", type=int, default=31)
    options = parser.parse_args()
    start = time.perf_counter()
    tables = gaussian_tables(SCALES)
    print(
        f"{len(tables)} Gaussian tables, {tables.frequencies.size} frequencies, "
        f"{len(tables.to_bytes())} bytes, made in {time.perf_counter() - start:.2f} s"
    )
    coder = SymbolCoder(tables)
    print(f"{options.symbols} symbols, median of {options.repeats}, million symbols a second")
    print(
        f"{'':12} {'bits/symbol':>11} {'over':>7} | encode {'CPU':>5} {'wall':>5} | "
        f"decode {'CPU':>5} {'wall':>5}"
    )
    for name, mix in MIXES.items():
        symbols, index = latents(options.symbols, *mix)
        data = coder.encode(symbols, index)
        if not np.array_equal(coder.decode(data, index), symbols):
            raise AssertionError("the symbols came back otherwise")
        ideal = coder.estimate_bits(symbols, index)
        rates = [
            options.symbols / seconds / 1e6
            for call in (
                lambda s=symbols, i=index: coder.encode(s, i),
                lambda d=data, i=index: coder.decode(d, i),
            )
            for seconds in medians(call, options.repeats)
        ]
        print(
            f"{name:12} {ideal / options.symbols:11.3f} {8 * len(data) / ideal - 1:7.3%} | "
            f"{rates[0]:12.1f} {rates[1]:5.1f} | {rates[2]:12.1f} {rates[3]:5.1f}"
        )


if __name__ == "__main__":
    main()
