"""Exported files against the Keras model, each run by its own runtime."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from architectures.autoencoder import Encoder
from architectures.deployment import DeployedEncoder, deployed_parts, with_free_size
from builders import exporting
from builders.checkpoint import save_weights
from builders.errors import RunError, UserError
from builders.export_check import WrongExportError, compare, probe_image
from builders.export_formats import FORMATS
from builders.export_info import SideRule, read_info
from builders.export_runners import open_runner
from builders.export_sizes import serve, size_rules
from builders.export_targets import check_free, target_paths, written_whole
from builders.export_writers import CannotConvertError, write_model
from builders.exported_model import find_exported, open_exported
from builders.exporting import export, report_lines
from builders.model_builder import ModelBuilder
from builders.spec import parse_spec
from builders.weights_choice import WeightsChoice

FREE = (
    [
        {"Conv2D": {"filters": 8, "kernel_size": 5, "strides": 2, "padding": "same"}},
        {"Conv2D": {"filters": 6, "kernel_size": 3, "strides": 2, "padding": "same"}},
    ],
    [
        {"Conv2DTranspose": {"filters": 8, "kernel_size": 5, "strides": 2, "padding": "same"}},
        {"UpSampling2D": {"size": 2, "interpolation": "bilinear"}},
        {"UpSampling2D": {"size": 1}},
        {"Conv2D": {"filters": 3, "kernel_size": 3, "padding": "same", "activation": "sigmoid"}},
    ],
)
FIXED = (
    [
        {"Conv2D": {"filters": 4, "kernel_size": 3, "strides": 2}},
        {"Flatten": {}},
        {"Dense": {"units": 5}},
    ],
    [
        {"Dense": {"units": 64}},
        {"Reshape": {"target_shape": [4, 4, 4]}},
        {"Conv2DTranspose": {"filters": 1, "kernel_size": 3, "strides": 2, "padding": "same"}},
    ],
)


CASES = [
    (name, kind)
    for name in ("free", "fixed")
    for kind in FORMATS
    if (name, kind) != ("free", "keras")
]


def spec_of(layers, shape, name="Tiny"):
    coders = {"encoder": {"layers": layers[0]}, "decoder": {"layers": layers[1]}}
    model = {"inputs": [{"Input": {"shape": shape}}], "generator": {"layers": coders}}
    tree = {"model": {"name": name, "layers": model}, "loss": [{"MSE": {}}]}
    return parse_spec({**tree, "training": {"metrics": [{"PSNR": {}}]}})


def chosen(folder, spec, seed=0):
    """A weights file with made-up weights, in a folder of its own."""
    keras.utils.set_random_seed(seed)
    compressor = ModelBuilder(spec).build()
    weights = folder / "checkpoints" / "best.weights.h5"
    save_weights(compressor, spec, weights, {})
    return WeightsChoice(spec, weights, None), compressor


@pytest.fixture(scope="module")
def free(tmp_path_factory):
    return chosen(tmp_path_factory.mktemp("free"), spec_of(FREE, [32, 32, 3], "Free"))


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    return chosen(tmp_path_factory.mktemp("fixed"), spec_of(FIXED, [8, 8, 1], "Fixed"))


@pytest.fixture(scope="module")
def exports(tmp_path_factory, free, fixed):
    """Both models in all formats: (model, format) -> [encoder, decoder]."""
    folder = tmp_path_factory.mktemp("exports")
    paths = {}
    for name, kind in CASES:
        choice, _ = {"free": free, "fixed": fixed}[name]
        done = export(choice, format_name=kind, save_path=str(folder / name / kind))
        paths[name, kind] = [each.path for each in done]
    return paths


@pytest.fixture(scope="module")
def expected(free, fixed):
    """Images, their latents and regenerated pixels, by the Keras model that was not exported."""
    found = {}
    for name, (_, compressor), shape in (
        ("free", free, (3, 20, 28, 3)),
        ("fixed", fixed, (3, 8, 8, 1)),
    ):
        x = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
        outputs = compressor(x, training=False)
        pixels = np.rint(np.asarray(outputs["x_hat"], np.float64) * 255).astype(np.uint8)
        found[name] = (x, np.asarray(outputs["y"]), pixels)
    return found


def assert_same(got, want):
    """Latents to float32's accuracy; pixels but for values half way between two levels."""
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    if want.dtype == np.uint8:
        assert np.abs(got.astype(int) - want).max() <= 1
        assert (got != want).mean() < 0.01
    else:
        np.testing.assert_allclose(got, want, atol=1e-5, rtol=1e-5)


ALONE = """
import sys
import numpy as np
import tensorflow as tf

for name in ("free", "fixed"):
    data = np.load(sys.argv[1] + f"/{name}.npz")
    encoder = tf.saved_model.load(str(data["encoder"]))
    decoder = tf.saved_model.load(str(data["decoder"]))
    y = encoder.serve(data["x"])
    assert encoder.signatures["serving_default"](images=data["x"])
    np.savez(sys.argv[1] + f"/{name}_alone.npz", y=y, pixels=decoder.serve(data["y"]))
assert not {"architectures", "builders", "constants"} & set(sys.modules)
"""


def test_saved_models_run_alone_with_nothing_but_tensorflow(tmp_path, exports, expected):
    for name in ("free", "fixed"):
        encoder, decoder = exports[name, "saved_model"]
        x, y, _ = expected[name]
        np.savez(tmp_path / name, x=x, y=y, encoder=str(encoder), decoder=str(decoder))
    # -I: neither this folder nor PYTHONPATH is searched.
    command = [sys.executable, "-I", "-c", ALONE, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("free", "fixed"):
        _, y, pixels = expected[name]
        with np.load(tmp_path / f"{name}_alone.npz") as got:
            assert_same(got["y"], y)
            assert_same(got["pixels"], pixels)


@pytest.mark.parametrize("name", ["free", "fixed"])
def test_onnx_files_in_their_own_runtime(name, exports, expected):
    import onnxruntime

    x, y, pixels = expected[name]
    for path, value, want, tensors in zip(
        exports[name, "onnx"],
        (x, y),
        (y, pixels),
        (("images", "latents"), ("latents", "images")),
        strict=True,
    ):
        session = onnxruntime.InferenceSession(path)
        (taken,), (told,) = session.get_inputs(), session.get_outputs()
        assert (taken.name, told.name) == tensors
        assert taken.shape[0] == "batch"
        if name == "free":
            # Not of one name: the runtime takes axes of one name to be equally long.
            assert taken.shape[1:3] != told.shape[1:3]
        assert_same(session.run(None, {taken.name: value})[0], want)


@pytest.mark.parametrize("name", ["free", "fixed"])
def test_litert_files_in_their_own_runtime(name, exports, expected):
    from ai_edge_litert.interpreter import Interpreter

    x, y, pixels = expected[name]
    for path, value, want in zip(exports[name, "litert"], (x, y), (y, pixels), strict=True):
        interpreter = Interpreter(str(path))
        assert list(interpreter.get_signature_list()) == ["serve"]
        (details,) = interpreter.get_input_details()
        interpreter.resize_tensor_input(details["index"], value.shape, strict=True)
        interpreter.allocate_tensors()
        interpreter.set_tensor(details["index"], value)
        interpreter.invoke()
        (told,) = interpreter.get_output_details()
        assert_same(interpreter.get_tensor(told["index"]), want)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_format_in_our_runner(name, kind, exports, expected):
    x, y, pixels = expected[name]
    encoder, decoder = (open_runner(path) for path in exports[name, kind])
    assert encoder.input_dtype == decoder.output_dtype == "uint8"
    free_sides = (None, None) if name == "free" else x.shape[1:3]
    assert encoder.input_shape == (None, *free_sides, x.shape[-1])
    assert decoder.output_shape[-1] == x.shape[-1]
    assert_same(encoder.run(x), y)
    assert_same(encoder.run(x[:1]), y[:1])
    assert_same(decoder.run(y), pixels)


def test_information_tells_what_was_written(exports, free):
    for name, part in zip(exports["free", "onnx"], ("encoder", "decoder"), strict=True):
        info = read_info(name)
        assert (info.name, info.part, info.format) == ("Free", part, "onnx")
        assert (info.heights, info.widths) == (SideRule(4, 4), SideRule(4, 4))
        assert info.difference <= 1
    infos = [read_info(path) for key, paths in exports.items() if "free" in key for path in paths]
    assert len({info.training for info in infos}) == 1
    fixed_info = read_info(exports["fixed", "saved_model"][0])
    assert fixed_info.training != infos[0].training
    assert fixed_info.heights is None
    assert fixed_info.input_shape == (None, 8, 8, 1)


def test_nothing_but_the_exports_is_left(exports):
    folder = exports["free", "onnx"][0].parent
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["decoder.onnx", "decoder.onnx.json", "encoder.onnx", "encoder.onnx.json"]


def test_a_full_model_and_a_fixed_size(tmp_path, free, expected):
    choice, _ = free
    x, _, pixels = expected["free"]
    path = tmp_path / "one"
    (done,) = export(choice, "full", "onnx", str(path), size=(20, 28))
    assert done.path == tmp_path / "one.onnx"
    runner = open_runner(done.path)
    assert runner.input_shape == runner.output_shape == (None, 20, 28, 3)
    assert_same(runner.run(x), pixels)
    assert "serve(uint8[B,20,28,3]) -> uint8[B,20,28,3]" in "\n".join(report_lines([done], "onnx"))


def test_a_size_that_does_not_come_back_is_refused(tmp_path, free, fixed):
    with pytest.raises(UserError, match=r"21,28.*come back as 24,28"):
        export(free[0], "full", "onnx", str(tmp_path / "a"), size=(21, 28))
    with pytest.raises(UserError, match=r"16,8.*fixes it to 8,8"):
        export(fixed[0], "full", "onnx", str(tmp_path / "a"), size=(16, 8))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["onnx", "litert"])
def test_what_a_format_lacks_is_named(tmp_path, kind):
    layer = keras.layers.UpSampling2D(2, interpolation="lanczos3")
    model = DeployedEncoder(Encoder([layer]))
    model.build((None, 8, 8, 1))
    with pytest.raises(CannotConvertError, match="no operation for ScaleAndTranslate"):
        write_model(model, kind, tmp_path / f"model{FORMATS[kind].suffix}")
    assert not list(tmp_path.iterdir())


def test_weights_of_a_failed_training_are_not_exported(tmp_path):
    spec = spec_of(FIXED, [8, 8, 1])
    compressor = ModelBuilder(spec).build()
    compressor.weights[0].assign(keras.ops.full_like(compressor.weights[0], np.nan))
    weights = tmp_path / "bad.weights.h5"
    save_weights(compressor, spec, weights, {})
    choice = WeightsChoice(spec, weights, None)
    with pytest.raises(RunError, match="not finite"):
        export(choice, format_name="keras", save_path=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_wrong_export_replaces_nothing(tmp_path, fixed, monkeypatch):
    save_path = str(tmp_path / "out")
    export(fixed[0], format_name="keras", save_path=save_path)
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def write_other_weights(model, kind, path):
        for weight in model.weights:
            weight.assign(weight + 0.5)
        write_model(model, kind, path)
        for weight in model.weights:
            weight.assign(weight - 0.5)

    monkeypatch.setattr(exporting, "write_model", write_other_weights)
    with pytest.raises(WrongExportError, match="off what the model gives"):
        export(fixed[0], format_name="keras", save_path=save_path, force=True)
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Conv2D(8, 3, groups=2),
        keras.layers.Activation("gelu"),
        keras.layers.UpSampling2D(2, interpolation="bilinear"),
    ],
    ids=["grouped", "gelu", "upsampling"],
)
def test_onnx_holds_what_its_converter_needs_help_with(tmp_path, layer):
    model = DeployedEncoder(Encoder([keras.layers.Conv2D(8, 1), layer]))
    model.build((None, 12, 16, 1))
    write_model(model, "onnx", tmp_path / "model.onnx")
    x = probe_image(12, 16, 1, 2)
    found = compare(open_runner(tmp_path / "model.onnx"), [x], [np.asarray(model(x))])
    assert found.largest < 1e-5


class FakeRunner:
    """Gives back a fixed array."""

    def __init__(self, output):
        self.output = output

    def run(self, array):
        return self.output


def test_the_comparison_knows_shape_dtype_value_and_nan():
    x = np.zeros((1, 2), np.float32)
    good = np.array([[1.0, 2.0]], np.float32)
    assert compare(FakeRunner(good + 1e-6), [x], [good]).largest < 2e-6
    for bad in (good[:, :1], good.astype(np.float64), good + 0.01, good * np.nan):
        with pytest.raises(WrongExportError):
            compare(FakeRunner(bad), [x], [good])
    pixels = np.array([[7, 9]], np.uint8)
    found = compare(FakeRunner(pixels + np.uint8(1)), [x], [pixels])
    assert (found.largest, found.differing) == (1, 1.0)
    with pytest.raises(WrongExportError):
        compare(FakeRunner(pixels - np.uint8(2)), [x], [pixels])


# --- entropy models ----------------------------------------------------------------------------

HYPER = {
    "hyper_encoder": {"layers": [{"Conv2D": {"filters": 2, "kernel_size": 2, "strides": 2}}]},
    "hyper_decoder": {
        "layers": [{"Conv2DTranspose": {"filters": 8, "kernel_size": 2, "strides": 2}}]
    },
}


def rounding(tmp_path, entropy_model):
    """A model whose latents are large enough to be rounded to many symbols."""
    encode, decode = convolution(2, kernel=5)
    tree = json.loads(spec_of(([encode], [decode]), [None, None, 3]).to_json())
    generator = tree["model"]["layers"]["generator"]
    generator["entropy_model"] = {entropy_model: {}}
    if "Hyperprior" in entropy_model:
        generator["layers"].update(HYPER)
    spec = parse_spec(tree)
    keras.utils.set_random_seed(0)
    compressor = ModelBuilder(spec).build()
    for weight in compressor.encoder.weights:
        weight.assign(weight * 20.0)
    for weight in compressor.decoder.weights:
        weight.assign(weight * 0.05)
    path = tmp_path / "best.weights.h5"
    save_weights(compressor, spec, path, {})
    return WeightsChoice(spec, path, None), compressor.generator


@pytest.mark.parametrize("kind", ["onnx", "keras"])
def test_whole_latents_are_exported_as_symbols(tmp_path, kind):
    choice, generator = rounding(tmp_path, "FactorizedPrior")
    done = export(choice, format_name=kind, save_path=str(tmp_path))
    encoder, decoder = (open_runner(each.path) for each in done)
    x = probe_image(16, 24, 3, 1)
    outputs = generator(x, training=False)
    symbols = encoder.run(x)
    assert (symbols.dtype, encoder.output_dtype, decoder.input_dtype) == ("int32",) * 3
    assert len(np.unique(symbols)) > 10
    y = np.asarray(outputs["y"])
    certain = np.abs(y - np.floor(y) - 0.5) > 1e-3  # the others may be rounded either way
    np.testing.assert_array_equal(symbols[certain], np.rint(y[certain]))
    pixels = np.rint(np.asarray(outputs["x_hat"]) * 255).astype(np.uint8)
    assert_same(decoder.run(np.rint(y).astype(np.int32)), pixels)


def test_latents_on_a_moving_grid_stay_float(tmp_path):
    choice, generator = rounding(tmp_path, "MeanScaleHyperprior")
    done = export(choice, format_name="onnx", save_path=str(tmp_path), size=(16, 24))
    encoder, decoder = (open_runner(each.path) for each in done)
    x = probe_image(16, 24, 3, 1)
    y = generator(x, training=False)["y"]
    y_hat, _ = generator.entropy_model(y, training=False)
    got = encoder.run(x)
    assert got.dtype == np.float32
    assert np.abs(got - np.asarray(y)).max() > 0.1
    off_grid = np.abs(got - np.asarray(y_hat)) > 1e-4
    assert off_grid.mean() < 0.01
    pixels = decoder.run(np.asarray(y_hat))
    assert_same(pixels, np.rint(np.asarray(generator(x)["x_hat"]) * 255).astype(np.uint8))
    # The hyper-latents halve the latents' size once more.
    with pytest.raises(UserError, match="18,24: images of this size don't come back"):
        serve(generator, choice.spec, (18, 24))


# --- sizes ------------------------------------------------------------------------------------


@given(st.integers(1, 300), st.integers(1, 64), st.integers(0, 5000))
def test_a_rule_gives_the_smallest_good_size(first, step, size):
    got = SideRule(first, step).at_least(size)
    good = [first + k * step for k in range(5001)]
    assert got == min(each for each in good if each >= size)


def convolution(strides, padding="same", kernel=3):
    arguments = {"filters": 4, "kernel_size": kernel, "strides": strides, "padding": padding}
    return {"Conv2D": arguments}, {"Conv2DTranspose": {**arguments, "filters": 3}}


@pytest.mark.parametrize(
    ("pair", "known", "rows", "columns"),
    [
        (convolution(1), 32, SideRule(1, 1), SideRule(1, 1)),
        (convolution([4, 1], kernel=5), 32, SideRule(4, 4), SideRule(1, 1)),
        (convolution(3), 33, SideRule(3, 3), SideRule(3, 3)),
        (convolution(2, "valid"), 33, SideRule(3, 2), SideRule(3, 2)),
    ],
    ids=["all", "one side", "thirds", "odd only"],
)
def test_good_sizes_are_found(pair, known, rows, columns):
    spec = spec_of(([pair[0]], [pair[1]]), [known, known, 3])
    model = with_free_size(ModelBuilder(spec).build().generator, 3)
    both = deployed_parts(model, (None, None, 3))[2]
    assert size_rules(both, (known, known, 3)) == (rows, columns)
    for side in (rows.first, rows.first + rows.step, rows.first + 3 * rows.step):
        x = probe_image(side, columns.first, 3, 1)
        assert both(x).shape == x.shape


def test_a_spec_of_free_size_is_served_at_any():
    pair = convolution(2)
    spec = spec_of(([pair[0]], [pair[1]]), [None, None, 3])
    served = serve(ModelBuilder(spec).build().generator, spec)
    assert served.image == (None, None, 3)
    assert served.rules == (SideRule(2, 2), SideRule(2, 2))
    assert len({probe.shape for probe in served.probes()}) == 2


# --- paths ------------------------------------------------------------------------------------

ONNX, SAVED_MODEL = FORMATS["onnx"], FORMATS["saved_model"]


@pytest.mark.parametrize(
    ("given_path", "mode", "kind", "paths"),
    [
        (None, "encoder-decoder", SAVED_MODEL, ["run/export/encoder", "run/export/decoder"]),
        (None, "full", ONNX, ["run/export/full.onnx"]),
        ("a,b.onnx", "encoder-decoder", ONNX, ["a.onnx", "b.onnx"]),
        ("a.v2", "encoder-decoder", ONNX, ["a.v2/encoder.onnx", "a.v2/decoder.onnx"]),
        ("a.v2", "full", ONNX, ["a.v2.onnx"]),
        ("a", "full", SAVED_MODEL, ["a"]),
    ],
)
def test_where_exports_go(given_path, mode, kind, paths):
    got = target_paths(given_path, mode, kind, Path("run/export"))
    assert got == [Path(path) for path in paths]


@pytest.mark.parametrize(
    ("given_path", "mode", "message"),
    [
        ("a,b", "full", "2 paths; mode full takes one path"),
        ("a,b,c", "encoder-decoder", "3 paths"),
        ("a,", "encoder-decoder", "empty path"),
        ("a,./a", "encoder-decoder", "not apart"),
        ("a,a/b", "encoder-decoder", "not apart"),
        ("a.onnx,b", "encoder-decoder", "the suffix of --format onnx, not of saved_model"),
        ("..", "full", "name the file or folder"),
    ],
)
def test_paths_that_make_no_sense(given_path, mode, message):
    with pytest.raises(UserError, match=message):
        target_paths(given_path, mode, SAVED_MODEL, Path())


def test_force_replaces_exports_and_nothing_else(tmp_path):
    saved, other, empty, file = (tmp_path / name for name in ("saved", "other", "empty", "file"))
    for folder in (saved, other, empty):
        folder.mkdir()
    (saved / "saved_model.pb").touch()
    (other / "thesis.txt").touch()
    file.touch()
    with pytest.raises(UserError, match="--force"):
        check_free([saved], SAVED_MODEL, force=False)
    check_free([saved, empty, tmp_path / "new"], SAVED_MODEL, force=True)
    for path, kind in ((other, SAVED_MODEL), (file, SAVED_MODEL), (saved, ONNX)):
        with pytest.raises(UserError, match="doesn't delete it"):
            check_free([path], kind, force=True)
    check_free([file], ONNX, force=True)
    with pytest.raises(UserError, match="is a file, not a folder"):
        check_free([file / "encoder"], SAVED_MODEL, force=True)


@pytest.mark.parametrize("folders", [True, False])
def test_a_failure_on_the_way_leaves_what_was_there(tmp_path, folders):
    def write(path, text):
        if folders:
            path.mkdir()
            (path / "saved_model.pb").write_text(text)
        else:
            path.write_text(text)
            path.with_name(f"{path.name}.json").write_text(text)

    def tree():
        files = (path for path in tmp_path.rglob("*") if path.is_file())
        return {str(path.relative_to(tmp_path)): path.read_text() for path in files}

    paths = [tmp_path / "a", tmp_path / "b"]
    with written_whole(paths, folders=folders) as fresh:
        for path in fresh:
            write(path, "old")
    old = tree()
    assert len(old) == (2 if folders else 4)
    with pytest.raises(KeyboardInterrupt), written_whole(paths, folders=folders) as fresh:
        write(fresh[0], "half")
        raise KeyboardInterrupt
    assert tree() == old
    with written_whole(paths, folders=folders) as fresh:
        for path in fresh:
            write(path, "new")
    assert tree() == dict.fromkeys(old, "new")


# --- loading ----------------------------------------------------------------------------------


def test_an_exported_pair_regenerates_any_size(exports, free):
    model = open_exported(",".join(map(str, exports["free", "onnx"])))
    x = probe_image(21, 30, 3, 2)
    padded = np.pad(x, ((0, 0), (0, 3), (0, 2), (0, 0)), mode="edge")
    _, compressor = free
    x_hat = np.asarray(compressor(padded, training=False)["x_hat"], np.float64)
    assert_same(model.regenerate(x), np.rint(x_hat * 255).astype(np.uint8)[:, :21, :30])


def test_without_information_the_size_is_found_by_trying(tmp_path, exports):
    copies = []
    for path in exports["free", "onnx"]:
        copies.append(tmp_path / path.name)
        copies[-1].write_bytes(path.read_bytes())
    x = probe_image(21, 30, 3, 2)
    told = open_exported(str(exports["free", "onnx"][0].parent)).regenerate(x)
    untold = open_exported(str(tmp_path))
    np.testing.assert_array_equal(untold.regenerate(x), told)
    np.testing.assert_array_equal(untold.regenerate(x[:, :5, :3]).shape, (2, 5, 3, 3))


def test_parts_that_do_not_belong_together(tmp_path, exports, fixed):
    encoder, decoder = exports["free", "onnx"]
    with pytest.raises(UserError, match="name the encoder first"):
        open_exported(f"{decoder},{encoder}")
    with pytest.raises(UserError, match="name its decoder too"):
        open_exported(str(encoder))
    with pytest.raises(UserError, match="not images"):
        open_exported(str(decoder))
    with pytest.raises(UserError, match=r"takes float32\[any, 5\], but .* gives float32\[any, any"):
        open_exported(f"{encoder},{exports['fixed', 'onnx'][1]}")
    other, _ = chosen(tmp_path, fixed[0].spec, seed=5)
    strange = export(other, format_name="keras", save_path=str(tmp_path / "other"))[1].path
    with pytest.raises(UserError, match="different trainings"):
        open_exported(f"{exports['fixed', 'onnx'][0]},{strange}")


def test_a_folder_of_several_formats_is_one_model(tmp_path, exports):
    for kind in ("onnx", "keras"):
        for path in exports["fixed", kind]:
            for file in (path, path.with_name(f"{path.name}.json")):
                (tmp_path / file.name).write_bytes(file.read_bytes())
    assert [path.suffix for path in find_exported(str(tmp_path))] == [".onnx", ".onnx"]
    (tmp_path / "encoder.onnx.json").unlink()
    with pytest.raises(UserError, match=r"several trainings; name one:\n.*encoder\.onnx,"):
        find_exported(str(tmp_path))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_damaged_files_are_named(tmp_path, exports, kind, damage):
    path = exports["fixed", kind][0]
    if path.is_dir():
        copy = tmp_path / "encoder"
        copy.mkdir()
        (copy / "saved_model.pb").write_bytes((path / "saved_model.pb").read_bytes())
        victim = copy / "saved_model.pb"
    else:
        copy = victim = tmp_path / path.name
        copy.write_bytes(path.read_bytes())
    content = victim.read_bytes()
    broken = {
        "cut": content[: len(content) // 2],
        "changed": b"not a model, but long enough to be one" * 20,
        "empty": b"",
    }[damage]
    victim.write_bytes(broken)
    with pytest.raises(UserError, match=f"{copy.name}: can't be loaded"):
        open_runner(copy)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not an export's information"),
        ("[]", "not an export's information"),
        ('{"export_version": 1}', "not an export's information"),
        ('{"export_version": 99}', "version 99"),
    ],
)
def test_damaged_information_is_named(tmp_path, content, message):
    (tmp_path / "encoder.onnx.json").write_text(content)
    with pytest.raises(UserError, match=message):
        read_info(tmp_path / "encoder.onnx")


def test_a_rule_of_zero_is_no_rule(tmp_path, exports):
    info = json.loads(exports["free", "onnx"][0].with_name("encoder.onnx.json").read_text())
    info["heights"]["step"] = 0
    (tmp_path / "encoder.onnx.json").write_text(json.dumps(info))
    with pytest.raises(UserError, match="positive"):
        read_info(tmp_path / "encoder.onnx")


def test_missing_models_get_a_hint(tmp_path, exports):
    folder = exports["free", "onnx"][0].parent
    with pytest.raises(UserError, match=r'did you mean "encoder\.onnx"'):
        find_exported(str(folder / "encoder.onx"))
    with pytest.raises(UserError, match="not an exported model"):
        find_exported(str(tmp_path))
    assert find_exported(os.fspath(folder)) == exports["free", "onnx"]
