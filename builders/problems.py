"""Problems found in a spec: collected, then reported all at once, each with its path."""

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from builders.errors import UserError

MOST_PROBLEMS = 100
"""Problems after which a spec is read no further; nobody repairs more at a time."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_$\-]+")
_ITEM = re.compile(r"\[[0-9]+\]$")


@dataclass(frozen=True)
class Problem:
    """One thing wrong at one place of a spec."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class SpecError(UserError):
    """A spec that can't be used; the message names every problem, one a line, or the first many."""

    def __init__(self, problems: Iterable[Problem], source: str = "") -> None:
        self.problems = tuple(islice(problems, MOST_PROBLEMS))
        count = len(self.problems)
        head = f"{source or 'spec'}: {count} problem{'s' if count != 1 else ''}"
        if count == MOST_PROBLEMS:
            head += ", and maybe more behind them"
        super().__init__("\n".join([head, *(f"  {problem}" for problem in self.problems)]))


@dataclass
class ProblemList:
    """Collects problems while a spec is read.

    Attributes:
        source: where the spec was read from.
        items: what was noted.
        settled: paths of values that nothing can be said about: one slip, one message.
    """

    source: str = ""
    items: list[Problem] = field(default_factory=list)
    settled: set[str] = field(default_factory=set)

    def add(self, path: str, message: str) -> None:
        """Notes one problem at `path`, unless what stands there has been reported already.

        Raises:
            SpecError: that makes too many.
        """
        if path not in self.settled:
            self.items.append(Problem(path, message))
            if len(self.items) == MOST_PROBLEMS:
                self.raise_if_any()

    def settle(self, path: str, message: str = "") -> None:
        """Notes one problem at `path`, and that whatever else is found there comes from it.

        A list holds what its items are: it is settled with the first of them.

        Raises:
            SpecError: that makes too many.
        """
        if message:
            self.add(path, message)
        self.settled.add(path)
        if _ITEM.search(path):
            self.settled.add(path[: path.rindex("[")])

    def raise_if_any(self) -> None:
        """Raises SpecError with all that was noted."""
        if self.items:
            raise SpecError(self.items, self.source)


def near_miss(name: str, known: Iterable[str], most: int = 12) -> str:
    """Returns '; did you mean "x"?' for the closest known name, or else a list of up to `most`."""
    candidates = sorted(set(known))
    lowered: dict[str, str] = {}
    for candidate in candidates:
        lowered.setdefault(candidate.lower(), candidate)
    # Longer names are no slip of the keyboard, and the comparison is quadratic in their length.
    close = difflib.get_close_matches(name[:128].lower(), lowered, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {shown(lowered[close[0]])}?"
    if 0 < len(candidates) <= most:
        return "; known: " + ", ".join(shown(candidate) for candidate in candidates)
    return ""


def shown(value: Any, limit: int = 60) -> str:
    """A value as it stands in JSON: on one line, printable, cut to a readable length."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):  # thousands of digits, or of levels
        text = "a value too large to show"
    if not text.isprintable():
        text = "".join(each if each.isprintable() else _escaped(each) for each in text)
    if len(text) <= limit:
        return text
    quote = '"' if isinstance(value, str) else ""
    return text[: limit - 3 - len(quote)] + "..." + quote


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def join(path: str, key: str | int) -> str:
    """Appends a key or a list position to a path: `a.b[2].Conv2D`, `a["odd key"]`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if not _PLAIN_KEY.fullmatch(key) or len(key) > 60:
        return f"{path}[{shown(key)}]"
    return f"{path}.{key}" if path else key
