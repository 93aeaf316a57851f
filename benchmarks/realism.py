"""What a discriminator changes: sharpness, and whether a classifier still knows what it sees.

    python -m benchmarks.realism RUN [RUN ...] [--images 2000] [--figure FILE.png]

For each run, images of its test split go through its networks. Beside PSNR and SSIM:

- sharpness: sum of absolute differences of neighbouring pixels, regenerated over original; 1 is as
  sharp as the originals, blur is below.
- told apart: accuracy of a logistic regression that is trained on half of the originals and
  regenerated images to tell one from the other, and tested on the other half; 0.5 is a coin, 1 is
  always right.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from builders.backend import choose_backend
from builders.cli import Parser, positive, run_command
from builders.errors import RunError
from builders.run_folder import find_run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Float = NDArray[np.float32]


def build_parser() -> Parser:
    """The flags."""
    parser = Parser(prog="benchmarks.realism", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("runs", nargs="+", metavar="RUN")
    add("--images", type=positive, default=2000, help="of the test split, the first so many")
    add("--figure", type=Path, metavar="FILE.png", help="where rows of images go (none)")
    return parser


def sharpness(x: Float) -> float:
    """Sum of absolute differences of neighbouring pixels of (B, H, W, C)."""
    import numpy as np

    return float(np.abs(np.diff(x, axis=1)).sum() + np.abs(np.diff(x, axis=2)).sum())


def told_apart(x: Float, x_hat: Float) -> float:
    """Accuracy of a linear classifier between originals and regenerated images, held out."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    half = len(x) // 2
    flat = [each.reshape(len(each), -1) for each in (x, x_hat)]
    seen = np.concatenate([each[:half] for each in flat])
    held = np.concatenate([each[half:] for each in flat])
    labels = [np.repeat([0, 1], len(each) // 2) for each in (seen, held)]
    model = LogisticRegression(C=0.1, max_iter=300).fit(seen, labels[0])
    return float(model.score(held, labels[1]))


def main(argv: Sequence[str]) -> int:
    """Prints a table; see the module."""
    flags = build_parser().parse_args(argv)
    folders = [find_run(name) for name in flags.runs]
    choose_backend()
    import numpy as np

    from architectures.image_quality import largest_window, psnr_db, ssim
    from builders.checkpoint import find_weights
    from builders.spec import load_spec
    from builders.training import open_splits
    from builders.weights_choice import WeightsChoice, load_chosen
    from evaluation.figures import save_png

    rows = []
    print("| run | PSNR, dB | SSIM | sharpness | told apart |\n|---|---|---|---|---|")
    for name, folder in zip(flags.runs, folders, strict=True):
        spec = load_spec(folder.spec)
        model = load_chosen(WeightsChoice(spec, find_weights(name), folder))
        batches = open_splits(spec, quiet=True).loader("test", 256).batches(0)
        images = np.concatenate([*batches])[: flags.images]
        x = images.astype("float32") / 255
        x_hat = np.concatenate(
            [
                np.asarray(model.predict_on_batch(images[i : i + 256])["x_hat"])
                for i in range(0, len(images), 256)
            ]
        )
        window = largest_window(*x.shape[1:3])
        psnr = float(np.mean(psnr_db(x, x_hat)))
        similarity = float(np.mean(ssim(x, x_hat, filter_size=window)))
        sharp = sharpness(x_hat) / sharpness(x)
        print(
            f"| {spec.name} | {psnr:.2f} | {similarity:.4f} | {sharp:.3f} | "
            f"{told_apart(x, x_hat):.3f} |",
            flush=True,
        )
        if not rows:
            rows.append(x[:16])
        rows.append(x_hat[:16])
    if flags.figure is not None:
        lines = [np.concatenate(list(each), axis=1) for each in rows]
        grid = np.repeat(np.repeat(np.concatenate(lines), 3, axis=0), 3, axis=1)
        pixels = np.round(np.clip(grid, 0, 1) * 255).astype(np.uint8)
        picture = np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels
        try:
            save_png(picture, flags.figure)
        except OSError as error:
            raise RunError(f"--figure {flags.figure}: {error.strerror or error}") from None
    return 0


if __name__ == "__main__":
    run_command(main)
