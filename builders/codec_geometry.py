"""Blocks and latents of a generator: what a bundle says of its sizes."""

from collections.abc import Iterator
from typing import Any

import keras

from architectures.autoencoder import Generator
from architectures.deployment import SIZE_ERRORS, with_free_size
from architectures.hyperprior import Hyperprior
from builders.errors import RunError
from builders.export_info import SideRule
from builders.export_sizes import side_rule
from builders.model_builder import nominal_shape
from builders.spec import Spec
from codec.manifest import MAX_BYTES_PER_PIXEL, GeometryEntry, GridEntry

Shape = tuple[int, ...]
FLOAT_BYTES = 4
COPIES = 4
"""Tensors of a layer's size that are alive at once: input, output, and two on the way (GDN)."""


def codec_geometry(generator: Generator, spec: Spec) -> GeometryEntry:
    """Which blocks a generator takes, and how large their latents are. Only follows shapes.

    Args:
        generator: built.
        spec: of the generator.

    Raises:
        RunError: the latents don't grow evenly with the image, or are larger than it.
    """
    _, height, width, channels = nominal_shape(spec)
    free = with_free_size(generator, channels, coding=False)
    rules = None if free is None else _rules(free, (height, width, channels))
    if free is None or rules is None:
        shapes = latent_shapes(generator, (height, width, channels))
        if shapes is None:
            raise RunError(f"{spec.name}: images of {height}x{width} don't come back whole")
        entries = {name: GridEntry(shape=list(s), growth=[0, 0]) for name, s in shapes.items()}
        first, step = [height, width], [0, 0]
        model, sample = generator, (height, width, channels)
    else:
        rows, columns = rules
        entries = _grids(free, rules, channels, spec.name)
        first, step = [rows.first, columns.first], [rows.step, columns.step]
        model, sample = free, (rows.at_least(256), columns.at_least(256), channels)
    return GeometryEntry(
        channels=channels,
        first=first,
        step=step,
        grids=entries,  # type: ignore[arg-type]
        bytes_per_pixel=min(_bytes_per_pixel(model, sample), MAX_BYTES_PER_PIXEL),
    )


def _rules(generator: Generator, image: Shape) -> tuple[SideRule, SideRule] | None:
    height, width, channels = image

    def keeps(rows: int, columns: int) -> bool:
        return latent_shapes(generator, (rows, columns, channels)) is not None

    rows = side_rule(height, lambda side: keeps(side, width))
    columns = rows and side_rule(width, lambda side: keeps(height, side))
    return (rows, columns) if rows and columns else None


def latent_shapes(generator: Generator, image: Shape) -> dict[str, Shape] | None:
    """Shapes (without batch) of latents `y` and hyper-latents `z`; None where an image (H, W, C)
    does not come back in its own size."""
    try:
        y, _ = generator.encoder(keras.KerasTensor((1, *image), dtype="uint8"))
        found: dict[str, Any] = {"y": y}
        model = generator.entropy_model
        if isinstance(model, Hyperprior):
            z, _ = model.hyper_encoder(keras.KerasTensor(y.shape))
            parameters, _ = model.hyper_decoder(keras.KerasTensor(z.shape))
            wanted = (*y.shape[:-1], model.outputs_per_latent * y.shape[-1])
            if tuple(parameters.shape) != wanted:
                return None
            found["z"] = z
        x_hat, _ = generator.decoder(keras.KerasTensor(y.shape))
    except SIZE_ERRORS:
        return None
    if tuple(x_hat.shape[1:]) != tuple(image):
        return None
    return {name: tuple(tensor.shape[1:]) for name, tensor in found.items()}


def _grids(
    generator: Generator, rules: tuple[SideRule, SideRule], channels: int, name: str
) -> dict[str, GridEntry]:
    """Latents of the smallest image, and what each step adds; seen at four steps more as well."""
    rows, columns = rules

    def at(steps: int) -> dict[str, Shape]:
        image = rows.first + steps * rows.step, columns.first + steps * columns.step, channels
        shapes = latent_shapes(generator, image)
        if shapes is None:
            raise RunError(f"{name}: images of {image[0]}x{image[1]} don't come back whole")
        return shapes

    base, one, more = at(0), at(1), at(5)
    grids = {}
    for key, shape in base.items():
        growth = [one[key][axis] - shape[axis] for axis in (0, 1)]
        if any(more > side for more, side in zip(growth, (rows.step, columns.step), strict=True)):
            raise RunError(f"{name}: its latents are larger than the image: nothing is compressed")
        grown = (shape[0] + 5 * growth[0], shape[1] + 5 * growth[1], shape[2])
        if grown != more[key]:
            raise RunError(f"{name}: its latents don't grow evenly with the image")
        grids[key] = GridEntry(shape=list(shape), growth=growth)
    return grids


def _bytes_per_pixel(generator: Generator, image: Shape) -> int:
    """Memory that the largest layer takes, for each pixel of the image."""
    values = max(_sizes(generator, image))
    return max(1, -(-COPIES * FLOAT_BYTES * values // (image[0] * image[1])))


def _sizes(generator: Generator, image: Shape) -> Iterator[int]:
    """Numbers in the output of each layer."""
    pixels = keras.KerasTensor((1, *image))
    yield _count(pixels)
    x = keras.KerasTensor(generator.encoder.prepared(pixels.shape))
    for stack in (generator.encoder.stack, generator.decoder.stack):
        for layer in stack:
            found = layer(x)
            x = found[0] if isinstance(found, tuple) else found
            yield _count(x)


def _count(tensor: Any) -> int:
    total = 1
    for side in tensor.shape:
        total *= side or 1
    return total
