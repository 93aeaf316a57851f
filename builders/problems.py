"""Problems found in a spec: collected, then reported all at once, each with its path."""

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from builders.errors import UserError


@dataclass(frozen=True)
class Problem:
    """One thing wrong at one place of a spec."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class SpecError(UserError):
    """A spec that can't be used; the message names every problem, one a line."""

    def __init__(self, problems: Iterable[Problem], source: str = "") -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = f"{source or 'spec'}: {count} problem{'s' if count != 1 else ''}"
        super().__init__("\n".join([head, *(f"  {problem}" for problem in self.problems)]))


@dataclass
class ProblemList:
    """Collects problems while a spec is read."""

    items: list[Problem] = field(default_factory=list)

    def add(self, path: str, message: str) -> None:
        """Notes one problem at `path`."""
        self.items.append(Problem(path, message))

    def raise_if_any(self, source: str = "") -> None:
        """Raises SpecError with all that was noted."""
        if self.items:
            raise SpecError(self.items, source)


def near_miss(name: str, known: Iterable[str]) -> str:
    """Returns '; did you mean "x"?' for the closest known name, or a short list of what is known."""
    candidates = sorted(set(known))
    lowered: dict[str, str] = {}
    for candidate in candidates:
        lowered.setdefault(candidate.lower(), candidate)
    close = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    if close:
        return f'; did you mean "{lowered[close[0]]}"?'
    if candidates and len(candidates) <= 12:
        return "; known: " + ", ".join(f'"{candidate}"' for candidate in candidates)
    return ""


def shown(value: Any, limit: int = 60) -> str:
    """A value as it stands in JSON, cut to a readable length."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def join(path: str, key: str | int) -> str:
    """Appends a key or a list position to a path: `a.b[2].Conv2D`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key
