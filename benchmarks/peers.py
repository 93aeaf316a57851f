"""Ours and other projects' scale hyperprior of 128 and 192 channels, by turns: speed and memory.

    benchmarks/compressai.sh --version        # makes the environments, once
    benchmarks/tfc.sh --version
    python -m benchmarks.peers --image PHOTO [--rounds 5] [--peers compressai,tfc]

Ours is models/bmshj2018_hyperprior.json. All have random weights: transforms make the same number
of products whatever they are, entropy coding takes less than with trained ones. Each round asks one
after the other, first to encode and decode the picture; when all rounds of that are done, in new
processes, to make training steps of 8 x 256 x 256 pixels. All have the same number of cores, and
what one of them has warmed up stays so. Medians of rounds.

Each trains in a process of its own, ours too. Beside the seconds of a step stands the most memory
that the process held during timed steps, all in all: its resident set, libraries included.

Ours makes steps in bfloat16 too, unless `--bfloat16 false`, and under JAX where `--jax` names a
Python that has it. What is slow takes part in --slow_rounds alone: bfloat16 where the processor has
no units for it and emulates them, and JAX, whose convolutions are slow on processors.

`--steps 0` leaves training out, and `--model BUNDLE` times another model of ours beside.
"""

from __future__ import annotations

import statistics
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.peer_turns import OURS, Found, time_coding, time_training, trainees
from builders.backend import choose_backend
from builders.benchmark_flags import names
from builders.cli import Parser, boolean, natural, positive, run_command
from builders.codec_choice import find_bundle
from builders.errors import RunError, UserError
from builders.threads import confine

COLUMNS = {
    "encode": "encode, s",
    "decode": "decode, s",
    "step": "training step, s",
    "memory": "memory in training, GiB",
}


def build_parser() -> Parser:
    """The flags."""
    parser = Parser(prog="benchmarks.peers", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--image", required=True, metavar="FILE", help="picture to encode and decode")
    add("--peers", type=names, default=["compressai", "tfc"], metavar="LIST")
    add(
        "--model", action="append", default=[], metavar="BUNDLE", help="a codec of ours to time too"
    )
    add("--rounds", type=positive, default=5)
    add("--steps", type=natural, default=1, help="training steps of each in a round")
    add("--slow_rounds", type=positive, default=2, help="rounds of what is slow to train")
    add("--bfloat16", type=boolean, default=True, metavar="BOOL", help="train ours in it too")
    add("--jax", metavar="PYTHON", help="train ours under JAX too, with this Python (none)")
    add("--threads", type=positive, help="cores for each (all)")
    return parser


def main(argv: Sequence[str]) -> int:
    """Prints a table; see the module."""
    from evaluation.codecs import CodecError

    try:
        return compared(build_parser().parse_args(argv))
    except CodecError as error:
        raise RunError(str(error)) from None


def compared(flags: Namespace) -> int:
    """Measures and prints."""
    bundles = [find_bundle(each, "--model") for each in flags.model]
    if flags.jax is not None and not Path(flags.jax).is_file():
        raise UserError(f"--jax {flags.jax}: no such file, expected a Python that has JAX")
    threads = confine(flags.threads)
    choose_backend()
    from builders.benchmarking import open_photos

    pixels = open_photos(Path(flags.image), "--image")[0].load()
    found: Found = {}
    notes = time_coding(found, pixels, bundles, flags.peers, flags.rounds, threads)
    if flags.steps:
        with trainees(flags.peers, threads, flags.bfloat16, flags.jax) as each:
            rounds = flags.rounds, min(flags.rounds, flags.slow_rounds)
            notes |= time_training(found, each, flags.steps, rounds, threads)
    height, width = pixels.shape[:2]
    medians = f"medians of {flags.rounds} rounds (least to most)"
    print(f"{width} x {height} pixels, {medians}; ours / theirs\n")
    print("\n".join(table(found)) + "\n")
    for name, note in notes.items():
        print(f"{name}: {note}")
    return 0


def table(found: Found) -> list[str]:
    """Lines of Markdown: medians, of memory the most, and how much of the others' ours takes."""
    lines = ["| | " + " | ".join(COLUMNS.values()) + " |", "|---|" + "---|" * len(COLUMNS)]
    own = {what: _middle(what, values) for what, values in found[OURS].items()}
    for name, columns in found.items():
        cells = [_cell(what, columns.get(what), own if name != OURS else {}) for what in COLUMNS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _middle(what: str, values: Sequence[float]) -> float:
    return max(values) if what == "memory" else statistics.median(values)


def _cell(what: str, values: Sequence[float] | None, own: Mapping[str, float]) -> str:
    if not values:
        return "-"
    middle = _middle(what, values)
    cell = f"{middle:.2f}"
    if what != "memory":
        cell = f"{middle:.3f} ({min(values):.3f} to {max(values):.3f})"
    return f"{cell}; {own[what] / middle:.2f}" if what in own else cell


if __name__ == "__main__":
    run_command(main)
