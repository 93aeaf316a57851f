"""What a model is said to cost, against numbers worked out by hand and against Keras' own count."""

from pathlib import Path
from typing import Any

import keras
import pytest

from architectures.cost import multiply_accumulates, parameters
from builders.model_builder import ModelBuilder
from builders.size_guard import output_shapes
from builders.spec import load_spec, parse_spec
from builders.summary import summarize, summary_lines
from tests.builders.spec_trees import SAMPLES, entropic, rich, stacked, tiny


def costs(tree: Any) -> Any:
    """The summary of a spec."""
    spec = parse_spec(tree)
    return summarize(spec, ModelBuilder(spec).build())


def test_a_small_model_by_hand() -> None:
    summary = costs(tiny())
    assert [(row.stack, row.name, row.kind, row.output, row.parameters, row.macs) for row in summary.rows] == [
        # 3x3 kernels, 1 -> 2 channels, applied at 4x4 places
        ("encoder", "conv2d_0", "Conv2D", (4, 4, 2), 3 * 3 * 1 * 2 + 2, 16 * 18),
        ("encoder", "flatten_1", "Flatten", (32,), 0, 0),
        ("encoder", "compressed_representation", "Dense", (3,), 32 * 3 + 3, 32 * 3),
        ("decoder", "dense_0", "Dense", (32,), 3 * 32 + 32, 3 * 32),
        ("decoder", "reshape_1", "Reshape", (4, 4, 2), 0, 0),
        # 3x3 kernels, 2 -> 1 channels, spread from each of 4x4 places
        ("decoder", "conv2d_transpose_2", "Conv2DTranspose", (8, 8, 1), 3 * 3 * 2 * 1 + 1, 16 * 18),
    ]  # fmt: skip
    assert summary.parameters == 20 + 99 + 128 + 19
    assert summary.macs == 288 + 96 + 96 + 288
    assert (summary.image, summary.latents) == ((8, 8, 1), (3,))
    assert (summary.image_bytes, summary.latent_bytes) == (64, 12)
    assert summary.ratio == 64 / 12
    assert summary.bits_per_pixel == 96 / 64
    assert summary.warnings == ()


@pytest.mark.parametrize(
    ("layer", "shape", "weights", "macs"),
    [
        (keras.layers.Conv2D(6, (3, 5), groups=2), (1, 9, 9, 4), 3 * 5 * 2 * 6 + 6, 7 * 5 * 180),
        (keras.layers.Conv2D(2, 3, strides=2, padding="same"), (1, 9, 9, 4), 74, 5 * 5 * 72),
        (keras.layers.Conv2D(2, 3, dilation_rate=2, use_bias=False), (1, 9, 9, 1), 18, 25 * 18),
        (keras.layers.Conv2DTranspose(2, 5, strides=3), (1, 4, 6, 3), 152, 24 * 150),
        (keras.layers.DepthwiseConv2D(3, depth_multiplier=2), (1, 5, 5, 4), 9 * 8 + 8, 9 * 72),
        (keras.layers.SeparableConv2D(7, 3), (1, 5, 5, 4), 36 + 28 + 7, 9 * (36 + 28)),
        (keras.layers.Dense(7), (1, 5, 6, 4), 35, 30 * 28),
        (keras.layers.BatchNormalization(), (1, 5, 5, 4), 16, 0),
        (keras.layers.PReLU(), (1, 5, 5, 4), 100, 0),
        (keras.layers.MaxPooling2D(2), (1, 6, 6, 4), 0, 0),
        (keras.layers.Dropout(0.5, name="seeded"), (1, 6, 6, 4), 0, 0),
        (keras.layers.Conv2D(1, 1, name="seed_of_it_all"), (1, 2, 2, 1), 2, 4),
        # vector_u of the power iteration is a weight, too
        (keras.layers.SpectralNormalization(keras.layers.Conv2D(3, 1)), (1, 2, 2, 5), 18 + 3, 4 * 15),
    ],
    ids=lambda value: value.name if isinstance(value, keras.layers.Layer) else "",
)  # fmt: skip
def test_layers_by_hand(layer: Any, shape: tuple[int, ...], weights: int, macs: int) -> None:
    layer(keras.KerasTensor((None, *shape[1:])))
    (after,) = output_shapes([layer], shape)
    assert parameters(layer) == weights == layer.count_params()
    assert multiply_accumulates(layer, shape, after) == macs


def test_layers_of_our_own_by_hand() -> None:
    residual = {
        "Residual": {
            "layers": [
                {"Conv2D": {"filters": 5, "kernel_size": 1}},
                {"Conv2D": {"filters": 3, "kernel_size": 3, "padding": "same"}},
            ]
        }
    }
    summary = costs(
        stacked(
            [4, 4, 3],
            [residual, {"GDN": {}}, {"SpaceToDepth": {}}, {"Flatten": {}}, {"GaussianLatent": {"units": 2}}],
            [{"Dense": {"units": 48}}, {"Reshape": {"target_shape": [4, 4, 3]}}],
            loss=[{"L1": {}}, {"KLDivergence": {}}],
            training={"metrics": []},
        )
    )  # fmt: skip
    found = {row.kind: (row.output, row.parameters, row.macs) for row in summary.rows}
    assert found["Residual"] == ((4, 4, 3), 3 * 5 + 5 + 9 * 5 * 3 + 3, 16 * (15 + 135))
    assert found["GDN"] == ((4, 4, 3), 9 + 3, 16 * 9)
    assert found["SpaceToDepth"] == ((2, 2, 12), 0, 0)
    assert found["GaussianLatent"] == ((2,), 48 * 4 + 4, 48 * 4)  # means and log variances
    assert summary.latents == (2,)


@pytest.mark.parametrize("tree", [tiny(), rich(), entropic()], ids=["tiny", "rich", "entropic"])
def test_parameters_are_those_that_keras_counts(tree: Any) -> None:
    spec = parse_spec(tree)
    compressor = ModelBuilder(spec).build()
    summary = summarize(spec, compressor)
    assert summary.parameters == compressor.count_params()
    judged = sum(row.macs for row in summary.rows if row.stack == "discriminator")
    assert summary.macs == sum(row.macs for row in summary.rows) - judged


def test_free_sides_are_stated_at_the_crop_or_else_at_256() -> None:
    at_crop = costs(entropic())
    assert (at_crop.image, at_crop.latents) == ((16, 16, 3), (4, 4, 3))
    assert at_crop.rows[0].output == (None, None, 3)
    tree = entropic()
    del tree["dataset"]
    at_256 = costs(tree)
    assert (at_256.image, at_256.latents) == ((256, 256, 3), (64, 64, 3))
    assert at_256.macs == 256 * at_crop.macs
    assert at_256.parameters == at_crop.parameters


def test_latents_that_are_larger_than_the_image_are_pointed_out() -> None:
    summary = costs(tiny(training={"latent_dims": 16, "metrics": []}))
    assert summary.ratio == 1
    assert summary.warnings == (
        "the latents take 64 bytes as stored, the image 64: nothing is compressed",
    )


def test_warnings_of_the_spec_are_passed_on() -> None:
    assert costs(tiny(params={"spare": 1})).warnings == (
        'params.spare is used nowhere: no value is "$spare"',
    )


def test_the_text() -> None:
    spec = parse_spec(tiny(params={"spare": 1}))
    assert (
        "\n".join(summary_lines(spec, summarize(spec, ModelBuilder(spec).build())))
        == """\
         layer                      class            output  parameters  MACs
-----------------------------------------------------------------------------
encoder  conv2d_0                   Conv2D           4x4x2           20   288
         flatten_1                  Flatten          32               0     0
         compressed_representation  Dense            3               99    96
decoder  dense_0                    Dense            32             128    96
         reshape_1                  Reshape          4x4x2            0     0
         conv2d_transpose_2         Conv2DTranspose  8x8x1           19   288

image        8x8x1, 64 bytes
latents      3, 12 bytes as stored (float32), 1.500 bits per pixel
ratio        5.33 : 1
parameters   266 (0.00 MiB)
MACs         768 an image through encoder and decoder, 12 a pixel
warning      params.spare is used nowhere: no value is "$spare\""""
    )


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_the_text_of_the_sample_models(path: Path) -> None:
    spec = load_spec(path)
    lines = summary_lines(spec, summarize(spec, ModelBuilder(spec).build()))
    assert all(line.isprintable() and len(line) < 120 for line in lines)
    text = "\n".join(lines)
    assert ("height and width are free" in text) == (None in spec.input_shape)
    assert ("their size is learned" in text) == ("entropy_model" in path.read_text())
