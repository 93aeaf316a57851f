"""Video files as frames and back, with PyAV: any video in, lossless video out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np

from builders.errors import RunError, UserError
from builders.image_reader import BrokenImage
from builders.run_folder import write_atomically
from builders.video_source import GRAY_FORMATS, decoded_frames, open_video, shown_pixels

LOSSLESS_SUFFIX: Final = ".mkv"


@dataclass(frozen=True)
class ClipFacts:
    """What a video file says of itself.

    Attributes:
        rate: frames per second, on average.
        frames: how many, or 0 where it does not say; the truth is known after decoding.
        silent: whether there is no sound.
    """

    rate: Fraction
    frames: int
    silent: bool


def clip_facts(path: Path) -> ClipFacts:
    """Reads the header of a video.

    Raises:
        UserError: PyAV is not installed.
        BrokenImage: the file is not a video, or does not tell its frame rate.
    """
    with open_video(path) as (container, stream):
        rate = stream.average_rate or stream.guessed_rate
        if not rate:
            raise BrokenImage(path, "does not tell its frame rate")
        return ClipFacts(Fraction(rate), stream.frames, not container.streams.audio)


def clip_frames(path: Path) -> Iterator[np.ndarray]:
    """The frames of a video in the order of display, uint8 (H, W, 3), or (H, W, 1) of gray ones.

    Raises:
        UserError: PyAV is not installed.
        BrokenImage: the file is not a video, is damaged, or its frames change in size.
    """
    first = None
    for number, frame in enumerate(decoded_frames(path)):
        pixels = shown_pixels(frame)
        if frame.format.name.startswith(GRAY_FORMATS):
            pixels = pixels[..., :1]
        first = first or pixels.shape
        if pixels.shape != first:
            raise BrokenImage(
                path,
                f"its frames change in size: the first has {_size(first)} pixels, frame {number} "
                f"{_size(pixels.shape)}",
            )
        yield pixels
    if first is None:
        raise BrokenImage(path, "has no frames")


def write_lossless(path: Path, frames: Iterable[np.ndarray], rate: Fraction) -> int:
    """Writes frames as FFV1 in Matroska, pixel for pixel; whole or not at all.

    Args:
        path: of the file, ending in `LOSSLESS_SUFFIX`.
        frames: uint8 (H, W, 3) or (H, W, 1), all of one shape, at least one.
        rate: frames per second.

    Returns:
        How many there were.

    Raises:
        UserError: PyAV is not installed.
        RunError: the file can't be written.
    """
    try:
        import av
    except ImportError as error:
        raise UserError(
            f"{path}: videos are written with PyAV, which is not installed: "
            "pip install -r requirements-video.txt"
        ) from error
    written = 0

    def write(fresh: Path) -> None:
        nonlocal written
        stream = None
        with av.open(str(fresh), "w", format="matroska") as container:
            for pixels in frames:
                height, width, channels = pixels.shape
                gray = channels == 1
                if stream is None:
                    stream = container.add_stream("ffv1", rate=rate)
                    stream.height, stream.width = height, width
                    stream.pix_fmt = "gray" if gray else "bgr0"
                    stream.time_base = 1 / rate
                array = np.ascontiguousarray(pixels[..., 0] if gray else pixels)
                frame = av.VideoFrame.from_ndarray(array, format="gray" if gray else "rgb24")
                frame.pts, frame.time_base = written, 1 / rate
                container.mux(stream.encode(frame))
                written += 1
            if stream is None:
                raise RunError(f"{path}: a video needs a frame")
            container.mux(stream.encode(None))

    try:
        write_atomically(path, write)
    except av.FFmpegError as error:
        raise RunError(f"{path}: can't be written: {error.strerror}") from error
    return written


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}" + (" gray" if shape[2] == 1 else "")
