"""Symbols to bytes and back: frequency tables, range coder, the `.nic` file. NumPy, no Keras.

docs/bitstream.md is the format. What a codec needs, in the order it needs it:

- `gaussian_tables`, `tables_from_cdf`, `TableSet`: frozen when a model is exported, stored with it;
- `SymbolCoder`, or `StreamWriter` and `StreamReader` for several arrays in one stream;
- `latents_crc32`, `check_latents`: whether the decoder found what was coded;
- `Header`, `NicFile`, `read_info`, `Tiling`, `encode_alpha`, `decode_alpha`: the file;
- `NicError`: everything that can be wrong with one.
"""

from codec.alpha import decode_alpha, encode_alpha
from codec.checksum import check_latents, latents_crc32
from codec.coder import StreamReader, StreamWriter, SymbolCoder
from codec.container import FileInfo, NicFile, SectionKind, read_info
from codec.distributions import gaussian_tables, tables_from_cdf
from codec.errors import NicError
from codec.header import Header, Mode
from codec.tables import TableSet
from codec.tiling import Tiling

__all__ = [
    "FileInfo",
    "Header",
    "Mode",
    "NicError",
    "NicFile",
    "SectionKind",
    "StreamReader",
    "StreamWriter",
    "SymbolCoder",
    "TableSet",
    "Tiling",
    "check_latents",
    "decode_alpha",
    "encode_alpha",
    "gaussian_tables",
    "latents_crc32",
    "read_info",
    "tables_from_cdf",
]
