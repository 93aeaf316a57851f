"""Command-line flags as changes to a spec."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builders.errors import UserError
from builders.json_reader import read_json
from builders.overrides import parse_assignment
from constants.defaults import ALPHA, LEARNING_RATE

RESUME_FLAGS = ("epochs",)
"""What may change when a run goes on."""


def spec_overrides(
    flags: argparse.Namespace, path: Path, flag_paths: Mapping[str, str]
) -> dict[str, Any]:
    """Path in the spec -> value, for every flag that was given.

    Args:
        flags: as parsed; None means not given.
        path: the spec file, read for where --alpha and --learning_rate go.
        flag_paths: flags that stand for one fixed place.

    Raises:
        UserError: --alpha without an SSIML1 term, a malformed --set, an unreadable spec.
    """
    changes: dict[str, Any] = {}
    for text in getattr(flags, "set", None) or []:
        key, value = parse_assignment(text)
        if not key:
            raise UserError(f'--set: found "{text}", expected PATH=VALUE')
        changes[key] = value
    for flag, key in flag_paths.items():
        value = getattr(flags, flag, None)
        if value is not None:
            changes[key] = value
    tree = read_json(path) if path.exists() else {}
    if getattr(flags, "learning_rate", None) is not None:
        name = _optimizer_name(tree, changes)
        if "training.optimizer" not in changes and "optimizer" not in _section(tree, "training"):
            changes["training.optimizer"] = {name: {"learning_rate": LEARNING_RATE}}
        changes[f"training.optimizer.{name}.learning_rate"] = flags.learning_rate
    if getattr(flags, "alpha", None) is not None:
        changes.update(_alpha(tree, changes, flags.alpha))
    return changes


def resume_overrides(flags: argparse.Namespace) -> dict[str, Any]:
    """What a resumed run may change: its number of epochs.

    Raises:
        UserError: another flag that would change the run was given.
    """
    refused = [
        f"--{name}"
        for name in (
            *("tfds", "dataset", "batch_size", "learning_rate", "latent_dims", "precision"),
            *("seed", "alpha", "load_from_ckpt_path", "log_dir", "checkpoint_filepath"),
        )
        if getattr(flags, name) is not None
    ]
    if flags.set:
        refused.append("--set")
    if refused:
        raise UserError(
            f"--resume goes on with the run's own spec: {', '.join(refused)} can't change it "
            "(--epochs can; --load_from_ckpt_path without --resume starts a new run from weights)"
        )
    return {} if flags.epochs is None else {"training.epochs": flags.epochs}


def _section(tree: Any, name: str) -> dict[str, Any]:
    section = tree.get(name) if isinstance(tree, dict) else None
    return section if isinstance(section, dict) else {}


def _optimizer_name(tree: Any, changes: Mapping[str, Any]) -> str:
    chosen = changes.get("training.optimizer", _section(tree, "training").get("optimizer"))
    if isinstance(chosen, dict) and len(chosen) == 1:
        return str(next(iter(chosen)))
    return "Adam"


def _alpha(tree: Any, changes: Mapping[str, Any], alpha: float) -> dict[str, Any]:
    terms = changes.get("loss", tree.get("loss") if isinstance(tree, dict) else None)
    if terms is None:
        return {"loss": [{"SSIML1": {"alpha": alpha}}]}
    if isinstance(terms, list):
        for index, term in enumerate(terms):
            if isinstance(term, dict) and "SSIML1" in term:
                return {f"loss[{index}].SSIML1.alpha": alpha}
    raise UserError(f"--alpha: the spec's loss has no SSIML1 term it could weigh (default {ALPHA})")
