"""States that were saved before a variable for the log was there."""

from collections.abc import Sequence
from typing import Any

from architectures.rate import PART_NAMES
from builders.gradient_norms import NAME


def stored_variables(variables: Sequence[Any], paths: Sequence[str]) -> list[Any]:
    """Those of a group's variables that a saved state has values for, in their order.

    What only the log reads may be missing: it keeps the value it starts with, so that an epoch that
    was cut in its middle counts from there. Whatever else differs is the caller's to refuse.

    Args:
        variables: of the group, now.
        paths: of the group's variables when the state was saved.
    """
    if len(variables) == len(paths):
        return list(variables)
    there = {marker for path in paths for marker in _markers(path)}
    return [each for each in variables if set(_markers(each.path)) <= there]


def _markers(path: str) -> list[str]:
    """What in a path tells that only the log reads the variable; mostly nothing."""
    return [
        name
        for part in path.split("/")
        for name in (NAME, *PART_NAMES.values())
        if part.startswith(name)
    ]
