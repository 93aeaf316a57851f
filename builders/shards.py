"""Arrays in files of at most a given size, and back. They know nothing of what the arrays are."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from builders.errors import RunError, UserError
from builders.run_folder import UNFINISHED, write_atomically
from builders.shard_forms import Encoded, decode, stored_dtype, stored_values
from builders.shard_manifest import (
    MANIFEST,
    ArrayEntry,
    Manifest,
    Piece,
    ShardEntry,
    read_manifest,
    write_manifest,
)

Shard = dict[str, np.ndarray]

_PREFIX, _SUFFIX = "shard-", ".safetensors"
_FILE_BYTES = 64
"""Of a shard without arrays: its length field, braces, and what aligns its data."""
_ENTRY_BYTES = 128
"""Of an array in a shard's header, beside its name: type, length, two offsets, punctuation."""
_SLIVER_VALUES = 256
"""An array is not cut for less room than this at the end of a shard."""


def packed_bytes(arrays: Mapping[str, Encoded], shard_bytes: int) -> int:
    """How many bytes shards of these arrays have; an upper bound, off by the headers' slack."""
    data = sum(each.values.nbytes for each in arrays.values())
    headers = [_header_bytes(part_key(name, 0)) for name in arrays]
    files = 1 + (data + sum(headers)) // (shard_bytes // 2)  # each is more than half full
    return data + sum(headers) + files * (_FILE_BYTES + max(headers, default=0) + _ENTRY_BYTES)


def _header_bytes(key: str) -> int:
    return len(key.encode()) + _ENTRY_BYTES


def split(arrays: Mapping[str, Encoded], shard_bytes: int) -> Iterator[Shard]:
    """Cuts arrays so that no shard is larger than asked for.

    Args:
        arrays: name -> array.
        shard_bytes: of a shard's file, at most.

    Yields:
        What a shard holds: `NAME#PART` -> values, flat. One shard at least.
    """
    shard: Shard = {}
    room = shard_bytes - _FILE_BYTES
    for name, array in arrays.items():
        start, part, values = 0, 0, array.values
        while start < values.size:
            key = part_key(name, part)
            fitting = (room - _header_bytes(key)) // values.itemsize
            left = values.size - start
            if fitting < min(left, _SLIVER_VALUES) and shard:
                yield shard
                shard, room = {}, shard_bytes - _FILE_BYTES
                continue
            count = min(left, fitting)
            if count < 1:
                raise ValueError(f"{shard_bytes} bytes are too few for a shard with {name}")
            shard[key] = values[start : start + count]
            room -= _header_bytes(key) + count * values.itemsize
            start, part = start + count, part + 1
    yield shard


def part_key(name: str, part: int) -> str:
    """The name of an array's part in its shard."""
    return f"{name}#{part}"


def write_shards(
    folder: Path, arrays: Mapping[str, Encoded], shard_bytes: int, **manifest: Any
) -> Manifest:
    """Writes a state; at any moment the folder holds one that is whole.

    The shards get new names, then the manifest is replaced, then the shards before are removed.

    Args:
        folder: is made.
        arrays: what is written.
        shard_bytes: of a shard, at most.
        manifest: its other fields, see `Manifest`.

    Raises:
        RunError: it can't be written; the state that was there is still there and valid.
    """
    generation = _generation(folder) + 1
    shards: dict[str, ShardEntry] = {}
    places: dict[str, list[Piece]] = {name: [] for name in arrays}
    try:
        for index, shard in enumerate(split(arrays, shard_bytes)):
            name = f"{_PREFIX}{generation:06}-{index:04}{_SUFFIX}"
            content = save(shard)
            shards[name] = ShardEntry(
                bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
            )
            write_atomically(folder / name, content)
            for key, values in shard.items():
                array = key.rpartition("#")[0]
                places[array].append(Piece(shard=name, values=values.size))
        entries = {
            name: ArrayEntry(
                shape=list(each.shape),
                dtype=each.dtype,
                stored=each.stored,
                parts=places[name],
            )
            for name, each in arrays.items()
        }
        written = Manifest(generation=generation, shards=shards, arrays=entries, **manifest)
        write_manifest(folder, written)
    except RunError as error:
        _remove(folder, list(shards))  # what was written would only take room
        kept = " The state that was there is still valid." if generation > 1 else ""
        raise RunError(f"{error}.{kept}") from None
    _remove(folder, [name for name in _shard_files(folder) if name not in shards])
    return written


def _generation(folder: Path) -> int:
    """Of the state in a folder; 0 where there is none."""
    return read_manifest(folder).generation if (folder / MANIFEST).exists() else 0


def _shard_files(folder: Path) -> list[str]:
    """Shards of any generation, and what a killed writing has left of one."""
    prefixes = (_PREFIX, f"{UNFINISHED}{_PREFIX}")
    return sorted(
        each.name
        for each in folder.iterdir()
        if each.name.startswith(prefixes) and each.name.endswith(_SUFFIX)
    )


def _remove(folder: Path, names: list[str]) -> None:
    for name in names:
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise RunError(f"{folder / name}: can't be removed: {error.strerror}") from None


def read_shards(folder: Path, manifest: Manifest) -> dict[str, np.ndarray]:
    """The arrays of a state, in the types they had.

    Raises:
        UserError: a shard is missing or was changed.
    """
    lost = [name for name in manifest.shards if not (folder / name).is_file()]
    if lost:
        count = len(manifest.shards)
        raise UserError(f"{folder}: {len(lost)} of {count} shards missing: {', '.join(lost[:5])}")
    parts: dict[str, list[np.ndarray]] = {name: [] for name in manifest.arrays}
    for name, entry in manifest.shards.items():
        shard = _read_shard(folder / name, entry)
        for key, values in shard.items():
            array, _, number = key.rpartition("#")
            if array not in parts or number != str(len(parts[array])):
                raise UserError(f"{folder / name}: holds {key}, which the manifest does not expect")
            parts[array].append(values)
    return {
        name: _joined(f"{folder}: {name}", entry, parts[name])
        for name, entry in manifest.arrays.items()
    }


def _read_shard(path: Path, entry: ShardEntry) -> Shard:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from None
    if len(content) != entry.bytes:
        raise UserError(f"{path}: damaged: {len(content)} bytes, the manifest says {entry.bytes}")
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise UserError(f"{path}: damaged: its bytes are not those that were written")
    try:
        found: Shard = load(content)
        return dict(sorted(found.items(), key=lambda item: int(item[0].rpartition("#")[2])))
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path}: not well formed: {error}") from None


def _joined(where: str, entry: ArrayEntry, parts: list[np.ndarray]) -> np.ndarray:
    shape = tuple(entry.shape)
    dtype = stored_dtype(entry.stored, entry.dtype)
    sizes, expected = [part.size for part in parts], [part.values for part in entry.parts]
    if sizes != expected or sum(sizes) != stored_values(entry.stored, shape):
        raise UserError(f"{where}: its parts do not make an array of the shape {list(shape)}")
    if any(part.dtype.name != dtype or part.ndim != 1 for part in parts):
        raise UserError(f"{where}: its parts are not {dtype}")
    values = np.concatenate(parts) if parts else np.zeros(0, dtype)
    return decode(Encoded(shape, entry.dtype, entry.stored, values))
