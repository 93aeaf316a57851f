"""A picture to the bytes of a `.nic` file and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from codec.alpha import decode_alpha, encode_alpha
from codec.bundle import Bundle
from codec.checksum import check_latents, latents_crc32
from codec.container import NicFile
from codec.errors import NicBundleError, NicFieldError
from codec.header import Header, Mode
from codec.latent_coder import Decoded, Float32, LatentCoder
from codec.picture import Picture, PictureError, Transforms, as_mode, for_model
from codec.refinement import BIT_PRICE, refined, window_side
from codec.seams import fade_in
from codec.tiling import Tiling
from codec.whole_file import DIGEST_BYTES
from codec.work_limits import (
    TILE,
    WHOLE_BYTES,
    boxes_of,
    check_memory,
    most_pixels,
    padded_pixels,
)

OVERLAP: Final = 32
"""Pixels that neighbouring tiles share, over which one fades into the other."""


@dataclass(frozen=True)
class _Tile:
    """A tile on its way to bytes.

    Attributes:
        coder: for its hyper-latents.
        latents: as the encoder gave them.
        blocks: its pixels, uint8 (blocks, H, W, C); None where latents stay as they are.
    """

    coder: LatentCoder
    latents: Mapping[str, Float32]
    blocks: NDArray[np.uint8] | None = None


class ImageCodec:
    """Compresses and decompresses with the model of a bundle.

    Args:
        bundle: the model.
        transforms: makes the networks; called when they are first needed, which is after a file
            was found to be in order.
        engine: see `Bundle.coder`.
        effort: passes in which latents are made better for each picture, see `refined`; only files
            become other ones, and only where the model has an entropy model.

    Example:
        >>> codec = ImageCodec(Bundle.read("codec"), lambda: transforms)
        >>> data = codec.compress(Picture(pixels))
        >>> codec.decompress(data).pixels.shape == pixels.shape
        True
    """

    def __init__(
        self,
        bundle: Bundle,
        transforms: Callable[[], Transforms],
        engine: Any = None,
        effort: int = 0,
    ) -> None:
        self.bundle = bundle
        self.effort = effort
        self._make = transforms
        self._transforms: Transforms | None = None
        self._making = Lock()  # several threads may need them first
        self.coder = bundle.coder(engine)
        missing = set(self.coder.names) - set(bundle.geometry.grids)
        if missing:
            raise NicBundleError(f"{bundle.path}: no geometry of {sorted(missing)}")

    @property
    def transforms(self) -> Transforms:
        """The networks."""
        with self._making:
            if self._transforms is None:
                self._transforms = self._make()
            return self._transforms

    def tiling_for(self, height: int, width: int, tile: int | None = None) -> Tiling | None:
        """How a picture is cut.

        Args:
            height: in pixels, and `width`.
            tile: side of the tiles; 0 for one piece, None to choose by the memory it takes.

        Raises:
            NicFieldError: there are no tiles of that size.
        """
        entry = self.bundle.manifest.geometry
        if tile is None:
            free = entry.step != [0, 0]
            padded = self.bundle.geometry.plan(height, width).padded_pixels
            tile = TILE if free and padded * entry.bytes_per_pixel > WHOLE_BYTES else 0
        if tile == 0:
            return None
        tiling = Tiling(tile, min(OVERLAP, tile // 4))
        return tiling if tiling.count(width, height) > 1 else None

    def compress(
        self, picture: Picture, quality: int | None = None, tile: int | None = None
    ) -> bytes:
        """The bytes of a `.nic` file.

        Args:
            picture: what to store.
            quality: index of one of the model's qualities; None for its own choice.
            tile: see `tiling_for`.

        Raises:
            PictureError: the model is for other pictures.
            NicFieldError: the picture is too large for the format, or its tiles for the networks.
            ValueError: the model has no such quality.
        """
        quality = self.bundle.manifest.coder.default_quality if quality is None else quality
        if not 0 <= quality < self.bundle.qualities:
            raise ValueError(f"quality {quality}; the model has 0 to {self.bundle.qualities - 1}")
        header = self._header(picture, tile)
        tiles = self._analysed(picture, header)  # one at a time
        return self._file(picture, header, tiles, quality, _coded_alpha(picture))

    def compress_to(self, picture: Picture, most_bytes: int, tile: int | None = None) -> bytes:
        """The file of the highest quality that has at most so many bytes, found by bisection.

        Args:
            picture: what to store.
            most_bytes: size of the whole file.
            tile: see `tiling_for`.

        Raises:
            PictureError: the model is for other pictures, or even the lowest quality takes more.
            NicFieldError: see `compress`.
        """
        header = self._header(picture, tile)
        tiles, alpha = list(self._analysed(picture, header)), _coded_alpha(picture)
        best = self._file(picture, header, tiles, 0, alpha)
        if len(best) > most_bytes:
            raise PictureError(
                f"takes {len(best)} bytes at the lowest quality, {most_bytes} were asked for"
            )
        low, high = 0, self.bundle.qualities - 1
        while low < high:
            middle = (low + high + 1) // 2
            data = self._file(picture, header, tiles, middle, alpha)
            if len(data) <= most_bytes:
                low, best = middle, data
            else:
                high = middle - 1
        return best

    def file_of_latents(self, latents: Mapping[str, Float32], height: int, width: int) -> bytes:
        """The file of a picture in one piece whose latents are given, in the model's own quality.

        Args:
            latents: as the transforms give them for a picture of this size.
            height: in pixels, and `width`.
        """
        channels = self.bundle.geometry.channels
        picture = Picture(np.zeros((height, width, channels), np.uint8))
        check_shapes(latents, self.bundle.geometry.plan(height, width).shapes)
        quality = self.bundle.manifest.coder.default_quality
        tile = _Tile(self.coder, latents)
        return self._file(picture, self._header(picture, 0), [tile], quality, None)

    def _header(self, picture: Picture, tile: int | None) -> Header:
        self._check_picture(picture)
        height, width, channels = picture.pixels.shape
        header = Header(
            model_digest=self.bundle.digest[:DIGEST_BYTES],
            width=width,
            height=height,
            mode=Mode.RGB if channels == 3 else Mode.GRAYSCALE,
            latents_crc32=0,
            orientation=picture.orientation,
            tiling=self.tiling_for(height, width, tile),
        )
        check_memory(self.bundle, header)
        return header

    def _analysed(self, picture: Picture, header: Header) -> Iterator[_Tile]:
        """The latents of each tile."""
        pixels = for_model(picture.pixels, self.bundle.geometry.channels)
        for left, top, right, bottom in boxes_of(header):
            plan = self.bundle.geometry.plan(bottom - top, right - left)
            blocks = plan.blocks(pixels[top:bottom, left:right])
            latents = self.transforms.analyse(blocks)
            check_shapes(latents, plan.shapes)
            coder = self.coder.for_picture(latents)
            if self.effort == 0 or coder.bit_price is None:
                yield _Tile(coder, latents)
            else:
                coder.bit_price = BIT_PRICE
                yield _Tile(coder, latents, blocks)

    def _file(
        self,
        picture: Picture,
        header: Header,
        tiles: Iterable[_Tile],
        quality: int,
        alpha: bytes | None,
    ) -> bytes:
        streams, crc = [], 0
        for tile in tiles:
            latents = tile.latents
            if tile.blocks is not None:
                entry = self.bundle.manifest.geometry
                latents = refined(
                    tile.coder,
                    self.transforms,
                    latents,
                    tile.blocks,
                    quality,
                    self.effort,
                    window_side(entry.bytes_per_pixel) if entry.step != [0, 0] else None,
                )
            coded = tile.coder.encode(latents, quality)
            streams.append(coded.stream)
            crc = latents_crc32(coded.arrays, crc)
        file = NicFile(
            header=replace(header, quality=quality, latents_crc32=crc),
            latents=tuple(streams),
            alpha=alpha,
            icc_profile=picture.icc_profile,
            exif=picture.exif,
        )
        data = file.to_bytes()
        padded = padded_pixels(self.bundle.geometry, file.header)
        if padded > most_pixels(self.bundle.geometry, len(data)):
            raise PictureError(
                f"so thin that it is padded to {padded:,} pixels, and so plain that it takes only "
                f"{len(data)} bytes: no decoder would take that file"
            )
        return data

    def decompress(self, data: bytes) -> Picture:
        """The picture of a `.nic` file.

        All that can be wrong with the file is found before the networks run.

        Raises:
            NicError: a subclass for each cause.
        """
        file = NicFile.from_bytes(data)
        header = file.header
        geometry = self.bundle.geometry
        padded, most = padded_pixels(geometry, header), most_pixels(geometry, len(data))
        if padded > most:
            raise NicFieldError(
                f"{header.width} x {header.height} pixels, {padded:,} with padding: a file of "
                f"{len(data)} bytes has at most {most:,}"
            )
        alpha = None
        if file.alpha is not None:
            alpha = decode_alpha(file.alpha, header.width, header.height)
        tiles = self.decode_latents(file)
        channels = geometry.channels
        pixels = np.zeros((header.height, header.width, channels), np.uint8)
        for box, decoded in zip(boxes_of(header), tiles, strict=True):
            left, top, right, bottom = box
            plan = geometry.plan(bottom - top, right - left)
            blocks = self.transforms.synthesise(decoded.y_hat)
            wanted = (plan.rows * plan.columns, *plan.block, channels)
            check_shapes({"pixels": blocks}, {"pixels": wanted})
            fade_in(pixels, plan.picture(blocks), box, header.tiling)
        return Picture(
            as_mode(pixels, header.mode), alpha, file.icc_profile, file.exif, header.orientation
        )

    def decode_latents(self, file: NicFile) -> list[Decoded]:
        """The latents of each tile, known to be the ones that were coded.

        Raises:
            NicModelError: another model wrote the file.
            NicFieldError: its tiles are too large for the networks.
            NicStreamError: a stream is damaged.
            NicLatentsError: the latents are not those that were coded.
        """
        header = file.header
        header.check_model(self.bundle.digest)
        if header.quality >= self.bundle.qualities:
            raise NicBundleError(
                f"the file has quality {header.quality}, the model {self.bundle.qualities}"
            )
        if header.mode is Mode.RGB and self.bundle.geometry.channels == 1:
            raise NicBundleError("the file is in colour, the model is not")
        check_memory(self.bundle, header)
        tiles = []
        for box, stream in zip(boxes_of(header), file.latents, strict=True):
            left, top, right, bottom = box
            plan = self.bundle.geometry.plan(bottom - top, right - left)
            tiles.append(self.coder.decode(stream, plan.shapes, header.quality))
        check_latents((each for tile in tiles for each in tile.arrays), header.latents_crc32)
        return tiles

    def _check_picture(self, picture: Picture) -> None:
        pixels, alpha = picture.pixels, picture.alpha
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
            raise PictureError(
                f"pixels are uint8 (H, W, 1 or 3), not {pixels.dtype} {pixels.shape}"
            )
        if pixels.shape[2] > self.bundle.geometry.channels:
            raise PictureError("the picture is in colour, the model takes gray ones")
        if alpha is not None and alpha.shape != pixels.shape[:2]:
            raise PictureError(f"alpha of {alpha.shape} for pixels of {pixels.shape[:2]}")


def _coded_alpha(picture: Picture) -> bytes | None:
    return None if picture.alpha is None else encode_alpha(picture.alpha)


def check_shapes(latents: Mapping[str, NDArray[Any]], shapes: Mapping[str, Any]) -> None:
    """Compares what networks made with what the bundle says of it.

    Raises:
        NicBundleError: a shape differs.
    """
    for name, shape in shapes.items():
        if latents[name].shape != tuple(shape):
            raise NicBundleError(
                f"the model makes {name} of {latents[name].shape}, the bundle says {tuple(shape)}"
            )
