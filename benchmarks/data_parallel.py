"""What sharing a batch out among processes costs: the time of a step, by numbers of processes.

    KERAS_BACKEND=jax python -m benchmarks.data_parallel --batch_size 32 --rounds 5

Each run is a `train.py` of its own on pinned cores, and all take turns, so that they see the same
machine. A run's figure is the median of its epochs, the first left out; the table has the median of
the rounds. Rows:

- `one process, one core, B/2`: what each of two processes has to compute.
- `two on their own, a core each, B/2`: the same twice at a time, without a word between them: what
  two processes take from each other on this machine. The ideal.
- `two together, a core each, B`: the same work on each core, and gradients exchanged.
- `one process, two cores, B`: XLA's own threads, no exchange.

The cost of sharing out is the third row over the second, less one.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from builders.cli import Parser, positive, run_command
from builders.errors import RunError, UserError
from builders.relay import LOOPBACK, free_port

ROOT = Path(__file__).resolve().parent.parent
EPOCHS = 4
ONE = "one process, one core, B/2"
APART = "two on their own, a core each, B/2"
TOGETHER = "two together, a core each, B"
THREADS = "one process, two cores, B"
VARIANTS = (ONE, APART, TOGETHER, THREADS)


def build_parser() -> Parser:
    """The flags."""
    parser = Parser(prog="data_parallel", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch_size", type=positive, default=32, help="B, even")
    parser.add_argument("--filters", type=positive, default=32, help="of the convolutions")
    parser.add_argument("--steps", type=positive, default=8, help="an epoch")
    parser.add_argument("--rounds", type=positive, default=5)
    return parser


def check(flags: argparse.Namespace) -> None:
    """Whether the runs can be made here.

    Raises:
        UserError: an odd batch, another backend, or fewer than two cores.
    """
    if flags.batch_size % 2:
        raise UserError(f"--batch_size {flags.batch_size}: two processes share it, make it even")
    if os.environ.get("KERAS_BACKEND") != "jax":
        raise UserError("batches are shared out under JAX only: set KERAS_BACKEND=jax")
    if len(os.sched_getaffinity(0)) < 2:
        raise UserError("one core: there is nothing to compare")


def main(arguments: Sequence[str]) -> int:
    """Runs the benchmark and prints a Markdown table."""
    flags = build_parser().parse_args(arguments)
    check(flags)
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(flags.rounds):
        for name in VARIANTS:
            with tempfile.TemporaryDirectory() as folder:
                times[name].append(step_milliseconds(name, flags, Path(folder)))
    print("| run | ms a step, median (min to max) | images/s | against the ideal |")
    print("|---|---|---|---|")
    ideal = statistics.median(times[APART])
    for name, found in times.items():
        middle = statistics.median(found)
        images = flags.batch_size // (2 if name == ONE else 1)
        spread = f"{middle:.1f} ({min(found):.1f} to {max(found):.1f})"
        print(f"| {name} | {spread} | {1e3 * images / middle:.0f} | {middle / ideal:.2f} |")
    return 0


def step_milliseconds(name: str, flags: Any, folder: Path) -> float:
    """Trains one variant; the median time of a step over its epochs but the first."""
    first, second = sorted(os.sched_getaffinity(0))[:2]
    processes = 2 if name in (APART, TOGETHER) else 1
    size = flags.batch_size // (2 if name in (ONE, APART) else 1)
    (folder / "spec.json").write_text(json.dumps(spec_tree(flags, size)))
    port = free_port()
    running = []
    for index in range(processes):
        words = ["--model", "spec.json", "--verbosity", "0"]
        words += ["--run_dir", "run" if name == TOGETHER else f"run{index or ''}"]
        if name == TOGETHER:
            words += ["--distribute=data", f"--coordinator_address={LOOPBACK}:{port}"]
            words += [f"--num_processes={processes}", f"--process_id={index}"]
        cores = {first, second} if name == THREADS else {(first, second)[index]}
        command = [sys.executable, str(ROOT / "train.py"), *words]
        process = subprocess.Popen(command, cwd=folder)
        os.sched_setaffinity(process.pid, cores)  # before it starts threads
        running.append(process)
    statuses = [process.wait() for process in running]
    if any(statuses):
        raise RunError(f"{name}: did not end well, see above")
    with (folder / "run" / "metrics.csv").open(newline="") as file:
        found = [float(row["time/step_ms"]) for row in csv.DictReader(file)]
    return statistics.median(found[1:])


def spec_tree(flags: Any, size: int) -> dict[str, Any]:
    """A small convolutional autoencoder on 32x32 pixels."""

    def conv(name: str, filters: int) -> dict[str, Any]:
        more = {"kernel_size": 5, "strides": 2, "padding": "same", "activation": "relu"}
        return {name: {"filters": filters, **more}}

    coders = {
        "encoder": {"layers": [conv("Conv2D", flags.filters), conv("Conv2D", flags.filters)]},
        "decoder": {"layers": [conv("Conv2DTranspose", flags.filters), conv("Conv2DTranspose", 1)]},
    }
    inputs = [{"Input": {"shape": [32, 32, 1]}}]
    return {
        "model": {"name": "Shared", "layers": {"inputs": inputs, "generator": {"layers": coders}}},
        "loss": [{"MSE": {}}],
        "training": {"batch_size": size, "epochs": EPOCHS, "precision": "float32"},
        # As many steps an epoch for every batch size.
        "dataset": {"max_images": flags.steps * size},
    }


if __name__ == "__main__":
    run_command(main)
