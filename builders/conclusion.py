"""What is written and said when a run has ended."""

import json
import math
import shlex
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from builders.checkpoint import load_weights
from builders.clips import frames_of
from builders.errors import RunError
from builders.run_folder import write_atomically
from builders.splits import SPLIT_NAMES
from evaluation.figures import curve_figure, reconstruction_grid, save_png

if TYPE_CHECKING:
    from builders.session import Say, Session


def conclude(session: "Session", say: "Say") -> None:
    """Loads the best weights; writes report, curves and samples; says what to do next."""
    progress, folder = session.progress, session.folder
    if progress.best_epoch < 0:
        raise RunError("no epoch ended with a finite validation loss: there are no weights")
    load_weights(session.compressor, session.spec, session.best_path)
    best = {
        name: values[progress.best_epoch]
        for name, values in progress.history.items()
        if not name.startswith("time/")
    }
    times = {
        name: float(np.median(values))
        for name, values in progress.history.items()
        if name.startswith("time/")
    }
    report = {
        "spec": session.spec.name,
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch + 1,
        "stopped": progress.stopped,
        "seconds": round(progress.seconds, 1),
        "best": best,
        "median": times,
        "images": {split: len(getattr(session.splits, split)) for split in SPLIT_NAMES},
        "skipped_files": [str(broken) for broken in session.splits.skipped],
        "weights": str(session.best_path),
        "weights_copy": progress.checkpoint,
    }
    write_atomically(folder.report, json.dumps(_finite(report), indent=2) + "\n")
    outputs = session.compressor.predict_on_batch(session.samples)
    samples = list(frames_of(session.samples))
    grid = reconstruction_grid(samples, list(np.asarray(outputs["x_hat"])))
    save_png(grid, folder.samples)
    save_png(curve_figure(progress.history, title=session.spec.name), folder.path / "curves.png")
    for line in _closing_lines(session, best, times):
        say(line)


def _closing_lines(
    session: "Session", best: dict[str, float], times: dict[str, float]
) -> list[str]:
    progress, folder = session.progress, session.folder
    figures = ", ".join(
        f"{name.removeprefix('val_')} {value:.4g}"
        for name, value in best.items()
        if name.startswith("val_")
    )
    name = folder.path
    lines = [
        "",
        f"best epoch {progress.best_epoch + 1} of {progress.epoch}; validation: {figures}",
    ]
    if progress.stopped:
        lines.append(f"stopped early: {progress.stopped}")
    lines += [
        f"speed      {times['time/images_per_second']:,.0f} images/s, "
        f"{times['time/step_ms']:.1f} ms a step, of which "
        f"{100 * times['time/data_wait_fraction']:.1f} % waiting for data",
        f"weights    {progress.checkpoint or session.best_path}",
        f"pictures   {name / 'samples.png'}, {name / 'curves.png'}",
        f"figures    {name / 'metrics.csv'}, {name / 'report.json'}",
        "",
        "next:",
        "  ./validator.sh    figures on the test images",
        "  ./exporter.sh     encoder and decoder as SavedModels",
        f"  {shlex.quote(sys.executable)} -m tensorboard.main "
        f"--logdir {shlex.quote(str(session.log_dir))} --samples_per_plugin images=1000",
    ]
    return lines


def _finite(value: Any) -> Any:
    """NaN and infinity, which JSON lacks, as null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
