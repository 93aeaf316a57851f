"""Latents that the decoder makes a better picture of than of the encoder's own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from codec.geometry import Pixels
from codec.latent_coder import Float32, LatentCoder
from codec.picture import Transforms

STEP: Final = 0.5
"""Share of the way to where a latent by itself would be best. Latents overlap in the pixels: all of
them the whole way go too far together."""
BIT_PRICE: Final = 0.09
"""As in `thrifty`. Twice that of an encoder that does not look again: what a cheaper symbol spoils,
the next pass mends in part elsewhere."""
LEAST_CURVATURE: Final = 1e-3
"""Of the largest: latents that hardly change the picture must not run away."""
WINDOW: Final = 1024
"""Pixels a side that are worked on at a time, at most: a derivative keeps what every layer gave."""
WINDOW_BYTES: Final = 1 << 28
"""Of the largest layers in a window, as bundles say what coding takes."""
MARGIN: Final = 64
"""Pixels around a window. What a latent changes further away goes unseen, which can cost a little
of the gain and nothing else: decoders need not know how latents were found."""
SAMPLE: Final = 256
"""Pixels a side on which curvatures are measured."""
LARGEST: Final = 1e6
"""That a latent may become."""
ROWS: Final = 256

Cut = tuple[slice, ...]
EVERYTHING: Final[Cut] = (slice(None),)


def refined(
    coder: LatentCoder,
    transforms: Transforms,
    latents: Mapping[str, Float32],
    pixels: Pixels,
    quality: int,
    passes: int,
    side: int | None,
) -> Mapping[str, Float32]:
    """Moves latents so that what is decoded of them comes nearer to the picture.

    An encoder guesses latents in one go; here it looks at what the decoder makes of them when they
    are rounded. A pass goes from the latents y a step towards

        y_hat - J^T (x_hat - x) / h,    h = mean of (J^T u)^2 over a channel, u random signs,

    which is Newton's method for each latent by itself (J is the derivative of the decoder at
    y_hat), and rounds again with regard to bits. What counts is

        squared error / w + bit price * bits,

    w the squared error that a squared step of rounding makes; a step after which that is larger is
    taken back and halved. Hyper-latents stay, and with them the table of every latent.

    Args:
        coder: rounds latents; see `LatentCoder.for_picture`, which makes that quick.
        transforms: the networks.
        latents: float32 (blocks, ...), by the encoder.
        pixels: uint8 (blocks, H, W, C), what they were made of.
        quality: index of the quality.
        passes: how often, at least once. Each takes about three times as long as decoding.
        side: of windows, see `window_side`; None for models that take blocks of one size.

    Returns:
        The latents with another `y`, or with the same if no pass made it better.

    Raises:
        LatentsError: a latent is not finite.

    Source: Campos, Meierhans, Djelouah, Schroers 2019, "Content Adaptive Optimization for Neural
        Image Compression": there by plain descent in hundreds of passes.
    """

    def rounded(y: Float32) -> tuple[Float32, int]:
        found = coder.quantized({**latents, "y": y}, quality)
        return found.y_hat, 8 * len(coder.write(found.arrays, quality))

    best = latents["y"]
    y_hat, bits = rounded(best)
    error, gradient = _pulled_back(transforms, y_hat, pixels, side)
    curvature = _curvature(transforms, y_hat, pixels, side)
    lost = np.square(best - y_hat)
    spoilt = float((lost * curvature).sum()) * 255**2
    if spoilt == 0:
        return latents  # rounding changed nothing, or nothing that can be seen
    weight = spoilt / float((lost / coder.steps(quality) ** 2).sum())
    least = error / weight + BIT_PRICE * bits
    goal, step = _goal(coder, y_hat - gradient / curvature, latents, quality), STEP
    for left in reversed(range(passes)):
        y = best + np.float32(step) * (goal - best)
        y_hat, bits = rounded(y)
        if left:
            error, gradient = _pulled_back(transforms, y_hat, pixels, side)
        else:  # no further step, no gradient
            error = squared_error(transforms.synthesise(y_hat), pixels)
        cost = error / weight + BIT_PRICE * bits
        if cost < least:
            least, best = cost, y
            goal = _goal(coder, y_hat - gradient / curvature, latents, quality)
        else:
            step /= 2
    return {**latents, "y": best}


def _goal(
    coder: LatentCoder, values: Float32, latents: Mapping[str, Float32], quality: int
) -> Float32:
    """What rounds to these values; where a derivative says nothing of use, what is there."""
    goal = coder.before_rounding(values, latents, quality)
    return np.where(np.abs(goal) < LARGEST, goal, latents["y"])


def _pulled_back(
    transforms: Transforms, y_hat: Float32, pixels: Pixels, side: int | None
) -> tuple[float, Float32]:
    """The squared error of a picture of 8-bit pixels, and J^T (x_hat - x), window by window."""
    error, gradient = 0.0, np.empty_like(y_hat)
    for around, inside, wanted in windows(y_hat, pixels, side, MARGIN):
        part = pixels[wanted[0]]
        difference, pulled = transforms.pull_back(y_hat[around], _unit(part))
        decoded = np.clip(np.round(part + np.float32(255) * difference), 0, 255)
        error += squared_error(decoded[wanted[1]], part[wanted[1]])
        gradient[inside[0]] = pulled[inside[1]]
    return error, gradient


def _curvature(transforms: Transforms, y_hat: Float32, pixels: Pixels, side: int | None) -> Float32:
    """(M,): how much the picture changes with a latent of each channel, in the middle of it."""
    cut, of_pixels = _middle(y_hat, pixels, side)
    part, picture = y_hat[cut], _unit(pixels[of_pixels])
    draw = np.random.default_rng(0).random(picture.shape)
    signs = np.where(draw < 0.5, np.float32(-1), np.float32(1))
    # J^T is linear, and these differ by `signs` in what it is given.
    _, with_signs = transforms.pull_back(part, picture - signs)
    _, without = transforms.pull_back(part, picture)
    pulled = (with_signs - without).reshape(-1, y_hat.shape[-1])
    found = np.mean(pulled**2, axis=0)
    least = max(LEAST_CURVATURE * float(found.max()), float(np.finfo(np.float32).tiny))
    return np.maximum(found, np.float32(least))


def squared_error(decoded: NDArray[Any], pixels: Pixels) -> float:
    """Sum over all pixels and channels of blocks, some rows at a time."""
    total = 0.0
    for one, other in zip(decoded, pixels, strict=True):
        for start in range(0, len(one), ROWS):
            rows = slice(start, start + ROWS)
            total += float(np.square(one[rows].astype(np.float64) - other[rows]).sum())
    return total


def _unit(pixels: Pixels) -> Float32:
    return pixels.astype(np.float32) / np.float32(255)


def window_side(bytes_per_pixel: int) -> int:
    """Pixels a side of a window for a model whose largest layers take so much in coding."""
    return min(WINDOW, max(SAMPLE, math.isqrt(WINDOW_BYTES // bytes_per_pixel)))


def windows(
    y_hat: Float32, pixels: Pixels, side: int | None, margin: int
) -> Iterator[tuple[Cut, tuple[Cut, Cut], tuple[Cut, Cut]]]:
    """Cuts latents and their picture into windows; blocks of one size into some at a time.

    Latents whose rows are no whole number of pixels apart are one window.

    Args:
        y_hat: (blocks, ...).
        pixels: (blocks, H, W, C).
        side: of a window without its margin, in pixels; None for blocks of one size.
        margin: in pixels.

    Yields:
        The latents with margin; those without, in all and in the part before; and the same
        of the pixels: with margin in all, and without in that part.
    """
    if side is None:
        for some in _blocks(pixels):
            yield some, (some, EVERYTHING), (some, EVERYTHING)
        return
    scales = _scales(y_hat, pixels)
    if scales is None:
        yield EVERYTHING, (EVERYTHING, EVERYTHING), (EVERYTHING, EVERYTHING)
        return
    across = list(_stretches(y_hat.shape[2], scales[1], side, margin))
    for vertical in _stretches(y_hat.shape[1], scales[0], side, margin):
        for horizontal in across:
            around, inside, part, wanted, inner = (
                (slice(None), *pair) for pair in zip(vertical, horizontal, strict=True)
            )
            yield around, (inside, part), (wanted, inner)


def _middle(y_hat: Float32, pixels: Pixels, side: int | None) -> tuple[Cut, Cut]:
    """Latents and pixels of `SAMPLE` x `SAMPLE` in the middle at most, or as many in blocks."""
    if side is None:
        cuts = list(_blocks(pixels, SAMPLE))
        return cuts[len(cuts) // 2], cuts[len(cuts) // 2]
    scales = _scales(y_hat, pixels)
    if scales is None:
        return EVERYTHING, EVERYTHING
    cut, of_pixels = [slice(None)], [slice(None)]
    for count, scale in zip(y_hat.shape[1:3], scales, strict=True):
        some = min(count, max(1, SAMPLE // scale))
        start = (count - some) // 2
        cut.append(slice(start, start + some))
        of_pixels.append(slice(start * scale, (start + some) * scale))
    return tuple(cut), tuple(of_pixels)


def _blocks(pixels: Pixels, side: int = WINDOW) -> Iterator[Cut]:
    blocks, height, width = pixels.shape[:3]
    some = max(1, side**2 // (height * width))
    for start in range(0, blocks, some):
        yield (slice(start, start + some),)


def _scales(y_hat: Float32, pixels: Pixels) -> tuple[int, int] | None:
    """Pixels from one row and column of latents to the next, if they are whole numbers."""
    (height, width), (rows, columns) = pixels.shape[1:3], y_hat.shape[1:3]
    return None if height % rows or width % columns else (height // rows, width // columns)


def _stretches(count: int, scale: int, side: int, margin: int) -> Iterator[tuple[slice, ...]]:
    """Of latents: with margin, without in all, without in the first; of pixels: first and third."""
    each, more = max(1, side // scale), -(-margin // scale)
    for start in range(0, count, each):
        stop = min(start + each, count)
        first, last = max(0, start - more), min(count, stop + more)
        part = slice(start - first, stop - first)
        yield (
            slice(first, last),
            slice(start, stop),
            part,
            slice(first * scale, last * scale),
            slice(part.start * scale, part.stop * scale),
        )
