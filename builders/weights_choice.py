"""Which weights a command works on, and the spec they belong to."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builders.backend import choose_backend
from builders.errors import UserError
from builders.flags import spec_overrides
from builders.run_folder import RunFolder, find_run
from builders.spec import Spec, load_spec

if TYPE_CHECKING:
    from architectures.image_compressor import ImageCompressor


@dataclass(frozen=True)
class WeightsChoice:
    """Weights and their spec.

    Attributes:
        spec: of the weights, changed by flags.
        weights: a weights file.
        folder: the run it lies in; None for a file of other origin.
    """

    spec: Spec
    weights: Path
    folder: RunFolder | None


def choose_weights(flags: argparse.Namespace, flag_paths: Mapping[str, str]) -> WeightsChoice:
    """Reads `--ckpt_path` and `--model`: the last run's best weights where neither is given.

    Args:
        flags: parsed; `ckpt_path` and `model` are read, and those named in `flag_paths`.
        flag_paths: flag -> path in the spec.

    Raises:
        UserError: no run, no weights, weights without a spec, or a spec that can't be used.
    """
    if flags.ckpt_path is None:
        folder: RunFolder | None = find_run(None)
        assert folder is not None
        weights = folder.best
        if not weights.is_file():
            raise UserError(f"{folder.path}: has no {weights.name} yet: no epoch was finished")
    else:
        choose_backend()  # the next module reads HDF5 through Keras' dependencies
        from builders.checkpoint import find_weights, run_of_weights

        weights = find_weights(flags.ckpt_path)
        folder = run_of_weights(weights)
    if flags.model is not None:
        path = Path(flags.model)
    elif folder is not None:
        path = folder.spec
    else:
        raise UserError(f"{weights}: lies in no run folder, so --model has to name its spec")
    return WeightsChoice(load_spec(path, spec_overrides(flags, path, flag_paths)), weights, folder)


def load_chosen(choice: WeightsChoice) -> "ImageCompressor":
    """The model of a choice with its weights, in float32: what an exported codec computes in."""
    from builders.checkpoint import load_weights
    from builders.model_builder import ModelBuilder

    compressor = ModelBuilder(choice.spec).build()
    load_weights(compressor, choice.spec, choice.weights)
    return compressor
