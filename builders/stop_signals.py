"""Ctrl-C and SIGTERM as a wish to stop between two steps."""

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any


class StopSignals:
    """Turns Ctrl-C and SIGTERM into a wish that a callback sees between two steps.

    In the middle of a step the weights may be half updated. A second Ctrl-C stops at once.
    The context may be entered again inside itself.

    Attributes:
        wanted: whether a stop is wanted, by a signal or by who called `ask`.
        received: whether a signal came.
        on_wanted: called when a signal comes.
    """

    def __init__(self) -> None:
        self.wanted = False
        self.received = False
        self.on_wanted: Callable[[], object] = bool
        self._before: list[dict[int, Any]] = []

    def __enter__(self) -> "StopSignals":
        handlers: dict[int, Any] = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                handlers[number] = signal.signal(number, self._note)
            except ValueError:  # not the main thread: a notebook's kernel keeps its own handling
                break
        self._before.append(handlers)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.pop().items():
            signal.signal(number, handler)

    def ask(self) -> None:
        """Wants a stop, as a signal does."""
        self.wanted = True

    def take_back(self) -> None:
        """Forgets that a stop was asked for; a signal is not forgotten."""
        self.wanted = self.received

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            raise KeyboardInterrupt
        self.received = self.wanted = True
        self.on_wanted()
