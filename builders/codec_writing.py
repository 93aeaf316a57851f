"""A codec bundle is written, and seen to give back what it was given."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from architectures.autoencoder import Generator
from builders.clip_export import check_clips
from builders.codec_export import CodecChoices, make_codec, sample_images
from builders.codec_transforms import KerasTransforms, bundle_transforms, serving
from builders.errors import RunError
from builders.export_targets import written_whole
from builders.spec import Spec
from builders.training import open_splits
from builders.weights_choice import WeightsChoice, load_chosen
from codec.bundle import Bundle
from codec.container import NicFile
from codec.errors import NicError
from codec.image_codec import ImageCodec
from codec.latent_coder import LatentsError
from codec.picture import Picture, PictureError

Say = Callable[[str], None]
CHECKED_IMAGES = 4


def export_codec(choice: WeightsChoice, path: Path, choices: CodecChoices, tell: Say) -> list[str]:
    """Writes a bundle and tries it.

    Args:
        choice: weights and spec.
        path: the folder; replaced if it is there.
        choices: of the user.
        tell: told what is being done.

    Returns:
        What was written, in lines for the user.

    Raises:
        UserError: the data or the choices don't fit.
        RunError: the codec does not give back what the networks make.
    """
    images = sample_images(open_splits(choice.spec, quiet=True))
    tell("building the model")
    generator = load_chosen(choice).generator
    return write_codec(generator, choice.spec, images, path, choices, tell)


def write_codec(
    generator: Generator,
    spec: Spec,
    images: Sequence[NDArray[np.uint8]],
    path: Path,
    choices: CodecChoices,
    tell: Say,
) -> list[str]:
    """Writes a bundle of a generator that is there, and tries it; see `export_codec`.

    Args:
        generator: built, with its weights; they become what they are stored as.
        spec: of the generator.
        images: typical ones, in batches (`sample_images`).
        path: the folder; replaced if it is there.
        choices: of the user.
        tell: told what is being done.

    Returns:
        What was written, in lines for the user.

    Raises:
        UserError: the choices don't fit the model.
        RunError: the codec does not give back what the networks make.
    """
    tell("measuring latents")
    parts = make_codec(generator, spec, images, choices)
    with written_whole([path], folders=True) as (fresh,):
        fresh.mkdir(parents=True)
        for name, content in parts.files.items():
            (fresh / name).write_bytes(content)
        tell("trying the codec")
        tried = check_codec(fresh, generator, images)
    lines = [f"codec      {path} ({parts.size / 2**20:.1f} MiB)"]
    if parts.cost is not None:
        lines.append(
            f"whole      the hyper decoder in whole numbers costs {parts.cost.percent:+.2f} % of "
            f"the rate ({parts.cost.bpp:.4f} bits per pixel before)"
        )
    return [*lines, *tried]


def check_codec(
    folder: Path, generator: Generator, images: Sequence[NDArray[np.uint8]]
) -> list[str]:
    """Reads a bundle as a user would, and codes some images with it.

    Args:
        folder: the bundle.
        generator: whose codec it is.
        images: batches; the first few images or clips are taken.

    Returns:
        What was found, in lines for the user.

    Raises:
        RunError: latents or pixels differ from what the networks give.
    """
    tried = [each for batch in images for each in batch][:CHECKED_IMAGES]
    size = pixels = 0
    try:
        bundle = Bundle.read(folder)
        codec = ImageCodec(bundle, lambda: bundle_transforms(bundle))
        transforms = KerasTransforms(serving(generator, bundle))
        if bundle.predicts:
            size, pixels = check_clips(folder, codec, transforms, tried)
        for image in () if bundle.predicts else tried:
            data = codec.compress(Picture(image))
            (decoded,) = codec.decode_latents(NicFile.from_bytes(data))
            expected = transforms.synthesise(decoded.y_hat)
            plan = bundle.geometry.plan(*image.shape[:2])
            if not np.array_equal(codec.decompress(data).pixels, plan.picture(expected)):
                raise RunError(f"{folder}: the bundle does not give back what the networks make")
            size += len(data)
            pixels += image[..., 0].size
    except (NicError, LatentsError, PictureError) as error:
        raise RunError(f"{folder}: the bundle can't be used: {error}") from None
    what = "clips" if bundle.predicts else "images"
    return [
        f"digest     {bundle.digest.hex()[:16]}",
        f"checked    {len(tried)} {what} of the training split: {8 * size / pixels:.3f} bits per "
        f"pixel in {size:,} bytes of files",
    ]
