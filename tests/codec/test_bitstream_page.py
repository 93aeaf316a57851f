"""docs/bitstream.md says what the code does: its example, worked again."""

import re
from pathlib import Path

import numpy as np
import pytest

from codec import NicFile, SymbolCoder, TableSet, check_latents, container, errors, header, tables
from codec import tiling as tiling_module
from codec.range_reference import ReferenceCoder, ReferenceEncoder

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "bitstream.md").read_text(encoding="utf-8")
INDEX = np.array([0, 1] * 3).reshape(3, 1, 2)


def block(name: str) -> str:
    return re.search(rf"```{name}\n(.*?)```", PAGE, re.DOTALL)[1]


def hex_bytes(text: str) -> bytes:
    """Bytes in hexadecimal at the start of each line, up to two spaces and a word."""
    lines = (re.match(r"(?:[0-9A-F]{2}\b *)+", line) for line in text.splitlines())
    return bytes.fromhex("".join(match[0] for match in lines if match))


@pytest.fixture
def example():
    """Tables, symbols and the file of section 10."""
    words = block("symbols").split()
    symbols = np.array([int(word) for word in words]).reshape(3, 1, 2)
    return TableSet.from_bytes(hex_bytes(block("tables"))), symbols, hex_bytes(block("file"))


def test_the_file_decodes_to_the_symbols(example):
    tables, symbols, data = example
    file = NicFile.from_bytes(data)
    assert (file.header.width, file.header.height, file.header.quality) == (40, 24, 2)
    assert file.header.mode is header.Mode.RGB
    for coder in (None, ReferenceCoder()):
        found = SymbolCoder(tables, coder).decode(file.latents[0], INDEX)
        assert np.array_equal(found, symbols)
        check_latents([found], file.header.latents_crc32)


def test_the_symbols_make_the_file(example):
    tables, symbols, data = example
    assert tables.to_bytes() == hex_bytes(block("tables"))
    file = NicFile.from_bytes(data)
    stream = SymbolCoder(tables).encode(symbols, INDEX)
    assert file.latents == (stream,)
    assert stream.hex(" ").upper() in PAGE
    assert NicFile(file.header, (stream,)).to_bytes() == data
    bits = SymbolCoder(tables).estimate_bits(symbols, INDEX)
    assert f"the ideal code length is {bits:.2f} bits" in PAGE.replace("\n", " ")


def test_the_steps_in_the_table(example):
    tables, symbols, _ = example
    rows = re.findall(r"^\| .+? \| (\d+) \| (\d+) \| ([0-9a-f]+) \| ([0-9a-f]+) \|$", PAGE, re.M)
    found = []

    class Tracing(ReferenceEncoder):
        def _narrow(self, cumulative: int, frequency: int) -> None:
            super()._narrow(cumulative, frequency)
            settled = "".join(f"{word:08x}" for word in self._words)
            low, span = f"{settled}{self._low:016x}", f"{self._span:016x}"
            found.append((str(cumulative), str(frequency), low, span))

    class Coder(ReferenceCoder):
        def encoder(self) -> Tracing:
            return Tracing()

    SymbolCoder(tables, Coder()).encode(symbols, INDEX)
    assert found == rows


def test_every_refusal_has_its_class():
    section = PAGE[PAGE.index("## 9.") : PAGE.index("## 10.")]
    named = set(re.findall(r"`(Nic\w+Error)`", section))
    assert named == {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and value is not errors.NicError
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Width and height 1..2^20", header.MAX_SIDE == 2**20),
        ("width * height at most 2^30", header.MAX_PIXELS == 2**30),
        ("Tile 64..2^14", (tiling_module.MIN_TILE, tiling_module.MAX_TILE) == (64, 2**14)),
        ("2..2^16 tiles", tiling_module.MAX_TILES == 2**16),
        ("ceil(width * height / 2048)", container.PIXELS_PER_BYTE == 2048),
        ("| 1..2^22 |", container.MAX_ICC_BYTES == 2**22),
        ("| 1..2^20 |", container.MAX_EXIF_BYTES == 2**20),
        ("| 0..2^31 - 1 |", container.MAX_SECTION_BYTES == 2**31 - 1),
        ("number of tables T, 1..2^16", tables.MAX_TABLES == 2**16),
        ("uint32 `length`, 1..2^16", tables.MAX_LENGTH == 2**16),
        ("frequencies at most 2^22", tables.MAX_ENTRIES == 2**22),
    ],
)
def test_limits_are_the_codes(text, value):
    assert text in PAGE.replace("\n", " ")
    assert value
