"""Ours and other projects' scale hyperprior of 128 and 192 channels, by turns: speed alone.

    benchmarks/compressai.sh --version        # makes the environments, once
    benchmarks/tfc.sh --version
    python -m benchmarks.peers --image PHOTO [--rounds 5] [--peers compressai,tfc]

Ours is models/bmshj2018_hyperprior.json. All have random weights: transforms make the same number
of products whatever they are, entropy coding takes less than with trained ones. Each round asks one
after the other to encode and decode the picture and to make training steps of 8 x 256 x 256 pixels;
all have the same number of cores, and what one of them has warmed up stays so. Medians of rounds.

`--steps 0` leaves training out, and `--model BUNDLE` times another model of ours beside.
"""

import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from builders.backend import choose_backend
from builders.benchmark_flags import names
from builders.cli import Parser, natural, positive, run_command
from builders.codec_choice import find_bundle, open_codec, read_bundle
from builders.errors import RunError
from builders.threads import confine

if TYPE_CHECKING:
    import numpy as np

SPEC = "models/bmshj2018_hyperprior.json"
ARCHITECTURE = "bmshj2018-hyperprior"
BATCH, SIDE = 8, 256

Times = dict[str, list[float]]


def build_parser() -> Parser:
    """The flags."""
    parser = Parser(prog="benchmarks.peers", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--image", required=True, metavar="FILE", help="picture to encode and decode")
    add("--peers", type=names, default=["compressai", "tfc"], metavar="LIST")
    add(
        "--model", action="append", default=[], metavar="BUNDLE", help="a codec of ours to time too"
    )
    add("--rounds", type=positive, default=5)
    add("--steps", type=natural, default=1, help="training steps of each in a round")
    add("--threads", type=positive, help="cores for each (all)")
    return parser


class Ours:
    """Our model of the spec, with the weights it begins with.

    Args:
        folder: for its codec.
    """

    def __init__(self, folder: Path) -> None:
        import keras
        import numpy as np

        from builders.codec_export import CodecChoices
        from builders.codec_writing import write_codec
        from builders.model_builder import ModelBuilder
        from builders.optimizers import build_optimizer
        from builders.spec import load_spec

        spec = load_spec(Path(SPEC), {"training.metrics": []})
        self._model = ModelBuilder(spec).build()
        self._model.compile(optimizer=build_optimizer(spec, self._model))
        random = np.random.default_rng(0)
        self._batch = random.integers(0, 256, (BATCH, SIDE, SIDE, 3)).astype(np.uint8)
        images, choices = [self._batch], CodecChoices()
        write_codec(self._model.generator, spec, images, folder, choices, lambda _: None)
        self.versions = {each: version(each) for each in ("keras", keras.backend.backend())}

    def train_step(self) -> float:
        """Seconds."""
        began = time.perf_counter()
        self._model.train_on_batch(self._batch)
        return time.perf_counter() - began


def our_codec(path: Path) -> "Callable[[np.ndarray], tuple[float, float]]":
    """What encodes and decodes a picture with a bundle, and gives the seconds of both."""
    from builders.codec_transforms import bundle_transforms
    from codec.picture import Picture

    bundle = read_bundle(path)
    codec = open_codec(bundle, lambda: bundle_transforms(bundle))

    def run(pixels: "np.ndarray") -> tuple[float, float]:
        began = time.perf_counter()
        data = codec.compress(Picture(pixels))
        between = time.perf_counter()
        codec.decompress(data)
        return between - began, time.perf_counter() - between

    return run


def main(argv: Sequence[str]) -> int:
    """Prints a table; see the module."""
    from evaluation.codecs import CodecError

    try:
        return compared(build_parser().parse_args(argv))
    except CodecError as error:
        raise RunError(str(error)) from None


def compared(flags: Namespace) -> int:
    """Measures and prints."""
    bundles = [find_bundle(each, "--model") for each in flags.model]
    threads = confine(flags.threads)
    choose_backend()
    from builders.benchmark_peers import started_peers
    from builders.benchmarking import open_photos

    pixels = open_photos(Path(flags.image), "--image")[0].load()
    found: dict[str, dict[str, list[float]]] = {}

    def note(name: str, **seconds: float) -> None:
        for what, value in seconds.items():
            found.setdefault(name, {}).setdefault(what, []).append(value)

    with ExitStack() as stack:
        wanted = [f"{each}-{ARCHITECTURE}" for each in flags.peers]
        peers = stack.enter_context(started_peers(wanted, threads))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "codec"
        ours = Ours(folder)
        codecs = {"ours": our_codec(folder), **{p.name: our_codec(p) for p in bundles}}
        for turn in range(-1, flags.rounds):  # the first one warms up
            for name, code in codecs.items():
                encode, decode = code(pixels)
                if turn >= 0:
                    note(name, encode=encode, decode=decode)
            for peer in peers:
                told = peer.process.code(ARCHITECTURE, pixels, threads, 1)
                if turn >= 0:
                    note(peer.name, encode=told["encode_s"][0], decode=told["decode_s"][0])
            for _ in range(flags.steps):
                step = ours.train_step()
                if turn >= 0:
                    note("ours", step=step)
            for peer in peers if flags.steps else ():
                asked = {"batch": BATCH, "side": SIDE, "steps": flags.steps}
                asked |= {"architecture": ARCHITECTURE, "threads": threads}
                told = peer.process.ask({"do": "train", **asked})
                if turn >= 0:
                    for step in told["step_s"]:
                        note(peer.name, step=step)
        versions = [("ours", ours.versions), *((p.name, p.process.versions) for p in peers)]
    print_table(found, pixels.shape, flags.rounds)
    for name, told in versions:
        print(f"{name}: {', '.join(f'{k} {v}' for k, v in told.items())}")
    return 0


def print_table(found: dict[str, Times], shape: tuple[int, ...], rounds: int) -> None:
    """Medians, and in parentheses how much of the others' ours take."""
    names = {"encode": "encode, s", "decode": "decode, s", "step": "training step, s"}
    height, width = shape[:2]
    print(f"{width} x {height} pixels, medians of {rounds} rounds (least to most); ours / theirs\n")
    print("| | " + " | ".join(names.values()) + " |\n|---|" + "---|" * len(names))
    own = {what: statistics.median(values) for what, values in found["ours"].items()}
    for name, times in found.items():
        cells = []
        for what in names:
            values = times.get(what)
            if values is None:
                cells.append("-")
                continue
            middle = statistics.median(values)
            cell = f"{middle:.3f} ({min(values):.3f} to {max(values):.3f})"
            if name != "ours":
                cell += f"; {own[what] / middle:.2f}"
            cells.append(cell)
        print(f"| {name} | " + " | ".join(cells) + " |")
    print()


if __name__ == "__main__":
    run_command(main)
