"""How fast images reach the trainer, measured without any model.

A training loop that does nothing takes batches for some seconds; what is printed is the median
of several rounds with the smallest and the largest. Run from the repository's root:

    python -m benchmarks.input_pipeline
    python -m benchmarks.input_pipeline --dataset FOLDER --crop 256 256 --flip --workers 1 2 4
    TFDS_DATA_DIR=... python -m benchmarks.input_pipeline --dataset mnist --tfds

Without `--dataset`: digits, and TFDS mnist where it is prepared. `--cache_mebibytes 0` measures
decoding instead of memory.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

from builders.data_splits import Splits
from builders.dataset_builder import DatasetBuilder
from builders.errors import RunError, UserError
from builders.sections import DatasetSection
from constants.data import CACHE_MEBIBYTES, PREFETCH_BATCHES, WORKERS


def open_splits(name: str, tfds: bool, args: argparse.Namespace) -> Splits:
    """Opens a data set with the size its images have, or the crop asked for.

    Gray data sets are opened with one channel, all others with three.
    """
    fields = ("crop", "resize", "flip", "max_images", "cache_mebibytes")
    section = DatasetSection.model_validate(
        {"name": name, "tfds": tfds, **{field: getattr(args, field) for field in fields}}
    )
    try:
        return DatasetBuilder(section, (None, None, 3), seed=0).build()
    except UserError as error:
        if "grayscale" not in str(error):
            raise
    return DatasetBuilder(section, (None, None, 1), seed=0).build()


def batches_per_second(splits: Splits, batch_size: int, seconds: float) -> tuple[float, float]:
    """Takes training batches for some seconds.

    Returns:
        Batches a second, images a second.
    """
    loader = splits.loader("train", batch_size, training=True)
    batches = images = epoch = 0
    started = time.perf_counter()
    while True:
        for batch in loader.batches(epoch):
            batches += 1
            images += len(batch)
            elapsed = time.perf_counter() - started
            if elapsed > seconds:
                return batches / elapsed, images / elapsed
        epoch += 1


def measure(name: str, tfds: bool, args: argparse.Namespace) -> None:
    """Prints the figures of one data set."""
    started = time.perf_counter()
    splits = open_splits(name, tfds, args)
    print(f"\nopened in {time.perf_counter() - started:.2f} s")
    for line in splits.describe():
        print(f"  {line}")
    for workers in args.workers:
        chosen = Splits(**{**vars(splits), "workers": workers})
        batches_per_second(chosen, args.batch_size, args.seconds / 4)  # warm the caches
        rounds = [
            batches_per_second(chosen, args.batch_size, args.seconds) for _ in range(args.rounds)
        ]
        batches, images = (sorted(column) for column in zip(*rounds, strict=True))
        print(
            f"  workers {workers}: {statistics.median(images):10.0f} images/s "
            f"({images[0]:.0f} to {images[-1]:.0f}), {statistics.median(batches):8.1f} batches/s "
            f"of {args.batch_size}"
        )


def mnist_is_prepared() -> bool:
    """Whether TFDS has mnist on disk."""
    root = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
    return (Path(root).expanduser() / "mnist").is_dir()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", help="as in a spec: a folder, a video, digits, photos, ...")
    parser.add_argument("--tfds", action="store_true", help="the name is one of TFDS")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--crop", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--resize", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--flip", action="store_true")
    parser.add_argument("--max_images", type=int)
    parser.add_argument("--cache_mebibytes", type=int, default=CACHE_MEBIBYTES)
    parser.add_argument("--workers", type=int, nargs="+", default=[WORKERS])
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a round")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    names = [(args.dataset, args.tfds)] if args.dataset else [("digits", False)]
    if not args.dataset and mnist_is_prepared():
        names.append(("mnist", True))
    print(
        f"{os.cpu_count()} cores, {PREFETCH_BATCHES} batches ahead, {args.rounds} rounds of "
        f"{args.seconds:g} s"
    )
    for name, tfds in names:
        try:
            measure(name, tfds, args)
        except (UserError, RunError) as error:
            print(error)
            return 2 if isinstance(error, UserError) else 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
