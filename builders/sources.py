"""Random access to images: what a source is, and the ones that need no file or library.

A source hands out whole uint8 images by index. What is done to them (resize, crop, flip) comes
later, in `builders.transforms`; batches are made in `builders.loader`.
"""

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from builders.image_reader import BrokenImage
from builders.splits import SplitName

Progress = Callable[[str, int, int], None]
"""Called while something takes time: what is being done, how many are done, how many in all."""

Size = tuple[int, int]
"""Height and width in pixels."""


class ImageSource(Protocol):
    """Images by index. Safe to call from several threads at once."""

    @property
    def channels(self) -> int:
        """C of every image: 1, 3 or 4."""

    def __len__(self) -> int:
        """Number of images."""

    def __getitem__(self, index: int) -> np.ndarray:
        """Image `index`, uint8 (H, W, C). To be read, not written into."""

    def name(self, index: int) -> str:
        """What to call image `index` in messages and reports."""

    def size(self, index: int) -> Size | None:
        """Height and width of image `index`, or None where that takes decoding it."""


class ArraySource:
    """Images that are in memory already.

    Args:
        images: uint8 (N, H, W, C), or a sequence of N arrays (H, W, C) of different sizes.
        names: N names, or a prefix that is followed by the index.
        channels: C; needed only where there may be no image to tell.

    Raises:
        ValueError: an image is not uint8 (H, W, C), or names and images differ in number.
    """

    def __init__(
        self,
        images: np.ndarray | Sequence[np.ndarray],
        names: Sequence[str] | str = "image",
        *,
        channels: int | None = None,
    ) -> None:
        for image in [images] if isinstance(images, np.ndarray) else images:
            wanted = 4 if isinstance(images, np.ndarray) else 3
            if image.dtype != np.uint8 or image.ndim != wanted:
                raise ValueError(f"uint8 (H, W, C) expected, not {image.dtype} {image.shape}")
        if not isinstance(names, str) and len(names) != len(images):
            raise ValueError(f"{len(names)} names for {len(images)} images")
        if channels is None:
            channels = int(images.shape[-1] if isinstance(images, np.ndarray) else
                           images[0].shape[-1])  # fmt: skip
        self._images = images
        self._names = names
        self._channels = channels

    @property
    def channels(self) -> int:
        return self._channels

    @property
    def array(self) -> np.ndarray | None:
        """All images as one uint8 (N, H, W, C), or None when their sizes differ."""
        return self._images if isinstance(self._images, np.ndarray) else None

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._images[index]

    def name(self, index: int) -> str:
        if isinstance(self._names, str):
            return f"{self._names} {index}"
        return self._names[index]

    def size(self, index: int) -> Size | None:
        height, width = self._images[index].shape[:2]
        return height, width


class SubsetSource:
    """Some images of another source, in a given order; one split of a data set.

    Args:
        source: where the images are.
        indices: which of them, each in [0, len(source)).

    Attributes:
        source: where the images are.
        indices: which of them, int64 (N,).
    """

    def __init__(self, source: ImageSource, indices: Sequence[int] | np.ndarray) -> None:
        self.source = source
        self.indices = np.asarray(indices, dtype=np.int64)

    @property
    def channels(self) -> int:
        return self.source.channels

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.source[int(self.indices[index])]

    def name(self, index: int) -> str:
        return self.source.name(int(self.indices[index]))

    def size(self, index: int) -> Size | None:
        return self.source.size(int(self.indices[index]))


class JoinedSource:
    """Several sources one after the other.

    Args:
        sources: at least one, all with the same number of channels.

    Raises:
        ValueError: the channels differ.
    """

    def __init__(self, sources: Sequence[ImageSource]) -> None:
        if len({source.channels for source in sources}) != 1:
            raise ValueError("joined sources must have the same number of channels")
        self._sources = tuple(sources)
        self._ends = np.cumsum([len(source) for source in sources])

    def _locate(self, index: int) -> tuple[ImageSource, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        part = int(np.searchsorted(self._ends, index, side="right"))
        start = int(self._ends[part - 1]) if part else 0
        return self._sources[part], index - start

    @property
    def channels(self) -> int:
        return self._sources[0].channels

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> np.ndarray:
        source, at = self._locate(index)
        return source[at]

    def name(self, index: int) -> str:
        source, at = self._locate(index)
        return source.name(at)

    def size(self, index: int) -> Size | None:
        source, at = self._locate(index)
        return source.size(at)


class ImageCache:
    """Decoded images in memory, up to a budget.

    First come, first kept, nothing is thrown out: training visits every image once an epoch, and
    for that order the images that stay are as good as any others.

    Args:
        budget_bytes: bytes of pixels to keep at most.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._used_bytes = 0
        self._images: dict[Hashable, np.ndarray] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> np.ndarray | None:
        """The image kept under `key`, or None."""
        return self._images.get(key)

    def offer(self, key: Hashable, image: np.ndarray) -> bool:
        """Keeps `image` if it still fits; says whether it did."""
        with self._lock:
            if self._used_bytes + image.nbytes > self._budget_bytes:
                return False
            image.flags.writeable = False
            self._images[key] = image
            self._used_bytes += image.nbytes
            return True

    def drop(self, key: Hashable) -> None:
        """Forgets the image under `key`, if there is one."""
        with self._lock:
            image = self._images.pop(key, None)
            if image is not None:
                self._used_bytes -= image.nbytes

    def __len__(self) -> int:
        return len(self._images)


@dataclass(frozen=True)
class SplitSources:
    """A data set as it was found: three sources, and what there is to say about them.

    Attributes:
        train: what is trained on.
        validation: what is looked at while training.
        test: what is looked at once, at the end; may be empty.
        notes: sentences for the user about what was decided for them.
        skipped: files that could not be read and were left out.
    """

    train: ImageSource
    validation: ImageSource
    test: ImageSource
    notes: list[str] = field(default_factory=list)
    skipped: list[BrokenImage] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        parts: Mapping[SplitName, ImageSource],
        notes: Sequence[str] = (),
        skipped: Sequence[BrokenImage] = (),
    ) -> "SplitSources":
        """From a mapping with all three splits."""
        return cls(parts["train"], parts["validation"], parts["test"], list(notes), list(skipped))
