"""What compress.py and decompress.py have in common. No heavy imports."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from builders.backend import choose_backend
from builders.cli import Parser, has_extensions, load_extensions, natural, positive
from builders.codec_choice import DEFAULT_EFFORT
from builders.errors import UserError
from builders.threads import share_cores

if TYPE_CHECKING:
    from codec.bundle import Bundle
    from codec.picture import Transforms

MAX_INPUT_BYTES = 1 << 31
"""What a file may have: no more than that is read of any."""


def add_model(parser: Parser, which: str) -> None:
    """Adds --model.

    Args:
        parser: to add to, as below.
        which: the bundles that it may name, for the help.
    """
    text = f"{which}, or a name in pretrained/, such as photo_fast"
    parser.add_argument("--model", metavar="BUNDLE", help=text)


def add_output(parser: Parser) -> None:
    """Adds --output and --force."""
    text = "a file for one input, else a folder; - for stdout, but for clips"
    parser.add_argument("-o", "--output", metavar="OUT", help=text)
    parser.add_switch("--force", "overwrite files that are there")


def add_workers(parser: Parser) -> None:
    """Adds --workers."""
    workers = os.cpu_count() or 1
    parser.add_argument("--workers", type=positive, default=workers, help="images at a time")


def add_effort(parser: Parser) -> None:
    """Adds --effort."""
    parser.add_argument(
        "--effort",
        type=natural,
        metavar="N",
        help="passes over each image that make its file better, each about three times as long as "
        f"decoding; 0 for none ({DEFAULT_EFFORT} where the model has an entropy model, else 0)",
    )


def effort_of(effort: int | None, bundle: "Bundle") -> int:
    """The passes for a bundle.

    Args:
        effort: as --effort gives it.
        bundle: the model.

    Raises:
        UserError: some were asked for that the model can't use.
    """
    from codec.manifest import ENTROPY_CODERS

    if bundle.manifest.coder.kind in ENTROPY_CODERS:
        return DEFAULT_EFFORT if effort is None else effort
    if effort:
        raise UserError(f"--effort {effort}: {bundle.manifest.name} has no entropy model")
    return 0


def add_precision(parser: Parser) -> None:
    """Adds --precision."""
    parser.add_argument(
        "--precision",
        choices=("float32", "mixed_bfloat16"),
        default="float32",
        help="what the networks compute in",
    )


def start_keras(bundle: "Bundle", precision: str, workers: int = 1) -> "Callable[[], Transforms]":
    """Imports Keras and the user's own layers, which takes seconds.

    Args:
        bundle: the model.
        precision: as --precision gives it.
        workers: pictures that will be coded at a time.

    Returns:
        What makes the networks of the bundle.

    Raises:
        UserError: the backend is not installed, or a module of the user's fails.
    """
    choose_backend()
    share_cores(workers)
    if has_extensions():
        load_extensions()
    from builders.codec_transforms import bundle_transforms

    return lambda: bundle_transforms(bundle, precision)
