"""Finding images and videos below a folder."""

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from builders.errors import UserError
from constants.data import IMAGE_SUFFIXES, VIDEO_SUFFIXES


@dataclass
class FoundFiles:
    """What lies below a folder.

    Attributes:
        images: paths of images relative to the folder, with `/`, sorted.
        videos: the same for videos.
        others: how often every other suffix was seen.
        suffixes: what counts as an image.
    """

    images: list[str] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    suffixes: tuple[str, ...] = IMAGE_SUFFIXES


def search(folder: Path) -> FoundFiles:
    """Lists images and videos in `folder` and all folders below it.

    By suffix, in any case. Files and folders whose names start with a dot are passed over, and so
    is whatever is not a regular file. Links to folders are followed, each folder is visited once
    (so loops of links end); links that lead nowhere are listed, to be reported as unreadable.

    Args:
        folder: an existing folder.

    Returns:
        Its files, in the order of their names.

    Raises:
        UserError: a folder may not be listed.
    """
    found = FoundFiles()
    for path in _walk(folder):
        _sort_in(found, path, folder)
    found.images.sort()
    found.videos.sort()
    return found


def files_below(folder: Path, suffixes: Collection[str]) -> list[str]:
    """Paths, relative to `folder`, of the files with one of some suffixes; see `search`.

    Args:
        folder: an existing folder.
        suffixes: in small letters.

    Raises:
        UserError: a folder may not be listed.
    """
    found = FoundFiles(suffixes=tuple(suffixes))
    for path in _walk(folder):
        _sort_in(found, path, folder)
    return sorted(found.images)


def _walk(folder: Path) -> Iterator[Path]:
    """Files of all folders, those with a dot in front left out."""
    visited: set[tuple[int, int]] = set()

    def fail(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot list this folder ({error.strerror})")

    for root, folders, files in os.walk(folder, followlinks=True, onerror=fail):
        identity = os.stat(root)  # noqa: PTH116 - a string from os.walk
        if (identity.st_dev, identity.st_ino) in visited:
            folders.clear()
            continue
        visited.add((identity.st_dev, identity.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in files:
            if not file.startswith("."):
                yield Path(root) / file


def _sort_in(found: FoundFiles, path: Path, folder: Path) -> None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a named pipe would block its reader for ever
            return
    except OSError:
        if not path.is_symlink():
            return
    suffix = path.suffix.lower()
    name = path.relative_to(folder).as_posix()
    if suffix in found.suffixes:
        found.images.append(name)
    elif suffix in VIDEO_SUFFIXES:
        found.videos.append(name)
    else:
        found.others[suffix or "no suffix"] += 1
