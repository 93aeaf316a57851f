"""Trains the autoencoder of a JSON spec. `python train.py --help` names every flag."""

import argparse
import sys
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
from builders.distribution import add_distribution_flags, joined
from builders.team import Team

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
"""Flags that stand for one value of the spec; --learning_rate and --alpha depend on the rest."""


def build_parser() -> Parser:
    """The flags; a default of None means what the spec says."""
    parser = Parser(prog="train.py", description="Train the autoencoder of a JSON spec.")
    add = parser.add_argument
    add("--model", help=f"the spec, a JSON file ({DEFAULT_MODEL}; with --resume the run's own)")
    add("--tfds", type=boolean, help="whether --dataset names a TensorFlow data set (spec: false)")
    add(
        "--dataset",
        help="TFDS name, folder of images, video, folder of videos, or embedded digits/photos "
        "(spec: digits)",
    )
    add("--log_dir", help="where TensorBoard's event files go (the run folder's tensorboard/)")
    add("--batch_size", type=positive, help="images a step (spec: 32)")
    add("--learning_rate", type=number, help="step size of the optimizer (spec: 0.001)")
    add(
        "--latent_dims",
        type=positive,
        help="units or filters of compressed_representation where the spec says null (spec: 50)",
    )
    add("--epochs", type=positive, help="passes over the training images (spec: 15)")
    add("--load_from_ckpt_path", help="weights to start from: run folder, checkpoints or file")
    add("--checkpoint_filepath", help="where the best weights go (checkpoints/best.weights.h5)")
    add("--verbosity", type=int, choices=(0, 1, 2), default=1, help="0 silent, 1 bar, 2 lines")
    add("--alpha", type=number, help="weight of 1 - SSIM against L1 in the loss (spec: 0.75)")
    add("--run_dir", help="the run's folder (runs/<spec name>-<UTC time>)")
    add(
        "--resume",
        type=boolean,
        nargs="?",
        const=True,
        default=False,
        help="go on with the run in --run_dir, or with the last",
    )
    add("--backup_steps", type=natural, default=0, help="also save the state every N steps")
    add(
        "--dry_run", type=boolean, nargs="?", const=True, default=False, help="print the model only"
    )
    add("--precision", choices=("auto", "float32", "mixed_bfloat16"), help="(spec: auto)")
    add_distribution_flags(parser)
    add("--seed", type=natural, help="seeds weights, order and augmentation (spec: 0)")
    add(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="change one value of the spec; may be given often",
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the command; see the flags."""
    flags = build_parser().parse_args(argv)
    if has_extensions() or flags.distribute != "none":
        choose_backend()
    with joined(flags) as team:
        return team.ended(_run(flags, team))


def _run(flags: argparse.Namespace, team: Team) -> int:
    if has_extensions():
        load_extensions()
    from builders.flags import spec_overrides
    from builders.spec import load_spec

    if flags.resume:
        from builders.resuming import resumed_spec
        from builders.run_folder import find_run

        folder = find_run(flags.run_dir)
        spec = resumed_spec(flags, folder, FLAG_PATHS)
    else:
        folder = None
        path = Path(flags.model or DEFAULT_MODEL)
        spec = load_spec(path, spec_overrides(flags, path, FLAG_PATHS))
    choose_backend()
    from builders.training import TrainOptions, dry_run, train

    if flags.dry_run:
        if team.is_first:
            with team.alone():
                dry_run(spec)
        return 0
    options = TrainOptions(
        run_dir=None if flags.run_dir is None else Path(flags.run_dir),
        resume=folder,
        log_dir=None if flags.log_dir is None else Path(flags.log_dir),
        checkpoint=None if flags.checkpoint_filepath is None else Path(flags.checkpoint_filepath),
        start_from=flags.load_from_ckpt_path,
        verbosity=flags.verbosity,
        backup_steps=flags.backup_steps,
        argv=(Path(sys.executable).name, *sys.argv),
        team=team,
    )
    return train(spec, options).status


if __name__ == "__main__":
    run_command(main)
