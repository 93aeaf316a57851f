"""Start-up time of each command: help, a spec error, a dry run, a whole short training.

    python -m benchmarks.start_up

Each figure is the median of several whole processes, in seconds.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from builders.cli import positive

WRONG_SPEC = '{"model": {"layers": {"inputs": [{"Input": {"shape": [28, 28, 2]}}]}}}'


def main() -> None:
    """Runs the benchmark and prints a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=positive, default=5)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="start-up-") as folder:
        wrong = Path(folder) / "wrong.json"
        wrong.write_text(WRONG_SPEC, encoding="utf-8")
        commands = {
            f"python {name}.py --help": [f"{name}.py", "--help"]
            for name in ("train", "validation", "exporter", "inference")
        }
        commands["python train.py --model=wrong.json (a spec error)"] = [
            "train.py",
            f"--model={wrong}",
        ]
        commands["python train.py --dry_run"] = ["train.py", "--dry_run"]
        commands["python -c 'import tensorflow, keras' (for comparison)"] = [
            "-c",
            "import tensorflow, keras",
        ]
        print("| command | seconds, median (min to max) |\n|---|---|")
        for name, arguments in commands.items():
            times = [_seconds(arguments) for _ in range(flags.rounds)]
            spread = f"{min(times):.2f} to {max(times):.2f}"
            print(f"| `{name}` | {statistics.median(times):.2f} ({spread}) |", flush=True)


def _seconds(arguments: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
