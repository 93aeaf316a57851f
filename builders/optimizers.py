"""Optimizers from a spec: one, or one for each network of an adversarial pair."""

import copy
from typing import Any

import keras

from builders.registry import Registry
from builders.spec import Spec


def build_optimizer(spec: Spec) -> keras.optimizers.Optimizer:
    """The optimizer of a spec; with a discriminator, one that gives each network its own."""
    registry = Registry()
    settings = spec.training.optimizer
    generator = registry.create("optimizer", copy.deepcopy(settings))
    judge = spec.sections.model.layers.discriminator
    if judge is None:
        return generator
    own = spec.training.discriminator_optimizer or settings
    opponent = registry.create("optimizer", copy.deepcopy(own))
    # Keras matches whole paths: "<model>/<discriminator's name>/...".
    pattern = rf"(.*/)?{judge.name}/.*"
    chosen = keras.optimizers.OptimizerMap(generator, {pattern: opponent})
    return keras.optimizers.MultiOptimizer(chosen)


def learning_rates(optimizer: Any) -> dict[str, float]:
    """The present step sizes by the name they are logged under."""
    parts = getattr(optimizer, "optimizers", None)
    if parts is None:
        return {"learning_rate": _rate(optimizer)}
    discriminator, generator = parts
    return {
        "learning_rate": _rate(generator),
        "discriminator_learning_rate": _rate(discriminator),
    }


def _rate(optimizer: Any) -> float:
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))
