"""The length of the gradient, step by step, measured inside the training step.

Keras hands gradients to the optimizer and to nobody else, so that is where they are measured: in
variables of the optimizer, which every backend carries from step to step, however many steps run
between two callbacks.
"""

from typing import Any

from keras import ops

NAME = "gradient_norm"
"""What the names of the variables begin with; states saved before there were any lack them."""


class GradientNorms:
    """Mean and largest global L2 norm of an optimizer's gradients since they were last taken.

    It is the norm over all weights of this optimizer, of what is applied: before any clipping, with
    a loss scale taken out, and of accumulated gradients their mean, once an update.

    The mean is kept as such, not as a sum: in float32 a sum over a long epoch would lose digits.

    Args:
        optimizer: built; it gets three more variables.
    """

    def __init__(self, optimizer: Any) -> None:
        self._steps, self._mean, self._largest = (
            optimizer.add_variable(shape=(), dtype="float32", name=f"{NAME}_{what}")
            for what in ("steps", "mean", "largest")
        )
        clip = optimizer._clip_gradients

        def measured(gradients: list[Any]) -> list[Any]:
            self._add(gradients)
            return list(clip(gradients))

        # Each update goes through it exactly once, with gradients that are ready but for clipping.
        # An own method of this one object: a subclass would have to be made for each optimizer.
        optimizer._clip_gradients = measured

    def _add(self, gradients: list[Any]) -> None:
        # A sparse gradient may hold a row in two parts; whole, it has one norm.
        squares = [
            ops.sum(ops.square(ops.cast(ops.convert_to_tensor(each), "float32")))
            for each in gradients
            if each is not None
        ]
        norm = ops.sqrt(ops.sum(ops.stack(squares)))
        steps = self._steps.value + 1.0
        self._mean.assign(self._mean.value + (norm - self._mean.value) / steps)
        self._largest.assign(ops.maximum(self._largest.value, norm))
        self._steps.assign(steps)

    def seen(self) -> tuple[int, float, float]:
        """Updates since the last `reset`, and the mean and the largest of their norms."""
        steps, mean, largest = (
            float(ops.convert_to_numpy(variable.value))
            for variable in (self._steps, self._mean, self._largest)
        )
        return int(steps), mean, largest

    def reset(self) -> None:
        """Begins anew."""
        for variable in (self._steps, self._mean, self._largest):
            variable.assign(ops.zeros((), "float32"))


def watch_gradients(optimizer: Any) -> None:
    """Makes an optimizer, or each part of a MultiOptimizer, keep its gradients' norms.

    Args:
        optimizer: built.
    """
    for part in getattr(optimizer, "optimizers", [optimizer]):
        part.gradient_norms = GradientNorms(part)


def take_gradient_norms(optimizer: Any) -> dict[str, float]:
    """The norms since the last call by the name they are logged under, and begins anew.

    With accumulated gradients an epoch may end without an update; then there are none.

    Args:
        optimizer: one that is not watched gives nothing.
    """
    figures: dict[str, float] = {}
    for prefix, norms in watched(optimizer).items():
        steps, mean, largest = norms.seen()
        norms.reset()
        if not steps:
            mean = largest = float("nan")
        figures[f"{prefix}{NAME}/mean"] = mean
        figures[f"{prefix}{NAME}/largest"] = largest
    return figures


def watched(optimizer: Any) -> dict[str, GradientNorms]:
    """Norms by what stands before their name in logs; the generator's, or only, ones first."""
    parts = getattr(optimizer, "optimizers", [optimizer])
    # The order of Keras: those of the map, then its default, which is the generator's.
    named = zip(("", "discriminator_"), reversed(parts), strict=False)
    return {
        prefix: part.gradient_norms for prefix, part in named if hasattr(part, "gradient_norms")
    }
