"""The test images of a study, the same for all of its models."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from builders.benchmarking import open_photos
from builders.channels import convert_channels
from builders.data_splits import Splits
from builders.errors import UserError
from builders.progress import ProgressReport
from builders.sources import ImageSource
from builders.spec import Spec
from builders.splits import evenly
from builders.tiled_source import TiledSource
from builders.training import open_splits
from builders.transforms import ImageTransform
from evaluation.benchmark_run import Photo
from evaluation.codecs import CodecError, Pixels

Load = Callable[[], Pixels]


@dataclass(frozen=True)
class TestImages:
    """What is measured.

    Attributes:
        photos: as the benchmark takes them: gray ones as three equal channels.
        channels: of the models' images, 1 or 3.
        path: of the folder, the image or the data set they are from.
        split: of the data set; None for a folder or an image of their own.
    """

    __test__ = False  # pytest: no test, for all its name

    photos: list[Photo]
    channels: int
    path: Path
    split: str | None


def test_images(specs: Mapping[str, Spec], given: Path | None, count: int | None) -> TestImages:
    """The images that all specs of a study are measured on.

    Without `given`, those of the test split: converted and resized as the spec says, and cropped
    only where its input has a fixed size.

    Args:
        specs: by name, at least one.
        given: a folder or an image instead of the test split.
        count: at most so many, evenly spread; None for all.

    Raises:
        UserError: there are none, or the specs see different ones.
    """
    channels = _channels(specs)
    if given is not None:
        photos = open_photos(given, "--test")
        chosen = [photos[row] for row in evenly(np.arange(len(photos)), count)]
        taken = _taken([(photo.name, photo.load) for photo in chosen], channels)
        return TestImages(taken, channels, given, None)
    opened: dict[str, list[Photo]] = {}
    of_spec = {}
    for name, spec in specs.items():
        key = json.dumps([spec.resolved()["dataset"], spec.input_shape])
        if key not in opened:
            opened[key] = _of_split(spec, count, channels)
        of_spec[name] = opened[key]
    _check_same(of_spec)
    first = next(iter(specs.values()))
    photos = next(iter(of_spec.values()))
    return TestImages(photos, channels, Path(first.dataset.name), "test")


def _channels(specs: Mapping[str, Spec]) -> int:
    found = {name: spec.input_shape[-1] for name, spec in specs.items()}
    for name, channels in found.items():
        if channels not in (1, 3):
            raise UserError(f"{name}: files hold images of 1 or 3 channels, its have {channels}")
    if len(set(found.values())) > 1:
        words = ", ".join(f"{name} {channels}" for name, channels in found.items())
        raise UserError(f"the specs take images of different channels: {words}; study them apart")
    return next(iter(found.values()))


def _of_split(spec: Spec, count: int | None, channels: int) -> list[Photo]:
    splits = open_splits(spec)
    if not len(splits.test):
        raise UserError(f"{splits.name}: its test split has no images; --test names some")
    source, transform = _whole(splits, spec)

    def loader(row: int) -> Load:
        return lambda: transform(source[row], name=source.name(row))

    rows = [int(row) for row in evenly(np.arange(len(source)), count)]
    return _taken([(source.name(row), loader(row)) for row in rows], channels)


def _whole(splits: Splits, spec: Spec) -> tuple[ImageSource, ImageTransform]:
    """Test images and what is done to them: as in validation, but sides that are free stay whole.

    Tiles of whole images in the test split give those; tiles of one image, which also has tiles to
    train on, stay tiles.
    """
    transform = splits.evaluation_transform
    height, width, _ = spec.input_shape
    if height is not None and width is not None:
        return splits.test, transform
    source = splits.test.whole if isinstance(splits.test, TiledSource) else splits.test
    resize = spec.dataset.resize
    sides = transform.crop or (None, None)
    crop = None if height is None else sides[0], None if width is None else sides[1]
    return source, ImageTransform(
        channels=transform.channels,
        resize=None if resize is None else (resize[0], resize[1]),
        crop=None if crop == (None, None) else crop,
    )


def _taken(images: Sequence[tuple[str, Load]], channels: int) -> list[Photo]:
    """Images as photos that are known by their pixels."""
    with ProgressReport() as progress:
        photos = []
        for done, (name, load) in enumerate(images, 1):
            photos.append(_photo(name, load, channels))
            progress("reading test images", done, len(images))
    return photos


def _photo(name: str, load: Load, channels: int) -> Photo:
    def seen() -> Pixels:
        pixels = convert_channels(load(), channels)
        return np.ascontiguousarray(np.repeat(pixels, 3, axis=2) if channels == 1 else pixels)

    try:
        pixels = seen()
        what = json.dumps(pixels.shape).encode() + pixels.tobytes()
    except CodecError:  # it is reported when it is measured
        what = name.encode()
    return Photo(name, hashlib.sha256(what).hexdigest(), seen)


def _check_same(of_spec: Mapping[str, Sequence[Photo]]) -> None:
    seen = {name: [(p.name, p.digest) for p in photos] for name, photos in of_spec.items()}
    first = next(iter(seen.values()))
    if all(each == first for each in seen.values()):
        return
    lines = [f"  {name}: {_described(photos)}" for name, photos in of_spec.items()]
    raise UserError(
        "\n".join(
            [
                "the specs see different test images, so what they make of them can't be compared:",
                *lines,
                "give them the same dataset section and input size, or name images with --test",
            ]
        )
    )


def _described(photos: Sequence[Photo]) -> str:
    sizes: dict[Any, None] = {}
    for photo in photos:
        sizes[photo.load().shape[:2]] = None
    words = [f"{height}x{width}" for height, width in list(sizes)[:3]]
    more = ", ..." if len(sizes) > 3 else ""
    count = f"{len(photos)} image{'s' if len(photos) > 1 else ''} from {photos[0].name} on"
    return f"{count}, {', '.join(words)}{more} (height x width)"
