"""What is done to an image between its source and the batch: channels, resize, crop, flip."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from builders.channels import convert_channels
from builders.errors import UserError
from builders.sources import Size


class Cut(NamedTuple):
    """The part of an image that a batch gets: a window in pixels, and whether it is mirrored."""

    top: int
    left: int
    height: int
    width: int
    mirrored: bool


@dataclass(frozen=True)
class ImageTransform:
    """Channels, then resize, then crop, then flip; all in uint8.

    Attributes:
        channels: C of the result (1, 3 or 4), or None to leave it.
        resize: (height, width) every image is brought to with Lanczos' antialiased filter,
            whatever its proportions, or None.
        crop: (height, width) cut out, None in a place that keeps that side whole: at a random
            place when training, from the middle otherwise. Or None.
        flip: mirror left and right with probability 1/2; only when training.
        training: whether crops and flips are random.
    """

    channels: int | None = None
    resize: Size | None = None
    crop: tuple[int | None, int | None] | None = None
    flip: bool = False
    training: bool = False

    @property
    def is_random(self) -> bool:
        """Whether the result depends on the random numbers."""
        return self.training and (self.flip or self.crop is not None)

    @property
    def is_identity(self) -> bool:
        """Whether images of the right number of channels come out as they went in."""
        return self.resize is None and self.crop is None and not (self.training and self.flip)

    def __call__(
        self, image: np.ndarray, rng: np.random.Generator | None = None, *, name: str = "image"
    ) -> np.ndarray:
        """Transforms one image.

        Args:
            image: uint8 (H, W, C). Is not written into.
            rng: where random numbers come from; needed when `is_random`. The same state gives
                the same result.
            name: what to call the image in messages.

        Returns:
            uint8 (h, w, channels); may be a view of `image`.

        Raises:
            UserError: the image is smaller than the crop.
            ValueError: `rng` is needed and missing.
        """
        image = self.prepared(image)
        if self.is_identity:
            return image
        top, left, height, width, mirrored = self.cut(image.shape[:2], rng, name=name)
        image = image[top : top + height, left : left + width]
        return image[:, ::-1] if mirrored else image

    def prepared(self, image: np.ndarray) -> np.ndarray:
        """What never changes from epoch to epoch: channels and resize. uint8 (H, W, C)."""
        if self.channels is not None:
            image = convert_channels(image, self.channels)
        if self.resize is not None and image.shape[:2] != self.resize:
            image = resize_image(image, self.resize)
        return image

    def cut(
        self,
        size: tuple[int, ...],
        rng: np.random.Generator | None = None,
        *,
        name: str = "image",
    ) -> Cut:
        """Which part of a prepared image is taken; what may change from epoch to epoch.

        Args:
            size: (height, width) of the prepared image.
            rng: as for the whole transform.
            name: likewise.

        Raises:
            UserError: the image is smaller than the crop.
            ValueError: `rng` is needed and missing.
        """
        if self.is_random and rng is None:
            raise ValueError("a random transform needs a numpy Generator")
        (top, height), (left, width) = self._window(size, rng if self.training else None, name)
        mirrored = self.training and self.flip and rng is not None and rng.random() < 0.5
        return Cut(top, left, height, width, mirrored)

    def _window(
        self, size: tuple[int, ...], rng: np.random.Generator | None, name: str
    ) -> list[tuple[int, int]]:
        """Start and length on both axes."""
        if self.crop is None:
            return [(0, size[0]), (0, size[1])]
        window = []
        for length, wanted in zip(size, self.crop, strict=True):
            side = length if wanted is None else wanted
            spare = length - side
            if spare < 0:
                shown = "x".join("any" if side is None else str(side) for side in self.crop)
                raise UserError(
                    f"{name}: {size[0]}x{size[1]} pixels (height x width) are too "
                    f"few for crops of {shown}"
                )
            window.append((spare // 2 if rng is None else int(rng.integers(spare + 1)), side))
        return window


def resize_image(image: np.ndarray, size: Size) -> np.ndarray:
    """Resizes with Pillow's Lanczos filter, antialiased when it gets smaller.

    Args:
        image: uint8 (H, W, C), C one of 1, 3, 4 (alpha weighs the colours).
        size: (height, width) of the result.

    Returns:
        uint8 (height, width, C).
    """
    picture = Image.fromarray(image[:, :, 0] if image.shape[-1] == 1 else image)
    result = np.asarray(picture.resize((size[1], size[0]), Image.Resampling.LANCZOS))
    return result[:, :, None] if result.ndim == 2 else result
