"""Which state a piece goes on from, and whether the spec it is given belongs to it."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builders.errors import UserError
from builders.flags import spec_overrides
from builders.problems import near_miss
from builders.resuming import resume_differences
from builders.shard_manifest import MANIFEST, Manifest, read_manifest
from builders.spec import Spec, load_spec, parse_spec

MOVES = ("name", "tfds")
"""Keys of the data set section that another machine may have other values of: the same images lie
elsewhere there."""


def find_state(state: Path | None, output: Path) -> tuple[Path, Manifest] | None:
    """The state to go on from: the later one of two of the same run.

    A piece that was killed has left a state in its output folder; the same command goes on there.

    Args:
        state: a folder, or None for the output folder.
        output: where this piece's state goes.

    Returns:
        Its folder and manifest; None where a run begins.

    Raises:
        UserError: the folder is not there or holds something else, or the two are of two runs.
    """
    state = output if state is None else state
    if not state.is_dir() and state.resolve() != output.resolve():
        names = [each.name for each in state.parent.iterdir()] if state.parent.is_dir() else []
        raise UserError(f"--state {state}: no such folder{near_miss(state.name, names)}")
    found: list[tuple[Path, Manifest]] = []
    for flag, folder in (("--state", state), ("--output", output)):
        if (folder / MANIFEST).exists():
            found.append((folder, read_manifest(folder)))
        elif folder.is_dir() and any(folder.glob("shard-*")):
            raise UserError(f"{flag} {folder}: holds shards, but {MANIFEST} is missing")
        elif folder.exists() and not folder.is_dir():
            raise UserError(f"{flag} {folder}: a file, expected a folder")
        elif flag == "--state" and folder != output and any(folder.iterdir()):
            raise UserError(
                f"--state {folder}: holds no state: {MANIFEST} is missing; to begin a run, leave "
                "--state out or give an empty folder"
            )
    if not found:
        return None
    if len({manifest.run for _, manifest in found}) > 1:
        raise UserError(
            f"--output {output}: holds the state of another run than --state {state}; give another "
            "folder"
        )
    return max(found, key=lambda each: each[1].step)  # the first where they are equal


def piece_spec(
    flags: argparse.Namespace,
    found: tuple[Path, Manifest] | None,
    paths: Mapping[str, str],
    default: str,
) -> Spec:
    """The spec of a piece: of the flags where a run begins, else the state's own.

    The flags the run began with may be given again. The number of epochs may change, and where the
    images lie.

    Args:
        flags: parsed; `model` is None where it was not given.
        found: what `find_state` returned.
        paths: flag -> path in the spec.
        default: the spec where neither a state nor a flag names one.

    Raises:
        UserError: the flags ask for another run than the state's; each difference is named.
    """
    if found is None:
        path = Path(flags.model or default)
        return load_spec(path, spec_overrides(flags, path, paths))
    folder, manifest = found
    if flags.load_from_ckpt_path is not None:
        raise UserError(
            f"{folder}: holds a state to go on from; --load_from_ckpt_path begins a run from other "
            "weights: give one of the two"
        )
    own = manifest.spec
    kept = {f"dataset.{key}": own["dataset"][key] for key in MOVES}
    kept["training.epochs"] = own["training"]["epochs"]
    changes = {**kept, **spec_overrides(flags, folder / MANIFEST, paths)}
    if flags.model is None:
        asked = parse_spec(own, str(folder / MANIFEST), changes)
    else:
        asked = load_spec(Path(flags.model), changes)
    epochs = own["training"]["epochs"]
    if own["training"].get("rounds") and asked.training.epochs != epochs:
        raise UserError(
            f"--epochs {asked.training.epochs}: the run in {folder} has rounds, which begin after "
            f"{epochs} epochs"
        )
    moved = tuple(f"dataset.{key}:" for key in MOVES)
    lines = [line for line in resume_differences(asked, own) if not line.startswith(moved)]
    if lines:
        raise UserError(
            "\n".join(
                [
                    f"{folder}: the state of another spec than {asked.source} with these flags:",
                    *(f"  {line}" for line in lines[:10]),
                    *([f"  and {len(lines) - 10} more"] if len(lines) > 10 else []),
                ]
            )
        )
    return asked


def moved_data(spec: Spec, manifest: Manifest) -> dict[str, Any]:
    """What of the data set section is other here than in the state."""
    own, here = manifest.spec["dataset"], spec.resolved()["dataset"]
    return {key: here[key] for key in MOVES if here[key] != own[key]}
