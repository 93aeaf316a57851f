"""What a codec of clips is made from and tried on: frames predicted from decoded ones."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from architectures.autoencoder import Generator
from builders.clips import CLIP_AXES
from builders.codec_transforms import KerasTransforms
from builders.errors import RunError
from codec.clip_codec import ClipReader, write_clip
from codec.image_codec import ImageCodec

Pixels = NDArray[np.uint8]
RATE = Fraction(30)
"""Frames per second of clips that are only tried; changes nothing but a field of the header."""


def sampled_latents(
    generator: Generator, transforms: KerasTransforms, batch: Pixels
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """The latents of a batch of images, or of each time in a batch of clips.

    Args:
        generator: built, with its weights.
        transforms: its networks.
        batch: uint8 (B, H, W, C) or (B, T, H, W, C).
    """
    if batch.ndim == CLIP_AXES:
        yield transforms.analyse(batch)
        return
    reference: Pixels | None = None
    for time in range(batch.shape[1]):
        latents = transforms.analyse(batch[:, time], reference)
        yield latents
        reference = transforms.synthesise(_rounded(generator, latents["y"]), reference)


def _rounded(generator: Generator, y: NDArray[np.float32]) -> NDArray[np.float32]:
    if generator.entropy_model is None:
        return y
    y_hat, _ = generator.entropy_model(y, training=False)
    return np.asarray(keras.ops.convert_to_numpy(y_hat), np.float32)


def clip_bytes(codec: ImageCodec, clip: Pixels) -> tuple[bytes, list[Pixels]]:
    """The file of a clip (T, H, W, C), and its frames as its encoder saw them decoded."""
    writer = write_clip(codec, clip.shape[1:], RATE)
    seen = []
    for frame in clip:
        writer.add(frame)
        seen.append(writer.decoded())
    return writer.finish(), seen


def check_clips(
    folder: Path, codec: ImageCodec, transforms: KerasTransforms, clips: Sequence[Pixels]
) -> tuple[int, int]:
    """Codes clips and decodes them, with the codec and with the networks it was made of.

    Args:
        folder: of the bundle, for messages.
        codec: read from there.
        transforms: of the generator.
        clips: uint8 (T, H, W, C).

    Returns:
        Bytes of all files, and pixels of all frames.

    Raises:
        RunError: the frames differ from what the encoder saw or from what the networks give.
    """
    size = pixels = 0
    for clip in clips:
        data, seen = clip_bytes(codec, clip)
        reader = ClipReader(codec, data)
        plan = codec.bundle.geometry.plan(*clip.shape[1:3])
        reference: Pixels | None = None
        expected: list[Any] = []
        for y_hat in np.split(reader.latents(0).y_hat, len(clip)):
            reference = transforms.synthesise(y_hat, reference)
            expected.append(plan.picture(reference))
        if not np.array_equal(list(reader), seen) or not np.array_equal(seen, expected):
            raise RunError(f"{folder}: the bundle does not give back what the networks make")
        size += len(data)
        pixels += clip[..., 0].size
    return size, pixels
