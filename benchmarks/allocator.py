"""What `keep_freed_memory` saves a training: seconds of the processor and of the clock.

    python -m benchmarks.allocator [--model models/vr_b.json] [--dataset photos] [--rounds 3]

Trains two epochs in processes of their own, with and without, by turns, and prints the medians.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHANGES = {"dataset.resize": None, "dataset.tile": None, "training.epochs": 2}


def child(model: str, dataset: str, keep: bool) -> None:
    """Trains, and prints what it took as JSON."""
    from builders import backend

    if not keep:
        backend.keep_freed_memory = lambda: False
    backend.choose_backend()
    from builders.spec import load_spec
    from builders.training import TrainOptions, train

    spec = load_spec(Path(model), {**CHANGES, "dataset.name": dataset})
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    with tempfile.TemporaryDirectory() as folder:
        train(spec, TrainOptions(run_dir=Path(folder) / "run", verbosity=0))
    after = resource.getrusage(resource.RUSAGE_SELF)
    taken = {
        "seconds": time.perf_counter() - began,
        "user_s": after.ru_utime - before.ru_utime,
        "system_s": after.ru_stime - before.ru_stime,
        "page_faults": after.ru_minflt - before.ru_minflt,
    }
    print(json.dumps(taken))


def main() -> None:
    """Prints a table; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--model", default="models/vr_b.json")
    parser.add_argument("--dataset", default="photos")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", choices=("with", "without"), help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.child:
        child(flags.model, flags.dataset, flags.child == "with")
        return
    found: dict[str, list[dict[str, float]]] = {"without": [], "with": []}
    for _ in range(flags.rounds):
        for way, taken in found.items():
            words = [f"--model={flags.model}", f"--dataset={flags.dataset}", f"--child={way}"]
            command = [sys.executable, "-m", "benchmarks.allocator", *words]
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            taken.append(json.loads(out.splitlines()[-1]))
    print("| | seconds | user, s | system, s | page faults |\n|---|---|---|---|---|")
    for way, taken in found.items():
        cells = [statistics.median(each[name] for each in taken) for name in taken[0]]
        *seconds, faults = cells
        words = [*(f"{value:.1f}" for value in seconds), f"{faults:,.0f}"]
        print(f"| {way} | " + " | ".join(words) + " |")


if __name__ == "__main__":
    main()
