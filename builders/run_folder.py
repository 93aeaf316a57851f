"""A run's folder: what it was asked, where it stands, what came out."""

import contextlib
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from builders.errors import RunError, UserError
from builders.problems import near_miss
from builders.spec import Spec

RUNS = Path("runs")
LATEST = "latest"
UNFINISHED = ".writing-"
"""What the name of a file begins with while it is written; none is ever read."""
PACKAGES = ("keras", "tensorflow", "jax", "numpy", "pillow", "tensorboard", "tensorflow-datasets")


@dataclass(frozen=True)
class RunFolder:
    """Paths inside one run's folder."""

    path: Path

    @property
    def spec(self) -> Path:
        """The resolved spec."""
        return self.path / "spec.json"

    @property
    def command(self) -> Path:
        """Every command that worked on this run, a line each."""
        return self.path / "command.txt"

    @property
    def environment(self) -> Path:
        """Versions and machine."""
        return self.path / "environment.json"

    @property
    def tensorboard(self) -> Path:
        """Event files."""
        return self.path / "tensorboard"

    @property
    def metrics(self) -> Path:
        """One row an epoch."""
        return self.path / "metrics.csv"

    @property
    def checkpoints(self) -> Path:
        """Weights to use."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """Weights of the best epoch by validation loss."""
        return self.checkpoints / "best.weights.h5"

    @property
    def backup(self) -> Path:
        """What `--resume` reads."""
        return self.path / "backup"

    @property
    def state(self) -> Path:
        """The whole training state."""
        return self.backup / "state.npz"

    @property
    def report(self) -> Path:
        """Figures of the finished run."""
        return self.path / "report.json"

    @property
    def samples(self) -> Path:
        """Original, regenerated and error images."""
        return self.path / "samples.png"


def utc_stamp() -> str:
    """UTC time for a folder's name, to the second."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")


def create_run_folder(spec: Spec, run_dir: Path | None, argv: Sequence[str]) -> RunFolder:
    """Makes the folder of a new run and writes what is known before training.

    Args:
        spec: its name names the folder, and it is stored resolved.
        run_dir: the folder; None for `runs/<spec name>-<UTC time>`.
        argv: the command line.

    Raises:
        UserError: the folder holds another run, or can't be written.
    """
    if run_dir is None:
        base = RUNS / f"{spec.name}-{utc_stamp()}"
        path = base
        count = 2
        while path.exists():  # two runs in one second
            path = base.with_name(f"{base.name}-{count}")
            count += 1
    else:
        path = run_dir
        if RunFolder(path).spec.exists():
            raise UserError(
                f"--run_dir {path}: holds a run already; --resume goes on with it, another folder "
                "starts anew"
            )
    folder = RunFolder(path)
    try:
        for each in (folder.tensorboard, folder.checkpoints, folder.backup):
            each.mkdir(parents=True, exist_ok=True)
        write_atomically(folder.spec, spec.to_json())
        note_command(folder, argv)
        write_atomically(folder.environment, json.dumps(environment(), indent=2) + "\n")
    except OSError as error:
        raise UserError(f"--run_dir {path}: can't be written: {error.strerror}") from None
    except RunError as error:
        raise UserError(str(error)) from None
    return folder


def point_latest(folder: RunFolder) -> str:
    """Makes `runs/latest` point at this run, wherever its folder is.

    Returns:
        Nothing, or what went wrong: a run is not worth less without the link.
    """
    link = RUNS / LATEST
    target = folder.path.resolve()
    if target.parent == RUNS.resolve():
        target = Path(target.name)  # relative: the whole of runs/ can be moved
    fresh = RUNS / f".{LATEST}-{os.getpid()}"
    try:
        RUNS.mkdir(exist_ok=True)
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target, target_is_directory=True)
        fresh.replace(link)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        return f"{link} can't point at this run: {error.strerror}"
    return ""


def note_command(folder: RunFolder, argv: Sequence[str]) -> None:
    """Adds a command line to `command.txt`."""
    with folder.command.open("a", encoding="utf-8") as file:
        file.write(shlex.join(argv) + "\n")


def environment() -> dict[str, Any]:
    """Versions and machine, for `environment.json`."""
    import keras

    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpu_count": os.cpu_count(),
        "keras_backend": keras.backend.backend(),
        "packages": versions,
        "started_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def find_run(given: str | None) -> RunFolder:
    """The run a command works on: the one named, or the last.

    Raises:
        UserError: there is none.
    """
    if given is None:
        path = RUNS / LATEST
        if not (path / "spec.json").exists():
            raise UserError(f"no run yet: {path} is not there; ./trainer.sh makes one")
        return RunFolder(path.resolve())
    path = Path(given)
    if not (path / "spec.json").exists():
        names = [entry.name for entry in path.parent.glob("*")] if path.parent.is_dir() else []
        if path.is_dir():
            raise UserError(f"{path}: not a run folder (no spec.json in it)")
        raise UserError(f"{path}: no such run folder{near_miss(path.name, names)}")
    return RunFolder(path.resolve())


def write_atomically(path: Path, content: str | bytes | Callable[[Path], None]) -> None:
    """Writes a file so that it is whole or not there, even if the process is killed.

    Args:
        path: where it goes; its folder is made.
        content: text, bytes, or a function that writes to the path it is given.

    Raises:
        RunError: it can't be written; what was there before is still there.
    """
    # One name for each file, so that the next writing clears away what a killed one left. It keeps
    # the ending, which Keras wants to see.
    fresh = path.with_name(f"{UNFINISHED}{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        if isinstance(content, str):
            fresh.write_text(content, encoding="utf-8")
        elif isinstance(content, bytes):
            fresh.write_bytes(content)
        else:
            content(fresh)
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise RunError(f"{path}: can't be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):  # a full or lost disk has been told about
            fresh.unlink(missing_ok=True)


def command_hint() -> str:
    """How this process was started, for hints: `python train.py`."""
    return f"python {Path(sys.argv[0]).name}"
