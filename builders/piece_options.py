"""What a piece is asked, and the run folder it works in."""

import contextlib
import json
import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builders.errors import UserError
from builders.packed_state import Limits
from builders.run_folder import RunFolder
from builders.shard_manifest import Manifest
from constants.pieces import MARGIN_FRACTION, MARGIN_SECONDS, MARGIN_SECONDS_MAX

_START_FROM = "--load_from_ckpt_path"
MARK = "piece.json"
"""In a run folder: which run its files belong to."""


@dataclass(frozen=True)
class PieceOptions:
    """What a piece is asked beside its spec.

    Attributes:
        output: where state, log, curves and summary go.
        found: folder and manifest of the state to go on from; None where a run begins.
        limits: how large the state may be.
        began: when the process began, by `time.monotonic`.
        minutes: when all must be written; None for no limit.
        steps: at most so many in this piece; None for no limit.
        save_seconds: between two states on disk.
        validate_steps: look at the validation images every so many steps too; 0 for not.
        run_dir: where the run folder is kept; None for a temporary one.
        start_from: weights to begin a run from, as a user names them.
        verbosity: 0 silent, 1 progress bar, 2 a line an epoch.
        argv: the command line.
    """

    output: Path
    found: tuple[Path, Manifest] | None
    limits: Limits
    began: float
    minutes: float | None
    steps: int | None
    save_seconds: float
    validate_steps: int
    run_dir: Path | None
    start_from: str | None
    verbosity: int
    argv: tuple[str, ...]

    @property
    def end(self) -> float | None:
        """When all shall be written, by `time.monotonic`; a margin before the minutes end."""
        if self.minutes is None:
            return None
        seconds = 60 * self.minutes
        margin = min(max(MARGIN_SECONDS, MARGIN_FRACTION * seconds), MARGIN_SECONDS_MAX)
        return self.began + seconds - margin

    def command(self) -> str:
        """What goes on with the run: the same command, which finds the state it left itself."""
        words, own = [], iter(self.argv)
        for word in own:
            if word == _START_FROM:
                next(own, None)
            elif not word.startswith(f"{_START_FROM}="):
                words.append(word)
        return shlex.join(words)


def _marked_run(mark: Path) -> str | None:
    """The run that a piece made a folder for; None where no piece did, or the mark is damaged."""
    try:
        return str(json.loads(mark.read_text(encoding="utf-8"))["run"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def run_folder(options: PieceOptions) -> Iterator[RunFolder]:
    """The run folder asked for, or one that is gone with the piece."""
    if options.run_dir is None:
        with tempfile.TemporaryDirectory(prefix="codecsmith-piece-") as folder:
            yield RunFolder(Path(folder) / "run")
        return
    mark = options.run_dir / MARK
    there = RunFolder(options.run_dir).spec.exists()
    if there and (options.found is None or options.found[1].run != _marked_run(mark)):
        raise UserError(
            f"--run_dir {options.run_dir}: holds another run already; give another folder"
        )
    yield RunFolder(options.run_dir)
