"""Exports a trained model for deployment. `python exporter.py --help` names every flag."""

import argparse
import os
from collections.abc import Sequence

from builders.cli import (
    Parser,
    boolean,
    choose_backend,
    has_extensions,
    load_extensions,
    positive,
    run_command,
)
from builders.export_formats import FORMATS, MODES, choose_export_backend

FLAG_PATHS = {"latent_dims": "training.latent_dims"}


def build_parser() -> Parser:
    """The flags; a default of None means what the run says."""
    parser = Parser(prog="exporter.py", description="Export a trained model for deployment.")
    add = parser.add_argument
    add("--model", help="the spec, a JSON file (the spec of the run the weights are from)")
    add(
        "--mode",
        choices=tuple(MODES),
        default="encoder-decoder",
        help="one model from pixels to pixels, or encoder and decoder apart",
    )
    add("--ckpt_path", help="run folder, folder of checkpoints or weights file (the last run)")
    add("--latent_dims", type=positive, help="as in train.py, for a spec that says null")
    add(
        "--save_path",
        metavar="A[,B]",
        help="where encoder and decoder go, or one folder for both; with --mode full where the "
        "model goes (RUN/export/encoder,RUN/export/decoder or RUN/export/full)",
    )
    add("--format", choices=tuple(FORMATS), default="saved_model", help="the kind of file")
    add(
        "--size",
        type=_size,
        metavar="HEIGHT,WIDTH",
        help="fix the size of images, as some accelerators need (free where all layers allow it, "
        "else the spec's)",
    )
    add(
        "--force",
        type=boolean,
        nargs="?",
        const=True,
        default=False,
        help="overwrite what is at --save_path",
    )
    return parser


def _size(text: str) -> tuple[int, int]:
    sides = text.lower().replace("x", ",").split(",")
    if len(sides) != 2:
        raise argparse.ArgumentTypeError(f'found "{text}", expected HEIGHT,WIDTH')
    return positive(sides[0]), positive(sides[1])


def main(argv: Sequence[str]) -> int:
    """Runs the command; see the flags."""
    flags = build_parser().parse_args(argv)
    export_format = FORMATS[flags.format]
    needed = choose_export_backend(export_format)
    asked = os.environ.get("KERAS_BACKEND")
    if needed is not None:
        os.environ["KERAS_BACKEND"] = needed
    # An export computes next to nothing; a GPU may be busy with a training.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["JAX_PLATFORMS"] = "cpu"
    choose_backend()
    from builders.export_quiet import chatter_held_back
    from builders.export_targets import planned_paths
    from builders.weights_choice import choose_weights

    with chatter_held_back():
        if has_extensions():
            load_extensions()
        choice = choose_weights(flags, FLAG_PATHS)
    paths = planned_paths(choice, flags.mode, export_format, flags.save_path, flags.force)

    with chatter_held_back():
        from builders.exporting import export, report_lines

    print(f"weights    {choice.weights} ({choice.spec.name})")
    if needed is not None and asked not in (None, "", needed):
        print(f"backend    {needed}, which {export_format.title} files need (not {asked})")
    from rich.console import Console

    with Console().status("building the model") as status:
        exported = export(
            choice,
            flags.mode,
            flags.format,
            flags.save_path,
            flags.size,
            flags.force,
            lambda step: status.update(f"{step} ..."),
        )
    for line in report_lines(exported, flags.format):
        print(line)
    print("\ntry it:")
    print(
        f"  python inference.py --model {','.join(str(path) for path in paths)} "
        "--path_to_data IMAGE_OR_FOLDER --save_dir regenerated"
    )
    return 0


if __name__ == "__main__":
    run_command(main)
