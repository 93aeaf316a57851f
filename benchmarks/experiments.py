"""Transforms and recipes at small scale: each trained for the same steps on the same batches.

    python -m benchmarks.experiments --dataset FOLDER --steps 600 \
        --specs benchmarks/experiments/*.json
    python -m benchmarks.experiments --dataset FOLDER --steps 600 \
        --specs benchmarks/experiments/two_scales.json --recipes benchmarks/experiments/recipes.txt

One row for each spec, or for each recipe with each spec: what it costs, and rate and distortion of
the validation images at three qualities. `cost` is what training lowers, R + f lambda D over the
root of f, averaged over the three: lower is better. Specs must have gain units (`lambda_range`) and
the loss `BitsPerPixel` + `MSE`. A line of the recipes is a name, then settings `PATH=VALUE`.
"""

import argparse
import math
import shlex
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.backend import choose_backend
from builders.cli import positive, run_command

if TYPE_CHECKING:
    from builders.session import Session
    from builders.spec import Spec

QUALITIES = (0.05, 0.5, 0.95)
"""Of the range that gain units span."""


def main(argv: list[str]) -> int:
    """Runs the benchmark and prints a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--specs", nargs="+", required=True, metavar="SPEC")
    parser.add_argument("--dataset", default="photos")
    parser.add_argument("--steps", type=positive, default=600)
    parser.add_argument("--recipes", help="a file, see above")
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args(argv)
    choose_backend()
    from builders.spec import load_spec

    recipes = [("", {})] if flags.recipes is None else list(read_recipes(Path(flags.recipes)))
    shared = {"dataset.name": flags.dataset, "training.seed": flags.seed}
    specs = [
        (f"{Path(path).stem} {name}".strip(), load_spec(Path(path), {**shared, **settings}))
        for path in flags.specs
        for name, settings in recipes
    ]
    for name, spec in specs:
        check_spec(name, spec)
    points = " | ".join(f"bpp, dB at {quality:g}" for quality in QUALITIES)
    print(f"| what | parameters | kMAC/pixel | s/step | {points} | cost |")
    print("|---" * (5 + len(QUALITIES)) + "|", flush=True)
    for name, spec in specs:
        print("| " + " | ".join(row(name, spec, flags.steps)) + " |", flush=True)
    return 0


def check_spec(name: str, spec: "Spec") -> None:
    """Makes sure that the cost can be told.

    Raises:
        UserError: the spec has no gain units, or another loss.
    """
    from builders.errors import UserError

    model = spec.sections.model.layers.generator.entropy_model
    arguments = next(iter(model.values())) if isinstance(model, dict) else {}
    if arguments.get("lambda_range") is None:
        raise UserError(f"{name}: its entropy model needs a lambda_range, see --help")
    terms = {kind: values for term in spec.sections.loss for kind, values in term.items()}
    if set(terms) != {"BitsPerPixel", "MSE"} or terms["BitsPerPixel"]["weight"] != 1:
        raise UserError(f"{name}: its loss must be BitsPerPixel, of weight 1, and MSE")


def read_recipes(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and settings of every recipe in a file.

    Raises:
        UserError: it can't be read, or a setting is none.
    """
    from builders.errors import UserError
    from builders.overrides import parse_assignment

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        recipes = [shlex.split(line, comments=True) for line in lines]
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from None
    except ValueError as error:  # of quotes, or of bytes that are no text
        raise UserError(f"{path}: {error}") from None
    for words in filter(None, recipes):
        yield words[0], dict(parse_assignment(word) for word in words[1:])


def row(name: str, spec: "Spec", steps: int) -> list[str]:
    """Trains a spec for some steps; its cells of the table."""
    from builders.session import TrainOptions
    from builders.summary import summarize
    from builders.training import open_session

    with tempfile.TemporaryDirectory() as folder:
        options = TrainOptions(run_dir=Path(folder) / "run", verbosity=0)
        session = open_session(spec, options, lambda _: None)
        summary = summarize(spec, session.compressor)
        seconds = trained(session, steps)
        points, cost = measured(session, spec)
    pixels = math.prod(summary.image[:2])
    return [
        name,
        f"{summary.parameters / 1e6:.2f} M",
        f"{summary.macs / pixels / 1e3:.1f}",
        f"{seconds / max(steps - 1, 1):.2f}",
        *(f"{bpp:.3f}, {psnr:.2f}" for bpp, psnr in points),
        f"{cost:.4f}",
    ]


def trained(session: "Session", steps: int) -> float:
    """Makes training steps; returns their seconds, the first step left out."""
    done, epoch, began = 0, 0, 0.0
    while done < steps:
        for batch in session.feeds["train"].loader.batches(epoch):
            session.compressor.train_on_batch(batch)
            done += 1
            if done == 1:
                began = time.perf_counter()
            if done == steps:
                break
        epoch += 1
    return time.perf_counter() - began


def measured(session: "Session", spec: "Spec") -> tuple[list[tuple[float, float]], float]:
    """Mean bits per pixel and PSNR of the validation images at each quality, and the mean cost."""
    import numpy as np
    from keras import ops

    generator = session.compressor.generator
    model: Any = generator.entropy_model
    mse = next(term["MSE"] for term in spec.sections.loss if "MSE" in term)
    weight = mse["weight"] * (mse["scale"] / 255.0) ** 2  # of errors in 8-bit levels
    points, costs = [], []
    for quality in QUALITIES:
        factor = float(ops.exp(model.gain_units.log_lambda(quality)))
        rates: list[float] = []
        errors: list[float] = []
        for batch in session.feeds["validation"].loader.batches(0):
            y, _ = generator.encoder(batch, training=False)
            y_hat, aux = model(y, training=False, quality=quality)
            x_hat, _ = generator.decoder(y_hat, training=False)
            bits = ops.convert_to_numpy(aux["bits_y"] + aux["bits_z"])
            rates += list(bits / (batch.shape[1] * batch.shape[2]))
            difference = 255.0 * ops.convert_to_numpy(x_hat) - batch
            errors += list(np.mean(difference**2, axis=(1, 2, 3)))
        rate, error = np.array(rates), np.array(errors)
        points.append((float(rate.mean()), float(np.mean(10 * np.log10(255**2 / error)))))
        costs.append(float(np.mean(rate + factor * weight * error) / factor**0.5))
    return points, float(np.mean(costs))


if __name__ == "__main__":
    run_command(main)
