"""Regenerates image files with an exported model: reads, groups into batches, writes PNGs."""

import io
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from builders.errors import RunError, UserError
from builders.export_runners import CannotRunError
from builders.exported_model import ExportedModel
from builders.file_search import search
from builders.image_reader import BrokenImage, read_image
from builders.problems import near_miss
from builders.run_folder import write_atomically
from constants.defaults import PIXEL_MAX

BATCH_SIZE = 32
"""Most images in a batch when the user names no number."""

BATCH_PIXELS = 1 << 20
"""Most pixels in a batch then: a wide layer needs some hundred bytes for each of them."""

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Job:
    """One image to regenerate.

    Attributes:
        source: the image file.
        target: the PNG that is written.
    """

    source: Path
    target: Path


@dataclass
class Regenerated:
    """What became of all images.

    Attributes:
        psnr_db: of each regenerated image against its original; infinite where they are the same.
        broken: a line for each file that could not be regenerated.
        images: how many were regenerated.
        timed_images: images in timed batches.
        seconds: time of those batches in the model; the first batch counts only when it is alone.
    """

    psnr_db: list[float] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    images: int = 0
    timed_images: int = 0
    seconds: float = 0.0
    _first: tuple[int, float] | None = None

    def add_time(self, images: int, seconds: float) -> None:
        """Counts one batch. The first also loads and compiles, so it is set aside."""
        if self._first is None:
            self._first = (images, seconds)
            return
        self.timed_images += images
        self.seconds += seconds

    @property
    def ms_per_image(self) -> float:
        """Milliseconds in the model, of one image; NaN when there was none."""
        images, seconds = self.timed_images, self.seconds
        if not images and self._first is not None:
            images, seconds = self._first
        return 1e3 * seconds / images if images else math.nan

    @property
    def mean_psnr_db(self) -> float:
        """Mean over the images that differ from their originals; infinite when none does."""
        finite = [value for value in self.psnr_db if math.isfinite(value)]
        return math.fsum(finite) / len(finite) if finite else math.inf


def plan_jobs(data: Path, save_dir: Path, force: bool) -> list[Job]:
    """Lists the images below a path and where each of them goes.

    Relative paths are kept, suffixes become `.png`. Images that only their suffix tells apart keep
    it: `a.jpg` and `a.webp` become `a.jpg.png` and `a.webp.png`.

    Args:
        data: an image file or a folder.
        save_dir: of the PNGs; what lies in it is never read.
        force: whether to overwrite PNGs that are there.

    Raises:
        UserError: no image there; a PNG is there already; or it would replace an original.
    """
    if save_dir.exists() and not save_dir.is_dir():
        raise UserError(f"--save_dir {save_dir}: is a file, not a folder")
    sources = _sources(data, save_dir)
    root = data if data.is_dir() else data.parent
    names = _target_names([source.relative_to(root) for source in sources])
    jobs = [Job(s, save_dir / name) for s, name in zip(sources, names, strict=True)]
    originals = {os.path.realpath(job.source) for job in jobs}
    for job in jobs:
        if os.path.realpath(job.target) in originals:
            raise UserError(f"{job.target}: would replace an original; choose another --save_dir")
    there = [job.target for job in jobs if job.target.exists()]
    if there and not force:
        more = f" (and {len(there) - 1} more)" if len(there) > 1 else ""
        raise UserError(f"{there[0]}: is there already{more}; --force overwrites")
    return jobs


def _sources(data: Path, save_dir: Path) -> list[Path]:
    if data.is_file():
        return [data]
    if not data.is_dir():
        beside = [entry.name for entry in data.parent.iterdir()] if data.parent.is_dir() else []
        hint = near_miss(data.name, beside)
        raise UserError(f"--path_to_data {data}: no such file or folder{hint}")
    found = search(data)
    written = Path(os.path.realpath(save_dir))
    sources = [data / name for name in found.images]
    if Path(os.path.realpath(data)) != written:
        sources = [s for s in sources if written not in Path(os.path.realpath(s)).parents]
    if not sources:
        videos = f" ({len(found.videos)} videos; only images are read)" if found.videos else ""
        raise UserError(f"--path_to_data {data}: no images in this folder{videos}")
    return sources


def _target_names(relative: Sequence[Path]) -> list[Path]:
    plain = [path.with_suffix(".png") for path in relative]
    counts: dict[Path, int] = {}
    for path in plain:
        counts[path] = counts.get(path, 0) + 1
    taken = {path for path in plain if counts[path] == 1}
    names = []
    for path, short in zip(relative, plain, strict=True):
        name = short
        if counts[short] > 1:
            name = path.with_name(f"{path.name}.png")
            number = 2
            while name in taken:
                name = path.with_name(f"{path.name}-{number}.png")
                number += 1
            taken.add(name)
        names.append(name)
    return names


def regenerate_files(
    model: ExportedModel,
    jobs: Sequence[Job],
    batch_size: int | None,
    resize: bool,
    report: Report,
    warn: Callable[[str], None],
) -> Regenerated:
    """Regenerates images and writes them; files that fail are named, and the rest goes on.

    Args:
        model: as loaded.
        jobs: what to read and write.
        batch_size: images of one size that go through the model together; None for as many as
            `BATCH_SIZE` and `BATCH_PIXELS` allow.
        resize: whether images of another size than the model's are scaled to it; PSNR is then
            measured against the scaled image.
        report: told (what, done, total).
        warn: takes a line for each file that fails.
    """
    done = Regenerated()
    finished = 0
    for batch in _batches(model, jobs, batch_size, resize):
        for group in _runs(model, batch, done):
            for item in group:
                if item.reason:
                    done.broken.append(f"{item.job.source}: {item.reason}")
                    warn(done.broken[-1])
                else:
                    _write(item, done)
            finished += len(group)
            report("regenerating", finished, len(jobs))
    return done


@dataclass
class _Item:
    """One image on its way: read, or failed with a reason."""

    job: Job
    image: np.ndarray | None = None
    regenerated: np.ndarray | None = None
    reason: str = ""


def _batches(
    model: ExportedModel, jobs: Sequence[Job], batch_size: int | None, resize: bool
) -> Iterator[list[_Item]]:
    """Images in their order, those of one size that follow each other together."""
    pending: list[_Item] = []
    for job in jobs:
        item = _read(model, job, resize)
        if item.image is None:
            yield [item]
            continue
        if pending and pending[0].image is not None and pending[0].image.shape != item.image.shape:
            yield pending
            pending = []
        pending.append(item)
        if len(pending) >= _batch_limit(item.image, batch_size):
            yield pending
            pending = []
    if pending:
        yield pending


def _batch_limit(image: np.ndarray, batch_size: int | None) -> int:
    if batch_size is not None:
        return batch_size
    return max(1, min(BATCH_SIZE, BATCH_PIXELS // (image.shape[0] * image.shape[1])))


def _read(model: ExportedModel, job: Job, resize: bool) -> _Item:
    try:
        image = read_image(job.source, model.channels)
    except BrokenImage as error:
        return _Item(job, reason=error.reason)
    height, width = image.shape[:2]
    if model.accepts(height, width):
        return _Item(job, image)
    size = model.height or height, model.width or width
    if not resize:
        return _Item(
            job,
            reason=f"is {width}x{height} pixels, the model takes {size[1]}x{size[0]}: "
            "--resize true scales images to that",
        )
    mode = image[:, :, 0] if model.channels == 1 else image
    scaled = Image.fromarray(mode).resize((size[1], size[0]), Image.Resampling.LANCZOS)
    return _Item(job, np.asarray(scaled).reshape(*size, model.channels))


def _runs(model: ExportedModel, batch: list[_Item], done: Regenerated) -> Iterator[list[_Item]]:
    """Puts a batch through the model; image by image when it does not go through together."""
    images = [item.image for item in batch if item.image is not None]
    if not images:
        yield batch
        return
    begin = time.perf_counter()
    try:
        outputs = model.regenerate(np.stack(images))
    except CannotRunError as error:
        if len(batch) > 1:
            for item in batch:
                yield from _runs(model, [item], done)
            return
        batch[0].reason = str(error)
        yield batch
        return
    done.add_time(len(batch), time.perf_counter() - begin)
    for item, output in zip(batch, outputs, strict=True):
        item.regenerated = output
    yield batch


def _write(item: _Item, done: Regenerated) -> None:
    assert item.image is not None and item.regenerated is not None
    pixels = item.regenerated
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[-1] == 1 else pixels)
    content = io.BytesIO()
    picture.save(content, "PNG")
    try:
        write_atomically(item.job.target, content.getvalue())
    except OSError as error:
        raise RunError(f"{item.job.target}: can't be written: {error.strerror}") from None
    done.psnr_db.append(psnr_db(item.image, pixels))
    done.images += 1


def psnr_db(original: np.ndarray, regenerated: np.ndarray) -> float:
    """10 log10(255^2 / MSE) of 8-bit images in dB; infinite where they are the same."""
    gap = original.astype(np.float64) - regenerated.astype(np.float64)
    mse = float(np.mean(gap * gap))
    return math.inf if mse == 0 else 10 * math.log10(PIXEL_MAX**2 / mse)
