"""Training throughput: whole pipeline against bare steps, float32 against bfloat16, batch sizes.

    python -m benchmarks.training_speed --dataset digits
    python -m benchmarks.training_speed --tfds true --dataset mnist
    python -m benchmarks.training_speed --tfds true --dataset mnist --peer
    python -m benchmarks.training_speed --spec models/conv_256x256x3.json --dataset photos \
        --precisions float32,mixed_bfloat16 --batch_sizes 8 --steps 10

Each row is the median of several rounds; in a round every variant runs once, so that all see the
same machine. Variants:

- `pipeline`: what train.py does: loader, all callbacks, and validation, TensorBoard, checkpoint and
  state at the end of the epoch; timed over the training steps with what happens between them.
- `input`: loader, no callbacks.
- `bare`: one batch in memory again and again, no callbacks.
- `peer` (with --peer, which measures nothing else): the same model in a plain Keras loop with
  `tf.image.ssim` in the loss, one batch in memory again and again, no fixed order of sums: what one
  would write without this project, at its fastest.

The share of a step that input, logging and callbacks cost is 1 - pipeline / bare.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.backend import choose_backend
from builders.cli import boolean, positive

if TYPE_CHECKING:
    from builders.session import Session
    from builders.spec import Spec


def main() -> None:
    """Runs the benchmark and prints a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--spec", default="models/model.json")
    parser.add_argument("--tfds", type=boolean, default=False)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--batch_sizes", default="32", help="comma-separated")
    parser.add_argument("--precisions", default="float32", help="comma-separated")
    parser.add_argument("--steps", type=positive, default=200, help="most steps of a measurement")
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--peer", action="store_true")
    flags = parser.parse_args()
    choose_backend()
    print("| variant | precision | batch | images/s, median (min to max) | ms a step | steps |")
    print("|---|---|---|---|---|---|")
    for precision in flags.precisions.split(","):
        for size in map(int, flags.batch_sizes.split(",")):
            for name, (speeds, steps) in measure(flags, precision, size).items():
                middle = statistics.median(speeds)
                spread = f"{min(speeds):,.0f} to {max(speeds):,.0f}"
                step_ms = 1e3 * size / middle
                row = (name, precision, size, f"{middle:,.0f} ({spread})", f"{step_ms:.2f}", steps)
                print("| " + " | ".join(map(str, row)) + " |", flush=True)


def measure(flags: Any, precision: str, size: int) -> dict[str, tuple[list[float], int]]:
    """Images per second of every variant, one value a round, and the steps of one value."""
    from builders.session import TrainOptions
    from builders.spec import load_spec
    from builders.training import open_session

    changes = {
        "dataset.name": flags.dataset,
        "dataset.tfds": flags.tfds,
        "dataset.max_images": flags.steps * size,
        "training.batch_size": size,
        "training.precision": precision,
        "training.epochs": flags.rounds + 1,
        "training.early_stopping_patience": None,
    }
    spec = load_spec(Path(flags.spec), changes)
    if flags.peer:
        run = peer(spec, flags.steps)
        run()  # compiles
        return {"peer": ([run() for _ in range(flags.rounds)], flags.steps)}
    with tempfile.TemporaryDirectory(prefix="training-speed-") as folder:
        options = TrainOptions(run_dir=Path(folder) / "run", verbosity=0)
        session = open_session(spec, options, lambda _: None)
        variants = {
            "pipeline": pipeline(session),
            "input": input_only(session),
            "bare": bare(session),
        }
        for run in variants.values():
            run()  # compiles
        speeds: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(flags.rounds):
            for name, run in variants.items():
                speeds[name].append(run())
    return {name: (values, len(session.feeds["train"])) for name, values in speeds.items()}


def pipeline(session: "Session") -> Callable[[], float]:
    """Each call trains one epoch more, as train.py does."""
    from builders.callbacks import StopSignals
    from builders.run_log import RunLog, StepClock

    feed = session.feeds["train"]
    clock = StepClock(feed)
    log = RunLog(
        session.spec, session.folder, session.log_dir, session.progress, session.samples, clock
    )
    timer = _timer()
    callbacks = [*session.callbacks(log, clock, feed, StopSignals()), timer]

    def run() -> float:
        session.fit_to(session.progress.epoch + 1, callbacks)
        return session.spec.training.batch_size / timer.step_seconds

    return run


def input_only(session: "Session") -> Callable[[], float]:
    """The loader's batches, no callbacks, no validation."""
    feed = session.feeds["train"]
    data, timer = feed.keras_input(), _timer()

    def run() -> float:
        session.compressor.fit(data, verbose=0, shuffle=False, callbacks=[timer])
        return session.spec.training.batch_size / timer.step_seconds

    return run


def bare(session: "Session") -> Callable[[], float]:
    """One batch that is in memory already, again and again."""
    feed = session.feeds["train"]
    batch = next(iter(feed.loader.batches(0)))
    return _repeated(session.compressor, batch, len(feed))


def peer(spec: "Spec", steps: int) -> Callable[[], float]:
    """A plain Keras loop over the same model: `tf.image.ssim` in the loss, one optimizer, Adam."""
    import keras
    import tensorflow as tf

    from builders.model_builder import ModelBuilder
    from builders.training import open_splits

    compressor = ModelBuilder(spec).build()

    class Plain(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = compressor.encoder, compressor.decoder

        def call(self, x: Any, training: bool | None = None) -> Any:
            return self.decoder(self.encoder(x)[0])[0]

        def compute_loss(self, x: Any, y: Any, y_pred: Any, *_: Any, **__: Any) -> Any:
            x = tf.cast(x, tf.float32) / 255.0
            similarity = tf.reduce_mean(tf.image.ssim(x, y_pred, 1.0))
            return 0.75 * (1.0 - similarity) + 0.25 * tf.reduce_mean(tf.abs(x - y_pred))

    model = Plain()
    model.build((None, *spec.input_shape))
    # Without XLA, which takes twice as long for the convolutions inside `tf.image.ssim`.
    model.compile(optimizer=keras.optimizers.Adam(1e-3), jit_compile=False)
    loader = open_splits(spec).loader("train", spec.training.batch_size, training=True)
    return _repeated(model, next(iter(loader.batches(0))), steps)


def _repeated(model: Any, batch: Any, steps: int) -> Callable[[], float]:
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        data: Any = tf.data.Dataset.from_tensors(batch).repeat(steps)
    else:
        data = _Constant(keras, batch, steps)

    timer = _timer()

    def run() -> float:
        model.fit(data, verbose=0, shuffle=False, callbacks=[timer])
        return len(batch) / timer.step_seconds

    return run


def _timer() -> Any:
    """A callback that times the steps of an epoch after its first: `step_seconds`."""
    import keras

    class Timer(keras.callbacks.Callback):
        step_seconds = 0.0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            now = time.perf_counter()
            if batch == 0:
                self._first = now
            else:
                self.step_seconds = (now - self._first) / batch

    return Timer()


def _Constant(keras: Any, batch: Any, steps: int) -> Any:  # noqa: N802 - makes an instance of one
    class Constant(keras.utils.PyDataset):
        def __len__(self) -> int:
            return steps

        def __getitem__(self, index: int) -> Any:
            return (batch,)

    return Constant(workers=0)


if __name__ == "__main__":
    main()
