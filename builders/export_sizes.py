"""Which image sizes a model is served at, and which of them come back as they went in."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from architectures.autoencoder import Generator
from architectures.deployment import (
    SIZE_ERRORS,
    Deployed,
    DeployedAutoencoder,
    deployed_parts,
    with_free_size,
)
from builders.errors import RunError, UserError
from builders.export_check import probe_image
from builders.export_info import SideRule
from builders.model_builder import nominal_shape
from builders.spec import Spec

Shape = tuple[int | None, ...]

PROBE_SIDES = (40, 56)
"""Least height and width, in pixels, that models of free size are compared at."""

STEP_MAX = 256
"""Pixels; a codec that needs images to be multiples of more than this is not looked for."""


@dataclass(frozen=True)
class Served:
    """A model and the sizes it is served at.

    Attributes:
        parts: encoder, decoder, and both as one.
        image: (H, W, C) with None where free.
        known: (H, W, C) that the model is known to give back.
        rules: good heights and widths where the size is free.
    """

    parts: tuple[Deployed, Deployed, DeployedAutoencoder]
    image: Shape
    known: tuple[int, int, int]
    rules: tuple[SideRule, SideRule] | None

    def probes(self, seed: int = 0) -> list[np.ndarray]:
        """Images of different batch sizes and, where free, different sizes."""
        height, width, channels = self.known
        sizes = [(height, width), (height, width)]
        if self.rules is not None:
            rows, columns = self.rules
            first = rows.at_least(PROBE_SIDES[0]), columns.at_least(PROBE_SIDES[1])
            sizes = [first, (rows.at_least(first[0] + 1), columns.at_least(first[1] + 1))]
        batches = (2, 1)
        return [
            probe_image(h, w, channels, batch, seed)
            for (h, w), batch in zip(sizes, batches, strict=True)
        ]


def serve(generator: Generator, spec: Spec, size: tuple[int, int] | None = None) -> Served:
    """Decides which image sizes a model is served at, and makes it serve them.

    Free height and width where every layer allows them, also for a spec that names a size: its
    weights are the same for all. Otherwise the spec's size.

    Args:
        generator: built, with its weights.
        spec: of the generator.
        size: (height, width) to fix.

    Raises:
        UserError: the model can't give back images of `size`.
        RunError: the spec leaves the size free, but a layer can't be exported that way.
    """
    _, height, width, channels = nominal_shape(spec)
    known = (height, width, channels)
    free = with_free_size(generator, channels)
    if size is not None:
        if free is None and None not in spec.input_shape and size != known[:2]:
            raise UserError(f"{_flag(size)}: a layer of {spec.name} fixes it to {height},{width}")
        return _fixed(free or generator, (*size, channels))
    if free is not None:
        image = (None, None, channels)
        parts = deployed_parts(free, image)
        rules = size_rules(parts[2], known)
        # Without a rule only the spec's own size is known to come back: a spec that names one
        # keeps to it.
        if rules is not None or None in spec.input_shape:
            return Served(parts, image, known, rules)
    try:
        return Served(deployed_parts(generator, spec.input_shape), spec.input_shape, known, None)
    except SIZE_ERRORS as error:
        raise RunError(
            f"{spec.name} can't be exported for free sizes; --size {height},{width} fixes one"
        ) from error


def _fixed(generator: Generator, image: tuple[int, int, int]) -> Served:
    try:
        parts = deployed_parts(generator, image)
        given = tuple(parts[2].result_of((1, *image)).shape[1:3])
        reason = f"they come back as {given[0]},{given[1]}"
    except SIZE_ERRORS:
        given, reason = (), "a layer can't take them"
    if given != image[:2]:
        raise UserError(f"{_flag(image)}: images of this size don't come back whole: {reason}")
    return Served(parts, image, image, None)


def _flag(size: Sequence[int]) -> str:
    return f"--size {size[0]},{size[1]}"


def size_rules(
    model: DeployedAutoencoder, image: tuple[int, int, int]
) -> tuple[SideRule, SideRule] | None:
    """Finds the good heights and widths of a model. Only shapes are followed, nothing is computed.

    Args:
        model: built for any size.
        image: (H, W, C) that the model is known to give back.

    Returns:
        Rules for height and width; None where there is none with a step up to `STEP_MAX`.
    """
    height, width, channels = image

    def keeps(h: int, w: int) -> bool:
        try:
            return tuple(model.result_of((1, h, w, channels)).shape[1:3]) == (h, w)
        except SIZE_ERRORS:
            return False

    rows = side_rule(height, lambda side: keeps(side, width))
    columns = rows and side_rule(width, lambda side: keeps(height, side))
    return (rows, columns) if rows and columns else None


def side_rule(known: int, keeps: Callable[[int], bool]) -> SideRule | None:
    """Good sizes along one side, found by trying.

    Args:
        known: a size that is good.
        keeps: whether images of a size come back as they went in.
    """
    for step in _steps():
        if keeps(known + step) and keeps(known + 2 * step):
            first = known % step or step
            while first < known and not keeps(first):
                first += step
            return SideRule(first, step)
    return None


def _steps() -> Iterator[int]:
    """Products of strides. Powers of two first: most codecs halve, and each try takes time."""
    powers = [2**n for n in range(STEP_MAX.bit_length()) if 2**n <= STEP_MAX]
    yield from powers
    for step in range(3, STEP_MAX + 1):
        rest = step
        for prime in (2, 3, 5, 7):
            while rest % prime == 0:
                rest //= prime
        if rest == 1 and step not in powers:
            yield step
