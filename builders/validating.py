"""Figures of a trained model on one split: quality, size, time; table, JSON and picture."""

import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from architectures import image_quality
from architectures.image_compressor import ImageCompressor
from architectures.rate import BITS, bits_per_pixel
from architectures.ssim_windows import largest_window, ms_ssim_power_factors, ms_ssim_scales
from builders.clips import frames_of
from builders.data_splits import Splits
from builders.errors import RunError, UserError
from builders.event_writer import EventWriter
from builders.progress import ProgressReport
from builders.real_files import measure_files
from builders.run_folder import write_atomically
from builders.training import open_splits
from builders.validation_table import table_lines
from builders.weights_choice import WeightsChoice, load_chosen
from constants.defaults import FLOAT_BYTES, LOGGED_IMAGES
from evaluation.figures import reconstruction_grid, save_png

TIMED_RUNS = 20
"""Warm calls whose median is an encode or decode time."""


@dataclass(frozen=True)
class ValidationOptions:
    """Attributes:
    split: `train`, `validation`, `test` or `all`.
    report: the JSON file; None for the run's folder.
    log_dir: where event files go; None for the run's tensorboard/, if there is a run.
    """

    split: str = "test"
    report: Path | None = None
    log_dir: Path | None = None


@dataclass
class Figures:
    """What was measured, image by image.

    Attributes:
        names: of the images.
        values: quantity -> one value an image.
        pixels: height times width of each image.
        image_bytes: bytes of each as 8-bit samples.
        latent_bytes: bytes of its latents: as stored, or as the entropy model estimates them.
        window: side of the SSIM window in pixels.
        scales: scales of MS-SSIM that fit the images.
        estimated: whether an entropy model says what latents take, or they are float32.
    """

    names: list[str] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    pixels: list[int] = field(default_factory=list)
    image_bytes: list[int] = field(default_factory=list)
    latent_bytes: list[float] = field(default_factory=list)
    window: int = 0
    scales: int = 0
    estimated: bool = False

    def mean(self, name: str) -> float:
        """Mean over images, summed in float64."""
        return float(np.mean(self.values[name], dtype=np.float64))

    @property
    def ratio(self) -> float:
        """Bytes of all images over bytes of all latents."""
        return sum(self.image_bytes) / sum(self.latent_bytes)

    @property
    def bits_per_pixel(self) -> float:
        """Bits of all latents over pixels of all images."""
        return 8 * sum(self.latent_bytes) / sum(self.pixels)


def validate(
    choice: WeightsChoice,
    options: ValidationOptions | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measures a model on a split; writes report, picture and TensorBoard scalars.

    Quality is measured on 8-bit pixels, as a viewer gets them, in float32.

    Args:
        choice: weights and spec.
        options: which images, and where results go.
        say: takes the lines for the user.

    Returns:
        The report, as it is in the JSON file.

    Raises:
        UserError: the data or the weights can't be used.
    """
    options = options or ValidationOptions()
    compressor = load_chosen(choice)
    splits = open_splits(choice.spec)
    loader = splits.loader(options.split, choice.spec.training.batch_size)  # type: ignore[arg-type]
    figures = Figures()
    shown: list[tuple[np.ndarray, np.ndarray]] = []
    source = splits.select(options.split)  # type: ignore[arg-type]
    with ProgressReport() as progress:
        for batch in loader.batches(0):
            outputs = compressor.predict_on_batch(batch)
            frames = frames_of(batch)
            add_batch(figures, compressor, frames, outputs, source, len(frames) // len(batch))
            for image, x_hat in zip(frames, np.asarray(outputs["x_hat"]), strict=True):
                if len(shown) < LOGGED_IMAGES:
                    shown.append((image, x_hat))
            done = len(figures.names) * len(batch) // len(frames)
            progress("measuring", done, loader.images)
    times = coding_times_ms(compressor, shown[0][0])
    report = build_report(choice, options.split, splits, figures, times)
    report["files"] = files_report(compressor, choice, splits, options.split)
    folder = choice.folder
    target = options.report or (
        None if folder is None else folder.path / f"validation_{options.split}.json"
    )
    for line in table_lines(report):
        say(line)
    if target is None:
        say("no report written: these weights lie in no run folder (--report FILE writes one)")
        return report
    write_atomically(target, json.dumps(report, indent=2) + "\n")
    picture = target.with_suffix(".png")
    captions = [f"{value:.1f} dB" for value in figures.values["psnr_db"][: len(shown)]]
    save_png(reconstruction_grid([a for a, _ in shown], [b for _, b in shown], captions), picture)
    log_dir = options.log_dir or (None if folder is None else folder.tensorboard)
    if log_dir is not None:
        _log(log_dir, options.split, report)
    say(f"report   {target}")
    say(f"picture  {picture}")
    return report


def add_batch(
    figures: Figures,
    compressor: ImageCompressor,
    batch: np.ndarray,
    outputs: dict[str, Any],
    source: Any,
    clip_frames: int = 1,
) -> None:
    """Adds one batch, uint8 (B, H, W, C), and what the model made of it.

    Args:
        figures: grows.
        compressor: the model.
        batch: images, or all frames of clips.
        outputs: of the model.
        source: names the images or clips.
        clip_frames: images of one of its items.
    """
    outputs = dict(outputs)
    compressor.compute_loss(x=batch, y_pred=outputs, training=False)
    for tag, values in outputs["loss_terms"].items():
        _extend(figures, tag, values)
    weighted = sum(
        term.weight * np.asarray(keras.ops.convert_to_numpy(outputs["loss_terms"][term.tag]))
        for term in compressor.loss_terms
    )
    _extend(figures, "loss", weighted)
    height, width, channels = batch.shape[1:]
    figures.window = largest_window(height, width)
    figures.scales = ms_ssim_scales(height, width, figures.window)
    x = batch.astype("float32") / 255.0
    x_hat = np.round(np.asarray(outputs["x_hat"], "float32") * 255.0) / 255.0
    _extend(figures, "psnr_db", image_quality.psnr_db(x, x_hat))
    _extend(figures, "ssim", image_quality.ssim(x, x_hat, filter_size=figures.window))
    if figures.scales:
        factors = ms_ssim_power_factors(figures.scales)
        values = image_quality.ms_ssim(x, x_hat, power_factors=factors, filter_size=figures.window)
        _extend(figures, "ms_ssim", values)
    latents = int(np.prod(np.asarray(outputs["y"]).shape[1:]))
    latent_bytes = [float(latents * FLOAT_BYTES)] * len(batch)
    if any(key.startswith(BITS) for key in outputs):
        figures.estimated = True
        rate = np.asarray(keras.ops.convert_to_numpy(bits_per_pixel(outputs)), np.float64)
        latent_bytes = [float(bpp) * height * width / 8 for bpp in rate]
    start = len(figures.names)
    for index in range(len(batch)):
        item, time_in_clip = divmod(start + index, clip_frames)
        name = source.name(item)
        figures.names.append(f"{name}: {time_in_clip + 1}" if clip_frames > 1 else name)
        figures.pixels.append(height * width)
        figures.image_bytes.append(height * width * channels)
        figures.latent_bytes.append(latent_bytes[index])


def _extend(figures: Figures, name: str, values: Any) -> None:
    numbers = np.asarray(keras.ops.convert_to_numpy(values), np.float64)
    figures.values.setdefault(name, []).extend(float(value) for value in numbers)


def coding_times_ms(compressor: ImageCompressor, image: np.ndarray) -> dict[str, float]:
    """Median milliseconds to encode and to decode one image, warm, called from Python."""
    batch = image[np.newaxis]
    latents = np.asarray(compressor.encoder.predict_on_batch(batch)[0], "float32")
    return {
        "encode_ms": _median_ms(lambda: compressor.encoder.predict_on_batch(batch)),
        "decode_ms": _median_ms(lambda: compressor.decoder.predict_on_batch(latents)),
    }


def _median_ms(call: Callable[[], Any]) -> float:
    call()
    call()
    times = []
    for _ in range(TIMED_RUNS):
        begin = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times)


def files_report(
    compressor: ImageCompressor, choice: WeightsChoice, splits: Splits, split: str
) -> dict[str, Any]:
    """Figures of whole files, or why there are none."""
    if choice.spec.input_shape[-1] not in (1, 3):
        return {"none": "files hold images of 1 or 3 channels"}
    try:
        return measure_files(compressor.generator, choice.spec, splits, split).to_json()
    except (UserError, RunError) as error:
        return {"none": str(error)}


def build_report(
    choice: WeightsChoice,
    split: str,
    splits: Splits,
    figures: Figures,
    times: dict[str, float],
) -> dict[str, Any]:
    """The JSON report: means, sizes, times, and every image's figures."""
    names = list(figures.values)
    source = "estimated" if figures.estimated else "stored"
    return {
        "spec": choice.spec.name,
        "weights": str(choice.weights),
        "dataset": choice.spec.dataset.name,
        "split": split,
        "images": len(figures.names),
        "skipped_files": [str(broken) for broken in splits.skipped],
        "mean": {name: figures.mean(name) for name in names},
        "ssim_window": figures.window,
        "ms_ssim_scales": figures.scales,
        "bits_per_pixel": {source: figures.bits_per_pixel},
        "bytes_per_image": {
            "pixels": sum(figures.image_bytes) / len(figures.names),
            source: sum(figures.latent_bytes) / len(figures.names),
        },
        "ratio": figures.ratio,
        **times,
        "machine": {"backend": keras.backend.backend(), "cpu_count": os.cpu_count()},
        "per_image": [
            {"name": name, **{each: figures.values[each][index] for each in names}}
            for index, name in enumerate(figures.names)
        ],
    }


def _log(log_dir: Path, split: str, report: dict[str, Any]) -> None:
    # A folder of its own: TensorBoard shows it as a run beside the curves of the training.
    with EventWriter(log_dir / split) as writer:
        for name, value in report["mean"].items():
            writer.scalar(f"{name}/{split}", value, 0)
        for source, bpp in report["bits_per_pixel"].items():
            writer.scalar(f"bits_per_pixel_{source}/{split}", bpp, 0)
