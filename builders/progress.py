"""A progress bar, on a terminal, for work that takes longer than two seconds."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

QUIET_SECONDS = 2.0


class ProgressReport:
    """Called with (what, done, total); shows a bar once the work has lasted two seconds.

    Where standard error is no terminal it shows nothing, so that logs hold nothing of it.

    Example:
        >>> with ProgressReport() as report:
        ...     report("reading images", 1, 10)
    """

    def __init__(self, enabled: bool = True) -> None:
        self._console = Console(stderr=True)
        self._enabled = enabled and self._console.is_terminal
        self._began: dict[str, float] = {}
        self._bar: Progress | None = None
        self._tasks: dict[str, int] = {}

    def __enter__(self) -> "ProgressReport":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        began = self._began.setdefault(what, now)
        if not self._enabled or (now - began < QUIET_SECONDS and what not in self._tasks):
            return
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.start()
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(what, total=total)
        self._bar.update(self._tasks[what], completed=done, total=total)  # type: ignore[arg-type]
