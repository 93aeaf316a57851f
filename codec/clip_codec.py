"""Frames to the bytes of a `.nicv` file and back."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from codec.bundle import Bundle
from codec.checksum import check_latents, latents_crc32
from codec.clip_container import PIXELS_PER_BYTE, ClipFile, Group
from codec.clip_header import MAX_GROUP_PIXELS, ClipHeader, most_interval
from codec.errors import NicBundleError, NicFieldError
from codec.geometry import Pixels
from codec.header import Mode
from codec.image_codec import ImageCodec, check_shapes
from codec.latent_coder import Decoded
from codec.picture import PictureError, as_mode, for_model
from codec.whole_file import DIGEST_BYTES
from codec.work_limits import FREE_PIXELS

KEY_FRAME_INTERVAL: Final = 120
"""Frames: four seconds of common videos. Fewer where frames are large; see `most_interval`."""
PADDED_PER_PIXEL: Final = 4
"""Pixels, padding included, that a file may make the model work on for each that it may have."""


class ClipWriter:
    """Codes a clip frame by frame; made by `write_clip`.

    With a model that predicts, each frame but the first of a group is coded given the previous one
    as the decoder will have it, so that what is lost in one frame is not lost for all that follow.
    """

    def __init__(self, codec: ImageCodec, header: ClipHeader) -> None:
        self._codec = codec
        self._header = header
        self._plan = codec.bundle.geometry.plan(header.height, header.width)
        self._groups: list[Group] = []
        self._arrays: list[tuple[NDArray[Any], ...]] = []
        self._frames = 0
        self._last: Decoded | None = None
        self._reference: Pixels | None = None

    @property
    def interval(self) -> int:
        """Frames from one key frame to the next."""
        return self._header.interval

    def add(self, pixels: Pixels) -> None:
        """Codes the next frame, uint8 (H, W, C).

        Raises:
            PictureError: it differs from the first in size or channels.
            LatentsError: the model's latents are no numbers.
        """
        header, bundle = self._header, self._codec.bundle
        wanted = (header.height, header.width, header.mode.channels)
        if pixels.dtype != np.uint8 or pixels.shape != wanted:
            raise PictureError(
                f"frame {self._frames} is {pixels.dtype} {pixels.shape}, the first uint8 {wanted}"
            )
        if len(self._arrays) == header.interval:
            self._close()
        predicted = bundle.predicts and bool(self._arrays)
        self._reference = self._synthesised() if predicted else None
        blocks = self._plan.blocks(for_model(pixels, bundle.geometry.channels))
        latents = self._codec.transforms.analyse(blocks, *_given(self._reference))
        check_shapes(latents, self._plan.shapes)
        self._last = self._codec.coder.quantized(latents, header.quality)
        self._arrays.append(self._last.arrays)
        self._frames += 1

    def decoded(self) -> Pixels:
        """The frame that was added last, uint8 (H, W, C), as the decoder will give it."""
        return as_mode(self._plan.picture(self._synthesised()), self._header.mode)

    def finish(self) -> bytes:
        """The bytes of the file.

        Raises:
            PictureError: there were no frames, or the clip is too thin and plain for any decoder.
        """
        if not self._frames:
            raise PictureError("a clip without frames")
        self._close()
        header = _counted(self._header, self._frames)
        data = ClipFile(header, tuple(self._groups)).to_bytes()
        objection = _too_much(self._codec.bundle, header, len(data))
        if objection:
            raise PictureError(f"{objection}: no decoder would take that file")
        return data

    def _synthesised(self) -> Pixels:
        assert self._last is not None
        return self._codec.transforms.synthesise(self._last.y_hat, *_given(self._reference))

    def _close(self) -> None:
        arrays = tuple(np.concatenate(parts) for parts in zip(*self._arrays, strict=True))
        stream = self._codec.coder.write(arrays, self._header.quality)
        self._groups.append(Group(stream, latents_crc32(arrays)))
        self._arrays.clear()


def write_clip(
    codec: ImageCodec,
    size: tuple[int, int, int],
    rate: Fraction,
    quality: int | None = None,
    interval: int | None = None,
) -> ClipWriter:
    """Begins a clip.

    Args:
        codec: of the bundle.
        size: (H, W, C) of all frames, C 1 or 3.
        rate: frames per second.
        quality: index of one of the model's qualities; None for its own choice.
        interval: frames from one key frame to the next; None for `KEY_FRAME_INTERVAL`, or fewer
            where frames are too large for as many.

    Raises:
        PictureError: the model is for other frames.
        NicFieldError: frames, rate or interval are beyond the format's limits.
        ValueError: the model has no such quality.
    """
    bundle = codec.bundle
    quality = bundle.manifest.coder.default_quality if quality is None else quality
    if not 0 <= quality < bundle.qualities:
        raise ValueError(f"quality {quality}; the model has 0 to {bundle.qualities - 1}")
    height, width, channels = size
    if channels not in (1, bundle.geometry.channels):
        raise PictureError(f"frames of {channels} channels, the model takes gray ones")
    if interval is None:
        padded = bundle.geometry.plan(height, width).padded_pixels
        interval = min(KEY_FRAME_INTERVAL, most_interval(padded))
    header = ClipHeader(
        model_digest=bundle.digest[:DIGEST_BYTES],
        width=width,
        height=height,
        mode=Mode.RGB if channels == 3 else Mode.GRAYSCALE,
        rate=rate,
        frames=1,
        interval=interval,
        quality=quality,
    )
    return ClipWriter(codec, header)


class ClipReader:
    """The frames of a `.nicv` file, in order.

    Args:
        codec: of the bundle that wrote it.
        data: the file.

    Attributes:
        header: of the file.

    Raises:
        NicError: a subclass for each cause; what is wrong inside a stream, when it is read.
    """

    def __init__(self, codec: ImageCodec, data: bytes) -> None:
        self._codec = codec
        self._file = ClipFile.from_bytes(data)
        self.header = header = self._file.header
        bundle = codec.bundle
        header.check_model(bundle.digest)
        if header.quality >= bundle.qualities:
            raise NicBundleError(
                f"the file has quality {header.quality}, the model {bundle.qualities}"
            )
        if header.mode is Mode.RGB and bundle.geometry.channels == 1:
            raise NicBundleError("the file is in colour, the model is not")
        objection = _too_much(bundle, header, len(data))
        if objection:
            raise NicFieldError(objection)
        self._plan = bundle.geometry.plan(header.height, header.width)

    def __iter__(self) -> Iterator[Pixels]:
        """uint8 (H, W, C), frame by frame."""
        channels = self._codec.bundle.geometry.channels
        wanted = (self._plan.rows * self._plan.columns, *self._plan.block, channels)
        for group in range(self.header.groups):
            frames = self.header.frames_of(group)
            reference: Pixels | None = None
            for y_hat in np.split(self.latents(group).y_hat, frames):
                blocks = self._codec.transforms.synthesise(y_hat, *_given(reference))
                check_shapes({"pixels": blocks}, {"pixels": wanted})
                yield as_mode(self._plan.picture(blocks), self.header.mode)
                reference = blocks if self._codec.bundle.predicts else None

    def latents(self, group: int) -> Decoded:
        """The latents of the frames of a group, known to be the ones that were coded.

        Raises:
            NicStreamError: the stream is damaged.
            NicLatentsError: the latents are not those that were coded.
        """
        frames, coded = self.header.frames_of(group), self._file.groups[group]
        shapes = {
            name: (frames * blocks, *rest) for name, (blocks, *rest) in self._plan.shapes.items()
        }
        decoded = self._codec.coder.decode(coded.stream, shapes, self.header.quality)
        check_latents(decoded.arrays, coded.latents_crc32)
        return decoded


def _given(reference: Pixels | None) -> tuple[Pixels, ...]:
    """A reference as an argument: networks that don't predict take none."""
    return () if reference is None else (reference,)


def _counted(header: ClipHeader, frames: int) -> ClipHeader:
    return ClipHeader(**{**vars(header), "frames": frames})


def _too_much(bundle: Bundle, header: ClipHeader, file_bytes: int) -> str:
    """Why a decoder must not work on a file of this size; nothing where it may."""
    padded = bundle.geometry.plan(header.height, header.width).padded_pixels
    height, width = bundle.geometry.first
    most = max(FREE_PIXELS, height * width, PADDED_PER_PIXEL * PIXELS_PER_BYTE * file_bytes)
    total = padded * header.frames
    if total > most:
        return (
            f"{header.frames} frames of {padded:,} pixels with padding: a file of {file_bytes} "
            f"bytes has at most {most:,} in all"
        )
    group = padded * min(header.frames, header.interval)
    if group > max(padded, PADDED_PER_PIXEL * MAX_GROUP_PIXELS):
        return f"{group:,} pixels with padding between two key frames"
    return ""
