"""The state of a run as arrays that shards hold: its state file and its best weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from builders.errors import RunError, UserError
from builders.run_folder import RunFolder, write_atomically
from builders.seals import is_sealed, seal
from builders.shard_forms import LEVELS, Encoded, encode, role_of
from builders.shard_manifest import BestEntry, Journal, Manifest
from builders.shards import packed_bytes, read_shards, write_shards

_META = "meta"
_BEST = "best"


@dataclass(frozen=True)
class Limits:
    """What a state may take.

    Attributes:
        shard_bytes: of a shard, at most.
        budget_bytes: of all shards; None for no limit.
        half: whether the optimizer's moments are in half precision also where they need not be.
    """

    shard_bytes: int
    budget_bytes: int | None
    half: bool = False


def pack(
    run: RunFolder, folder: Path, limits: Limits, *, name: str, step: int, journal: Journal
) -> Manifest:
    """Writes the state on disk of a run as shards.

    Args:
        run: its `backup/state.npz` and `checkpoints/best.weights.h5` are read.
        folder: where shards go.
        limits: how large they may be.
        name: tells the run from others.
        step: where it stands.
        journal: what has happened.

    Raises:
        RunError: the state does not fit the budget, or can't be written; what was there is valid.
    """
    arrays, meta = _read_state(run.state)
    best = None
    if run.best.is_file():
        weights, best = _read_weights(run.best)
        arrays |= weights
    encoded, lost = _within(arrays, _paths(meta), limits)
    return write_shards(
        folder,
        encoded,
        limits.shard_bytes,
        run=name,
        step=step,
        lost=lost,
        state=meta,
        best=best,
        journal=journal,
    )


def unpack(folder: Path, manifest: Manifest, run: RunFolder, changes: Mapping[str, Any]) -> None:
    """Writes the state file and the best weights of a run from shards.

    Args:
        folder: of the shards.
        manifest: theirs.
        run: gets the files.
        changes: key of the spec's data set section -> its value here, such as where the images lie.

    Raises:
        UserError: a shard is missing or was changed.
        RunError: the files can't be written.
    """
    arrays = read_shards(folder, manifest)
    meta = json.loads(json.dumps(manifest.state))
    meta["spec"]["dataset"].update(changes)
    weights = {key: arrays.pop(key) for key in list(arrays) if key.startswith(f"{_BEST}/")}
    arrays[_META] = np.frombuffer(json.dumps(meta).encode(), np.uint8)

    def write(target: Path) -> None:
        with target.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        seal(target)

    write_atomically(run.state, write)
    if manifest.best is not None:
        _write_weights(run.best, weights, manifest.best)


def _paths(meta: Mapping[str, Any]) -> dict[str, str]:
    """Name of an array in the state file -> path of its variable."""
    return {
        f"{group}/{index}": str(path)
        for group, paths in meta["paths"].items()
        for index, path in enumerate(paths)
    }


def _within(
    arrays: Mapping[str, np.ndarray], paths: Mapping[str, str], limits: Limits
) -> tuple[dict[str, Encoded], list[str]]:
    """The arrays in the first of the forms that fit the budget, and what that form loses."""
    roles = {name: role_of(name, paths.get(name, "")) for name in arrays}
    encoded = {name: encode(array, "same") for name, array in arrays.items()}
    smallest = 0
    for number, level in enumerate(LEVELS):
        concerned = [name for name in arrays if roles[name] in level.forms]
        encoded |= {name: encode(arrays[name], level.forms[roles[name]]) for name in concerned}
        smallest = packed_bytes(encoded, limits.shard_bytes)
        if limits.half and number == 0:
            continue
        if limits.budget_bytes is None or smallest <= limits.budget_bytes:
            lost = [
                each.words
                for each in LEVELS
                if any(encoded[name].stored == each.forms.get(roles[name]) for name in arrays)
            ]
            return encoded, lost
    assert limits.budget_bytes is not None
    raise RunError(
        f"the state takes {smallest / 2**20:.2f} MiB with all in it as small as it can be; "
        f"--budget_mebibytes is {round(limits.budget_bytes / 2**20, 3):g}"
    )


def _read_state(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    if not is_sealed(path):
        raise UserError(f"{path}: damaged: its end is missing, or it is no saved state")
    with np.load(path, allow_pickle=False) as stored:
        meta = dict(json.loads(stored[_META].tobytes()))
        return {key: stored[key] for key in stored.files if key != _META}, meta


def _read_weights(path: Path) -> tuple[dict[str, np.ndarray], BestEntry]:
    """A weights file as arrays, and what in it is none."""
    is_sealed(path)  # before HDF5 looks at it
    arrays: dict[str, np.ndarray] = {}
    texts: dict[str, str] = {}
    attributes: dict[str, dict[str, str]] = {}

    def look(name: str, item: Any) -> None:
        if isinstance(item, h5py.Group):
            attributes[name] = {key: str(value) for key, value in item.attrs.items()}
        elif h5py.check_string_dtype(item.dtype) is not None:
            texts[name] = item.asstr()[()]
        else:
            arrays[f"{_BEST}/{name}"] = np.asarray(item[()])

    with h5py.File(path, "r") as file:
        file.visititems(look)
    return arrays, BestEntry(texts=texts, attributes=attributes)


def _write_weights(path: Path, arrays: Mapping[str, np.ndarray], entry: BestEntry) -> None:
    def write(target: Path) -> None:
        with h5py.File(target, "w") as file:
            for name, attributes in entry.attributes.items():
                file.require_group(name).attrs.update(attributes)
            for name, array in arrays.items():
                file.create_dataset(name.removeprefix(f"{_BEST}/"), data=array)
            for name, text in entry.texts.items():
                file.create_dataset(name, data=text)
        seal(target)

    write_atomically(path, write)
