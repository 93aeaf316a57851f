"""Bytes that were written once and must be read, and written, for ever.

If one of these tests fails, the format has changed: that takes a new version, not new golden files.
`python tests/codec/test_golden.py` writes the files that are missing.
"""

import zlib
from pathlib import Path

import numpy as np
import pytest

from codec import (
    Header,
    Mode,
    NicFile,
    StreamReader,
    StreamWriter,
    SymbolCoder,
    TableSet,
    Tiling,
    check_latents,
    decode_alpha,
    gaussian_tables,
    latents_crc32,
    tables_from_cdf,
)
from codec.distributions import ESCAPE_FLOOR
from codec.frequencies import TOTAL
from codec.range_reference import ReferenceCoder

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
SCALES = np.exp(np.linspace(np.log(0.11), np.log(64.0), 16))
EDGES = 3
DIGEST = bytes.fromhex("50d858e0985ecc7f")


def fresh_tables() -> TableSet:
    """As a model would make them; the golden ones were made so once."""
    centre = np.array([[-2.5], [0.1], [30.0]])
    logistic = tables_from_cdf(
        lambda x: 0.5 + 0.5 * np.tanh((x - centre) / 6),
        3,
        survival=lambda x: 0.5 - 0.5 * np.tanh((x - centre) / 6),
    )
    # EDGES of them, with the escapes that they are given.
    edges = TableSet.from_pmfs([[1.0], [0.25, 0.75], [0.01]], [-(2**31), 2**31 - 2, -70_000])
    return TableSet.concatenate([gaussian_tables(SCALES), logistic, edges])


def numbers(count: int, seed: int) -> np.ndarray:
    """Integers from 0 to 2**31 - 1 by a linear congruence: the same on every machine and version."""
    state, out = seed, []
    for _ in range(count):
        state = (state * 1103515245 + 12345) % 2**31
        out.append(state >> 4)
    return np.array(out)


def arrays(tables: TableSet) -> list[tuple[np.ndarray, np.ndarray]]:
    """Symbols (H, W, C) and table indices: small, large and extreme ones."""
    out = []
    for shape, seed in (((3, 4, 5), 1), ((9, 7, 4), 2), ((1, 1, 22), 3)):
        size = int(np.prod(shape))
        index = numbers(size, seed) % len(tables)
        place = numbers(size, seed + 10) % (tables.lengths[index] + 2) - 1
        symbols = tables.lows[index].astype(np.int64) + place
        kind = numbers(size, seed + 20) % 40
        symbols[kind == 7] = numbers(size, seed + 30)[kind == 7] * 16 - 2**30
        symbols[kind == 8] = 2**31 - 1
        symbols[kind == 9] = -(2**31)
        symbols = np.clip(symbols, -(2**31), 2**31 - 1)
        out.append((symbols.reshape(shape), index.reshape(shape)))
    return out


def golden_tables() -> TableSet:
    return TableSet.from_bytes((GOLDEN / "tables.ntab").read_bytes())


def stream(tables: TableSet, coder=None, count: int = 3) -> bytes:
    """The first arrays in one stream."""
    writer = StreamWriter(coder)
    for symbols, index in arrays(tables)[:count]:
        writer.write(SymbolCoder(tables, coder), symbols, index)
    return writer.finish()


def files(tables: TableSet) -> dict[str, NicFile]:
    """The containers, by name."""
    (a, a_index), (b, b_index), _ = arrays(tables)
    coder = SymbolCoder(tables)
    first, second = coder.encode(a, a_index), coder.encode(b, b_index)
    both = latents_crc32([a, b])
    rgb, gray = Mode.RGB, Mode.GRAYSCALE
    return {
        "plain": NicFile(
            Header(DIGEST, 768, 512, rgb, both, quality=3), (stream(tables, count=2),)
        ),
        "pixel": NicFile(Header(DIGEST, 1, 1, gray, 0), (b"",)),
        "padded": NicFile(Header(DIGEST, 1000, 800, rgb, latents_crc32([a])), (first,)),
        "tiled": NicFile(
            Header(DIGEST, 200, 100, rgb, both, tiling=Tiling(128, 16)), (first, second)
        ),
        "everything": NicFile(
            Header(DIGEST, 5, 4, gray, latents_crc32([b]), quality=255, orientation=8),
            (second,),
            alpha=b"\x03" + zlib.compress(bytes(range(20)), 0),  # level 0: the same in every zlib
            icc_profile=b"not really a profile",
            exif=b"MM\0*\0\0\0\x08",
        ),
    }


def contents() -> dict[str, bytes]:
    """All golden files as they would be written now, from the golden tables."""
    tables = golden_tables()
    out = {"stream.bin": stream(tables)}
    out |= {f"{name}.nic": file.to_bytes() for name, file in files(tables).items()}
    return out


NAMES = ["stream.bin", "plain.nic", "pixel.nic", "padded.nic", "tiled.nic", "everything.nic"]


def test_every_golden_file_is_checked():
    """Files of this package; other tests may have folders beside them."""
    found = {path.name for path in GOLDEN.iterdir() if path.is_file()}
    assert {"tables.ntab", *NAMES} <= found


@pytest.mark.parametrize("name", NAMES)
def test_the_same_bytes_are_written(name):
    assert contents()[name] == (GOLDEN / name).read_bytes()


def test_the_tables_are_the_same_bytes_again():
    data = (GOLDEN / "tables.ntab").read_bytes()
    assert golden_tables().to_bytes() == data
    assert golden_tables().digest.hex() == (
        "54edf21a2857748749b871b0efe837349550d72342f424c5c978aec9835ffcc2"
    )


def test_tables_made_now_are_the_golden_ones_up_to_rounding():
    """The mathematics library of another machine may round otherwise; nothing depends on it.

    The golden tables are from before escapes had a floor: it takes its share from all the others.
    """
    tables, fresh = golden_tables(), fresh_tables()
    assert np.array_equal(fresh.lows, tables.lows)
    assert np.array_equal(fresh.lengths, tables.lengths)
    for index in range(len(tables)):
        now, then = (each.table(index).astype(int) for each in (fresh, tables))
        floor = TOTAL * ESCAPE_FLOOR if index < len(tables) - EDGES else 1
        assert now[-1] == pytest.approx(max(then[-1], floor), abs=2)
        share = (TOTAL - now[-1]) / (TOTAL - then[-1])
        assert np.abs(now[:-1] - then[:-1] * share).max() <= 2


@pytest.mark.parametrize("coder", [None, ReferenceCoder()], ids=["constriction", "reference"])
def test_the_stream_is_read_and_written_by_both_coders(coder):
    tables = golden_tables()
    data = (GOLDEN / "stream.bin").read_bytes()
    assert stream(tables, coder) == data
    reader = StreamReader(data, coder)
    for symbols, index in arrays(tables):
        assert np.array_equal(reader.read(SymbolCoder(tables, coder), index), symbols)
    reader.finish()


@pytest.mark.parametrize("name", ["pixel", "padded", "tiled", "everything"])
def test_containers_are_read(name):
    tables = golden_tables()
    found = NicFile.from_bytes((GOLDEN / f"{name}.nic").read_bytes())
    assert found == files(tables)[name]
    (_, a_index), (_, b_index), _ = arrays(tables)
    indices = {"tiled": [a_index, b_index], "everything": [b_index], "padded": [a_index]}
    coder = SymbolCoder(tables)
    latents = [
        coder.decode(data, index)
        for data, index in zip(found.latents, indices.get(name, []), strict=name != "pixel")
    ]
    check_latents(latents, found.header.latents_crc32)


def test_a_container_with_several_arrays_in_one_stream_is_read():
    tables = golden_tables()
    found = NicFile.from_bytes((GOLDEN / "plain.nic").read_bytes())
    reader = StreamReader(found.latents[0])
    latents = [reader.read(SymbolCoder(tables), index) for _, index in arrays(tables)[:2]]
    reader.finish()
    check_latents(latents, found.header.latents_crc32)


def test_the_alpha_plane_is_read():
    found = NicFile.from_bytes((GOLDEN / "everything.nic").read_bytes())
    residual = np.arange(20).reshape(4, 5)
    expected = residual.cumsum(0).cumsum(1) % 256
    assert np.array_equal(decode_alpha(found.alpha, 5, 4), expected)


def write_missing() -> None:
    """Writes golden files that are not there."""
    GOLDEN.mkdir(exist_ok=True)
    tables = GOLDEN / "tables.ntab"
    if not tables.exists():
        tables.write_bytes(fresh_tables().to_bytes())
    for name, data in contents().items():
        if not (GOLDEN / name).exists():
            (GOLDEN / name).write_bytes(data)


if __name__ == "__main__":
    write_missing()
