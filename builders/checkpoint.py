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
from builders.errors import UserError
from builders.problems import near_miss
from builders.run_folder import RunFolder, write_atomically
from builders.spec import ARCHITECTURE_KEYS, Spec, difference

SPEC_ATTRIBUTE = "codecsmith_spec"
INFO_ATTRIBUTE = "codecsmith_info"
WEIGHTS_SUFFIX = ".weights.h5"
STATE_FORMAT = 1


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
    architecture = {key: spec.resolved()[key] for key in ARCHITECTURE_KEYS}

    def write(target: Path) -> None:
        with _optimizer_aside(compressor):
            compressor.save_weights(target)
        with h5py.File(target, "r+") as file:
            # A dataset, not an attribute: HDF5 caps an attribute at 64 KiB.
            file.create_dataset(SPEC_ATTRIBUTE, data=json.dumps(architecture))
            file.create_dataset(INFO_ATTRIBUTE, data=json.dumps(dict(info)))

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
        found = sorted(folder.glob(f"*{WEIGHTS_SUFFIX}"), key=os.path.getmtime)
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
    except OSError as error:
        raise UserError(f"{path}: not a readable HDF5 file: {one_line(error)}") from None


def load_weights(compressor: ImageCompressor, spec: Spec, path: Path) -> None:
    """Loads a weights file into a built model.

    Raises:
        UserError: the file belongs to another spec (every difference is named), or is damaged.
    """
    theirs = stored_architecture(path)
    if theirs is not None:
        resolved = spec.resolved()
        mine = {key: resolved[key] for key in ARCHITECTURE_KEYS}
        lines = difference(mine, theirs)
        if lines:
            shown_lines = [f"  {line}" for line in lines[:10]]
            if len(lines) > 10:
                shown_lines.append(f"  and {len(lines) - 10} more")
            head = f"{path}: a checkpoint of another spec than {spec.source}:"
            raise UserError("\n".join([head, *shown_lines]))
    try:
        with _optimizer_aside(compressor):
            compressor.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        raise UserError(f"{path}: does not fit {spec.source}: {one_line(error)}") from None


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
        """
        arrays = {
            f"{group}/{index}": keras.ops.convert_to_numpy(variable.value)
            for group, variables in self._groups().items()
            for index, variable in enumerate(variables)
        }
        meta = {
            "format": STATE_FORMAT,
            "spec": self._spec.resolved(),
            "progress": dict(progress),
            "paths": {
                group: [variable.path for variable in variables]
                for group, variables in self._groups().items()
            },
        }

        def write(target: Path) -> None:
            with target.open("wb") as file:
                np.savez(file, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays)

        write_atomically(self._path, write)

    def load(self) -> dict[str, Any]:
        """Puts the stored state into the model and returns the progress.

        Raises:
            UserError: the file is missing, damaged, or of another spec.
        """
        if not self._path.exists():
            raise UserError(f"{self._path}: nothing to resume from: no state was saved yet")
        try:
            with np.load(self._path, allow_pickle=False) as stored:
                meta = json.loads(stored["meta"].tobytes())
                arrays = {key: stored[key] for key in stored.files if key != "meta"}
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise UserError(f"{self._path}: damaged: {one_line(error)}") from None
        if meta["format"] != STATE_FORMAT:
            raise UserError(
                f"{self._path}: format {meta['format']}, this version reads {STATE_FORMAT}"
            )
        mine, theirs = self._spec.resolved(), meta["spec"]
        lines = [
            line
            for key in (*ARCHITECTURE_KEYS, "loss")
            for line in difference(mine[key], theirs[key], key)
        ]
        if lines:
            raise UserError("\n".join([f"{self._path}: the state of another spec:", *lines[:10]]))
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


def run_of_weights(path: Path) -> RunFolder | None:
    """The run folder a weights file lies in, if it lies in one."""
    for folder in (path.parent.parent, path.parent):
        if (folder / "spec.json").is_file():
            return RunFolder(folder)
    return None
