"""What `.nic` and `.nicv` files say of themselves, without a model."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from builders.coding_jobs import STREAM, label
from builders.errors import UserError
from builders.file_search import files_below
from codec.clip_container import ClipFile, ClipInfo, read_clip_info
from codec.container import FileInfo, SectionKind, read_info
from codec.errors import NicError

MAX_BYTES = 1 << 31


def tell_info(inputs: Sequence[str], say: Callable[[str], None]) -> int:
    """Tells about each file; folders stand for the `.nic` and `.nicv` files in them.

    Args:
        inputs: files, folders, or `-` for standard input.
        say: takes the lines.

    Returns:
        1 when a file could not be read, else 0.

    Raises:
        UserError: an input is missing.
    """
    failed = False
    try:
        sources = _sources(inputs)
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise UserError(f"{error.filename}: {error.strerror}") from None
    for source in sources:
        try:
            lines = _clip_lines(source) if _is_clip(source) else _image_lines(source)
        except (NicError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            print(f"decompress.py: {label(source)}: {reason}", file=sys.stderr)
            failed = True
            continue
        for line in lines:
            say(line)
    return int(failed)


def _is_clip(source: str) -> bool:
    return Path(source).suffix.lower() == ".nicv"


def _image_lines(source: str) -> list[str]:
    content = sys.stdin.buffer.read(MAX_BYTES) if source == STREAM else Path(source)
    return info_lines(source, read_info(content))


def _clip_lines(source: str) -> list[str]:
    with Path(source).open("rb") as file:
        content = file.read(MAX_BYTES)
    ClipFile.from_bytes(content)  # the list of groups is most of what can be told: it must be right
    return clip_info_lines(source, read_clip_info(content))


def _sources(inputs: Sequence[str]) -> list[str]:
    found = []
    for given in inputs:
        path = Path(given)
        if given == STREAM or path.is_file():
            found.append(given)
        elif path.is_dir():
            inside = files_below(path, (".nic", ".nicv"))
            if not inside:
                raise UserError(f"{given}: no .nic or .nicv files in it")
            found += [str(path / name) for name in inside]
        else:
            raise UserError(f"{given}: no such file or folder")
    return found


def info_lines(source: str, info: FileInfo) -> list[str]:
    """What is known about a file, in lines."""
    header = info.header
    bpp = 8 * info.file_bytes / header.pixels
    tiles = "one piece"
    if header.tiling is not None:
        tiles = (
            f"{header.tiles} tiles of {header.tiling.tile} pixels that overlap by "
            f"{header.tiling.overlap}"
        )
    rows = [
        ("size", f"{header.width}x{header.height} pixels, {header.mode.name.lower()}, {tiles}"),
        ("bytes", f"{info.file_bytes:,} ({bpp:.3f} bits per pixel)"),
        ("model", header.model_digest.hex()),
        ("quality", f"{header.quality} of 0 to 255"),
    ]
    if header.orientation != 1:
        rows.append(("orientation", f"{header.orientation} (EXIF)"))
    parts = {kind: info.bytes_of(kind) for kind in SectionKind}
    held = [f"{kind.name.lower()} {size:,}" for kind, size in parts.items() if size]
    rows.append(("sections", ", ".join([f"header {info.header_bytes}", *held])))
    return [source, *(f"  {name:<12}{text}" for name, text in rows)]


def clip_info_lines(source: str, info: ClipInfo) -> list[str]:
    """What is known about a clip, in lines."""
    header = info.header
    pixels = header.frame_pixels * header.frames
    seconds = float(header.frames / header.rate)
    rows = [
        ("size", f"{header.width}x{header.height} pixels, {header.mode.name.lower()}"),
        ("frames", f"{header.frames}, {float(header.rate):.6g} a second, {seconds:.2f} s"),
        (
            "bytes",
            f"{info.file_bytes:,} ({8 * info.file_bytes / pixels:.3f} bits per pixel, "
            f"{8e-3 * info.file_bytes / header.frames:.2f} kbit a frame)",
        ),
        ("model", header.model_digest.hex()),
        ("quality", f"{header.quality} of 0 to 255"),
        ("key frames", f"{header.groups}, one every {header.interval} frames"),
        ("sections", f"header {info.header_bytes}, groups {sum(info.lengths):,}"),
    ]
    if info.padding:
        rows[-1] = (rows[-1][0], f"{rows[-1][1]}, padding {info.padding:,}")
    return [source, *(f"  {name:<12}{text}" for name, text in rows)]
