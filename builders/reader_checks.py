"""Loss terms and metrics of a model: that they find what they read, and have names of their own."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from architectures.image_compressor import ImageCompressor
from architectures.stack import LAYER_ERRORS, one_line
from builders.problems import ProblemList

PROBE_SIDE = 2048
"""Pixels: losses and metrics are tried on images no larger, which takes a second at most."""

LOGGED = {
    "loss": "the total loss",
    "epoch": "the number of the epoch",
    "learning_rate": "the step size",
    "discriminator_learning_rate": "the discriminator's step size",
    "discriminator_loss": "what the discriminator minimises",
    "bpp_latents": "the latents' part of the rate",
    "bpp_hyper_latents": "the hyper-latents' part of the rate",
}
"""Names in a run's log that no loss term or metric can have."""


def _readers(compressor: ImageCompressor) -> Iterator[tuple[str, Any]]:
    """(path in the spec, loss term or metric)."""
    for index, term in enumerate(compressor.loss_terms):
        yield f"loss[{index}].{type(term).__name__}", term
    for index, metric in enumerate(compressor.image_metrics()):
        yield f"training.metrics[{index}].{type(metric).__name__}", metric


def check_outputs(compressor: ImageCompressor, problems: ProblemList) -> None:
    """Every loss term and metric finds what it reads."""
    known = {"x", "x_hat", "y"}
    known.update(getattr(compressor.generator.entropy_model, "aux_keys", ()))
    for layer in (*compressor.encoder.stack, *compressor.decoder.stack):
        known.update(getattr(layer, "aux_keys", ()))
    if compressor.discriminator is not None:
        known.update({"real_logits", "fake_logits"})
    for path, reader in _readers(compressor):
        missing = [key for key in getattr(reader, "requires", ()) if key not in known]
        if missing:
            problems.add(
                path,
                f"reads {', '.join(missing)}, which no layer of this spec gives; "
                f"there is {', '.join(sorted(known))}",
            )


def check_names(compressor: ImageCompressor, problems: ProblemList) -> None:
    """Every loss term and metric has a line of its own in the log."""
    taken = dict(LOGGED)
    for path, reader in _readers(compressor):
        name = getattr(reader, "tag", None) or reader.name
        if name in taken or name.startswith("val_"):
            owner = taken.get(name, "a value on validation images")
            problems.add(
                path, f'is logged as "{name}", the name of {owner} already; give it another "name"'
            )
        taken.setdefault(name, path)


def check_images(
    compressor: ImageCompressor, shape: tuple[int, ...], problems: ProblemList
) -> None:
    """Every loss term and metric takes an image of this size: windows and scales fit.

    Args:
        compressor: the model.
        shape: (1, H, W, C) of its images.
        problems: takes those that don't.
    """
    _, height, width, channels = shape
    probe = (1, min(height, PROBE_SIDE), min(width, PROBE_SIDE), channels)
    image = np.zeros(probe, "float32")
    for path, reader in _readers(compressor):
        if set(reader.requires) <= {"x", "x_hat"}:
            read = getattr(reader, "per_image", reader)
            try:
                read({"x": image, "x_hat": image})
            except LAYER_ERRORS as error:
                if probe == shape:  # a larger image may do
                    problems.add(path, one_line(error))
