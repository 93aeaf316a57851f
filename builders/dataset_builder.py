"""From the dataset section of a spec to images for training, validation and testing."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from builders.channels import check_setting
from builders.data_splits import Splits
from builders.embedded import EMBEDDED_NAMES, open_digits, open_photos
from builders.errors import UserError
from builders.file_search import FoundFiles, search
from builders.file_sets import open_image_folder, open_videos
from builders.size_plan import plan_sizes
from builders.sources import Progress, Size, SplitSources
from builders.splits import check_fractions
from builders.tfds_source import open_tfds
from builders.tiled_source import in_tiles, open_one_image
from builders.transforms import ImageTransform
from constants.data import DIGITS_SIDE, IMAGE_SUFFIXES, PHOTO_TILE_SIDE, VIDEO_SUFFIXES

if TYPE_CHECKING:
    from builders.sections import DatasetSection


class DatasetBuilder:
    """Finds the data set that a spec names and makes it fit the spec's input.

    The name is, in this order: a TFDS name when `tfds` is set; an existing folder of images or of
    videos; a video file; an embedded set, `digits` or `photos`.

    Args:
        section: the spec's dataset section.
        input_shape: (H, W, C) of the spec's input, H and W None where they are free.
        seed: of the order and the augmentation of training batches. Splits do not depend on it.
        report: called while images are read: what is done, how many are done, how many in all.

    Raises:
        UserError: the channels are none that images have, or `color` contradicts them.
    """

    def __init__(
        self,
        section: "DatasetSection",
        input_shape: tuple[int | None, int | None, int],
        *,
        seed: int = 0,
        report: Progress | None = None,
    ) -> None:
        height, width, channels = input_shape
        check_setting(channels, section.color)
        check_fractions(section.validation_fraction, section.test_fraction)
        self._section = section
        self._input_size = (height, width)
        self._channels = channels
        self._seed = seed
        self._report = report

    def build(self) -> Splits:
        """Opens the data set: reads it, splits it, and plans what is done to each image.

        Returns:
            The splits, with their notes and the files that were left out.

        Raises:
            UserError: nothing has that name, nothing can be read, or what can be read does not
                fit the spec.
            RunError: a download failed on the way.
        """
        section = self._section
        found = self._open()
        for split in ("train", "validation"):
            if not len(getattr(found, split)):
                if section.clip_frames > 1:
                    raise UserError(
                        f"dataset.clip_frames: no {section.clip_frames} consecutive frames of a "
                        f"video are in the {split} split of {section.name}: use fewer, or more "
                        "video"
                    )
                reason = "".join(f"\n  {broken}" for broken in found.skipped[:3])
                raise UserError(f"{section.name}: no image for {split} can be read{reason}")
        if not len(found.test) and section.test_fraction > 0:
            found.notes.append(
                "no image for the test split: a larger test_fraction, more images, or a test "
                "folder gives it some"
            )
        plan = plan_sizes(
            [found.train, found.validation, found.test],
            input_size=self._input_size,
            resize=None if section.tile else _pair(section.resize),  # done before they were cut
            crop=_pair(section.crop),
        )
        transforms = [
            ImageTransform(
                channels=self._channels,
                resize=plan.resize,
                crop=plan.crop,
                flip=section.flip,
                training=training,
            )
            for training in (True, False)
        ]
        return Splits(
            found.train,
            found.validation,
            found.test,
            notes=found.notes + plan.notes,
            skipped=found.skipped,
            name=section.name,
            train_transform=transforms[0],
            evaluation_transform=transforms[1],
            seed=self._seed,
            workers=section.workers,
        )

    def _open(self) -> SplitSources:
        section = self._section
        if section.tfds:
            self._refuse_video_settings("a TFDS data set")
            self._refuse_tile("a TFDS data set")
            return open_tfds(
                section.name,
                self._channels,
                color=section.color,
                validation_fraction=section.validation_fraction,
                test_fraction=section.test_fraction,
                max_images=section.max_images,
                cache_bytes=section.cache_mebibytes << 20,
                progress=self._report,
            )
        path = Path(section.name).expanduser()
        if path.is_dir():
            opened = self._open_folder(path)
            if section.name in EMBEDDED_NAMES:
                opened.notes.append(f"the folder {path.resolve()}, not the embedded {path.name}")
            return opened
        if path.is_file():
            if path.suffix.lower() in VIDEO_SUFFIXES:
                return self._open_videos(path.parent, [path.name])
            if path.suffix.lower() in IMAGE_SUFFIXES:
                return self._open_tiles(path)
            raise UserError(
                f"{path}: a folder of images, a video or a folder of videos is needed, this is a "
                f"single file ending in {path.suffix or 'nothing'} (videos end in "
                f"{', '.join(VIDEO_SUFFIXES)})"
            )
        if section.name in EMBEDDED_NAMES:
            return self._open_embedded()
        raise UserError(_not_found(section.name))

    def _open_folder(self, folder: Path) -> SplitSources:
        section = self._section
        found = search(folder)
        if found.images and found.videos:
            raise UserError(
                f"{folder}: has both images ({len(found.images)}, first {found.images[0]}) and "
                f"videos ({len(found.videos)}, first {found.videos[0]}); name a folder with one "
                "kind"
            )
        if found.videos:
            return self._open_videos(folder, found.videos)
        if not found.images:
            raise UserError(_empty(folder, found))
        self._refuse_video_settings("a folder of images")
        if section.tile is not None and len(found.images) == 1:
            return self._open_tiles(folder / found.images[0])
        opened = open_image_folder(
            folder,
            found.images,
            self._channels,
            color=section.color,
            validation_fraction=section.validation_fraction,
            test_fraction=section.test_fraction,
            max_images=section.max_images,
            cache_bytes=section.cache_mebibytes << 20,
            progress=self._report,
        )
        tile = _pair(section.tile)
        if tile is None:
            return opened
        return in_tiles(opened, tile, _pair(section.resize), section.cache_mebibytes << 20)

    def _open_tiles(self, path: Path) -> SplitSources:
        section = self._section
        self._refuse_video_settings("an image")
        if section.tile is None:
            raise UserError(
                f"{path}: a single image has nothing to be validated on, unless it is cut into "
                'tiles: set dataset.tile, for example "tile": [256, 256]'
            )
        return open_one_image(
            path,
            self._channels,
            (section.tile[0], section.tile[1]),
            resize=_pair(section.resize),
            color=section.color,
            validation_fraction=section.validation_fraction,
            test_fraction=section.test_fraction,
            cache_bytes=section.cache_mebibytes << 20,
            progress=self._report,
        )

    def _open_videos(self, folder: Path, names: list[str]) -> SplitSources:
        section = self._section
        self._refuse_tile("a video")
        return open_videos(
            folder,
            names,
            self._channels,
            every_nth=section.every_nth,
            clip_frames=section.clip_frames,
            color=section.color,
            validation_fraction=section.validation_fraction,
            test_fraction=section.test_fraction,
            max_images=section.max_images,
            cache_bytes=section.cache_mebibytes << 20,
            progress=self._report,
        )

    def _open_embedded(self) -> SplitSources:
        section = self._section
        self._refuse_video_settings("an embedded data set")
        self._refuse_tile("an embedded data set")
        digits = section.name == "digits"
        opener = open_digits if digits else open_photos
        return opener(
            self._digits_size() if digits else self._tile_size(),
            self._channels,
            color=section.color,
            validation_fraction=section.validation_fraction,
            test_fraction=section.test_fraction,
            max_images=section.max_images,
        )

    def _digits_size(self) -> Size:
        """Digits are enlarged to what is asked for at once, not twice."""
        wanted = _pair(self._section.resize) or _pair(self._section.crop)
        return wanted or (self._input_size[0] or DIGITS_SIDE, self._input_size[1] or DIGITS_SIDE)

    def _tile_size(self) -> Size:
        """Tiles have the size that is needed; before a resize, one of their own."""
        if self._section.resize is not None:
            return PHOTO_TILE_SIDE, PHOTO_TILE_SIDE
        return _pair(self._section.crop) or (
            self._input_size[0] or PHOTO_TILE_SIDE,
            self._input_size[1] or PHOTO_TILE_SIDE,
        )

    def _refuse_tile(self, what: str) -> None:
        if self._section.tile is not None:
            raise UserError(
                f"dataset.tile: is for image files, {self._section.name} is {what} (see crop)"
            )

    def _refuse_video_settings(self, what: str) -> None:
        name = self._section.name
        if self._section.every_nth != 1:
            raise UserError(f"dataset.every_nth: is for videos, {name} is {what} (see max_images)")
        if self._section.clip_frames != 1:
            raise UserError(f"dataset.clip_frames: clips are of videos, {name} is {what}")


def _pair(size: Sequence[int] | None) -> Size | None:
    return None if size is None else (size[0], size[1])


def _empty(folder: Path, found: FoundFiles) -> str:
    others = ", ".join(f"{count} {suffix}" for suffix, count in found.others.most_common(5))
    seen = f"only files of other kinds: {others}" if others else "no files at all"
    return (
        f"{folder}: no images and no videos in this folder or below it, {seen}\n"
        f"  images end in {' '.join(IMAGE_SUFFIXES)}\n  videos end in {' '.join(VIDEO_SUFFIXES)}"
    )


def _not_found(name: str) -> str:
    path = Path(name).expanduser()
    near = difflib.get_close_matches(name, EMBEDDED_NAMES, n=1, cutoff=0.6)
    if path.parent.is_dir():
        siblings = {
            one.name: str(one)
            for one in path.parent.iterdir()
            if not one.name.startswith(".")
            and (one.is_dir() or one.suffix.lower() in VIDEO_SUFFIXES)
        }
        near += [siblings[one] for one in difflib.get_close_matches(path.name, siblings, n=3)]
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    where = "" if path.parent.is_dir() else f" ({path.parent} does not exist either)"
    return (
        f"dataset {name!r}: no such folder or video{where}, and not one of the embedded "
        f"{', '.join(EMBEDDED_NAMES)}{hint} (names of TensorFlow Datasets need tfds: true)"
    )
