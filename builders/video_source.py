"""Frames of videos as a source, decoded by FFmpeg through PyAV."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from builders.channels import Color, check_found, convert_channels
from builders.errors import UserError
from builders.image_reader import BrokenImage
from builders.sources import ImageCache, Progress, Size

if TYPE_CHECKING:
    import av

# FFmpeg's names of pixel formats without colour start with these.
GRAY_FORMATS = ("gray", "mono", "ya8", "ya16")

# A file is read, and whatever it names (a playlist can name anything) only if it is a file too.
_OPEN_OPTIONS = {"protocol_whitelist": "file"}


class _Frame(NamedTuple):
    video: int  # index into the names
    number: int  # counted from 0 in the order of display
    timestamp: int | None  # in the stream's own unit; what seeking needs
    size: Size


class VideoSource:
    """Every nth frame of one or more videos.

    Opening decodes every video once: frames are counted (headers are often wrong about that),
    broken videos are left out, and frames are kept in memory until the budget is used up. A frame
    beyond it costs a seek and the decoding of all frames since the key frame before it.

    Args:
        folder: where the names start.
        names: video files relative to `folder`, with `/`.
        channels: C of the arrays handed out: 1, 3 or 4.
        every_nth: n >= 1; frames 0, n, 2n, ... of each video are taken.
        color: the dataset section's `color`; see `builders.channels.check_found`.
        cache_bytes: bytes of decoded frames to keep.
        progress: called after each video.

    Attributes:
        skipped: the videos that could not be read to their end.

    Raises:
        UserError: PyAV is not installed, no video can be read, or colours and channels do not go
            together.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        *,
        channels: int,
        every_nth: int = 1,
        color: Color | None = None,
        cache_bytes: int,
        progress: Progress | None = None,
    ) -> None:
        self._folder = folder
        self._names = list(names)
        self._channels = channels
        self._cache = ImageCache(cache_bytes)
        self._frames: list[_Frame] = []
        self.skipped: list[BrokenImage] = []
        colour_example = None
        for video, name in enumerate(self._names):
            try:
                frames, in_colour = self._scan(video, every_nth)
            except BrokenImage as broken:
                self.skipped.append(broken)
            else:
                self._frames += frames
                if in_colour and colour_example is None:
                    colour_example = name
            if progress is not None:
                progress("reading videos", video + 1, len(self._names))
        if not self._frames:
            raise UserError(
                f"{folder}: no video can be read\n"
                + "\n".join(f"  {broken}" for broken in self.skipped)
            )
        check_found(str(folder), channels=channels, color=color, colour_example=colour_example)

    def _scan(self, video: int, every_nth: int) -> tuple[list[_Frame], bool]:
        path = self._folder / self._names[video]
        frames: list[_Frame] = []
        in_colour = False
        try:
            for number, frame in enumerate(decoded_frames(path)):
                if number % every_nth == 0:
                    image = self._pixels(frame)
                    self._cache.offer((video, number), image)
                    size = (image.shape[0], image.shape[1])
                    frames.append(_Frame(video, number, frame.pts, size))
                    in_colour |= not frame.format.name.startswith(GRAY_FORMATS)
            if not frames:
                raise BrokenImage(path, "has no frames")
        except BrokenImage:
            for kept in frames:
                self._cache.drop((video, kept.number))
            raise
        return frames, in_colour

    def _pixels(self, frame: "av.VideoFrame") -> np.ndarray:
        return np.ascontiguousarray(convert_channels(shown_pixels(frame), self._channels))

    @property
    def channels(self) -> int:
        return self._channels

    @property
    def cached(self) -> int:
        """How many of the frames are kept in memory."""
        return len(self._cache)

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> np.ndarray:
        wanted = self._frames[index]
        image = self._cache.get((wanted.video, wanted.number))
        return self._decode_one(wanted) if image is None else image

    def _decode_one(self, wanted: _Frame) -> np.ndarray:
        path = self._folder / self._names[wanted.video]
        if wanted.timestamp is not None:
            for frame in decoded_frames(path, seek_to=wanted.timestamp):
                if frame.pts == wanted.timestamp:
                    return self._pixels(frame)
                if frame.pts is None or frame.pts > wanted.timestamp:
                    break
        # Containers that cannot seek land behind the frame: count from the start instead.
        for number, frame in enumerate(decoded_frames(path)):
            if number == wanted.number:
                return self._pixels(frame)
        raise BrokenImage(path, f"frame {wanted.number} is gone: the file has changed")

    def name(self, index: int) -> str:
        frame = self._frames[index]
        return f"{self._names[frame.video]} frame {frame.number}"

    def size(self, index: int) -> Size | None:
        return self._frames[index].size

    def video(self, index: int) -> str:
        """Name of the video that frame `index` is from."""
        return self._names[self._frames[index].video]


def shown_pixels(frame: "av.VideoFrame") -> np.ndarray:
    """uint8 (H, W, 3), turned the way the video says it is to be shown."""
    pixels = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))


def decoded_frames(path: Path, seek_to: int | None = None) -> Iterator["av.VideoFrame"]:
    """Frames in the order of display, from the key frame before `seek_to` on.

    Raises:
        UserError: PyAV is not installed.
        BrokenImage: the file is not a video, or is damaged.
    """
    with open_video(path) as (container, stream):
        stream.thread_type = "AUTO"
        if seek_to is not None:
            container.seek(seek_to, stream=stream)
        yield from container.decode(stream)


@contextmanager
def open_video(path: Path) -> Iterator[tuple["av.container.InputContainer", "av.VideoStream"]]:
    """A file and its first stream of pictures.

    Raises:
        UserError: PyAV is not installed.
        BrokenImage: the file is not a video, or is damaged.
    """
    try:
        import av
    except ImportError as error:
        raise UserError(
            f"{path}: videos are read with PyAV, which is not installed: "
            "pip install -r requirements-video.txt"
        ) from error
    try:
        with av.open(str(path), options=_OPEN_OPTIONS) as container:
            if not container.streams.video:
                raise BrokenImage(path, "has no pictures")
            yield container, container.streams.video[0]
    except av.FFmpegError as error:
        raise BrokenImage(path, f"damaged: {error.strerror}") from error
