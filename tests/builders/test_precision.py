"""Which number format a run computes in, and that it does."""

from pathlib import Path

import keras
import numpy as np
import pytest

from builders import precision
from builders.optimizers import build_optimizer
from builders.precision import choose_precision
from builders.spec import parse_spec
from builders.training import build_compressor
from constants.defaults import BFLOAT16_MIN_MACS
from tests.codec_models import TREES

LARGE = BFLOAT16_MIN_MACS


def test_what_was_asked_for_is_taken(monkeypatch):
    monkeypatch.setattr(precision, "bfloat16_units", lambda: (False, "nothing"))
    for asked in ("float32", "mixed_bfloat16"):
        assert choose_precision(asked, 1).policy == asked
        assert choose_precision(asked, 1).reason == "as asked"


@pytest.mark.parametrize(
    ("units", "macs", "policy", "reason"),
    [
        (False, LARGE, "float32", "this has no bfloat16 units"),
        (True, LARGE - 1, "float32", "10.0 M multiply-accumulates an image are too few to gain"),
        (True, LARGE, "mixed_bfloat16", "this has bfloat16 units; last layers stay float32"),
    ],
)
def test_auto_says_why(monkeypatch, units, macs, policy, reason):
    monkeypatch.setattr(precision, "bfloat16_units", lambda: (units, "this"))
    chosen = choose_precision("auto", macs)
    assert (chosen.policy, chosen.reason) == (policy, reason)


@pytest.mark.parametrize(
    ("flags", "has"),
    [
        ("fpu avx2 avx512f", False),
        ("fpu avx512f avx512_bf16 amx_tile", True),
        ("amx_bf16", True),
        # Part of another word is not the feature.
        ("avx512_bf16x", False),
    ],
)
def test_a_processor_is_known_by_its_features(monkeypatch, flags, has):
    text = f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: none\n"
    monkeypatch.setattr(Path, "exists", lambda self: True)
    monkeypatch.setattr(Path, "read_text", lambda self, **_: text)
    found, device = precision.bfloat16_units()
    if device == "this processor":  # and not a GPU that the tests happen to run on
        assert found is has


PAIR = {
    "model.layers.discriminator": {
        "layers": [
            {"Conv2D": {"filters": 2, "kernel_size": 3}},
            {"Flatten": {}},
            {"Dense": {"units": 1}},
        ]
    },
    "loss": [
        {"MSE": {}},
        {"KLDivergence": {"weight": 0.01}},
        {"Adversarial": {"weight": 0.1}},
    ],
}


def test_mixed_precision_computes_in_bfloat16_between_float32_ends(tiny):
    spec = tiny({**PAIR, "training.precision": "mixed_bfloat16"})
    model, _, chosen = build_compressor(spec)
    assert chosen.policy == "mixed_bfloat16"
    for stack in (model.encoder, model.decoder, model.discriminator):
        assert {layer.compute_dtype for layer in stack.stack[:-1]} == {"bfloat16"}
        assert stack.stack[-1].compute_dtype == "float32"
    x = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 1), dtype=np.uint8)
    outputs = model(x)
    for name in ("x", "x_hat", "y", "posterior_mean", "posterior_log_var"):
        assert keras.backend.standardize_dtype(outputs[name].dtype) == "float32", name

    model.compile(build_optimizer(spec, model), run_eagerly=True)
    before = model.get_weights()
    logs = [model.train_on_batch(x, return_dict=True) for _ in range(3)]
    assert all(np.isfinite(value) for each in logs for value in each.values())
    assert any(not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    kept = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    floating = [each for each in kept if "float" in each.dtype]
    assert floating and {each.dtype for each in floating} == {"float32"}
    compared = dict(model(x, training=False))
    total = model.compute_loss(x=x, y_pred=compared, training=False)
    for value in (total, *compared["loss_terms"].values()):
        assert keras.backend.standardize_dtype(value.dtype) == "float32"


@pytest.mark.parametrize("kind", ["factorized", "scale", "mean_scale"])
def test_mixed_precision_counts_bits_in_float32(kind):
    spec = parse_spec(TREES[kind], "tiny.json", {"training.precision": "mixed_bfloat16"})
    model, _, _ = build_compressor(spec)
    entropy_model = model.generator.entropy_model
    assert entropy_model.compute_dtype == entropy_model.density.compute_dtype == "float32"
    coders = [getattr(entropy_model, f"hyper_{each}", None) for each in ("encoder", "decoder")]
    for stack in (model.encoder, model.decoder, *filter(None, coders)):
        assert {layer.compute_dtype for layer in stack.stack[:-1]} == {"bfloat16"}
        assert stack.stack[-1].compute_dtype == "float32"
    x = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    for training in (True, False):
        outputs = model(x, training=training)
        bits = [name for name in outputs if name.startswith("bits_")]
        assert len(bits) == (1 if kind == "factorized" else 2)
        for name in ("x_hat", "y", *bits):
            assert keras.backend.standardize_dtype(outputs[name].dtype) == "float32", name


def test_both_precisions_start_from_the_same_weights(tiny):
    weights = [
        build_compressor(tiny({"training.precision": asked}))[0].get_weights()
        for asked in ("float32", "mixed_bfloat16")
    ]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)
