"""Against TensorFlow Compression 2.14.1, which runs in an environment of its own.

The environment is made by benchmarks/tfc.sh, which takes minutes and the network.
CODECSMITH_TFC_PYTHON names the Python of one that is there already. docs/benchmarks.md has the
figures that are only bounded here.
"""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.tfc_comparison import Comparison, compare, reference

pytestmark = [pytest.mark.tfc, pytest.mark.timeout(1800)]

LEAST = 1e-9
"""Likelihoods from here on are compared as such: 30 bits, more than a coder's table spends."""


@pytest.fixture(scope="module")
def found() -> Comparison:
    """What both sides make of the same parameters and inputs."""
    return compare()


def test_the_reference_is_the_one_that_is_pinned(found: Comparison) -> None:
    assert "tensorflow-compression 2.14.1, tensorflow 2.14.1," in found.versions


@pytest.mark.parametrize("name", ["gaussian", "density"])
def test_likelihoods_are_the_same(found: Comparison, name: str) -> None:
    """Our float32 against their float64."""
    each = found.likelihoods[name]
    assert each.at_least(LEAST).sum() > 100_000
    assert each.error(LEAST) < 1e-5


@pytest.mark.parametrize("name", ["gaussian", "density"])
def test_code_lengths_are_the_same_in_the_tails(found: Comparison, name: str) -> None:
    """Where a likelihood is smaller, its logarithm is what counts, and what float32 can hold."""
    each = found.likelihoods[name]
    tail = ~each.at_least(LEAST)
    assert tail.sum() > 10_000
    np.testing.assert_allclose(each.ours[tail], each.float64[tail], rtol=1e-5)


@pytest.mark.parametrize("name", ["gaussian", "density"])
def test_ours_is_the_more_precise_float32(found: Comparison, name: str) -> None:
    """Their float32 differs from their own float64 by more than we may: so float64 is compared."""
    each = found.likelihoods[name]
    assert each.error(LEAST) < each.reference_error(LEAST) < 1e-3
    assert each.distance(LEAST) <= 1.01 * (each.error(LEAST) + each.reference_error(LEAST))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_gdn_is_the_same(found: Comparison, direction: str, dtype: str) -> None:
    assert found.gdn[direction, dtype] < 1e-5


def test_coded_sizes_are_at_most_half_a_percent_larger(found: Comparison) -> None:
    """With outliers and without, against their defaults and finer tables."""
    assert len(found.sizes) == 8 and found.settings[0] == (12, 2.0**-8)
    for case, size in found.sizes.items():
        for setting, theirs in zip(found.settings, size.theirs, strict=True):
            assert size.ours <= 1.005 * theirs, (case, setting)


def test_an_environment_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CODECSMITH_TFC_PYTHON", str(tmp_path / "gone"))
    with pytest.raises(RuntimeError, match="gone does not run: No such file"):
        reference({}, tmp_path)
