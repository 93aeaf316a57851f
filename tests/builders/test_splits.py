"""Splits are disjoint, complete, the same everywhere, and do not move when a set grows."""

import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.errors import UserError
from builders.splits import evenly, exact_split, folder_layout, position, stable_split

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
name_lists = st.lists(names, min_size=2, max_size=40, unique_by=position)
fractions = st.tuples(st.floats(0.01, 0.49), st.floats(0.0, 0.49))


def test_positions_are_fixed_for_ever() -> None:
    # Whatever else changes: these numbers decide which images people have tested on.
    assert position("a.png") == pytest.approx(0.882865517843, abs=1e-12)
    assert position("cats/b.jpg") == pytest.approx(0.525443105596, abs=1e-12)


def test_positions_are_even() -> None:
    u = np.sort([position(f"image_{i}.png") for i in range(20_000)])
    # Kolmogorov and Smirnov's bound that one random sample in a hundred would exceed.
    assert np.abs(u - (np.arange(20_000) + 0.5) / 20_000).max() < 1.63 / np.sqrt(20_000)


def test_composed_and_decomposed_names_are_the_same() -> None:
    assert position("é.png") == position(unicodedata.normalize("NFD", "é.png"))


def test_names_that_are_no_text_have_a_position() -> None:
    assert 0 <= position(b"\xff\xfe.png".decode("utf-8", "surrogateescape")) < 1


@given(name_lists, fractions)
@settings(deadline=None)
def test_stable_split_fills_train_and_validation(keys: list[str], shares: tuple) -> None:
    result = stable_split(keys, *shares)
    assert list(result) == keys
    counts = Counter(result.values())
    assert counts["train"] >= 1
    assert counts["validation"] >= 1


@given(name_lists, fractions)
@settings(deadline=None)
def test_stable_split_does_not_depend_on_the_order(keys: list[str], shares: tuple) -> None:
    assert stable_split(keys[::-1], *shares) == stable_split(keys, *shares)


@given(name_lists, name_lists, fractions)
@settings(deadline=None)
def test_additions_move_nothing_once_hashes_fill_the_splits(
    keys: list[str], more: list[str], shares: tuple
) -> None:
    def by_hash(key: str) -> str:
        u = position(key)
        if u < shares[1]:
            return "test"
        return "validation" if u < sum(shares) else "train"

    before = stable_split(keys, *shares)
    after = stable_split(list(dict.fromkeys(keys + more)), *shares)
    if {by_hash(key) for key in keys} >= {"train", "validation"}:
        assert before == {key: by_hash(key) for key in keys}
        assert {key: after[key] for key in keys} == before
    assert sum(before[key] != by_hash(key) for key in keys) <= 2
    assert sum(after[key] != by_hash(key) for key in after) <= 2


def test_shares_are_met_on_average() -> None:
    counts = Counter(stable_split([f"{i}.png" for i in range(5000)], 0.2, 0.1).values())
    assert abs(counts["validation"] / 5000 - 0.2) < 0.02
    assert abs(counts["test"] / 5000 - 0.1) < 0.02


def test_nothing_is_held_out_that_was_not_asked_for() -> None:
    keys = [f"{i}.png" for i in range(100)]
    assert set(stable_split(keys, 0.0, 0.0).values()) == {"train"}
    assert set(exact_split(keys, 0.0, 0.0).values()) == {"train"}
    assert "test" not in stable_split(keys, 0.3, 0.0).values()


@given(st.integers(2, 400), fractions)
@settings(deadline=None)
def test_exact_split_counts(total: int, shares: tuple) -> None:
    counts = Counter(exact_split([f"{i}" for i in range(total)], *shares).values())
    assert sum(counts.values()) == total
    assert counts["train"] >= 1
    assert counts["validation"] >= 1
    if total >= 20:
        assert abs(counts["validation"] - shares[0] * total) <= 1
        assert abs(counts["test"] - shares[1] * total) <= 1


def test_exact_split_in_the_given_order() -> None:
    result = exact_split(list("abcdefghij"), 0.2, 0.1, by_hash=False)
    assert "".join(s[0] for s in result.values()) == "tvv" + "t" * 7
    assert result["a"] == "test"
    assert result["j"] == "train"


@pytest.mark.parametrize("split", [stable_split, exact_split])
def test_one_image_and_bad_fractions_are_said(split) -> None:
    with pytest.raises(UserError, match="one image cannot be split"):
        split(["a"], 0.1, 0.1)
    for shares in [(0.5, 0.5), (-0.1, 0.1), (0.9, 0.2)]:
        with pytest.raises(UserError, match="train on"):
            split(["a", "b"], *shares)


def test_layout_is_read_off_the_first_folder() -> None:
    layout = folder_layout(["Train/a.png", "val/x/b.png", "TEST/c.png", "d.png"], "here")
    assert layout == {"Train": "train", "val": "validation", "TEST": "test"}
    assert folder_layout(["cats/train/a.png", "train.png"], "here") is None


def test_layouts_that_mean_nothing() -> None:
    with pytest.raises(UserError, match="val and valid both name the validation split"):
        folder_layout(["train/a.png", "val/b.png", "valid/c.png"], "here")
    with pytest.raises(UserError, match="has test but no train"):
        folder_layout(["test/a.png"], "here")


@given(st.integers(0, 50), st.integers(1, 60))
@settings(deadline=None)
def test_evenly(total: int, count: int) -> None:
    rows = evenly(np.arange(total) * 3, count)
    assert len(rows) == min(total, count)
    assert len(set(rows.tolist())) == len(rows)
    if len(rows) >= 2:
        assert rows[0] == 0
        assert rows[-1] == (total - 1) * 3
