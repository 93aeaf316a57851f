"""Spectral normalization that means the same in training and in use, under every backend."""

from typing import Annotated, Any

import keras
from annotated_types import Ge, Le
from keras import ops

PACKAGE = "codecsmith"
_SMALLEST_SIGMA = 1e-12


@keras.saving.register_keras_serializable(package=PACKAGE)
class SpectralNormalization(keras.layers.SpectralNormalization):
    """Divides the kernel of a layer by its largest singular value: `W / sigma(W)`.

    `sigma` is found by power iteration, `u` is kept from step to step (Miyato et al. 2018,
    "Spectral normalization for generative adversarial networks", equation 8 and algorithm 1).

    Keras' layer of this name overwrites the kernel while it trains. Under JAX that is lost behind
    each step, so that such a model is trained with one kernel and used with another. Here the
    kernel stays what the optimizer made of it, and is divided wherever it is used.

    Args:
        layer: a layer with a kernel, such as `Conv2D` or `Dense`.
        power_iterations: steps of the power iteration in each training step.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        power_iterations: Annotated[int, Ge(1), Le(100)] = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(layer, power_iterations=power_iterations, **kwargs)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        weights = ops.cast(self.kernel.value, "float32")
        matrix = ops.reshape(weights, (-1, self.kernel_shape[-1]))  # (rest, filters)
        u = ops.cast(self.vector_u.value, "float32")  # (1, filters)
        for _ in range(self.power_iterations):
            v = ops.normalize(ops.matmul(u, ops.transpose(matrix)))  # (1, rest)
            u = ops.normalize(ops.matmul(v, matrix))
        u, v = ops.stop_gradient(u), ops.stop_gradient(v)
        if training:
            self.vector_u.assign(ops.cast(u, self.vector_u.dtype))
        sigma = ops.sum(ops.matmul(v, matrix) * u)
        kernel = weights / ops.maximum(sigma, _SMALLEST_SIGMA)
        # Every variable of the layer is named, not the kernel alone: what is not looked up in
        # this scope would be the value before the step, since it hides Keras' own scope.
        values = [
            (variable, kernel if variable is self.kernel else variable.value)
            for variable in self.layer.variables
        ]
        with keras.StatelessScope(state_mapping=values):
            output = self.layer(inputs)
        return ops.cast(output, inputs.dtype)
