"""Parts of the rate: apart in the log, together what the model pays."""

import keras
import numpy as np
import pytest

from builders.model_builder import ModelBuilder
from builders.spec import parse_spec
from tests.codec_models import TREES, photo

RATE = [{"BitsPerPixel": {}}, {"MSE": {"scale": 255, "weight": 0.01}}]


def built(kind, metrics=()):
    spec = parse_spec({**TREES[kind], "loss": RATE, "training": {"metrics": list(metrics)}})
    model = ModelBuilder(spec).build()
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    return model


def images(count=3):
    return np.stack([photo(16, 16, seed=seed) for seed in range(count)])


@pytest.mark.parametrize("kind", ["scale", "mean_scale"])
def test_latents_and_hyper_latents_are_counted_apart(kind):
    model = built(kind)
    x = images()
    logs = {key: float(value) for key, value in model.test_on_batch(x, return_dict=True).items()}
    assert set(logs) == {
        *("loss", "bits_per_pixel", "mse_loss", "bpp_latents", "bpp_hyper_latents")
    }
    outputs = model.predict_on_batch(x)
    for name, key in (("bpp_latents", "bits_y"), ("bpp_hyper_latents", "bits_z")):
        assert logs[name] == pytest.approx(np.mean(outputs[key]) / 16**2, rel=1e-5)
        assert logs[name] > 0
    whole = logs["bpp_latents"] + logs["bpp_hyper_latents"]
    assert logs["bits_per_pixel"] == pytest.approx(whole, rel=1e-5)


def test_they_are_means_over_images_not_over_batches():
    model = built("scale")
    x = images(3)
    whole = model.evaluate(x, batch_size=3, verbose=0, return_dict=True)
    parts = model.evaluate(x, batch_size=2, verbose=0, return_dict=True)
    assert parts["bpp_latents"] == pytest.approx(whole["bpp_latents"], rel=1e-5)


def test_training_counts_them_too():
    logs = built("scale").train_on_batch(images(), return_dict=True)
    assert logs["bpp_latents"] > 0 and logs["bpp_hyper_latents"] > 0


@pytest.mark.parametrize(
    ("kind", "metrics", "names"),
    [
        ("factorized", [], ["bpp_latents"]),
        ("factorized", [{"Rate": {}}], []),
        ("scale", [{"Rate": {}}], ["bpp_latents", "bpp_hyper_latents"]),
        ("scale", [], ["bpp_latents", "bpp_hyper_latents"]),
    ],
)
def test_a_rate_of_one_part_is_not_logged_twice(kind, metrics, names):
    found = [metric.name for metric in built(kind, metrics).metrics]
    assert [name for name in found if name.startswith("bpp_")] == names


def test_they_are_no_metrics_of_the_spec():
    model = built("scale", [{"Rate": {}}])
    assert [metric.name for metric in model.image_metrics()] == ["rate_bpp"]
    twin = type(model).from_config(model.get_config())
    names = [metric.name for metric in twin.metrics]
    assert sorted(names) == sorted(set(names))
    assert "bpp_latents" in names


def test_a_model_without_entropy_model_has_none(tiny):
    model = ModelBuilder(tiny()).build()
    assert not any(metric.name.startswith("bpp_") for metric in model.metrics)


def test_their_names_are_taken():
    from builders.problems import SpecError

    with pytest.raises(SpecError, match='is logged as "bpp_latents", the name of the latents'):
        built("scale", [{"PSNR": {"name": "bpp_latents"}}])
