"""Damaged and hostile bytes against every reader of this package.

    python -m codec.fuzz 1000000 --seed 1
    python -m codec.fuzz 1000000 --bundle tests/golden/codec/bundle

With a bundle, the `.nic` files beside it are damaged too, given a right checksum, and decoded with
its model up to the latents: all that is left to networks after that are numbers.

A case is refused with a `NicError`, or what was read is written as the same bytes again. Anything
else, and any case that takes over two seconds, ends the run with the bytes that did it.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from codec.alpha import decode_alpha, encode_alpha
from codec.bundle import Bundle
from codec.checksum import check_latents, latents_crc32
from codec.clip_container import ClipFile, Group, read_clip_info
from codec.clip_header import ClipHeader
from codec.coder import SymbolCoder
from codec.container import NicFile, read_info
from codec.distributions import gaussian_tables
from codec.errors import NicError
from codec.header import Header, Mode
from codec.image_codec import ImageCodec
from codec.picture import Transforms
from codec.tables import TableSet
from codec.tiling import Tiling
from codec.whole_file import CRC_BYTES, sealed

SLOWEST_S = 2.0
DIGEST = bytes(range(8))
PLANE = (np.add.outer(np.arange(9), np.arange(7)) * 13).astype(np.uint8)
TABLES = TableSet.concatenate(
    [
        gaussian_tables([0.2, 1.0, 7.0]),
        TableSet.from_pmfs([[1.0], [0.5, 0.25]], [2**31 - 1, -(2**31)]),
    ]
)


class FuzzError(AssertionError):
    """A reader did what no bytes should make it do."""


@dataclass
class Report:
    """What came of a run: cases by target and outcome, and the slowest one in seconds."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0


Random = random.Random
Case = tuple[bytes, Callable[[bytes], None]]


class Fuzzer:
    """Makes and runs cases.

    Args:
        seed: the same seed makes the same cases.
        bundle: the folder of one, with files that it wrote beside it.
    """

    def __init__(self, seed: int = 0, bundle: Path | None = None) -> None:
        self._random = Random(seed)
        self._coder = SymbolCoder(TABLES)
        numbers = np.random.default_rng(0)
        self._index = numbers.integers(0, len(TABLES), 40)
        symbols = np.rint(numbers.standard_t(1.5, 40) * 5).astype(np.int32)
        self._stream = self._coder.encode(symbols, self._index)
        crc = latents_crc32([symbols])
        plain = Header(DIGEST, 8, 5, Mode.RGB, crc, quality=3)
        small = Header(DIGEST, 7, 9, Mode.GRAYSCALE, 1, orientation=6)
        tiled = Header(DIGEST, 300, 200, Mode.RGB, 2, tiling=Tiling(128, 16))
        alpha = encode_alpha(PLANE)
        self._whole = NicFile(plain, (self._stream,)).to_bytes()
        self._files = [
            self._whole,
            NicFile(small, (b"",), alpha, b"profile", b"II*\0").to_bytes(),
            NicFile(tiled, tuple(bytes([i] * i) for i in range(tiled.tiles))).to_bytes(),
            NicFile(Header(DIGEST, 900, 700, Mode.RGB, 0), (b"x",)).to_bytes(),  # padded
        ]
        clip = ClipHeader(DIGEST, 9, 700, Mode.RGB, Fraction(30000, 1001), 50, 20, quality=3)
        groups = (Group(self._stream, crc), Group(b"", 0), Group(b"x", 1))
        clips = [ClipFile(replace(clip, width=width), groups).to_bytes() for width in (9, 3000)]
        self._targets: dict[str, Callable[[], Case]] = {
            "file": lambda: (self._mutated(self._random.choice(self._files)), _read_file),
            "resealed": lambda: (self._resealed(), _read_file),
            "whole": lambda: (self._mutated(self._whole), self._read_whole),
            "stream": lambda: (self._mutated(self._stream), self._read_stream),
            "tables": lambda: (self._mutated(TABLES.to_bytes()), _read_tables),
            "alpha": lambda: (self._mutated(alpha), _read_alpha),
            "clip": lambda: (self._mutated(self._random.choice(clips)), _read_clip),
            "resealed_clip": lambda: (self._resealed(clips), _read_clip),
            "noise": lambda: (self._noise(), _read_anything),
        }
        if bundle is not None:
            self._codec = ImageCodec(Bundle.read(bundle), _no_transforms)
            written = [path.read_bytes() for path in sorted(bundle.parent.glob("*.nic"))]
            self._targets["picture"] = lambda: (self._resealed(written), self._read_picture)

    def run(self, cases: int) -> Report:
        """Runs cases, the targets in turn.

        Raises:
            FuzzError: one of them went wrong.
        """
        report = Report()
        names = list(self._targets)
        for number in range(cases):
            name = names[number % len(names)]
            data, read = self._targets[name]()
            start = time.perf_counter()
            try:
                read(data)
                outcome = "accepted"
            except NicError as error:
                outcome = type(error).__name__
            except Exception as error:
                raise FuzzError(f"case {number}, {name}: {error!r}: {data.hex()}") from error
            taken = time.perf_counter() - start
            if taken > SLOWEST_S:
                raise FuzzError(f"case {number}, {name}: took {taken:.1f} s: {data.hex()}")
            report.slowest_s = max(report.slowest_s, taken)
            report.outcomes[f"{name} {outcome}"] += 1
        return report

    def _mutated(self, data: bytes) -> bytes:
        out = bytearray(data)
        for _ in range(self._random.choice((0, 1, 1, 1, 2, 3, 8))):
            self._mutate(out)
        return bytes(out)

    def _mutate(self, out: bytearray) -> None:
        rng = self._random
        at = rng.randrange(len(out)) if out else 0
        match rng.randrange(7):
            case 0 if out:
                out[at] ^= 1 << rng.randrange(8)
            case 1 if out:
                out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 2:
                out[at:at] = rng.randbytes(rng.choice((1, 1, 2, 4, 9)))
            case 3:
                del out[at : at + rng.choice((1, 1, 2, 4, 9))]
            case 4:
                del out[at:]
            case 5:
                out[at : at + 5] = rng.choice((b"\xff" * 5, b"\x80\x80\x01", b"\xff\xff\x7f"))
            case _:
                out += rng.choice((b"\0", b"\0" * 4, b"\xff", bytes(out[:at])))

    def _resealed(self, files: Sequence[bytes] = ()) -> bytes:
        """A damaged file whose checksum is right, so that what is behind it gets to see it."""
        file = self._random.choice(files or self._files)
        body = self._mutated(file[:-CRC_BYTES])
        return sealed(body)

    def _noise(self) -> bytes:
        rng = self._random
        begins = (b"", b"\x89NIC\x01" + DIGEST, b"\x89NIV\x01" + DIGEST, b"NTAB\x01")
        start = rng.choice((*begins, bytes([rng.randrange(4)])))
        return start + rng.randbytes(rng.randrange(64))

    def _read_stream(self, data: bytes) -> None:
        symbols = self._coder.decode(data, self._index)
        _same(self._coder.encode(symbols, self._index), data)

    def _read_whole(self, data: bytes) -> None:
        file = NicFile.from_bytes(data)
        file.header.check_model(DIGEST)
        check_latents([self._coder.decode(file.latents[0], self._index)], file.header.latents_crc32)
        _same(self._whole, data)  # whatever passes all checks was not damaged

    def _read_picture(self, data: bytes) -> None:
        for tile in self._codec.decode_latents(NicFile.from_bytes(data)):
            if not np.isfinite(tile.y_hat).all():
                raise FuzzError("latents that are no numbers")


def _no_transforms() -> Transforms:
    raise FuzzError("the networks were asked for")


def _same(written: bytes, data: bytes) -> None:
    if written != data:
        raise FuzzError(f"read, but written as {written.hex()}")


def _read_file(data: bytes) -> None:
    file = NicFile.from_bytes(data)
    if read_info(data).file_bytes != len(data):
        raise FuzzError("the announced size is wrong")
    _same(file.to_bytes(), data)


def _read_clip(data: bytes) -> None:
    file = ClipFile.from_bytes(data)
    if read_clip_info(data).file_bytes != len(data):
        raise FuzzError("the announced size is wrong")
    _same(file.to_bytes(), data)


def _read_tables(data: bytes) -> None:
    _same(TableSet.from_bytes(data).to_bytes(), data)


def _read_alpha(data: bytes) -> None:
    plane = decode_alpha(data, PLANE.shape[1], PLANE.shape[0])
    if plane.shape != PLANE.shape or plane.dtype != np.uint8:
        raise FuzzError(f"a plane of shape {plane.shape}")


def _read_anything(data: bytes) -> None:
    for read in (_read_file, _read_clip, _read_tables, _read_alpha):
        try:
            read(data)
        except NicError:
            continue
    SymbolCoder(TABLES).decode(data, np.zeros(5, int))


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Damaged bytes against the readers of .nic files.")
    parser.add_argument("cases", type=int, nargs="?", default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bundle", type=Path, help="one with .nic files beside it")
    options = parser.parse_args(argv)
    start = time.perf_counter()
    try:
        report = Fuzzer(options.seed, options.bundle).run(options.cases)
    except FuzzError as error:
        print(error, file=sys.stderr)
        return 1
    for name, count in sorted(report.outcomes.items()):
        print(f"{count:10,} {name}")
    taken = time.perf_counter() - start
    print(f"{options.cases:,} cases in {taken:.0f} s, the slowest {report.slowest_s:.3f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
