"""Regenerates images with an exported model. `python inference.py --help` names every flag."""

import logging
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from builders.backend import choose_backend
from builders.cli import Parser, boolean, has_extensions, load_extensions, positive, run_command
from builders.errors import UserError
from builders.export_formats import format_of

if TYPE_CHECKING:
    from builders.export_images import Regenerated

DEFAULT_MODEL = "runs/latest/export"


def build_parser() -> Parser:
    """The flags."""
    parser = Parser(
        prog="inference.py",
        description="Regenerate images with an exported model: to latents and back, as PNG files.",
    )
    add = parser.add_argument
    add(
        "--model",
        default=DEFAULT_MODEL,
        help="what exporter.py wrote: a full model, a folder with encoder and decoder, or "
        "ENCODER,DECODER; SavedModel, .onnx, .tflite or .keras",
    )
    add("--path_to_data", required=True, help="an image, or a folder that is searched for images")
    add("--save_dir", default="regenerated", help="folder of the regenerated images")
    add(
        "--batch_size",
        type=positive,
        help="images of one size that go through the model together (as many as are small enough)",
    )
    add(
        "--resize",
        type=boolean,
        nargs="?",
        const=True,
        default=False,
        help="scale images to the size of a model of fixed size",
    )
    add(
        "--force",
        type=boolean,
        nargs="?",
        const=True,
        default=False,
        help="overwrite images in --save_dir",
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the command; see the flags."""
    flags = build_parser().parse_args(argv)
    from builders.export_images import plan_jobs, regenerate_files
    from builders.export_quiet import chatter_held_back
    from builders.exported_model import find_exported, open_exported

    paths = find_exported(flags.model)
    save_dir = Path(flags.save_dir)
    jobs = plan_jobs(Path(flags.path_to_data), save_dir, flags.force)
    kinds = {kind.name for kind in map(format_of, paths) if kind is not None}
    if "keras" in kinds:
        choose_backend()
        if has_extensions():
            with chatter_held_back():
                load_extensions()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Keras under TensorFlow compiles anew for every size of image, and warns of that.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)

    from rich.console import Console

    from builders.progress import ProgressReport

    with Console().status("loading the model ...") as status:
        model = open_exported(flags.model, lambda path: status.update(f"loading {path} ..."))
    try:
        save_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--save_dir {save_dir}: can't be made: {error.strerror}") from None
    print(f"model      {', '.join(str(path) for path in model.paths)}")
    with ProgressReport() as report:
        done = regenerate_files(model, jobs, flags.batch_size, flags.resize, report, _warn)
    if done.images:
        print(f"images     {done.images} regenerated, in {save_dir}")
        print(f"PSNR       {_psnr(done, flags.resize)}")
        print(f"time       {done.ms_per_image:.1f} ms an image in the model")
    if done.broken:
        print(f"left out   {len(done.broken)} of {len(jobs)} files, named above")
        return 1
    return 0


def _psnr(done: "Regenerated", resized: bool) -> str:
    unchanged = sum(math.isinf(value) for value in done.psnr_db)
    if unchanged == done.images:
        return "infinite: all came back unchanged"
    against = " against the scaled images" if resized else ""
    note = f" ({unchanged} came back unchanged and are left out)" if unchanged else ""
    return f"{done.mean_psnr_db:.2f} dB on average{against}{note}"


def _warn(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    run_command(main)
