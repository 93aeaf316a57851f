"""The sections of a spec against their models, with pydantic's report in words of ours."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pydantic

from builders.problems import ProblemList, join, near_miss, shown
from builders.sections import SpecSections

_EXPECTED = {
    "int_type": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "a string",
    "string_unicode": "a string",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "string_pattern_mismatch": "a name: up to 128 letters, digits, '_', '.' and '-', the first a "
    "letter or digit",
    "greater_than": "a number > {gt}",
    "greater_than_equal": "a number >= {ge}",
    "less_than": "a number < {lt}",
    "less_than_equal": "a number <= {le}",
    "string_too_short": "a string of {min_length} or more characters",
    "string_too_long": "a string of {max_length} or fewer characters",
    "too_short": "a list of {min_length} or more items",
    "too_long": "a list of {max_length} or fewer items",
}


def validate_sections(tree: Mapping[str, Any], problems: ProblemList) -> SpecSections | None:
    """Checks everything but the components, whose places hold plain trees.

    Returns:
        The sections; None where problems were found.
    """
    try:
        return SpecSections.model_validate(tree)
    except pydantic.ValidationError as report:
        for error in report.errors(include_url=False):
            problems.add(*_problem(error))
        return None


def _problem(error: Any) -> tuple[str, str]:
    """(path, message) of one error of pydantic's."""
    location, kind = error["loc"], error["type"]
    path = _path(location)
    if kind == "missing":
        return _path(location[:-1]), f"missing key {shown(location[-1])}"
    if kind == "extra_forbidden":
        hint = near_miss(str(location[-1]), _known_keys(location[:-1]))
        return _path(location[:-1]), f"unknown key {shown(location[-1])}{hint}"
    found = f"found {shown(error['input'])}, expected"
    if kind == "literal_error":
        expected = error["ctx"]["expected"].replace("'", '"')
        known = re.findall('"([^"]*)"', expected)
        value = error["input"]
        hint = near_miss(value, known) if isinstance(value, str) else ""
        return path, f"{found} {expected}{hint if hint.startswith('; did') else ''}"
    limits = {
        key: f"{limit:g}" if isinstance(limit, float) else limit
        for key, limit in error.get("ctx", {}).items()
    }
    expected = _EXPECTED.get(kind, "").format(**limits)
    return path, f"{found} {expected}" if expected else f"{found} else: {error['msg']}"


def _path(location: tuple[str | int, ...]) -> str:
    path = ""
    for step in location:
        path = join(path, step)
    return path


def _known_keys(location: tuple[str | int, ...]) -> list[str]:
    """Keys of the section at a location, read off the models."""
    model: Any = SpecSections
    for step in location:
        if isinstance(step, int):
            continue  # an item of the list whose annotation was seen through already
        if step not in model.model_fields:
            return []
        model = next(_sections_in(model.model_fields[step].annotation), None)
        if model is None:
            return []
    return [field.alias or name for name, field in model.model_fields.items()]


def _sections_in(annotation: Any) -> Iterator[Any]:
    """The sections that an annotation names, alone, as an option or in a list."""
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _sections_in(part)
