"""Where exported models go, and how they get there whole. Imports nothing heavy."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from builders.errors import UserError
from builders.export_formats import (
    BUNDLE_FILE,
    FORMATS,
    MODES,
    SAVED_MODEL_FILE,
    ExportFormat,
)
from builders.export_info import info_path
from builders.weights_choice import WeightsChoice


def planned_paths(
    choice: WeightsChoice,
    mode: str,
    export_format: ExportFormat,
    save_path: str | None,
    force: bool,
) -> list[Path]:
    """Where each part of an export goes; nothing is there, or it may be replaced.

    Raises:
        UserError: see `target_paths` and `check_free`.
    """
    folder = choice.weights.parent if choice.folder is None else choice.folder.path
    if folder.is_relative_to(Path.cwd()):
        folder = folder.relative_to(Path.cwd())
    paths = target_paths(save_path, mode, export_format, folder / "export")
    check_free(paths, export_format, force)
    return paths


def target_paths(
    save_path: str | None, mode: str, export_format: ExportFormat, default: Path
) -> list[Path]:
    """Where each part of an export goes.

    Args:
        save_path: as the user gave it: a path for each part, or a folder for encoder and decoder.
        mode: a key of `MODES`.
        export_format: its suffix is added where it is missing.
        default: folder that is taken when no path was given.

    Raises:
        UserError: the wrong number of paths, the suffix of another format, one inside the other.
    """
    parts = MODES[mode]
    given = [] if save_path is None else [text.strip() for text in save_path.split(",")]
    if any(not text for text in given):
        raise UserError(f'--save_path: empty path in "{save_path}"')
    if len(given) > len(parts):
        takes = "ENCODER,DECODER or one folder for both" if len(parts) > 1 else "one path"
        raise UserError(f"--save_path: {len(given)} paths; mode {mode} takes {takes}")
    if len(given) == len(parts):
        paths = [Path(text) for text in given]
    else:
        folder = Path(given[0]) if given else default
        paths = [folder / part for part in parts]
    paths = [_with_suffix(path, export_format) for path in paths]
    absolute = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100 - links are kept
    for i, one in enumerate(absolute):
        for other in absolute[i + 1 :]:
            if one == other or one in other.parents or other in one.parents:
                raise UserError(f"--save_path: {paths[0]} and {paths[1]} are not apart")
    return paths


def _with_suffix(path: Path, export_format: ExportFormat) -> Path:
    if path.name in ("", ".."):
        raise UserError(f"--save_path {path}: name the file or folder that is written")
    if export_format.suffix and path.suffix.lower() == export_format.suffix:
        return path
    for each in FORMATS.values():
        if each.suffix and path.suffix.lower() == each.suffix:
            raise UserError(
                f"--save_path {path}: the suffix of --format {each.name}, "
                f"not of {export_format.name}"
            )
    return path.with_name(path.name + export_format.suffix)


def check_free(paths: Sequence[Path], export_format: ExportFormat, force: bool) -> None:
    """Checks that nothing is there that must not be overwritten.

    Raises:
        UserError: something is there and `force` is not set; or it is nothing that an export
            could have written, which `force` doesn't delete.
    """
    for path in paths:
        if not os.path.lexists(path):
            blocked = next((p for p in path.parents if p.exists() and not p.is_dir()), None)
            if blocked is not None:
                raise UserError(f"--save_path {path}: {blocked} is a file, not a folder")
            continue
        if not force:
            raise UserError(f"{path}: is there already; --force overwrites it")
        if export_format.suffix:
            replaceable = path.is_file()
        else:
            replaceable = path.is_dir() and (
                any((path / name).is_file() for name in (SAVED_MODEL_FILE, BUNDLE_FILE))
                or not any(path.iterdir())
            )
        if not replaceable:
            raise UserError(f"{path}: is not an exported model; --force doesn't delete it")


@contextmanager
def written_whole(paths: Sequence[Path], *, folders: bool) -> Iterator[list[Path]]:
    """Gives paths to write to instead of `paths`, and puts what was written into place at the end.

    What is at `paths` stays as it is until everything is written; nothing else is left when the
    block fails. The information beside single files goes along.

    Args:
        paths: final places; what is there is replaced.
        folders: whether folders or files are written.
    """
    fresh = [path.with_name(f".writing-{os.getpid()}-{path.name}") for path in paths]
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield fresh
        for new, path in zip(fresh, paths, strict=True):
            if folders:
                _replace_folder(new, path)
            else:
                os.replace(info_path(new, folder=False), info_path(path, folder=False))  # noqa: PTH105
                new.replace(path)
    except OSError as error:
        place, reason = error.filename or paths[0], error.strerror or error
        raise UserError(f"{place}: can't be written: {reason}") from None
    finally:
        for new in fresh:
            shutil.rmtree(new, ignore_errors=True)
            for leftover in (new, info_path(new, folder=False)):
                if leftover.is_file():
                    leftover.unlink()


def _replace_folder(new: Path, path: Path) -> None:
    old = path.with_name(f".replaced-{os.getpid()}-{path.name}")
    if path.exists():
        path.rename(old)
    try:
        new.rename(path)
    except OSError:
        if old.exists():
            old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)
