"""The runs of a study: those that are there are taken or gone on with, the others are trained."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders.checkpoint import read_progress
from builders.errors import RunError, UserError
from builders.resuming import resume_differences
from builders.rounds import last_epoch
from builders.run_folder import RunFolder
from builders.session import INTERRUPTED_STATUS, TrainOptions
from builders.spec import Spec, load_spec
from builders.training import train
from builders.weights_choice import WeightsChoice

RUN = "run"
MAY_DIFFER = ("dataset.name", "model.layers.generator.quantizer")
"""Paths of a spec, beside those of a resume, in which a finished run may differ from what is asked:
data sets move, and what latents are quantized by is chosen when the weights are there."""


@dataclass(frozen=True)
class Candidate:
    """One spec of a study.

    Attributes:
        name: of its spec file, without the suffix.
        spec: with the flags' changes.
        path: its folder in the output.
        parameters: numbers in its weights.
    """

    name: str
    spec: Spec
    path: Path
    parameters: int

    @property
    def run(self) -> RunFolder:
        """Where it is trained."""
        return RunFolder(self.path / RUN)


@dataclass(frozen=True)
class Trained:
    """A candidate with weights.

    Attributes:
        candidate: which.
        choice: spec and best weights.
        epochs: that were trained.
        best_epoch: whose weights these are, from 1.
        seconds: that training took, all pieces together.
        dataset: that it was trained on.
    """

    candidate: Candidate
    choice: WeightsChoice
    epochs: int
    best_epoch: int
    seconds: float
    dataset: str


def check_run(candidate: Candidate) -> None:
    """Checks that the run which is there, if any, is one of this spec.

    Raises:
        UserError: the folder holds something else; each difference is named.
    """
    folder = candidate.run
    if not folder.spec.exists():
        if folder.path.exists() and not folder.path.is_dir():
            raise UserError(f"{folder.path}: is a file; the run of {candidate.name} goes there")
        return
    before = load_spec(folder.spec).resolved()
    # A run that goes on checks its data itself, but only after others may have trained for hours.
    allowed = () if finished(candidate) is None else tuple(f"{path}:" for path in MAY_DIFFER)
    lines = [
        line for line in resume_differences(candidate.spec, before) if not line.startswith(allowed)
    ]
    if lines:
        more = [f"  and {len(lines) - 10} more"] if len(lines) > 10 else []
        raise UserError(
            "\n".join(
                [
                    f"{folder.path}: holds a run of another spec than {candidate.spec.source} "
                    "(here: asked for, there: trained); name another --output, or --retrain:",
                    *(f"  {line}" for line in lines[:10]),
                    *more,
                ]
            )
        )


def finished(candidate: Candidate) -> Trained | None:
    """The run that is there, if it is trained to the end: to as many epochs as are asked for.

    Raises:
        UserError: its files are damaged.
    """
    folder = candidate.run
    if not (folder.spec.exists() and folder.report.exists() and folder.best.exists()):
        return None
    try:
        report = json.loads(folder.report.read_text(encoding="utf-8"))
        before = load_spec(folder.spec)
        found = _trained(candidate, report, before.dataset.name)
        stopped = bool(report["stopped"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder.report}: damaged: {error}") from None
    asked, planned = last_epoch(candidate.spec), last_epoch(before)
    if folder.state.exists():
        progress = read_progress(folder.state)
        if progress["epoch"] != found.epochs:
            return None  # gone on with since, and interrupted
    enough = found.epochs >= asked or (stopped and asked <= planned)
    return found if enough else None


def _trained(candidate: Candidate, report: Mapping[str, Any], dataset: str) -> Trained:
    folder = candidate.run
    choice = WeightsChoice(candidate.spec, folder.best, folder)
    epochs, best, seconds = report["epochs"], report["best_epoch"], float(report["seconds"])
    return Trained(candidate, choice, epochs, best, seconds, dataset)


def discard_run(candidate: Candidate) -> None:
    """Deletes the run that is there.

    Raises:
        UserError: what is there is no run, or can't be deleted.
    """
    path = candidate.run.path
    if not path.exists():
        return
    if not candidate.run.spec.exists():
        raise UserError(
            f"{path}: not a run folder (no spec.json in it); --retrain doesn't delete it"
        )
    try:
        shutil.rmtree(path)
    except OSError as error:
        raise UserError(f"{path}: can't be deleted: {error.strerror}") from None


def train_candidate(candidate: Candidate, argv: Sequence[str]) -> Trained | None:
    """Trains a spec, or goes on with its run.

    Args:
        candidate: not `finished`.
        argv: the command line, for the run's records.

    Returns:
        The run; None when the user stopped it.

    Raises:
        UserError: data or output can't be used.
        RunError: the training failed.
    """
    folder = candidate.run
    if folder.spec.exists() and not (folder.state.exists() or folder.best.exists()):
        folder.spec.unlink()  # killed before the first state was saved: there is nothing to lose
    resume = folder if folder.spec.exists() else None
    options = TrainOptions(run_dir=folder.path, resume=resume, argv=tuple(argv))
    status = train(candidate.spec, options).status
    if status == INTERRUPTED_STATUS:
        return None
    found = finished(candidate)
    if found is None:
        raise RunError(f"{folder.path}: the training ended without a report")
    return found
