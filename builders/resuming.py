"""What a run that goes on may be asked anew, and what it may not."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builders.errors import UserError
from builders.flags import spec_overrides
from builders.run_folder import RunFolder
from builders.spec import Spec, difference, load_spec, without_nulls

RESUME_MAY_CHANGE = (
    *("training.epochs", "training.steps_per_dispatch"),
    *("dataset.workers", "dataset.cache_mebibytes", "dataset.on_device"),
)
"""Paths of a spec that a run may go on with other values of: they don't touch what is learned."""


def resumed_spec(flags: argparse.Namespace, folder: RunFolder, paths: Mapping[str, str]) -> Spec:
    """The spec a run goes on with.

    The flags it was started with may be given again, so that the same command with `--resume`
    works, and `--epochs` may say another number. Nothing else may change.

    Args:
        flags: parsed; `model` is None where it was not given.
        folder: of the run.
        paths: flag -> path in the spec.

    Raises:
        UserError: the flags ask for another run; each difference is named.
    """
    if flags.load_from_ckpt_path is not None:
        raise UserError(
            "--resume goes on with the run's own weights; --load_from_ckpt_path starts a new run "
            "from others: give one of the two"
        )
    path = folder.spec if flags.model is None else Path(flags.model)
    own = load_spec(folder.spec)
    changes = {"training.epochs": own.training.epochs, **spec_overrides(flags, path, paths)}
    asked = load_spec(path, changes)
    if own.training.rounds and asked.training.epochs != own.training.epochs:
        raise UserError(
            f"--epochs {asked.training.epochs}: {folder.path} has rounds, which begin after "
            f"{own.training.epochs} epochs; --load_from_ckpt_path starts a new run from its weights"
        )
    lines = resume_differences(asked, own.resolved())
    if lines:
        raise UserError(
            "\n".join(
                [
                    f"--resume goes on with {folder.path} as it is; --epochs alone may change "
                    "(--load_from_ckpt_path starts a new run from its weights):",
                    *(f"  {line}" for line in lines[:10]),
                ]
            )
        )
    return asked


def resume_differences(spec: Spec, before: dict[str, Any]) -> list[str]:
    """What keeps a spec from going on with the state of an earlier, resolved one; a line each."""
    allowed = tuple(f"{path}:" for path in RESUME_MAY_CHANGE)
    # What is null here and absent there is a field that was added since.
    lines = difference(without_nulls(spec.resolved()), without_nulls(before))
    return [line for line in lines if not line.startswith(allowed)]
