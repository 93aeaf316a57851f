"""What benchmarks/clip_coding.py compares: bundles, video codecs, pictures frame by frame."""

from __future__ import annotations

import io
from argparse import Namespace
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from builders.codec_choice import find_bundle, open_codec, quality_index, read_bundle

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from codec.bundle import Bundle
    from evaluation.codecs import Codec

    Pixels = NDArray[np.uint8]
    Coder = tuple[Callable[[list[Pixels], Fraction], bytes], Callable[[bytes], list[Pixels]]]

CRFS = (18, 23, 28, 33)
FRAME_QUALITIES = {"jpeg-420": (25, 50, 75), "webp-m4": (25, 50, 75)}
SIZE_BYTES = 4
"""Before each frame that is a file of its own."""


def all_coders(flags: Namespace) -> Iterator[tuple[str, Coder]]:
    """Name with setting -> encode and decode."""
    for given in flags.models:
        bundle = read_bundle(find_bundle(given, "--models"))
        name = bundle.manifest.name
        for quality in flags.quality or [None]:
            label = name if quality is None else f"{name} q{quality:g}"
            yield label, bundle_coder(bundle, quality, flags.keyframe_interval)
    import av

    for codec in ("libx264", "libx265"):
        if codec in av.codecs_available:
            for crf in CRFS:
                yield f"{codec} crf{crf}", video_coder(codec, crf, flags.keyframe_interval)
    from evaluation.classical_codecs import classical_codecs

    for each in (*classical_codecs("jpeg", 1), *classical_codecs("webp", 1)):
        for setting in FRAME_QUALITIES.get(each.name, ()):
            yield f"{each.name} q{setting}, frame by frame", frame_coder(each, setting)


def bundle_coder(bundle: Bundle, quality: float | None, interval: int) -> Coder:
    """A bundle of ours."""
    from builders.codec_transforms import bundle_transforms
    from codec.clip_codec import ClipReader, write_clip

    codec = open_codec(bundle, lambda: bundle_transforms(bundle))
    index = None if quality is None else quality_index(quality, bundle.qualities)

    def encode(frames: list[Pixels], rate: Fraction) -> bytes:
        height, width, channels = frames[0].shape
        writer = write_clip(codec, (height, width, channels), rate, index, interval)
        for frame in frames:
            writer.add(frame)
        return writer.finish()

    return encode, lambda data: list(ClipReader(codec, data))


def video_coder(name: str, crf: int, interval: int) -> Coder:
    """An encoder of FFmpeg's, as most people call it."""
    import av

    def encode(frames: list[Pixels], rate: Fraction) -> bytes:
        file = io.BytesIO()
        options = {"crf": str(crf), "preset": "medium"}
        if name == "libx265":
            options["x265-params"] = "log-level=none"
        with av.open(file, "w", format="mp4") as container:
            stream = container.add_stream(name, rate=rate, options=options)
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            stream.codec_context.gop_size = interval
            for pixels in frames:
                for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                    container.mux(packet)
            for packet in stream.encode(None):
                container.mux(packet)
        return file.getvalue()

    def decode(data: bytes) -> list[Pixels]:
        with av.open(io.BytesIO(data)) as container:
            return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]

    return encode, decode


def frame_coder(codec: Codec, setting: float) -> Coder:
    """A codec of pictures, each frame a file; the files one after another, with their sizes."""

    def encode(frames: list[Pixels], rate: Fraction) -> bytes:
        return b"".join(_sized(codec.encode(frame, setting)) for frame in frames)

    def decode(data: bytes) -> list[Pixels]:
        found = []
        while data:
            size = int.from_bytes(data[:SIZE_BYTES], "little")
            found.append(codec.decode(data[SIZE_BYTES : SIZE_BYTES + size]))
            data = data[SIZE_BYTES + size :]
        return found

    return encode, decode


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(SIZE_BYTES, "little") + data
