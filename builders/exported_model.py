"""An exported model as something that regenerates images, whatever its format and parts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from builders.errors import UserError
from builders.export_formats import FORMATS, format_of, runs_here
from builders.export_info import ExportInfo, SideRule, read_info
from builders.export_runners import CannotRunError, Runner, open_runner
from builders.problems import near_miss

PAIR = ("encoder", "decoder")
FULL = "full"
PROBED_STEPS = (2, 4, 8, 16, 32, 64, 128, 256)
"""Multiples tried, in pixels, for a model whose file came without its information."""


@dataclass(frozen=True)
class _Part:
    runner: Runner
    info: ExportInfo | None


class ExportedModel:
    """Regenerates images with an exported model: one full model, or an encoder and a decoder.

    Args:
        parts: a full model alone, or encoder and decoder.

    Raises:
        UserError: they take or give something else than images, or don't belong together.
    """

    def __init__(self, parts: list[_Part]) -> None:
        self._parts = parts
        self._check()
        _, self.height, self.width, channels = parts[0].runner.input_shape
        """Height and width of the images; None where free."""
        self.channels = int(channels or 0)
        info = parts[0].info
        self._rules = (info.heights, info.widths) if info is not None else (None, None)
        self._found_step: int | None = None

    @property
    def paths(self) -> list[Path]:
        """The files or folders it was loaded from."""
        return [part.runner.path for part in self._parts]

    def accepts(self, height: int, width: int) -> bool:
        """Whether images of this size can be regenerated without resizing them."""
        return self.height in (None, height) and self.width in (None, width)

    def regenerate(self, images: np.ndarray) -> np.ndarray:
        """Images as they come back.

        Sizes that the model can't give back are padded by repeating the last row and column, and
        the result is cut to the size asked for.

        Args:
            images: uint8 (B, H, W, C).

        Returns:
            uint8 (B, H, W, C).

        Raises:
            CannotRunError: the model refuses images of this size, or gives back another.
        """
        height, width = images.shape[1:3]
        rows, columns = self._rules
        if rows is not None and columns is not None:
            return self._padded(images, rows.at_least(height), columns.at_least(width))
        if None not in (self.height, self.width):
            return self._padded(images, height, width)
        return self._probed(images)

    def _probed(self, images: np.ndarray) -> np.ndarray:
        """Tries larger and larger multiples until the size is kept, and remembers which one did."""
        height, width = images.shape[1:3]
        steps = PROBED_STEPS if self._found_step is None else (self._found_step,)
        failure: CannotRunError | None = None
        for step in (1, *steps):
            rule = SideRule(step, step)
            try:
                result = self._padded(images, rule.at_least(height), rule.at_least(width))
            except CannotRunError as error:
                failure = error
                continue
            if step > 1:
                self._found_step = step
            return result
        assert failure is not None
        raise failure

    def _padded(self, images: np.ndarray, height: int, width: int) -> np.ndarray:
        h, w = images.shape[1:3]
        x = np.pad(images, ((0, 0), (0, height - h), (0, width - w), (0, 0)), mode="edge")
        value = x
        for part in self._parts:
            value = part.runner.run(value)
        if value.shape != x.shape:
            raise CannotRunError(
                f"the model gives back {value.shape[2]}x{value.shape[1]} for {width}x{height}"
            )
        return value[:, :h, :w]

    def _check(self) -> None:
        first, last = self._parts[0].runner, self._parts[-1].runner
        if len(self._parts) == 2 and first.input_dtype != "uint8" and last.input_dtype == "uint8":
            raise UserError(f"{first.path} is a decoder: name the encoder first")
        if first.input_dtype != "uint8" or len(first.input_shape) != 4:
            raise UserError(f"{first.path}: takes {_taken(first)}, not images (uint8[B,H,W,C])")
        if first.input_shape[-1] not in (1, 3, 4):
            raise UserError(f"{first.path}: takes images of {first.input_shape[-1]} channels")
        if last.output_dtype != "uint8" or len(last.output_shape) != 4:
            hint = "; name its decoder too: ENCODER,DECODER" if len(self._parts) == 1 else ""
            raise UserError(f"{last.path}: gives {_given(last)}, not images (uint8[B,H,W,C]){hint}")
        if len(self._parts) == 2:
            self._check_pair()

    def _check_pair(self) -> None:
        encoder, decoder = self._parts
        given, taken = encoder.runner.output_shape, decoder.runner.input_shape
        same_rank = len(given) == len(taken)
        fits = same_rank and all(
            None in pair or pair[0] == pair[1] for pair in zip(given, taken, strict=True)
        )
        if not fits or encoder.runner.output_dtype != decoder.runner.input_dtype:
            raise UserError(
                f"{decoder.runner.path}: takes {_taken(decoder.runner)}, but "
                f"{encoder.runner.path} gives {_given(encoder.runner)}"
            )
        if encoder.info and decoder.info and encoder.info.training != decoder.info.training:
            raise UserError(
                f"{encoder.runner.path} and {decoder.runner.path} come from different trainings: "
                "images would not come back; export both from one checkpoint"
            )


def _taken(runner: Runner) -> str:
    return f"{runner.input_dtype}{list(runner.input_shape)}".replace("None", "any")


def _given(runner: Runner) -> str:
    return f"{runner.output_dtype}{list(runner.output_shape)}".replace("None", "any")


def open_exported(given: str, on_part: Callable[[Path], None] | None = None) -> ExportedModel:
    """Loads an exported model.

    Args:
        given: a full model, a folder that holds `encoder` and `decoder` (or `full`), a run folder
            that was exported from, or `ENCODER,DECODER`.
        on_part: told each path before it is loaded.

    Raises:
        UserError: there is none, it is damaged, or parts don't fit.
    """
    parts = []
    for path in find_exported(given):
        if on_part is not None:
            on_part(path)
        parts.append(_Part(open_runner(path), read_info(path)))
    return ExportedModel(parts)


def find_exported(given: str) -> list[Path]:
    """Paths of the parts of an exported model as a user names it; see `open_exported`.

    Raises:
        UserError: there is none.
    """
    path = Path(given)
    if "," in given and not path.exists():
        paths = [Path(part.strip()) for part in given.split(",")]
        if len(paths) != 2:
            raise UserError(f'--model: found "{given}", expected ENCODER,DECODER')
        for each in paths:
            if not each.exists():
                raise UserError(f"{each}: no such model{_beside(each)}")
        return paths
    if not path.exists():
        raise UserError(f"{path}: no such model{_beside(path)}")
    if path.is_file() or format_of(path) is not None:
        return [path]
    for folder in (path, path / "export"):
        found = _models_in(folder)
        if len(found) > 1 and len({_training(paths) for paths in found}) > 1:
            choices = "\n".join(f"  --model {','.join(map(str, each))}" for each in found)
            raise UserError(f"{folder}: holds models of several trainings; name one:\n{choices}")
        if found:
            # Several formats of one training: they give the same images.
            return next((paths for paths in found if _runs_here(paths)), found[0])
    raise UserError(
        f"{path}: not an exported model: no {' + '.join(PAIR)} and no {FULL} in it; "
        "python exporter.py writes them"
    )


def _models_in(folder: Path) -> list[list[Path]]:
    found = []
    for suffix in [each.suffix for each in FORMATS.values()]:
        for names in (PAIR, (FULL,)):
            paths = [folder / f"{name}{suffix}" for name in names]
            if all(format_of(path) is not None and path.exists() for path in paths):
                found.append(paths)
    return found


def _training(paths: Sequence[Path]) -> tuple[str, ...]:
    infos = [read_info(path) for path in paths]
    ids = {"" if info is None else info.training for info in infos}
    # Without information, or of two trainings: like no other.
    return tuple(ids) if len(ids) == 1 and "" not in ids else tuple(map(str, paths))


def _runs_here(paths: Sequence[Path]) -> bool:
    formats = [format_of(path) for path in paths]
    return all(each is not None and runs_here(each) for each in formats)


def _beside(path: Path) -> str:
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    return near_miss(path.name, names)
