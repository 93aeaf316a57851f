"""`--set PATH=VALUE`: changes one value of a spec from the command line."""

import json
import re
from typing import Any

from builders.errors import UserError
from builders.problems import near_miss

_STEP = re.compile(r"\.?([A-Za-z0-9_$\-]+)|\[(\d+)\]")


def parse_path(path: str) -> list[str | int]:
    """`a.b[2].Conv2D` -> ["a", "b", 2, "Conv2D"].

    Raises:
        UserError: the path is malformed.
    """
    steps: list[str | int] = []
    position = 0
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None or (position == 0 and path[0] in ".["):
            raise UserError(f'--set: "{path}" is not a path; expected e.g. training.batch_size')
        steps.append(match.group(1) if match.group(1) is not None else int(match.group(2)))
        position = match.end()
    if not steps:
        raise UserError("--set: the path is empty; expected e.g. training.batch_size=16")
    return steps


def parse_assignment(text: str) -> tuple[str, Any]:
    """`PATH=VALUE` -> (path, value); the value is JSON, or a string when it is not JSON.

    Raises:
        UserError: there is no `=`.
    """
    path, separator, value = text.partition("=")
    if not separator:
        raise UserError(f'--set: found "{text}", expected PATH=VALUE')
    try:
        return path.strip(), json.loads(value)
    except (json.JSONDecodeError, RecursionError, ValueError):
        return path.strip(), value


def set_value(tree: dict[str, Any], path: str, value: Any) -> None:
    """Sets one value in place, making objects on the way where there are none.

    Raises:
        UserError: the path leads through something that is no object or list, or past a list's end.
    """
    steps = parse_path(path)
    here: Any = tree
    for index, step in enumerate(steps):
        last = index == len(steps) - 1
        so_far = _shown(steps[: index + 1])
        if isinstance(step, int):
            if not isinstance(here, list):
                raise UserError(f"--set {path}: {_shown(steps[:index])} is no list")
            if step >= len(here):
                raise UserError(f"--set {path}: {so_far} does not exist; it has {len(here)} items")
        elif not isinstance(here, dict):
            hint = " (its items go by position: [0])" if isinstance(here, list) else ""
            raise UserError(f"--set {path}: {_shown(steps[:index])} has no keys{hint}")
        elif step not in here and not last:
            if index > 0 and here and near_miss(step, here).startswith("; did"):
                raise UserError(f"--set {path}: {so_far} does not exist{near_miss(step, here)}")
            here[step] = {}
        if last:
            here[step] = value
        else:
            here = here[step]


def _shown(steps: list[str | int]) -> str:
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text or "the spec"
