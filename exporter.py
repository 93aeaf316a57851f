"""Exports a trained model for deployment. `python exporter.py --help` names every flag."""

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from builders.backend import choose_backend
from builders.cli import Parser, boolean, has_extensions, load_extensions, positive, run_command
from builders.errors import UserError
from builders.export_formats import BUNDLE, FORMATS, MODES, choose_export_backend
from constants.defaults import QUANTIZERS

if TYPE_CHECKING:
    from builders.weights_choice import WeightsChoice

FLAG_PATHS = {
    "latent_dims": "training.latent_dims",
    "dataset": "dataset.name",
    "tfds": "dataset.tfds",
}
CODEC_FLAGS = ("dataset", "tfds", "quantizer", "weights")
MODEL_FLAGS = ("format", "size")


def build_parser() -> Parser:
    """The flags; a default of None means what the run says."""
    parser = Parser(prog="exporter.py", description="Export a trained model for deployment.")
    add = parser.add_argument
    add("--model", help="the spec, a JSON file (the spec of the run the weights are from)")
    add(
        "--mode",
        choices=tuple(MODES),
        default="encoder-decoder",
        help="one model from pixels to pixels, encoder and decoder apart, or a codec for "
        "compress.py and decompress.py",
    )
    add("--ckpt_path", help="run folder, folder of checkpoints or weights file (the last run)")
    add("--latent_dims", type=positive, help="as in train.py, for a spec that says null")
    add(
        "--save_path",
        metavar="A[,B]",
        help="where encoder and decoder go, or one folder for both; with --mode full where the "
        "model or the codec goes (RUN/export/encoder,RUN/export/decoder, RUN/export/full or "
        "RUN/export/codec)",
    )
    add("--format", choices=tuple(FORMATS), help="the kind of file (saved_model)")
    add(
        "--size",
        type=_size,
        metavar="HEIGHT,WIDTH",
        help="fix the size of images, as some accelerators need (free where all layers allow it, "
        "else the spec's)",
    )
    parser.add_switch("--force", "overwrite what is at --save_path")
    codec = parser.add_argument_group("with --mode codec")
    codec.add_argument(
        "--dataset", help="what ranges and frequencies are measured on (what it was trained on)"
    )
    codec.add_argument(
        "--tfds", type=boolean, metavar="BOOL", help="whether that is a name of TFDS"
    )
    codec.add_argument(
        "--quantizer",
        choices=QUANTIZERS,
        help="how latents are stored, for a spec without entropy model (the spec's, else min-max)",
    )
    codec.add_argument(
        "--weights",
        choices=("float32", "float16"),
        help="how weights are stored; float16 halves the bundle and rounds them (float32)",
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
    for flag in MODEL_FLAGS if flags.mode == "codec" else CODEC_FLAGS:
        if getattr(flags, flag) is not None:
            raise UserError(f"--{flag}: has no meaning with --mode {flags.mode}")
    # An export computes next to nothing; a GPU may be busy with a training.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["JAX_PLATFORMS"] = "cpu"
    return _export_codec(flags) if flags.mode == "codec" else _export_models(flags)


def _choose(flags: argparse.Namespace) -> "WeightsChoice":
    choose_backend()
    from builders.export_quiet import chatter_held_back
    from builders.weights_choice import choose_weights

    with chatter_held_back():
        if has_extensions():
            load_extensions()
        return choose_weights(flags, FLAG_PATHS)


def _export_codec(flags: argparse.Namespace) -> int:
    choice = _choose(flags)
    from builders.export_targets import planned_paths

    (path,) = planned_paths(choice, flags.mode, BUNDLE, flags.save_path, flags.force)
    from builders.codec_export import CodecChoices
    from builders.codec_writing import export_codec

    print(f"weights    {choice.weights} ({choice.spec.name})")
    from rich.console import Console

    choices = CodecChoices(flags.quantizer, flags.weights == "float16")
    with Console().status("reading images") as status:
        lines = export_codec(choice, path, choices, lambda step: status.update(f"{step} ..."))
    for line in lines:
        print(line)
    print("\ntry it:")
    print(f"  python compress.py IMAGE --model {path}")
    return 0


def _export_models(flags: argparse.Namespace) -> int:
    export_format = FORMATS[flags.format or "saved_model"]
    needed = choose_export_backend(export_format)
    asked = os.environ.get("KERAS_BACKEND")
    if needed is not None:
        os.environ["KERAS_BACKEND"] = needed
    choice = _choose(flags)
    from builders.export_quiet import chatter_held_back
    from builders.export_targets import planned_paths

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
            export_format.name,
            flags.save_path,
            flags.size,
            flags.force,
            lambda step: status.update(f"{step} ..."),
        )
    for line in report_lines(exported, export_format.name):
        print(line)
    print("\ntry it:")
    print(
        f"  python inference.py --model {','.join(str(path) for path in paths)} "
        "--path_to_data IMAGE_OR_FOLDER --save_dir regenerated"
    )
    return 0


if __name__ == "__main__":
    run_command(main)
