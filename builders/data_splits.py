"""A data set ready for use: three sources, and how batches are made of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from builders.clips import ClipSource
from builders.errors import UserError
from builders.folder_source import named
from builders.image_reader import BrokenImage
from builders.loader import BatchLoader
from builders.shard import Shard
from builders.sources import ImageSource, JoinedSource
from builders.splits import SPLIT_NAMES, SplitName
from builders.transforms import ImageTransform
from constants.data import PREFETCH_BATCHES, WORKERS

_TRAINING = ImageTransform(training=True)
_EVALUATION = ImageTransform()


@dataclass(frozen=True)
class Splits:
    """What `DatasetBuilder.build` returns.

    Attributes:
        train: what is trained on.
        validation: what is looked at while training.
        test: what is looked at once, at the end; may be empty.
        notes: sentences for the user about what was decided for them.
        skipped: files that could not be read and were left out.
        name: the data set, as the user named it.
        train_transform: what is done to images in training.
        evaluation_transform: what is done to images otherwise; nothing random.
        seed: of order and augmentation.
        workers: threads that make batches.
    """

    train: ImageSource
    validation: ImageSource
    test: ImageSource
    notes: list[str] = field(default_factory=list)
    skipped: list[BrokenImage] = field(default_factory=list)
    name: str = "data set"
    train_transform: ImageTransform = _TRAINING
    evaluation_transform: ImageTransform = _EVALUATION
    seed: int = 0
    workers: int = WORKERS

    def select(self, split: SplitName | Literal["all"]) -> ImageSource:
        """The images of a split, or of all three one after the other.

        Raises:
            UserError: there is no such split, or it has no images.
        """
        if split == "all":
            return JoinedSource([self.train, self.validation, self.test])
        if split not in SPLIT_NAMES:
            raise UserError(f"split {split!r}: one of {', '.join(SPLIT_NAMES)}, all expected")
        source: ImageSource = getattr(self, split)
        if not len(source):
            raise UserError(f"{self.name}: its {split} split has no images")
        return source

    def loader(
        self,
        split: SplitName | Literal["all"],
        batch_size: int,
        *,
        training: bool = False,
        prefetch: int = PREFETCH_BATCHES,
        shard: Shard | None = None,
    ) -> BatchLoader:
        """Batches of a split.

        Args:
            split: "train", "validation", "test" or "all".
            batch_size: images a batch.
            training: shuffled and augmented, or else in order and cropped from the middle.
            prefetch: batches made ahead.
            shard: which rows of every batch are made in this process; None for all.

        Raises:
            UserError: there is no such split, or it has no images.
        """
        return BatchLoader(
            self.select(split),
            batch_size,
            transform=self.train_transform if training else self.evaluation_transform,
            shuffle=training,
            seed=self.seed,
            workers=self.workers,
            prefetch=prefetch,
            shard=shard,
        )

    def describe(self) -> list[str]:
        """Lines for a summary: counts, sizes, what is done to images, notes, skipped files."""
        counts = ", ".join(f"{len(getattr(self, split))} {split}" for split in SPLIT_NAMES)
        sources = [self.train, self.validation, self.test]
        channels = {1: "1 channel", 3: "3 channels", 4: "4 channels"}[self.train.channels]
        what = "clips" if isinstance(self.train, ClipSource) else "images"
        lines = [
            f"{self.name}: {counts} {what}, {self._sizes(sources)}, {channels}",
            f"each image: {'; '.join(self._steps())}",
        ]
        lines += self.notes
        if self.skipped:
            lines.append(f"left out, cannot be read: {len(self.skipped)}")
            lines += [f"  {line}" for line in named(self.skipped)]
        return lines

    def _steps(self) -> list[str]:
        transform = self.train_transform
        steps = []
        if transform.resize is not None:
            steps.append(f"resized to {_text(transform.resize)}")
        if transform.crop is not None:
            steps.append(
                f"cropped to {_text(transform.crop)}, at random in training, "
                "from the middle otherwise"
            )
        if transform.flip:
            steps.append("mirrored half of the time in training")
        return steps or ["used as it is"]

    @staticmethod
    def _sizes(sources: Sequence[ImageSource]) -> str:
        sizes = {source.size(index) for source in sources for index in range(len(source))}
        known = sorted(size for size in sizes if size is not None)
        if len(known) < len(sizes):
            return "of sizes known when decoded"
        if len(known) == 1:
            return f"{_text(known[0])} pixels (height x width)"
        heights, widths = zip(*known, strict=True)
        return (
            f"{min(heights)} to {max(heights)} pixels high and {min(widths)} to {max(widths)} wide"
        )


def _text(size: Sequence[int | None]) -> str:
    return "x".join("any" if side is None else str(side) for side in size)
