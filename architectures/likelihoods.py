"""Code lengths of integers under a density, in bits: exact far out in the tails, with gradients.

Everything is computed as logarithms, so no likelihood is ever bounded from below: a symbol far from
where the model expects it still pulls the model towards it.
"""

import math
from typing import Any

from keras import ops

LN2 = math.log(2.0)
_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)
_WIDE = 8.0
"""Scales from which the density's Taylor series beats a difference of integrals."""

# erfc(z) = t exp(-z^2 + p(t)), t = 1 / (1 + z/2), z >= 0; relative error under 1.2e-7 everywhere.
# W. H. Press et al., "Numerical recipes in C", 2nd edition, section 6.2 (`erfcc`).
_ERFC = (
    -1.26551223,
    1.00002368,
    0.37409196,
    0.09678418,
    -0.18628806,
    0.27886807,
    -1.13520398,
    1.48851587,
    -0.82215223,
    0.17087277,
)


def log_upper_tail(x: Any) -> Any:
    """log of the standard normal's mass above x >= 0, exact also where the mass underflows."""
    return _log_scaled_tail(x) - 0.5 * x * x


def _log_scaled_tail(x: Any) -> Any:
    """log of the mass above x >= 0 times exp(x^2 / 2): what is left of it falls only like 1 / x."""
    t = 1.0 / (1.0 + (0.5 * math.sqrt(0.5)) * x)
    polynomial = 0.0 * t
    for coefficient in reversed(_ERFC):
        polynomial = polynomial * t + coefficient
    return ops.log(0.5 * t) + polynomial


def log1mexp(x: Any) -> Any:
    """log(1 - exp(-x)) for x > 0, without loss for small or large x (Maechler 2012)."""
    small = x < LN2
    near = ops.log(-ops.expm1(-ops.where(small, x, 1.0)))
    far = ops.log1p(-ops.exp(-ops.where(small, 1.0, x)))
    return ops.where(small, near, far)


def gaussian_bits(value: Any, scale: Any) -> Any:
    """Bits of the bin of width 1 around `value` under a zero-mean Gaussian.

    `-log2(Phi((v + 1/2) / s) - Phi((v - 1/2) / s))`; Balle et al. 2018, "Variational image
    compression with a scale hyperprior", section 2.

    Args:
        value: residual to the mean, any shape, float32.
        scale: standard deviation, positive, the same shape.

    Returns:
        Bits, float32, same shape.
    """
    v = ops.absolute(value)
    wide = scale >= _WIDE
    s = ops.where(wide, 1.0, scale)
    v_narrow = ops.where(wide, 0.0, v)
    low, high = (v_narrow - 0.5) / s, (v_narrow + 0.5) / s
    beside = low > 0.0  # the whole bin lies on one side of the mean
    low_beside = ops.where(beside, low, 0.0)
    scaled_low, scaled_high = _log_scaled_tail(low_beside), _log_scaled_tail(high)
    # log tail(low) - log tail(high), where (high^2 - low^2) / 2 = v / s^2. As the difference of two
    # logarithms it would lose the digits that they have in common.
    ratio = v_narrow / ops.square(s) + (scaled_low - scaled_high)
    log_low = scaled_low - 0.5 * ops.square(low_beside)
    outside = log_low + log1mexp(ops.where(beside, ratio, 1.0))
    log_high = scaled_high - 0.5 * ops.square(high)
    below = log_upper_tail(ops.where(beside, 0.0, -low))
    around = ops.log1p(-(ops.exp(below) + ops.exp(ops.where(beside, -1.0, log_high))))
    # exp(-1.0) * 2 < 1 keeps the branch not taken finite.
    around = ops.where(beside, 0.0, around)
    narrow_log = ops.where(beside, outside, around)
    narrow_scale = ops.where(wide, scale, _WIDE)
    wide_log = _log_narrow_bin(v, narrow_scale)
    return ops.where(wide, wide_log, narrow_log) * (-1.0 / LN2)


def _log_narrow_bin(v: Any, s: Any) -> Any:
    """log of a bin's mass by the Taylor series of the density around its middle, to order s^-4."""
    t2 = ops.square(v / s)
    inverse = 1.0 / ops.square(s)
    second = (t2 - 1.0) * inverse / 24.0
    fourth = (ops.square(t2) - 6.0 * t2 + 3.0) * ops.square(inverse) / 1920.0
    return -0.5 * t2 - ops.log(s) - _HALF_LOG_TWO_PI + ops.log1p(second + fourth)


def logistic_bin_bits(lower: Any, width: Any) -> Any:
    """Bits of a bin whose cumulative at its ends is sigmoid(lower) and sigmoid(lower + width).

    `sigmoid(l + w) - sigmoid(l) = sigmoid(l + w) sigmoid(-l) (1 - exp(-w))`, taken as logarithms.

    Args:
        lower: logit at the bin's lower end, float32.
        width: how much larger the logit at its upper end is, positive.

    Returns:
        Bits, float32, same shape.
    """
    log_mass = -ops.softplus(-(lower + width)) - ops.softplus(lower) + log1mexp(width)
    return log_mass * (-1.0 / LN2)
