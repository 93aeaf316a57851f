"""Clips: consecutive frames of one video as one item of a data set."""

from typing import Protocol

import numpy as np

from builders.sources import ImageSource, Size

CLIP_AXES = 4
"""Of one clip, (T, H, W, C); a batch of them has one more."""


class FrameSource(ImageSource, Protocol):
    """Frames of videos, those of one video in a row and in their order."""

    def video(self, index: int) -> str:
        """Name of the video that frame `index` is from."""


class ClipSource:
    """Clips of T frames; see `ImageSource`, with (T, H, W, C) in place of (H, W, C).

    Args:
        source: the frames.
        starts: index of the first frame of each clip; see `clip_starts`.
        frames: T, at least 1.
    """

    def __init__(self, source: FrameSource, starts: np.ndarray, frames: int) -> None:
        self._source = source
        self._starts = np.asarray(starts, dtype=np.int64)
        self._frames = frames

    @property
    def channels(self) -> int:
        return self._source.channels

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> np.ndarray:
        start = int(self._starts[index])
        return np.stack([self._source[at] for at in range(start, start + self._frames)])

    def name(self, index: int) -> str:
        return f"{self._source.name(int(self._starts[index]))} and {self._frames - 1} more"

    def size(self, index: int) -> Size | None:
        return self._source.size(int(self._starts[index]))


def clip_starts(
    source: FrameSource, rows: np.ndarray, frames: int, *, overlapping: bool
) -> np.ndarray:
    """Where clips begin, so that each lies in one video and in one split, in one size.

    Args:
        source: all frames.
        rows: indices of the frames of a split, ascending.
        frames: of a clip.
        overlapping: a clip for each frame that enough others follow; else clips share no frame.

    Returns:
        Indices of first frames, int64, ascending.
    """
    starts: list[int] = []
    run = 0  # frames up to this one that could all be in one clip
    before = None
    for row in np.asarray(rows).tolist():
        here = (source.video(row), source.size(row))
        same = before is not None and before == (row - 1, here)
        run = run + 1 if same else 1
        before = (row, here)
        if run >= frames:
            starts.append(row - frames + 1)
            if not overlapping:
                run = 0
    return np.array(starts, np.int64)


def frames_of(batch: np.ndarray) -> np.ndarray:
    """A batch of clips (B, T, H, W, C) as frames (B * T, H, W, C); one of images as it is."""
    return batch.reshape(-1, *batch.shape[2:]) if batch.ndim == CLIP_AXES + 1 else batch
