"""Weights files that say which spec they belong to, and the whole state of a training run."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from architectures.image_compressor import ImageCompressor
from architectures.stack import one_line
from builders.errors import RunError, UserError
from builders.problems import near_miss
from builders.resuming import resume_differences
from builders.run_folder import UNFINISHED, RunFolder, write_atomically
from builders.seals import is_sealed, seal
from builders.spec import Spec, architecture, difference

SPEC_ATTRIBUTE = "codecsmith_spec"
INFO_ATTRIBUTE = "codecsmith_info"
WEIGHTS_SUFFIX = ".weights.h5"
STATE_FORMAT = 1

_UNFIT = (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError)
"""What h5py and Keras raise on a file that is none of theirs, or made for another model."""


class NonFiniteWeights(RunError):  # noqa: N818 - it names what was found
    """A weight is NaN or infinite: such a state is no state to go on from."""


def save_weights(
    compressor: ImageCompressor, spec: Spec, path: Path, info: Mapping[str, Any]
) -> None:
    """Writes a Keras weights file that carries its spec, so that a wrong pairing is named.

    Args:
        compressor: whose weights; optimizer and metrics are left out.
        spec: stored as an attribute of the file.
        path: ends in `.weights.h5`.
        info: epoch, validation loss; stored likewise.
    """
    stored = architecture(spec.resolved())

    def write(target: Path) -> None:
        with _optimizer_aside(compressor):
            compressor.save_weights(target)
        with h5py.File(target, "r+") as file:
            # A dataset, not an attribute: HDF5 caps an attribute at 64 KiB.
            file.create_dataset(SPEC_ATTRIBUTE, data=json.dumps(stored))
            file.create_dataset(INFO_ATTRIBUTE, data=json.dumps(dict(info)))
        seal(target)

    write_atomically(path, write)


@contextmanager
def _optimizer_aside(compressor: ImageCompressor) -> Iterator[None]:
    """Keras stores and looks for the optimizer with the model; weights to use need none."""
    optimizer = getattr(compressor, "optimizer", None)
    if optimizer is None:  # not compiled
        yield
        return
    compressor.optimizer = None
    try:
        yield
    finally:
        compressor.optimizer = optimizer


def find_weights(given: str) -> Path:
    """The weights file a user means: a run folder, a folder of checkpoints (its best), or a file.

    Raises:
        UserError: there is none.
    """
    path = Path(given)
    if path.is_file():
        if not path.name.endswith(WEIGHTS_SUFFIX):
            raise UserError(
                f"{path}: not a weights file; expected a name ending in {WEIGHTS_SUFFIX}"
            )
        return path
    if not path.is_dir():
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UserError(f"{path}: no such checkpoint{near_miss(path.name, beside)}")
    folders = [path / "checkpoints", path]
    for folder in folders:
        best = folder / f"best{WEIGHTS_SUFFIX}"
        if best.is_file():
            return best
    for folder in folders:
        found = [
            each
            for each in sorted(folder.glob(f"*{WEIGHTS_SUFFIX}"), key=os.path.getmtime)
            if not each.name.startswith(UNFINISHED)
        ]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(each.name for each in found[-5:])
            raise UserError(
                f"{folder}: several checkpoints and no best{WEIGHTS_SUFFIX}; name one: {names}"
            )
    raise UserError(f"{path}: no checkpoint in it (looked for best{WEIGHTS_SUFFIX})")


def stored_architecture(path: Path) -> dict[str, Any] | None:
    """The architecture a weights file was written for; None in a file of other origin."""
    try:
        with h5py.File(path, "r") as file:
            if SPEC_ATTRIBUTE not in file:
                return None
            return dict(json.loads(file[SPEC_ATTRIBUTE].asstr()[()]))
    except _UNFIT as error:
        raise UserError(f"{path}: not a readable HDF5 file: {one_line(error)}") from None


def load_weights(compressor: ImageCompressor, spec: Spec, path: Path) -> None:
    """Loads a weights file into a built model.

    Raises:
        UserError: the file belongs to another spec (every difference is named), or is damaged.
    """
    is_sealed(path)  # before HDF5 looks at it
    theirs = stored_architecture(path)
    if theirs is not None:
        mine, theirs = architecture(spec.resolved()), architecture(theirs)
        _refuse(
            difference(mine, theirs), f"{path}: a checkpoint of another spec than {spec.source}:"
        )
    try:
        with _optimizer_aside(compressor):
            compressor.load_weights(path)
    except _UNFIT as error:
        raise UserError(f"{path}: does not fit {spec.source}: {one_line(error)}") from None


def _refuse(lines: Sequence[str], head: str, limit: int = 10) -> None:
    """Raises a UserError that names differences, if there are any."""
    if lines:
        shown_lines = [f"  {line}" for line in lines[:limit]]
        if len(lines) > limit:
            shown_lines.append(f"  and {len(lines) - limit} more")
        raise UserError("\n".join([head, *shown_lines]))


def read_progress(path: Path) -> dict[str, Any]:
    """Where a saved state stands; what `TrainingState.load` returns, without the weights.

    Raises:
        UserError: the file is damaged.
    """
    if not is_sealed(path):
        raise UserError(f"{path}: damaged: its end is missing, or it is no saved state")
    with np.load(path, allow_pickle=False) as stored:
        return dict(json.loads(stored["meta"].tobytes())["progress"])


def read_round(path: Path) -> int:
    """The round whose optimizer is in a saved state; 0 where there is no state."""
    return int(read_progress(path).get("round", 0)) if path.exists() else 0


class TrainingState:
    """Everything a run needs to go on: weights, optimizer, random state, progress.

    One `.npz` written atomically: at any moment the file on disk is a whole, earlier state.

    Args:
        compressor: compiled, with a built optimizer.
        spec: another spec's state is refused.
        path: of the file.
    """

    def __init__(self, compressor: ImageCompressor, spec: Spec, path: Path) -> None:
        self._compressor = compressor
        self._spec = spec
        self._path = path

    def save(self, progress: Mapping[str, Any]) -> None:
        """Writes the state.

        Args:
            progress: JSON-able: epoch, batch, best loss, history, ...

        Raises:
            NonFiniteWeights: nothing was written then.
            RunError: the file can't be written.
        """
        arrays = {
            f"{group}/{index}": _storable(keras.ops.convert_to_numpy(variable.value))
            for group, variables in self._groups().items()
            for index, variable in enumerate(variables)
        }
        for index, variable in enumerate(self._compressor.variables):
            if not np.isfinite(arrays[f"model/{index}"]).all():
                raise NonFiniteWeights(f"the weights {variable.path} are not finite")
        meta = {
            "format": STATE_FORMAT,
            "spec": self._spec.resolved(),
            "progress": dict(progress),
            "paths": {
                group: [variable.path for variable in variables]
                for group, variables in self._groups().items()
            },
        }

        arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)

        def write(target: Path) -> None:
            with target.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
            seal(target)

        write_atomically(self._path, write)

    def load(self) -> dict[str, Any]:
        """Puts the stored state into the model and returns the progress.

        Raises:
            UserError: the file is missing, damaged, or of another spec.
        """
        if not self._path.exists():
            raise UserError(f"{self._path}: nothing to resume from: no state was saved yet")
        if not is_sealed(self._path):
            raise UserError(f"{self._path}: damaged: its end is missing, or it is no saved state")
        with np.load(self._path, allow_pickle=False) as stored:
            meta = json.loads(stored["meta"].tobytes())
            arrays = {key: stored[key] for key in stored.files if key != "meta"}
        found, theirs = meta["format"], meta["spec"]
        if found != STATE_FORMAT:
            raise UserError(f"{self._path}: format {found}, this version reads {STATE_FORMAT}")
        lines = resume_differences(self._spec, theirs)
        _refuse(lines, f"{self._path}: the state of another spec than {self._spec.source}:")
        for group, variables in self._groups().items():
            count = sum(key.startswith(f"{group}/") for key in arrays)
            if count != len(variables):
                raise UserError(
                    f"{self._path}: holds {count} {group} variables, this spec has {len(variables)}"
                )
            for index, variable in enumerate(variables):
                variable.assign(arrays[f"{group}/{index}"])
        return dict(meta["progress"])

    def _groups(self) -> dict[str, Sequence[Any]]:
        model = self._compressor
        return {
            "model": model.variables,
            "optimizer": model.optimizer.variables,
            "metric": model.metrics_variables,
        }


def _storable(value: np.ndarray) -> np.ndarray:
    """bfloat16, which NumPy's files don't know, as float32, which holds it exactly."""
    return value.astype(np.float32) if value.dtype.name == "bfloat16" else value


def run_of_weights(path: Path) -> RunFolder | None:
    """The run folder a weights file lies in, if it lies in one."""
    for folder in (path.parent.parent, path.parent):
        if (folder / "spec.json").is_file():
            return RunFolder(folder)
    return None
