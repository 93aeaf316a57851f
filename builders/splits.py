"""Which image belongs to train, validation and test: by hash, never by position or chance.

A name decides on its own where it goes, so adding images to a folder never moves those that were
there, every machine agrees, and no seed is involved.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Literal

import numpy as np

from builders.errors import UserError
from constants.data import SPLIT_FOLDERS

SplitName = Literal["train", "validation", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = ("train", "validation", "test")

_HASH_BYTES = 8


def position(key: str) -> float:
    """A number in [0, 1) that depends on the key alone: blake2b(key) / 2^64.

    Args:
        key: a name. Composed and decomposed accents are the same (file systems differ there).

    Returns:
        The position, the same on every machine and in every version.
    """
    text = unicodedata.normalize("NFC", key).encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(text, digest_size=_HASH_BYTES).digest()
    return (int.from_bytes(digest, "big") >> 11) / float(1 << 53)


def check_fractions(validation_fraction: float, test_fraction: float) -> None:
    """Raises a UserError unless both are shares and leave something to train on."""
    shares = (validation_fraction, test_fraction)
    if min(shares) < 0 or sum(shares) >= 1:
        raise UserError(
            f"dataset: validation_fraction {validation_fraction:g} and test_fraction "
            f"{test_fraction:g} must not be negative and must leave images to train on "
            "(sum below 1)"
        )


def stable_split(
    keys: Iterable[str], validation_fraction: float, test_fraction: float
) -> dict[str, SplitName]:
    """Splits a set that may grow: each key goes where its hash says.

    With u = position(key): test if u < t, validation if t <= u < t + v, train otherwise. The
    shares are met on average. Two rules keep small sets usable:

    - train is empty: the key with the largest u outside test (else of all) goes to train;
    - validation is empty, wanted (v > 0) and train has two or more: the train key with the
      smallest u goes to validation.

    (Where train has just the one key, it is the test key with the smallest u that goes.) So for
    n >= 2 train and (v > 0) validation are never empty. Once the hashes alone give both of them an
    image, adding keys moves nothing; before that, in a handful of images, at most two of them are
    where a rule put them and not their hash.

    Args:
        keys: names, each once.
        validation_fraction: v in [0, 1).
        test_fraction: t in [0, 1), v + t < 1.

    Returns:
        The split of every key, in the order of the keys.

    Raises:
        UserError: the fractions leave nothing to train on, or there is only one key.
    """
    check_fractions(validation_fraction, test_fraction)
    positions = {key: position(key) for key in keys}
    _check_enough(len(positions), validation_fraction)
    border = validation_fraction + test_fraction
    result: dict[str, SplitName] = {}
    for key, u in positions.items():
        if u < test_fraction:
            result[key] = "test"
        else:
            result[key] = "validation" if u < border else "train"

    def ranked(*splits: SplitName) -> list[str]:
        chosen = (key for key, split in result.items() if split in splits)
        return sorted(chosen, key=lambda key: (positions[key], key))

    if positions and not ranked("train"):
        result[(ranked("validation") or ranked("test"))[-1]] = "train"
    if validation_fraction > 0 and not ranked("validation"):
        spare = ranked("train")[:-1] or ranked("test")
        if spare:
            result[spare[0]] = "validation"
    return result


def exact_split(
    keys: Sequence[str],
    validation_fraction: float,
    test_fraction: float,
    *,
    by_hash: bool = True,
) -> dict[str, SplitName]:
    """Splits a set that never grows, with exact counts.

    Keys are ranked; the first round(t n) are test, the next round(v n) validation, each at least
    one where its share is positive and n allows it (validation before test).

    Args:
        keys: names, each once.
        validation_fraction: v in [0, 1).
        test_fraction: t in [0, 1), v + t < 1.
        by_hash: rank by the keys' hashes, or else as they are given.

    Returns:
        The split of every key, in the order of the keys.

    Raises:
        UserError: the fractions leave nothing to train on, or there is only one key.
    """
    check_fractions(validation_fraction, test_fraction)
    total = len(keys)
    _check_enough(total, validation_fraction)
    validation = max(1, round(validation_fraction * total)) if validation_fraction else 0
    validation = min(validation, total - 1)
    test = max(1, round(test_fraction * total)) if test_fraction else 0
    test = max(0, min(test, total - 1 - validation))
    ranked = sorted(keys, key=lambda key: (position(key), key)) if by_hash else list(keys)
    held_out: dict[str, SplitName] = dict.fromkeys(ranked[:test], "test")
    held_out |= dict.fromkeys(ranked[test : test + validation], "validation")
    return {key: held_out.get(key, "train") for key in keys}


def evenly(rows: np.ndarray, count: int | None) -> np.ndarray:
    """At most `count` of the rows, evenly spaced from the first to the last; None keeps all."""
    if count is None or len(rows) <= count:
        return rows
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)]


def folder_layout(names: Iterable[str], where: str) -> dict[str, SplitName] | None:
    """Reads the splits off the first folder of each name, if the folder is laid out that way.

    Args:
        names: paths relative to the data set's folder, with `/`.
        where: what to call that folder in messages.

    Returns:
        First folder -> split for the folders that name one, or None when none does.

    Raises:
        UserError: two folders name the same split, or there is test or validation without train.
    """
    meaning = {alias: split for split, aliases in SPLIT_FOLDERS.items() for alias in aliases}
    found: dict[str, SplitName] = {}
    for name in names:
        parts = PurePosixPath(name).parts
        if len(parts) > 1 and parts[0].lower() in meaning:
            found[parts[0]] = meaning[parts[0].lower()]  # type: ignore[assignment]
    if not found:
        return None
    for split in SPLIT_NAMES:
        folders = sorted(folder for folder, meant in found.items() if meant == split)
        if len(folders) > 1:
            raise UserError(f"{where}: {' and '.join(folders)} both name the {split} split")
    if "train" not in found.values():
        raise UserError(
            f"{where}: has {' and '.join(sorted(found))} but no train folder with images; add one, "
            "or name a folder without split folders to have it split"
        )
    return found


def _check_enough(total: int, validation_fraction: float) -> None:
    if total == 1 and validation_fraction > 0:
        raise UserError(
            "dataset: one image cannot be split into train and validation; at least two are "
            "needed (the same image may lie in a train and a val folder)"
        )
