"""Where components stand in a spec, and of which kind."""

from collections.abc import Iterator
from typing import Any

from builders.problems import join

INPUTS = "model.layers.inputs"
ENCODER = "model.layers.generator.layers.encoder.layers"
DECODER = "model.layers.generator.layers.decoder.layers"
HYPER_ENCODER = "model.layers.generator.layers.hyper_encoder.layers"
HYPER_DECODER = "model.layers.generator.layers.hyper_decoder.layers"
ENTROPY_MODEL = "model.layers.generator.entropy_model"
PREDICTION = "model.layers.generator.prediction"
DISCRIMINATOR = "model.layers.discriminator.layers"

LISTS = {
    INPUTS: "input",
    ENCODER: "layer",
    DECODER: "layer",
    HYPER_ENCODER: "layer",
    HYPER_DECODER: "layer",
    DISCRIMINATOR: "layer",
    "preprocessing": "preprocessing",
    "loss": "loss",
    "training.metrics": "metric",
}
"""Lists of components."""

SINGLES = {
    ENTROPY_MODEL: "entropy_model",
    PREDICTION: "prediction",
    "training.optimizer": "optimizer",
    "training.discriminator_optimizer": "optimizer",
}
"""Single components."""

ROUNDS = "training.rounds"
IN_ROUNDS = {"optimizer": "optimizer", "discriminator_optimizer": "optimizer"}
"""Single components of each round of a training; each may be null."""

OPTIONAL = frozenset({ENTROPY_MODEL, PREDICTION, "training.discriminator_optimizer"})
"""Those of them that may be null."""


def at(tree: Any, path: str) -> Any:
    """What stands at a path of keys; None where nothing does."""
    for key in path.split("."):
        if not isinstance(tree, dict) or key not in tree:
            return None
        tree = tree[key]
    return tree


def components(tree: Any) -> Iterator[tuple[str, str, Any]]:
    """(kind, path, value) of every component at its known place."""
    for path, kind in LISTS.items():
        value = at(tree, path)
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield kind, join(path, index), item
    for kind, path, holder, key in singles(tree):
        if holder[key] is not None or path not in OPTIONAL:
            yield kind, path, holder[key]


def singles(tree: Any) -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """(kind, path, holder, key) of every single component that is there: it is `holder[key]`.

    Those of a round are left out where they are null, like any that need not be there.
    """
    for path, kind in SINGLES.items():
        section, _, key = path.rpartition(".")
        holder = at(tree, section)
        if isinstance(holder, dict) and key in holder:
            yield kind, path, holder, key
    rounds = at(tree, ROUNDS)
    for index, part in enumerate(rounds if isinstance(rounds, list) else []):
        for key, kind in IN_ROUNDS.items() if isinstance(part, dict) else ():
            if part.get(key) is not None:
                yield kind, join(join(ROUNDS, index), key), part, key
