"""ImageCompressor, the model that is trained: a generator and maybe a discriminator."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from architectures.autoencoder import CLIP_RANK, PACKAGE, Generator, to_unit_range
from architectures.discriminator import Discriminator
from architectures.losses import Adversarial, LossTerm, total_loss
from architectures.metrics import ImageMetric
from architectures.prediction import as_frames
from architectures.rate import PartOfRate, parts_of_rate


@keras.saving.register_keras_serializable(package=PACKAGE)
class ImageCompressor(keras.Model):
    """Trains a generator on a weighted sum of loss terms, against a discriminator if there is one.

    Adversarial training needs no training step of its own: the generator's term sees the
    discriminator through weights without gradient, the discriminator's term sees the regenerated
    image without gradient, and an optimizer for each network takes its share of one backward pass
    (Goodfellow et al. 2014, "Generative adversarial networks", section 3, both players at once).

    Args:
        generator: pixels to outputs `y`, `x_hat` and more.
        discriminator: images in [0, 1] to logits; None for none.
        loss_terms: what is minimised; their weighted sum is `loss`.
        image_metrics: what is reported beside it.
    """

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator | None = None,
        loss_terms: Sequence[LossTerm] = (),
        image_metrics: Sequence[ImageMetric] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.generator = generator
        self.discriminator = discriminator
        self.loss_terms = list(loss_terms)
        rates = parts_of_rate(generator.entropy_model, image_metrics)
        self._reports = _Reports(self.loss_terms, image_metrics, discriminator is not None, rates)

    @property
    def encoder(self) -> Any:
        """The generator's encoder."""
        return self.generator.encoder

    @property
    def decoder(self) -> Any:
        """The generator's decoder."""
        return self.generator.decoder

    @property
    def metrics(self) -> list[Any]:
        """The loss, each of its terms, the image metrics, and the parts of the rate."""
        reports = self._reports
        return [*super().metrics, *reports.means, *reports.image_metrics, *reports.rates]

    def image_metrics(self) -> list[ImageMetric]:
        """What is reported beside the loss. A method: Keras would store a property's values."""
        return self._reports.image_metrics

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.generator.build(input_shape)
        if self.discriminator is not None:
            self.discriminator.build(input_shape)  # what it sees are images
        self.built = True

    def call(self, x: Any, training: bool | None = None) -> dict[str, Any]:
        """x (B, H, W, C), pixels in [0, 255] -> `x`, `x_hat` in [0, 1], latents `y`, and aux.

        Of clips (B, T, H, W, C), outputs are those of B * T frames; see `Generator.call`.
        """
        outputs = dict(self.generator(x, training=training))
        outputs["x"] = to_unit_range(as_frames(x) if len(x.shape) == CLIP_RANK else x)
        return outputs

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The weighted sum of the terms, averaged over images; fills `y_pred["loss_terms"]`."""
        outputs = y_pred
        penalties = list(self.losses)  # regularizers of the layers
        if self.discriminator is not None:
            self._judge(outputs, training)
        total, values = total_loss(self.loss_terms, outputs)
        for penalty in penalties:
            total = total + penalty
        if self.discriminator is not None:
            judged = self._discriminator_loss(outputs)
            values = {**values, "discriminator_loss": judged}
            judged = ops.mean(judged)
            # Of what the discriminator minimises the gradient counts and the value does not:
            # `loss` stays what the generator minimises, and validation can compare it.
            total = total + (judged - ops.stop_gradient(judged))
            for penalty in self._discriminator_penalties():  # in `penalties` too
                total = total - ops.stop_gradient(penalty)
        outputs["loss_terms"] = values
        return total

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Adds the batch to every metric, image by image."""
        values = y_pred["loss_terms"]
        for mean in self._reports.means:
            mean.update_state(values[mean.name])
        for metric in (*self._reports.image_metrics, *self._reports.rates):
            metric.update_state(y_pred)
        return self.get_metrics_result()

    def _judge(self, outputs: dict[str, Any], training: bool) -> None:
        judge = self.discriminator
        assert judge is not None
        frozen = [ops.stop_gradient(variable.value) for variable in judge.trainable_variables]
        state = [variable.value for variable in judge.non_trainable_variables]
        (for_generator, _), _ = judge.stateless_call(
            frozen, state, outputs["x_hat"], training=training
        )
        outputs["fake_logits"] = for_generator
        outputs["real_logits"], _ = judge(outputs["x"], training=training)
        outputs["detached_fake_logits"], _ = judge(
            ops.stop_gradient(outputs["x_hat"]), training=training
        )

    def _discriminator_loss(self, outputs: dict[str, Any]) -> Any:
        (term,) = [term for term in self.loss_terms if isinstance(term, Adversarial)]
        return term.discriminator_loss(outputs["real_logits"], outputs["detached_fake_logits"])

    def _discriminator_penalties(self) -> list[Any]:
        """Of the regularizers on its weights; one on activities would judge two batches at once."""
        judge = self.discriminator
        assert judge is not None
        return [
            variable.regularizer(variable.value)
            for variable in judge.trainable_variables
            if variable.regularizer is not None
        ]

    def get_config(self) -> dict[str, Any]:
        judge = self.discriminator
        return {
            "name": self.name,
            "generator": keras.saving.serialize_keras_object(self.generator),
            "discriminator": None if judge is None else keras.saving.serialize_keras_object(judge),
            "loss_terms": [keras.saving.serialize_keras_object(t) for t in self.loss_terms],
            "image_metrics": [
                keras.saving.serialize_keras_object(m) for m in self._reports.image_metrics
            ],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "ImageCompressor":
        def revive(value: Any) -> Any:
            return keras.saving.deserialize_keras_object(value, custom_objects)

        config = dict(config)
        config["generator"] = revive(config["generator"])
        if config["discriminator"] is not None:
            config["discriminator"] = revive(config["discriminator"])
        for key in ("loss_terms", "image_metrics"):
            config[key] = [revive(each) for each in config[key]]
        return cls(**config)


class _Reports:
    """Running means for the log, kept where Keras does not look when it saves weights.

    A checkpoint holds what decides the picture; a spec with another loss can start from it.
    """

    def __init__(
        self,
        loss_terms: Sequence[LossTerm],
        image_metrics: Sequence[ImageMetric],
        judged: bool,
        rates: Sequence[PartOfRate],
    ) -> None:
        names = [term.tag for term in loss_terms] + ["discriminator_loss"] * judged
        self.means = [keras.metrics.Mean(name=name) for name in names]
        self.image_metrics = list(image_metrics)
        self.rates = list(rates)
