"""Frozen tables of a trained model: what its symbols are coded with from now on."""

import keras
import numpy as np
from numpy.typing import NDArray

from architectures.factorized_prior import DeepFactorized
from builders.errors import RunError
from codec.distributions import tables_from_cdf
from codec.quantizers import LEVELS
from codec.tables import MAX_ENTRIES, TableSet

Array = NDArray[np.float64]
SHARED_WEIGHT = 64.0
"""Symbols that a channel's own counts are worth before they outweigh those of all channels."""


def density_tables(density: DeepFactorized) -> TableSet:
    """One table for each channel of a learned density, computed in float64.

    The ends of each table are found where the tails run out: nothing has to be kept up to date
    while training.

    Raises:
        RunError: its weights are not finite.
    """

    def weights(variables: list[keras.Variable]) -> list[Array]:
        return [keras.ops.convert_to_numpy(each).astype(np.float64) for each in variables]

    matrices, biases = weights(density.matrices), weights(density.biases)
    factors = weights(density.factors)
    if not all(np.isfinite(each).all() for each in (*matrices, *biases, *factors)):
        raise RunError("the learned density has weights that are not finite")

    def logits(positions: Array) -> Array:
        found = positions[:, None, :]  # (C, 1, N)
        for index, (matrix, bias) in enumerate(zip(matrices, biases, strict=True)):
            found = np.logaddexp(0.0, matrix) @ found + bias
            if index < len(factors):
                found = found + np.tanh(factors[index]) * np.tanh(found)
        return found[:, 0, :]

    def wide(positions: Array) -> Array:
        return np.broadcast_to(positions, (matrices[0].shape[0], positions.shape[1]))

    return tables_from_cdf(
        lambda at: _sigmoid(logits(wide(at))),
        matrices[0].shape[0],
        lambda at: _sigmoid(-logits(wide(at))),
    )


def _sigmoid(x: Array) -> Array:
    return np.exp(-np.logaddexp(0.0, -x))


def counted_tables(symbols: NDArray[np.int32]) -> TableSet:
    """Tables of 8-bit symbols from how often they came.

    Each channel (last axis) gets its own counts on top of those of all channels, which stand in for
    what a channel has not shown; where that would be too many tables, all share one.

    Args:
        symbols: (..., channels), 0..255.
    """
    channels = symbols.shape[-1]
    rows = symbols.reshape(-1, channels)
    shared = np.bincount(rows.ravel(), minlength=LEVELS) + 1.0 / LEVELS
    shared /= shared.sum()
    if channels * (LEVELS + 1) > MAX_ENTRIES:
        return TableSet.from_pmfs([shared], [0])
    pmfs = []
    for channel in range(channels):
        counts = np.bincount(rows[:, channel], minlength=LEVELS) + SHARED_WEIGHT * shared
        pmfs.append(counts / counts.sum())
    return TableSet.from_pmfs(pmfs, [0] * channels)
