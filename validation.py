"""Measures a trained model on held-out images. `python validation.py --help` names every flag."""

from collections.abc import Sequence
from pathlib import Path

from builders.backend import choose_backend
from builders.cli import Parser, boolean, has_extensions, load_extensions, positive, run_command

FLAG_PATHS = {
    "tfds": "dataset.tfds",
    "dataset": "dataset.name",
    "batch_size": "training.batch_size",
    "latent_dims": "training.latent_dims",
}


def build_parser() -> Parser:
    """The flags; a default of None means what the run's spec says."""
    parser = Parser(
        prog="validation.py", description="Measure a trained model on images it has not seen."
    )
    add = parser.add_argument
    add("--model", help="the spec, a JSON file (the spec of the run the weights are from)")
    add("--tfds", type=boolean, help="whether --dataset names a TensorFlow data set")
    add("--dataset", help="images to measure on (those of the run)")
    add("--log_dir", help="where event files go (the run's tensorboard/)")
    add("--batch_size", type=positive, help="images a step (spec: 32)")
    add("--latent_dims", type=positive, help="as in train.py, for a spec that says null")
    add("--ckpt_path", help="run folder, folder of checkpoints or weights file (the last run)")
    add(
        "--split",
        choices=("train", "validation", "test", "all"),
        default="test",
        help="which images of the data set",
    )
    add("--report", help="the JSON report (validation_<split>.json in the run's folder)")
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the command; see the flags."""
    flags = build_parser().parse_args(argv)
    if has_extensions():
        choose_backend()
        load_extensions()
    from builders.weights_choice import choose_weights

    choice = choose_weights(flags, FLAG_PATHS)
    choose_backend()
    from builders.validating import ValidationOptions, validate

    options = ValidationOptions(
        split=flags.split,
        report=None if flags.report is None else Path(flags.report),
        log_dir=None if flags.log_dir is None else Path(flags.log_dir),
    )
    validate(choice, options)
    return 0


if __name__ == "__main__":
    run_command(main)
