"""Clipping that values beyond an end can come back from, and are not driven farther by."""

from typing import Any

from keras import ops


def clip_towards(x: Any, low: float, high: float) -> Any:
    """Clips to [low, high]; beyond an end, only gradients that lead back to it pass.

    Plain clipping has no gradient there, so that a value never comes back. One that passes all of
    it, or a share, lets descent drive values away without bound, since nothing outside the ends
    changes any more. Like `lower_bound(gradient="identity_if_towards")` of TensorFlow Compression.

    Args:
        x: float tensor.
        low: lower end.
        high: upper end.

    Returns:
        The shape and dtype of x.
    """

    @ops.custom_gradient
    def clipped(x: Any) -> tuple[Any, Any]:
        def gradient(*gradients: Any, upstream: Any = None) -> Any:
            if upstream is None:  # how it is handed over depends on the backend
                (upstream,) = gradients
            # Descent moves x against its gradient.
            away = ((x < low) & (upstream > 0)) | ((x > high) & (upstream < 0))
            return ops.where(away, ops.zeros_like(upstream), upstream)

        return ops.clip(x, low, high), gradient

    return clipped(x)
