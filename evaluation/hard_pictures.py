"""Pictures that a codec trained on photos finds hard, made here: nothing is downloaded.

Every function is pure and gives the same pixels each time: uint8 (H, W, C) with C = 1 (gray),
3 (RGB) or 4 (RGBA). Letters are those of the font that Pillow carries, photos those that
scikit-image does; another version of either may change them a little.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from evaluation.codecs import Pixels

SIDE: Final = 256
"""Pixels a side of pictures whose size is not what makes them hard."""
STRIP: Final = 4000
"""Longer side of the very wide and the very tall picture, 8 pixels on the other side."""
LINE: Final = 300
"""Length of the pictures of one row and of one column."""

RED: Final = (255, 0, 0)
SATURATED: Final = (RED, (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255))

_WORDS: Final = (
    "A codec that has seen photos only has learned that edges are soft, that colours change slowly "
    "and that most of a picture is texture which nobody looks at twice. Letters are the opposite: "
    "two colours, nothing in between but the gray of smoothed edges, and each stroke means "
    "something. Where a stroke is lost, so is the word. Lines of one pixel, sharp corners and flat "
    "paper stand beside each other, and an error of a few levels is seen on white at once. "
)

_TEAL, _BAR, _PANEL, _SELECTED = (0, 110, 120), (28, 60, 150), (236, 236, 236), (51, 120, 220)
_BLACK, _WHITE, _SHADE = (0, 0, 0), (255, 255, 255), (150, 150, 150)


def flat(*color: int) -> Pixels:
    """One colour: (SIDE, SIDE, 3)."""
    return np.full((SIDE, SIDE, 3), color, np.uint8)


def noise() -> Pixels:
    """White noise, each channel for itself: nothing in it can be foretold."""
    return np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def page() -> Pixels:
    """A page of small text, black on white, under a heading."""
    image = Image.new("RGB", (400, 480), "white")
    draw = ImageDraw.Draw(image)
    draw.text((24, 16), "On letters", _BLACK, ImageFont.load_default(24))
    font = ImageFont.load_default(12)
    top, line = 56, ""
    for word in (_WORDS * 4).split():
        longer = f"{line} {word}".lstrip()
        if draw.textlength(longer, font) <= 352:
            line = longer
            continue
        draw.text((24, top), line, _BLACK, font)
        top, line = top + 16, word
        if top > 448:
            break
    return np.array(image)


def screenshot() -> Pixels:
    """A desktop: icons, two windows with bars and buttons, a table of one-pixel lines, a menu."""
    image = Image.new("RGB", (480, 360), _TEAL)
    draw = ImageDraw.Draw(image)
    small, normal = ImageFont.load_default(10), ImageFont.load_default(12)
    for number, name in enumerate(("Photos", "Notes", "Music", "Trash")):
        top = 12 + 64 * number
        _icon(draw, 18, top, SATURATED[number])
        draw.text((34, top + 42), name, _WHITE, small, anchor="mt")
    _window(draw, (84, 24, 330, 230), "Sizes of files")
    for row in range(9):
        y = 70 + 17 * row
        if row == 3:
            draw.rectangle((92, y, 322, y + 17), _SELECTED)
        draw.line((92, y, 322, y), _SHADE)
        ink = _WHITE if row == 3 else _BLACK
        draw.text((98, y + 3), f"picture_{row:03d}.png", ink, small)
        draw.text((316, y + 3), f"{(row * 7919 + 4211) % 90000:,}", ink, small, anchor="ra")
    for x in (92, 210, 322):
        draw.line((x, 70, x, 223), _SHADE)
    _window(draw, (210, 150, 464, 322), "Question")
    draw.text((226, 192), "Write over the file that is there?", _BLACK, normal)
    draw.rectangle((226, 216, 448, 236), _WHITE, _BLACK)
    draw.text((232, 220), "picture_003.nic", _BLACK, normal)
    draw.line((326, 219, 326, 233), _BLACK)
    for x, word in ((280, "Cancel"), (366, "Write")):
        draw.rectangle((x, 270, x + 76, 296), _PANEL, _BLACK)
        draw.text((x + 38, 283), word, _BLACK, normal, anchor="mm")
    draw.rectangle((0, 336, 479, 359), _PANEL)
    draw.line((0, 336, 479, 336), _WHITE)
    draw.text((10, 342), "Menu", _BLACK, normal)
    draw.text((470, 342), "12:34", _BLACK, normal, anchor="ra")
    return np.array(image)


def _icon(draw: ImageDraw.ImageDraw, left: int, top: int, color: tuple[int, int, int]) -> None:
    draw.rectangle((left, top, left + 32, top + 32), color, _BLACK)
    draw.ellipse((left + 7, top + 7, left + 25, top + 25), _WHITE, _BLACK)
    draw.line((left + 4, top + 28, left + 28, top + 4), _BLACK)


def _window(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], title: str) -> None:
    left, top, right, bottom = box
    draw.rectangle(box, _PANEL, _BLACK)
    draw.line((left + 1, bottom - 1, left + 1, top + 1, right - 1, top + 1), _WHITE)
    draw.rectangle((left + 3, top + 3, right - 3, top + 23), _BAR)
    draw.text((left + 10, top + 7), title, _WHITE, ImageFont.load_default(12))
    draw.rectangle((right - 20, top + 6, right - 6, top + 20), _PANEL, _BLACK)
    draw.line((right - 17, top + 9, right - 9, top + 17), _BLACK)
    draw.line((right - 17, top + 17, right - 9, top + 9), _BLACK)


def checkerboard(*colors: tuple[int, int, int]) -> Pixels:
    """Squares of one pixel in two colours: the highest frequency that a picture can have."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.array(colors, np.uint8)[(rows + columns) % 2]


def gradient() -> Pixels:
    """Red rises to the right, green downwards, blue falls to the right: bands would be seen."""
    rise = np.linspace(0, 255, SIDE)
    across, down = np.broadcast_to(rise, (SIDE, SIDE)), np.broadcast_to(rise[:, None], (SIDE, SIDE))
    return np.round(np.stack([across, down, 255 - across], axis=-1)).astype(np.uint8)


def stripes() -> Pixels:
    """Saturated colours in upright stripes, from 1 pixel wide above to 16 below."""
    columns = np.arange(SIDE)
    bands = [columns // width % len(SATURATED) for width in (1, 2, 4, 8, 16)]
    places = np.stack([bands[row * len(bands) // SIDE] for row in range(SIDE)])  # (H, W)
    return np.array(SATURATED, np.uint8)[places]


def photo(height: int = SIDE, width: int = SIDE) -> Pixels:
    """A part of a photo, which begins again where it ends: (height, width, 3)."""
    from skimage import data

    whole = data.astronaut()
    rows, columns = (np.arange(60, 60 + height), np.arange(100, 100 + width))
    return whole[rows[:, None] % whole.shape[0], columns % whole.shape[1]]


def gray_photo() -> Pixels:
    """A gray photo: (SIDE, SIDE, 1)."""
    from skimage import data

    return np.ascontiguousarray(data.camera()[40 : 40 + SIDE, 130 : 130 + SIDE, None])


def mask() -> Pixels:
    """The outline of a horse, filled: gray, 0 and 255 alone."""
    from skimage import data

    return np.where(data.horse(), 255, 0).astype(np.uint8)[..., None]


def transparent_photo() -> Pixels:
    """A photo that fades out around a disc: RGBA, its colours go on where nothing is seen of it."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    alpha = np.clip(4 * (110 - np.hypot(rows, columns)), 0, 255).round().astype(np.uint8)
    return np.concatenate([photo(), alpha[..., None]], axis=2)


PICTURES: Final[Mapping[str, Callable[[], Pixels]]] = MappingProxyType(
    {
        "black": lambda: flat(*_BLACK),
        "white": lambda: flat(*_WHITE),
        "saturated red": lambda: flat(*RED),
        "white noise": noise,
        "page of text": page,
        "screenshot": screenshot,
        "checkerboard, black and white": lambda: checkerboard(_BLACK, _WHITE),
        "checkerboard, red and blue": lambda: checkerboard(RED, (0, 0, 255)),
        "smooth gradient": gradient,
        "colour stripes": stripes,
        "gray photo": gray_photo,
        "binary mask": mask,
        "photo with alpha": transparent_photo,
        "one pixel": lambda: photo(1, 1),
        "one row": lambda: photo(1, LINE),
        "one column": lambda: photo(LINE, 1),
        "very wide": lambda: photo(8, STRIP),
        "very tall": lambda: photo(STRIP, 8),
        "odd, smaller than a block": lambda: photo(7, 13),
        "odd, wide": lambda: photo(65, 129),
        "odd, tall": lambda: photo(257, 191),
    }
)
"""Name -> what makes the picture."""
