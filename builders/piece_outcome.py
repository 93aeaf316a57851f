"""What a piece leaves beside its state: the learning curve, a summary, and words."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders.callbacks import Progress
from builders.piece_journal import PieceJournal
from builders.piece_watch import PieceWatch
from builders.rounds import last_epoch, rounds_of
from builders.run_folder import write_atomically
from builders.session import Say
from builders.shard_manifest import Manifest
from builders.spec import Spec
from evaluation.figures import save_png
from evaluation.step_curves import step_curve_figure

_SPENT = ("preparing", "training", "validating", "writing")
_ENDINGS = {
    "minutes": "its minutes are used up",
    "steps": "its steps are done",
    "signal": "it was interrupted",
    "done": "the run is done",
}


@dataclass(frozen=True)
class Outcome:
    """How a piece went.

    Attributes:
        spec: of the run.
        manifest: of the state that was written.
        journal: of the run.
        progress: of the run.
        watch: of the piece.
        ended: why it ended: minutes, steps, signal or done.
        seconds: what they were spent on: preparing, validating, writing, total.
        command: that goes on.
    """

    spec: Spec
    manifest: Manifest
    journal: PieceJournal
    progress: Progress
    watch: PieceWatch
    ended: str
    seconds: dict[str, float]
    command: str

    @property
    def total_steps(self) -> int:
        """Of the whole run, all rounds."""
        images = self.progress.images
        return sum(
            (part.end_epoch - part.first_epoch) * math.ceil(images / part.batch_size)
            for part in rounds_of(self.spec)
        )

    @property
    def seconds_left(self) -> float | None:
        """What the rest of the run takes at this piece's speed; None where it took no step."""
        if not self.watch.steps_done:
            return None
        steps = self.total_steps - self.watch.step
        training = self.summary_seconds()["training"] / self.watch.steps_done
        return max(steps, 0) * training

    def summary_seconds(self) -> dict[str, float]:
        """Seconds with those of training: what the rest did not take."""
        seconds = dict(self.seconds)
        others = sum(seconds[each] for each in _SPENT if each in seconds)
        seconds["training"] = max(seconds["total"] - others, 0.0)
        return {name: round(value, 2) for name, value in seconds.items()}

    def summary(self) -> dict[str, Any]:
        """For `summary.json`."""
        progress, manifest = self.progress, self.manifest
        best = progress.best_loss
        left = self.seconds_left
        return {
            "spec": self.spec.name,
            "run": manifest.run,
            "piece": self.journal.piece,
            "ended": self.ended,
            "steps": self.watch.steps_done,
            "total_steps": self.watch.step,
            "steps_of_the_run": self.total_steps,
            "epoch": progress.epoch,
            "epochs": last_epoch(self.spec),
            "stopped": progress.stopped,
            "best_loss": best if math.isfinite(best) else None,
            "best_epoch": progress.best_epoch + 1,
            "seconds": self.summary_seconds(),
            "minutes_left": None if left is None or self.ended == "done" else round(left / 60, 1),
            "state": {
                "shards": len(manifest.shards),
                "bytes": manifest.bytes,
                "not_exact": manifest.lost,
            },
        }


def write_outcome(outcome: Outcome, folder: Path, say: Say) -> None:
    """Writes `metrics.csv`, `curves.png` and `summary.json`, and says how the piece went.

    Raises:
        RunError: they can't be written.
    """
    journal, watch, manifest = outcome.journal, outcome.watch, outcome.manifest
    journal.write_table(folder / "metrics.csv")
    if journal.points:
        picture = step_curve_figure(journal.points, journal.starts(), title=outcome.spec.name)
        write_atomically(folder / "curves.png", lambda target: save_png(picture, target))
    summary = outcome.summary()
    write_atomically(folder / "summary.json", json.dumps(summary, indent=2) + "\n")
    say(
        f"piece {journal.piece} ended: {_ENDINGS[outcome.ended]}; {watch.steps_done:,} steps, "
        f"{watch.step:,} of {outcome.total_steps:,} in all"
    )
    times = summary["seconds"]
    parts = [f"{name} {times[name]:.1f}" for name in _SPENT]
    say(f"seconds    {', '.join(parts)}")
    say(
        f"state      {folder}: {len(manifest.shards)} shards, {manifest.bytes / 2**20:.2f} MiB, "
        + ("; ".join(manifest.lost) or "exact")
    )
    say(f"curve      {folder / 'metrics.csv'}, {folder / 'curves.png'}")
    if outcome.ended != "done":
        if summary["minutes_left"] is not None:
            say(f"left       about {summary['minutes_left']:g} minutes of training")
        say(f"next:\n  {outcome.command}")
