import copy
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from safetensors.numpy import load, save

from builders.codec_export import make_codec
from builders.codec_transforms import (
    BLOCKS_AT_ONCE,
    KerasTransforms,
    bundle_transforms,
    codec_weights,
    set_codec_weights,
)
from builders.model_builder import ModelBuilder
from builders.spec import parse_spec
from codec.bundle import WEIGHTS, Bundle
from codec.errors import NicBundleError
from codec.image_codec import ImageCodec
from codec.manifest import MANIFEST
from codec.picture import Picture
from tests.codec.hand_made import changed, replaced
from tests.codec_models import TREES, conv, generator_of, images_of, photo, spec_tree, write_files


def refused(folder, contents, message):
    """Making the networks of a bundle ends in one printable line."""
    bundle = Bundle.read(write_files(folder, contents))
    with pytest.raises(NicBundleError, match=message) as error:
        bundle_transforms(bundle)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("kind", TREES)
def test_networks_of_a_bundle_are_those_it_was_made_of(kind, codecs):
    tiny = codecs[kind]
    mine, theirs = KerasTransforms(tiny.generator), tiny.codec.transforms
    latents = mine.analyse(tiny.images[0])
    for name, values in theirs.analyse(tiny.images[0]).items():
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, latents[name], atol=1e-4)
    assert set(latents) == ({"y", "z"} if "scale" in kind else {"y"})
    pixels = theirs.synthesise(latents["y"])
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(pixels, mine.synthesise(latents["y"]), atol=1)


@pytest.mark.parametrize("kind", TREES)
def test_what_is_pulled_back_is_the_gradient_of_the_error(kind, codecs):
    tiny = codecs[kind]
    transforms = tiny.codec.transforms
    blocks = tiny.codec.bundle.geometry.plan(*tiny.images[0].shape[1:3]).blocks(tiny.images[0][0])
    y = transforms.analyse(blocks)["y"]
    wanted = np.float32(1 / 255) * blocks

    difference, gradient = transforms.pull_back(y, wanted)
    assert (difference.dtype, gradient.dtype) == (np.float32, np.float32)
    assert gradient.shape == y.shape
    decoded = np.clip(np.round(255 * (wanted + difference)), 0, 255)
    np.testing.assert_allclose(decoded, transforms.synthesise(y), atol=1)
    direction = np.random.default_rng(0).normal(size=y.shape)
    decoder, step = transforms._generator.decoder, 1e-3

    def along(place):
        """Of the error as it is at y: where pixels are clipped, it and not its derivative is."""
        x_hat, _ = decoder.unclipped((y + place * direction).astype(np.float32), training=False)
        return float((keras.ops.convert_to_numpy(x_hat).astype(np.float64) * difference).sum())

    slope = (along(step) - along(-step)) / (2 * step)
    assert slope == pytest.approx(float((gradient * direction).sum()), rel=0.03, abs=1e-3)


def test_hyper_latents_of_a_scale_hyperprior_see_magnitudes(codecs):
    transforms = codecs["scale"].codec.transforms
    latents = transforms.analyse(codecs["scale"].images[0])
    model = codecs["scale"].generator.entropy_model
    z, _ = model.hyper_encoder(np.abs(latents["y"]), training=False)
    np.testing.assert_allclose(latents["z"], keras.ops.convert_to_numpy(z), atol=1e-4)


def test_many_blocks_are_worked_on_in_parts(codecs, monkeypatch):
    tiny = codecs["dense"]
    many = np.concatenate([tiny.images[0]] * (2 + BLOCKS_AT_ONCE // 8))
    assert len(many) > BLOCKS_AT_ONCE
    transforms = tiny.codec.transforms
    latents = transforms.analyse(many)["y"]
    pixels = transforms.synthesise(latents)
    assert len(latents) == len(pixels) == len(many)
    np.testing.assert_array_equal(pixels[:8], pixels[-8:])


def test_several_threads_at_once_may_be_the_first(codecs):
    """Graphs are made by the first call: workers of compress.py make theirs together."""
    tiny = codecs["scale"]
    workers = 4
    pictures = [tiny.images[0][i : i + 1, : 24 + 4 * i] for i in range(workers)]
    alone = [tiny.codec.transforms.analyse(each) for each in pictures]
    fresh = bundle_transforms(tiny.bundle)
    ready = threading.Barrier(workers)

    def there_and_back(picture):
        ready.wait(timeout=60)
        latents = fresh.analyse(picture)
        return latents, fresh.synthesise(latents["y"])

    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(there_and_back, pictures))
    for (latents, pixels), wanted in zip(found, alone, strict=True):
        assert set(latents) == set(wanted)
        for name, values in wanted.items():
            np.testing.assert_allclose(latents[name], values, atol=1e-4)
        again = tiny.codec.transforms.synthesise(wanted["y"])
        np.testing.assert_allclose(pixels, again, atol=1)


RICH = spec_tree(
    (8, 8, 1),
    [
        conv(4),
        {"BatchNormalization": {}},
        {"GaussianNoise": {"stddev": 0.1}},
        {"Residual": {"layers": [conv(4), conv(4, activation="relu")]}},
        {"Flatten": {}},
        {"Dropout": {"rate": 0.3}},
        {"Dense": {"units": 5}},
    ],
    [{"Dense": {"units": 64}}, {"Reshape": {"target_shape": [8, 8, 1]}}],
)


def test_weights_are_named_by_their_places():
    """Not by Keras' counters, which depend on what the process made before."""
    spec = parse_spec(copy.deepcopy(RICH))
    first, second = generator_of(spec, 1), generator_of(spec, 2)
    first.encoder.stack[1].moving_mean.assign(np.arange(4.0))
    weights = codec_weights(first)
    assert set(weights) == set(codec_weights(second))
    assert "encoder/0.Conv2D/0.kernel" in weights
    assert "encoder/3.Residual/2.kernel" in weights
    assert "decoder/0.Dense/1.bias" in weights
    assert not any("seed" in name for name in weights)
    set_codec_weights(second, weights, "here")
    for name, values in codec_weights(second).items():
        np.testing.assert_array_equal(values, weights[name])
    image = photo(8, 8, 1)[None]
    np.testing.assert_array_equal(
        KerasTransforms(first).analyse(image)["y"], KerasTransforms(second).analyse(image)["y"]
    )


def test_a_rich_model_becomes_a_codec(tmp_path):
    spec = parse_spec(copy.deepcopy(RICH))
    generator = generator_of(spec)
    parts = make_codec(generator, spec, images_of(spec))
    bundle = Bundle.read(write_files(tmp_path / "bundle", parts.files))
    codec = ImageCodec(bundle, lambda: bundle_transforms(bundle))
    image = Picture(photo(9, 20, 1))
    assert codec.decompress(codec.compress(image)).pixels.shape == (9, 20, 1)


WEIGHT = "encoder/0.Conv2D/0.kernel"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop(WEIGHT), f"not the weights of its spec: {WEIGHT}"),
        (lambda w: w.update({"a\nb": np.zeros(1, np.float32)}), r"not the weights .*: a\?b"),
        (lambda w: w.update({WEIGHT: w[WEIGHT][:-1]}), rf"{WEIGHT} is float32 \(2, 3, 3, 4\)"),
        (lambda w: w.update({WEIGHT: w[WEIGHT].astype(np.int32)}), f"{WEIGHT} is int32"),
        (lambda w: w.update({WEIGHT: w[WEIGHT] * np.nan}), "numbers that are not finite"),
        (lambda w: w.update({WEIGHT: w[WEIGHT] * np.inf}), "numbers that are not finite"),
    ],
)
def test_other_weights_are_refused(change, message, codecs, tmp_path):
    files = codecs["plain"].parts.files
    weights = load(files[WEIGHTS])
    change(weights)
    contents = replaced(files, weights__safetensors=save(weights))
    refused(tmp_path / "bundle", contents, message)


def test_nothing_in_a_bundle_runs(codecs, tmp_path):
    """Layers that hold code are none of those a spec may name."""
    files = codecs["plain"].parts.files
    proof = tmp_path / "ran"
    code = f"__import__('pathlib').Path({str(proof)!r}).touch()"
    for number, layer in enumerate(
        (
            {"Lambda": {"function": code}},
            {"TFSMLayer": {"filepath": str(tmp_path)}},
            {"TorchModuleWrapper": {"module": code}},
            {"os.system": {"command": f"touch {proof}"}},
            {"Conv2D": {"filters": 4, "kernel_size": 1, "activation": code}},
            {"Conv2D": {"filters": 4, "kernel_size": 1, "kernel_initializer": {code: {}}}},
        )
    ):

        def change(tree, layer=layer):
            tree["spec"]["model"]["layers"]["generator"]["layers"]["encoder"]["layers"].append(
                layer
            )

        refused(tmp_path / str(number), changed(files, change), "its spec: model.layers.generator")
    assert not proof.exists()


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("plain", lambda t: t["geometry"].update(first=[4, 4])),
        ("plain", lambda t: t["geometry"].update(step=[4, 2])),
        ("plain", lambda t: t["geometry"]["grids"]["y"].update(growth=[1, 2])),
        ("plain", lambda t: t["geometry"]["grids"]["y"].update(shape=[1, 2, 4])),
        ("dense", lambda t: t["geometry"].update(first=[16, 16])),
        ("dense", lambda t: t["geometry"]["grids"]["y"].update(shape=[2, 3])),
        ("scale", lambda t: t["geometry"]["grids"]["z"].update(shape=[1, 1, 2])),
    ],
)
def test_sizes_that_are_not_the_spec_s_are_refused(kind, change, codecs, tmp_path):
    contents = changed(codecs[kind].parts.files, change)
    refused(tmp_path / "bundle", contents, "its sizes are not those of its spec|growing by")


def test_a_spec_for_one_size_cannot_serve_any(codecs, tmp_path):
    def change(tree):
        tree["geometry"].update(step=[8, 8])
        tree["geometry"]["grids"]["y"] = {"shape": [1, 1, 6], "growth": [1, 1]}

    contents = changed(codecs["dense"].parts.files, change)
    refused(tmp_path / "bundle", contents, "can't take images of any size")


def test_a_spec_that_is_none_is_refused(codecs, tmp_path):
    for number, spec in enumerate(({}, {"model": 3}, {"a\nb": 1})):
        contents = changed(codecs["plain"].parts.files, lambda t, s=spec: t.update(spec=s))
        refused(tmp_path / str(number), contents, f"{MANIFEST}: its spec: ")


def test_the_spec_of_a_bundle_builds_the_model_again(codecs):
    for kind in TREES:
        tree = json.loads(codecs[kind].parts.files[MANIFEST])["spec"]
        twin = ModelBuilder(parse_spec(tree)).build().generator
        mine = codec_weights(codecs[kind].generator)
        assert {n: w.shape for n, w in codec_weights(twin).items()} == {
            n: w.shape for n, w in mine.items()
        }


@pytest.mark.parametrize("kind", ["scale", "dense"])
def test_in_half_precision_the_same_file_is_nearly_the_same_picture(kind, codecs):
    tiny = codecs[kind]
    half = ImageCodec(tiny.bundle, lambda: bundle_transforms(tiny.bundle, "mixed_bfloat16"))
    image = Picture(tiny.images[0][0])
    data = tiny.codec.compress(image)
    whole, rough = tiny.codec.decompress(data).pixels, half.decompress(data).pixels
    assert np.abs(whole.astype(int) - rough).mean() < 4
    again = half.compress(image)  # other latents perhaps, but whole ones
    assert tiny.codec.decompress(again).pixels.shape == whole.shape
