"""Specs to models: what is built, what is refused, and that nothing large is made on the way."""

from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import train
from builders import model_builder, size_guard
from builders.model_builder import ModelBuilder, latent_shape, nominal_shape
from builders.problems import SpecError
from builders.registry import Registry
from builders.spec import load_spec, parse_spec
from tests.builders.spec_trees import (
    DECODER,
    ENCODER,
    MILD,
    MODELS,
    SAMPLES,
    FromCatalog,
    entropic,
    mutants,
    plausible,
    rich,
    tiny,
)

JUDGE = "model.layers.discriminator.layers"


def build(tree: Any, changes: dict[str, Any] | None = None, precision: str = "float32") -> Any:
    """The model of a spec."""
    return ModelBuilder(parse_spec(tree, "model.json", changes), precision).build()


def problems(tree: Any, changes: dict[str, Any] | None = None) -> list[str]:
    """What building says about a spec that the parser takes, a line each."""
    builder = ModelBuilder(parse_spec(tree, "model.json", changes))
    with pytest.raises(SpecError) as error:
        builder.build()
    assert str(error.value).startswith("model.json: ")
    return [str(problem) for problem in error.value.problems]


# --- what is built ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_the_sample_models_run_and_keep_the_size(path: Path) -> None:
    # Some take multiples of 40, or sides that five scales of MS-SSIM fit into.
    side = 80 if path.stem.startswith("pacman") else 192 if path.stem == "photo_msssim" else 64
    text = path.read_text()
    small = {"dataset.crop": [side, side]} if "[null" in text else {}
    small |= {"params.code": 8} if '"code":' in text else {}  # of the hundred million weights
    spec = load_spec(path, small)
    compressor = ModelBuilder(spec).build()
    shape = (2, *nominal_shape(spec)[1:])
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    outputs = compressor(pixels)
    assert tuple(outputs["x_hat"].shape) == shape
    assert tuple(outputs["y"].shape[1:]) == latent_shape(compressor, (1, *shape[1:]))
    x_hat = keras.ops.convert_to_numpy(outputs["x_hat"])
    assert x_hat.dtype == np.float32
    assert 0 <= x_hat.min() <= x_hat.max() <= 1
    assert np.allclose(keras.ops.convert_to_numpy(outputs["x"]), pixels / 255, atol=1e-7)


@pytest.mark.parametrize("name", ["model", "pooling_32x32x3"])
def test_the_original_grammar_takes_its_latents_from_the_flag(name: str) -> None:
    for latents in (1, 7, 50):
        spec = load_spec(MODELS / f"{name}.json", {"training.latent_dims": latents})
        compressor = ModelBuilder(spec).build()
        assert compressor.encoder.output_shapes[-1] == (None, latents)
        assert compressor.encoder.stack[-1].name == "compressed_representation"
        zeros = np.zeros((1, *spec.input_shape), np.uint8)
        assert tuple(compressor(zeros)["y"].shape) == (1, latents)


def test_parts_and_layers_have_the_names_of_the_spec() -> None:
    tree = tiny()
    tree["model"]["name"] = "Mine"
    tree["model"]["layers"]["generator"]["layers"]["encoder"]["name"] = "Analysis"
    compressor = build(tree)
    assert (compressor.name, compressor.generator.name) == ("Mine", "Generator")
    assert (compressor.encoder.name, compressor.decoder.name) == ("Analysis", "Decoder")
    names = [layer.name for layer in (*compressor.encoder.stack, *compressor.decoder.stack)]
    assert names == ["conv2d_0", "flatten_1", "compressed_representation", "dense_0", "reshape_1", "conv2d_transpose_2"]  # fmt: skip
    assert compressor.discriminator is None


def test_every_section_becomes_a_part() -> None:
    compressor = build(rich())
    assert [type(step).__name__ for step in compressor.encoder.preprocessing] == ["ColorSpace", "Rescale"]  # fmt: skip
    assert compressor.decoder.preprocessing[0] is compressor.encoder.preprocessing[0]
    residual = compressor.encoder.stack[2]
    assert residual.branch[1].filters == 4
    assert residual.branch[1].kernel_initializer.seed == 3
    assert residual.branch[1].activation is keras.activations.leaky_relu
    assert compressor.losses  # the regularizer inside it
    judge = compressor.discriminator
    assert isinstance(judge.stack[0], keras.layers.SpectralNormalization)
    assert [term.tag for term in compressor.loss_terms] == ["l1_loss", "mse_loss", "kl_divergence", "adversarial"]  # fmt: skip
    assert [metric.name for metric in compressor.image_metrics()] == ["psnr_db", "mae"]
    outputs = compressor(np.zeros((2, 8, 8, 3), np.uint8))
    assert {"x", "x_hat", "y", "posterior_mean", "posterior_log_var"} <= set(outputs)
    logits, _ = judge(np.zeros((2, 8, 8, 3), "float32"))
    assert tuple(logits.shape) == (2, 1)


def test_free_sides_stay_free() -> None:
    compressor = build(entropic())
    assert compressor.encoder.output_shapes[-1] == (None, None, None, 3)
    for side in (8, 24):
        x_hat = compressor(np.zeros((1, side, 16, 3), np.uint8))["x_hat"]
        assert tuple(x_hat.shape) == (1, side, 16, 3)


def test_last_layers_compute_in_float32_and_others_as_asked() -> None:
    tree = rich()
    tree["model"]["layers"]["generator"]["layers"]["decoder"]["layers"][3]["PReLU"]["dtype"] = "float32"  # fmt: skip
    compressor = build(tree, precision="mixed_bfloat16")
    policies = {
        name: [layer.dtype_policy.name for layer in stack.stack]
        for name, stack in (
            ("encoder", compressor.encoder),
            ("decoder", compressor.decoder),
            ("judge", compressor.discriminator),
        )
    }
    mixed = "mixed_bfloat16"
    assert policies["encoder"] == [mixed] * 4 + ["float32"]
    assert policies["decoder"] == [mixed] * 3 + ["float32"] * 2
    assert policies["judge"] == [mixed] * 2 + ["float32"]
    inside = [*compressor.encoder.stack[2].branch, compressor.discriminator.stack[0].layer]
    assert [layer.dtype_policy.name for layer in inside] == [mixed] * 3
    x_hat = compressor(np.zeros((1, 8, 8, 3), np.uint8))["x_hat"]
    assert keras.backend.standardize_dtype(x_hat.dtype) == "float32"


def test_what_only_the_backend_refuses_is_an_error_of_the_layer() -> None:
    layer = {"Dense": {"units": 1, "dtype": "bfloat16", "kernel_initializer": {"Orthogonal": {}}}}
    if keras.backend.backend() == "tensorflow":  # no QR decomposition in bfloat16
        with pytest.raises(SpecError, match=r"layers\[0\]\.Dense: does not fit its input"):
            build(tiny(), {f"{ENCODER}[0]": layer})


def test_layers_inside_a_layer_compute_in_its_own_dtype() -> None:
    inner = {"Conv2D": {"filters": 1, "kernel_size": 1}}
    explicit = {"Conv2D": {"filters": 1, "kernel_size": 1, "dtype": "float32"}}
    residual = {"Residual": {"layers": [inner, explicit], "dtype": "bfloat16"}}
    first, second = build(tiny(), {f"{ENCODER}[0]": residual}).encoder.stack[0].branch
    assert (first.dtype_policy.name, second.dtype_policy.name) == ("bfloat16", "float32")


@pytest.mark.parametrize(
    "layer",
    [
        {"Conv2D": {"filters": 1, "kernel_size": 1}},
        {"Residual": {"layers": [{"Conv2D": {"filters": 1, "kernel_size": 1}}]}},
        {"SpectralNormalization": {"layer": {"Conv2D": {"filters": 1, "kernel_size": 1}}}},
    ],
    ids=lambda layer: next(iter(layer)),
)
def test_what_is_not_trainable_is_not_trained(layer: dict[str, Any]) -> None:
    free = build(tiny(), {f"{ENCODER}[0]": layer})
    next(iter(layer.values()))["trainable"] = False
    frozen = build(tiny(), {f"{ENCODER}[0]": layer})
    assert len(frozen.weights) == len(free.weights)
    assert len(frozen.trainable_variables) == len(free.trainable_variables) - 2


def test_weights_follow_from_the_seed() -> None:
    def weights(seed: int) -> list[np.ndarray]:
        keras.utils.set_random_seed(seed)
        return build(tiny()).get_weights()

    first, again, other = weights(1), weights(1), weights(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_aliases_and_short_forms_make_what_they_name() -> None:
    registry = Registry()
    assert isinstance(
        registry.create("layer", {"MaxPool2D": {"pool_size": 2}}), keras.layers.MaxPooling2D
    )
    assert isinstance(registry.create("initializer", "he_normal"), keras.initializers.HeNormal)
    assert isinstance(registry.create("regularizer", {"L2": {"l2": 1}}), keras.regularizers.L2)
    assert registry.create("activation", "relu") == "relu"
    assert registry.create("activation", {"relu": {}}) == "relu"
    with pytest.raises(KeyError):
        registry.create("layer", {"Lambda": {}})


def test_whole_numbers_do_where_keras_insists_on_a_float() -> None:
    registry = Registry()
    optimizer = registry.create("optimizer", {"AdamW": {"learning_rate": 1, "weight_decay": 0}})
    assert float(optimizer.learning_rate) == 1.0
    assert registry.create("layer", {"Conv2D": {"filters": 3, "kernel_size": 2}}).filters == 3


@pytest.mark.parametrize("name", sorted(Registry().catalog.components("optimizer")))
def test_every_optimizer_can_be_made_from_its_defaults(name: str) -> None:
    registry = Registry()
    optimizer = registry.create("optimizer", {name: {}})
    compressor = build(tiny())
    optimizer.build(compressor.trainable_variables)
    assert len(optimizer.variables) > 0


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {f"{DECODER}[1].Reshape.target_shape": [4, 4, 3]},
            f"{DECODER}[1].Reshape: does not fit its input 32: The total size of the tensor must be unchanged.",
        ),
        (
            {f"{DECODER}[2].Conv2DTranspose.strides": 1},
            f"{DECODER.removesuffix('.layers')}: gives 4x4x1 for an input of 8x8x1; they must be equal",
        ),
        (
            {f"{ENCODER}[0].Conv2D": {"filters": 2, "kernel_size": 9}},
            f"{ENCODER}[0].Conv2D: does not fit its input 8x8x1: Computed output size would be zero or negative.",
        ),
        (
            {f"{ENCODER}[1]": {"MaxPooling2D": {"pool_size": 5}}},
            f"{ENCODER}[1].MaxPooling2D: does not fit its input 4x4x2: Computed output size would be zero",
        ),
        (
            {f"{ENCODER}[0]": {"Cropping2D": {"cropping": 4}}},
            f"{ENCODER}[0].Cropping2D: ",
        ),
        (
            {f"{ENCODER}[2]": {"Conv2D": {"filters": 2, "kernel_size": 1}}},
            f"{ENCODER}[2].Conv2D: needs height, width and channels as its input, found 32",
        ),
        (
            {f"{ENCODER}[0]": {"SpaceToDepth": {"block_size": 3}}},
            f"{ENCODER}[0].SpaceToDepth: does not fit its input 8x8x1: height and width must be multiples of block_size 3, found 8x8",
        ),
        (
            {f"{ENCODER}[0]": {"DepthToSpace": {}}},
            f"{ENCODER}[0].DepthToSpace: does not fit its input 8x8x1: channels must be a multiple of block_size squared (4), found 1",
        ),
        (
            {f"{ENCODER}[2]": {"SpaceToDepth": {}}},
            f"{ENCODER}[2].SpaceToDepth: does not fit its input 32: expected an input of height, width and channels, found (32,)",
        ),
        (
            {f"{ENCODER}[0]": {"Residual": {"layers": [{"Conv2D": {"filters": 2, "kernel_size": 1}}]}}},
            f"{ENCODER}[0].Residual: does not fit its input 8x8x1: the layers of a Residual must keep the shape: (8, 8, 1) became (8, 8, 2)",
        ),
        (
            {f"{ENCODER}[0]": {"Residual": {"layers": [{"Flatten": {}}, {"MaxPool2D": {"pool_size": 2}}]}}},
            f"{ENCODER}[0].Residual.layers[1].MaxPooling2D: needs height, width and channels as its input, found 64",
        ),
        (
            {f"{ENCODER}[0]": {"Residual": {"layers": [{"GaussianLatent": {"units": 1}}]}}},
            f"{ENCODER}[0].Residual: GaussianLatent can't stand inside a Residual: it gives more than one tensor",
        ),
        (
            {f"{ENCODER}[0]": {"SpectralNormalization": {"layer": {"Flatten": {}}}}},
            f"{ENCODER}[0].SpectralNormalization: does not fit its input 8x8x1: ",
        ),
        (
            {f"{ENCODER}[0]": {"Softmax": {"axis": 7}}},
            f"{ENCODER}[0].Softmax: does not fit its input 8x8x1: ",
        ),
        (
            {f"{ENCODER}[0].Conv2D.groups": 2},
            f"{ENCODER}[0].Conv2D: does not fit its input 8x8x1: The number of input channels must be evenly divisible by",
        ),
        (
            {"preprocessing": [{"ColorSpace": {}}]},
            "preprocessing[0].ColorSpace: ColorSpace needs 3 channels (RGB), found 1",
        ),
        (
            {"preprocessing": [{"Rescale": {"scale": 0}}]},
            "preprocessing[0].Rescale: the size of scale must be from 1e-6 to 1e6, found 0.0",
        ),
        (
            {"loss": [{"SSIML1": {"alpha": 2}}]},
            "loss[0].SSIML1: alpha must be in [0, 1], found 2.0",
        ),
        (
            {"loss": [{"L1": {"weight": -1}}]},
            "loss[0].L1: weight must be finite and not negative, found -1.0",
        ),
        (
            {"loss": [{"SSIM": {}}]},
            "loss[0].SSIM: images of (height, width) (8, 8) are smaller than the SSIM window of filter_size 11",
        ),
        (
            {"training.metrics": [{"MSSSIM": {}}]},
            "training.metrics[0].MSSSIM: images of (height, width) (8, 8) are ",
        ),
        (
            {"loss": [{"L1": {"name": "loss"}}]},
            'loss[0].L1: is logged as "loss", the name of the total loss already; give it another "name"',
        ),
        (
            {"loss": [{"L1": {"name": "a"}}], "training.metrics": [{"PSNR": {"name": "a"}}]},
            'training.metrics[0].PSNR: is logged as "a", the name of loss[0].L1 already; give it another "name"',
        ),
        (
            {"training.metrics": [{"PSNR": {"name": "val_loss"}}]},
            'training.metrics[0].PSNR: is logged as "val_loss", the name of a value on validation images already; give it another "name"',
        ),
        (
            {"training.optimizer": {"Adam": {"clipnorm": 1, "global_clipnorm": 1}}},
            "training.optimizer.Adam: Only one of `clipnorm`, `clipvalue` and `global_clipnorm` can be set.",
        ),
        (
            {"training.optimizer": {"SGD": {"learning_rate": {"PiecewiseConstantDecay": {"boundaries": [1], "values": [1, 2, 3]}}}}},
            "training.optimizer.SGD: The length of boundaries should be 1 less than the length of values.",
        ),
        (
            {f"{ENCODER}": [{"Flatten": {}}], f"{DECODER}": [{"Reshape": {"target_shape": [8, 8, 1]}}]},
            "model.layers.generator: no layer has weights to train",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_clear_line(changes: dict[str, Any], expected: str) -> None:
    (line,) = problems(tiny(), changes)
    assert line.startswith(expected)
    assert line.isprintable()
    assert len(line) < 500


def test_all_layers_that_refuse_their_arguments_are_named_at_once() -> None:
    changes = {
        f"{ENCODER}[0].Conv2D.groups": 3,
        f"{DECODER}[1].Reshape.target_shape": [-1, -1],
        "loss": [{"L1": {"weight": -1}}],
        "preprocessing": [{"Rescale": {"scale": 1, "offset": 1e9}}],
    }
    assert [line.split(": ")[0] for line in problems(tiny(), changes)] == [
        "preprocessing[0].Rescale",
        f"{ENCODER}[0].Conv2D",
        f"{DECODER}[1].Reshape",
        "loss[0].L1",
    ]


def test_sizes_that_agree_only_at_some_sides_are_found_where_sides_are_free() -> None:
    at = " (stated at this size; the spec's height and width are free)"
    generator = "model.layers.generator.layers"
    changes = {"dataset.crop": [18, 16]}
    assert problems(entropic(), changes) == [
        f"{generator}.decoder: gives 20x16x3 for an input of 18x16x3; they must be equal{at}",
        f"{generator}.hyper_decoder: gives 6x4x6 for latents 5x4x3; expected 5x4x6{at}",
    ]


def test_hyper_coders_that_lose_count_of_the_channels() -> None:
    generator = "model.layers.generator.layers"
    flat = {f"{generator}.hyper_encoder.layers": [{"Flatten": {}}], f"{generator}.hyper_decoder.layers": [{"Dense": {"units": 96}}, {"Reshape": {"target_shape": [4, 4, 6]}}]}  # fmt: skip
    (line,) = problems(entropic(), flat)  # 48 at the nominal size, but free
    assert line == "model.layers.generator.entropy_model: the density needs to know the number of channels"  # fmt: skip


def test_a_discriminator_without_weights() -> None:
    layers = [{"GlobalAvgPool2D": {}}]
    assert problems(rich(), {"discriminator.layers": layers}) == [
        "model.layers.discriminator: no layer has weights to train"
    ]


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_model_that_does_not_fit_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dry_run: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = [
        f"--model={MODELS / 'model.json'}",
        f"--set={DECODER}[1].Reshape.target_shape=[7, 7, 7]",
        f"--dry_run={dry_run}",
    ]
    with pytest.raises(SpecError, match=r"layers\[1\]\.Reshape: does not fit its input 3920"):
        train.main(argv)
    assert list(tmp_path.iterdir()) == []


# --- nothing large is made ----------------------------------------------------------------------

HUGE = 2**31 - 1


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({f"{ENCODER}[2].Dense.units": HUGE}, "parameters"),
        ({f"{ENCODER}[0].Conv2D.filters": HUGE}, "too large"),
        ({f"{ENCODER}[0].Conv2D.filters": 100_000_000}, "parameters"),
        ({f"{ENCODER}[0].Conv2D.kernel_size": HUGE}, "parameters"),
        ({f"{ENCODER}[0]": {"UpSampling2D": {"size": HUGE}}}, "too large"),
        ({f"{ENCODER}[0]": {"ZeroPadding2D": {"padding": HUGE}}}, "too large"),
        ({f"{ENCODER}[0]": {"Resizing": {"height": HUGE, "width": 1}}}, "parameters"),
        ({f"{ENCODER}[0]": {"DepthwiseConv2D": {"kernel_size": 8, "depth_multiplier": 40_000_000}}}, "parameters"),
        ({f"{ENCODER}[0]": {"Residual": {"layers": [{"Dense": {"units": 70_000}}, {"Dense": {"units": 70_000}}]}}}, "parameters"),
        ({f"{ENCODER}[0]": {"SpectralNormalization": {"layer": {"Dense": {"units": HUGE}}}}}, "too large"),
        ({f"{ENCODER}[0]": {"Residual": {"layers": [{"UpSampling2D": {"size": 50_000}}, {"MaxPool2D": {"pool_size": 50_000}}]}}}, "too large"),
        ({f"{ENCODER}[2]": {"GaussianLatent": {"units": HUGE // 2}}}, "parameters"),
        ({f"{DECODER}[0].Dense.units": HUGE}, "parameters"),
        ({"model.layers.inputs": [{"Input": {"shape": [HUGE, HUGE, 1]}}]}, "expected at most 2,147,483,648 numbers"),
        ({"model.layers.inputs": [{"Input": {"shape": [40_000, 40_000, 1]}}], f"{ENCODER}[0]": {"PReLU": {}}, f"{ENCODER}[1]": {"PReLU": {}}, f"{ENCODER}[2]": {"PReLU": {}}}, "parameters"),
        ({"model.layers.inputs": [{"Input": {"shape": [32_768, 32_768, 1]}}], f"{ENCODER}[0]": {"LayerNormalization": {"axis": [1, 2, 3]}}}, "parameters"),
    ],
)  # fmt: skip
def test_large_models_are_refused_before_anything_is_allocated(
    changes: dict[str, Any], word: str
) -> None:
    def no_weights(*arguments: Any, **more: Any) -> None:
        raise KeyboardInterrupt("a weight was made")  # which nothing takes for a layer's refusal

    with mock.patch.object(keras.layers.Layer, "add_weight", no_weights):
        lines = problems(tiny(), changes)
    assert word in lines[0]
    assert lines[0].isprintable()


def test_the_limit_is_one_for_the_whole_model() -> None:
    with mock.patch.object(size_guard, "MODEL_MAX_PARAMETERS", 1000):
        (line,) = problems(tiny(), {f"{DECODER}[0].Dense.units": 300, f"{DECODER}[1].Reshape.target_shape": [10, 10, 3]})  # fmt: skip
    assert line == f"{DECODER}[0].Dense: brings the model to 1,317 parameters; at most 1,000 are built"  # fmt: skip


def test_the_guard_counts_what_keras_makes() -> None:
    """Exactly for kernels; biases and other vectors are left out."""
    for tree in (tiny(), rich(), entropic()):
        counted: list[int] = []
        follow = size_guard.SizeGuard.follow

        def noted(self: Any, *arguments: Any, counted: list[int] = counted, follow: Any = follow) -> Any:  # fmt: skip
            result = follow(self, *arguments)
            counted.append(self._parameters)
            return result

        with mock.patch.object(size_guard.SizeGuard, "follow", noted):
            compressor = build(tree)
        made = compressor.count_params()
        assert 0.7 * made < max(counted) < 1.3 * made


# --- fuzzing ------------------------------------------------------------------------------------

LIMIT = 200_000


def attempt(tree: Any) -> bool:
    """Parses, builds and runs; a model or a message, never anything else, and never a large one."""
    try:
        spec = parse_spec(tree, "fuzzed.json")
    except SpecError:
        return False
    with (
        mock.patch.object(size_guard, "MODEL_MAX_PARAMETERS", LIMIT),
        mock.patch.object(size_guard, "MAX_ACTIVATIONS", LIMIT),
        mock.patch.object(model_builder, "MAX_ACTIVATIONS", LIMIT),
    ):
        try:
            compressor = ModelBuilder(spec).build()
        except SpecError as error:
            assert all(line.isprintable() for line in str(error).splitlines())
            return False
    assert compressor.count_params() < 1.5 * LIMIT
    shape = nominal_shape(spec)
    outputs = compressor(np.zeros(shape, np.uint8))
    assert tuple(outputs["x_hat"].shape) == shape
    return True


@pytest.mark.parametrize("name", ["photo_fast", "space_ycbcr420", "vr_c", "model"])
def test_every_layer_of_a_built_model_is_built(name: str) -> None:
    """Else Keras under JAX calls the model with a batch of `fit`, which may be no images there."""
    compressor = ModelBuilder(load_spec(MODELS / f"{name}.json")).build()
    assert [layer.path for layer in compressor._flatten_layers() if not layer.built] == []


DEEP = {"max_examples": 2000, "deadline": None, "suppress_health_check": list(HealthCheck)}
STARTS = [tiny(), rich(), entropic()]


@settings(**{**DEEP, "max_examples": 15})
@given(plausible(FromCatalog()))
def test_specs_of_fitting_arguments_build_or_are_refused(tree: Any) -> None:
    attempt(tree)


@settings(**{**DEEP, "max_examples": 25})
@given(mutants(STARTS, MILD, 2, "encoder") | mutants(STARTS, MILD, 2, "decoder"))
def test_changed_specs_build_or_are_refused(tree: Any) -> None:
    attempt(tree)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@settings(**DEEP)
@given(plausible(FromCatalog()) | mutants(STARTS, MILD, 2, "layers") | mutants(STARTS))
def test_many_specs_build_or_are_refused(tree: Any) -> None:
    attempt(tree)
