"""What a loss term is: a name, a weight, and one value per image.

A term is not a `keras.losses.Loss`, because a rate, a divergence or an adversarial term needs more
than an original and a reconstruction. It reads what it needs from the mapping of outputs that the
model returns:

    "x", "x_hat"                            (B, H, W, C) in [0, 1]: original and reconstruction
    "y"                                     (B, ...): latents
    "posterior_mean", "posterior_log_var"   (B, ...): Gaussian over the latents
    "real_logits", "fake_logits"            (B, ...): the discriminator on "x" and "x_hat"
    "lambda_factor"                         (B,): while one model is trained for all rates, what
                                            distortions of an image are multiplied by

A loss of one's own that compares two images is one method:

    @keras.saving.register_keras_serializable(package="mine")
    class Charbonnier(ImageLoss):
        def compare(self, x, x_hat):
            return ops.mean(ops.sqrt(ops.square(x - x_hat) + 1e-6), axis=(1, 2, 3))
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

from keras import ops

Tensor = Any
Outputs = Mapping[str, Tensor]


class LossTerm(ABC):
    """Base class of the terms of a loss: a weight and one value per image.

    Subclasses write `call`, state in `requires` which outputs they read, and extend `get_config` by
    the arguments they add.

    Args:
        weight: Factor of the term in the total, finite and not negative. A term of weight 0 is
            logged but does not train.
        name: What logs call this term; `None` means `default_tag`. Two terms of one class in one
            loss need two names, see `total_loss`.

    Raises:
        ValueError: The weight is negative or not finite, or the name is not made of letters,
            digits, `_`, `.` and `-`.
    """

    requires: tuple[str, ...] = ()
    """Keys of the outputs that `call` reads."""

    is_rate: ClassVar[bool] = False
    """Whether it counts bits; all other terms are distortions."""

    default_tag: ClassVar[str | None] = None
    """Name in logs; `None` means the name of the class in snake case."""

    def __init__(self, weight: float = 1.0, name: str | None = None) -> None:
        """Sets what all terms have.

        Args:
            weight: Factor of the term in the total, from 0.
            name: What logs call this term; null means the usual name of its kind.
        """
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"weight must be finite and not negative, found {weight}")
        if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
            raise ValueError(
                f"name must consist of letters, digits and _.- and start with a letter or a "
                f"digit, found {name!r}"
            )
        self.weight = float(weight)
        self.name = name

    @property
    def tag(self) -> str:
        """Name of the term in logs, in snake case: `name` if given, otherwise that of the class."""
        return self.name or self.default_tag or snake_case(type(self).__name__)

    @abstractmethod
    def call(self, outputs: Outputs) -> Tensor:
        """Computes the values, without the weight.

        Args:
            outputs: What the model returned; has at least the keys in `requires`.

        Returns:
            Tensor of shape `(B,)`, float32; lower is better.
        """

    def __call__(self, outputs: Outputs) -> Tensor:
        """Checks that the outputs have what the term reads, and computes its values.

        Args:
            outputs: What the model returned.

        Returns:
            Tensor of shape `(B,)`, float32, without the weight.

        Raises:
            ValueError: An output is missing, or the values are not one per image.
        """
        check_outputs(self.tag, self.requires, outputs)
        values = ops.cast(self.call(outputs), "float32")
        check_one_per_image(self.tag, values)
        return values

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, ready for JSON."""
        return {"weight": self.weight, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Makes the term from what `get_config` returned."""
        return cls(**config)


class ImageLoss(LossTerm):
    """Base class of terms that compare the reconstruction with the original.

    Subclasses write `compare` only, and get both images as float32 in `[0, 1]`.
    """

    requires = ("x", "x_hat")

    @abstractmethod
    def compare(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """Compares images.

        Args:
            x: Original images, shape `(B, H, W, C)`, float32, range `[0, 1]`.
            x_hat: Reconstructed images, as `x` (an unclipped output may leave the range).

        Returns:
            Tensor of shape `(B,)`; lower is better.
        """

    def call(self, outputs: Outputs) -> Tensor:
        """Compares `"x"` with `"x_hat"`, both as float32 whatever the policy of the model."""
        return self.compare(
            ops.cast(outputs["x"], "float32"), ops.cast(outputs["x_hat"], "float32")
        )


def total_loss(terms: Sequence[LossTerm], outputs: Outputs) -> tuple[Tensor, dict[str, Tensor]]:
    """Computes `sum_t weight_t mean(values_t)`, and the values of each term for the logs.

    Where the model was trained at another lambda for each image, `lambda_factor` f (B,), rates R
    and distortions D of an image count as `(R + f D) / sqrt(f)`. That has the same optimum at each
    f as `R + f D`, and lets low and high rates move the weights alike: R + f D grows about as fast
    as the root of f.

    Args:
        terms: The terms. Their tags must differ: give terms of one class a `name` each.
        outputs: What the model returned.

    Returns:
        The total, a float32 scalar, and for each tag the values without weight, shape `(B,)`.

    Raises:
        ValueError: No term, two terms of one tag, a missing output, or see `LossTerm.__call__`.
    """
    if not terms:
        raise ValueError("a loss needs at least one term")
    check_tags(terms)
    values = {term.tag: term(outputs) for term in terms}
    weighted = [
        term.weight * ops.mean(_at_its_lambda(term, values[term.tag], outputs)) for term in terms
    ]
    total = weighted[0]
    for part in weighted[1:]:
        total = total + part
    return total, values


def _at_its_lambda(term: LossTerm, values: Tensor, outputs: Outputs) -> Tensor:
    if "lambda_factor" not in outputs:
        return values
    root = ops.sqrt(outputs["lambda_factor"])
    return values / root if term.is_rate else values * root


def check_tags(terms: Iterable[LossTerm]) -> None:
    """Raises a ValueError where two terms would share one line in the logs.

    Args:
        terms: The terms of one loss.

    Raises:
        ValueError: Two terms have one tag.
    """
    repeated = [tag for tag, count in Counter(term.tag for term in terms).items() if count > 1]
    if repeated:
        raise ValueError(
            f"loss terms need different names in logs, but {', '.join(map(repr, repeated))} is "
            f'used more than once; give each of them a "name"'
        )


def check_outputs(reader: str, requires: Iterable[str], outputs: Outputs) -> None:
    """Raises a ValueError that names the outputs that a loss term or metric lacks.

    Args:
        reader: Name of the term or metric.
        requires: Keys that it reads.
        outputs: What the model returned.

    Raises:
        ValueError: A key is missing.
    """
    missing = [key for key in requires if key not in outputs]
    if missing:
        raise ValueError(
            f"{reader} reads {', '.join(missing)}, which the model does not return; it returns "
            f"{', '.join(outputs) or 'nothing'}"
        )


def check_one_per_image(reader: str, values: Tensor) -> None:
    """Raises a ValueError unless values have the shape `(B,)`.

    Args:
        reader: Name of the loss term or metric.
        values: What it computed.

    Raises:
        ValueError: The rank is not 1. A scalar would hide how images weigh in the mean.
    """
    if len(values.shape) != 1:
        raise ValueError(
            f"{reader} must give one value per image, shape (B,), found shape {tuple(values.shape)}"
        )


def snake_case(name: str) -> str:
    """Returns the name of a class in snake case: `BitsPerPixel` -> `bits_per_pixel`."""
    words = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", words).lower()
