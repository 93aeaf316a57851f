"""The learning curve of a run over all its pieces, and what each piece did."""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path

from builders.run_folder import write_atomically
from builders.shard_manifest import Journal

Figure = float | int | None

_TOLD = ("loss", "val_loss", "val_bits_per_pixel", "val_psnr_db")


class PieceJournal:
    """What has happened so far; travels with the state.

    Args:
        before: of the pieces before; None at the start of a run.

    Attributes:
        points: of the learning curve, one for each look at the validation images.
        pieces: what each piece did; the last is this one.
        piece: number of this one, from 1.
    """

    def __init__(self, before: Journal | None) -> None:
        self.points: list[dict[str, Figure]] = [] if before is None else list(before.points)
        self.pieces: list[dict[str, float | int | str | None]] = []
        if before is not None:
            self.pieces += before.pieces
        self.pieces.append({})
        self.piece = len(self.pieces)

    @property
    def seconds_before(self) -> float:
        """Of all pieces before this one, together."""
        return sum(float(each.get("seconds") or 0) for each in self.pieces[:-1])

    def add_point(
        self, step: int, epoch: float, seconds: float, figures: Mapping[str, float]
    ) -> str:
        """Adds a look at the validation images; one at the same step is replaced.

        Args:
            step: training steps done, all pieces together.
            epoch: passes over the training images done.
            seconds: spent, all pieces together.
            figures: of the training images since the epoch's begin, and with `val_` before their
                names those of the validation images. What is no number becomes null.

        Returns:
            The point in words.
        """
        point: dict[str, Figure] = {
            "piece": self.piece,
            "step": step,
            "epoch": round(epoch, 6),
            "seconds": round(seconds, 3),
        }
        for name, value in figures.items():
            point[name] = float(value) if math.isfinite(value) else None
        self.points = [*(each for each in self.points if each["step"] != step), point]
        told = [f"{name} {value:.5g}" for name, value in figures.items() if name in _TOLD]
        return f"step {step:,}, epoch {epoch:.2f}: {', '.join(told)}"

    def note_piece(self, **facts: float | int | str | None) -> None:
        """Says something of this piece; what was said of it before under the same name goes."""
        self.pieces[-1] |= facts

    def content(self) -> Journal:
        """As it stands in the manifest."""
        return Journal(points=self.points, pieces=self.pieces)

    def columns(self) -> list[str]:
        """The names of all figures of all points."""
        return list(dict.fromkeys(name for point in self.points for name in point))

    def write_table(self, path: Path) -> None:
        """`metrics.csv`: a row a point; what a point lacks is left empty."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        names = self.columns() or ["piece", "step", "epoch", "seconds"]
        table.writerow(names)
        for point in self.points:
            row = [point.get(name) for name in names]
            table.writerow(["" if each is None else f"{each:.9g}" for each in row])
        write_atomically(path, text.getvalue())

    def starts(self) -> list[int]:
        """The steps at which pieces after the first began."""
        return [int(each.get("first_step") or 0) for each in self.pieces[1:]]
