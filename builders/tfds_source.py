"""Any image data set of TensorFlow Datasets as sources.

Images are taken out of the records as the files they were stored as and decoded by
`builders.image_reader`: the same pixels on every machine, and a damaged record names itself.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from builders.channels import Color, check_found
from builders.errors import UserError
from builders.image_reader import BrokenImage
from builders.sources import ImageSource, Progress, SplitSources, SubsetSource
from builders.splits import SPLIT_NAMES, SplitName, exact_split
from builders.tfds_prepare import prepared_builder
from builders.tfds_records import RecordReader
from constants.data import SPLIT_FOLDERS

_ALIASES = {**SPLIT_FOLDERS, "validation": (*SPLIT_FOLDERS["validation"], "dev")}


def open_tfds(
    name: str,
    channels: int,
    *,
    color: Color | None = None,
    validation_fraction: float,
    test_fraction: float,
    max_images: int | None = None,
    cache_bytes: int,
    progress: Progress | None = None,
) -> SplitSources:
    """Opens a TFDS data set.

    Splits are those of the data set. A missing validation or test split is cut from train (by
    hash of the index, `builders.splits.exact_split`), so the data set's own test split is never
    trained on. Decoded images are kept in memory when they fit; otherwise the files must allow
    random access.

    Args:
        name: as `tfds.builder` takes it.
        channels: C of the spec's input, 1, 3 or 4.
        color: the dataset section's `color`.
        validation_fraction: share of train for a missing validation split.
        test_fraction: share of train for a missing test split.
        max_images: take the first so many images of each split.
        cache_bytes: bytes that decoded images may take.
        progress: called as images are decoded.

    Returns:
        The three splits.

    Raises:
        UserError: no such data set, no train split, not one image feature, no network, too large
            for its files, or colours and channels do not go together.
        RunError: downloading or preparing failed on the way.
    """
    builder = prepared_builder(name)
    key, feature = find_image_feature(builder.info.features, name)
    parts, notes = _choose(name, builder.info.splits, validation_fraction, test_fraction)
    if max_images is not None:
        parts = {split: (part, rows[:max_images]) for split, (part, rows) in parts.items()}
    wanted: dict[str, np.ndarray] = {}
    for part, rows in parts.values():
        wanted[part] = np.union1d(wanted.get(part, rows[:0]), rows)
    reader = RecordReader(builder, name, key, feature.shape, channels)
    decoded_bytes = sum(map(len, wanted.values())) * reader.bytes_per_image(wanted)
    skipped: list[BrokenImage] = []
    sources: dict[str, ImageSource] = {}
    kept: dict[str, np.ndarray] = {}  # rows of each part in the order of its source
    if decoded_bytes <= cache_bytes:
        for part, rows in wanted.items():
            sources[part], kept[part] = reader.load(part, rows, skipped, progress)
    else:
        reader.check_random_access(decoded_bytes, cache_bytes)
        for part in wanted:
            sources[part] = reader.random_access(part)
            kept[part] = np.arange(len(sources[part]))
    check_found(name, channels=channels, color=color, colour_example=reader.colour_example(sources))
    splits: dict[SplitName, ImageSource] = {}
    for split in SPLIT_NAMES:
        part, rows = parts[split]
        splits[split] = SubsetSource(sources[part], np.flatnonzero(np.isin(kept[part], rows)))
    return SplitSources.of(splits, notes, skipped)


def find_image_feature(features: Any, name: str) -> tuple[str, Any]:
    """Finds the feature that holds the image: "image", or else the only one of its kind.

    Args:
        features: the data set's `FeaturesDict`.
        name: what to call the data set.

    Returns:
        Its key in the records ("a/b" for b inside a), and the feature.

    Raises:
        UserError: there is none, there are several, or its values are no levels of brightness.
    """
    import tensorflow_datasets as tfds

    found = dict(_image_features(features, ""))
    if "image" in found:
        found = {"image": found["image"]}
    if not found:
        raise UserError(
            f"{name}: this TFDS data set has no image feature, only {', '.join(features)}"
        )
    if len(found) > 1:
        raise UserError(
            f"{name}: this TFDS data set has several image features ({', '.join(sorted(found))}) "
            'and none is called "image"; export the one you want into a folder'
        )
    key, feature = next(iter(found.items()))
    if feature.np_dtype == np.float32 or isinstance(feature, tfds.features.LabeledImage):
        raise UserError(
            f"{name}: the image feature {key} holds labels or floating-point values, not pictures"
        )
    return key, feature


def _image_features(features: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    import tensorflow_datasets as tfds

    for key, feature in features.items():
        if isinstance(feature, tfds.features.FeaturesDict):
            yield from _image_features(feature, f"{prefix}{key}/")
        elif isinstance(feature, tfds.features.Image) and (
            key == "image" or not isinstance(feature, tfds.features.LabeledImage)
        ):
            yield prefix + key, feature


def _choose(
    name: str, infos: Any, validation_fraction: float, test_fraction: float
) -> tuple[dict[SplitName, tuple[str, np.ndarray]], list[str]]:
    """Which TFDS split, and which of its images, each of our splits is made of."""
    own = {
        split: next((alias for alias in _ALIASES[split] if alias in infos), None)
        for split in SPLIT_NAMES
    }
    train = own["train"]
    if train is None:
        raise UserError(
            f"{name}: this TFDS data set has no train split, only {', '.join(sorted(infos))}"
        )
    count = infos[train].num_examples
    assigned = np.full(count, "train", dtype=object)
    missing = {split for split in ("validation", "test") if own[split] is None}
    notes = []
    if missing:
        shares = [
            validation_fraction if "validation" in missing else 0.0,
            test_fraction if "test" in missing else 0.0,
        ]
        assigned[:] = list(exact_split([f"{i}" for i in range(count)], *shares).values())
        cut = ", ".join(f"{(assigned == s).sum()} for {s}" for s in sorted(missing, reverse=True))
        notes.append(f"{name}: cut from its train split: {cut}")
    parts: dict[SplitName, tuple[str, np.ndarray]] = {}
    for split in SPLIT_NAMES:
        part = own[split]
        if part is None or split == "train":
            parts[split] = (train, np.flatnonzero(assigned == split))
        else:
            parts[split] = (part, np.arange(infos[part].num_examples))
    unused = sorted(set(infos) - set(own.values()))
    if unused:
        notes.append(f"{name}: splits not used: {', '.join(unused)}")
    return parts, notes
