"""Flags from a JSON file: `--config FILE.json`. No heavy imports."""

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from builders.json_reader import read_json
from builders.problems import Problem, ProblemList, SpecError, join, near_miss, shown

JsonKind = Literal["true or false", "a number"]
"""What a flag's value is in JSON where it is no string."""

_Kind = TypeVar("_Kind", bound=Callable[[str], Any])
_NOT_IN_FILES = ("help", "config")


def comma_list(kind: _Kind) -> _Kind:
    """Marks a flag's type that reads a list between commas: in a file it may be a JSON list."""
    kind.takes_list = True  # type: ignore[attr-defined]
    return kind


def config_values(
    path: Path, actions: Iterable[argparse.Action], kinds: Mapping[Any, JsonKind]
) -> dict[str, Any]:
    """Reads the values of flags from a file.

    Args:
        path: a JSON object: name of a flag without its dashes -> its value; a list for a flag that
            takes several.
        actions: the parser's flags.
        kinds: type of a flag -> what it is in JSON; all others are strings.

    Returns:
        Name in the namespace -> value, as the command line would give it.

    Raises:
        UserError: the file can't be read.
        SpecError: one line for each key that is no flag's name, or has a value that is none.
    """
    tree = read_json(path)
    if not isinstance(tree, dict):
        message = f'found {shown(tree)}, expected an object: {{"name of a flag": value}}'
        raise SpecError([Problem("", message)], str(path))
    flags = {
        name.removeprefix("--"): action
        for action in actions
        for name in action.option_strings
        if name.startswith("--") and name.removeprefix("--") not in _NOT_IN_FILES
    }
    problems = ProblemList(str(path))
    found = {}
    for key, value in tree.items():
        if key not in flags:
            problems.add(join("", key), f"no such flag{near_miss(key, flags)}")
            continue
        action = flags[key]
        try:
            found[action.dest] = _converted(action, value, kinds.get(action.type))
        except argparse.ArgumentTypeError as error:
            problems.add(join("", key), str(error))
    problems.raise_if_any()
    return found


def _converted(action: argparse.Action, value: Any, kind: JsonKind | None) -> Any:
    several = isinstance(action, argparse._AppendAction) or action.nargs in ("+", "*")
    if not several:
        return _one(action, value, kind)
    if not isinstance(value, list):
        raise argparse.ArgumentTypeError(f"found {shown(value)}, expected a list")
    return [_one(action, each, kind) for each in value]


def _one(action: argparse.Action, value: Any, kind: JsonKind | None) -> Any:
    read = action.type
    if isinstance(value, list) and getattr(read, "takes_list", False):
        text = ",".join(_item(each) for each in value)
    elif _fits(value, kind):
        text = value if isinstance(value, str) else json.dumps(value)
    else:
        raise argparse.ArgumentTypeError(f"found {shown(value)}, expected {_wanted(read, kind)}")
    result: Any = text
    if read is not None:
        assert callable(read)
        try:
            result = read(text)
        except ValueError:  # Python's own types
            message = f"found {shown(value)}, expected {_wanted(read, kind)}"
            raise argparse.ArgumentTypeError(message) from None
    if action.choices is not None and result not in action.choices:
        names = [str(each) for each in action.choices]
        raise argparse.ArgumentTypeError(f"found {shown(value)}{near_miss(str(value), names)}")
    return result


def _fits(value: Any, kind: JsonKind | None) -> bool:
    if kind is None:
        return isinstance(value, str)
    if kind == "true or false":
        return isinstance(value, bool)
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _item(value: Any) -> str:
    """One of a list that a flag takes between commas."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise argparse.ArgumentTypeError(f"found {shown(value)} in the list")
    return str(value)


def _wanted(read: Any, kind: JsonKind | None) -> str:
    if kind is not None:
        return kind
    return "a list or a string" if getattr(read, "takes_list", False) else "a string"
