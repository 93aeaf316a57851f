"""Folders of images and videos, split."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from builders.channels import Color
from builders.clips import ClipSource, clip_starts
from builders.errors import UserError
from builders.folder_source import FolderSource
from builders.sources import ImageSource, Progress, SplitSources, SubsetSource
from builders.splits import (
    SPLIT_NAMES,
    SplitName,
    check_fractions,
    evenly,
    folder_layout,
    position,
    stable_split,
)
from builders.video_source import VideoSource

Assignment = Mapping[str, SplitName]


def open_image_folder(
    folder: Path,
    names: Sequence[str],
    channels: int,
    *,
    color: Color | None,
    validation_fraction: float,
    test_fraction: float,
    max_images: int | None,
    cache_bytes: int,
    progress: Progress | None,
) -> SplitSources:
    """Opens a folder of images.

    Split by its train, val and test folders where it has them, and otherwise by a hash of each
    path (`builders.splits.stable_split`), so that new images move none of the old ones.

    Args:
        folder: the data set.
        names: its images, relative to it, with `/`.
        channels: C of the spec's input, 1, 3 or 4.
        color: the dataset section's `color`.
        validation_fraction: share of images for validation where there is no such folder.
        test_fraction: share of images for testing where there is no such folder.
        max_images: of each split, keep the images whose hashes come first.
        cache_bytes: bytes of decoded images to keep in memory.
        progress: called as images are decoded.

    Returns:
        The three splits.

    Raises:
        UserError: nothing can be read, a split folder is missing or double, fractions leave
            nothing to train on, or colours and channels do not go together.
    """
    assign, notes = _splitter(folder, names, "image", validation_fraction, test_fraction)
    chosen = assign(names)
    if max_images is not None:
        chosen = _first_by_hash(chosen, max_images)
    source = FolderSource(
        folder,
        sorted(chosen),
        channels=channels,
        color=color,
        cache_bytes=cache_bytes,
        progress=progress,
    )
    kept = [source.name(index) for index in range(len(source))]
    # Once more, over what can be read: the last validation image may be a broken one.
    assigned = assign(kept) if source.skipped else chosen
    parts: dict[SplitName, ImageSource] = {
        split: SubsetSource(source, [i for i, name in enumerate(kept) if assigned[name] == split])
        for split in SPLIT_NAMES
    }
    return SplitSources.of(parts, notes, source.skipped)


def open_videos(
    folder: Path,
    names: Sequence[str],
    channels: int,
    *,
    every_nth: int,
    clip_frames: int = 1,
    color: Color | None,
    validation_fraction: float,
    test_fraction: float,
    max_images: int | None,
    cache_bytes: int,
    progress: Progress | None,
) -> SplitSources:
    """Opens one or more videos.

    Neighbouring frames are nearly the same image, so all frames of a video are in one split. One
    video alone is cut into three stretches of time: train first, then validation, then test.

    Args:
        folder: where the names start.
        names: videos relative to it, with `/`.
        channels: C of the spec's input, 1, 3 or 4.
        every_nth: of each video, take every nth frame.
        clip_frames: taken frames that are one clip; 1 for frames on their own.
        color: the dataset section's `color`.
        validation_fraction: share of videos (of one video: of its frames) for validation.
        test_fraction: the same for testing.
        max_images: of each split, keep so many frames or clips, evenly spaced.
        cache_bytes: bytes of decoded frames to keep in memory.
        progress: called as videos are decoded.

    Returns:
        The three splits.

    Raises:
        UserError: as for `open_image_folder`, PyAV is missing, or a split is too short for a clip.
    """
    check_fractions(validation_fraction, test_fraction)
    alone = len(names) == 1
    if not alone:
        assign, notes = _splitter(folder, names, "video", validation_fraction, test_fraction)
        assign(names)  # what is wrong with the names is said before decoding them
    source = VideoSource(
        folder,
        names,
        channels=channels,
        every_nth=every_nth,
        color=color,
        cache_bytes=cache_bytes,
        progress=progress,
    )
    owners = [source.video(index) for index in range(len(source))]
    videos = sorted(set(owners))
    if len(videos) == 1:
        rows, note = _by_time(videos[0], len(source), validation_fraction, test_fraction)
        notes = [note]
    else:
        assigned = assign(videos)
        rows = {
            split: np.flatnonzero([assigned[owner] == split for owner in owners])
            for split in SPLIT_NAMES
        }
    if clip_frames > 1:
        rows = {
            split: clip_starts(source, part, clip_frames, overlapping=split == "train")
            for split, part in rows.items()
        }
    rows = {split: evenly(part, max_images) for split, part in rows.items()}
    if source.cached < len(source):
        notes.append(
            f"{source.cached} of {len(source)} frames fit into memory; the others are decoded "
            "again whenever they are needed, which is slow (see cache_mebibytes, every_nth)"
        )
    parts: dict[SplitName, ImageSource] = {
        split: SubsetSource(source, rows[split])
        if clip_frames == 1
        else ClipSource(source, rows[split], clip_frames)
        for split in SPLIT_NAMES
    }
    return SplitSources.of(parts, notes, source.skipped)


def _splitter(
    folder: Path,
    names: Sequence[str],
    kind: str,
    validation_fraction: float,
    test_fraction: float,
) -> tuple[Callable[[Iterable[str]], dict[str, SplitName]], list[str]]:
    """How names are assigned to splits, and what to tell the user about it."""
    layout = folder_layout(names, str(folder))
    if layout is None:
        note = f"{folder}: no train and val folders, so split by a hash of each {kind}'s path"
        return lambda some: stable_split(some, validation_fraction, test_fraction), [note]
    shares = [
        0.0 if split in layout.values() else fraction
        for split, fraction in (("validation", validation_fraction), ("test", test_fraction))
    ]
    notes = []
    missing = [split for split in ("validation", "test") if split not in layout.values()]
    if missing:
        notes.append(
            f"{folder}: no folder for {' and '.join(missing)}, so cut from train by a hash of "
            f"each {kind}'s path"
        )
    outside = sum(PurePosixPath(name).parts[0] not in layout for name in names)
    if outside:
        notes.append(
            f"{folder}: {outside} {kind}s outside of {', '.join(sorted(layout))} are not used"
        )

    def assign(some: Iterable[str]) -> dict[str, SplitName]:
        own = {name: layout.get(PurePosixPath(name).parts[0]) for name in some}
        in_train = [name for name, split in own.items() if split == "train"]
        cut = stable_split(in_train, *shares)
        return {name: cut.get(name, split) for name, split in own.items() if split is not None}

    return assign, notes


def _first_by_hash(assigned: Assignment, count: int) -> dict[str, SplitName]:
    result: dict[str, SplitName] = {}
    for split in SPLIT_NAMES:
        members = [name for name, own in assigned.items() if own == split]
        for name in sorted(members, key=lambda name: (position(name), name))[:count]:
            result[name] = split
    return result


def _by_time(
    video: str, frames: int, validation_fraction: float, test_fraction: float
) -> tuple[dict[SplitName, np.ndarray], str]:
    """Three stretches of one video; train and validation get at least a frame each."""
    if frames < 2:
        raise UserError(f"{video}: one frame cannot be split into train and validation")
    validation = max(1, round(validation_fraction * frames))
    test = min(round(test_fraction * frames), frames - validation - 1)
    train = frames - validation - test
    rows = np.split(np.arange(frames), [train, train + validation])
    note = (
        f"{video}: one video, split by time: the first {train} frames for train, the next "
        f"{validation} for validation, the last {test} for test"
    )
    return dict(zip(SPLIT_NAMES, rows, strict=True)), note
