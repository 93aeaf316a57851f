"""Start-up time of each command: help, a spec error, a dry run, a small picture coded.

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

SIDE = 128
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
            for name in ("train", "validation", "exporter", "inference", "compress", "decompress")
        }
        commands["python train.py --model=wrong.json (a spec error)"] = [
            "train.py",
            f"--model={wrong}",
        ]
        commands["python train.py --dry_run"] = ["train.py", "--dry_run"]
        picture, coded = Path(folder) / "small.png", Path(folder) / "small.nic"
        write_picture(picture)
        small = f"of {SIDE}x{SIDE} pixels"
        code = ["compress.py", str(picture), "-o", str(coded), "--force"]
        commands[f"python compress.py, a picture {small}"] = code
        back = ["decompress.py", str(coded), "-o", str(picture), "--force"]
        commands[f"python decompress.py, a picture {small}"] = back
        commands["python -c 'import tensorflow, keras' (for comparison)"] = [
            "-c",
            "import tensorflow, keras",
        ]
        print("| command | seconds, median (min to max) |\n|---|---|")
        for name, arguments in commands.items():
            times = [_seconds(arguments) for _ in range(flags.rounds)]
            spread = f"{min(times):.2f} to {max(times):.2f}"
            print(f"| `{name}` | {statistics.median(times):.2f} ({spread}) |", flush=True)


def write_picture(path: Path) -> None:
    """A smooth one."""
    import numpy as np
    from PIL import Image

    rows, columns = np.mgrid[:SIDE, :SIDE]
    Image.fromarray(np.stack([rows, columns, rows + columns], -1).astype(np.uint8)).save(path)


def _seconds(arguments: list[str]) -> float:
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
    if done.returncode != (2 if any("wrong.json" in each for each in arguments) else 0):
        raise SystemExit(done.stderr.decode())
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
