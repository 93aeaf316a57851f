"""Halving and doubling of images by whole factors, for sides that may be unknown."""

from typing import Any

from keras import ops


def mean_of_blocks(x: Any, factor: int) -> Any:
    """(B, H, W, C) -> (B, H/f, W/f, C): each pixel the mean of f x f pixels."""
    batch, height, width, channels = ops.shape(x)
    blocks = (batch, height // factor, factor, width // factor, factor, channels)
    return ops.mean(ops.reshape(x, blocks), axis=(2, 4))


def bilinear_upsampling(x: Any, factor: int) -> Any:
    """(B, H, W, C) -> (B, H*f, W*f, C), centres of pixels aligned, edges repeated.

    What `tf.image.resize` does without antialiasing. Made of sums, so that it runs alike under
    every backend, also for sides that are unknown while a graph is traced.
    """
    return _along(_along(x, factor, 1), factor, 2)


def _along(x: Any, factor: int, axis: int) -> Any:
    """One axis: each pixel becomes f, mixed with the neighbour that is nearer."""
    first = x[:, :1] if axis == 1 else x[:, :, :1]
    last = x[:, -1:] if axis == 1 else x[:, :, -1:]
    before = ops.concatenate([first, x[:, :-1] if axis == 1 else x[:, :, :-1]], axis=axis)
    after = ops.concatenate([x[:, 1:] if axis == 1 else x[:, :, 1:], last], axis=axis)
    phases = []
    for phase in range(factor):
        offset = (phase + 0.5) / factor - 0.5  # of this pixel's centre, in pixels of x
        neighbour = before if offset < 0 else after
        phases.append(x * (1 - abs(offset)) + neighbour * abs(offset))
    batch, height, width, channels = ops.shape(x)
    sides = [height, width]
    sides[axis - 1] = sides[axis - 1] * factor
    return ops.reshape(ops.stack(phases, axis=axis + 1), (batch, *sides, channels))
