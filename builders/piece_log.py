"""`log.txt` of a piece: what it says, with the seconds since it began."""

import contextlib
import time
from pathlib import Path

from builders.errors import RunError


class PieceLog:
    """Says lines, and keeps them in a file that grows over pieces.

    Args:
        path: of the file.
        began: by `time.monotonic`.
        aloud: whether lines are printed too.
    """

    def __init__(self, path: Path, began: float, aloud: bool) -> None:
        self._path = path
        self._began = began
        self._aloud = aloud

    def __call__(self, text: str) -> None:
        """Says something.

        Raises:
            RunError: the file can't be written.
        """
        if self._aloud:
            print(text, flush=True)
        self.keep(text)

    def keep(self, text: str) -> None:
        """Writes into the file what is told elsewhere.

        Raises:
            RunError: the file can't be written.
        """
        try:
            self._append(text)
        except OSError as error:
            raise RunError(f"{self._path}: can't be written: {error.strerror}") from None

    def note(self, error: Exception) -> None:
        """Keeps an error that is told elsewhere; a full disk may be the very error."""
        with contextlib.suppress(OSError):
            self._append(f"error      {error}")

    def _append(self, text: str) -> None:
        seconds = time.monotonic() - self._began
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            for line in text.splitlines():
                file.write(f"{seconds:9.1f} s  {line}".rstrip() + "\n")
