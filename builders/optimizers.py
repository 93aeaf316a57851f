"""Optimizers from a spec: one, or one for each network of an adversarial pair."""

import copy
from typing import Any

import keras

from architectures.image_compressor import ImageCompressor
from builders.registry import Registry
from builders.spec import Spec

_THEIRS = "discriminator"


class _NetworkMap(keras.optimizers.OptimizerMap):
    """Tells whose a variable is by the variable itself.

    Keras' own map compares paths with regular expressions, which a spec could fool: any network may
    bear any name, with dots in it, and the whole model the same as its discriminator.
    """

    def __init__(self, generator: Any, discriminator: Any, variables: list[Any]) -> None:
        super().__init__(generator, {_THEIRS: discriminator})
        self._theirs = {id(variable) for variable in variables}

    def __call__(self, variable: Any) -> Any:
        return self[_THEIRS] if id(variable) in self._theirs else self.default_optimizer


def build_optimizer(spec: Spec, compressor: ImageCompressor) -> keras.optimizers.Optimizer:
    """The optimizer a spec begins with, built; see `make_optimizer`."""
    training = spec.training
    return make_optimizer(training.optimizer, training.discriminator_optimizer, compressor)


def make_optimizer(
    settings: Any, discriminator_settings: Any, compressor: ImageCompressor
) -> keras.optimizers.Optimizer:
    """An optimizer, built; with a discriminator, one that gives each network its own.

    Args:
        settings: which and with what arguments, as in a spec.
        discriminator_settings: the discriminator's own; None for a copy of `settings`.
        compressor: built; its trainable variables are what is optimized.
    """
    registry = Registry()
    optimizer = registry.create("optimizer", copy.deepcopy(settings))
    if compressor.discriminator is not None:
        opponent = registry.create("optimizer", copy.deepcopy(discriminator_settings or settings))
        theirs = compressor.discriminator.trainable_variables
        optimizer = keras.optimizers.MultiOptimizer(_NetworkMap(optimizer, opponent, theirs))
    optimizer.build(compressor.trainable_variables)
    return optimizer


def learning_rates(optimizer: Any) -> dict[str, float]:
    """The present step sizes by the name they are logged under."""
    parts = getattr(optimizer, "optimizers", None)
    if parts is None:
        return {"learning_rate": _rate(optimizer)}
    discriminator, generator = parts  # the order of Keras: those of the map, then its default
    return {
        "learning_rate": _rate(generator),
        "discriminator_learning_rate": _rate(discriminator),
    }


def _rate(optimizer: Any) -> float:
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))
