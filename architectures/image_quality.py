"""How far a reconstruction is from its original: one value per image, lower or higher as named.

Pure functions over batches `(B, H, W, C)` with values in `[0, max_val]`. Whatever dtype comes in,
the arithmetic is float32 and so is the result, of shape `(B,)`. All are differentiable, so that a
loss and a metric of the same name are the same code. SSIM and MS-SSIM live in `ssim` and are named
here too.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from architectures.ssim import compatible_shapes, image_pair, ms_ssim, ssim
from architectures.ssim_windows import largest_window, ms_ssim_power_factors, ms_ssim_scales

__all__ = [
    "binary_crossentropy",
    "kl_to_standard_normal",
    "largest_window",
    "mae",
    "ms_ssim",
    "ms_ssim_power_factors",
    "ms_ssim_scales",
    "mse",
    "psnr_db",
    "ssim",
]

Tensor = Any

PSNR_CAP_DB = 100.0
"""PSNR of identical images in dB; see `psnr_db`."""


def mse(x: Tensor, x_hat: Tensor) -> Tensor:
    """Computes the mean squared error: `mean((x - x_hat)^2)` over pixels and channels.

    Args:
        x: Original images, shape `(B, H, W, C)`, any real dtype and range.
        x_hat: Reconstructed images, as `x`.

    Returns:
        Tensor of shape `(B,)`, float32, unit of the range squared, from 0.

    Raises:
        ValueError: The shapes differ.
    """
    x, x_hat = image_pair(x, x_hat)
    return ops.mean(ops.square(x - x_hat), axis=(1, 2, 3))


def mae(x: Tensor, x_hat: Tensor) -> Tensor:
    """Computes the mean absolute error (L1): `mean(|x - x_hat|)` over pixels and channels.

    The gradient of a sample without error is 0 on every backend.

    Args:
        x: Original images, shape `(B, H, W, C)`, any real dtype and range.
        x_hat: Reconstructed images, as `x`.

    Returns:
        Tensor of shape `(B,)`, float32, unit of the range, from 0.

    Raises:
        ValueError: The shapes differ.
    """
    x, x_hat = image_pair(x, x_hat)
    error = x - x_hat
    # Not absolute(): JAX takes its slope at 0 to be 1, and would darken pixels that are right.
    return ops.mean(error * ops.stop_gradient(ops.sign(error)), axis=(1, 2, 3))


def psnr_db(x: Tensor, x_hat: Tensor, max_val: float = 1.0, cap_db: float = PSNR_CAP_DB) -> Tensor:
    """Computes the peak signal-to-noise ratio: `10 log10(max_val^2 / mse)`, at most `cap_db`.

    The mean squared error is raised to `max_val^2 10^(-cap_db / 10)` where it is smaller, so that
    identical images give `cap_db` and a zero gradient instead of infinity and NaN, and one of them
    does not make the mean of a whole data set infinite. The default of 100 dB lies above what
    8-bit images of usual sizes can have without being identical (one sample out of 150 000 off by
    one level is 100 dB); below the cap the value is not changed.

    Args:
        x: Original images, shape `(B, H, W, C)`, any real dtype, range `[0, max_val]`.
        x_hat: Reconstructed images, as `x`.
        max_val: Size of the range, e.g. 1.0 or 255.0.
        cap_db: Largest value returned, in dB.

    Returns:
        Tensor of shape `(B,)`, float32, in dB.

    Raises:
        ValueError: The shapes differ.
    """
    relative = mse(x, x_hat) / max_val**2
    floor = 10.0 ** (-cap_db / 10.0)
    return -10.0 * ops.log10(ops.maximum(relative, floor))


def binary_crossentropy(
    x: Tensor, x_hat: Tensor, max_val: float = 1.0, epsilon: float = 1e-7
) -> Tensor:
    """Computes the mean binary cross-entropy of pixels taken as probabilities.

    `mean(-x log(p) - (1 - x) log(1 - p))` with `p = clip(x_hat, epsilon, 1 - epsilon)`, both
    divided by `max_val` first. For pixels other than 0 and 1 the minimum, at `x_hat = x`, is the
    entropy of `x` and not 0.

    Args:
        x: Original images, shape `(B, H, W, C)`, any real dtype, range `[0, max_val]`.
        x_hat: Reconstructed images, as `x`.
        max_val: Size of the range, e.g. 1.0 or 255.0.
        epsilon: Distance that `p` keeps from 0 and 1; the default is that of Keras. Values below
            6e-8 vanish in float32. Pixels within it have no gradient.

    Returns:
        Tensor of shape `(B,)`, float32, in nats per pixel and channel, from 0 to `-log(epsilon)`.

    Raises:
        ValueError: The shapes differ.
    """
    x, x_hat = image_pair(x, x_hat)
    target = x / max_val
    probability = ops.clip(x_hat / max_val, epsilon, 1.0 - epsilon)
    log_likelihood = target * ops.log(probability) + (1.0 - target) * ops.log(1.0 - probability)
    return -ops.mean(log_likelihood, axis=(1, 2, 3))


def kl_to_standard_normal(mean: Tensor, log_var: Tensor) -> Tensor:
    """Computes the Kullback-Leibler divergence of a diagonal Gaussian from the standard normal.

    `0.5 sum(exp(log_var) + mean^2 - 1 - log_var)` over the latents of an image.

    Args:
        mean: Posterior mean, shape `(B, ...)`, any real dtype.
        log_var: Natural logarithm of the posterior variance, same shape. Infinite above 88, where
            the exponential leaves float32.

    Returns:
        Tensor of shape `(B,)`, float32, in nats per image, from 0.

    Raises:
        ValueError: The shapes differ.

    Reference:
        Kingma, Welling, "Auto-Encoding Variational Bayes", 2014, appendix B.
    """
    mean, log_var = ops.convert_to_tensor(mean), ops.convert_to_tensor(log_var)
    shapes = tuple(mean.shape), tuple(log_var.shape)
    if len(shapes[0]) < 2 or not compatible_shapes(*shapes):
        raise ValueError(f"expected mean and log_var of one shape (B, ...), found {shapes}")
    mean, log_var = ops.cast(mean, "float32"), ops.cast(log_var, "float32")
    # expm1 keeps the digits near log_var = 0, where the prior is and exp(v) - 1 - v cancels.
    nats = 0.5 * (ops.expm1(log_var) - log_var + ops.square(mean))
    return ops.sum(nats, axis=tuple(range(1, len(nats.shape))))
