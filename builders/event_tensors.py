"""Images, histograms and texts as the tensors that TensorBoard's plugins read."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from tensorboard.compat.proto import tensor_pb2, tensor_shape_pb2, types_pb2


def image_tensor(image: np.ndarray) -> tensor_pb2.TensorProto:
    """The tensor of the images plugin: width, height, then one PNG per image, all as strings.

    Args:
        image: uint8 in [0, 255], shape (H, W), (H, W, C) or (B, H, W, C) with C from 1 to 4.

    Raises:
        TypeError: when `image` is not uint8.
        ValueError: when it has another shape, or no pixels.
    """
    batch = _as_image_batch(image)
    _, height, width, _ = batch.shape
    strings = [str(width).encode(), str(height).encode(), *map(_png, batch)]
    return _string_tensor(strings, shape=(len(strings),))


def histogram_tensor(values: np.ndarray, buckets: int) -> tensor_pb2.TensorProto:
    """The tensor of the histograms plugin: float64 rows of left edge, right edge and count.

    Args:
        values: finite float64, shape (N,), N > 0.
        buckets: number of equally wide buckets from the least to the greatest value.
    """
    rows = _bucket_rows(values, buckets)  # (buckets, 3)
    return tensor_pb2.TensorProto(
        dtype=types_pb2.DT_DOUBLE,
        tensor_shape=_shape_proto(rows.shape),
        tensor_content=rows.astype("<f8").tobytes(),
    )


def text_tensor(markdown: str) -> tensor_pb2.TensorProto:
    """The tensor of the text plugin: one string."""
    return _string_tensor([markdown.encode()], shape=())


def _as_image_batch(image: np.ndarray) -> np.ndarray:
    """Checks an image or a batch of images and gives it the shape (B, H, W, C)."""
    array = np.asarray(image)
    if array.dtype != np.uint8:
        raise TypeError(f"an image must be uint8 in [0, 255], found {array.dtype}")
    shape = array.shape
    if array.ndim == 2:
        array = array[np.newaxis, :, :, np.newaxis]
    elif array.ndim == 3:
        array = array[np.newaxis]
    if array.ndim != 4 or array.shape[-1] not in (1, 2, 3, 4) or array.size == 0:
        raise ValueError(
            "an image must have the shape (H, W), (H, W, C) or (B, H, W, C) with 1 to 4 channels, "
            f"found {shape}"
        )
    return array


def _png(image: np.ndarray) -> bytes:
    """Encodes (H, W, C) uint8 as PNG."""
    buffer = io.BytesIO()
    pixels = image[..., 0] if image.shape[-1] == 1 else image  # Pillow wants gray as (H, W)
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG")
    return buffer.getvalue()


def _bucket_rows(values: np.ndarray, buckets: int) -> np.ndarray:
    """Counts finite float64 values in equally wide buckets.

    Done here and not with `np.histogram`, which refuses a range too narrow to be split.

    Returns:
        float64 (buckets, 3): left edge, right edge, count. When all values are equal, every edge is
        that value and the last bucket holds the count, as TensorFlow's summaries have it.
    """
    least, greatest = values.min(), values.max()
    edges = np.linspace(least, greatest, buckets + 1)
    width = (greatest - least) / buckets
    if width > 0:
        index = np.minimum(((values - least) / width).astype(np.int64), buckets - 1)
    else:
        index = np.full(values.shape, buckets - 1)
    counts = np.bincount(index, minlength=buckets)
    return np.stack([edges[:-1], edges[1:], counts], axis=1)


def _shape_proto(shape: tuple[int, ...]) -> tensor_shape_pb2.TensorShapeProto:
    dims = [tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in shape]
    return tensor_shape_pb2.TensorShapeProto(dim=dims)


def _string_tensor(strings: list[bytes], shape: tuple[int, ...]) -> tensor_pb2.TensorProto:
    return tensor_pb2.TensorProto(
        dtype=types_pb2.DT_STRING, tensor_shape=_shape_proto(shape), string_val=strings
    )
