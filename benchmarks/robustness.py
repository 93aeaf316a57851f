"""Pictures that a codec trained on photos finds hard: whether all come back, and how well.

    python -m benchmarks.robustness --model photo_fast --output DIR [--quality 50]

Flat colours, noise, text, a screenshot, checkerboards, strips of one pixel and others, made here
(evaluation/hard_pictures.py). Each goes the way that compress.py and decompress.py take, from a PNG
file to a whole .nic file and back to a PNG file, at three qualities: 10, 90, and --quality between
them. Size and mode must come back, and alpha exactly. Writes DIR/robustness.md with bytes, bits per
pixel and PSNR beside the bytes of PNG and JPEG, and DIR/robustness.png with the worst pictures at
--quality. Exit status 1 when a picture failed; the others are still measured.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from builders.cli import Parser, number, run_command
from builders.codec_choice import find_bundle, open_codec, quality_index, read_bundle
from builders.coding_flags import add_effort, effort_of, start_keras
from builders.errors import RunError, UserError

if TYPE_CHECKING:
    import numpy as np

    from codec.bundle import Bundle
    from codec.image_codec import ImageCodec
    from evaluation.codecs import Pixels

MISTAKES = (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)
"""What code raises that did not think of a picture: a finding here, beside what codecs refuse."""
LOWEST, MIDDLE, HIGHEST = 10.0, 50.0, 90.0
"""As `compress.py --quality`."""
JPEG_QUALITY = 75
"""Pillow's own, with its 4:2:0."""
WORST = 6
"""Rows of the figure."""
CELL_PX = 256
"""Side of a picture in the figure."""
PART_PX = 128
"""Side of what is shown there, enlarged until it fills its place: single pixels should be seen."""
SLENDER = 8
"""Most of a picture's length that the figure shows, in breadths: a strip would not be seen."""
ERROR_GAIN = 2
"""One for all rows, so that they can be compared."""


@dataclass(frozen=True)
class Coded:
    """One picture as one codec and setting gives it back.

    Attributes:
        file_bytes: of the whole file.
        pixels: uint8, as the original; of JPEG without alpha.
        psnr_db: of the colours, alpha left out; infinite where nothing was lost.
    """

    file_bytes: int
    pixels: Pixels
    psnr_db: float


@dataclass
class Result:
    """One picture and what became of it.

    Attributes:
        name: of the picture.
        original: uint8 (H, W, C).
        png_bytes: of the file without loss.
        jpeg: at `JPEG_QUALITY`.
        coded: setting -> what came back.
        failures: what went wrong, with the setting.
    """

    name: str
    original: Pixels
    png_bytes: int
    jpeg: Coded
    coded: dict[str, Coded] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def bpp(self, file_bytes: int) -> float:
        """Bits per pixel of a file."""
        return 8 * file_bytes / self.original[..., 0].size


def build_parser() -> Parser:
    """The flags."""
    parser = Parser(prog="benchmarks.robustness", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--model", metavar="BUNDLE", help="for colour pictures (what compress.py takes)")
    add("--output", required=True, type=Path, metavar="DIR")
    add("--quality", type=number, metavar="Q", help=f"of the figure, 1 to 100 ({MIDDLE:g})")
    add_effort(parser)
    return parser


def settings_of(bundle: Bundle, quality: float | None) -> tuple[dict[str, int], str]:
    """What to measure.

    Args:
        bundle: the model.
        quality: of the user.

    Returns:
        Name of each setting -> index of the model's quality, and the name of the figure's setting.

    Raises:
        UserError: the model has no such quality.
    """
    if bundle.qualities == 1 and quality is None:
        return {"its one quality": 0}, "its one quality"
    middle = MIDDLE if quality is None else quality
    quality_index(middle, bundle.qualities)  # a mistake should be told of what the user named
    all_three = sorted({LOWEST, middle, HIGHEST})
    found = {f"quality {each:g}": quality_index(each, bundle.qualities) for each in all_three}
    return found, f"quality {middle:g}"


def file_of(pixels: Pixels, kind: str, **options: object) -> bytes:
    """Pixels as the file of a format of Pillow."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, kind, **options)
    return file.getvalue()


def pixels_of(content: bytes) -> Pixels:
    """uint8 (H, W, C) of an image file."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image).reshape(image.height, image.width, -1)


def compared(original: Pixels, data: bytes, pixels: Pixels) -> Coded:
    """What came back, with its PSNR."""
    import numpy as np

    colors = min(3, pixels.shape[2])
    error = pixels[..., :colors].astype(np.float64) - original[..., :colors]
    mean = float(np.mean(error**2))
    return Coded(len(data), pixels, 10 * math.log10(255**2 / mean) if mean else math.inf)


def there_and_back(codec: ImageCodec, original: Pixels, png: bytes, quality: int) -> Coded:
    """A picture through a `.nic` file.

    Raises:
        RunError: something else came back than a picture of this size and mode, and this alpha.
    """
    from builders.picture_files import picture_bytes, read_picture

    data = codec.compress(read_picture(png)[0], quality)
    pixels = pixels_of(picture_bytes(codec.decompress(data), ".png"))
    if pixels.dtype != original.dtype or pixels.shape != original.shape:
        raise RunError(f"{pixels.dtype} {pixels.shape} came back of uint8 {original.shape}")
    if original.shape[2] == 4 and (pixels[..., 3] != original[..., 3]).any():
        raise RunError("another alpha came back")
    return compared(original, data, pixels)


def measured(codec: ImageCodec, name: str, original: Pixels, settings: Mapping[str, int]) -> Result:
    """A picture at all settings; what the codec raises is kept, for the others to be tried."""
    from codec.errors import NicError

    png = file_of(original, "PNG", optimize=True)
    seen = original[..., :3]  # JPEG has no alpha
    jpeg = file_of(seen, "JPEG", quality=JPEG_QUALITY)
    result = Result(name, original, len(png), compared(seen, jpeg, pixels_of(jpeg)))
    for setting, quality in settings.items():
        try:
            result.coded[setting] = there_and_back(codec, original, png, quality)
        except (NicError, RunError, *MISTAKES) as error:
            words = " ".join(str(error).split())
            result.failures.append(f"{setting}: {type(error).__name__}: {words}")
    return result


def table_row(result: Result, settings: Sequence[str]) -> str:
    """A line of the table."""
    cells = [result.name, _size(result), f"{result.png_bytes:,}", _figures(result, result.jpeg)]
    for setting in settings:
        coded = result.coded.get(setting)
        cells.append("failed" if coded is None else _figures(result, coded))
    return f"| {' | '.join(cells)} |"


def table_head(settings: Sequence[str]) -> str:
    """The first two lines of the table."""
    coded = [f"{each}: bytes, bpp, dB" for each in (f"JPEG {JPEG_QUALITY}", *settings)]
    names = ["picture", "size", "PNG: bytes", *coded]
    return f"| {' | '.join(names)} |\n{'|---' * len(names)}|"


def _size(result: Result) -> str:
    height, width, channels = result.original.shape
    mode = {1: "gray", 3: "RGB", 4: "RGBA"}[channels]
    return f"{width}\N{MULTIPLICATION SIGN}{height} {mode}"


def _figures(result: Result, coded: Coded) -> str:
    return f"{coded.file_bytes:,}, {result.bpp(coded.file_bytes):.3f}, {_decibels(coded)}"


def _decibels(coded: Coded, unit: str = "") -> str:
    return "exact" if math.isinf(coded.psnr_db) else f"{coded.psnr_db:.2f}{unit}"


def worst_figure(results: Sequence[Result], setting: str) -> np.ndarray:
    """A row for each picture: original, decoded and magnified error, where that is greatest.

    Args:
        results: at least one, with this setting.
        setting: which.

    Returns:
        uint8 (height, width, 3).
    """
    from evaluation.picture_grid import as_rgb, draw_grid, to_pixels

    rows = []
    for result in results:
        coded = result.coded[setting]
        part = _worst_part(result.original, coded)
        x, x_hat = as_rgb(result.original[part]), as_rgb(coded.pixels[part])
        enlarge = max(1, CELL_PX // max(x.shape[:2]))
        shown = x, x_hat, abs(x - x_hat) * ERROR_GAIN
        cells = [_framed(to_pixels(each, enlarge, 1)) for each in shown]
        part_of = "" if x.shape[:2] == result.original.shape[:2] else "a part, "
        note = f"{part_of}{enlarge}\N{MULTIPLICATION SIGN} size"
        rows.append((_label(result, coded, note), cells))
    error = f"error \N{MULTIPLICATION SIGN} {ERROR_GAIN}"
    return draw_grid(rows, ["original", f"decoded ({setting})", error])


def _worst_part(original: Pixels, coded: Coded) -> tuple[slice, slice]:
    """The square with the greatest error that the figure has room for."""
    from evaluation.benchmark_pictures import Shown, Version, most_different

    side = min(PART_PX, SLENDER * min(original.shape[:2]))
    version = Version("", "", coded.file_bytes, coded.pixels, coded.psnr_db, 0)
    left, top, right, bottom = most_different(Shown("", "", original, (version,), ()), side)
    return slice(top, bottom), slice(left, right)


def _framed(pixels: Pixels) -> Pixels:
    """A picture in the middle of a light gray square, with a line around: paper is white too."""
    import numpy as np

    room = [CELL_PX - side for side in pixels.shape[:2]]
    around = [(each // 2, each - each // 2) for each in room]
    square = np.pad(pixels, (*around, (0, 0)), constant_values=240)
    return np.pad(square, ((1, 1), (1, 1), (0, 0)), constant_values=160)


def _label(result: Result, coded: Coded, note: str) -> str:
    def figures(each: Coded) -> str:
        return f"{result.bpp(each.file_bytes):.3f} bpp, {_decibels(each, ' dB')}"

    parts = [
        (result.name.replace(", ", ",\n"), _size(result), note),
        ("decoded:", figures(coded)),
        (f"JPEG {JPEG_QUALITY}:", figures(result.jpeg)),
        ("PNG:", f"{result.bpp(result.png_bytes):.3f} bpp"),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts)


def main(argv: Sequence[str]) -> int:
    """Runs the benchmark; see the module."""
    flags = build_parser().parse_args(argv)
    if flags.output.exists() and not flags.output.is_dir():
        raise UserError(f"--output {flags.output}: is a file")
    bundle = read_bundle(find_bundle(flags.model))
    if bundle.geometry.channels == 1:
        raise UserError(f"--model {bundle.path}: is for gray pictures, most here are in colour")
    settings, shown = settings_of(bundle, flags.quality)
    effort = effort_of(flags.effort, bundle)
    codec = open_codec(bundle, start_keras(bundle, "float32", 1), effort)
    from builders.run_folder import write_atomically
    from evaluation.hard_pictures import PICTURES

    lines = [table_head(list(settings))]
    print(lines[0], flush=True)
    results = []
    for name, make in PICTURES.items():
        results.append(measured(codec, name, make(), settings))
        lines.append(table_row(results[-1], list(settings)))
        print(lines[-1], flush=True)
    failures = [f"{each.name}, {why}" for each in results for why in each.failures]
    title = f"# Hard pictures: {bundle.manifest.name}, {bundle.digest.hex()[:12]}"
    about = (
        "Bytes are those of whole files, with alpha where there is one; PSNR leaves alpha out. "
        f"JPEG is Pillow's at quality {JPEG_QUALITY}, 4:2:0, without alpha."
    )
    parts = [title, about, "\n".join(lines)]
    if failures:
        parts += ["Failed:", "\n".join(f"- {each}" for each in failures)]
    back = [each for each in results if shown in each.coded]
    if back:
        worst = sorted(back, key=lambda each: each.coded[shown].psnr_db)[:WORST]
        figure = file_of(worst_figure(worst, shown), "PNG", optimize=True)
        write_atomically(flags.output / "robustness.png", figure)
        parts.append(f"![The worst at {shown}](robustness.png)")
    write_atomically(flags.output / "robustness.md", "\n\n".join(parts) + "\n")
    if failures:
        raise RunError("\n".join(failures))
    return 0


if __name__ == "__main__":
    run_command(main)
