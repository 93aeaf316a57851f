"""From the sizes found and the sizes asked for to what is done to every image."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from builders.errors import UserError
from builders.sources import ImageSource, Size


@dataclass(frozen=True)
class SizePlan:
    """What is done to every image.

    Attributes:
        resize: (height, width), or None.
        crop: (height, width) with None for a side that stays whole, or None.
        notes: what was decided for the user.
    """

    resize: Size | None
    crop: tuple[int | None, int | None] | None
    notes: list[str] = field(default_factory=list)


def plan_sizes(
    sources: Iterable[ImageSource],
    *,
    input_size: tuple[int | None, int | None],
    resize: Size | None,
    crop: Size | None,
) -> SizePlan:
    """Makes sure that every batch will have one size, and the one the spec's input has.

    - `resize` and `crop` are done as asked for, in this order; what comes out must be what the
      input wants.
    - With neither, images of the input's size pass; larger ones are cropped to it (said in a
      note); smaller ones are an error.
    - With a free input size and neither, all images must have one size.

    Args:
        sources: all images.
        input_size: (height, width) of the spec's input, None where it is free.
        resize: the dataset section's `resize`.
        crop: the dataset section's `crop`.

    Returns:
        The plan. Every image whose size is known fits it.

    Raises:
        UserError: an image does not fit, with its name, its size and the setting that helps.
    """
    if crop is not None:
        _check_output("crop", crop, input_size)
    elif resize is not None:
        _check_output("resize", resize, input_size)
    first_of = _first_of_each_size(sources)
    if resize is not None:
        if crop is not None and (crop[0] > resize[0] or crop[1] > resize[1]):
            raise UserError(
                f"dataset.crop: {_text(crop)} does not fit into dataset.resize {_text(resize)}"
            )
        return SizePlan(
            None if set(first_of) <= {resize} else resize, None if crop == resize else crop
        )
    if crop is not None:
        for size, name in first_of.items():
            if size is not None and (size[0] < crop[0] or size[1] < crop[1]):
                raise UserError(
                    f"{name}: {_text(size)} pixels (height x width) are too few for dataset.crop "
                    f"{_text(crop)}; choose a smaller crop, or set resize as well"
                )
        return SizePlan(None, None if set(first_of) <= {crop} else crop)
    return _plan_unasked(first_of, input_size)


def _plan_unasked(
    first_of: dict[Size | None, str], input_size: tuple[int | None, int | None]
) -> SizePlan:
    """The plan where the section names neither resize nor crop."""
    cut: list[bool] = [False, False]
    for size, name in first_of.items():
        if size is None:
            raise UserError(
                f"{name}: the sizes of these images are not known before they are decoded; set "
                "crop or resize in the dataset section"
            )
        for axis in (0, 1):
            wanted = input_size[axis]
            if wanted is not None and size[axis] < wanted:
                raise UserError(
                    f"{name}: {_text(size)} pixels (height x width) are fewer than the spec's "
                    f"input of {_text(input_size)}; set resize in the dataset section, for "
                    f'example "resize": [{input_size[0] or size[0]}, {input_size[1] or size[1]}]'
                )
            cut[axis] |= wanted is not None and size[axis] > wanted
    crop = (input_size[0] if cut[0] else None, input_size[1] if cut[1] else None)
    results = {
        tuple(
            length if side is None else side
            for length, side in zip(size or (0, 0), crop, strict=True)
        ): (size, name)
        for size, name in first_of.items()
    }
    if len(results) > 1:
        (one, first), (two, second) = list(results.values())[:2]
        raise UserError(
            f"the images have different sizes ({first}: {_text(one)}, {second}: {_text(two)}, "
            "height x width) and a batch needs equal ones; set crop (or resize) in the dataset "
            "section"
        )
    if not any(cut):
        return SizePlan(None, None)
    note = (
        f"images larger than the spec's input are cropped to {_text(input_size)}: at random "
        "places in training, from the middle otherwise (set resize or crop to choose)"
    )
    return SizePlan(None, crop, [note])


def _first_of_each_size(sources: Iterable[ImageSource]) -> dict[Size | None, str]:
    first_of: dict[Size | None, str] = {}
    for source in sources:
        for index in range(len(source)):
            size = source.size(index)
            if size not in first_of:
                first_of[size] = source.name(index)
    return first_of


def _check_output(setting: str, size: Size, input_size: tuple[int | None, int | None]) -> None:
    for length, wanted in zip(size, input_size, strict=True):
        if wanted is not None and length != wanted:
            hint = "" if setting == "crop" else ", or set crop as well"
            raise UserError(
                f"dataset.{setting}: images become {_text(size)} (height x width), the spec's "
                f"input is {_text(input_size)}; set {setting} to that{hint}"
            )


def _text(size: tuple[int | None, int | None] | None) -> str:
    return "unknown" if size is None else "x".join("any" if s is None else str(s) for s in size)
