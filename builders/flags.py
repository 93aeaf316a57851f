"""Command-line flags as changes to a spec."""

import argparse
import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builders.errors import UserError
from builders.json_reader import read_json
from builders.overrides import parse_assignment, set_value


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
        changes.pop(key, None)  # the later one counts, and comes later
        changes[key] = value
    for flag, key in flag_paths.items():
        value = getattr(flags, flag, None)
        if value is not None:
            changes[key] = value
    rate, alpha = getattr(flags, "learning_rate", None), getattr(flags, "alpha", None)
    if rate is None and alpha is None:
        return changes
    tree = read_json(path)
    if not isinstance(tree, dict):
        return changes  # the spec's own check says what is wrong
    for key, value in changes.items():
        set_value(tree, key, copy.deepcopy(value))
    if rate is not None:
        changes.update(_learning_rate(tree, rate))
    if alpha is not None:
        changes.update(_alpha(tree, alpha))
    return changes


def _learning_rate(tree: dict[str, Any], rate: float) -> dict[str, Any]:
    training = tree.get("training")
    optimizer = training.get("optimizer") if isinstance(training, dict) else None
    if optimizer is None:
        return {"training.optimizer": {"Adam": {"learning_rate": rate}}}
    if isinstance(optimizer, dict) and len(optimizer) == 1:
        ((name, arguments),) = optimizer.items()
        if isinstance(arguments, dict):
            return {"training.optimizer": {name: {**arguments, "learning_rate": rate}}}
    return {}  # the spec's own check says what is wrong with its optimizer


def _alpha(tree: dict[str, Any], alpha: float) -> dict[str, Any]:
    terms = tree.get("loss")
    if terms is None:
        return {"loss": [{"SSIML1": {"alpha": alpha}}]}
    if not isinstance(terms, list):
        return {}
    places = [i for i, term in enumerate(terms) if isinstance(term, dict) and "SSIML1" in term]
    if not places:
        names = [next(iter(term)) for term in terms if isinstance(term, dict) and term]
        raise UserError(
            f"--alpha weighs the two parts of the loss term SSIML1, which the spec does not have; "
            f"its loss is {', '.join(names) or 'empty'}"
        )
    if len(places) > 1:
        raise UserError(
            f"--alpha: the spec has {len(places)} SSIML1 terms; name one: "
            f"--set loss[{places[0]}].SSIML1.alpha={alpha}"
        )
    return {f"loss[{places[0]}].SSIML1.alpha": alpha}
