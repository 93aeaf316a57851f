"""Images out of the files of a prepared TFDS data set, all at once or one by one."""

import io
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from builders.errors import UserError
from builders.image_reader import BrokenImage, as_array, open_image
from builders.sources import ArraySource, ImageSource, Progress, Size
from constants.data import DECODE_THREADS_MAX, TFDS_SIZE_SAMPLE

_BATCH_RECORDS = 1024  # read at once from a tfrecord file, and decoded between two progress calls
_SMALL_IMAGE_BYTES = 64 * 1024


class TfdsSource:
    """One TFDS split, decoded on demand.

    Args:
        records: serialized examples by index.
        image_of: takes the encoded image out of a serialized example.
        channels: C of the arrays handed out.
        prefix: names are this and the index.
        size: height and width where the data set's description fixes them.
    """

    def __init__(
        self,
        records: Sequence[Any],
        image_of: Callable[[Any], bytes],
        *,
        channels: int,
        prefix: str,
        size: Size | None,
    ) -> None:
        self._records = records
        self._image_of = image_of
        self._channels = channels
        self._prefix = prefix
        self._size = size
        self._lock = threading.Lock()

    @property
    def channels(self) -> int:
        return self._channels

    def __len__(self) -> int:
        return len(self._records)

    def encoded(self, index: int) -> bytes:
        """The image file stored in record `index`."""
        with self._lock:  # the reader opens its files at the first access, without a lock
            record = self._records[index]
        return self._image_of(record)

    def __getitem__(self, index: int) -> np.ndarray:
        image = open_image(self.encoded(index), name=self.name(index), upright=False)
        return as_array(image, self._channels)

    def name(self, index: int) -> str:
        return f"{self._prefix} {index}"

    def size(self, index: int) -> Size | None:
        return self._size


class RecordReader:
    """Reads one image feature of a prepared data set.

    Args:
        builder: a prepared `tfds.core.DatasetBuilder`.
        name: what to call the data set.
        key: the image's key in the records.
        shape: the feature's shape (H, W, C), None where it is not fixed.
        channels: C of the arrays handed out.

    Raises:
        UserError: the files are in a format that is not understood.
    """

    def __init__(
        self,
        builder: Any,
        name: str,
        key: str,
        shape: tuple[int | None, int | None, int | None],
        channels: int,
    ) -> None:
        import tensorflow as tf

        self._builder = builder
        self._name = name
        self._key = key
        self._size = None if shape[0] is None or shape[1] is None else (shape[0], shape[1])
        self._stored_channels = shape[2] or None  # 0 also means: see the image
        self._channels = channels
        self._parse = tf.train.Example.FromString
        self._colour_example: str | None = None
        self._formats = {one.value for one in builder.info.available_file_formats()}
        if not self._formats & {"array_record", "tfrecord"}:
            raise UserError(
                f"{name}: prepared as {', '.join(sorted(self._formats))}, which is not read here; "
                "prepare it as array_record or tfrecord"
            )

    def bytes_per_image(self, rows: Mapping[str, np.ndarray]) -> float:
        """Decoded size of an image: exact where the size is fixed, else the mean of a sample.

        Args:
            rows: the rows of each part that are wanted; the sample is taken from the first.
        """
        if self._size is not None:
            return self._size[0] * self._size[1] * self._channels
        part = next(iter(rows))
        areas = []
        for _, record in self._read(part, rows[part][:TFDS_SIZE_SAMPLE]):
            try:
                with Image.open(io.BytesIO(self._image_of(record))) as image:
                    areas.append(image.width * image.height)
            except UnidentifiedImageError:
                continue  # named and left out when it is its turn to be decoded
        return float(np.mean(areas)) * self._channels if areas else 0.0

    def load(
        self,
        part: str,
        rows: np.ndarray,
        skipped: list[BrokenImage],
        progress: Progress | None,
    ) -> tuple[ImageSource, np.ndarray]:
        """Decodes images into memory.

        Args:
            part: TFDS split.
            rows: which of its images, ascending.
            skipped: where images that cannot be decoded are added.
            progress: called from time to time.

        Returns:
            The images, and the row of each.
        """
        names: list[str] = []
        kept: list[int] = []
        images: Any = []
        if self._size is not None:
            images = np.empty((len(rows), *self._size, self._channels), np.uint8)
        for row, outcome in self._outcomes(part, rows, progress):
            if isinstance(outcome, BrokenImage):
                skipped.append(outcome)
                continue
            if self._size is None:
                images.append(outcome)
            else:
                images[len(kept)] = outcome
            kept.append(row)
            names.append(f"{part} {row}")
        source = ArraySource(images[: len(kept)], names, channels=self._channels)
        return source, np.array(kept, np.int64)

    def check_random_access(self, decoded_bytes: float, cache_bytes: int) -> None:
        """Raises a UserError that says what to do when the files can only be read in order."""
        if "array_record" in self._formats:
            return
        raise UserError(
            f"{self._name}: decoded it takes about {decoded_bytes / 2**20:.0f} MiB, over "
            f"dataset.cache_mebibytes ({cache_bytes / 2**20:.0f}), and it is prepared as tfrecord, "
            "which cannot be read at random places. Prepare it as array_record in another "
            f"TFDS_DATA_DIR (tfds build {self._name} --file_format=array_record), allow more "
            "memory, or set max_images"
        )

    def random_access(self, part: str) -> TfdsSource:
        """A TFDS split in array_record files, read on demand."""
        return TfdsSource(
            self._array_records(part),
            self._image_of,
            channels=self._channels,
            prefix=f"{self._name} {part}",
            size=self._size,
        )

    def colour_example(self, sources: Mapping[str, ImageSource]) -> str | None:
        """Name of an image in colour: by the feature's shape, else by looking at images.

        Of images read on demand only the first of each split is looked at.
        """
        if self._stored_channels is not None:
            return None if self._stored_channels == 1 else f"its feature {self._key}"
        for source in sources.values():
            if isinstance(source, TfdsSource) and len(source) and self._colour_example is None:
                self._decode(source.encoded(0), source.name(0))
        return self._colour_example

    def _outcomes(
        self, part: str, rows: np.ndarray, progress: Progress | None
    ) -> Iterator[tuple[int, np.ndarray | BrokenImage]]:
        # Small images are decoded one after the other: their decoding is all Python, which
        # threads only slow down.
        small = self.bytes_per_image({part: rows}) < _SMALL_IMAGE_BYTES
        threads = 1 if small else min(DECODE_THREADS_MAX, os.cpu_count() or 1)
        done = 0
        with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
            for chunk in _chunks(self._read(part, rows)):
                encoded = [self._image_of(record) for _, record in chunk]
                names = [f"{self._name} {part} {row}" for row, _ in chunk]
                decode = map if small else pool.map
                outcomes = decode(self._decode, encoded, names)
                yield from zip((row for row, _ in chunk), outcomes, strict=True)
                done += len(chunk)
                if progress is not None:
                    progress(f"reading {self._name} {part}", done, len(rows))

    def _decode(self, encoded: bytes, name: str) -> np.ndarray | BrokenImage:
        try:
            image = open_image(encoded, name=name, upright=False)
        except BrokenImage as broken:
            return broken
        if self._size is not None and (image.height, image.width) != self._size:
            return BrokenImage(
                name, f"{image.height}x{image.width} pixels, {self._size} by its description"
            )
        if self._colour_example is None and image.mode in {"RGB", "RGBA"}:
            self._colour_example = name
        return as_array(image, self._channels)

    def _image_of(self, record: Any) -> bytes:
        return self._parse(bytes(record)).features.feature[self._key].bytes_list.value[0]

    def _read(self, part: str, rows: np.ndarray) -> Iterator[tuple[int, Any]]:
        """Yields (row, serialized example) for the rows wanted, which ascend."""
        if "array_record" in self._formats:
            records = self._array_records(part)
            for row in rows.tolist():
                yield row, records[row]
            return
        import tensorflow as tf

        wanted = iter(rows.tolist())
        following = next(wanted, None)
        files = [str(path) for path in self._builder.info.splits[part].filepaths]
        row = 0
        for batch in tf.data.TFRecordDataset(files).batch(_BATCH_RECORDS).as_numpy_iterator():
            for record in batch:
                if following is None:
                    return
                if row == following:
                    yield row, record
                    following = next(wanted, None)
                row += 1

    def _array_records(self, part: str) -> Sequence[Any]:
        import tensorflow_datasets as tfds

        try:
            return self._builder.as_data_source(
                split=part,
                deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES,
                file_format="array_record",
            )
        except ImportError as error:
            raise UserError(
                f"{self._name}: prepared as array_record, which needs a package: {error}"
            ) from error


def _chunks(items: Iterator[tuple[int, Any]]) -> Iterator[list[tuple[int, Any]]]:
    while chunk := list(itertools.islice(items, _BATCH_RECORDS)):
        yield chunk
