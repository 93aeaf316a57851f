"""Measures of other packages, where those are installed."""

import numpy as np
import pytest

from evaluation.more_measures import LEAST_SIDE, MORE_MEASURES, made
from tests.codec_models import photo


@pytest.mark.skipif(
    not MORE_MEASURES["ssimulacra2"].installed, reason="ssimulacra2 is not installed"
)
def test_ssimulacra2_falls_with_the_error():
    measure = made(["ssimulacra2"])["ssimulacra2"]
    original = photo(48, 56)
    noise = np.random.default_rng(0).normal(size=original.shape)
    some, more = (
        np.clip(original + strength * noise, 0, 255).astype(np.uint8) for strength in (4, 20)
    )
    assert measure(original, original) == pytest.approx(100)
    assert measure(original, more) < measure(original, some) < 100
    assert measure(original[: LEAST_SIDE - 1], some[: LEAST_SIDE - 1]) is None
