"""Derivatives of networks, by whichever backend runs them."""

from collections.abc import Callable
from typing import Any

import keras


def pull_back(
    function: Callable[[Any], Any], point: Any, direction: Callable[[Any], Any]
) -> tuple[Any, Any]:
    """J^T d, where J is the derivative of a function at a point.

    Args:
        function: of a float32 tensor, a float32 tensor.
        point: where.
        direction: d, given the function's value.

    Returns:
        d, and J^T d in the shape of the point.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(point)
            value = function(point)
        d = direction(value)
        return d, tape.gradient(value, point, output_gradients=d)
    import jax

    value, transpose = jax.vjp(function, point)
    d = direction(value)
    return d, transpose(d)[0]
