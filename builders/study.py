"""A study: several specs trained on one data set, and all of their codecs on the same images."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from builders.benchmarking import RESULTS, BenchmarkOptions, run_benchmark
from builders.bundle_measuring import BundleCodec, Coding
from builders.errors import RunError, UserError
from builders.machine import cores
from builders.model_builder import ModelBuilder
from builders.problems import near_miss
from builders.spec import Spec
from builders.splits import evenly
from builders.study_codecs import CodecPlan, check_target, make_codecs, plan_codecs
from builders.study_images import TestImages, test_images
from builders.study_training import (
    Candidate,
    Trained,
    check_run,
    discard_run,
    finished,
    train_candidate,
)
from builders.summary import summarize
from codec.bundle import Bundle
from evaluation.benchmark_run import Photo, write_whole
from evaluation.codecs import Codec, CodecError, PillowCodec
from evaluation.figures import save_png
from evaluation.model_table import model_rows, models_markdown, picture_sizes
from evaluation.side_by_side import Detail, details_figure, samples_figure, side_by_side

MODELS_JSON, MODELS, SAMPLES, DETAIL = "models.json", "models.md", "samples.png", "detail.png"
SHOWN = 3
"""Pictures in samples.png."""


@dataclass(frozen=True)
class StudyOptions:
    """What to do.

    Attributes:
        output: folder of everything.
        quantizers: of latents, for specs without entropy model; None for each spec's own.
        qualities: values of --quality that bundles with a dial are measured at.
        test: a folder or an image instead of the test split.
        test_images: at most so many; None for all.
        timed: pictures to time.
        repeats: timed calls of each.
        details: parts of pictures to enlarge.
        retrain: whether to train anew what is trained already.
        left_out: notes on codecs that are not there.
        command: as it was called.
    """

    output: Path
    quantizers: Sequence[str] | None = None
    qualities: Sequence[float] = ()
    test: Path | None = None
    test_images: int | None = None
    timed: int = 3
    repeats: int = 3
    details: Sequence[Detail] = ()
    retrain: bool = False
    left_out: Sequence[str] = ()
    command: Sequence[str] = field(default_factory=lambda: tuple(sys.argv))


def run_study(
    specs: Mapping[str, Spec], classical: Sequence[PillowCodec], options: StudyOptions
) -> int:
    """Trains what is not trained yet, exports what is not exported yet, and measures everything.

    All that can be wrong with what the user gave is found before the first step of training.

    Args:
        specs: by name, which is a file's name.
        classical: codecs to compare with.
        options: see there.

    Returns:
        Exit status: 0; 1 when a spec, a codec or a picture failed; 130 when it was interrupted.

    Raises:
        UserError: specs, data or output don't fit each other.
        RunError: no spec could be trained, or nothing could be measured.
    """
    candidates = [_candidate(name, spec, options.output) for name, spec in specs.items()]
    plans = {each.name: plan_codecs(each, options.quantizers) for each in candidates}
    _check(candidates, plans, classical, options)
    images = test_images(specs, options.test, options.test_images)
    _check_details(options.details, images.photos)
    failed: list[dict[str, str]] = []
    runs: list[Trained] = []
    for number, candidate in enumerate(candidates, 1):
        print(f"[{number}/{len(candidates)}] {candidate.name}")
        try:
            trained = _trained(candidate, options)
        except RunError as error:
            _fail(failed, candidate.name, error)
            continue
        if trained is None:
            print("the same command goes on with the study")
            return 130
        runs.append(trained)
    if not runs:
        raise RunError("no spec could be trained: there is nothing to measure")
    ours, known = _codecs(runs, plans, options, failed)
    if not ours:
        raise RunError("no trained model became a codec: there is nothing to measure")
    status = run_benchmark(images.photos, [*ours, *classical], _benchmark_options(images, options))
    _write_tables(images, known, failed, options)
    drawn = _draw(images.photos, ours, classical, options)
    print(f"table {options.output / MODELS}, pictures {options.output / SAMPLES}")
    return 1 if failed or status or not drawn else 0


def _candidate(name: str, spec: Spec, output: Path) -> Candidate:
    """With its model built once, so that one that can't be is found before hours of training."""
    compressor = ModelBuilder(spec).build()
    return Candidate(name, spec, output / name, summarize(spec, compressor).parameters)


def _check(
    candidates: Sequence[Candidate],
    plans: Mapping[str, Sequence[CodecPlan]],
    classical: Sequence[PillowCodec],
    options: StudyOptions,
) -> None:
    if options.output.exists() and not options.output.is_dir():
        raise UserError(f"--output {options.output}: is a file")
    every = [plan for each in candidates for plan in plans[each.name]]
    if options.quantizers is not None and all(plan.quantizer is None for plan in every):
        raise UserError(
            f"--quantizers {','.join(options.quantizers)}: every spec has an entropy model, which "
            "quantizes already"
        )
    seen = {codec.name: f"the codec {codec.name}" for codec in classical}
    for plan in every:
        if plan.name in seen:
            raise UserError(
                f"{plan.candidate.spec.source}: would be called {plan.name}, as is "
                f"{seen[plan.name]}; rename the file"
            )
        seen[plan.name] = f"that of {plan.candidate.spec.source}"
        check_target(plan)
    for each in candidates:
        if not options.retrain:
            check_run(each)


def _check_details(details: Sequence[Detail], photos: Sequence[Photo]) -> None:
    by_name = {photo.name: photo for photo in photos}
    for each in details:
        if each.name not in by_name:
            raise UserError(
                f"--detail {each.name}: not among the test images{near_miss(each.name, by_name)}"
            )
        try:
            height, width = by_name[each.name].load().shape[:2]
        except CodecError as error:
            raise UserError(f"--detail {each.name}: {error}") from None
        if each.top + each.height > height or each.left + each.width > width:
            raise UserError(
                f"--detail {each.name}={each.top},{each.left},{each.height},{each.width}: reaches "
                f"beyond the image, {height}x{width} (height x width)"
            )


def _trained(candidate: Candidate, options: StudyOptions) -> Trained | None:
    """The run of a spec; None when the user stopped it."""
    if options.retrain:
        discard_run(candidate)
    there = finished(candidate)
    if there is not None:
        epochs = f"{there.epochs} epoch{'s' if there.epochs > 1 else ''}"
        print(f"taken      {candidate.run.path}, trained for {epochs} on {there.dataset}")
        return there
    return train_candidate(candidate, (Path(sys.executable).name, *sys.argv))


def _fail(failed: list[dict[str, str]], name: str, error: object) -> None:
    failed.append({"model": name, "error": str(error).split("\n", 1)[0]})
    sys.stdout.flush()
    print(f"{Path(sys.argv[0]).name}: {name}: {error}", file=sys.stderr)


def _codecs(
    runs: Sequence[Trained],
    plans: Mapping[str, Sequence[CodecPlan]],
    options: StudyOptions,
    failed: list[dict[str, str]],
) -> tuple[list[BundleCodec], dict[str, dict[str, Any]]]:
    """Codecs of all models, and what is known of each."""
    from rich.console import Console

    ours: list[BundleCodec] = []
    known = {}
    for trained in runs:
        own = plans[trained.candidate.name]
        with Console(stderr=True).status(f"codecs of {trained.candidate.name}") as status:
            bundles, errors = make_codecs(trained, own, status.update)
        for name, error in errors.items():
            _fail(failed, name, error)
        for name, bundle in bundles.items():
            codec = BundleCodec(bundle, name, options.qualities, Coding(cores(), effort=0))
            ours.append(codec)
            known[name] = _about(trained, bundle)
            print(f"codec      {bundle.path}, {codec.model_bytes:,} bytes")
    return ours, known


def _about(trained: Trained, bundle: Bundle) -> dict[str, Any]:
    coder = bundle.manifest.coder
    return {
        "model": trained.candidate.name,
        "quantization": coder.quantizer or ("float32" if coder.kind == "stored" else coder.kind),
        "qualities": bundle.qualities,
        "epochs": trained.epochs,
        "best_epoch": trained.best_epoch,
        "training_minutes": trained.seconds / 60,
        "parameters": trained.candidate.parameters,
    }


def _benchmark_options(images: TestImages, options: StudyOptions) -> BenchmarkOptions:
    return BenchmarkOptions(
        dataset=images.path.resolve(),
        output=options.output,
        workers=cores(),
        timed=options.timed,
        repeats=options.repeats,
        every_setting=True,
        left_out=tuple(options.left_out),
        command=tuple(options.command),
    )


def _write_tables(
    images: TestImages,
    known: Mapping[str, dict[str, Any]],
    failed: Sequence[dict[str, str]],
    options: StudyOptions,
) -> None:
    results = json.loads((options.output / RESULTS).read_text(encoding="utf-8"))
    found = [
        {"model": each["codec"], "error": f"{each['picture']}: {each['error']}"}
        for each in results["failures"]
    ]
    study = {
        "format": "codecsmith-study",
        "version": 1,
        "command": list(options.command),
        "environment": results["environment"],
        "test_images": {
            "from": results["dataset"]["path"],
            "split": images.split,
            "channels": images.channels,
            "pictures": picture_sizes(results),
        },
        "rows": model_rows(results, known, images.channels),
        "failed": [*failed, *found],
    }
    write_whole(options.output / MODELS_JSON, json.dumps(study, indent=1) + "\n")
    write_whole(options.output / MODELS, models_markdown(study))


def _draw(
    photos: Sequence[Photo],
    ours: Sequence[Codec],
    classical: Sequence[PillowCodec],
    options: StudyOptions,
) -> bool:
    """Writes samples.png and, where parts are asked for, detail.png; says whether all was shown."""
    chosen = [photos[row].name for row in evenly(np.arange(len(photos)), SHOWN)]
    wanted = dict.fromkeys([*chosen, *(each.name for each in options.details)])
    by_name = {photo.name: photo for photo in photos}
    shown = {}
    other = classical[0] if classical else None
    complete = True
    for name in wanted:
        try:
            shown[name] = side_by_side(by_name[name], ours, other)
        except CodecError:  # measuring it has told of it
            complete = False
    rows = [shown[name] for name in chosen if name in shown]
    if rows:
        save_png(samples_figure(rows), options.output / SAMPLES)
    parts = [(shown[each.name], each) for each in options.details if each.name in shown]
    if parts:
        save_png(details_figure(parts), options.output / DETAIL)
    else:
        (options.output / DETAIL).unlink(missing_ok=True)  # of an earlier start, of other parts
    return complete
