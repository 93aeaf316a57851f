"""What runs are compared by on TensorBoard's HParams page."""

import json
from collections.abc import Sequence
from typing import Any

import keras

from architectures.image_compressor import ImageCompressor
from builders.spec import Spec


def hyperparameters(spec: Spec, compressor: ImageCompressor) -> dict[str, Any]:
    """Name -> number or text: numbers wherever there is one, so that columns sort and filter.

    Args:
        spec: of the run.
        compressor: built, in the precision it is trained in.
    """
    training, dataset = spec.training, spec.dataset
    ((optimizer, arguments),) = training.optimizer.items()
    rate = arguments.get("learning_rate")
    values: dict[str, Any] = {
        "model": spec.name,
        "parameters": compressor.count_params(),
        "dataset": dataset.name,
        "backend": keras.backend.backend(),
        "precision": _precision(compressor),
        "batch_size": training.batch_size,
        "latent_dims": training.latent_dims,
        "optimizer": optimizer,
        "learning_rate": rate if isinstance(rate, int | float) else json.dumps(rate),
        "seed": training.seed,
    }
    for name, size in (("crop", dataset.crop), ("resize", dataset.resize), ("tile", dataset.tile)):
        if size is not None:
            values[name] = "x".join(map(str, size))
    values |= _flat("optimizer", {**arguments, "learning_rate": None})
    coder = spec.sections.model.layers.generator.entropy_model
    if coder is not None:
        ((name, arguments),) = coder.items()
        values["entropy_model"] = name
        values |= _flat("entropy_model", arguments)
    for term in spec.sections.loss:
        ((name, details),) = term.items()
        values[f"loss/{details.get('name') or name}"] = json.dumps(details)
    trade_off = _lambda(spec.sections.loss)
    return values if trade_off is None else {**values, "lambda": trade_off}


def _precision(compressor: ImageCompressor) -> str:
    """What most layers compute in; the last of each stack stay float32."""
    generator = compressor.generator
    layers = (*generator.encoder.stack, *generator.decoder.stack)
    names = {layer.dtype_policy.name for layer in layers} - {"float32"}
    return ", ".join(sorted(names)) or "float32"


def _flat(group: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments that say something; what is null or false is not in use."""
    return {
        f"{group}/{name}": value
        for name, value in arguments.items()
        if value is not None and value is not False and name != "name"
    }


def _lambda(loss: Sequence[dict[str, Any]]) -> float | None:
    """Lambda of R + lambda D: the distortion's weight over the rate's.

    None where there is no rate, or several distortions: an adversarial term is none.
    """
    weights: dict[bool, list[float]] = {True: [], False: []}
    for term in loss:
        ((name, details),) = term.items()
        if name != "Adversarial":
            weights[name == "BitsPerPixel"].append(float(details.get("weight", 1.0)))
    rates, distortions = weights[True], weights[False]
    if len(rates) != 1 or len(distortions) != 1 or not rates[0]:
        return None
    return distortions[0] / rates[0]
