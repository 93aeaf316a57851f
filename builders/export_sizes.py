"""Which image sizes a model of free size gives back as they went in."""

from collections.abc import Callable, Iterator

from architectures.deployment import SIZE_ERRORS, DeployedAutoencoder
from builders.export_info import SideRule

STEP_MAX = 256
"""Pixels; a codec that needs images to be multiples of more than this is not looked for."""


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

    rows = _side_rule(height, lambda side: keeps(side, width))
    columns = rows and _side_rule(width, lambda side: keeps(height, side))
    return (rows, columns) if rows and columns else None


def _side_rule(known: int, keeps: Callable[[int], bool]) -> SideRule | None:
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
