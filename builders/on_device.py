"""Where the training images lie: on the device, decoded once, or with the loader."""

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from builders.data_splits import Splits
from builders.errors import UserError
from builders.feed import EpochFeed
from builders.image_bank import ImageBank, bank_bytes, cut_images, fill_bank, known_sizes
from builders.plans import PlanLoader
from builders.shard import Shard
from builders.sources import Progress
from builders.spec import Spec


@dataclass(frozen=True)
class DeviceImages:
    """The training images on the device, for one size of batches.

    Attributes:
        arrays: pixels, starts and widths of a bank; what a compiled step is handed, which would
            otherwise hold them as a constant.
        sizes: height and width of every image, int (N, 2).
        nbytes: of the pixels.
        size: (height, width) of what plans cut; to be set for each feed.
    """

    arrays: tuple[Any, Any, Any]
    sizes: np.ndarray
    nbytes: int
    size: tuple[int, int]

    def cut(self, arrays: tuple[Any, Any, Any], plans: Any) -> Any:
        """Plans int32 (B, 4) -> images uint8 (B, h, w, C)."""
        return cut_images(*arrays, plans, self.size)


def training_feed(
    spec: Spec,
    splits: Splits,
    batch_size: int,
    image_shape: tuple[int | None, ...],
    report: Progress | None = None,
    held: DeviceImages | None = None,
    shard: Shard | None = None,
) -> EpochFeed:
    """The feed that `dataset.on_device` asks for; its `note` says what was decided.

    Args:
        spec: says how images are cut and where they lie.
        splits: its training images.
        batch_size: images a step.
        image_shape: (H, W, C) or (T, H, W, C), None where batches differ.
        report: called while images are collected.
        held: the images of an earlier feed of this split, prepared alike (channels and resize);
            they are not put on the device again.
        shard: which rows of every batch are made in this process; None for all.

    Raises:
        UserError: they are asked for on the device and can't be held there.
    """
    source = splits.select("train")
    wanted, note = _wanted(spec, splits)
    if not wanted:
        return EpochFeed(
            splits.loader("train", batch_size, training=True, shard=shard), image_shape, note=note
        )
    transform = splits.train_transform
    if held is None:
        held = _put(fill_bank(source, transform, report))
    images = replace(held, size=_cut_size(splits, held.sizes))
    plans = PlanLoader(
        source,
        images.sizes,
        batch_size,
        transform=transform,
        shuffle=True,
        seed=splits.seed,
        shard=shard,
    )
    note = (
        f"the {len(source)} training images are held on the device, "
        f"{images.nbytes / 2**20:,.1f} MiB; crops and flips are made there"
    )
    return EpochFeed(plans, image_shape, note=note, images=images)


def _wanted(spec: Spec, splits: Splits) -> tuple[bool, str]:
    """Whether images go on the device, and what there is to say where they don't."""
    section = spec.dataset
    asked = section.on_device
    if asked is False:
        return False, ""
    if keras.backend.backend() != "jax":
        note = (
            "dataset.on_device: has no effect under TensorFlow; the loader gives the same batches"
        )
        return False, note if asked else ""
    if asked or section.clip_frames > 1 or not has_accelerator():
        return bool(asked), ""  # clips with `true` are refused by the spec
    sizes = known_sizes(splits.train, splits.train_transform)
    if sizes is None:
        return False, "images stay with the loader: their sizes are known only when decoded"
    channels = splits.train_transform.channels or splits.train.channels
    needed = bank_bytes(sizes, channels)
    if needed > section.cache_mebibytes << 20:
        return False, (
            f"images stay with the loader: decoded they take {needed / 2**20:,.0f} MiB, "
            f"dataset.cache_mebibytes allows {section.cache_mebibytes:,}"
        )
    return True, ""


def has_accelerator() -> bool:
    """Whether JAX computes on something else than the processor."""
    import jax

    return bool(jax.default_backend() != "cpu")


def _cut_size(splits: Splits, sizes: np.ndarray) -> tuple[int, int]:
    """(height, width) of every batch.

    Raises:
        UserError: an image is too small, or they differ.
    """
    middle = replace(splits.train_transform, training=False)
    found: dict[tuple[int, int], str] = {}
    for size in sorted({(int(height), int(width)) for height, width in sizes}):
        first = int(np.flatnonzero((sizes == size).all(axis=1))[0])
        name = splits.train.name(first)
        cut = middle.cut(size, name=name)
        found[cut.height, cut.width] = name
    if len(found) > 1:
        (one, first_name), (two, second_name) = list(found.items())[:2]
        raise UserError(
            f"the images have different sizes ({first_name}: {one[0]}x{one[1]}, {second_name}: "
            f"{two[0]}x{two[1]}, height x width) and a batch needs equal ones; set dataset.crop"
        )
    return next(iter(found))


def _put(bank: ImageBank) -> DeviceImages:
    """Moves a bank to the device; to each of them where training is distributed."""
    import jax

    sharding = None
    distribution = keras.distribution.distribution()
    if distribution is not None:
        mesh = distribution.device_mesh
        sharding = keras.distribution.TensorLayout([], mesh).backend_layout
    try:
        arrays = jax.block_until_ready(
            jax.device_put((bank.pixels, bank.starts, bank.widths), sharding)
        )
    except RuntimeError as error:  # jaxlib's errors are of this class
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UserError(
            f"dataset.on_device: the training images, {bank.nbytes / 2**20:,.0f} MiB decoded, do "
            "not fit the device's memory: use false, or dataset.max_images"
        ) from None
    return DeviceImages(arrays, bank.sizes, bank.nbytes, size=(0, 0))
