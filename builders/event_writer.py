"""TensorBoard event files without TensorFlow: the same writer under every Keras backend.

Records are framed by the ``tensorboard`` package's own ``RecordWriter``. Its ``EventFileWriter`` is
not used on purpose: it reaches for ``tf.io.gfile``, so on a machine that has TensorFlow it imports
the whole of it (seconds, and a device probe) even while training runs under JAX.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2
from tensorboard.plugins.histogram import metadata as histogram_metadata
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.hparams import plugin_data_pb2 as hparams_pb2
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.summary.writer.record_writer import RecordWriter

from builders.event_tensors import histogram_tensor, image_tensor, text_tensor

_STEP_AFTER_EVERYTHING = 2**63 - 1
_FILE_PREFIX = "events.out.tfevents."


class EventWriter:
    """Writes scalars, images, histograms, text and hyperparameters for TensorBoard.

    Every opening makes a new event file in `logdir`, named so that TensorBoard reads it after the
    files that are already there. Within one tag, steps must grow: TensorBoard drops the points of a
    tag that lie at or after a step that is written later.

    Example:

    ```python
    with EventWriter("runs/resumed/tensorboard", purge_step=7) as writer:
        writer.hparams({"optimizer": "adam", "learning_rate": 1e-3})
        writer.scalar("train/loss", 0.25, step=7)
        writer.image("samples", grid, step=7)
    ```

    Args:
        logdir: folder for the event file, made when missing. TensorBoard shows one run per folder.
        purge_step: for a resumed run: the first step that will be written again. Points that the
            killed run wrote at this step or later are no longer shown.
        flush_secs: seconds after which an event that is written takes the buffered ones to disk
            with it. What a killed process loses is at most this much.
    """

    def __init__(
        self,
        logdir: str | os.PathLike[str],
        purge_step: int | None = None,
        flush_secs: float = 10.0,
    ) -> None:
        self.path = _new_event_file(Path(logdir))
        self._records = RecordWriter(self.path.open("xb"))
        self._flush_secs = flush_secs
        self._flushed_at = time.monotonic()
        self._open_session = False
        self._add(event_pb2.Event(file_version="brain.Event:2"))
        if purge_step is not None:
            # TensorBoard takes the first START of a folder for the beginning of the run and purges
            # nothing. This one comes after every step, so it stands for that beginning whatever
            # wrote the earlier files; the second one then always counts as a restart.
            self._add_session_start(_STEP_AFTER_EVERYTHING)
            self._add_session_start(int(purge_step))
        self.flush()

    def scalar(self, tag: str, value: Any, step: int) -> None:
        """Writes one point of a curve.

        Args:
            tag: name of the curve; TensorBoard groups by what stands before the first "/".
            value: a number, or an array or tensor with one element. Stored as float32. NaN and
                infinities are kept and TensorBoard marks them.
            step: epoch or batch number.
        """
        # simple_value rather than a tensor: also scripts that read event files the old way
        # (EventAccumulator.Scalars) find it, and TensorBoard converts it while loading.
        number = float(np.asarray(value).reshape(()))
        self._add_value(summary_pb2.Summary.Value(tag=tag, simple_value=number), step)

    def image(self, tag: str, image: np.ndarray, step: int) -> None:
        """Writes an image or a batch of images, losslessly as PNG.

        Args:
            tag: name of the image series.
            image: uint8 in [0, 255], shape (H, W), (H, W, C) or (B, H, W, C) with C = 1 (gray),
                2 (gray and alpha), 3 (RGB) or 4 (RGBA).
            step: epoch or batch number.

        Raises:
            TypeError: when `image` is not uint8.
            ValueError: when it has another shape, or no pixels.
        """
        metadata = image_metadata.create_summary_metadata(
            display_name=None, description=None, converted_to_tensor=True
        )
        self._add_tensor(tag, image_tensor(image), metadata, step)

    def histogram(self, tag: str, values: Any, step: int, buckets: int = 30) -> None:
        """Writes how `values` are distributed, over equally wide buckets from least to greatest.

        Values that are NaN or infinite have no bucket: they are counted, and the count is written
        as the scalar `<tag>/not_finite` when it is not zero.

        Args:
            tag: name of the histogram series.
            values: numbers, any shape.
            step: epoch or batch number.
            buckets: number of buckets.

        Raises:
            ValueError: when there are no values at all.
        """
        flat = np.asarray(values).astype(np.float64).ravel()
        if flat.size == 0:
            raise ValueError(f"histogram {tag!r}: there are no values")
        finite = flat[np.isfinite(flat)]
        if finite.size < flat.size:
            self.scalar(f"{tag}/not_finite", flat.size - finite.size, step)
        if finite.size == 0:
            return
        metadata = histogram_metadata.create_summary_metadata(display_name=None, description=None)
        self._add_tensor(tag, histogram_tensor(finite, buckets), metadata, step)

    def text(self, tag: str, markdown: str, step: int = 0) -> None:
        """Writes a text that TensorBoard renders as Markdown.

        Args:
            tag: name of the text series.
            markdown: the text. Indent or fence what must keep its layout, such as JSON.
            step: epoch or batch number.
        """
        metadata = text_metadata.create_summary_metadata(display_name=None, description=None)
        self._add_tensor(tag, text_tensor(markdown), metadata, step)

    def hparams(
        self, values: Mapping[str, Any], metrics: Mapping[str, Any] | None = None, step: int = 0
    ) -> None:
        """Makes this folder a row of TensorBoard's HParams table, comparable with other runs.

        The columns of metrics are the last points of all scalars that this folder (and the folders
        in it) holds, so a run that logs its metrics needs no `metrics` here. No experiment summary
        is written: TensorBoard would take the one of the first run for all of them and hide what
        the other runs have in addition; without one it joins the columns of all runs.

        Args:
            values: hyperparameter name -> bool, number or string. None becomes "none", and anything
                else is shown as JSON.
            metrics: scalar tag -> value, written as scalars: final results that are not logged
                otherwise.
            step: step of the `metrics`.
        """
        start = hparams_pb2.SessionStartInfo(start_time_secs=time.time())
        for name, value in sorted(values.items()):
            shown = _hparam_value(value)
            if isinstance(shown, bool):
                start.hparams[name].bool_value = shown
            elif isinstance(shown, str):
                start.hparams[name].string_value = shown
            else:
                start.hparams[name].number_value = shown
        self._add_hparams_data(
            hparams_metadata.SESSION_START_INFO_TAG,
            hparams_pb2.HParamsPluginData(session_start_info=start),
        )
        self._open_session = True
        for tag, metric in (metrics or {}).items():
            self.scalar(tag, metric, step)

    def flush(self) -> None:
        """Hands all events to the operating system, so that TensorBoard sees them."""
        self._records.flush()
        self._flushed_at = time.monotonic()

    def close(self, success: bool = True) -> None:
        """Closes the file; calling it again does nothing.

        Args:
            success: whether the HParams table may show the run as ended well. With False its row
                stays that of a run that has not ended, so that a resumed run can still end it.
        """
        if self._records.closed:
            return
        if self._open_session and success:
            end = hparams_pb2.SessionEndInfo(status="STATUS_SUCCESS", end_time_secs=time.time())
            self._add_hparams_data(
                hparams_metadata.SESSION_END_INFO_TAG,
                hparams_pb2.HParamsPluginData(session_end_info=end),
            )
        self._records.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(success=exc_type is None)

    def _add_session_start(self, step: int) -> None:
        log = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._add(event_pb2.Event(step=step, session_log=log))

    def _add_hparams_data(self, tag: str, data: hparams_pb2.HParamsPluginData) -> None:
        # The plugin reads everything from the metadata; the tensor only has to be there.
        metadata = hparams_metadata.create_summary_metadata(data)
        self._add_tensor(tag, hparams_metadata.NULL_TENSOR, metadata, step=0)

    def _add_tensor(
        self,
        tag: str,
        tensor: tensor_pb2.TensorProto,
        metadata: summary_pb2.SummaryMetadata,
        step: int,
    ) -> None:
        self._add_value(
            summary_pb2.Summary.Value(tag=tag, tensor=tensor, metadata=metadata), int(step)
        )

    def _add_value(self, value: summary_pb2.Summary.Value, step: int) -> None:
        self._add(event_pb2.Event(step=int(step), summary=summary_pb2.Summary(value=[value])))

    def _add(self, event: event_pb2.Event) -> None:
        if self._records.closed:
            raise ValueError(f"the event writer of {self.path} is closed")
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())
        if time.monotonic() - self._flushed_at >= self._flush_secs:
            self.flush()


def _new_event_file(logdir: Path) -> Path:
    """Path of a file that TensorBoard reads after all event files that `logdir` has already.

    TensorBoard reads the files of a folder in the order of their names, which begin with the time
    in seconds. A restart within one second, or on a machine whose clock is behind, must not sort
    before the run that it continues.
    """
    logdir.mkdir(parents=True, exist_ok=True)
    stamps = [int(time.time())]
    for path in logdir.glob(f"{_FILE_PREFIX}*"):
        stamp = path.name.removeprefix(_FILE_PREFIX).split(".")[0]
        if stamp.isdecimal():
            stamps.append(int(stamp) + 1)
    host = socket.gethostname() or "localhost"
    return logdir / f"{_FILE_PREFIX}{max(stamps):010d}.{host}.{os.getpid()}"


def _hparam_value(value: Any) -> bool | float | str:
    """The form of a value that the HParams table can show, sort and filter."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        return "none"
    if isinstance(value, bool | int | float | str):
        return value
    return json.dumps(value, sort_keys=True, default=str)
