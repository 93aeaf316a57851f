"""Training on one device under JAX: steps a second, and the share of its matrix units they use.

    KERAS_BACKEND=jax python -m benchmarks.accelerator_speed --model models/photo_wide.json \
        --crop 256 --batch_size 16 --steps 50 --steps_per_dispatch 25 --precision mixed_bfloat16

Three tables: the device's peak in matrix products, as JAX reaches it with large squares; the
training step as `train.py` runs it (images on the device or from the loader, several steps a
dispatch, the loss read after each dispatch), without validation and log; and where the time of a
dispatch goes.

A step's arithmetic is stated in two ways. `counted` is what XLA counts in the step before it
optimizes it: all operations, forward, backward and optimizer. `formula` is 6 times the
multiply-accumulates of the layers: two operations each, once forward and twice backward; without
entropy model, losses and the optimizer. The share of the peak is that of the formula, which counts
nothing that a better program could leave out.
"""

import argparse
import itertools
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.backend import choose_backend
from builders.cli import Parser, boolean, positive, run_command
from builders.errors import UserError

if TYPE_CHECKING:
    from builders.session import Session

PEAKS = (
    ("bfloat16", "bfloat16", "default"),
    ("float32, as JAX does by default", "float32", "default"),
    ("float32, exact", "float32", "highest"),
)
"""Name, dtype and precision of the products; by default an NVIDIA GPU rounds float32 to TF32."""

PEAK_SIDES = {"cpu": (512, 1024)}
PEAK_SIDES_ELSEWHERE = (4096, 8192, 16384)
PEAK_SECONDS = 0.2
PEAK_TRIES = 5


def build_parser() -> Parser:
    """The flags."""
    parser = Parser(prog="accelerator_speed", description="Training speed on one device under JAX.")
    add = parser.add_argument
    add("--model", default="models/photo_wide.json", help="the spec (models/photo_wide.json)")
    add("--dataset", help="as in train.py (what the spec says)")
    add("--crop", type=positive, help="pixels a side of the training images (what the spec says)")
    add("--batch_size", type=positive, help="images a step (what the spec says)")
    add("--steps", type=positive, default=50, help="steps of a round (50)")
    add("--rounds", type=positive, default=5, help="rounds; their median is told (5)")
    add("--steps_per_dispatch", type=positive, default=25, help="steps made in one go (25)")
    add("--precision", choices=("auto", "float32", "mixed_bfloat16"), default="auto")
    add("--on_device", type=boolean, default=True, help="images on the device (true)")
    add("--peak_sides", type=_sides, help="sides of the squares multiplied, comma-separated")
    return parser


def _sides(text: str) -> tuple[int, ...]:
    return tuple(positive(each) for each in text.split(","))


def main(argv: Sequence[str]) -> int:
    """Runs the benchmark and prints Markdown tables."""
    flags = build_parser().parse_args(argv)
    if choose_backend() != "jax":
        raise UserError("this measures training under JAX: set KERAS_BACKEND=jax")
    import jax

    device = jax.devices()[0]
    print(f"device: {device.device_kind} ({device.platform}), jax {jax.__version__}\n")
    sides = flags.peak_sides or PEAK_SIDES.get(device.platform, PEAK_SIDES_ELSEWHERE)
    peaks: dict[str, float] = {}
    print("| matrix products | side | TFLOP/s |\n|---|---|---|")
    for name, dtype, precision in PEAKS:
        rate, side = max((product_rate(side, dtype, precision), side) for side in sides)
        peaks.setdefault(dtype, rate)
        print(f"| {name} | {side} | {rate / 1e12:,.4g} |", flush=True)
    with tempfile.TemporaryDirectory(prefix="accelerator-speed-") as folder:
        figures = measure(flags, Path(folder) / "run")
    print(figures.table(peaks))
    return 0


def product_rate(side: int, dtype: str, precision: str) -> float:
    """Operations a second of products of square matrices, the best of several tries."""
    import jax
    import jax.numpy as jnp

    values = jax.random.normal(jax.random.key(0), (side, side)) / math.sqrt(side)  # keeps its size
    matrix = values.astype(dtype)

    @jax.jit
    def chain(x: Any, count: Any) -> Any:
        product = lambda _, x: jnp.matmul(x, matrix, precision=precision)  # noqa: E731
        return jax.lax.fori_loop(0, count, product, x)

    def seconds(count: int) -> float:
        began = time.perf_counter()
        jax.block_until_ready(chain(matrix, count))
        return time.perf_counter() - began

    seconds(1)  # compiles
    count = max(1, round(PEAK_SECONDS / max(seconds(1), 1e-6)))
    count = max(1, round(PEAK_SECONDS * count / seconds(count)))  # one product is mostly the call
    return 2.0 * side**3 * count / min(seconds(count) for _ in range(PEAK_TRIES))


@dataclass(frozen=True)
class Figures:
    """What was measured of one spec.

    Attributes:
        policy: Keras' dtype policy.
        batch_size: images a step.
        steps: of a dispatch.
        step_seconds: of each round.
        counted: operations of a step as XLA counts them; None where it does not.
        formula: operations of a step, 6 times the multiply-accumulates.
        compile_seconds: first dispatch beyond a later one.
        parts: (what, seconds of a dispatch), the median.
        note: where the images lie.
    """

    policy: str
    batch_size: int
    steps: int
    step_seconds: list[float]
    counted: float | None
    formula: float
    compile_seconds: float
    parts: list[tuple[str, float]]
    note: str

    def table(self, peaks: dict[str, float]) -> str:
        """The Markdown of it, against the peaks of a device by dtype."""
        second = statistics.median(self.step_seconds)
        dtype = "bfloat16" if "bfloat16" in self.policy else "float32"
        spread = f"{1 / max(self.step_seconds):,.2f} to {1 / min(self.step_seconds):,.2f}"
        rows = [
            ("precision", self.policy),
            ("images a step, steps a dispatch", f"{self.batch_size}, {self.steps}"),
            ("steps a second, median (min to max)", f"{1 / second:,.2f} ({spread})"),
            ("images a second", f"{self.batch_size / second:,.1f}"),
        ]
        for name, operations in (("formula", self.formula), ("counted", self.counted)):
            if operations is None:
                rows.append((f"TFLOP a step, {name}", "not told by this device"))
                continue
            rate = operations / second
            share = f"{100 * rate / peaks[dtype]:.1f} % of the {dtype} peak"
            text = f"{operations / 1e12:,.4g}, so {rate / 1e12:,.4g} TFLOP/s, {share}"
            rows.append((f"TFLOP a step, {name}", text))
        lines = [
            "",
            "| training | |",
            "|---|---|",
            *(f"| {name} | {text} |" for name, text in rows),
        ]
        lines += ["", self.note] if self.note else []
        lines += ["", "| of a dispatch, median | ms |", "|---|---|"]
        lines += [f"| {what} | {1e3 * seconds:,.2f} |" for what, seconds in self.parts]
        return "\n".join([*lines, f"| compiling, once | {1e3 * self.compile_seconds:,.0f} |"])


def measure(flags: argparse.Namespace, run_dir: Path) -> Figures:
    """Trains for some rounds of dispatches and times them."""
    from builders.precision import choose_precision
    from builders.session import TrainOptions
    from builders.spec import load_spec
    from builders.summary import summarize
    from builders.training import open_session

    changes: dict[str, Any] = {
        "training.steps_per_dispatch": flags.steps_per_dispatch,
        "training.precision": flags.precision,
        "dataset.on_device": flags.on_device,
    }
    if flags.dataset is not None:
        changes["dataset.name"] = flags.dataset
    if flags.crop is not None:
        changes["dataset.crop"] = [flags.crop, flags.crop]
    if flags.batch_size is not None:
        changes["training.batch_size"] = flags.batch_size
    spec = load_spec(Path(flags.model), changes)
    session = open_session(spec, TrainOptions(run_dir=run_dir, verbosity=0), lambda _: None)
    compressor, feed = session.compressor, session.feeds["train"]
    size = spec.training.batch_size
    if feed.loader.images < size:
        raise UserError(
            f"{spec.dataset.name}: {feed.loader.images} training images, a step takes {size}"
        )
    macs = summarize(spec, compressor).macs
    stream, pulled = timed(full_batches(session))
    state = compressor._get_jax_state(True, True, True, True)
    counted = operations_of_a_step(session, state, next(stream))
    compressor.make_train_function()  # Keras' own, where a step goes at a time from the loader
    step = dispatches(compressor.train_function, state, stream, pulled)
    first = step()
    count = math.ceil(flags.steps / flags.steps_per_dispatch)
    rounds = [[step() for _ in range(count)] for _ in range(flags.rounds)]
    every = [sum(each.values()) for one in rounds for each in one]
    return Figures(
        policy=choose_precision(spec.training.precision, macs).policy,
        batch_size=size,
        steps=flags.steps_per_dispatch,
        step_seconds=[
            sum(sum(each.values()) for each in one) / (count * flags.steps_per_dispatch)
            for one in rounds
        ],
        counted=counted,
        formula=6.0 * macs * size,
        compile_seconds=sum(first.values()) - statistics.median(every),
        parts=[
            (what, statistics.median(each[what] for one in rounds for each in one))
            for what in first
        ],
        note=feed.note,
    )


def full_batches(session: "Session") -> Iterator[Any]:
    """Training batches without end, as Keras hands them out: sent to the device beforehand."""
    import jax

    loader = session.feeds["train"].loader
    for epoch in itertools.count():
        for batch in loader.batches(epoch):
            if len(batch) == session.spec.training.batch_size:
                yield (jax.device_put(batch),)


def timed(stream: Iterator[Any]) -> tuple[Iterator[Any], list[float]]:
    """The same stream, and the seconds that each of its items took."""
    seconds: list[float] = []

    def items() -> Iterator[Any]:
        while True:
            began = time.perf_counter()
            item = next(stream)
            seconds.append(time.perf_counter() - began)
            yield item

    return items(), seconds


def operations_of_a_step(session: "Session", state: Any, batch: Any) -> float | None:
    """What XLA counts in one training step, in floating point operations."""
    from builders.jax_dispatch import compiled_steps

    feed = session.feeds["train"]
    single, _ = compiled_steps(session.compressor, feed)
    arrays = None if feed.images is None else feed.images.arrays
    costs = single.lower(state, arrays, batch).cost_analysis()
    return float(costs["flops"]) if costs and costs.get("flops", 0) > 0 else None


def dispatches(
    function: Any, state: Any, stream: Iterator[Any], pulled: list[float]
) -> Callable[[], dict[str, float]]:
    """Each call makes one dispatch and returns where its time went."""

    def step() -> dict[str, float]:
        nonlocal state
        pulled.clear()
        began = time.perf_counter()
        logs, state = function(state, stream)
        called = time.perf_counter()
        loss = float(logs["loss"])  # as the guard of the loss does
        ended = time.perf_counter()
        if not math.isfinite(loss):
            raise UserError(f"the loss is {loss}: such steps are no measure")
        return {
            "getting the next batches (the device works meanwhile)": sum(pulled),
            "calling the device": called - began - sum(pulled),
            "waiting for the device": ended - called,
        }

    return step


if __name__ == "__main__":
    run_command(main)
