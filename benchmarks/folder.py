"""A folder of photos compressed and decompressed, one after the other and several at a time.

    python -m benchmarks.folder --images FOLDER [--model photo_fast] [--rounds 5]

Each way has a process of its own and does what compress.py and decompress.py do, reading, coding
and writing, with everything warm: seconds of the second and later times through the folder. `one by
one` has one worker and so all cores for each picture, `at a time` has --workers (as many as cores)
that share them.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from builders.cli import Parser, positive, run_command
from builders.codec_choice import find_bundle, open_codec, read_bundle
from builders.coding_flags import MAX_INPUT_BYTES, effort_of, start_keras
from builders.errors import RunError


def build_parser() -> Parser:
    """The flags."""
    parser = Parser(prog="benchmarks.folder", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--images", required=True, metavar="FOLDER")
    add("--model", default="photo_fast", metavar="BUNDLE")
    add("--rounds", type=positive, default=5)
    add("--workers", type=positive)
    parser.add_switch("--child", "measures one way, and prints it as JSON")
    return parser


def times(images: str, model: str, rounds: int, workers: int) -> dict[str, list[float]]:
    """Seconds of each round, the first of which is left out."""
    from builders.file_search import files_below
    from constants.data import IMAGE_SUFFIXES

    workers = min(workers, len(files_below(Path(images), IMAGE_SUFFIXES)) or 1)
    bundle = read_bundle(find_bundle(model))
    effort = effort_of(None, bundle)
    codec = open_codec(bundle, start_keras(bundle, "float32", workers), effort)
    from builders.coding_jobs import Job, plan_jobs, run_jobs
    from builders.picture_files import picture_bytes, read_picture

    def compress(content: bytes, job: Job) -> tuple[bytes, None]:
        return codec.compress(read_picture(content, job.source)[0]), None

    def decompress(content: bytes, job: Job) -> tuple[bytes, None]:
        return picture_bytes(codec.decompress(content), ".png"), None

    found: dict[str, list[float]] = {"compress": [], "decompress": []}
    for turn in range(rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            coded, back = str(Path(folder) / "coded"), str(Path(folder) / "back")
            for name, source, target, suffix, suffixes, work in (
                ("compress", images, coded, ".nic", IMAGE_SUFFIXES, compress),
                ("decompress", coded, back, ".png", (".nic",), decompress),
            ):
                jobs = plan_jobs([source], target, suffix, suffixes, False)
                began = time.perf_counter()
                failed = run_jobs(jobs, work, name, workers, MAX_INPUT_BYTES, print)
                if failed:
                    raise RunError(f"{source}: a picture could not be coded")
                if turn:
                    found[name].append(time.perf_counter() - began)
    return found


def main(argv: Sequence[str]) -> int:
    """Prints a table; see the module."""
    flags = build_parser().parse_args(argv)
    from builders.machine import cores

    workers = flags.workers or cores()
    if flags.child:
        print(json.dumps(times(flags.images, flags.model, flags.rounds, workers)))
        return 0
    found = {}
    for name, count in (("one by one", 1), (f"{workers} at a time", workers)):
        words = [f"--images={flags.images}", f"--model={flags.model}", f"--rounds={flags.rounds}"]
        command = [sys.executable, "-m", "benchmarks.folder", *words, f"--workers={count}"]
        done = subprocess.run([*command, "--child"], check=False, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            return done.returncode
        found[name] = json.loads(done.stdout.splitlines()[-1])
    print("| | compress, s | decompress, s |\n|---|---|---|")
    for name, way in found.items():
        cells = [
            f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})"
            for each in way.values()
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")
    return 0


if __name__ == "__main__":
    run_command(main)
