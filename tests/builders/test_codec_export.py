import copy
import json

import keras
import numpy as np
import pytest
from safetensors.numpy import load

from architectures.autoencoder import to_uint8
from builders import codec_export, codec_writing
from builders.codec_export import CodecChoices, make_codec, sample_images
from builders.codec_tables import counted_tables, density_tables
from builders.codec_transforms import bundle_transforms
from builders.codec_writing import check_codec, export_codec
from builders.errors import RunError, UserError
from builders.spec import parse_spec
from builders.training import open_splits
from builders.weights_choice import WeightsChoice
from codec.bundle import CODER, HYPER_TABLES, TABLES, WEIGHTS, Bundle
from codec.container import NicFile
from codec.image_codec import ImageCodec
from codec.latent_coders import StoredCoder
from codec.manifest import MANIFEST
from codec.picture import Picture, PictureError
from codec.tables import MAX_ENTRIES, TableSet
from tests.codec_models import (
    DECODER,
    ENCODER,
    HYPER_ENCODER,
    TREES,
    conv,
    generator_of,
    hyper_decoder,
    images_of,
    photo,
    spec_tree,
    write_files,
)

FILES = {
    "mean_scale": {WEIGHTS, TABLES, HYPER_TABLES, CODER},
    "scale": {WEIGHTS, TABLES, HYPER_TABLES, CODER},
    "factorized": {WEIGHTS, TABLES},
    "dense": {WEIGHTS, TABLES, CODER},
    "plain": {WEIGHTS, TABLES, CODER},
}


def regenerated(tiny, images):
    """What the generator itself makes of images, as 8-bit pixels."""
    outputs = tiny.generator(images, training=False)
    return np.asarray(keras.ops.convert_to_numpy(to_uint8(outputs["x_hat"])))


@pytest.mark.parametrize("kind", TREES)
def test_a_bundle_holds_what_its_kind_needs(kind, codecs):
    tiny = codecs[kind]
    assert set(tiny.parts.files) == {MANIFEST, *FILES[kind]}
    assert tiny.parts.size == sum(map(len, tiny.parts.files.values()))
    manifest = tiny.bundle.manifest
    assert manifest.name == "Tiny_Codec"
    assert manifest.coder.kind == {"dense": "quantized", "plain": "quantized"}.get(
        kind, "factorized" if kind == "factorized" else "hyperprior"
    )
    assert tiny.bundle.qualities == (256 if "scale" in kind else 1)
    assert (tiny.parts.cost is None) == ("scale" not in kind)
    stored = manifest.spec
    assert stored["model"]["layers"]["discriminator"] is None
    assert "dataset" not in stored  # neither paths nor flags of who trained it


@pytest.mark.parametrize("kind", ["mean_scale", "scale", "factorized"])
def test_a_codec_gives_the_picture_that_the_model_gives(kind, codecs, monkeypatch):
    """Nearly: means are 256ths of a step, and a latent half a step from one may go either way."""
    tiny = codecs[kind]
    monkeypatch.setattr(tiny.codec.coder, "bit_price", 0.0)  # to the nearest, as the model rounds
    image = photo(32, 48, seed=5)
    back = tiny.codec.decompress(tiny.codec.compress(Picture(image))).pixels
    gap = back.astype(int) - regenerated(tiny, image[None])[0]
    assert np.abs(gap).mean() < 0.5
    if kind != "mean_scale":
        assert np.abs(gap).max() <= 1


@pytest.mark.parametrize("kind", ["dense", "plain"])
def test_a_codec_of_plain_latents_stores_8_bits_of_each(kind, codecs):
    tiny = codecs[kind]
    for image in tiny.images[0][:3]:
        data = tiny.codec.compress(Picture(image))
        (decoded,) = tiny.codec.decode_latents(NicFile.from_bytes(data))
        (symbols,) = decoded.arrays
        assert symbols.min() >= 0
        assert symbols.max() <= 255
        back = tiny.codec.decompress(data).pixels
        assert np.abs(back.astype(int) - regenerated(tiny, image[None])[0]).max() <= 12


@pytest.mark.parametrize("kind", TREES)
@pytest.mark.parametrize("size", [(1, 1), (1, 23), (19, 1), (17, 30)])
def test_pictures_of_any_size(kind, size, codecs):
    codec = codecs[kind].codec
    channels = codec.bundle.geometry.channels
    for each in {channels, 1}:
        picture = Picture(photo(*size, each))
        data = codec.compress(picture)
        back = codec.decompress(data)
        assert back.pixels.shape == picture.pixels.shape
        around = len(data) - len(NicFile.from_bytes(data).latents[0])
        assert around <= 32
    if channels == 1:
        with pytest.raises(PictureError, match="in colour"):
            codec.compress(Picture(photo(*size)))


def test_padding_does_not_show(codecs):
    """The same pixels come back whether the picture ends at a block or goes on."""
    codec = codecs["factorized"].codec
    image = photo(48, 48)
    whole = codec.decompress(codec.compress(Picture(image))).pixels
    part = codec.decompress(codec.compress(Picture(image[:37, :42]))).pixels
    assert np.abs(part[:8, :8].astype(int) - whole[:8, :8]).max() <= 1


@pytest.mark.parametrize("kind", ["factorized", "plain"])
def test_tiles_give_nearly_what_the_whole_gives(kind, codecs):
    codec = codecs[kind].codec
    image = photo(100, 140)
    whole = codec.decompress(codec.compress(Picture(image), tile=0)).pixels.astype(int)
    data = codec.compress(Picture(image), tile=64)
    tiled = codec.decompress(data).pixels.astype(int)
    assert NicFile.from_bytes(data).header.tiles == 6
    assert np.abs(tiled - whole)[:40, :40].max() <= 1  # far from all seams
    assert np.abs(tiled - whole).mean() < 2


def test_qualities_double_in_44_steps(codecs):
    for kind in ("mean_scale", "scale"):
        entry = codecs[kind].bundle.manifest.coder
        assert entry.default_quality == 128
        assert (entry.qualities[128].gain, entry.qualities[128].offset) == (1.0, 0)
        assert entry.qualities[172].gain == pytest.approx(2.0)
        # A factor of two is 5.6 places of the table: scales grow as the residuals do.
        assert entry.qualities[172].offset == 6
        gains = [each.gain for each in entry.qualities]
        assert gains == sorted(gains)


@pytest.mark.parametrize("kind", ["mean_scale", "scale"])
def test_the_highest_quality_loses_less(kind, codecs):
    codec = codecs[kind].codec
    image = Picture(photo(32, 40))
    least, most = (codec.compress(image, quality) for quality in (0, 255))
    assert len(least) < len(most)
    errors = []
    latents = codec.transforms.analyse(codec.bundle.geometry.plan(32, 40).blocks(image.pixels))
    for data in (least, most):
        (decoded,) = codec.decode_latents(NicFile.from_bytes(data))
        errors.append(np.abs(decoded.y_hat - latents["y"]).mean())
    assert errors[1] < errors[0] / 4


def test_a_target_is_met_at_any_size(codecs):
    codec = codecs["mean_scale"].codec
    image = Picture(photo(32, 40))
    sizes = [len(codec.compress(image, quality)) for quality in range(0, 256, 51)]
    for most in sorted({*sizes, *(size + 7 for size in sizes)}):
        data = codec.compress_to(image, most)
        quality = NicFile.from_bytes(data).header.quality
        assert len(data) <= most
        assert quality == 255 or len(codec.compress(image, quality + 1)) > most
    with pytest.raises(PictureError, match="at the lowest quality, 30 were asked for"):
        codec.compress_to(image, 30)


# --- choices of the user -----------------------------------------------------------------------


def made(kind, choices=None, tree=None, generator=None):
    spec = parse_spec(tree or copy.deepcopy(TREES[kind]))
    generator = generator or generator_of(spec)
    return make_codec(generator, spec, images_of(spec), choices), generator


@pytest.mark.parametrize("quantizer", ["naive", "min-max", "k-means"])
def test_a_quantizer_may_be_chosen(quantizer, tmp_path):
    parts, generator = made("dense", CodecChoices(quantizer=quantizer))
    bundle = Bundle.read(write_files(tmp_path / "bundle", parts.files))
    assert bundle.manifest.coder.quantizer == quantizer
    arrays = bundle.arrays(CODER)
    assert arrays["low"].shape == {"naive": (1,), "min-max": (6,), "k-means": (1,)}[quantizer]
    assert ("codebook" in arrays) == (quantizer == "k-means")
    check_codec(bundle.path, generator, images_of(parse_spec(copy.deepcopy(TREES["dense"]))))


def test_latents_may_be_stored_as_they_are(tmp_path, codecs):
    tiny = codecs["dense"]
    parts, _ = made("dense", CodecChoices(quantizer="float32"), generator=tiny.generator)
    assert set(parts.files) == {MANIFEST, WEIGHTS}
    bundle = Bundle.read(write_files(tmp_path / "bundle", parts.files))
    assert isinstance(bundle.coder(), StoredCoder)
    codec = ImageCodec(bundle, lambda: tiny.codec.transforms)
    image = tiny.images[0][0]
    data = codec.compress(Picture(image))
    assert len(NicFile.from_bytes(data).latents[0]) == 4 * 6
    np.testing.assert_array_equal(codec.decompress(data).pixels, regenerated(tiny, image[None])[0])


def test_the_spec_names_a_quantizer_and_the_user_another():
    tree = copy.deepcopy(TREES["dense"])
    tree["model"]["layers"]["generator"]["quantizer"] = "k-means"
    for choices, expected in ((None, "k-means"), (CodecChoices("naive"), "naive")):
        parts, _ = made("dense", choices, tree)
        assert json.loads(parts.files[MANIFEST])["coder"]["quantizer"] == expected


def test_an_entropy_model_needs_no_quantizer():
    with pytest.raises(UserError, match="--quantizer naive: the entropy model of Tiny_Codec"):
        made("factorized", CodecChoices(quantizer="naive"))


@pytest.mark.parametrize("kind", ["plain", "dense"])
def test_half_precision_halves_the_weights_and_is_what_was_measured(kind, codecs, tmp_path):
    parts, generator = made(kind, CodecChoices(half=True))
    whole = load(codecs[kind].parts.files[WEIGHTS])
    half = load(parts.files[WEIGHTS])
    assert set(half) == set(whole)
    for name, values in half.items():
        assert values.dtype == np.float16
        np.testing.assert_array_equal(values, whole[name].astype(np.float16))
    first = generator.encoder.stack[-1].get_weights()[0]
    np.testing.assert_array_equal(first, first.astype(np.float16))
    folder = write_files(tmp_path / "bundle", parts.files)
    check_codec(folder, generator, codecs[kind].images)


def test_weights_beyond_half_precision_are_refused():
    spec = parse_spec(copy.deepcopy(TREES["plain"]))
    generator = generator_of(spec)
    generator.set_weights([each + 1e5 for each in generator.get_weights()])
    with pytest.raises(UserError, match=r"--weights float16: encoder/0.Conv2D/0.kernel has"):
        make_codec(generator, spec, images_of(spec), CodecChoices(half=True))


# --- models that make no codec -----------------------------------------------------------------


def free(encoder, decoder, hyper=None, **entropy_model):
    return spec_tree((None, None, 3), encoder, decoder, hyper, **entropy_model)


def scale_hyperprior(hyper, **arguments):
    return free(ENCODER, DECODER, hyper, entropy_model={"ScaleHyperprior": arguments})


HYPER = HYPER_ENCODER, hyper_decoder(4)


@pytest.mark.parametrize(
    ("tree", "error", "message"),
    [
        (
            scale_hyperprior((HYPER_ENCODER, [conv(4, 5, 2, "elu", transposed=True), conv(4)])),
            UserError,
            r"hyper_decoder\.layers\[0\]\.Conv2DTranspose: has no form in whole numbers",
        ),
        (
            scale_hyperprior((HYPER_ENCODER, [conv(4, 17, 2, transposed=True), conv(4)])),
            UserError,
            "kernels up to 15",
        ),
        (scale_hyperprior(HYPER, scale_max=1e5), UserError, "use a smaller scale_max"),
        (
            scale_hyperprior(HYPER, scale_levels=20_000),
            UserError,
            "has no form in whole numbers|fewer scale_levels",
        ),
        (
            free([conv(4, 3, 2, transposed=True)], [conv(3, 3, 2)]),
            RunError,
            "its latents are larger than the image",
        ),
    ],
)
def test_models_that_make_no_codec_are_refused_in_words(tree, error, message):
    with pytest.raises(error, match=message):
        made("", tree=tree)


def test_latents_that_are_no_numbers_are_refused():
    for kind in ("plain", "factorized", "scale"):
        spec = parse_spec(copy.deepcopy(TREES[kind]))
        generator = generator_of(spec)
        last = generator.encoder.stack[-1]
        last.set_weights([each * np.nan for each in last.get_weights()])
        with pytest.raises(RunError, match=r"Tiny_Codec can't become a codec: .* not all finite"):
            make_codec(generator, spec, images_of(spec))


def test_densities_that_are_no_numbers_are_refused():
    spec = parse_spec(copy.deepcopy(TREES["factorized"]))
    generator = generator_of(spec)
    for each in generator.entropy_model.density.biases:
        each.assign(keras.ops.multiply(each, np.nan))
    with pytest.raises(RunError, match="density has weights that are not finite"):
        make_codec(generator, spec, images_of(spec))


# --- the tables --------------------------------------------------------------------------------


def test_a_density_has_the_table_of_its_probabilities(codecs):
    density = codecs["factorized"].generator.entropy_model.density
    tables = density_tables(density)
    assert len(tables) == 4
    symbols = np.arange(-6, 7)
    for channel in range(4):
        x = np.tile(symbols[:, None], (1, 4)).astype(np.float32)
        bits = keras.ops.convert_to_numpy(density(x))[:, channel]
        frequencies = tables.table(channel)[symbols - tables.lows[channel]] / 2.0**24
        np.testing.assert_allclose(-np.log2(frequencies), bits, atol=0.01)


def test_counted_symbols_get_their_share_and_none_is_impossible():
    numbers = np.random.default_rng(0)
    symbols = np.stack([numbers.binomial(255, p, 4000) for p in (0.2, 0.6)], axis=-1)
    tables = counted_tables(symbols.astype(np.int32))
    assert (tables.lows == 0).all()
    assert (tables.lengths == 256).all()
    for channel in range(2):
        shares = tables.table(channel)[:256] / 2.0**24
        counts = np.bincount(symbols[:, channel], minlength=256) / 4000
        assert np.abs(shares - counts).max() < 0.01
        assert shares.min() > 0


def test_very_many_channels_share_a_table():
    many = MAX_ENTRIES // 257 + 1
    symbols = np.zeros((2, many), np.int32)
    assert len(counted_tables(symbols)) == 1
    assert len(counted_tables(symbols[:, :3])) == 3


# --- trying the codec --------------------------------------------------------------------------


def test_what_was_tried_is_told(codecs):
    tiny = codecs["factorized"]
    digest, checked = check_codec(tiny.folder, tiny.generator, tiny.images)
    assert tiny.bundle.digest.hex()[:16] in digest
    assert "checked    4 images" in checked
    _, checked = check_codec(tiny.folder, tiny.generator, [tiny.images[0][:2]])
    assert "checked    2 images" in checked


def test_weights_that_are_not_the_model_s_are_noticed(codecs, tmp_path):
    tiny = codecs["plain"]
    other, _ = made("plain", generator=generator_of(tiny.spec, seed=7))
    folder = write_files(tmp_path / "bundle", other.files)
    with pytest.raises(RunError, match="does not give back what the networks make"):
        check_codec(folder, tiny.generator, tiny.images)


def test_a_bundle_that_cannot_be_read_is_an_error_in_words(codecs, tmp_path):
    tiny = codecs["plain"]
    files = {**tiny.parts.files, TABLES: b"NTAB"}
    folder = write_files(tmp_path / "bundle", files)
    with pytest.raises(RunError, match=r"the bundle can't be used: .*tables.ntab: damaged"):
        check_codec(folder, tiny.generator, tiny.images)


def test_nothing_is_left_of_an_export_that_fails(finished, tmp_path, monkeypatch):
    spec = finished.run.choice.spec
    choice = WeightsChoice(spec, finished.folder.best, None)
    told = []
    lines = export_codec(choice, tmp_path / "codec", CodecChoices(), told.append)
    assert told == ["building the model", "measuring latents", "trying the codec"]
    assert lines[0].startswith(f"codec      {tmp_path / 'codec'} (")
    before = {path.name: path.read_bytes() for path in (tmp_path / "codec").iterdir()}

    def fail(*_):
        raise RunError("no")

    monkeypatch.setattr(codec_writing, "check_codec", fail)
    for path in (tmp_path / "codec", tmp_path / "other"):
        with pytest.raises(RunError):
            export_codec(choice, path, CodecChoices("naive"), told.append)
    assert [path.name for path in tmp_path.iterdir()] == ["codec"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "codec").iterdir()} == before


def test_samples_are_batches_of_the_training_split(tiny, monkeypatch):
    splits = open_splits(tiny(), quiet=True)
    batches = sample_images(splits)
    assert all(each.dtype == np.uint8 and each.shape[1:] == (8, 8, 1) for each in batches)
    count = sum(len(each) for each in batches)
    monkeypatch.setattr(codec_export, "SAMPLE_IMAGES", 8)
    assert sum(len(each) for each in sample_images(splits)) == 8 < count
    monkeypatch.setattr(codec_export, "SAMPLE_PIXELS", 1)
    assert len(sample_images(splits)) == 1


def test_the_table_set_of_a_bundle_is_that_of_its_scales(codecs):
    tiny = codecs["scale"]
    tables = TableSet.from_bytes(tiny.parts.files[TABLES])
    assert len(tables) == tiny.generator.entropy_model.scale_levels


def test_a_bundle_keeps_the_size_that_its_networks_are_stated_at(tmp_path):
    """Sides of 10, which 256 is no multiple of: without the crop no one could build the spec."""
    tree = spec_tree(
        (None, None, 3),
        [conv(4, 5, 2), conv(4, 5, 5)],
        [conv(4, 5, 5, transposed=True), conv(3, 5, 2, transposed=True)],
        entropy_model={"FactorizedPrior": {}},
    )
    tree["dataset"] = {"crop": [40, 30]}
    spec = parse_spec(tree, "tens.json")
    generator = generator_of(spec)
    parts = make_codec(generator, spec, [np.stack([photo(40, 30)])])
    bundle = Bundle.read(write_files(tmp_path / "codec", parts.files))
    assert bundle.manifest.spec["dataset"] == {"crop": [40, 30]}
    codec = ImageCodec(bundle, lambda: bundle_transforms(bundle))
    picture = photo(23, 57)
    assert codec.decompress(codec.compress(Picture(picture))).pixels.shape == picture.shape
