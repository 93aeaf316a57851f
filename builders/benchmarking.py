"""A benchmark from its flags to its files: what benchmark.py does."""

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from builders.bundle_measuring import BundleCodec, Coding, unique_names
from builders.errors import RunError, UserError
from builders.file_search import files_below
from builders.image_reader import BrokenImage, read_image
from builders.machine import cores, environment, processor
from builders.progress import ProgressReport
from codec.bundle import Bundle
from constants.data import IMAGE_SUFFIXES
from evaluation import benchmark_figures, benchmark_pictures
from evaluation.benchmark_page import page
from evaluation.benchmark_results import (
    break_evens,
    choose_anchor,
    codec_entry,
    compare,
    published_entries,
)
from evaluation.benchmark_run import Outcome, Photo, measure_quality, measure_time, write_whole
from evaluation.benchmark_table import markdown, ranked
from evaluation.codecs import Codec, CodecError, Pixels
from evaluation.figures import save_png
from evaluation.more_measures import MORE_MEASURES
from evaluation.peers import Peer, measure_peers, peer_entry
from evaluation.reference_points import is_kodak, reference_points

CACHE = "cache"
RESULTS, TABLE, PAGE = "results.json", "results.md", "index.html"


@dataclass(frozen=True)
class BenchmarkOptions:
    """What to do.

    Attributes:
        dataset: folder of pictures, or a picture; its name stands in the results.
        output: folder of results.
        anchor: name of the codec that the others are compared with; None for JPEG 4:2:0.
        workers: pictures at a time.
        timed: pictures to time; 0 for none.
        repeats: timed calls of each.
        every_setting: whether all settings are timed, not the ends and the middle alone.
        shown: pictures on the page.
        published: whether to show published points; None where the data set is Kodak's.
        left_out: notes on codecs that are not there.
        peers: architectures of other projects, timed on the same pictures.
        metrics: names of `MORE_MEASURES` to measure too.
        command: as it was called.
    """

    dataset: Path
    output: Path
    anchor: str | None = None
    workers: int = 1
    timed: int = 3
    repeats: int = 3
    every_setting: bool = False
    shown: int = 3
    published: bool | None = None
    left_out: tuple[str, ...] = ()
    peers: tuple[Peer, ...] = ()
    metrics: tuple[str, ...] = ()
    command: tuple[str, ...] = field(default_factory=lambda: tuple(sys.argv))


def bundle_codecs(
    bundles: Sequence[Bundle],
    taken: Sequence[str],
    qualities: Sequence[float],
    how: Coding,
) -> list[BundleCodec]:
    """Codecs of bundles; see `BundleCodec`."""
    names = unique_names(bundles, taken)
    return [
        BundleCodec(bundle, name, qualities, how)
        for bundle, name in zip(bundles, names, strict=True)
    ]


def open_photos(path: Path, flag: str = "--dataset") -> list[Photo]:
    """The pictures of a folder, at any depth, or a single one.

    Args:
        path: a folder, or an image file.
        flag: what named it, for messages.

    Raises:
        UserError: there are none.
    """
    try:
        if path.is_file():
            return [_photo(path.parent, path.name)]
        names = files_below(path, IMAGE_SUFFIXES) if path.is_dir() else None
    except OSError as error:
        raise UserError(f"{flag} {path}: {error.strerror}") from None
    if names is None:
        raise UserError(f"{flag} {path}: no such folder or image")
    if not names:
        raise UserError(f"{flag} {path}: no images in it")
    return [_photo(path, name) for name in names]


def _photo(folder: Path, name: str) -> Photo:
    path = folder / name
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        digest = hashlib.sha256(name.encode()).hexdigest()  # loading it tells what is wrong

    def load() -> Pixels:
        try:
            return np.asarray(read_image(path, 3))
        except BrokenImage as error:
            raise CodecError(f"the picture can't be read: {error.reason}") from None
        except OSError as error:
            raise CodecError(f"the picture can't be read: {error.strerror or error}") from None

    return Photo(name, digest, load)


def run_benchmark(
    photos: Sequence[Photo], codecs: Sequence[Codec], options: BenchmarkOptions
) -> int:
    """Measures, compares and writes everything.

    Args:
        photos: the data set.
        codecs: ours first.
        options: see there.

    Returns:
        1 when a codec failed on a picture, else 0.

    Raises:
        RunError: nothing could be measured, or results can't be written.
    """
    try:
        return _run(photos, codecs, options)
    except OSError as error:
        raise RunError(f"{error.filename or options.output}: {error.strerror or error}") from None


def _run(photos: Sequence[Photo], codecs: Sequence[Codec], options: BenchmarkOptions) -> int:
    cache = options.output / CACHE
    with ProgressReport() as progress:
        metrics = options.metrics
        quality = measure_quality(photos, codecs, cache, options.workers, progress, metrics)
        timed = _evenly(photos, options.timed)
        machine = f"{processor()}, {cores()} cores"
        repeats, every = options.repeats, options.every_setting
        time = measure_time(timed, codecs, cache, repeats, machine, progress, every)
        peers = measure_peers(timed, options.peers, cache, repeats, machine, progress)
        entries = [codec_entry(codec, photos, quality, time) for codec in codecs]
        results = _results(entries, photos, timed, options, [quality, time, peers])
        results["peers"] = [peer_entry(peer, timed, peers) for peer in options.peers]
        photos_shown = _shown(results, photos, codecs, options, progress)
    _write(results, photos_shown, options.output)
    for failure in results["failures"]:
        where = f"{failure['codec']}: {failure['picture']}"
        print(f"{Path(sys.argv[0]).name}: {where}: {failure['error']}", file=sys.stderr)
    return 1 if results["failures"] else 0


def _results(
    entries: Sequence[dict[str, Any]],
    photos: Sequence[Photo],
    timed: Sequence[Photo],
    options: BenchmarkOptions,
    outcomes: Sequence[Outcome],
) -> dict[str, Any]:
    measured = [entry for entry in entries if entry["points"]]
    if not measured:
        codec, name, error = outcomes[0].failures[0]
        raise RunError(f"nothing could be measured; {codec}, {name}: {error}")
    reference = reference_points()
    kodak = options.published is not False and is_kodak([photo.load for photo in photos])
    published = published_entries(reference) if options.published or kodak else []
    note = None
    if not kodak and options.published is not False:
        note = "Published figures are for the 24 pictures of the Kodak set, which these are not: "
        note += "shown, not compared." if published else "not shown."
    try:
        anchor = choose_anchor(measured, options.anchor)
    except KeyError:
        raise RunError(f"--anchor {options.anchor}: failed on all pictures") from None
    found = [
        {"codec": codec, "picture": name, "error": error}
        for outcome in outcomes
        for codec, name, error in outcome.failures
    ]
    return {
        "format": "codecsmith-benchmark",
        "version": 1,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": list(options.command),
        "environment": environment(),
        "dataset": {
            "path": options.dataset.name,
            "pictures": [{"name": photo.name, "sha256": photo.digest} for photo in photos],
        },
        "timing": _timing(timed, options) if timed else None,
        "anchor": anchor["name"],
        "codecs": list(entries),
        "peers": [],
        "metrics": {name: MORE_MEASURES[name].version for name in options.metrics},
        "published": published,
        "published_note": note,
        "reference": {key: reference[key] for key in ("what", "provenance", "caveats")},
        "comparisons": [
            compare(first, second, same_pictures=kodak or first["origin"] == second["origin"])
            for first in (*entries, *published)
            for second in (*entries, *published)
            if "measured" in (first["origin"], second["origin"])
        ],
        "break_even": {
            entry["name"]: break_evens(anchor, entry)
            for entry in measured
            if entry["model_bytes"] is not None
        },
        "left_out": list(options.left_out),
        "failures": found,
    }


def _timing(timed: Sequence[Photo], options: BenchmarkOptions) -> dict[str, Any]:
    found: dict[str, Any] = {"pictures": [photo.name for photo in timed]}
    found["repeats"] = options.repeats
    if options.every_setting:
        found["every_setting"] = True
    return found


def _shown(
    results: dict[str, Any],
    photos: Sequence[Photo],
    codecs: Sequence[Codec],
    options: BenchmarkOptions,
    progress: ProgressReport,
) -> list[benchmark_pictures.Shown]:
    """Photos for the page and the crops: ours, and the best codec of each other family."""
    best: dict[str, str] = {}
    for entry, _ in ranked(results):
        if entry["origin"] == "measured" and entry["family"] != "ours":
            best.setdefault(entry["family"], entry["name"])
    chosen = [c for c in codecs if c.family == "ours" or c.name in best.values()]
    by_name = {photo.name: photo for photo in photos}
    wanted = benchmark_pictures.choose_photos(results["codecs"], list(by_name))[: options.shown]
    found = []
    for done, (name, why) in enumerate(wanted, 1):
        try:
            found.append(benchmark_pictures.at_equal_bytes(by_name[name], why, chosen))
        except CodecError as error:
            entry = {"codec": chosen[0].name, "picture": name, "error": str(error)}
            if entry not in results["failures"]:
                results["failures"].append(entry)
        progress("pictures at equal bytes", done, len(wanted))
    return found


def _write(
    results: dict[str, Any], photos: Sequence[benchmark_pictures.Shown], output: Path
) -> None:
    figures = {
        f"rate_{short}_{'log' if log else 'linear'}.png": (
            f"{name} against bits per pixel, {'logarithmic' if log else 'linear'}",
            benchmark_figures.rate_distortion(results, quality, log),
        )
        for quality, short, name in (
            ("psnr_rgb_db", "psnr", "PSNR"),
            ("ms_ssim_db", "ms_ssim", "MS-SSIM"),
        )
        for log in (True, False)
    }
    speed = benchmark_figures.speed(results)
    if speed is not None:
        figures["speed.png"] = ("BD-rate against speed", speed)
    for number, shown in enumerate(photos, 1):
        caption = f"{shown.name}, {shown.why}: where the codecs differ most, at equal bytes"
        figures[f"crops_{number}.png"] = (caption, benchmark_pictures.crop_figure(shown))
    for name, (_, picture) in figures.items():
        save_png(picture, output / name)
    inside = {caption: (output / name).read_bytes() for name, (caption, _) in figures.items()}
    write_whole(output / RESULTS, json.dumps(results, indent=1) + "\n")
    write_whole(output / TABLE, markdown(results))
    write_whole(output / PAGE, page(results, inside, photos))


def _evenly(photos: Sequence[Photo], count: int) -> list[Photo]:
    """So many pictures, spread over the data set."""
    count = min(count, len(photos))
    return [photos[(2 * place + 1) * len(photos) // (2 * count)] for place in range(count)]
