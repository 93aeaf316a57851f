"""Text -> JSON tree, with the line and column of what is malformed."""

import json
import math
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from builders.errors import UserError
from builders.problems import MOST_PROBLEMS, Problem, SpecError, join, near_miss, shown
from constants.defaults import SPEC_MAX_BYTES, SPEC_MAX_DEPTH

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\Z)|[{}\[\],:]|[^\s"{}\[\],:]+', re.DOTALL)
"""Strings, also one that never ends; punctuation; numbers and words. One pass in all cases."""

_WORDS = {
    "Expecting value": "expected a value",
    "Expecting ',' delimiter": 'expected "," or a closing bracket',
    "Expecting ':' delimiter": 'expected ":" behind the key',
    "Expecting property name enclosed in double quotes": "expected a key in double quotes",
    "Illegal trailing comma before end of object": "a comma before a closing bracket",
    "Illegal trailing comma before end of array": "a comma before a closing bracket",
    "Unterminated string starting at": "the string that starts here never ends",
    "Invalid control character at": "a string must not hold a line break or control character",
    "Invalid \\escape": "unknown escape in a string; a backslash is written twice",
    "Extra data": "more text behind the end of the JSON value",
}
"""Messages of Python's parser in words of ours; others are passed on."""

_LONGEST_INTEGER = 20
"""Digits; Python takes quadratic time over long ones, and no argument is larger than 2**31."""


def parse_json(text: str, source: str) -> Any:
    """Parses JSON strictly: no repeated keys, no NaN, no half characters, bounded nesting.

    Args:
        text: the JSON text.
        source: what to call it in messages, usually the file's path.

    Returns:
        The tree of dicts, lists, strings, numbers, booleans and None.

    Raises:
        SpecError: with line and column of what is malformed.
    """
    if not text.strip():
        raise SpecError([Problem("", "the file is empty; expected a JSON object")], source)
    # Before parsing, so that the parser's recursion is never in question.
    too_deep = _too_deep(text)
    if too_deep is not None:
        message = f"nested too deep; at most {SPEC_MAX_DEPTH} levels are read"
        raise SpecError([Problem("", f"{_place(text, too_deep)}: {message}")], source)
    try:
        tree = json.loads(text, parse_constant=str, parse_int=_integer)
    except json.JSONDecodeError as error:
        words = _WORDS.get(error.msg.rstrip(": "), f"{error.msg[:1].lower()}{error.msg[1:]}")
        message = f"{words}{_hint(text, error.pos)}"
        raise SpecError([Problem("", f"{_place(text, error.pos)}: {message}")], source) from None
    refused = [
        Problem("", f"{_place(text, at)}: {message}")
        for at, message in islice(_refused(text), MOST_PROBLEMS)
    ]
    if refused:
        raise SpecError(refused, source)
    return tree


def _integer(text: str) -> int:
    return int(text) if len(text) <= _LONGEST_INTEGER else 0  # `_refused` names it


def _too_deep(text: str) -> int | None:
    """Where brackets nest deeper than is read; None where they don't."""
    depth = 0
    for token in _TOKEN.finditer(text):
        if token[0] in ("[", "{"):
            depth += 1
            if depth > SPEC_MAX_DEPTH:
                return token.start()
        elif token[0] in ("]", "}"):
            depth -= 1
    return None


def _refused(text: str) -> Iterator[tuple[int, str]]:
    """(position, message) of what Python's parser takes although a spec must not have it."""
    keys: list[set[str]] = []
    string, start = "", 0
    for token in _TOKEN.finditer(text):
        word = token[0]
        if word in ("{", "["):
            keys.append(set())
        elif word in ("}", "]"):
            keys.pop()
        elif word == ":":
            if string in keys[-1]:
                yield start, f"the key {shown(string)} stands twice in one object"
            keys[-1].add(string)
        elif word[0] == '"':
            string, start = json.loads(word), token.start()
            if not _is_text(string):
                yield start, f"half a surrogate pair is no character: {shown(string)}"
        elif word in ("NaN", "Infinity", "-Infinity"):
            yield token.start(), f"{word} is no number that JSON knows"
        elif word[0] in "-0123456789" and not _is_usable(word):
            yield token.start(), f"the number {_cut(word)} is too large"


def _is_text(string: str) -> bool:
    try:
        string.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_usable(number: str) -> bool:
    if number.lstrip("-").isdigit():
        return len(number) <= _LONGEST_INTEGER
    return math.isfinite(float(number))


def _cut(number: str) -> str:
    return number if len(number) <= _LONGEST_INTEGER else number[:_LONGEST_INTEGER] + "..."


def _place(text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    return f"line {line}, column {position - text.rfind(chr(10), 0, position)}"


def tree_problems(tree: Any, path: str = "") -> Iterator[Problem]:
    """What `parse_json` refuses in a text, of a tree that came another way: code, `--set`."""
    todo: list[tuple[str, Any, int]] = [(path, tree, 1)]
    while todo:
        path, value, depth = todo.pop()
        if isinstance(value, dict | list) and depth > SPEC_MAX_DEPTH:
            message = f"nested too deep; at most {SPEC_MAX_DEPTH} levels are read"
            yield Problem(f"{path[:60]}...", message)
        elif isinstance(value, dict):
            for key, item in value.items():
                if not isinstance(key, str):
                    yield Problem(path, f"found the key {key!r}, expected a string")
                elif not _is_text(key):
                    yield Problem(path, f"half a surrogate pair is no character: {shown(key)}")
                else:
                    todo.append((join(path, key), item, depth + 1))
        elif isinstance(value, list):
            todo.extend((join(path, at), item, depth + 1) for at, item in enumerate(value))
        elif isinstance(value, str) and not _is_text(value):
            yield Problem(path, f"half a surrogate pair is no character: {shown(value)}")
        elif isinstance(value, float) and not math.isfinite(value):
            yield Problem(path, f"found {value}, expected a finite number")
        elif isinstance(value, int) and abs(value) >= 10**_LONGEST_INTEGER:
            yield Problem(path, f"found {shown(value)}, which is too large")
        elif not isinstance(value, str | float | int | None):
            yield Problem(path, f"found a {type(value).__name__}, expected what JSON has")


def _hint(text: str, position: int) -> str:
    """Names the usual slip behind a JSON error, if one is there."""
    before = text[:position].rstrip()
    after = text[position : position + 1]
    if after in ("]", "}") and before.endswith(","):
        return " (a comma before a closing bracket)"
    if after == "'":
        return " (JSON strings take double quotes)"
    if after in ("/", "#"):
        return " (JSON has no comments)"
    if not text[position:].strip():
        return " (the text ends here)"
    return ""


def read_json(path: Path) -> Any:
    """Reads a JSON file of at most `SPEC_MAX_BYTES`.

    Raises:
        UserError: the file can't be read.
        SpecError: its text is not JSON.
    """
    try:
        if path.is_dir():
            raise UserError(f"{path}: is a folder; expected a JSON file")
        with path.open("rb") as file:
            data = file.read(SPEC_MAX_BYTES + 1)
        if len(data) > SPEC_MAX_BYTES:
            raise UserError(f"{path}: more than {SPEC_MAX_BYTES:,} bytes, the most a spec may have")
        text = data.decode("utf-8-sig")
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
    return near_miss(path.name, names, most=0)
