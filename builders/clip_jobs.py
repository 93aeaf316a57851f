"""Clips through a codec: what compress.py and decompress.py do with videos and `.nicv` files."""

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from builders.clip_video import clip_facts, clip_frames, write_lossless
from builders.coding_jobs import STREAM, Job, read_source
from builders.errors import RunError, UserError
from builders.file_search import files_below
from builders.progress import ProgressReport
from builders.run_folder import write_atomically
from codec.clip_codec import ClipReader, ClipWriter, write_clip
from codec.errors import NicError
from codec.image_codec import ImageCodec
from codec.latent_coder import LatentsError
from codec.picture import PictureError

CLIP_SUFFIX = ".nicv"
Say = Callable[[str], None]


def are_clips(inputs: Sequence[str], clips: Collection[str], images: Collection[str]) -> bool:
    """Whether inputs are clips: files with such a suffix, or folders that hold them and no images.

    Args:
        inputs: files, folders, or `-`.
        clips: suffixes of clips, in small letters.
        images: suffixes of images.

    Raises:
        UserError: some are and some are not.
    """
    found = {given: _is_clip(given, clips, images) for given in inputs}
    if len(set(found.values())) > 1:
        clip = next(given for given, is_clip in found.items() if is_clip)
        image = next(given for given, is_clip in found.items() if not is_clip)
        raise UserError(f"{clip} is a clip, {image} is none: one kind at a time")
    return any(found.values())


def _is_clip(given: str, clips: Collection[str], images: Collection[str]) -> bool:
    path = Path(given)
    try:
        folder = given != STREAM and path.is_dir()
    except OSError:  # a name that is too long: `plan_jobs` tells
        folder = False
    if folder:
        return not files_below(path, images) and bool(files_below(path, clips))
    return path.suffix.lower() in clips


def check_targets(jobs: Sequence[Job], suffix: str) -> None:
    """Results are files of one kind.

    Raises:
        UserError: one is standard output, or has another ending.
    """
    for job in jobs:
        if job.target == STREAM:
            raise UserError("-o -: a clip goes to a file")
        if Path(job.target).suffix.lower() != suffix:
            raise UserError(f"-o {job.target}: expected a name that ends in {suffix}")


def run_clip_jobs(jobs: Sequence[Job], work: Callable[[Job, ProgressReport], str], say: Say) -> int:
    """Does all jobs one after the other, and tells of each; a failure does not stop the others.

    Args:
        jobs: from `plan_jobs`.
        work: job and progress -> a line for the user.
        say: takes the lines.

    Returns:
        1 when a job failed, else 0.

    Raises:
        UserError: `work` raised it: a mistake that no other job could do without.
    """
    failed = 0
    for job in jobs:
        try:
            with ProgressReport() as progress:
                line = work(job, progress)
        except (NicError, RunError, PictureError, LatentsError) as error:
            failed = 1
            text = str(error)
            text = text if text.startswith(f"{job.source}: ") else f"{job.source}: {text}"
            print(f"{Path(sys.argv[0]).name}: {text}", file=sys.stderr)
        else:
            say(line)
    return failed


def compress_clip(
    codec: ImageCodec,
    job: Job,
    quality: int | None,
    interval: int | None,
    progress: ProgressReport,
) -> str:
    """Codes one video.

    Args:
        codec: of the bundle.
        job: its source is any video, its target a `.nicv` file.
        quality: see `write_clip`.
        interval: see `write_clip`.
        progress: told of each frame.

    Returns:
        What was written, for the user.

    Raises:
        RunError: the video can't be read, or the file not written.
        PictureError: the model is for other frames.
        NicFieldError: the clip is too large for the format.
    """
    source = Path(job.source)
    facts = clip_facts(source)
    writer: ClipWriter | None = None
    frames = pixels = 0
    for frame in clip_frames(source):
        if writer is None:
            shape = frame.shape[0], frame.shape[1], frame.shape[2]
            writer = write_clip(codec, shape, facts.rate, quality, interval)
        writer.add(frame)
        frames, pixels = frames + 1, pixels + frame[..., 0].size
        progress(f"compressing {source.name}", frames, max(frames, facts.frames))
    assert writer is not None  # a video without frames was refused
    data = writer.finish()
    write_atomically(Path(job.target), data)
    line = (
        f"{job.source} -> {job.target}: {frames} frames, {len(data):,} bytes, "
        f"{8 * len(data) / pixels:.3f} bits per pixel, "
        f"{source.stat().st_size / len(data):.2f} : 1 of the video file"
    )
    return line if facts.silent else f"{line}\n  without its sound"


def decompress_clip(codec: ImageCodec, job: Job, progress: ProgressReport, limit: int) -> str:
    """Writes a clip as a lossless video.

    Args:
        codec: of the bundle.
        job: its source is a `.nicv` file, its target a `.mkv` file.
        progress: told of each frame.
        limit: bytes that the source may have.

    Returns:
        What was written, for the user.

    Raises:
        NicError: a subclass for each thing that can be wrong with the file.
        RunError: the file can't be read, or the video not written.
    """
    reader = ClipReader(codec, read_source(job.source, limit))
    header = reader.header

    def counted() -> Iterator[np.ndarray]:
        for number, frame in enumerate(reader, 1):
            progress(f"decompressing {Path(job.source).name}", number, header.frames)
            yield frame

    frames = write_lossless(Path(job.target), counted(), header.rate)
    return f"{job.source} -> {job.target}: {frames} frames of {header.width}x{header.height}"
