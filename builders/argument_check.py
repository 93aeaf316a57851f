"""Checks a JSON value against a fragment of JSON Schema, in words a person can act on.

Only the keywords that our catalog uses are known (type, enum, minimum, ..., anyOf, items, $ref):
the messages are the reason not to use a general validator, whose report on `anyOf` names everything
but the slip.
"""

import re
import sys
from collections.abc import Callable
from typing import Any

from builders.problems import shown

Fragment = dict[str, Any]
ComponentCheck = Callable[[str, Any, str], None]
"""Called with (kind, value, path) for a `$ref`; reports on its own."""

_WORDS = {
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "string": "a string",
    "null": "null",
    "array": "a list",
    "object": "an object",
}


_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "string": (str,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}


def is_type(value: Any, name: str) -> bool:
    """Whether a JSON value has a JSON Schema type; booleans are no numbers."""
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, _TYPES[name])


_COMMON_LIMIT = 2**31 - 1
"""Of nearly all integers; said only to who goes beyond it."""


def described(fragment: Fragment, every_limit: bool = False) -> str:
    """A fragment in words: `an integer >= 1`, `one of "valid", "same"`."""
    if "anyOf" in fragment:
        options = (described(option, every_limit) for option in fragment["anyOf"])
        return " or ".join(dict.fromkeys(options))
    if "enum" in fragment:
        values = ", ".join(shown(value) for value in fragment["enum"])
        return f"one of {values}" if len(fragment["enum"]) > 1 else values
    if "$ref" in fragment:
        kind = fragment["$ref"].rsplit("/", 1)[-1]
        return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
    kind = fragment.get("type", "")
    if kind == "array":
        low, high = fragment.get("minItems", 0), fragment.get("maxItems")
        if high is not None and low == high:
            size = f" of {low}"
        elif high is not None:
            size = f" of {low} to {high}"
        else:
            size = f" of at least {low}" if low else ""
        return f"a list{size} ({described(fragment.get('items', {}), every_limit)} each)"
    text = _WORDS.get(kind, "a value")
    limits = []
    for keyword, sign in (
        ("minimum", ">="),
        ("exclusiveMinimum", ">"),
        ("maximum", "<="),
        ("exclusiveMaximum", "<"),
    ):
        if keyword in fragment and (every_limit or abs(fragment[keyword]) < _COMMON_LIMIT):
            limits.append(f"{sign} {fragment[keyword]}")
    if "pattern" in fragment:
        limits.append("of letters, digits, '_', '.' and '-'")
    return f"{text} {' and '.join(limits)}".rstrip()


def fits(value: Any, fragment: Fragment) -> bool:
    """Whether a value has the shape of a fragment; a component counts by its outer form alone."""
    if "anyOf" in fragment:
        return any(fits(value, option) for option in fragment["anyOf"])
    if "enum" in fragment:
        # 1 == True in Python, but not in JSON.
        return any(value == each and type(value) is type(each) for each in fragment["enum"])
    if "$ref" in fragment:
        return isinstance(value, str | dict)
    # A fragment without a type is of a user's class whose hint says nothing: the class decides.
    return "type" not in fragment or (is_type(value, fragment["type"]) and _within(value, fragment))


def _within(value: Any, fragment: Fragment) -> bool:
    """Whether a value of the right type keeps to the limits of a fragment."""
    if isinstance(value, list):
        low, high = fragment.get("minItems", 0), fragment.get("maxItems", len(value))
        items = fragment.get("items", {})
        return low <= len(value) <= high and all(fits(item, items) for item in value)
    if isinstance(value, str):
        # `$` of Python also matches before a line break at the end; JSON Schema's does not.
        return "pattern" not in fragment or (
            re.search(fragment["pattern"], value) is not None and not value.endswith("\n")
        )
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (
            abs(value) <= sys.float_info.max
            and value >= fragment.get("minimum", value)
            and value <= fragment.get("maximum", value)
            and ("exclusiveMinimum" not in fragment or value > fragment["exclusiveMinimum"])
            and ("exclusiveMaximum" not in fragment or value < fragment["exclusiveMaximum"])
        )
    return True


def _is_large(value: Any) -> bool:
    if isinstance(value, list):
        return any(_is_large(item) for item in value)
    return isinstance(value, int | float) and abs(value) >= _COMMON_LIMIT


def check_value(
    value: Any,
    fragment: Fragment,
    path: str,
    report: Callable[[str, str], None],
    check_component: ComponentCheck,
) -> None:
    """Reports what is wrong with one value; components inside it are handed on.

    Args:
        value: the JSON value found.
        fragment: what is expected.
        path: where the value stands.
        report: called with (path, message).
        check_component: called for each component found where one is expected.
    """
    if not fits(value, fragment):
        report(path, f"found {shown(value)}, expected {described(fragment, _is_large(value))}")
        return
    if "anyOf" in fragment:
        fragment = next(option for option in fragment["anyOf"] if fits(value, option))
    if "$ref" in fragment:
        check_component(fragment["$ref"].rsplit("/", 1)[-1], value, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            items = fragment.get("items", {})
            check_value(item, items, f"{path}[{index}]", report, check_component)
