"""Loss terms: values, checks, tags, serialization, and what users write themselves."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from architectures import image_quality, losses
from architectures.loss_term import snake_case

JAX = keras.backend.backend() == "jax"


def images(side: int = 16, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.random((3, side, side, 2), dtype="float32")
    x_hat = np.clip(x + 0.2 * rng.standard_normal(x.shape), 0.01, 0.99).astype("float32")
    return {"x": x, "x_hat": x_hat}


def numpy(tensor: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor))


def gradient(function: Callable[[Any], Any], value: np.ndarray) -> np.ndarray:
    """Gradient of the sum of what a function returns."""
    if JAX:
        import jax

        return np.asarray(jax.jit(jax.grad(lambda v: ops.sum(function(v))))(value))
    import tensorflow as tf

    variable = tf.Variable(value)
    with tf.GradientTape() as tape:
        total = ops.sum(function(variable.value()))
    return tape.gradient(total, variable).numpy()


def measure(name: str, **arguments: Any) -> np.ndarray:
    return numpy(getattr(image_quality, name)(*images().values(), **arguments))


def expectations() -> list[tuple[losses.LossTerm, Callable[[], np.ndarray]]]:
    one_scale = image_quality.ms_ssim_power_factors(1)
    return [
        (losses.SSIM(), lambda: 1 - measure("ssim")),
        (losses.SSIM(filter_size=7), lambda: 1 - measure("ssim", filter_size=7)),
        (losses.SSIML1(), lambda: 0.75 * (1 - measure("ssim")) + 0.25 * measure("mae")),
        (losses.SSIML1(alpha=0.0), lambda: measure("mae")),
        (losses.SSIML1(alpha=1.0), lambda: 1 - measure("ssim")),
        (losses.MSSSIM(scales=None), lambda: 1 - measure("ms_ssim", power_factors=one_scale)),
        (losses.MSSSIM(scales=1), lambda: 1 - measure("ms_ssim", power_factors=(1.0,))),
        (losses.L1(), lambda: measure("mae")),
        (losses.MSE(), lambda: measure("mse")),
        (losses.MSE(scale=255), lambda: 255.0**2 * measure("mse")),
        (losses.PSNR(), lambda: -measure("psnr_db")),
        (losses.BinaryCrossentropy(), lambda: measure("binary_crossentropy")),
    ]


@pytest.mark.parametrize(("term", "expected"), expectations())
def test_values(term: losses.LossTerm, expected: Callable[[], np.ndarray]) -> None:
    found = numpy(term(images()))
    assert found.shape == (3,)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("term", "expected"), expectations())
def test_gradients_are_finite_and_images_in_low_precision_are_compared_in_float32(
    term: losses.LossTerm, expected: Callable[[], np.ndarray]
) -> None:
    outputs = images()
    for x_hat in (outputs["x"], 0 * outputs["x"], 0.5 + 0 * outputs["x"]):
        slope = gradient(lambda v: term({"x": outputs["x"], "x_hat": v}), x_hat)
        assert np.isfinite(slope).all()
    low = ops.cast(outputs["x_hat"], "bfloat16")
    found = term({"x": outputs["x"], "x_hat": low})
    wide = term({"x": outputs["x"], "x_hat": ops.cast(low, "float32")})
    np.testing.assert_array_equal(numpy(found), numpy(wide))


def test_lower_is_better() -> None:
    outputs = images()
    nearer = {**outputs, "x_hat": 0.5 * (outputs["x"] + outputs["x_hat"])}
    for term, _ in expectations():
        assert (numpy(term(nearer)) < numpy(term(outputs))).all(), term.tag


def test_small_images_need_an_explicit_choice() -> None:
    small = images(side=8)
    for term in (losses.SSIM(), losses.SSIML1(), losses.MSSSIM()):
        with pytest.raises(ValueError, match="null in JSON"):
            term(small)
    expected = image_quality.ssim(small["x"], small["x_hat"], filter_size=7)
    found = losses.SSIM(filter_size=None)(small)
    np.testing.assert_array_equal(numpy(found), 1 - numpy(expected))
    multi = losses.MSSSIM(filter_size=None, scales=None)(small)  # one scale with a window of 7
    np.testing.assert_allclose(numpy(multi), numpy(found), atol=1e-6)
    with pytest.raises(ValueError, match="smaller than the SSIM window"):
        losses.MSSSIM(scales=None)(small)


def test_the_choice_needs_a_known_size() -> None:
    if JAX:
        pytest.skip("sizes are always known under JAX")
    import tensorflow as tf

    spec = tf.TensorSpec((None, None, None, 1))
    for term in (losses.SSIM(filter_size=None), losses.MSSSIM(scales=None)):
        traced = tf.function(lambda x, term=term: term({"x": x, "x_hat": x}))
        with pytest.raises(ValueError, match="not known when"):
            traced.get_concrete_function(spec)


def latents() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    mean, log_var = rng.standard_normal((2, 3, 2, 2, 5)).astype("float32")
    return {"posterior_mean": mean, "posterior_log_var": log_var}


def test_kl_divergence_per_image_and_per_pixel() -> None:
    mean, log_var = latents().values()
    expected = 0.5 * (np.exp(log_var) + mean**2 - 1 - log_var).sum((1, 2, 3))
    np.testing.assert_allclose(numpy(losses.KLDivergence()(latents())), expected, rtol=1e-5)
    outputs = {**latents(), "x": images()["x"]}
    per_pixel = losses.KLDivergence(per_pixel=True)
    np.testing.assert_allclose(numpy(per_pixel(outputs)), expected / (16 * 16 * 2), rtol=1e-5)
    with pytest.raises(ValueError, match="kl_divergence reads x,"):
        per_pixel(latents())
    assert "x" not in losses.KLDivergence().requires


ADVERSARIAL = {
    "hinge": (
        lambda f: -f,
        lambda r, f: np.maximum(1 - r, 0) + np.maximum(1 + f, 0),
    ),
    "non_saturating": (
        lambda f: np.log1p(np.exp(-f)),
        lambda r, f: np.log1p(np.exp(-r)) + np.log1p(np.exp(f)),
    ),
    "least_squares": (
        lambda f: (f - 1) ** 2 / 2,
        lambda r, f: (r - 1) ** 2 / 2 + f**2 / 2,
    ),
}


@pytest.mark.parametrize("kind", ADVERSARIAL)
@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3, 5, 1)])
def test_adversarial(kind: Any, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(2)
    real, fake = 2 * rng.standard_normal((2, *shape)).astype("float32")
    generator, discriminator = ADVERSARIAL[kind]
    term = losses.Adversarial(kind=kind, weight=0.1)
    found = numpy(term({"fake_logits": fake}))
    np.testing.assert_allclose(found, generator(fake).reshape(4, -1).mean(1), rtol=1e-5, atol=1e-6)
    found = numpy(term.discriminator_loss(real, fake))
    expected = discriminator(real, fake).reshape(4, -1).mean(1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_less(0, -gradient(lambda f: term({"fake_logits": f}), 0 * fake))


def test_logits_far_out_stay_finite() -> None:
    far = np.array([[-1e4], [1e4]], "float32")
    term = losses.Adversarial(kind="non_saturating")
    np.testing.assert_allclose(numpy(term({"fake_logits": far})), [1e4, 0], atol=1e-6)
    assert np.isfinite(gradient(lambda f: term.discriminator_loss(far, f), far)).all()


def test_total_is_the_weighted_sum_of_means() -> None:
    outputs = {**images(), **latents()}
    terms = [losses.MSE(weight=3), losses.KLDivergence(weight=0.01), losses.L1(weight=0)]
    total, values = losses.total_loss(terms, outputs)
    assert list(values) == ["mse_loss", "kl_divergence", "l1_loss"]
    assert all(tuple(value.shape) == (3,) for value in values.values())
    expected = 3 * numpy(values["mse_loss"]).mean() + 0.01 * numpy(values["kl_divergence"]).mean()
    np.testing.assert_allclose(numpy(total), expected, rtol=1e-5)
    assert tuple(total.shape) == ()


def test_total_needs_terms_and_tags_that_differ() -> None:
    with pytest.raises(ValueError, match="at least one"):
        losses.total_loss([], images())
    with pytest.raises(ValueError, match=r"'mse_loss' is used more than once.*name"):
        losses.total_loss([losses.MSE(), losses.MSE(scale=255)], images())
    named = [losses.MSE(), losses.MSE(scale=255, name="mse_255")]
    _, values = losses.total_loss(named, images())
    assert list(values) == ["mse_loss", "mse_255"]


def test_missing_outputs_are_named() -> None:
    with pytest.raises(ValueError, match=r"kl_divergence reads posterior_mean.*returns x, x_hat"):
        losses.KLDivergence()(images())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.SSIML1(alpha=1.1), r"alpha must be in \[0, 1\], found 1.1"),
        (lambda: losses.SSIML1(alpha=-0.1), r"alpha must be in \[0, 1\], found -0.1"),
        (lambda: losses.L1(weight=-1), "weight must be finite and not negative, found -1"),
        (lambda: losses.L1(weight=float("nan")), "weight must be finite"),
        (lambda: losses.L1(name="a b"), "name must consist of"),
        (lambda: losses.MSE(scale=0), "scale must be positive"),
        (lambda: losses.SSIM(filter_size=8), "positive odd number, found 8"),
        (lambda: losses.MSSSIM(scales=6), "1 to 5 scales, found 6"),
        (
            lambda: losses.Adversarial(kind="wasserstein"),  # type: ignore[arg-type]
            "one of hinge, non_saturating, least_squares, found 'wasserstein'",
        ),
    ],
)
def test_wrong_arguments(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "term",
    [
        losses.SSIML1(alpha=0.5, weight=2, filter_size=None, name="a"),
        losses.SSIM(filter_size=7),
        losses.L1(weight=0.5),
        losses.MSE(scale=255),
        losses.MSSSIM(scales=None),
        losses.PSNR(),
        losses.BinaryCrossentropy(name="likelihood"),
        losses.KLDivergence(per_pixel=True),
        losses.Adversarial(kind="least_squares", weight=0.1),
    ],
)
def test_serialization_round_trip(term: losses.LossTerm) -> None:
    config = keras.saving.serialize_keras_object(term)
    assert config["registered_name"].startswith("codecsmith>")
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(term)
    assert again.get_config() == term.get_config()
    assert (again.tag, again.weight, again.requires) == (term.tag, term.weight, term.requires)


def test_a_loss_of_ones_own() -> None:
    @keras.saving.register_keras_serializable(package="test")
    class CubicError(losses.ImageLoss):
        def compare(self, x: Any, x_hat: Any) -> Any:
            return ops.mean(ops.absolute(x - x_hat) ** 3, axis=(1, 2, 3))

    outputs = images()
    term = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(CubicError(weight=2))
    )
    total, values = losses.total_loss([term], outputs)
    expected = (np.abs(outputs["x"] - outputs["x_hat"]) ** 3).mean()
    np.testing.assert_allclose(numpy(total), 2 * expected, rtol=1e-5)
    assert list(values) == ["cubic_error"]


def test_a_loss_that_is_not_per_image_is_refused() -> None:
    class Mean(losses.ImageLoss):
        def compare(self, x: Any, x_hat: Any) -> Any:
            return ops.mean(x - x_hat)

    with pytest.raises(ValueError, match=r"mean must give one value per image.*\(\)"):
        Mean()(images())


def test_terms_in_a_model_trained_in_bfloat16() -> None:
    class Autoencoder(keras.Model):
        def __init__(self) -> None:
            super().__init__(dtype="mixed_bfloat16")
            self.layer = keras.layers.Conv2D(1, 1, activation="sigmoid", dtype="mixed_bfloat16")

        def call(self, x: Any) -> dict[str, Any]:
            return {"x": x, "x_hat": self.layer(x)}

        def compute_loss(
            self,
            x: Any = None,
            y: Any = None,
            y_pred: Any = None,
            sample_weight: Any = None,
            training: bool = True,
        ) -> Any:
            terms = [losses.SSIML1(), losses.MSSSIM(scales=1, weight=0.1)]
            return losses.total_loss(terms, {**y_pred, "x": x})[0]

    keras.utils.set_random_seed(0)
    model = Autoencoder()
    model.compile("adam")
    x = images()["x"][..., :1]
    history = model.fit(x, batch_size=2, epochs=3, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    assert history[-1] < history[0]


def test_snake_case() -> None:
    names = ["BitsPerPixel", "L1", "MSE", "KLDivergence", "Charbonnier", "LPIPSDistance"]
    assert [snake_case(name) for name in names] == [
        *("bits_per_pixel", "l1", "mse", "kl_divergence", "charbonnier", "lpips_distance")
    ]
