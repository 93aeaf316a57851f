"""`--set PATH=VALUE`: changes one value of a spec from the command line."""

import re
from typing import Any

from builders.errors import UserError
from builders.json_reader import parse_json
from builders.problems import SpecError, near_miss, shown
from constants.defaults import SPEC_MAX_DEPTH

_STEP = re.compile(r"\.?([A-Za-z0-9_$\-]+)|\[([0-9]{1,9})\]")


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
            raise UserError(
                f"--set: {shown(path)} is not a path; expected e.g. training.batch_size"
            )
        steps.append(match.group(1) if match.group(1) is not None else int(match.group(2)))
        position = match.end()
    if not steps:
        raise UserError("--set: the path is empty; expected e.g. training.batch_size=16")
    if len(steps) > SPEC_MAX_DEPTH:
        raise UserError(f"--set: {shown(path)} has over {SPEC_MAX_DEPTH} steps; no spec is so deep")
    return steps


def parse_assignment(text: str) -> tuple[str, Any]:
    """`PATH=VALUE` -> (path, value); the value is JSON, or a string when it is not JSON.

    Raises:
        UserError: there is no `=`, or no path before it.
    """
    path, separator, value = text.partition("=")
    if not separator or not path.strip():
        raise UserError(f"--set: found {shown(text)}, expected PATH=VALUE")
    try:
        return path.strip(), parse_json(value, "--set")
    except SpecError:
        return path.strip(), value


def set_value(tree: dict[str, Any], path: str, value: Any, flag: str = "--set") -> None:
    """Sets one value in place, making objects on the way where there are none.

    Args:
        tree: changed.
        path: `a.b[2].c`.
        value: what shall stand there.
        flag: what asked for it, named in messages.

    Raises:
        UserError: the path leads through something that is no object or list, or past a list's end.
    """
    steps = parse_path(path)
    start = f"{flag} {path}" if flag == "--set" else flag
    here: Any = tree
    for index, step in enumerate(steps):
        last = index == len(steps) - 1
        before, so_far = _shown(steps[:index]), _shown(steps[: index + 1])
        if isinstance(step, int):
            if not isinstance(here, list):
                raise UserError(f"{start}: {before} is no list; found {shown(here)}")
            if step >= len(here):
                count = f"{before} has {len(here)} item{'s' if len(here) != 1 else ''}"
                raise UserError(f"{start}: {so_far} does not exist; {count}, counted from [0]")
        elif isinstance(here, list):
            raise UserError(f"{start}: {before} is a list; its items go by position: {before}[0]")
        elif not isinstance(here, dict):
            raise UserError(f"{start}: {before} is no object; found {shown(here)}")
        elif here.get(step) is None and not last:
            if index > 0 and step not in here and near_miss(step, here).startswith("; did"):
                raise UserError(f"{start}: {so_far} does not exist{near_miss(step, here)}")
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
