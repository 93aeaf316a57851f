"""Whether the images found and the channels a spec asks for go together."""

from typing import Literal

import numpy as np
from PIL import Image

from builders.errors import UserError
from builders.image_reader import as_array

Color = Literal["grayscale", "rgb"]


def check_setting(channels: int, color: Color | None) -> None:
    """Checks the spec's channels against its own `color`, before any data is read.

    Args:
        channels: C of the spec's input.
        color: the dataset section's `color`.

    Raises:
        UserError: images never have so many channels, or `color` asks for another number.
    """
    if channels not in {1, 3, 4}:
        raise UserError(
            f"dataset: the spec's input has {channels} channels; images are read with 1 "
            "(grayscale), 3 (RGB) or 4 (RGB and alpha)"
        )
    if color == "grayscale" and channels != 1:
        raise UserError(
            f'dataset.color: "grayscale" gives 1 channel, the spec\'s input has {channels}'
        )
    if color == "rgb" and channels == 1:
        raise UserError('dataset.color: "rgb" gives 3 channels, the spec\'s input has 1')


def check_found(
    where: str, *, channels: int, color: Color | None, colour_example: str | None
) -> None:
    """Checks what was found in a data set against the spec.

    Gray images in a mixed set are promoted to RGB for a spec with 3 channels: that changes how
    they are stored, not what is seen. Throwing colour away, or training three channels on data
    that has none, is something the user must ask for.

    Args:
        where: what to call the data set.
        channels: C of the spec's input, 1, 3 or 4.
        color: the dataset section's `color`.
        colour_example: name of one image stored in colour, None when there is none.

    Raises:
        UserError: with the setting that converts.
    """
    if channels == 1 and colour_example is not None and color != "grayscale":
        raise UserError(
            f"{where}: {colour_example} is in colour, the spec's input has 1 channel; set "
            '"color": "grayscale" in the dataset section to convert, or give the input 3 channels'
        )
    if channels > 1 and colour_example is None and color != "rgb":
        raise UserError(
            f"{where}: all images are grayscale, the spec's input has {channels} channels; set "
            '"color": "rgb" in the dataset section to repeat the gray channel, or give the input '
            "1 channel"
        )


def convert_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """Gives an image another number of channels, as reading it from a file would.

    Args:
        image: uint8 (H, W, C), C one of 1, 2 (gray and alpha), 3, 4.
        channels: 1, 3 or 4.

    Returns:
        uint8 (H, W, channels); the same array where nothing changes.
    """
    if image.shape[-1] == channels:
        return image
    if image.shape[-1] == 1:
        image = image[:, :, 0]
    return as_array(Image.fromarray(image), channels)
