"""Trains a piece of a run, for some minutes. `python piece.py --help` names every flag."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from builders.backend import choose_backend
from builders.cli import (
    Parser,
    boolean,
    has_extensions,
    load_extensions,
    natural,
    number,
    positive,
    run_command,
)
from constants.pieces import (
    BUDGET_MEBIBYTES,
    SAVE_SECONDS,
    SHARD_MEBIBYTES,
    SMALLEST_SHARD_BYTES,
)

DEFAULT_MODEL = "models/model.json"
FLAG_PATHS = {
    "tfds": "dataset.tfds",
    "dataset": "dataset.name",
    "batch_size": "training.batch_size",
    "latent_dims": "training.latent_dims",
    "epochs": "training.epochs",
    "precision": "training.precision",
    "seed": "training.seed",
}


def build_parser() -> Parser:
    """The flags; a default of None means what the spec says."""
    parser = Parser(
        prog="piece.py",
        description="Train a piece of a run: go on from the state in a folder, train for some "
        "minutes, leave the state in shards, a log and the learning curve. The next piece goes on "
        "with it, also on another machine or backend.",
    )
    add = parser.add_argument
    add("--output", required=True, metavar="DIR", help="where the state and all else goes")
    add("--state", metavar="DIR", help="the state to go on from (--output, where one is there)")
    add("--minutes", type=_minutes, help="all is written within so many, preparing included")
    add("--steps", type=natural, help="at most so many in this piece; 0 only prepares")
    add("--model", help=f"the spec, a JSON file ({DEFAULT_MODEL}; with a state the state's own)")
    add("--tfds", type=boolean, help="whether --dataset names a TensorFlow data set (spec: false)")
    add(
        "--dataset",
        help="TFDS name, folder of images, video, folder of videos, or embedded digits/photos "
        "(spec: digits); it may lie elsewhere than in the piece before",
    )
    add("--batch_size", type=positive, help="images a step (spec: 32)")
    add(
        "--latent_dims",
        type=positive,
        help="units or filters of compressed_representation where the spec says null (spec: 50)",
    )
    add("--epochs", type=positive, help="passes over the training images, in all (spec: 15)")
    add("--precision", choices=("auto", "float32", "mixed_bfloat16"), help="(spec: auto)")
    add("--seed", type=natural, help="seeds weights, order and augmentation (spec: 0)")
    add(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="change one value of the spec; may be given often",
    )
    add("--load_from_ckpt_path", help="weights to begin a run from: run folder or weights file")
    add("--run_dir", help="keep the run folder here, with TensorBoard files (a temporary one)")
    add("--shard_mebibytes", type=_shard, default=SHARD_MEBIBYTES, help="largest shard, MiB")
    add(
        "--budget_mebibytes",
        type=_budget,
        default=BUDGET_MEBIBYTES,
        help="all shards together, MiB; 0 for no limit",
    )
    parser.add_switch("--half", "store the optimizer's moments in bfloat16 although they fit")
    add("--save_seconds", type=_seconds, default=SAVE_SECONDS, help="between states on disk")
    add(
        "--validate_steps",
        type=natural,
        default=0,
        help="look at the validation images every so many steps too; 0 at ends of epochs and "
        "pieces only",
    )
    add("--verbosity", type=int, choices=(0, 1, 2), default=1, help="0 silent, 1 bar, 2 lines")
    return parser


def _minutes(text: str) -> float:
    value = number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f'found "{text}", expected a number > 0')
    return value


def _seconds(text: str) -> float:
    value = number(text)
    if not 0 <= value <= SAVE_SECONDS:
        raise argparse.ArgumentTypeError(
            f'found "{text}", expected 0 to {SAVE_SECONDS:g}: an interruption shall cost two '
            "minutes at most"
        )
    return value


def _shard(text: str) -> float:
    value, least = number(text), SMALLEST_SHARD_BYTES / 2**20
    if not least <= value < float("inf"):
        raise argparse.ArgumentTypeError(f'found "{text}", expected a number >= {least:g}')
    return value


def _budget(text: str) -> float:
    value = number(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f'found "{text}", expected a number >= 0')
    return value


def main(argv: Sequence[str]) -> int:
    """Runs the command; see the flags."""
    began = time.monotonic()
    flags = build_parser().parse_args(argv)
    if has_extensions():
        choose_backend()
        load_extensions()
    from builders.piece_state import find_state, piece_spec

    output = Path(flags.output)
    found = find_state(None if flags.state is None else Path(flags.state), output)
    spec = piece_spec(flags, found, FLAG_PATHS, DEFAULT_MODEL)
    choose_backend()
    from builders.packed_state import Limits
    from builders.piece import PieceOptions, train_piece

    options = PieceOptions(
        output=output,
        found=found,
        limits=Limits(
            shard_bytes=int(flags.shard_mebibytes * 2**20),
            budget_bytes=int(flags.budget_mebibytes * 2**20) or None,
            half=flags.half,
        ),
        began=began,
        minutes=flags.minutes,
        steps=flags.steps,
        save_seconds=flags.save_seconds,
        validate_steps=flags.validate_steps,
        run_dir=None if flags.run_dir is None else Path(flags.run_dir),
        start_from=flags.load_from_ckpt_path,
        verbosity=flags.verbosity,
        argv=(Path(sys.executable).name, *sys.argv),
    )
    return train_piece(spec, options)


if __name__ == "__main__":
    run_command(main)
