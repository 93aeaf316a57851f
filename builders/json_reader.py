"""Text -> JSON tree, with the line and column of what is malformed."""

import json
import math
import re
from pathlib import Path
from typing import Any

from builders.errors import UserError
from builders.problems import Problem, SpecError, near_miss
from constants.defaults import SPEC_MAX_BYTES, SPEC_MAX_DEPTH

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


class _Repeated(ValueError):
    """A key that stands twice in one object."""


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in pairs:
        if key in tree:
            raise _Repeated(f'the key "{key}" stands twice in one object')
        tree[key] = value
    return tree


def _no_constant(text: str) -> float:
    raise _Repeated(f"{text} is not a number that JSON knows")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Repeated(f"the number {text[:20]} is too large")
    return value


def _short_integer(text: str) -> int:
    # Python refuses to convert very long digit strings, with a ValueError of its own wording.
    if len(text) > 20:
        raise _Repeated(f"the number {text[:20]}... is too large")
    return int(text)


def parse_json(text: str, source: str) -> Any:
    """Parses JSON strictly: no repeated keys, no NaN, bounded nesting.

    Args:
        text: the JSON text.
        source: what to call it in messages, usually the file's path.

    Returns:
        The tree of dicts, lists, strings, numbers, booleans and None.

    Raises:
        SpecError: with line and column when the text is malformed.
    """
    if not text.strip():
        raise SpecError([Problem("", "the file is empty; expected a JSON object")], source)
    # Counted before parsing, so that the parser's recursion is never in question.
    depth = deepest = 0
    for character in _STRING.sub("", text):
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    if deepest > SPEC_MAX_DEPTH:
        message = f"nested {deepest} levels deep; at most {SPEC_MAX_DEPTH} are read"
        raise SpecError([Problem("", message)], source)
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_short_integer,
        )
    except json.JSONDecodeError as error:
        message = (
            f"line {error.lineno}, column {error.colno}: {error.msg[:1].lower()}{error.msg[1:]}"
        )
        raise SpecError([Problem("", message + _hint(text, error.pos))], source) from None
    except _Repeated as error:
        raise SpecError([Problem("", str(error))], source) from None


def _hint(text: str, position: int) -> str:
    """Names the usual slip behind a JSON error, if one is there."""
    before = text[:position].rstrip()
    after = text[position : position + 1]
    if after in "]}" and before.endswith(","):
        return " (a comma before a closing bracket)"
    if after == "'":
        return " (JSON strings take double quotes)"
    if after in "/#":
        return " (JSON has no comments)"
    return ""


def read_json(path: Path) -> Any:
    """Reads a JSON file of at most `SPEC_MAX_BYTES`.

    Raises:
        UserError: the file can't be read.
        SpecError: its text is not JSON.
    """
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise UserError(f"{path}: is a folder; expected a JSON file")
        if size > SPEC_MAX_BYTES:
            raise UserError(f"{path}: {size} bytes; a spec has at most {SPEC_MAX_BYTES}")
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UserError(f"{path}: can't be read: {reason}{_siblings(path)}") from None
    return parse_json(text, str(path))


def _siblings(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.glob("*.json")]
    except (OSError, ValueError):
        return ""
    return near_miss(path.name, names)
