"""The adversarial loss: what the generator and the discriminator minimise, in three forms."""

from __future__ import annotations

from typing import Any, Literal, get_args

import keras
from keras import ops

from architectures.loss_term import LossTerm, Outputs

Tensor = Any
AdversarialKind = Literal["hinge", "non_saturating", "least_squares"]


@keras.saving.register_keras_serializable(package="codecsmith")
class Adversarial(LossTerm):
    """The generator's term of adversarial training; the discriminator's is `discriminator_loss`.

    With logits `r` of originals and `f` of reconstructions:

    | kind | generator | discriminator |
    |---|---|---|
    | `hinge` | `-f` | `relu(1 - r) + relu(1 + f)` |
    | `non_saturating` | `softplus(-f)` | `softplus(-r) + softplus(f)` |
    | `least_squares` | `(f - 1)^2 / 2` | `(r - 1)^2 / 2 + f^2 / 2` |

    Logits of patches, `(B, h, w, 1)`, are averaged per image after the function.

    Args:
        kind: `hinge`, `non_saturating` or `least_squares`, as in the table.
        weight: Factor of the generator's term in the total, from 0; the discriminator has an
            optimizer of its own and its loss no weight.
        name: What logs call this term; null means `adversarial`.

    Raises:
        ValueError: `kind` is unknown.

    Reference:
        Lim, Ye, "Geometric GAN", 2017 (hinge); Goodfellow et al., "Generative Adversarial
        Networks", 2014, section 3 (non-saturating); Mao et al., "Least Squares Generative
        Adversarial Networks", 2017, equation 9; patches: Isola et al., "Image-to-Image Translation
        with Conditional Adversarial Networks", 2017, section 3.2.2.
    """

    requires = ("fake_logits",)

    def __init__(
        self, kind: AdversarialKind = "hinge", weight: float = 1.0, name: str | None = None
    ) -> None:
        super().__init__(weight=weight, name=name)
        kinds = get_args(AdversarialKind)
        if kind not in kinds:
            raise ValueError(f"kind must be one of {', '.join(kinds)}, found {kind!r}")
        self.kind = kind

    def call(self, outputs: Outputs) -> Tensor:
        fake = ops.cast(outputs["fake_logits"], "float32")
        if self.kind == "hinge":
            return _mean_per_image(-fake)
        if self.kind == "non_saturating":
            return _mean_per_image(ops.softplus(-fake))
        return _mean_per_image(0.5 * ops.square(fake - 1.0))

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """Computes what the discriminator minimises.

        Args:
            real_logits: Logits of original images, shape `(B, ...)`, any float dtype.
            fake_logits: Logits of reconstructions, cut off from the generator's gradient by the
                caller, as `real_logits`.

        Returns:
            Tensor of shape `(B,)`, float32.
        """
        real, fake = ops.cast(real_logits, "float32"), ops.cast(fake_logits, "float32")
        if self.kind == "hinge":
            return _mean_per_image(ops.relu(1.0 - real)) + _mean_per_image(ops.relu(1.0 + fake))
        if self.kind == "non_saturating":
            return _mean_per_image(ops.softplus(-real)) + _mean_per_image(ops.softplus(fake))
        return 0.5 * (_mean_per_image(ops.square(real - 1.0)) + _mean_per_image(ops.square(fake)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind}


def _mean_per_image(values: Tensor) -> Tensor:
    """Averages over all but the first axis: (B,) or (B, ...) -> (B,)."""
    axes = tuple(range(1, len(values.shape)))
    return ops.mean(values, axis=axes) if axes else values
