"""Which classical codecs a benchmark measures."""

import dataclasses
from collections.abc import Sequence

from builders.errors import UserError
from builders.problems import near_miss
from evaluation.classical_codecs import FAMILIES, MissingCodecError, classical_codecs
from evaluation.codecs import PillowCodec
from evaluation.more_measures import MORE_MEASURES


def choose_classical(
    names: Sequence[str] | None, threads: int
) -> tuple[list[PillowCodec], list[str]]:
    """The codecs that were asked for, or all that are installed.

    Args:
        names: families, or single codecs such as `avif-s6`; None for all there are.
        threads: most that each may take.

    Returns:
        The codecs, and a note on each family that is left out because it is not installed.

    Raises:
        UserError: a codec that was asked for is not known or not installed.
    """
    if names is None:
        return _installed(threads)
    chosen: dict[str, PillowCodec] = {}
    for name in names:
        family = name if name in FAMILIES else name.split("-")[0]
        if family not in FAMILIES:
            raise UserError(f"--codecs {name}: no such codec{near_miss(name, list(FAMILIES))}")
        try:
            found = classical_codecs(family, threads)
        except MissingCodecError as error:
            raise UserError(f"--codecs {name}: {error}") from None
        if name != family:
            known = [each.name for each in found]
            if name not in known:
                raise UserError(f"--codecs {name}: expected {family} or one of {', '.join(known)}")
            found = [each for each in found if each.name == name]
        chosen |= {each.name: each for each in found}
    return list(chosen.values()), []


def _installed(threads: int) -> tuple[list[PillowCodec], list[str]]:
    chosen: list[PillowCodec] = []
    notes = []
    for family in FAMILIES:
        try:
            chosen += classical_codecs(family, threads)
        except MissingCodecError as error:
            notes.append(f"Left out: {error}.")
    return chosen, notes


def with_settings(
    codecs: Sequence[PillowCodec], wanted: Sequence[tuple[str, Sequence[float]]]
) -> list[PillowCodec]:
    """The codecs with the settings that were asked for in place of their own.

    Args:
        codecs: those measured.
        wanted: name of a codec or of a family, and settings in any order; the last one counts.

    Raises:
        UserError: no such codec is measured, or it has no such setting.
    """
    chosen = {codec.name: codec for codec in codecs}
    for name, values in wanted:
        meant = [codec for codec in codecs if name in (codec.name, codec.family)]
        if not meant:
            known = {*chosen, *(codec.family for codec in codecs)}
            raise UserError(
                f"--codec_settings {name}: not among the codecs measured{near_miss(name, known)}"
            )
        for codec in meant:
            places = {setting: place for place, setting in enumerate(codec.scale)}
            for value in values:
                if value not in places:
                    first, second, *_, last = codec.scale
                    raise UserError(
                        f"--codec_settings {name}: found {value:g}, expected {codec.parameter} "
                        f"from {first:g} to {last:g} in steps of {second - first:g}"
                    )
            settings = tuple(sorted(set(values), key=places.__getitem__))
            chosen[codec.name] = dataclasses.replace(codec, settings=settings)
    return list(chosen.values())


def check_metrics(names: Sequence[str]) -> None:
    """Checks names of further measures.

    Raises:
        UserError: there is none of a name, or its package is not installed.
    """
    for name in names:
        if name not in MORE_MEASURES:
            raise UserError(f"--metrics {name}: no such measure{near_miss(name, MORE_MEASURES)}")
        measure = MORE_MEASURES[name]
        if not measure.installed:
            raise UserError(f"--metrics {name}: not installed: pip install {measure.package}")
